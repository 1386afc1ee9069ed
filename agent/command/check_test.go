package command

import (
	"crypto/ed25519"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
)

var testNow = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

// testKey is the key of an operator.
func testKey(n byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	return ed25519.NewKeyFromSeed(seed)
}

func trusted(keys ...ed25519.PrivateKey) (list []protocol.TrustedKey) {
	for _, key := range keys {
		public := key.Public().(ed25519.PublicKey)
		list = append(list, protocol.TrustedKey{ID: protocol.KeyID(public), Key: public})
	}
	return list
}

// goodCommand is one that is carried out.
func goodCommand() protocol.Command {
	return protocol.Command{
		CommandID: "0195500a-0000-7000-8000-000000000001", Type: "vm.delete", IssuedAt: testNow.Add(-time.Hour), ExpiresAt: testNow.Add(24 * time.Hour),
		Target: protocol.CommandTarget{DeviceID: "device-1", Epoch: "epoch-1", MacSerial: "C02TEST", UID: 501, VMID: "vm-1"},
	}
}

func goodCircumstances() Circumstances {
	return Circumstances{
		Clock: Clock{Wall: testNow, Trusted: testNow, Likely: testNow, Proven: true},
		Trust: Trust{Keys: trusted(testKey(1), testKey(2)), Allowed: []string{"vm.delete"}, Mode: protocol.ModeEnforce, Limit: 4, Window: 24 * time.Hour},
		Target: Target{DeviceID: "device-1", Serial: "C02TEST", Epoch: "epoch-1", Owners: func(id string) []uint32 {
			return map[string][]uint32{"vm-1": {501, 502}, "vm-2": {502}}[id]
		}},
	}
}

func signed(t testing.TB, command protocol.Command, keys ...ed25519.PrivateKey) protocol.Envelope {
	t.Helper()
	payload, err := json.Marshal(command)
	if err != nil {
		t.Fatal(err)
	}
	return protocol.Sign(protocol.PayloadCommand, payload, keys...)
}

