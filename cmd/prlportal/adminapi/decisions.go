package adminapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/storage"
	"prlagent/platform/text"
)

// Decision is what an administrator decides of a device: approve, reject or
// retire. It names the key that the administrator saw, so that another one which
// asks in the meantime is not meant by mistake.
type Decision struct {
	KeyID     string `json:"key_id,omitempty"`
	All       bool   `json:"all,omitempty"`       // reject: every key that waits
	Supersede bool   `json:"supersede,omitempty"` // approve: retire the other device with the serial number
	Lost      bool   `json:"lost,omitempty"`      // retire: the Mac does not come back, whatever it holds
	By        string `json:"by,omitempty"`        // account of who decides
	Reason    string `json:"reason,omitempty"`
}

// decide is one decision over a device as it is on record. What it gives is kept
// in that order, the device that is the answer first.
type decide func(ctx context.Context, device storage.Device, asked Decision) ([]storage.Change, error)

// settle reads a decision, records it and keeps it, and answers with the device
// as it is then.
func (s *Server) settle(action string, decide decide) httpapi.Handle {
	return func(w http.ResponseWriter, r *http.Request) error {
		body, err := httpapi.ReadBody(r, httpapi.MaxSmallBody)
		if err != nil {
			return err
		}
		var asked Decision
		if err := httpapi.DecodeBody(body, &asked); err != nil {
			return err
		}
		asked.KeyID = text.TypedID(asked.KeyID)
		asked.By, asked.Reason = protocol.CutText(asked.By, protocol.MaxName), protocol.CutText(asked.Reason, protocol.MaxText)
		entry := audit.Entry{
			At: s.now().UTC(), Action: action, Outcome: audit.OutcomeDecided,
			Source: httpapi.SourceAddress(r), Admin: adminOf(r).Name, By: asked.By, Reason: asked.Reason, Lost: asked.Lost,
		}
		settled, err := s.keepDecision(r, asked, decide, &entry)
		if err != nil {
			return err
		}
		s.log.Info().Str("device", settled.ID).Str("action", action).Strs("keys", entry.KeyIDs).Msg("decided")
		report, err := s.devices.Report(r.Context(), settled.ID)
		commands, failed := s.devices.Commands(r.Context(), settled.ID)
		if err = cmp.Or(err, failed); err != nil {
			return fmt.Errorf("load report: %w", err)
		}
		view, _ := s.newScan(s.now(), time.Time{}).Device(settled, report, commands)
		return httpapi.WriteJSON(w, r, http.StatusOK, view)
	}
}

// keepDecision decides anew where the device was changed in between. The record
// is on disk before anything is kept.
func (s *Server) keepDecision(r *http.Request, asked Decision, decide decide, entry *audit.Entry) (settled storage.Device, err error) {
	recorded := false
	defer func() {
		if recorded && err != nil {
			err = errors.Join(err, s.recordFailure(*entry))
		}
	}()
	for range storage.SaveAttempts {
		device, err := s.deviceByID(r)
		if err != nil {
			return storage.Device{}, err
		}
		changes, err := decide(r.Context(), device, asked)
		if err != nil {
			return storage.Device{}, err
		}
		if !recorded {
			describe(entry, device, changes)
			if err := s.record.Append(*entry); err != nil {
				return storage.Device{}, err
			}
			recorded = true
		}
		err = s.keepAll(r.Context(), changes)
		if err == nil {
			return changes[0].Device, nil
		}
		if !errors.Is(err, storage.ErrConflict) {
			return storage.Device{}, fmt.Errorf("save device: %w", err)
		}
	}
	return storage.Device{}, protocol.NewProblem(protocol.ProblemUnavailable, "The device is busy.")
}

func (s *Server) recordFailure(entry audit.Entry) error {
	entry.Outcome = audit.OutcomeFailed
	return s.record.Append(entry)
}

func (s *Server) keepAll(ctx context.Context, changes []storage.Change) error {
	for _, change := range changes {
		if err := s.saveTold(ctx, change); err != nil {
			return err
		}
	}
	return nil
}

