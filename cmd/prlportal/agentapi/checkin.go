package agentapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/secret"
	"prlagent/cmd/prlportal/storage"
	"prlagent/platform/text"
)

// replayWindow is how long the repeat of a request gets its first answer. The
// newest one gets it for ever: a Mac repeats only what it sent last, and by its
// own clock.
const replayWindow = 24 * time.Hour

// handleCheckin takes a report and answers it (protocol.md 2.6).
func (s *Server) handleCheckin(w http.ResponseWriter, r *http.Request) error {
	token := httpapi.BearerToken(r)
	if token == "" {
		return protocol.NewProblem(protocol.ProblemUnauthenticated, "")
	}
	release, err := s.admitDevice(w, r, token)
	if err != nil {
		return err
	}
	defer release()
	asked, err := s.readCheckin(r, token)
	if err != nil {
		return err
	}
	device, accepted, err := s.keepReport(r.Context(), token, asked)
	if err != nil {
		return err
	}
	reply, err := s.checkinReply(r.Context(), device, accepted, asked)
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, r, http.StatusOK, reply)
}

// checkinsUnderWay is how many check-ins of one device may be under way at a
// time. A Mac has one, and perhaps one that it has given up.
const checkinsUnderWay = 2

// admitDevice looks up whose token it is and draws on the device's bucket, before
// anything of the body is read (H56). The check-in is under way until release.
func (s *Server) admitDevice(w http.ResponseWriter, r *http.Request, token string) (release func(), err error) {
	id, err := s.store.ID(r.Context(), storage.ByToken(token))
	if errors.Is(err, storage.ErrNotFound) {
		return nil, protocol.NewProblem(protocol.ProblemDeviceUnknown, "")
	}
	if err != nil {
		return nil, fmt.Errorf("find device: %w", err)
	}
	now, wait := s.now().UTC(), time.Second
	if s.deviceSlots.Take(id) {
		var allowed bool
		if wait, allowed = s.deviceBuckets.Take(id, now); allowed {
			return func() { s.deviceSlots.Release(id) }, nil
		}
		s.deviceSlots.Release(id)
	}
	if _, first := s.noticeBuckets.Take(id, now); first {
		s.log.Warn().Str("device", id).Str("source", httpapi.SourceAddress(r)).Msg("device checks in too often")
	}
	return nil, httpapi.RateLimited(w, wait, "")
}

