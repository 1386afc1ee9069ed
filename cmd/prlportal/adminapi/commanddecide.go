package adminapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
)

// commandDecision is one decision over the commands of a device as they are on record.
type commandDecision func(device storage.Device, log *storage.CommandLog, change *storage.Change) error

// decideCommand records a decision and keeps it, and answers with the command as it is
// then.
func (s *Server) decideCommand(w http.ResponseWriter, r *http.Request, deviceID string, entry audit.Entry, decide commandDecision) error {
	entry.At, entry.Outcome, entry.Source, entry.Admin = s.now().UTC(), audit.OutcomeDecided, httpapi.SourceAddress(r), adminOf(r).Name
	if err := s.keepCommand(r.Context(), deviceID, entry, decide); err != nil {
		return err
	}
	s.log.Info().Str("device", deviceID).Str("action", entry.Action).Str("command", entry.Command.ID).Str("admin", entry.Admin).Msg("decided")
	detail, err := s.commandDetail(r.Context(), deviceID, entry.Command.ID)
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, r, http.StatusOK, detail)
}

// keepCommand takes a decision, anew where the device was changed in between. The record is
// on disk before anything is kept. One decision is recorded and kept at a time: the line that
// the database knows then is this one's, and each one before it is kept or has failed.
func (s *Server) keepCommand(ctx context.Context, deviceID string, entry audit.Entry, decide commandDecision) (err error) {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	recorded := false
	defer func() {
		if recorded && err != nil {
			err = errors.Join(err, s.recordFailure(entry))
		}
	}()
	for range storage.SaveAttempts {
		change, err := s.decideOnce(ctx, deviceID, entry.At, decide)
		if err != nil {
			return err
		}
		if !recorded {
			entry.DeviceID, entry.MacSerial = change.Device.ID, change.Device.Serial
			if err := s.record.Append(entry); err != nil {
				return err
			}
			recorded = true
		}
		mark := s.record.Mark()
		change.Audit = &storage.AuditMark{Number: mark.Number, Hash: mark.Hash}
		if err := s.saveTold(ctx, change); !errors.Is(err, storage.ErrConflict) {
			return commandProblem(err)
		}
	}
	return protocol.NewProblem(protocol.ProblemUnavailable, "The device is busy.")
}

// decideOnce is the change that a decision makes of the device as it is on record.
func (s *Server) decideOnce(ctx context.Context, deviceID string, now time.Time, decide commandDecision) (storage.Change, error) {
	device, err := s.devices.Device(ctx, storage.ByID(deviceID))
	if err != nil {
		return storage.Change{}, fmt.Errorf("find device: %w", err)
	}
	log, err := s.devices.Commands(ctx, deviceID)
	if err != nil {
		return storage.Change{}, fmt.Errorf("load commands: %w", err)
	}
	log.Expire(now)
	change := storage.Change{Device: device}
	if err := decide(device, &log, &change); err != nil {
		return storage.Change{}, commandProblem(err)
	}
	return change, change.KeepCommands(log, now)
}

// readSmall reads a body of a decision.
func readSmall(r *http.Request, limit int, into any) error {
	body, err := httpapi.ReadBody(r, limit)
	if err != nil {
		return err
	}
	return httpapi.DecodeBody(body, into)
}

