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

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
)

// maxAhead is how far the clock of an operator may be from the portal's.
const maxAhead = 10 * time.Minute

// checkCommand holds a command against what this portal knows of its target: what an
// operator saw must still be so when it is taken in (H20). It says so at once; the Mac
// judges all of it again.
func (s *Server) checkCommand(ctx context.Context, device storage.Device, log *storage.CommandLog, issued *issuedCommand) error {
	command, now := &issued.command, s.now().UTC()
	refuse := func(detail string) error { return httpapi.InvalidField("command", detail) }
	switch {
	case device.IsRetired():
		return refuse("The device is retired.")
	case device.Duplicate != nil:
		return refuse("The device is served nothing before an administrator decides of it.")
	case command.Target.MacSerial != device.MacSerial():
		return refuse("The command names another Mac than the device is.")
	case device.Epoch == "" && protocol.IsHazardous(command.Type):
		return refuse("The Mac has not reported since it was let in; wait for its report.")
	case command.Target.Epoch != device.Epoch && (command.Target.Epoch != "" || protocol.IsHazardous(command.Type)):
		return refuse("The Mac has another epoch than the command names; look again and issue it anew.")
	case command.IssuedAt.After(now.Add(maxAhead)):
		return refuse("The command was signed by a clock that is ahead of this portal's.")
	case !now.Before(command.ExpiresAt):
		return refuse("The command is not to be started any more.")
	}
	if _, err := protocol.ParseRequestID(command.ID); err != nil {
		return refuse("The command's id is not a UUID of version 7.")
	}
	if err := s.checkTarget(ctx, device, command); err != nil {
		return err
	}
	if issued.holds == nil {
		return nil
	}
	return s.checkHolds(ctx, device, log, issued)
}

// checkTarget holds the virtual machine of a command against its row. One that is gone
// can be unlocked.
func (s *Server) checkTarget(ctx context.Context, device storage.Device, command *storage.Command) error {
	if command.Target.VMID == "" || command.Type == "vm.unlock" {
		return nil
	}
	report, err := s.devices.Report(ctx, device.ID)
	if err != nil {
		return fmt.Errorf("load report: %w", err)
	}
	at := slices.IndexFunc(report.Rows, func(row storage.Row) bool { return row.VM.VMKey == command.Target.VM() })
	switch {
	case at < 0:
		return httpapi.InvalidField("command", "There is no such virtual machine of that user on this Mac.")
	case report.Rows[at].VM.Name != command.Target.VMName || report.Rows[at].VM.Bundle != command.Target.Bundle:
		return httpapi.InvalidField("command", "The virtual machine has changed since the command was signed; look again and issue it anew.")
	}
	return nil
}

// checkHolds holds the list of a lock or unlock against the one that it is made from:
// it differs by its own machine, and by nothing else (H69).
func (s *Server) checkHolds(ctx context.Context, device storage.Device, log *storage.CommandLog, issued *issuedCommand) error {
	command := &issued.command
	if command.HoldsVersion != log.NextHolds() {
		return fmt.Errorf("%w (its list has version %d, the next one is %d)", storage.ErrHoldsMoved, command.HoldsVersion, log.NextHolds())
	}
	held := slices.ContainsFunc(issued.holds.Holds, func(hold protocol.Hold) bool { return hold.VMKey == command.Target.VM() })
	if held != (command.Type == "vm.lock") {
		return fmt.Errorf("%w: its list of holds does not do what it says", protocol.ErrCommandInvalid)
	}
	base, _, err := s.baseHolds(ctx, device.ID, log)
	if err != nil {
		return err
	}
	others := func(holds []protocol.Hold) map[protocol.VMKey]protocol.Hold {
		byKey := make(map[protocol.VMKey]protocol.Hold)
		for _, hold := range holds {
			if hold.VMKey != command.Target.VM() {
				byKey[hold.VMKey] = hold
			}
		}
		return byKey
	}
	before, after := others(base.InForce(log.Reported)), others(issued.holds.Holds)
	for key, hold := range before {
		if now, kept := after[key]; !kept || !isSameHold(now, hold) {
			return fmt.Errorf("%w: its list of holds changes that of another virtual machine", protocol.ErrCommandInvalid)
		}
		delete(after, key)
	}
	if len(after) > 0 {
		return fmt.Errorf("%w: its list of holds has another virtual machine", protocol.ErrCommandInvalid)
	}
	return nil
}

// isSameHold reports whether two lists say the same of a machine.
func isSameHold(a, b protocol.Hold) bool {
	sameTimes := a.Since.Equal(b.Since) && a.ExpiresAt.Equal(b.ExpiresAt)
	a.Since, a.ExpiresAt = b.Since, b.ExpiresAt
	return sameTimes && a == b
}

// baseHolds is the list of holds that the next one is made from, with its envelope;
// empty where nothing was ever held.
func (s *Server) baseHolds(ctx context.Context, deviceID string, log *storage.CommandLog) (list protocol.HoldList, envelope *protocol.Envelope, err error) {
	base := log.Base()
	if base.Version == 0 {
		return list, nil, nil
	}
	kept, err := s.devices.CommandEnvelopes(ctx, deviceID, base.CommandID)
	if err != nil || kept.Holds == nil {
		return list, nil, fmt.Errorf("load list of holds: %w", cmp.Or(err, storage.ErrNotFound))
	}
	payload, err := kept.Holds.Unverified()
	if err != nil {
		return list, nil, err
	}
	list, err = protocol.ParseHoldList(payload)
	return list, kept.Holds, err
}

