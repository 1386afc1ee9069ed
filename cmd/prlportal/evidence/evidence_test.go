package evidence_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/evidence"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
)

var update = flag.Bool("update", false, "write golden files")

var at = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// scene is a command that was ordered, approved and carried out, with all keys.
type scene struct {
	policy, alice, bob, mac ed25519.PrivateKey
	command                 protocol.Command
	result                  protocol.Result
	bundle                  evidence.Bundle
	log                     string // path of the audit log
}

func keyOf(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func public(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

func idOf(key ed25519.PrivateKey) string { return protocol.KeyID(public(key)) }

func newScene(t testing.TB) *scene {
	t.Helper()
	s := &scene{policy: keyOf(1), alice: keyOf(2), bob: keyOf(3), mac: keyOf(4)}
	s.command = protocol.Command{
		CommandID: "0198e001-0000-7000-8000-000000000000", Type: "vm.delete", IssuedAt: at, ExpiresAt: at.Add(30 * 24 * time.Hour), IssuedBy: "alice", Reason: "stolen <laptop>",
		Target: protocol.CommandTarget{DeviceID: "0198f6b2-0000-7000-8000-000000000002", Epoch: "b1f0", MacSerial: "C02XL0THJGH5", UID: 501, Owner: "carol", VMID: "1f3c2a1b-0000-4000-8000-000000000001", VMName: "Windows 11"},
	}
	s.result = protocol.Result{
		CommandID: s.command.CommandID, State: protocol.CommandSucceeded, Code: protocol.CodeVerifiedAbsent, Message: "gone", StartedAt: at.Add(time.Hour), EndedAt: at.Add(time.Hour + time.Minute),
		Observed: map[string]string{"bundle": "absent"},
	}
	s.build(t)
	return s
}

// build makes the bundle of the scene's command and result.
func (s *scene) build(t testing.TB) {
	t.Helper()
	payload := mustJSON(t, s.command)
	sum := storage.CommandEnvelopes{Command: protocol.Sign(protocol.PayloadCommand, payload)}
	sha := protocol.PointTo("", 0, sum.Payload()).SHA256
	entry := &audit.Command{ID: s.command.CommandID, Type: s.command.Type, Target: s.command.Target, IssuedBy: "alice", IssuedAt: s.command.IssuedAt, ExpiresAt: s.command.ExpiresAt, SHA256: sha}
	s.log = filepath.Join(t.TempDir(), "audit.log")
	log, err := audit.Open(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	target := s.command.Target
	for _, one := range []audit.Entry{
		{Action: audit.ActionBackup},
		{Action: audit.ActionCommand, DeviceID: target.DeviceID, MacSerial: target.MacSerial, By: "alice", Admin: "operator", KeyIDs: []string{idOf(s.alice)}, Reason: s.command.Reason, Command: entry},
		{Action: audit.ActionApproveCommand, DeviceID: target.DeviceID, MacSerial: target.MacSerial, By: "bob", Admin: "bob", KeyIDs: []string{idOf(s.bob)}, Command: &audit.Command{ID: s.command.CommandID}},
		{Action: audit.ActionBackup},
		{Action: audit.ActionCancelCommand, DeviceID: target.DeviceID, MacSerial: target.MacSerial, Admin: "bob", Command: &audit.Command{ID: s.command.CommandID}, Reason: "late"},
	} {
		one.At, one.Outcome, one.Source = at, audit.OutcomeDecided, "192.0.2.7"
		if err := log.Append(one); err != nil {
			t.Fatal(err)
		}
	}
	lines, err := log.LinesOf(s.command.CommandID)
	if err != nil || len(lines) != 3 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	receipt := protocol.Sign(protocol.PayloadReceipt, mustJSON(t, protocol.Receipt{
		DeviceID: target.DeviceID, MacSerial: target.MacSerial, Epoch: target.Epoch, CommandSHA256: sha, Result: s.result,
	}), s.mac)
	s.bundle = evidence.Bundle{
		MadeAt: at.Add(24 * time.Hour), CommandID: s.command.CommandID,
		Site:   evidence.Site{ID: "site-1", Name: "Example & Co", URL: "https://portal.example.com", Version: "1.0"},
		Device: evidence.Device{DeviceID: target.DeviceID, MacSerial: target.MacSerial, HardwareUUID: "8B4C0D6E", ComputerName: "Carol's Mac", Key: public(s.mac), KeyID: idOf(s.mac)},
		Order:  protocol.Sign(protocol.PayloadCommand, payload, s.alice, s.bob),
		Keys:   []protocol.Envelope{s.policyKeys(t, s.policy), s.commandKeys(t, s.policy)},
		Record: evidence.Record{
			State: s.result.State, Code: s.result.Code, Since: at.Add(2 * time.Hour), Needed: 2,
			Signers: []storage.Signer{{KeyID: idOf(s.alice), Person: "alice", Admin: "operator", At: at}, {KeyID: idOf(s.bob), Person: "bob", Admin: "bob", At: at}},
			Steps: []storage.CommandStep{{At: at, State: protocol.CommandAwaitingApproval, What: storage.StepIssued, By: "alice"}, {At: at, State: protocol.CommandPending, What: storage.StepApproved, By: "bob"},
				{At: at.Add(2 * time.Hour), State: s.result.State, Code: s.result.Code, MacAt: s.result.EndedAt, Epoch: target.Epoch}},
			Result: &s.result, Receipt: &storage.ReceiptCheck{Verdict: storage.ReceiptVerified},
		},
		Receipt: &receipt, Audit: lines,
	}
}

func (s *scene) policyKeys(t testing.TB, keys ...ed25519.PrivateKey) protocol.Envelope {
	t.Helper()
	list := site.PolicyKeys{SiteID: "site-1", Version: 1}
	for _, key := range keys {
		list.Keys = append(list.Keys, public(key))
	}
	return parsed(t, list, keys...)
}

func (s *scene) commandKeys(t testing.TB, signer ed25519.PrivateKey) protocol.Envelope {
	t.Helper()
	return parsed(t, site.CommandKeys{SiteID: "site-1", Version: 3, Threshold: map[string]int{"vm.delete": 2}, Keys: []site.CommandKey{
		{Key: public(s.alice), Person: "alice", AddedAt: at}, {Key: public(s.bob), Person: "bob", AddedAt: at},
	}}, signer)
}

func parsed(t testing.TB, list interface {
	Sign(keys ...ed25519.PrivateKey) ([]byte, error)
}, keys ...ed25519.PrivateKey) protocol.Envelope {
	t.Helper()
	file, err := list.Sign(keys...)
	if err != nil {
		t.Fatal(err)
	}
	envelope, err := protocol.ParseEnvelope(file, protocol.MaxPolicy)
	if err != nil {
		t.Fatal(err)
	}
	return envelope
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func seal(t testing.TB, bundle evidence.Bundle) []byte {
	t.Helper()
	file, err := evidence.Seal(bundle)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// trust is the reader's: the policy key of the site and the key of the Mac.
func (s *scene) trust() evidence.Trust {
	return evidence.Trust{PolicyKeys: []protocol.TrustedKey{{ID: idOf(s.policy), Key: public(s.policy)}}, DeviceKeyID: idOf(s.mac), AuditLog: s.log}
}

// The file's form is a contract, and so are the words of what it shows and does not.
func TestGoldenEvidence(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	file := seal(t, s.bundle)
	proof, err := evidence.Verify(file, evidence.Trust{PolicyKeys: s.trust().PolicyKeys})
	if err != nil || !proof.Complete {
		t.Fatalf("%v, %+v", err, proof)
	}
	for name, got := range map[string][]byte{"evidence.json": file, "proof.json": append(mustJSON(t, proof), '\n')} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not as before (%v):\n%s", name, err, got)
		}
	}
	for _, word := range []string{"backups", "snapshots", "root", "clock"} {
		if !strings.Contains(strings.Join(proof.NotShown, "\n"), word) {
			t.Errorf("it does not say that it says nothing of %s", word)
		}
	}
}

// One flipped bit anywhere in the file is refused: every byte of it, one bit of each.
func TestEveryFlippedByteIsRefused(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	file := seal(t, s.bundle)
	for i := range file {
		changed := bytes.Clone(file)
		changed[i] ^= 1 << (i % 8)
		if _, err := evidence.Open(changed); err == nil {
			t.Fatalf("byte %d (%q) was flipped, and it was not seen", i, file[i])
		}
	}
	for _, cut := range [][]byte{nil, file[:len(file)-1], file[:40], append(bytes.Clone(file), ' '), append([]byte{' '}, file...)} {
		if _, err := evidence.Open(cut); err == nil {
			t.Errorf("a file of %d bytes instead of %d was taken", len(cut), len(file))
		}
	}
}

// Whoever flips a byte and makes the sum anew is found out by the signatures and hashes:
// in the order, its signatures, the lists, the receipt, the keys and the audit lines.
func TestEveryFlippedByteThatIsSignedIsRefusedUnderANewSum(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	sealed := seal(t, s.bundle)
	decoded := func() (b evidence.Bundle) {
		b, err := evidence.Open(sealed)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	text := func(value *string, change func([]byte)) {
		data := []byte(*value)
		change(data)
		*value = string(data)
	}
	encoded := func(value *string, change func([]byte)) { // of what the text stands for
		data, err := base64.StdEncoding.DecodeString(*value)
		if err != nil {
			t.Fatal(err)
		}
		change(data)
		*value = base64.StdEncoding.EncodeToString(data)
	}
	envelopes := map[string]func(*evidence.Bundle) *protocol.Envelope{
		"order": func(b *evidence.Bundle) *protocol.Envelope { return &b.Order }, "policy keys": func(b *evidence.Bundle) *protocol.Envelope { return &b.Keys[0] },
		"command keys": func(b *evidence.Bundle) *protocol.Envelope { return &b.Keys[1] }, "receipt": func(b *evidence.Bundle) *protocol.Envelope { return b.Receipt },
	}
	parts := map[string]func(*evidence.Bundle, func([]byte)){
		"device id": func(b *evidence.Bundle, c func([]byte)) { text(&b.Device.DeviceID, c) }, "key id": func(b *evidence.Bundle, c func([]byte)) { text(&b.Device.KeyID, c) },
		"device key": func(b *evidence.Bundle, c func([]byte)) { c(b.Device.Key) }, "command id": func(b *evidence.Bundle, c func([]byte)) { text(&b.CommandID, c) },
		"signer": func(b *evidence.Bundle, c func([]byte)) { text(&b.Record.Signers[1].Person, c) }, "signer's key": func(b *evidence.Bundle, c func([]byte)) { text(&b.Record.Signers[0].KeyID, c) },
		"state": func(b *evidence.Bundle, c func([]byte)) { text(&b.Record.State, c) }, "result": func(b *evidence.Bundle, c func([]byte)) { text(&b.Record.Result.Message, c) },
		"audit line": func(b *evidence.Bundle, c func([]byte)) { text(&b.Audit[1].Text, c) }, "hash before": func(b *evidence.Bundle, c func([]byte)) { text(&b.Audit[0].Before, c) },
		"hash after": func(b *evidence.Bundle, c func([]byte)) { text(&b.Audit[2].After, c) }, "site": func(b *evidence.Bundle, c func([]byte)) { text(&b.Site.ID, c) },
	}
	for name, of := range envelopes {
		parts[name] = func(b *evidence.Bundle, c func([]byte)) { encoded(&of(b).Payload, c) }
		parts[name+"'s signature"] = func(b *evidence.Bundle, c func([]byte)) { encoded(&of(b).Signatures[0].Sig, c) }
		parts[name+"'s signer"] = func(b *evidence.Bundle, c func([]byte)) { text(&of(b).Signatures[0].KeyID, c) }
		parts[name+"'s type"] = func(b *evidence.Bundle, c func([]byte)) { text(&of(b).PayloadType, c) }
	}
	parts["approval's signature"] = func(b *evidence.Bundle, c func([]byte)) { encoded(&b.Order.Signatures[1].Sig, c) }
	for name, part := range parts {
		size := 0
		whole := decoded()
		part(&whole, func(data []byte) { size = len(data) })
		for i := range size {
			forged := decoded()
			part(&forged, func(data []byte) { data[i] ^= 1 })
			file, err := evidence.Seal(forged)
			if err != nil {
				continue
			}
			if proof, err := evidence.Verify(file, evidence.Trust{}); err == nil {
				t.Errorf("byte %d of %s was changed, and it shows %q", i, name, proof.Shown)
				break
			}
		}
	}
}

// No bytes that anybody sends make it fail otherwise than with an error.
func TestVerifyTakesAnyBytes(t *testing.T) {
	t.Parallel()
	file := seal(t, newScene(t).bundle)
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.IntRange(0, len(file)).Draw(t, "from")
		put := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "put")
		to := rapid.IntRange(from, min(len(file), from+40)).Draw(t, "to")
		changed := bytes.Join([][]byte{file[:from], put, file[to:]}, nil)
		if bytes.Equal(changed, file) {
			return
		}
		if _, err := evidence.Verify(changed, evidence.Trust{}); err == nil {
			t.Fatal("it was taken")
		}
	})
}

// Parts of two commands, and keys of another, do not make one piece of evidence.
func TestEvidenceOfAnotherIsRefused(t *testing.T) {
	t.Parallel()
	other := newScene(t)
	other.command.CommandID, other.command.Target.VMName = "0198e001-0000-7000-8000-000000000009", "Debian"
	other.result.CommandID = other.command.CommandID
	other.build(t)
	stranger := keyOf(9)
	namesake := newScene(t)
	namesake.command.Reason = "another"
	namesake.build(t)
	for name, test := range map[string]struct {
		change func(s *scene)
		trust  func(*evidence.Trust)
		want   error
	}{
		"the order of another command":   {change: func(s *scene) { s.bundle.Order = other.bundle.Order }, want: evidence.ErrUnrelated},
		"the receipt of another command": {change: func(s *scene) { s.bundle.Receipt = other.bundle.Receipt }, want: evidence.ErrForged},
		"the result of another command":  {change: func(s *scene) { s.bundle.Record.Result = &other.result }, want: evidence.ErrUnrelated},
		"a receipt of another key": {change: func(s *scene) {
			payload, _ := s.bundle.Receipt.Unverified()
			signed := protocol.Sign(protocol.PayloadReceipt, payload, stranger)
			s.bundle.Receipt = &signed
		}, want: evidence.ErrForged},
		"a receipt and the key of another Mac, where the reader knows the Mac's": {change: func(s *scene) {
			payload, _ := s.bundle.Receipt.Unverified()
			signed := protocol.Sign(protocol.PayloadReceipt, payload, stranger)
			s.bundle.Receipt, s.bundle.Device.Key, s.bundle.Device.KeyID = &signed, public(stranger), idOf(stranger)
		}, want: evidence.ErrUntrusted},
		"a receipt of no result":        {change: func(s *scene) { s.bundle.Record.Result = nil }, want: evidence.ErrUnrelated},
		"another state":                 {change: func(s *scene) { s.bundle.Record.State = protocol.CommandFailed }, want: evidence.ErrUnrelated},
		"an approval that nobody gave":  {change: func(s *scene) { s.bundle.Order.Signatures[1].Sig = s.bundle.Order.Signatures[0].Sig }, want: evidence.ErrForged},
		"one person twice":              {change: func(s *scene) { s.bundle.Order.Signatures[1] = s.bundle.Order.Signatures[0] }, want: evidence.ErrForged},
		"an approval that is not named": {change: func(s *scene) { s.bundle.Record.Signers = s.bundle.Record.Signers[:1] }, want: evidence.ErrUnrelated},
		"another person's name":         {change: func(s *scene) { s.bundle.Record.Signers[1].Person = "carol" }, want: evidence.ErrUnrelated},
		"no lists of keys":              {change: func(s *scene) { s.bundle.Keys = nil }, want: evidence.ErrForged},
		"no list of policy keys":        {change: func(s *scene) { s.bundle.Keys = s.bundle.Keys[1:] }, want: evidence.ErrForged},
		"command keys by another":       {change: func(s *scene) { s.bundle.Keys[1] = s.commandKeys(t, stranger) }, want: evidence.ErrForged},
		"a whole site of another's keys": {change: func(s *scene) {
			s.bundle.Keys = []protocol.Envelope{s.policyKeys(t, stranger), s.commandKeys(t, stranger)}
		}, want: evidence.ErrUntrusted},
		"an order by a stranger": {change: func(s *scene) {
			s.bundle.Order = protocol.Sign(protocol.PayloadCommand, mustJSON(t, s.command), stranger)
		}, want: evidence.ErrForged},
		"an order in another's name": {change: func(s *scene) {
			s.command.IssuedBy = "bob"
			s.bundle.Order = protocol.Sign(protocol.PayloadCommand, mustJSON(t, s.command), s.alice, s.bob)
		}, want: evidence.ErrUnrelated},
		"one person with two keys": {change: func(s *scene) {
			again := parsed(t, site.CommandKeys{SiteID: "site-1", Version: 4, Keys: []site.CommandKey{{Key: public(stranger), Person: "alice", AddedAt: at}}}, s.policy)
			s.bundle.Keys = append(s.bundle.Keys, again)
			s.bundle.Order = protocol.Sign(protocol.PayloadCommand, mustJSON(t, s.command), s.alice, stranger)
			s.bundle.Record.Signers[1] = storage.Signer{KeyID: idOf(stranger), Person: "alice"}
		}, want: evidence.ErrUnrelated},
		"policy keys of another site's list": {change: func(s *scene) {
			s.bundle.Keys = append(s.bundle.Keys, parsed(t, site.PolicyKeys{SiteID: "site-2", Version: 1, Keys: [][]byte{public(stranger)}}, stranger))
		}, want: evidence.ErrUnrelated},
		"audit lines of an order with its id": {change: func(s *scene) { s.bundle.Audit = namesake.bundle.Audit }, want: evidence.ErrUnrelated},
		"an audit line with another number": {change: func(s *scene) {
			line := &s.bundle.Audit[2]
			sum := sha256.Sum256([]byte(line.Before + line.Text))
			line.Number, line.After = line.Number+1, hex.EncodeToString(sum[:])
		}, trust: func(trust *evidence.Trust) { trust.AuditLog = "" }, want: audit.ErrBroken},
		"the Mac of another order":      {change: func(s *scene) { s.bundle.Device.MacSerial = "C02OTHER" }, want: evidence.ErrUnrelated},
		"a list of holds of no lock":    {change: func(s *scene) { s.bundle.Holds = &s.bundle.Order }, want: evidence.ErrUnrelated},
		"audit lines of another":        {change: func(s *scene) { s.bundle.Audit = other.bundle.Audit }, want: evidence.ErrUnrelated},
		"audit lines in another order":  {change: func(s *scene) { s.bundle.Audit[0], s.bundle.Audit[1] = s.bundle.Audit[1], s.bundle.Audit[0] }, want: audit.ErrBroken},
		"an audit line twice":           {change: func(s *scene) { s.bundle.Audit[1] = s.bundle.Audit[0] }, want: audit.ErrBroken},
		"an audit log without the line": {trust: func(trust *evidence.Trust) { trust.AuditLog = other.log }, want: audit.ErrBroken},
		"an approver's key for another person, by a list of another's": {change: func(s *scene) {
			renamed := site.CommandKeys{SiteID: "site-1", Version: 1, Keys: []site.CommandKey{{Key: public(s.bob), Person: "carol", AddedAt: at}}}
			s.bundle.Keys = append([]protocol.Envelope{s.policyKeys(t, stranger), parsed(t, renamed, stranger)}, s.bundle.Keys...)
			s.bundle.Record.Signers[1].Person = "carol"
		}, want: evidence.ErrUntrusted},
		"an audit log with a line that was left out":                  {change: func(s *scene) { s.bundle.Audit = slices.Delete(s.bundle.Audit, 1, 2) }, want: evidence.ErrChanged},
		"an audit log with the line of the order, which was left out": {change: func(s *scene) { s.bundle.Audit = s.bundle.Audit[1:] }, want: evidence.ErrChanged},
		"policy keys of another site": {trust: func(trust *evidence.Trust) {
			trust.PolicyKeys[0] = protocol.TrustedKey{ID: idOf(stranger), Key: public(stranger)}
		}, want: evidence.ErrUntrusted},
		"command keys of another site": {trust: func(trust *evidence.Trust) {
			trust.PolicyKeys, trust.CommandKeys = nil, []site.CommandKey{{Key: public(stranger), Person: "alice"}}
		}, want: evidence.ErrUntrusted},
		"the right key for another person": {trust: func(trust *evidence.Trust) {
			trust.PolicyKeys, trust.CommandKeys = nil, []site.CommandKey{{Key: public(keyOf(2)), Person: "mallory"}, {Key: public(keyOf(3)), Person: "bob"}}
		}, want: evidence.ErrUntrusted},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			trust := s.trust()
			if test.change != nil {
				test.change(s)
			}
			if test.trust != nil {
				test.trust(&trust)
			}
			if proof, err := evidence.Verify(seal(t, s.bundle), trust); !errors.Is(err, test.want) {
				t.Errorf("error is %v, want %v; it shows %q", err, test.want, proof.Shown)
			}
		})
	}
}

