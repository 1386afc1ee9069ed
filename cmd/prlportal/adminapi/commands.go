package adminapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/blobs"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
	"prlagent/platform/text"
)

// CommandUpload is a command that an operator has signed. The portal can sign none.
type CommandUpload struct {
	Command protocol.Envelope `json:"command"`
	// Confirm is the name of the virtual machine, or the serial number of the Mac where
	// the command is for all of it: what the operator was asked to confirm (CMD-02).
	Confirm string `json:"confirm"`
}

// CommandApproval is a second operator's signature under the same payload. A lock or
// unlock is signed with its list of holds.
type CommandApproval struct {
	Signature protocol.Signature  `json:"signature"`
	Holds     *protocol.Signature `json:"holds,omitempty"`
}

// CommandReason is why an administrator decides of a command.
type CommandReason struct {
	Reason string `json:"reason,omitempty"`
}

// CommandDetail is one command with all that is kept of it.
type CommandDetail struct {
	fleet.Command
	Target  protocol.CommandTarget `json:"target"`
	SHA256  string                 `json:"sha256,omitempty"` // of the payload
	Steps   []storage.CommandStep  `json:"steps"`            // oldest first
	Signers []storage.Signer       `json:"signers"`          // the issuer first
	Epoch   string                 `json:"epoch,omitempty"`
	Result  *protocol.Result       `json:"result,omitempty"` // without its receipt
	// ReceiptFault is why the receipt of the result is not good.
	ReceiptFault string `json:"receipt_fault,omitempty"`
	// Blob is what the Mac uploaded for the command, as long as it is kept.
	Blob *blobs.Blob `json:"blob,omitempty"`
	// Envelope, Holds and Receipt are as they were signed, byte for byte.
	Envelope *protocol.Envelope `json:"envelope,omitempty"`
	Holds    *protocol.Envelope `json:"holds,omitempty"`
	Receipt  *protocol.Envelope `json:"receipt,omitempty"`
}

// maxCommandBody is the largest upload: a command in base64, with its signatures.
const maxCommandBody = 2 * protocol.MaxHoldsCommand

// commandList is the reply to a list.
type commandList struct {
	Commands []fleet.Command `json:"commands"`
	Page
}

func (s *Server) listCommands(w http.ResponseWriter, r *http.Request) error {
	return answerList(s, w, r, fleet.CommandTable, fleet.Scan.Commands, func(rows []fleet.Command, part Page) any { return commandList{rows, part} })
}

// commandProblem makes a problem of what an administrator cannot have.
func commandProblem(err error) error {
	for _, refusal := range []error{
		storage.ErrCommandKnown, storage.ErrCommandOpen, storage.ErrTooManyCommands, storage.ErrCommandEnded, storage.ErrNotAwaiting, storage.ErrSameSigner,
		storage.ErrHoldsMoved, storage.ErrHoldsBuiltUpon, storage.ErrNotWithheld, storage.ErrOldEpoch,
		errSignerEnded, site.ErrNoCommandKeys, site.ErrCommandKeys, site.ErrOldCommandKeys, protocol.ErrCommandInvalid, protocol.ErrSignature, protocol.ErrPayloadType,
		protocol.ErrEnvelopeInvalid, protocol.ErrWrongSite,
	} {
		if errors.Is(err, refusal) {
			return protocol.NewProblem(protocol.ProblemInvalidRequest, protocol.CutText("Refused: "+err.Error()+".", protocol.MaxText))
		}
	}
	if errors.Is(err, storage.ErrNoCommand) {
		return noSuchCommand()
	}
	return err
}

func noSuchCommand() error {
	return protocol.NewProblem(protocol.ProblemNotFound, "There is no such command.")
}

// commandByID is the device of the command that a request names.
func (s *Server) commandByID(r *http.Request) (deviceID, commandID string, err error) {
	commandID = text.TypedID(r.PathValue("id"))
	if !protocol.ValidName(commandID) {
		return "", "", noSuchCommand()
	}
	deviceID, err = s.devices.CommandDevice(r.Context(), commandID)
	if errors.Is(err, storage.ErrNotFound) {
		return s.orphanByID(r.Context(), commandID)
	}
	if err != nil {
		return "", "", fmt.Errorf("find command: %w", err)
	}
	return deviceID, commandID, nil
}