// describe says in the record which device, keys and other devices are decided on.
func describe(entry *audit.Entry, before storage.Device, changes []storage.Change) {
	entry.DeviceID, entry.MacSerial = changes[0].Device.ID, before.Serial
	for _, change := range changes[1:] {
		entry.Supersedes = append(entry.Supersedes, change.Device.ID)
	}
	after := changes[0].Device
	if after.Key != nil && (after.ID != before.ID || !after.Key.Equal(before.Key)) {
		entry.KeyIDs = append(entry.KeyIDs, protocol.KeyID(after.Key))
	}
	for _, key := range after.Rejected {
		if _, was := storage.FindKey(before.Rejected, protocol.KeyID(key.Key)); !was {
			entry.KeyIDs = append(entry.KeyIDs, protocol.KeyID(key.Key))
		}
	}
}

// approve lets in: the named key becomes the device's, or the device's mark or
// retirement ends. Where that makes a second Mac of one serial number, the other
// one must be superseded (H57).
func (s *Server) approve(ctx context.Context, device storage.Device, asked Decision) ([]storage.Change, error) {
	now := s.now().UTC()
	if asked.KeyID == "" {
		return s.approveWithoutKey(ctx, device, asked, now)
	}
	key, waits := storage.FindKey(slices.Concat(device.Pending, device.Rejected), asked.KeyID)
	if !waits {
		return nil, httpapi.InvalidField("key_id", "No key with this id waits for approval.")
	}
	if key.HardwareUUID != "" && !strings.EqualFold(key.HardwareUUID, device.HardwareUUID) {
		return s.approveOtherMac(ctx, device, key, asked, now)
	}
	wasRetired := device.IsRetired()
	device.Admit(key, now)
	return s.withSuperseded(ctx, storage.Change{Device: device}, asked, wasRetired)
}

func (s *Server) approveWithoutKey(ctx context.Context, device storage.Device, asked Decision, now time.Time) ([]storage.Change, error) {
	switch {
	case len(device.Pending) > 0:
		return nil, httpapi.InvalidField("key_id", "Name the key to approve, or reject all that wait first.")
	case device.Duplicate == nil && !device.IsRetired():
		return nil, protocol.NewProblem(protocol.ProblemInvalidRequest, "Nothing waits for approval.")
	}
	wasRetired := device.IsRetired()
	device.Lift(now)
	return s.withSuperseded(ctx, storage.Change{Device: device}, asked, wasRetired)
}

// approveOtherMac makes a device of the Mac with the key. One of a decision that
// was broken off is used again.
func (s *Server) approveOtherMac(ctx context.Context, device storage.Device, key storage.PendingKey, asked Decision, now time.Time) ([]storage.Change, error) {
	made, err := s.devices.Device(ctx, storage.ByMac(device.Serial, key.HardwareUUID))
	if errors.Is(err, storage.ErrNotFound) { // or the Mac was here before it had a serial number
		made, err = s.devices.Device(ctx, storage.ByMac("", key.HardwareUUID))
		made.Serial = device.Serial
	}
	if errors.Is(err, storage.ErrNotFound) {
		id, failed := uuid.NewV7()
		made = storage.Device{
			ID: id.String(), Serial: device.Serial, HardwareUUID: key.HardwareUUID,
			Group: device.Group, EnrolledAt: now, AgentVersion: key.AgentVersion,
		}
		err = failed
	}
	if err != nil {
		return nil, fmt.Errorf("find device: %w", err)
	}
	made.Admit(key, now)
	return s.withSuperseded(ctx, storage.Change{Device: made}, asked, true)
}