// Whatever is wrong with an order, it is refused with its reason, and before its
// signatures nothing of it counts.
func TestH20_H23_H24_CMD09_PROTOCOL13_PROTOCOL14_PROTOCOL17_PROTOCOL23_EnvelopeIsChecked(t *testing.T) {
	t.Parallel()
	expired := refusal{protocol.CommandExpired, protocol.CodeCommandExpired}
	for name, c := range map[string]struct {
		command func(*protocol.Command)
		now     func(*Circumstances)
		keys    []ed25519.PrivateKey
		want    refusal
	}{
		"a good one":               {want: refusal{}},
		"no signature":             {keys: []ed25519.PrivateKey{}, want: rejected(protocol.CodeCommandSignature)},
		"a stranger's signature":   {keys: []ed25519.PrivateKey{testKey(9)}, want: rejected(protocol.CodeCommandSignature)},
		"no keys on this Mac":      {now: func(n *Circumstances) { n.Trust.Keys = nil }, want: rejected(protocol.CodeCommandSignature)},
		"one key of two":           {now: need(2), want: rejected(protocol.CodeCommandSignature)},
		"the same key twice":       {now: need(2), keys: []ed25519.PrivateKey{testKey(1), testKey(1)}, want: rejected(protocol.CodeCommandSignature)},
		"a stranger as the second": {now: need(2), keys: []ed25519.PrivateKey{testKey(1), testKey(9)}, want: rejected(protocol.CodeCommandSignature)},
		"two keys of two":          {now: need(2), keys: []ed25519.PrivateKey{testKey(1), testKey(2)}, want: refusal{}},
		"a threshold that cannot be read": {now: need(0), keys: []ed25519.PrivateKey{testKey(1), testKey(2)},
			want: rejected(protocol.CodeCommandSignature)},
		"the other two-key type":    {now: func(n *Circumstances) { n.Trust.Thresholds = map[string]int{"vm.lock": 2} }, want: refusal{}},
		"another device":            {command: func(c *protocol.Command) { c.Target.DeviceID = "device-2" }, want: rejected(protocol.CodeCommandOtherMac)},
		"another Mac":               {command: func(c *protocol.Command) { c.Target.MacSerial = "C02OTHER" }, want: rejected(protocol.CodeCommandOtherMac)},
		"a serial in other letters": {command: func(c *protocol.Command) { c.Target.MacSerial = "c02test" }, want: refusal{}},
		"a Mac that does not know who it is": {now: func(n *Circumstances) { n.Target.Serial = "" },
			want: rejected(protocol.CodeCommandOtherMac)},
		"another owner":             {command: func(c *protocol.Command) { c.Target.VMID = "vm-2" }, want: rejected(protocol.CodeTargetOwner)},
		"the same id in two":        {command: func(c *protocol.Command) { c.Target.UID = 502 }, want: refusal{}},
		"a machine that nobody has": {command: func(c *protocol.Command) { c.Target.VMID = "vm-3" }, want: refusal{}},
		"another epoch":             {command: func(c *protocol.Command) { c.Target.Epoch = "epoch-0" }, want: refusal{protocol.CommandFailed, protocol.CodeCommandOtherEpoch}},
		"no epoch":                  {command: func(c *protocol.Command) { c.Target.Epoch = "" }, want: refusal{}},
		"a life of more than 90 days": {command: func(c *protocol.Command) { c.ExpiresAt = c.IssuedAt.Add(91 * 24 * time.Hour) },
			want: rejected(protocol.CodeCommandInvalid)},
		"params of another type": {command: func(c *protocol.Command) { c.Params = json.RawMessage(`{"force":true}`) },
			want: rejected(protocol.CodeCommandInvalid)},
		"expired": {command: func(c *protocol.Command) { c.ExpiresAt = testNow }, want: expired},
		"expired, with the clock set back a year": {command: func(c *protocol.Command) { c.ExpiresAt = testNow },
			now: func(n *Circumstances) { n.Clock.Wall = testNow.AddDate(-1, 0, 0) }, want: expired},
		"not allowed here":            {now: func(n *Circumstances) { n.Trust.Allowed = nil }, want: rejected(protocol.CodeCommandUnlisted)},
		"a type of a later version":   {command: func(c *protocol.Command) { c.Type, c.Target.VMID, c.Target.UID = "vm.paint", "", 0 }, want: rejected(protocol.CodeCommandUnknown)},
		"only monitored":              {now: func(n *Circumstances) { n.Trust.Mode = protocol.ModeMonitor }, want: rejected(protocol.CodeCommandMonitor)},
		"a look while only monitored": {command: onMac("inventory.refresh"), now: func(n *Circumstances) { n.Trust.Mode, n.Trust.Allowed = protocol.ModeMonitor, nil }, want: refusal{}},
		// The order of the checks.
		"signature before device": {command: func(c *protocol.Command) { c.Target.DeviceID = "device-2" }, keys: []ed25519.PrivateKey{testKey(9)}, want: rejected(protocol.CodeCommandSignature)},
		"device before expiry": {command: func(c *protocol.Command) { c.Target.DeviceID, c.ExpiresAt = "device-2", testNow },
			want: rejected(protocol.CodeCommandOtherMac)},
		"expiry before the list": {command: func(c *protocol.Command) { c.ExpiresAt = testNow },
			now: func(n *Circumstances) { n.Trust.Allowed = nil }, want: expired},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command, now := goodCommand(), goodCircumstances()
			if c.command != nil {
				c.command(&command)
			}
			if c.now != nil {
				c.now(&now)
			}
			if c.keys == nil {
				c.keys = []ed25519.PrivateKey{testKey(1)}
			}
			if _, got := check(openSigned, new(signed(t, command, c.keys...)), &now, time.Time{}); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

func need(keys int) func(*Circumstances) {
	return func(n *Circumstances) { n.Trust.Thresholds = map[string]int{"vm.delete": keys} }
}

func onMac(kind string) func(*protocol.Command) {
	return func(c *protocol.Command) { c.Type, c.Target.VMID, c.Target.UID = kind, "", 0 }
}

// One flipped byte anywhere in what is signed, and another kind of payload that the
// same key has signed, are no order.
func TestH20_PROTOCOL01_FlippedBytesAreRefused(t *testing.T) {
	t.Parallel()
	good := signed(t, goodCommand(), testKey(1))
	payload, _ := good.Unverified()
	for at := range payload {
		flipped := append([]byte(nil), payload...)
		flipped[at] ^= 1
		other := protocol.Sign(protocol.PayloadCommand, flipped, testKey(1))
		other.Signatures = good.Signatures
		if _, got := check(openSigned, &other, new(goodCircumstances()), time.Time{}); got.Code != protocol.CodeCommandSignature {
			t.Fatalf("byte %d: %+v", at, got)
		}
	}
	head := protocol.Sign(protocol.PayloadHead, payload, testKey(1))
	if _, got := check(openSigned, &head, new(goodCircumstances()), time.Time{}); got.Code != protocol.CodeCommandSignature {
		t.Errorf("a head is taken for a command: %+v", got)
	}
}

// Once commands of a time were forgotten, none of them starts again, whatever the
// time is said to be (H65 can put the trusted time back).
func TestH24_ForgottenCommandsStayExpired(t *testing.T) {
	t.Parallel()
	command := goodCommand()
	order := signed(t, command, testKey(1))
	if _, got := check(openSigned, &order, new(goodCircumstances()), command.ExpiresAt); got.State != protocol.CommandExpired {
		t.Errorf("%+v", got)
	}
	if _, got := check(openSigned, &order, new(goodCircumstances()), command.ExpiresAt.Add(-time.Second)); got.State != "" {
		t.Errorf("%+v", got)
	}
}

// A destructive command starts only with proof of the time, and nothing starts that
// may be over by the Mac's own clock.
func TestH24_ProofOfTime(t *testing.T) {
	t.Parallel()
	command := goodCommand()
	order := signed(t, command, testKey(1))
	r := received(&order, &command, "", new(goodCircumstances()))
	for name, c := range map[string]struct {
		kind   string
		clock  func(*Clock)
		action action
	}{
		"proven":                                 {"vm.delete", func(*Clock) {}, doPrepare},
		"not proven":                             {"vm.delete", func(c *Clock) { c.Proven = false }, doWait},
		"not proven, and nothing is taken away":  {"vm.restart", func(c *Clock) { c.Proven = false }, doPrepare},
		"the Mac was asleep beyond the expiry":   {"vm.delete", func(c *Clock) { c.Likely = command.ExpiresAt }, doWait},
		"and what takes nothing away waits, too": {"vm.restart", func(c *Clock) { c.Likely = command.ExpiresAt }, doWait},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now, asked := goodCircumstances().Clock, *r
			c.clock(&now)
			asked.Command.Type = c.kind
			got := decide(&asked, &situation{clock: now, epoch: "epoch-1", executes: true})
			if got.action != c.action || c.action == doWait && got.Code != protocol.CodeTimeUnproven {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestClaimedReadsOnlyAnID(t *testing.T) {
	t.Parallel()
	for payload, want := range map[string]string{
		`{"command_id":"a-1","type":"vm.delete"}`:          "a-1",
		`{"command_id":"a-1","type":7,"target":[]}`:        "a-1",
		`{"command_id":"../a"}`:                            "",
		`{"command_id":""}`:                                "",
		`{"command_id":"a","command_id":"b"}`:              "",
		`{"command_id":"` + strings.Repeat("a", 99) + `"}`: "",
		`{"command_id":"a","reason":"` + strings.Repeat("x", protocol.MaxHoldsCommand) + `"}`: "",
		`nothing`: "",
	} {
		command, _, ok := claimed(new(protocol.Sign(protocol.PayloadCommand, []byte(payload))))
		if ok != (want != "") || command.CommandID != want {
			t.Errorf("%.60s: %q %t, want %q", payload, command.CommandID, ok, want)
		}
	}
}