// orphanByID finds a command that has no envelope, which no index has.
func (s *Server) orphanByID(ctx context.Context, commandID string) (string, string, error) {
	deviceID := ""
	_, err := s.newScan(s.now().UTC(), time.Time{}).Commands(ctx, func(c *fleet.Command) error {
		if c.CommandID == commandID {
			deviceID = c.DeviceID
		}
		return nil
	})
	if err == nil && deviceID == "" {
		err = noSuchCommand()
	}
	return deviceID, commandID, err
}

// showCommand answers with all that is known of one command.
func (s *Server) showCommand(w http.ResponseWriter, r *http.Request) error {
	deviceID, commandID, err := s.commandByID(r)
	if err != nil {
		return err
	}
	detail, err := s.commandDetail(r.Context(), deviceID, commandID)
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, r, http.StatusOK, detail)
}

func (s *Server) commandDetail(ctx context.Context, deviceID, commandID string) (CommandDetail, error) {
	device, err := s.devices.Device(ctx, storage.ByID(deviceID))
	if err != nil {
		return CommandDetail{}, fmt.Errorf("find device: %w", err)
	}
	log, err := s.devices.Commands(ctx, deviceID)
	if err != nil {
		return CommandDetail{}, fmt.Errorf("load commands: %w", err)
	}
	report, err := s.devices.Report(ctx, deviceID)
	if err != nil {
		return CommandDetail{}, fmt.Errorf("load report: %w", err)
	}
	command := log.Find(commandID)
	if command == nil {
		return CommandDetail{}, noSuchCommand()
	}
	kept, err := s.devices.CommandEnvelopes(ctx, deviceID, commandID)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return CommandDetail{}, fmt.Errorf("load command: %w", err)
	}
	detail := CommandDetail{
		Command: fleet.CommandOf(device, report.Host.ComputerName, command, s.now().UTC()), Target: command.Target, SHA256: command.SHA256,
		Steps: command.Steps, Signers: append([]storage.Signer{}, command.Signers...), Epoch: command.Epoch, Result: command.Result,
		Holds: kept.Holds, Receipt: kept.Receipt,
	}
	if blob, err := s.blobs.Find(deviceID, commandID, s.now().UTC()); err == nil {
		detail.Blob = &blob
	} else if !errors.Is(err, fs.ErrNotExist) {
		return CommandDetail{}, err
	}
	if command.Receipt != nil {
		detail.ReceiptFault = command.Receipt.Fault
	}
	if kept.Command.Payload != "" {
		detail.Envelope = &kept.Command
	}
	return detail, nil
}

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

// issueCommand takes in what an operator has signed, if the key is registered and the
// command is about what this portal knows.
func (s *Server) issueCommand(w http.ResponseWriter, r *http.Request) error {
	var upload CommandUpload
	if err := readSmall(r, maxCommandBody, &upload); err != nil {
		return err
	}
	issued, err := s.openCommand(r, upload)
	if err != nil {
		return commandProblem(err)
	}
	if _, err := s.devices.CommandDevice(r.Context(), issued.command.ID); !errors.Is(err, storage.ErrNotFound) {
		return errors.Join(commandProblem(storage.ErrCommandKnown), err)
	}
	if _, err := s.devices.Device(r.Context(), storage.ByID(issued.command.Target.DeviceID)); errors.Is(err, storage.ErrNotFound) {
		return httpapi.InvalidField("command", "There is no such device.")
	}
	entry := audit.Entry{Action: audit.ActionCommand, By: issued.command.IssuedBy, Reason: issued.command.Reason, KeyIDs: []string{issued.command.Signers[0].KeyID}, Command: auditedCommand(&issued.command)}
	return s.decideCommand(w, r, issued.command.Target.DeviceID, entry, func(device storage.Device, log *storage.CommandLog, change *storage.Change) error {
		if err := s.checkCommand(r.Context(), device, log, &issued); err != nil {
			return err
		}
		change.Envelopes = []storage.CommandEnvelopes{{CommandID: issued.command.ID, Command: upload.Command, Holds: issued.holdsEnvelope, Keys: issued.keyLists}}
		return log.Add(issued.command, issued.needed, storage.By{Admin: adminOf(r).Name, At: s.now().UTC()})
	})
}

func auditedCommand(c *storage.Command) *audit.Command {
	return &audit.Command{ID: c.ID, Type: c.Type, Target: c.Target, IssuedBy: c.IssuedBy, IssuedAt: c.IssuedAt, ExpiresAt: c.ExpiresAt, SHA256: c.SHA256}
}

// issuedCommand is an upload that was opened: what its signatures say is so.
type issuedCommand struct {
	command       storage.Command
	needed        int
	holds         *protocol.HoldList
	holdsEnvelope *protocol.Envelope
	keys          site.CommandKeys
	keyLists      []protocol.Envelope // as they were signed
}