// readCheckin reads a check-in. Only what takes our time waits for its turn: a
// client that sends slowly holds up nobody.
func (s *Server) readCheckin(r *http.Request, token string) (receivedCheckin, error) {
	sent, err := httpapi.ReceiveBody(r, protocol.MaxRequest)
	if err != nil {
		return receivedCheckin{}, err
	}
	asked := receivedCheckin{request: new(protocol.CheckinRequest), token: secret.Hash(token), now: s.now().UTC()}
	ctx, cancel := context.WithTimeout(r.Context(), longestQueue)
	defer cancel()
	err = s.decodeTurns.Do(ctx, func() error {
		body, err := sent.Unpack()
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		asked.body = hex.EncodeToString(sum[:16])
		if err := httpapi.DecodeBody(body, asked.request); err != nil {
			return err
		}
		return checkCheckin(asked.request, asked.now)
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return receivedCheckin{}, protocol.NewProblem(protocol.ProblemUnavailable, "The portal has too much to do.")
	}
	return asked, err
}

// longestQueue is how long a check-in waits for its turn to be decoded.
const longestQueue = 10 * time.Second

func (s *Server) deviceByToken(ctx context.Context, token string) (storage.Device, error) {
	device, err := s.store.Device(ctx, storage.ByToken(token))
	if errors.Is(err, storage.ErrNotFound) {
		return storage.Device{}, protocol.NewProblem(protocol.ProblemDeviceUnknown, "")
	}
	if err != nil {
		return storage.Device{}, fmt.Errorf("find device: %w", err)
	}
	return device, nil
}

// checkCheckin refuses what no agent of ours sends, cuts texts to length and takes
// times out that cannot be.
func checkCheckin(request *protocol.CheckinRequest, now time.Time) error {
	if request.Protocol != protocol.Version {
		return protocol.NewProblem(protocol.ProblemUnsupported, fmt.Sprintf("This portal speaks version %d.", protocol.Version))
	}
	if uuid.Validate(request.RequestID) != nil {
		return httpapi.InvalidField("request_id", "The request id is not a UUID.")
	}
	if request.Epoch == "" || len(request.Epoch) > protocol.MaxName {
		return httpapi.InvalidField("epoch", "The epoch is missing or too long.")
	}
	if request.Sequence == 0 {
		return httpapi.InvalidField("sequence", "Sequence numbers begin with 1.")
	}
	inventory := &request.Inventory
	if inventory.Hash == "" || len(inventory.Hash) > protocol.MaxName {
		return httpapi.InvalidField("inventory.hash", "The hash is missing or too long.")
	}
	if len(inventory.VMs) > protocol.MaxVMs {
		return httpapi.InvalidField("inventory.vms", fmt.Sprintf("A report holds at most %d virtual machines.", protocol.MaxVMs))
	}
	for i := range inventory.VMs {
		vm := &inventory.VMs[i]
		withheld := vm.Gaps["user_name"] == protocol.CodeNameWithheld && vm.UID != 0 // the Mac does not tell names (INV-32)
		if vm.ID == "" || vm.Owner == "" && !withheld || len(vm.ID) > protocol.MaxName || len(vm.Owner) > protocol.MaxName {
			return httpapi.InvalidField(fmt.Sprintf("inventory.vms[%d]", i), "A virtual machine has no proper id and owner.")
		}
		judgeTimes(vm, now)
	}
	request.Cut()
	judgeEvents(request.Events, now)
	if request.Health != nil {
		judgeHealth(request.Health, now)
	}
	return nil
}

// receivedCheckin is a check-in that was read and checked.
type receivedCheckin struct {
	request *protocol.CheckinRequest
	body    string // hash of the body
	token   string // hash of the bearer token
	now     time.Time
	unfit   bool // what the device would have with it is more than it may have
}

// keepReport decides and saves, in at most one commit. It gives the device as
// it is now and what to answer.
func (s *Server) keepReport(ctx context.Context, token string, asked receivedCheckin) (storage.Device, checkinOutcome, error) {
	for range storage.SaveAttempts {
		device, err := s.deviceByToken(ctx, token)
		if err != nil {
			return storage.Device{}, checkinOutcome{}, err
		}
		outcome, err := s.decideCheckin(ctx, device, asked)
		if err != nil {
			return storage.Device{}, checkinOutcome{}, err
		}
		if outcome.change != nil {
			if err := s.webhook.TellCommands(ctx, outcome.change); err != nil {
				return storage.Device{}, checkinOutcome{}, err
			}
			err = s.store.Save(ctx, *outcome.change)
			device = outcome.change.Device
		}
		switch {
		case errors.Is(err, storage.ErrConflict):
			continue
		case errors.Is(err, storage.ErrTooLarge) && !asked.unfit:
			asked.unfit = true
			continue
		case err != nil:
			return storage.Device{}, checkinOutcome{}, fmt.Errorf("save report: %w", err)
		case outcome.refusal != nil:
			s.log.Warn().Str("device", device.ID).Str("problem", outcome.refusal.Name()).Msg("check-in refused")
			return storage.Device{}, checkinOutcome{}, *outcome.refusal
		case !outcome.repeated:
			s.logArrival(device, asked.request.Triggers)
		}
		if outcome.change != nil && len(outcome.change.Outgoing) > 0 {
			s.webhook.Wake()
		}
		return device, outcome, nil
	}
	return storage.Device{}, checkinOutcome{}, protocol.NewProblem(protocol.ProblemUnavailable, "The device is busy.")
}

// logArrival tells why a device checked in, once for each report.
func (s *Server) logArrival(device storage.Device, triggers []protocol.Trigger) {
	reasons := zerolog.Arr()
	for _, one := range triggers {
		reason := zerolog.Dict().Str("reason", text.Display(one.Reason)).Int("count", one.Count)
		if one.VMID != "" {
			reason.Str("vm_id", text.Display(one.VMID))
		}
		reasons.Dict(reason)
	}
	s.log.Info().Str("device", device.ID).Uint64("sequence", device.Sequence).Array("triggers", reasons).Msg("check-in accepted")
}

// checkinOutcome is what a check-in leads to. A refusal can have a change too:
// the mark of a duplicate identity. So can the repeat of what arrived before: what is
// sent with its answer is computed afresh.
type checkinOutcome struct {
	entry    storage.Request
	repeated bool
	change   *storage.Change
	refusal  *protocol.Problem
	delivery storage.Delivery
}

func (s *Server) decideCheckin(ctx context.Context, device storage.Device, asked receivedCheckin) (checkinOutcome, error) {
	if device.Duplicate != nil { // served nothing until a person decides (H55)
		return checkinOutcome{refusal: sequenceProblem(protocol.ProblemDuplicateIdentity, device)}, nil
	}
	if entry, known := earlierAnswer(device, asked); known {
		if entry.Body != asked.body {
			return checkinOutcome{refusal: sequenceProblem(protocol.ProblemSequenceConflict, device)}, nil
		}
		return s.deliverAgain(ctx, device, entry, asked)
	}
	if mark := suspicion(device, asked.request); mark.Reason != "" {
		mark.At, mark.Count = asked.now, 1
		device.Duplicate, device.ChangedAt = &mark, asked.now
		return checkinOutcome{
			refusal: sequenceProblem(protocol.ProblemDuplicateIdentity, device),
			change:  &storage.Change{Device: device},
		}, nil
	}
	change := storage.Change{Device: device}
	gap := advanceSequence(&change.Device, asked.request, asked.now)
	answer, err := s.mergeReport(ctx, &change, asked)
	if err != nil {
		return checkinOutcome{}, err
	}
	if gap && !asked.request.Inventory.Full {
		answer = protocol.InventorySendFull
	}
	if err := s.keepEvents(ctx, &change, asked); err != nil {
		return checkinOutcome{}, err
	}
	entry := storage.Request{
		ID: asked.request.RequestID, Body: asked.body, At: asked.now, Inventory: answer,
		Sequence: asked.request.Sequence, Reasons: protocol.CutText(protocol.ReasonWords(asked.request.Triggers), protocol.MaxName),
	}
	delivery, err := s.hearCommands(ctx, &change, device, asked)
	if err != nil {
		return checkinOutcome{}, err
	}
	change.Device.NoteLaunches(device, asked.request.Triggers, asked.now)
	noteCheckin(&change.Device, entry, asked)
	return checkinOutcome{entry: entry, change: &change, delivery: delivery}, nil
}

// keepEvents adds what the Mac tells that happened, whatever becomes of the rest
// of its report: it does not tell it again.
func (s *Server) keepEvents(ctx context.Context, change *storage.Change, asked receivedCheckin) error {
	if len(asked.request.Events) == 0 {
		return nil
	}
	kept, err := s.store.Events(ctx, change.Device.ID)
	if err != nil {
		return fmt.Errorf("load events: %w", err)
	}
	before := kept.Last
	added, err := kept.Add(asked.request.Events, asked.request.Epoch, asked.now)
	if err != nil || !added {
		return err
	}
	change.Device.EventsAt, change.Events, change.NewEvents = asked.now, &kept, int(kept.Last-before)
	if err := s.announce(ctx, change, before); err != nil {
		return err
	}
	return s.countDrifts(ctx, change, &kept, before, asked.now)
}

// announce adds the messages of the events after a number, which are kept with them.
func (s *Server) announce(ctx context.Context, change *storage.Change, after uint64) error {
	var told []storage.KeptEvent
	for _, kept := range change.Events.Events {
		if kept.Number > after && s.webhook.Tells(kept.Event) {
			told = append(told, kept)
		}
	}
	if len(told) == 0 {
		return nil
	}
	report := change.Report
	if report == nil {
		kept, err := s.store.Report(ctx, change.Device.ID)
		if err != nil {
			return fmt.Errorf("load report: %w", err)
		}
		report = &kept
	}
	messages, err := s.webhook.Messages(change.Device, report.Host.ComputerName, told)
	change.Outgoing = messages
	return err
}

// earlierAnswer finds the acknowledgement of a request that came before.
func earlierAnswer(device storage.Device, asked receivedCheckin) (storage.Request, bool) {
	newest := len(device.Requests) - 1
	for i, entry := range device.Requests {
		if entry.ID == asked.request.RequestID && (i == newest || asked.now.Sub(entry.At) < replayWindow) {
			return entry, true
		}
	}
	return storage.Request{}, false
}

// suspicion says how a request shows that it is not of the one Mac that the
// device is: two report as it (H02), where one uses a number that the other has
// used, or an epoch comes back that another had replaced; or it names another Mac
// (H57). One Mac never does any, whatever it lost: a restored state begins a new
// epoch (H22). The reason is empty where nothing is wrong.
func suspicion(device storage.Device, request *protocol.CheckinRequest) storage.Duplicate {
	if reported, differs := identityDiffers(device, request.Host); differs {
		return storage.Duplicate{Reason: storage.DuplicateIdentity, Reported: reported}
	}
	switch {
	case slices.Contains(device.PastEpochs, request.Epoch):
		return storage.Duplicate{Reason: storage.DuplicateEpoch}
	case request.Epoch == device.Epoch && request.Sequence <= device.Sequence:
		return storage.Duplicate{Reason: storage.DuplicateSequence}
	}
	return storage.Duplicate{}
}

func sequenceProblem(name string, device storage.Device) *protocol.Problem {
	problem := protocol.NewProblem(name, "")
	problem.Expected = device.Sequence + 1
	return &problem
}

// advanceSequence moves the device to the request's epoch and number, and says
// whether numbers in between are missing.
func advanceSequence(device *storage.Device, request *protocol.CheckinRequest, now time.Time) (gap bool) {
	if request.Epoch != device.Epoch {
		if device.Epoch != "" {
			device.PastEpochs = append(device.PastEpochs, device.Epoch)
			excess := max(0, len(device.PastEpochs)-storage.MaxPastEpochs)
			device.PastEpochs = slices.Delete(device.PastEpochs, 0, excess)
		}
		device.Epoch, device.Sequence, device.ChangedAt = request.Epoch, request.Sequence, now
		return false
	}
	gap = request.Sequence != device.Sequence+1
	device.Sequence = request.Sequence
	return gap
}

// noteCheckin keeps the acknowledgement for repeats, notes the check-in and how the
// Mac's clock goes, and retires the tokens that were given out before the one that was used.
func noteCheckin(device *storage.Device, entry storage.Request, asked receivedCheckin) {
	noteClock(device, asked.request.SentAt, asked.now)
	device.LastCheckinAt = asked.now
	if len(asked.request.Triggers) > 0 {
		device.LastTriggers = asked.request.Triggers
	}
	device.Requests = slices.DeleteFunc(device.Requests, func(r storage.Request) bool { return asked.now.Sub(r.At) >= replayWindow })
	device.Requests = append(device.Requests, entry)
	excess := max(0, len(device.Requests)-storage.MaxRequests)
	device.Requests = slices.Delete(device.Requests, 0, excess)
	used := slices.IndexFunc(device.Tokens, func(t storage.Token) bool { return t.SHA256 == asked.token })
	device.Tokens = slices.Delete(device.Tokens, 0, max(0, used))
}

// checkinReply is the acknowledgement with what is computed afresh each time
// (H03).
func (s *Server) checkinReply(ctx context.Context, device storage.Device, accepted checkinOutcome, asked receivedCheckin) (protocol.CheckinReply, error) {
	reply := protocol.CheckinReply{
		ServerTime:  asked.now,
		NextCheckin: s.config.NextCheckinSecs,
		SplaySecs:   s.config.SplaySecs,
		Group:       device.Group,
		Policy:      s.policyHint(device.Group.ID),
		Inventory:   accepted.entry.Inventory,
	}
	for _, result := range asked.request.Results { // all of them are on record now
		reply.Acks = append(reply.Acks, protocol.Ack{CommandID: result.CommandID})
	}
	return reply, s.addCommands(ctx, &reply, device.ID, accepted.delivery)
}
