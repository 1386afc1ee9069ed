package evidence

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
)

// Trust is what the reader of a file knows without it.
type Trust struct {
	PolicyKeys  []protocol.TrustedKey
	CommandKeys []site.CommandKey
	DeviceKeyID string // as 'prlagent status' shows it on the Mac
	AuditLog    string // path of a whole audit log
}

func (t Trust) hasKeys() bool { return len(t.PolicyKeys)+len(t.CommandKeys) > 0 }

// Errors of a file that proves nothing. Each is followed by what is wrong.
var (
	ErrForged    = errors.New("a signature is not good")
	ErrUnrelated = errors.New("the parts of the file do not belong together")
	ErrUntrusted = errors.New("it is signed with keys that are not yours")
)

// Proof is what a file shows.
type Proof struct {
	CommandID string `json:"command_id"`
	Type      string `json:"type"`
	Subject   string `json:"subject"` // what the order is about, in words
	// Complete: the order and the result are signed, by keys that the reader knows.
	Complete bool     `json:"complete"`
	Shown    []string `json:"shown"`     // what signatures and hashes show
	Told     []string `json:"told"`      // what only the portal says
	NotShown []string `json:"not_shown"` // what nobody may take from it
}

// verifying is a verification under way.
type verifying struct {
	bundle  Bundle
	trust   Trust
	keys    []site.CommandKey // of all lists
	newest  site.CommandKeys  // list
	command protocol.Command
	sha256  string // of the order's payload
	proof   Proof
	// isUnapproved: fewer have signed the order than must. isShort: the reader's own audit
	// log has more about it than the file.
	isUnapproved, isShort bool
}

// Verify judges a file. An error says that it proves nothing, and why.
func Verify(data []byte, trust Trust) (Proof, error) {
	bundle, err := Open(data)
	if err != nil {
		return Proof{}, err
	}
	v := &verifying{bundle: bundle, trust: trust}
	for _, check := range []func() error{v.checkKeys, v.checkOrder, v.checkTrust, v.checkHolds, v.checkDevice, v.checkReceipt, v.checkAudit} {
		if err := check(); err != nil {
			return Proof{}, err
		}
	}
	v.proof.Complete = v.proof.Complete && !v.isUnapproved && !v.isShort
	v.conclude()
	return v.proof, nil
}

// checkKeys reads the lists: policy keys first, whose list is signed by one of its own,
// then command keys, each list signed by a policy key.
func (v *verifying) checkKeys() error {
	var policy []protocol.TrustedKey
	for _, list := range v.bundle.Keys {
		if !site.IsPolicyKeys(list) {
			continue
		}
		file, err := list.JSON()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrForged, err)
		}
		keys, err := site.ParsePolicyKeys(file, nil)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrForged, err)
		}
		if keys.SiteID != v.bundle.Site.ID {
			return fmt.Errorf("%w: the policy keys are of another site", ErrUnrelated)
		}
		policy = append(policy, keys.Trusted()...)
	}
	for _, list := range v.bundle.Keys {
		if site.IsPolicyKeys(list) {
			continue
		}
		file, err := list.JSON()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrForged, err)
		}
		keys, err := site.ParseCommandKeys(file, append([]protocol.TrustedKey{}, policy...))
		if err != nil {
			return fmt.Errorf("%w: %w", ErrForged, err)
		}
		if keys.SiteID != v.bundle.Site.ID {
			return fmt.Errorf("%w: the command keys are of another site", ErrUnrelated)
		}
		v.keys = append(v.keys, keys.Keys...)
		if keys.Version >= v.newest.Version {
			v.newest = keys
		}
	}
	return nil
}

// checkOrder reads the command. Every signature under it is of a registered key, and the
// persons are those of the keys.
func (v *verifying) checkOrder() error {
	trusted := site.CommandKeys{Keys: v.keys}
	payload, err := verifyEach(v.bundle.Order, protocol.PayloadCommand, trusted.Trusted())
	if err != nil {
		return err
	}
	if v.command, err = protocol.ParseCommand(payload); err != nil {
		return fmt.Errorf("%w: %w", ErrUnrelated, err)
	}
	sum := sha256.Sum256(payload)
	v.sha256 = hex.EncodeToString(sum[:])
	if v.command.CommandID != v.bundle.CommandID {
		return fmt.Errorf("%w: the order has another id", ErrUnrelated)
	}
	signatures, signers := v.bundle.Order.Signatures, v.bundle.Record.Signers
	if len(signatures) != len(signers) {
		return fmt.Errorf("%w: %d have signed, and %d are named", ErrUnrelated, len(signatures), len(signers))
	}
	persons := make(map[string]bool)
	for i, signature := range signatures {
		person := trusted.PersonOf(signature.KeyID)
		if signers[i].KeyID != signature.KeyID || signers[i].Person != person || persons[person] {
			return fmt.Errorf("%w: key %s is that of %s", ErrUnrelated, signature.KeyID, person)
		}
		persons[person] = true
		word := "Approved"
		if i == 0 {
			word = "Ordered"
		}
		v.show("%s by %s, with key %s.", word, person, signature.KeyID)
	}
	if v.command.IssuedBy != signers[0].Person {
		return fmt.Errorf("%w: the order is not by whom it says", ErrUnrelated)
	}
	v.describeOrder()
	if needed := v.newest.Needed(v.command.Type); len(signatures) < needed {
		v.isUnapproved = true
		v.not("That it was approved: it has %d of the %d signatures that the list of command keys asks for.", len(signatures), needed)
	}
	return nil
}