// What is missing is said, and the file is not complete; what is there is still shown.
func TestWhatIsMissingIsSaid(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change   func(s *scene, trust *evidence.Trust)
		complete bool
		want     string
	}{
		"nothing": {func(*scene, *evidence.Trust) {}, true, ""},
		"command keys do too": {func(s *scene, trust *evidence.Trust) {
			trust.PolicyKeys, trust.CommandKeys = nil, []site.CommandKey{{Key: public(s.alice), Person: "alice"}, {Key: public(s.bob), Person: "bob"}}
		}, true, ""},
		"keys":                  {func(_ *scene, trust *evidence.Trust) { trust.PolicyKeys = nil }, false, "--keys"},
		"the Mac's key":         {func(_ *scene, trust *evidence.Trust) { trust.DeviceKeyID = "" }, true, "--device-key"},
		"the audit log":         {func(_ *scene, trust *evidence.Trust) { trust.AuditLog = "" }, true, "--audit"},
		"the line of the order": {func(s *scene, trust *evidence.Trust) { s.bundle.Audit, trust.AuditLog = s.bundle.Audit[1:], "" }, true, "no line of it"},
		"the last audit line":   {func(s *scene, _ *evidence.Trust) { s.bundle.Audit = s.bundle.Audit[:2] }, false, "cancel_command"},
		"an approval": {func(s *scene, _ *evidence.Trust) {
			s.bundle.Order.Signatures, s.bundle.Record.Signers, s.bundle.Record.Needed = s.bundle.Order.Signatures[:1], s.bundle.Record.Signers[:1], 1
		}, false, "1 of the 2 signatures"},
		"a receipt": {func(s *scene, _ *evidence.Trust) { s.bundle.Receipt = nil }, false, "no receipt"},
		"a good receipt": {func(s *scene, _ *evidence.Trust) {
			s.bundle.Receipt.Signatures[0].Sig = s.bundle.Order.Signatures[0].Sig
			s.bundle.Record.Receipt = &storage.ReceiptCheck{Verdict: storage.ReceiptNotGood, Fault: "forged"}
		}, false, "was not good when it arrived (forged)"},
		"a result": {func(s *scene, _ *evidence.Trust) {
			s.bundle.Record.Result, s.bundle.Receipt, s.bundle.Record.State = nil, nil, protocol.CommandDelivered
		}, false, "no result"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			trust := s.trust()
			test.change(s, &trust)
			proof, err := evidence.Verify(seal(t, s.bundle), trust)
			if err != nil || proof.Complete != test.complete || !strings.Contains(strings.Join(proof.NotShown, "\n"), test.want) {
				t.Errorf("%v, complete %t, not shown:\n%s", err, proof.Complete, strings.Join(proof.NotShown, "\n"))
			}
		})
	}
}