// approveCommand adds the signature of a second operator.
func (s *Server) approveCommand(w http.ResponseWriter, r *http.Request) error {
	deviceID, commandID, err := s.commandByID(r)
	if err != nil {
		return err
	}
	var asked CommandApproval
	if err := readSmall(r, httpapi.MaxSmallBody, &asked); err != nil {
		return err
	}
	kept, err := s.devices.CommandEnvelopes(r.Context(), deviceID, commandID)
	if errors.Is(err, storage.ErrNotFound) {
		return noSuchCommand()
	}
	if err != nil {
		return fmt.Errorf("load command: %w", err)
	}
	keys, _, err := s.content.CommandKeys(r.Context())
	if err != nil {
		return err
	}
	lists, err := s.content.KeyLists(r.Context())
	if err != nil {
		return err
	}
	person := keys.PersonOf(asked.Signature.KeyID)
	signed, err := withSignature(kept, asked, keys)
	if err != nil {
		return commandProblem(err)
	}
	signed.Keys = lists
	entry := audit.Entry{Action: audit.ActionApproveCommand, By: person, KeyIDs: []string{asked.Signature.KeyID}, Command: &audit.Command{ID: commandID}}
	return s.decideCommand(w, r, deviceID, entry, func(_ storage.Device, log *storage.CommandLog, change *storage.Change) error {
		command := log.Find(commandID)
		if command != nil && command.State == protocol.CommandAwaitingApproval && len(command.Signers) != len(signed.Command.Signatures)-1 {
			return protocol.NewProblem(protocol.ProblemUnavailable, "Another approval came between; try again.")
		}
		change.Envelopes = []storage.CommandEnvelopes{signed}
		if command != nil {
			command.Needed = max(command.Needed, keys.Needed(command.Type)) // more may be asked for by now
		}
		return log.Approve(commandID, storage.Signer{KeyID: asked.Signature.KeyID, Person: person, Admin: adminOf(r).Name, At: s.now().UTC()})
	})
}

// errSignerEnded says that a signature that a command has counts no more.
var errSignerEnded = errors.New("a key that has signed the command is not registered any more; cancel the command and issue it anew")

// withSignature adds a signature of a registered key to the envelopes of a command. The
// same key twice is one. Those before it must be of keys that are still registered.
func withSignature(kept storage.CommandEnvelopes, asked CommandApproval, keys site.CommandKeys) (storage.CommandEnvelopes, error) {
	add := func(envelope protocol.Envelope, kind string, signature protocol.Signature) (protocol.Envelope, error) {
		alone := protocol.Envelope{PayloadType: envelope.PayloadType, Payload: envelope.Payload, Signatures: []protocol.Signature{signature}}
		if _, err := alone.Verify(kind, keys.Trusted(), 1); err != nil {
			return envelope, err
		}
		if _, err := envelope.Verify(kind, keys.Trusted(), max(1, len(envelope.Signatures))); err != nil {
			return envelope, errSignerEnded
		}
		for _, known := range envelope.Signatures {
			if known.KeyID == signature.KeyID {
				return envelope, storage.ErrSameSigner
			}
		}
		envelope.Signatures = append(append([]protocol.Signature{}, envelope.Signatures...), signature)
		return envelope, nil
	}
	signed := storage.CommandEnvelopes{CommandID: kept.CommandID}
	var err error
	if signed.Command, err = add(kept.Command, protocol.PayloadCommand, asked.Signature); err != nil || kept.Holds == nil {
		return signed, err
	}
	if asked.Holds == nil || asked.Holds.KeyID != asked.Signature.KeyID {
		return signed, fmt.Errorf("%w: the list of holds is not signed", protocol.ErrSignature)
	}
	holds, err := add(*kept.Holds, protocol.PayloadHolds, *asked.Holds)
	signed.Holds = &holds
	return signed, err
}

// cancelCommand ends a command that no Mac has, and asks the Mac about any other.
func (s *Server) cancelCommand(w http.ResponseWriter, r *http.Request) error {
	return s.decideByReason(w, r, audit.ActionCancelCommand, (*storage.CommandLog).Cancel)
}

// confirmCommand lets a withheld command be delivered.
func (s *Server) confirmCommand(w http.ResponseWriter, r *http.Request) error {
	return s.decideByReason(w, r, audit.ActionConfirmCommand, (*storage.CommandLog).Confirm)
}

func (s *Server) decideByReason(w http.ResponseWriter, r *http.Request, action string, decide func(*storage.CommandLog, string, storage.By) error) error {
	deviceID, commandID, err := s.commandByID(r)
	if err != nil {
		return err
	}
	var asked CommandReason
	if err := readSmall(r, httpapi.MaxSmallBody, &asked); err != nil {
		return err
	}
	by := storage.By{Admin: adminOf(r).Name, Reason: protocol.CutText(asked.Reason, protocol.MaxText), At: s.now().UTC()}
	entry := audit.Entry{Action: action, Reason: by.Reason, Command: &audit.Command{ID: commandID}}
	return s.decideCommand(w, r, deviceID, entry, func(_ storage.Device, log *storage.CommandLog, _ *storage.Change) error {
		return decide(log, commandID, by)
	})
}