// withSuperseded adds the retirement of the living devices with the serial number
// of one that becomes another Mac of it.
func (s *Server) withSuperseded(ctx context.Context, change storage.Change, asked Decision, another bool) ([]storage.Change, error) {
	changes := []storage.Change{change}
	if !another || change.Device.Serial == "" {
		return changes, nil
	}
	ids, err := s.devices.LiveIDs(ctx, change.Device.Serial, maxSuperseded)
	if err != nil {
		return nil, fmt.Errorf("find devices: %w", err)
	}
	for _, id := range ids {
		if id == change.Device.ID {
			continue
		}
		if !asked.Supersede {
			return nil, httpapi.InvalidField("supersede", "Another device has this serial number, "+id+"; approving this one retires it. Say so with --supersede.")
		}
		other, err := s.devices.Device(ctx, storage.ByID(id))
		if err != nil {
			return nil, fmt.Errorf("find device: %w", err)
		}
		if err := s.checkLeavesNothing(ctx, other); err != nil {
			return nil, err
		}
		retired, err := s.retired(ctx, other, change.Device.ID)
		if err != nil {
			return nil, err
		}
		changes = append(changes, retired)
	}
	return changes, nil
}

// maxSuperseded is more than one serial number has devices.
const maxSuperseded = 100

// reject ends the waiting of the named key, of the only one, or of all.
func (s *Server) reject(_ context.Context, device storage.Device, asked Decision) ([]storage.Change, error) {
	keys := slices.Clone(device.Pending)
	if !asked.All {
		if len(keys) > 1 && asked.KeyID == "" {
			return nil, httpapi.InvalidField("key_id", "Name the key to reject, or reject all.")
		}
		if asked.KeyID != "" {
			key, waits := storage.FindKey(keys, asked.KeyID)
			if !waits {
				return nil, httpapi.InvalidField("key_id", "No key with this id waits for approval.")
			}
			keys = []storage.PendingKey{key}
		}
	}
	if len(keys) == 0 {
		return nil, protocol.NewProblem(protocol.ProblemInvalidRequest, "No key waits for approval.")
	}
	device.Reject(keys, s.now().UTC())
	return []storage.Change{{Device: device}}, nil
}

// retire ends a device for good: its tokens, and its rows in the table.
// What it would leave behind stands in the way, unless its Mac is lost (H69).
func (s *Server) retire(ctx context.Context, device storage.Device, asked Decision) ([]storage.Change, error) {
	if device.IsRetired() {
		return nil, protocol.NewProblem(protocol.ProblemInvalidRequest, "The device is retired already.")
	}
	if asked.Lost {
		return s.retireLost(ctx, device, asked)
	}
	if err := s.checkLeavesNothing(ctx, device); err != nil {
		return nil, err
	}
	retired, err := s.retired(ctx, device, "")
	return []storage.Change{retired}, err
}

// retireLost retires a device whose Mac does not come back, with what it holds and the
// commands that it has: nothing of them is told to have ended. A Mac that is still heard of
// is not lost.
func (s *Server) retireLost(ctx context.Context, device storage.Device, asked Decision) ([]storage.Change, error) {
	switch {
	case strings.TrimSpace(asked.Reason) == "":
		return nil, httpapi.InvalidField("reason", "Say why the Mac is given up: its holds and commands stay as they are, and nobody hears how they end.")
	case s.now().Sub(device.HeardAt()) < s.config.Freshness():
		return nil, httpapi.InvalidField("lost", "The Mac was heard of at "+device.HeardAt().UTC().Format(time.RFC3339)+"; it is not lost.")
	}
	retired, err := s.retired(ctx, device, "")
	return []storage.Change{retired}, err
}

// retired is the change that retires a device; by is the id of the one that takes
// its place.
func (s *Server) retired(ctx context.Context, device storage.Device, by string) (storage.Change, error) {
	report, err := s.devices.Report(ctx, device.ID)
	history, failed := s.devices.History(ctx, device.ID)
	verdicts, unread := s.devices.Verdicts(ctx, device.ID)
	if err = cmp.Or(err, failed, unread); err != nil {
		return storage.Change{}, fmt.Errorf("load report: %w", err)
	}
	change := storage.Change{Device: device}
	change.Retire(report, history, by, s.now().UTC())
	if change.Changes, err = verdicts.Clear(s.now().UTC()); err != nil {
		return storage.Change{}, err
	}
	change.Verdicts = &verdicts
	return change, nil
}