func (v *verifying) describeOrder() {
	target := v.command.Target
	v.proof.CommandID, v.proof.Type, v.proof.Subject = v.command.CommandID, v.command.Type, "the Mac "+target.MacSerial
	if target.VMID != "" {
		v.proof.Subject = fmt.Sprintf("%q (%s) of %s (uid %d) on the Mac %s", target.VMName, target.VMID, target.Owner, target.UID, target.MacSerial)
	}
	v.show("The order is %s of %s, signed as issued %s, not to begin after %s.", v.command.Type, v.proof.Subject, timeWords(v.command.IssuedAt), timeWords(v.command.ExpiresAt))
	if v.command.Reason != "" {
		v.show("The reason that was signed is %q.", v.command.Reason)
	}
}

// checkTrust holds the keys against those that the reader brought.
func (v *verifying) checkTrust() error {
	if !v.trust.hasKeys() {
		v.not("That the keys are whose they say: compare the key ids, or give --keys or --dir.")
		return nil
	}
	for _, signature := range v.bundle.Order.Signatures {
		if !v.isTrusted(signature.KeyID) {
			return fmt.Errorf("%w: %s", ErrUntrusted, signature.KeyID)
		}
	}
	v.show("The keys are those that you know.")
	return nil
}

// isTrusted reports whether a command key is one that the reader knows with the person whom
// the file names, or stands with that person in a list that a policy key of the reader has
// signed.
func (v *verifying) isTrusted(keyID string) bool {
	at := slices.IndexFunc(v.keys, func(key site.CommandKey) bool { return key.ID() == keyID })
	if at < 0 {
		return false
	}
	known := slices.ContainsFunc(v.trust.CommandKeys, func(key site.CommandKey) bool {
		return slices.Equal(key.Key, v.keys[at].Key) && key.Person == v.keys[at].Person
	})
	return known || slices.ContainsFunc(v.bundle.Keys, func(list protocol.Envelope) bool {
		if site.IsPolicyKeys(list) || len(v.trust.PolicyKeys) == 0 {
			return false
		}
		file, err := list.JSON()
		if err != nil {
			return false
		}
		keys, err := site.ParseCommandKeys(file, v.trust.PolicyKeys)
		return err == nil && keys.PersonOf(keyID) == v.keys[at].Person
	})
}

// checkHolds: the list of holds of a lock or unlock is the one in the order, and has the
// same signers.
func (v *verifying) checkHolds() error {
	if !protocol.ChangesHolds(v.command.Type) {
		if v.bundle.Holds != nil {
			return fmt.Errorf("%w: the order has no list of holds", ErrUnrelated)
		}
		return nil
	}
	var params protocol.HoldsParams
	if err := v.command.DecodeParams(&params); err != nil {
		return fmt.Errorf("%w: %w", ErrUnrelated, err)
	}
	if v.bundle.Holds == nil || v.bundle.Holds.Payload != params.Holds.Payload {
		return fmt.Errorf("%w: the list of holds is not that of the order", ErrUnrelated)
	}
	payload, err := verifyEach(*v.bundle.Holds, protocol.PayloadHolds, site.CommandKeys{Keys: v.keys}.Trusted())
	if err != nil {
		return err
	}
	list, err := protocol.ParseHoldList(payload)
	if err != nil || list.DeviceID != v.command.Target.DeviceID || len(v.bundle.Holds.Signatures) != len(v.bundle.Order.Signatures) {
		return fmt.Errorf("%w: the list of holds is of another Mac, or not signed as the order is", ErrUnrelated)
	}
	v.show("With it the list of holds of the Mac became version %d, with %d held.", list.Version, len(list.Holds))
	return nil
}

func (v *verifying) checkDevice() error {
	device, target := v.bundle.Device, v.command.Target
	switch {
	case device.DeviceID != target.DeviceID || !strings.EqualFold(device.MacSerial, target.MacSerial):
		return fmt.Errorf("%w: the order is for another Mac", ErrUnrelated)
	case device.KeyID != protocol.KeyID(device.Key):
		return fmt.Errorf("%w: the Mac's key has another id", ErrUnrelated)
	case v.trust.DeviceKeyID != "" && v.trust.DeviceKeyID != device.KeyID:
		return fmt.Errorf("%w: the Mac's key is %s", ErrUntrusted, device.KeyID)
	}
	return nil
}

