package agentapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// maxOpenHeard is how many commands a Mac can say that it holds: more than this portal
// lets wait for it, and those of one before it.
const maxOpenHeard = 4 * storage.MaxOpenCommands

// hearCommands takes in what the Mac says of its commands and holds, and decides what
// the answer sends (protocol.md 2.9). A Mac that never had a command costs no look.
func (s *Server) hearCommands(ctx context.Context, change *storage.Change, before storage.Device, asked receivedCheckin) (storage.Delivery, error) {
	request := asked.request
	ahead := s.isAhead(before, request)
	if !before.HasCommands && !ahead && len(request.OpenCommands) == 0 && len(request.Results) == 0 && request.Holds == nil {
		return storage.Delivery{}, nil
	}
	log, err := s.store.Commands(ctx, before.ID)
	if err != nil {
		return storage.Delivery{}, fmt.Errorf("load commands: %w", err)
	}
	word, err := s.wordOf(ctx, before, &log, asked)
	if err != nil {
		return storage.Delivery{}, err
	}
	changed := log.Expire(asked.now)
	if ahead {
		changed = true
		log.Freeze(fmt.Sprintf("its report has the number %d, and the last one that this portal knows has %d; the portal was put back to an older state", request.Sequence, before.Sequence), asked.now)
	}
	heard := log.Hear(word)
	delivery := log.Deliver(word)
	if !changed && !heard.Changed && !delivery.Changed {
		return delivery, nil
	}
	change.Envelopes = heard.Receipts
	if err := change.KeepCommands(log, asked.now); err != nil {
		return storage.Delivery{}, err
	}
	return delivery, nil
}

// isAhead reports whether this is the first report of a Mac since the portal was put
// back to an older state, and others came between (H30).
func (s *Server) isAhead(before storage.Device, request *protocol.CheckinRequest) bool {
	if s.restoredAt.IsZero() || !before.HeardAt().Before(s.restoredAt) {
		return false
	}
	return request.Epoch != before.Epoch || request.Sequence != before.Sequence+1
}

// wordOf is what the request says of commands. Ids that are of other devices are
// marked: of those, this Mac has nothing to say.
func (s *Server) wordOf(ctx context.Context, device storage.Device, log *storage.CommandLog, asked receivedCheckin) (storage.CommandWord, error) {
	request := asked.request
	word := storage.CommandWord{
		Device: device, Epoch: request.Epoch, Sequence: request.Sequence, Results: request.Results, Holds: request.Holds,
		Open: request.OpenCommands[:min(len(request.OpenCommands), maxOpenHeard)], Foreign: make(map[string]bool), At: asked.now,
	}
	var unknown []string
	for _, open := range word.Open {
		unknown = append(unknown, open.CommandID)
	}
	for _, result := range word.Results {
		unknown = append(unknown, result.CommandID)
	}
	for _, id := range unknown {
		if log.Find(id) != nil {
			continue
		}
		holder, err := s.store.CommandDevice(ctx, id)
		switch {
		case errors.Is(err, storage.ErrNotFound):
		case err != nil:
			return word, fmt.Errorf("find command: %w", err)
		case holder != device.ID:
			word.Foreign[id] = true
		}
	}
	if len(word.Foreign) > 0 {
		s.log.Warn().Str("device", device.ID).Strs("commands", slices.Sorted(maps.Keys(word.Foreign))[:1]).Int("count", len(word.Foreign)).Msg("device speaks of another device's commands")
	}
	return word, nil
}

// deliverAgain answers the repeat of a request: what it said is on record, and what is
// sent to the Mac is computed afresh (H03).
func (s *Server) deliverAgain(ctx context.Context, device storage.Device, entry storage.Request, asked receivedCheckin) (checkinOutcome, error) {
	outcome := checkinOutcome{entry: entry, repeated: true}
	if !device.HasCommands {
		return outcome, nil
	}
	log, err := s.store.Commands(ctx, device.ID)
	if err != nil {
		return outcome, fmt.Errorf("load commands: %w", err)
	}
	word, err := s.wordOf(ctx, device, &log, asked)
	if err != nil {
		return outcome, err
	}
	if outcome.delivery = log.Deliver(word); !outcome.delivery.Changed {
		return outcome, nil
	}
	change := storage.Change{Device: device}
	outcome.change = &change
	return outcome, change.KeepCommands(log, asked.now)
}

// addCommands puts the envelopes of what is delivered into the answer.
func (s *Server) addCommands(ctx context.Context, reply *protocol.CheckinReply, deviceID string, delivery storage.Delivery) error {
	reply.Cancel = delivery.Cancel
	for _, id := range delivery.Commands {
		kept, err := s.store.CommandEnvelopes(ctx, deviceID, id)
		if err != nil {
			return fmt.Errorf("load command: %w", err)
		}
		reply.Commands = append(reply.Commands, kept.Command)
	}
	if delivery.Holds == "" {
		return nil
	}
	kept, err := s.store.CommandEnvelopes(ctx, deviceID, delivery.Holds)
	if err != nil {
		return fmt.Errorf("load list of holds: %w", err)
	}
	reply.Holds = kept.Holds
	return nil
}

// withholdCommands marks the open commands of a device that enrolls again: none of them
// goes to it by itself (H69).
func (s *Server) withholdCommands(ctx context.Context, change *storage.Change, now time.Time) error {
	if !change.Device.HasCommands {
		return nil
	}
	log, err := s.store.Commands(ctx, change.Device.ID)
	if err != nil {
		return fmt.Errorf("load commands: %w", err)
	}
	log.Reenrolled(now)
	return change.KeepCommands(log, now)
}
