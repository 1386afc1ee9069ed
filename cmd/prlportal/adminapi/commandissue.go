package adminapi

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
)

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