// checkReceipt: the Mac's key has signed the result, of this very order.
func (v *verifying) checkReceipt() error {
	record := v.bundle.Record
	switch {
	case record.Result == nil && v.bundle.Receipt != nil:
		return fmt.Errorf("%w: there is a receipt of no result", ErrUnrelated)
	case record.Result == nil:
		v.not("That anything was done: the Mac has told of no result.")
		return nil
	case record.Result.CommandID != v.bundle.CommandID || record.Result.State != record.State || record.Result.Code != record.Code:
		return fmt.Errorf("%w: the result is of another command, or of another state", ErrUnrelated)
	case v.bundle.Receipt == nil:
		v.not("That the result is the Mac's word: there is no receipt.")
		return nil
	}
	claim := storage.ReceiptClaim{
		Key: v.bundle.Device.Key, DeviceID: v.bundle.Device.DeviceID, MacSerial: v.bundle.Device.MacSerial, CommandSHA256: v.sha256, Result: *record.Result,
	}
	said, err := claim.Check(*v.bundle.Receipt)
	switch {
	case record.Receipt != nil && record.Receipt.Verdict == storage.ReceiptNotGood:
		v.not("That the result is the Mac's word: the receipt was not good when it arrived (%s).", record.Receipt.Fault)
		return nil
	case err != nil:
		return fmt.Errorf("%w: the receipt: %w", ErrForged, err)
	}
	v.show("The Mac's own key %s says of this very order: %s (%s), begun %s, ended %s.", v.bundle.Device.KeyID, said.Result.State, said.Result.Code, timeWords(said.Result.StartedAt), timeWords(said.Result.EndedAt))
	if said.Result.Message != "" {
		v.show("In its words: %q.", said.Result.Message)
	}
	if epoch := v.command.Target.Epoch; epoch != "" && epoch != said.Epoch {
		v.show("The Mac had begun a new epoch since the order was signed.")
	}
	if v.trust.DeviceKeyID == "" {
		v.not("That the key %s is that Mac's: compare it with 'prlagent status --verbose' there, or give --device-key.", v.bundle.Device.KeyID)
	}
	v.proof.Complete = v.trust.hasKeys()
	return nil
}

// checkAudit: each line fits between its hashes, says what the order says, and stands in
// the reader's own log where there is one.
func (v *verifying) checkAudit() error {
	issued := false
	for i, line := range v.bundle.Audit {
		entry, err := line.Entry()
		if err != nil {
			return err
		}
		if i > 0 {
			if before := v.bundle.Audit[i-1]; before.Number >= line.Number || before.Number+1 == line.Number && before.After != line.Before {
				return fmt.Errorf("%w: line %d does not follow on line %d", audit.ErrBroken, line.Number, before.Number)
			}
		}
		if entry.Command == nil || entry.Command.ID != v.bundle.CommandID || entry.DeviceID != v.bundle.Device.DeviceID {
			return fmt.Errorf("%w: line %d of the audit log is about something else", ErrUnrelated, line.Number)
		}
		if entry.Action == audit.ActionCommand {
			if entry.Command.SHA256 != v.sha256 || entry.Command.Target != v.command.Target || entry.Command.IssuedBy != v.command.IssuedBy {
				return fmt.Errorf("%w: line %d of the audit log is about another order", ErrUnrelated, line.Number)
			}
			issued = true
		}
		v.tell("Audit line %d: %s", line.Number, entryWords(entry))
	}
	if err := v.checkOwnLog(); err != nil {
		return err
	}
	switch {
	case !issued:
		v.not("That the order was given when it says: the audit log has no line of it.")
	case v.trust.AuditLog != "":
		v.show("The lines are in your audit log, which is as it was written.")
	default:
		v.show("Each audit line fits the hashes before and after it.")
		v.not("That no line about it was left out, and that the log has these: give --audit with the log.")
	}
	return nil
}

// checkOwnLog: the reader's log is as it was written, has the lines of the file, and has no
// other one about the order up to the last of them. One that came later is told.
func (v *verifying) checkOwnLog() error {
	if v.trust.AuditLog == "" {
		return nil
	}
	own, err := audit.LinesInFile(v.trust.AuditLog, v.bundle.CommandID)
	if err != nil {
		return err
	}
	lines := v.bundle.Audit
	for _, line := range own {
		switch {
		case len(lines) > 0 && lines[0].Mark() == line.Mark():
			lines = lines[1:]
		case len(lines) > 0 && line.Number < lines[0].Number:
			return fmt.Errorf("%w: it leaves out line %d of your audit log", ErrChanged, line.Number)
		case len(lines) > 0:
			return fmt.Errorf("%w: your audit log has another line %d", audit.ErrBroken, lines[0].Number)
		default:
			v.isShort = true
			entry, err := line.Entry()
			if err != nil {
				return err
			}
			v.not("What line %d of your audit log says, which is not in the file: %s", line.Number, entryWords(entry))
		}
	}
	if len(lines) > 0 {
		return fmt.Errorf("%w: your audit log does not have line %d of the file", audit.ErrBroken, lines[0].Number)
	}
	return nil
}

// verifyEach is the payload, if every signature is good and of a trusted key.
func verifyEach(envelope protocol.Envelope, kind string, trusted []protocol.TrustedKey) ([]byte, error) {
	payload, err := envelope.Verify(kind, trusted, max(1, len(envelope.Signatures)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForged, err)
	}
	return payload, nil
}