// openCommand verifies an upload with the registered keys. One signature is the
// issuer's, who is in the payload as the person that the key is registered for.
func (s *Server) openCommand(r *http.Request, upload CommandUpload) (issuedCommand, error) {
	keys, _, err := s.content.CommandKeys(r.Context())
	if err != nil {
		return issuedCommand{}, err
	}
	if len(keys.Keys) == 0 {
		return issuedCommand{}, site.ErrNoCommandKeys
	}
	payload, err := upload.Command.Verify(protocol.PayloadCommand, keys.Trusted(), 1)
	if err != nil {
		return issuedCommand{}, err
	}
	read, err := protocol.ParseCommand(payload)
	if err != nil {
		return issuedCommand{}, err
	}
	if len(upload.Command.Signatures) != 1 {
		return issuedCommand{}, httpapi.InvalidField("command", "A command has one signature when it is issued; others approve it.")
	}
	keyID := upload.Command.Signatures[0].KeyID
	if person := keys.PersonOf(keyID); read.IssuedBy != person {
		return issuedCommand{}, httpapi.InvalidField("command", "It says that it was issued by somebody else than "+person+", whose key has signed it.")
	}
	if wanted := confirmationOf(read); upload.Confirm != wanted {
		return issuedCommand{}, httpapi.InvalidField("confirm", "It is not the name of what the command is about.")
	}
	sum := sha256.Sum256(payload)
	opened := issuedCommand{keys: keys, needed: keys.Needed(read.Type)}
	if opened.keyLists, err = s.content.KeyLists(r.Context()); err != nil {
		return issuedCommand{}, err
	}
	opened.command = storage.Command{
		ID: read.CommandID, Type: read.Type, Target: read.Target, Params: paramsText(read), IssuedAt: read.IssuedAt, NotBefore: read.NotBefore, ExpiresAt: read.ExpiresAt,
		IssuedBy: read.IssuedBy, Reason: protocol.CutText(read.Reason, protocol.MaxText), SHA256: hex.EncodeToString(sum[:]), Bytes: len(payload),
		Signers: []storage.Signer{{KeyID: keyID, Person: read.IssuedBy, Admin: adminOf(r).Name, At: s.now().UTC()}},
	}
	if !protocol.ChangesHolds(read.Type) {
		return opened, nil
	}
	return opened, opened.openHolds(read)
}

// openHolds verifies the list of holds that a lock or unlock carries.
func (i *issuedCommand) openHolds(read protocol.Command) error {
	var params protocol.HoldsParams
	if err := read.DecodeParams(&params); err != nil {
		return err
	}
	payload, err := params.Holds.Verify(protocol.PayloadHolds, i.keys.Trusted(), 1)
	if err != nil {
		return err
	}
	list, err := protocol.ParseHoldList(payload)
	if err != nil {
		return err
	}
	switch {
	case list.DeviceID != read.Target.DeviceID || list.MacSerial != read.Target.MacSerial:
		return fmt.Errorf("%w: its list of holds is for another Mac", protocol.ErrCommandInvalid)
	case len(params.Holds.Signatures) != 1 || params.Holds.Signatures[0].KeyID != i.command.Signers[0].KeyID:
		// The list is sent by itself, too: a Mac refuses an answer with many signatures.
		return fmt.Errorf("%w: its list of holds is signed by others than the command", protocol.ErrCommandInvalid)
	}
	i.holds, i.holdsEnvelope = &list, &params.Holds
	i.command.HoldsVersion, i.command.Held = list.Version, len(list.Holds)
	return nil
}

// confirmationOf is what confirms a command: the name of its virtual machine, or the
// serial number of its Mac.
func confirmationOf(command protocol.Command) string {
	if command.Target.VMID == "" {
		return command.Target.MacSerial
	}
	return command.Target.VMName
}

// paramsText are the parameters as people read them: a list of holds is shown as holds.
func paramsText(command protocol.Command) string {
	var fields map[string]json.RawMessage
	if json.Unmarshal(command.Params, &fields) != nil {
		return ""
	}
	var words []string
	for _, name := range []string{"when", "deadline", "offer", "force", "skip_network_errors", "sso"} {
		if value, given := fields[name]; given {
			words = append(words, name+"="+strings.Trim(string(value), `"`))
		}
	}
	return protocol.CutText(strings.Join(words, " "), protocol.MaxName)
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