// DeviceHolds is what is known of a device's holds.
type DeviceHolds struct {
	NextVersion uint64                 `json:"next_version"`   // of the list that is signed next
	List        *protocol.Envelope     `json:"list,omitempty"` // that it is made from
	Reported    *protocol.HoldReport   `json:"reported,omitempty"`
	ReportedAt  time.Time              `json:"reported_at,omitzero"` // when that changed last
	Target      protocol.CommandTarget `json:"target"`               // what a command names of the Mac
}

// showHolds answers with the holds of a device: what the Mac says, and what the next
// list is made from.
func (s *Server) showHolds(w http.ResponseWriter, r *http.Request) error {
	device, err := s.deviceByID(r)
	if err != nil {
		return err
	}
	log, err := s.devices.Commands(r.Context(), device.ID)
	if err != nil {
		return fmt.Errorf("load commands: %w", err)
	}
	log.Expire(s.now().UTC())
	_, envelope, err := s.baseHolds(r.Context(), device.ID, &log)
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, r, http.StatusOK, DeviceHolds{
		NextVersion: log.NextHolds(), List: envelope, Reported: log.Reported, ReportedAt: log.ReportedAt,
		Target: protocol.CommandTarget{DeviceID: device.ID, MacSerial: device.MacSerial(), Epoch: device.Epoch},
	})
}

// checkLeavesNothing refuses the end of a device that holds machines or has destructive
// commands on their way (H69).
func (s *Server) checkLeavesNothing(ctx context.Context, device storage.Device) error {
	log, err := s.devices.Commands(ctx, device.ID)
	if err != nil {
		return fmt.Errorf("load commands: %w", err)
	}
	if reasons := log.ReasonsNotToRetire(s.now().UTC()); len(reasons) > 0 {
		return protocol.NewProblem(protocol.ProblemInvalidRequest, protocol.CutText("The device "+device.ID+" cannot be retired: "+strings.Join(reasons, ", ")+
			". Unlock them, or release them on the Mac; cancel the commands, or wait for their end.", protocol.MaxText))
	}
	return nil
}

// confirm lets commands go again to a device that is ahead of the portal, and those that
// are of the backup that the portal was made of (H30).
func (s *Server) confirm(ctx context.Context, device storage.Device, asked Decision) ([]storage.Change, error) {
	log, err := s.devices.Commands(ctx, device.ID)
	if err != nil {
		return nil, fmt.Errorf("load commands: %w", err)
	}
	if log.Frozen == nil && !log.HasWithheld(storage.WithheldRestored) {
		return nil, protocol.NewProblem(protocol.ProblemInvalidRequest, "The device is not ahead of this portal; commands that wait for other reasons are confirmed one by one.")
	}
	log.Thaw(storage.By{Admin: asked.By, Reason: asked.Reason, At: s.now().UTC()})
	change := storage.Change{Device: device}
	err = change.KeepCommands(log, s.now().UTC())
	return []storage.Change{change}, err
}

// CommandKeyList is who may sign commands, with the signed file.
type CommandKeyList struct {
	Version   uint64             `json:"version"`
	Keys      []NamedKey         `json:"keys"`
	Threshold map[string]int     `json:"threshold"`
	File      *protocol.Envelope `json:"file,omitempty"`
}

// NamedKey is a command key and whose it is.
type NamedKey struct {
	KeyID   string    `json:"key_id"`
	Person  string    `json:"person"`
	AddedAt time.Time `json:"added_at"`
}

func newCommandKeyList(keys site.CommandKeys, file []byte) (CommandKeyList, error) {
	list := CommandKeyList{Version: keys.Version, Keys: []NamedKey{}, Threshold: keys.Threshold}
	if list.Threshold == nil {
		list.Threshold = map[string]int{}
	}
	for _, key := range keys.Keys {
		list.Keys = append(list.Keys, NamedKey{KeyID: key.ID(), Person: key.Person, AddedAt: key.AddedAt})
	}
	if file == nil {
		return list, nil
	}
	envelope, err := protocol.ParseEnvelope(file, protocol.MaxPolicy)
	list.File = &envelope
	return list, err
}

// showCommandKeys answers with who may sign commands.
func (s *Server) showCommandKeys(w http.ResponseWriter, r *http.Request) error {
	keys, file, err := s.content.CommandKeys(r.Context())
	if err != nil {
		return err
	}
	list, err := newCommandKeyList(keys, file)
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, r, http.StatusOK, list)
}

// setCommandKeys takes in a newer list, if a policy key of the site signed it: who has
// the portal, or a token of it, can register no key.
func (s *Server) setCommandKeys(w http.ResponseWriter, r *http.Request) error {
	body, err := httpapi.ReadBody(r, protocol.MaxPolicy)
	if err != nil {
		return err
	}
	var envelope protocol.Envelope
	if err := httpapi.DecodeBody(body, &envelope); err != nil {
		return err
	}
	entry := audit.Entry{At: s.now().UTC(), Action: audit.ActionCommandKeys, Outcome: audit.OutcomeDecided, Admin: adminOf(r).Name, Source: httpapi.SourceAddress(r)}
	if err := s.record.Append(entry); err != nil {
		return err
	}
	keys, err := s.content.SetCommandKeys(r.Context(), s.config.SiteID, body, entry.At)
	if err != nil {
		return errors.Join(commandProblem(contentProblem(err)), s.recordFailure(entry))
	}
	list, err := newCommandKeyList(keys, body)
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, r, http.StatusOK, list)
}