// A Mac that lost its journal says so: the receipt names the new epoch (H22).
func TestH22_EvidenceNamesANewEpoch(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	payload, err := s.bundle.Receipt.Unverified()
	if err != nil {
		t.Fatal(err)
	}
	signed := protocol.Sign(protocol.PayloadReceipt, bytes.Replace(payload, []byte(`"epoch":"b1f0"`), []byte(`"epoch":"c2e1"`), 1), s.mac)
	s.bundle.Receipt = &signed
	proof, err := evidence.Verify(seal(t, s.bundle), s.trust())
	if err != nil || !strings.Contains(strings.Join(proof.Shown, "\n"), "new epoch") {
		t.Errorf("%v\n%s", err, strings.Join(proof.Shown, "\n"))
	}
}

// A lock's evidence has the list of holds that was signed with it, and no other (H69).
func TestH69_EvidenceOfALockHasItsListOfHolds(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	list := protocol.HoldList{DeviceID: s.command.Target.DeviceID, MacSerial: s.command.Target.MacSerial, Version: 7, IssuedAt: at, Holds: []protocol.Hold{{VMKey: s.command.Target.VM(), Owner: "carol", VMName: "Windows 11", Since: at, CommandID: s.command.CommandID}}}
	signed := protocol.Sign(protocol.PayloadHolds, mustJSON(t, list), s.alice)
	s.command.Type, s.command.Params = "vm.lock", mustJSON(t, protocol.HoldsParams{Holds: signed})
	s.build(t)
	both := protocol.Sign(protocol.PayloadHolds, mustJSON(t, list), s.alice, s.bob)
	s.bundle.Holds = &both
	proof, err := evidence.Verify(seal(t, s.bundle), s.trust())
	if err != nil || !strings.Contains(strings.Join(proof.Shown, "\n"), "version 7, with 1 held") {
		t.Fatalf("%v\n%s", err, strings.Join(proof.Shown, "\n"))
	}
	list.Version++
	another := protocol.Sign(protocol.PayloadHolds, mustJSON(t, list), s.alice, s.bob)
	for name, holds := range map[string]*protocol.Envelope{"none": nil, "another": &another, "one that bob has not signed": &signed} {
		s.bundle.Holds = holds
		if _, err := evidence.Verify(seal(t, s.bundle), s.trust()); !errors.Is(err, evidence.ErrUnrelated) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
