package agentapi_test

import (
	"cmp"
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"testing"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
)

// say is a check-in that says something of commands; it must be accepted.
func say(t *testing.T, m *portaltest.Mac, change func(*protocol.CheckinRequest)) (protocol.CheckinRequest, protocol.CheckinReply) {
	t.Helper()
	request, base := m.Next(t)
	change(&request)
	got := m.Send(t, request)
	if got.Status != http.StatusOK {
		t.Fatalf("check-in answered %d %s", got.Status, got.Body)
	}
	m.Base = base
	var reply protocol.CheckinReply
	got.Decode(t, &reply)
	return request, reply
}

func nothing(*protocol.CheckinRequest) {}

// A delete goes its way: pending, delivered, told by the Mac, done; the columns show it
// until the row goes (CMD-03, INV-15).
func TestCMD03_ADeleteIsPendingUntilTheMacReports(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	command := portal.Issue(t, m.NewCommand("vm.delete", &m.Report.VMs[0], nil))
	column := func() string { return portal.VMs(t)["Windows 11"]["last_command"].(string) }
	if got := column(); got != "Pending delete" {
		t.Errorf("last command is %q", got)
	}
	_, reply := say(t, m, nothing)
	if len(reply.Commands) != 1 {
		t.Fatalf("reply is %+v", reply)
	}
	key := portal.CommandKey(t)
	public := key.Public().(ed25519.PublicKey)
	if _, err := reply.Commands[0].Verify(protocol.PayloadCommand, []protocol.TrustedKey{{ID: protocol.KeyID(public), Key: public}}, 1); err != nil {
		t.Error(err)
	}
	say(t, m, func(r *protocol.CheckinRequest) {
		r.OpenCommands = []protocol.OpenCommand{{CommandID: command.CommandID, State: protocol.CommandDeferred, Code: protocol.CodeWaitsForStop, At: portal.Clock.Now()}}
	})
	if detail := portal.Command(t, command.CommandID); detail.State != protocol.CommandDeferred || detail.Code != string(protocol.CodeWaitsForStop) || column() != "Pending delete" {
		t.Errorf("command is %+v", detail.Command)
	}
	receipt := protocol.Sign(protocol.PayloadReceipt, []byte(`{"device_id":"d"}`), m.Key)
	result := protocol.Result{CommandID: command.CommandID, State: protocol.CommandFailed, Code: protocol.CodeNotDone, Message: "busy", EndedAt: portal.Clock.Now(), Receipt: &receipt}
	request, reply := say(t, m, func(r *protocol.CheckinRequest) { r.Results = []protocol.Result{result} })
	if len(reply.Acks) != 1 || len(reply.Commands) != 0 {
		t.Errorf("reply is %+v", reply)
	}
	row := portal.VMs(t)["Windows 11"]
	if column() != "Failed to delete" || row["vm_status"] != protocol.StatusDeleteFailed {
		t.Errorf("last command %q, status %v", column(), row["vm_status"])
	}
	detail := portal.Command(t, command.CommandID)
	if detail.Receipt == nil || detail.Receipt.Payload != receipt.Payload || len(detail.Steps) != 4 {
		t.Errorf("detail is %+v", detail)
	}
	var again protocol.CheckinReply // protocol test 11, H03
	m.Send(t, request).Decode(t, &again)
	if len(again.Acks) != 1 {
		t.Errorf("the repeat is answered with %+v", again)
	}
}

// H03: the repeat of a request has its first answer, and commands as they are now.
func TestH03_CommandsAreComputedAfreshForARepeat(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	request, reply := say(t, m, nothing)
	if len(reply.Commands) != 0 {
		t.Fatalf("reply is %+v", reply)
	}
	command := portal.Issue(t, m.NewCommand("vm.delete", &m.Report.VMs[0], nil))
	var again protocol.CheckinReply
	m.Send(t, request).Decode(t, &again)
	if len(again.Commands) != 1 || portal.Command(t, command.CommandID).State != protocol.CommandDelivered {
		t.Errorf("repeat is answered with %+v", again)
	}
	if got := portal.DecideCommand(t, "cancel", command.CommandID); got.Status != http.StatusOK {
		t.Fatalf("cancel: %s", got.Body)
	}
	m.Send(t, request).Decode(t, &again)
	again = protocol.CheckinReply{}
	m.Send(t, request).Decode(t, &again)
	if len(again.Commands) != 0 || len(again.Cancel) != 1 {
		t.Errorf("repeat is answered with %+v", again)
	}
}

// Who has the portal, or an operator's token, and no command key makes no command; who
// has a key makes none in another's name, for another Mac, or twice.
func TestH31_OnlyARegisteredKeyMakesACommand(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	vm := &m.Report.VMs[0]
	key := portal.CommandKey(t)
	stranger := portaltest.NewKey(t)
	for name, change := range map[string]func(*protocol.Command){
		"in another's name":   func(c *protocol.Command) { c.IssuedBy = "somebody" },
		"for another device":  func(c *protocol.Command) { c.Target.DeviceID = "0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e11" },
		"for another Mac":     func(c *protocol.Command) { c.Target.MacSerial = "C02ZZZZZZZZZ" },
		"of another user":     func(c *protocol.Command) { c.Target.UID = 502 },
		"of another epoch":    func(c *protocol.Command) { c.Target.Epoch = "other" },
		"of another bundle":   func(c *protocol.Command) { c.Target.Bundle.Inode++ },
		"of before":           func(c *protocol.Command) { c.IssuedAt, c.ExpiresAt = c.IssuedAt.Add(-48e13), c.IssuedAt.Add(-1) },
		"for a hundred days":  func(c *protocol.Command) { c.ExpiresAt = c.IssuedAt.Add(100 * 24 * 36e11) },
		"with an id of ours":  func(c *protocol.Command) { c.CommandID = "1" },
		"with unknown params": func(c *protocol.Command) { c.Params = json.RawMessage(`{"wipe":true}`) },
	} {
		command := m.NewCommand("vm.delete", vm, nil)
		change(&command)
		if got := portal.Upload(t, command, key); got.Status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, got.Status, got.Body)
		}
	}
	good := m.NewCommand("vm.delete", vm, nil)
	if got := portal.Upload(t, good, stranger); got.Status != http.StatusBadRequest {
		t.Errorf("signed by a stranger: %d %s", got.Status, got.Body)
	}
	payload, _ := json.Marshal(good)
	signed := protocol.Sign(protocol.PayloadCommand, payload, key)
	if got := portal.SendUpload(t, adminapi.CommandUpload{Command: signed, Confirm: "Windows 10"}); got.Status != http.StatusBadRequest {
		t.Errorf("CMD-02: confirmed with another name: %d %s", got.Status, got.Body)
	}
	edited := signed
	edited.Payload = "e30=" + edited.Payload[4:]
	if got := portal.SendUpload(t, adminapi.CommandUpload{Command: edited, Confirm: vm.Name}); got.Status != http.StatusBadRequest {
		t.Errorf("edited: %d %s", got.Status, got.Body)
	}
	if got := portal.SendUpload(t, adminapi.CommandUpload{Command: signed, Confirm: vm.Name}); got.Status != http.StatusOK {
		t.Fatalf("as it should be: %d %s", got.Status, got.Body)
	}
	if got := portal.SendUpload(t, adminapi.CommandUpload{Command: signed, Confirm: vm.Name}); got.Status != http.StatusBadRequest {
		t.Errorf("replayed: %d %s", got.Status, got.Body)
	}
	if got := portal.Upload(t, m.NewCommand("vm.delete", vm, nil), key); got.Status != http.StatusBadRequest { // H69
		t.Errorf("a second one: %d %s", got.Status, got.Body)
	}
	if got := portal.Decide(t, audit.ActionRetire, m.DeviceID, adminapi.Decision{}); got.Status != http.StatusBadRequest { // H69
		t.Errorf("retired with an open delete: %d %s", got.Status, got.Body)
	}
}

// Protocol test 23: the same key twice, and the issuer's own approval, are not two.
func TestTwoKeysMustSign(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	second := portal.RegisterKey(t, "bob", 2)
	command := portal.Issue(t, m.NewCommand("vm.delete", &m.Report.VMs[0], nil))
	if _, reply := say(t, m, nothing); len(reply.Commands) != 0 {
		t.Fatal("it is sent with one signature")
	}
	detail := portal.Command(t, command.CommandID)
	payload, err := detail.Envelope.Unverified()
	if err != nil || detail.State != protocol.CommandAwaitingApproval {
		t.Fatalf("%+v, %v", detail, err)
	}
	approve := func(approval adminapi.CommandApproval) portaltest.Answer {
		t.Helper()
		body, _ := json.Marshal(approval)
		return portal.Admin(t, http.MethodPost, "/v1/admin/commands/"+command.CommandID+"/approve", body)
	}
	own := protocol.Sign(protocol.PayloadCommand, payload, portal.CommandKey(t)).Signatures[0]
	strange := protocol.Sign(protocol.PayloadCommand, payload, portaltest.NewKey(t)).Signatures[0]
	other := protocol.Sign(protocol.PayloadCommand, []byte("{}"), second).Signatures[0]
	for name, signature := range map[string]protocol.Signature{"the issuer's": own, "a stranger's": strange, "of another payload": other} {
		if got := approve(adminapi.CommandApproval{Signature: signature}); got.Status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, got.Status, got.Body)
		}
	}
	if got := approve(adminapi.CommandApproval{Signature: protocol.Sign(protocol.PayloadCommand, payload, second).Signatures[0]}); got.Status != http.StatusOK {
		t.Fatalf("approve: %d %s", got.Status, got.Body)
	}
	_, reply := say(t, m, nothing)
	if len(reply.Commands) != 1 || len(reply.Commands[0].Signatures) != 2 {
		t.Errorf("reply is %+v", reply.Commands)
	}
	if detail = portal.Command(t, command.CommandID); detail.Signers[0].Person != "operator" || detail.Signers[1].Person != "bob" {
		t.Errorf("signers are %+v", detail.Signers)
	}
}

// A Mac's word about the command of another one is no word.
func TestAResultOfAnotherDeviceCountsForNothing(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	other := portaltest.NewMac(t, portal, "C02BBBBBBBBB")
	other.Enroll(t, http.StatusCreated)
	other.Checkin(t)
	command := portal.Issue(t, m.NewCommand("vm.delete", &m.Report.VMs[0], nil))
	say(t, other, func(r *protocol.CheckinRequest) {
		r.Results = []protocol.Result{{CommandID: command.CommandID, State: protocol.CommandSucceeded, EndedAt: portal.Clock.Now()}}
		r.OpenCommands = []protocol.OpenCommand{{CommandID: command.CommandID, State: protocol.CommandRunning, At: portal.Clock.Now()}}
	})
	if detail := portal.Command(t, command.CommandID); detail.State != protocol.CommandPending || detail.DeviceID != m.DeviceID {
		t.Errorf("command is %+v", detail.Command)
	}
	log, err := portal.Store.Commands(t.Context(), other.DeviceID)
	if err != nil || !log.IsEmpty() {
		t.Errorf("of the other Mac is kept %+v, %v", log, err)
	}
}

// H69: a known Mac that enrolls again is sent nothing by itself; an admin confirms.
func TestH69_AnEnrollmentWithholdsWhatIsOpen(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	command := portal.Issue(t, m.NewCommand("vm.delete", &m.Report.VMs[0], nil))
	portal.Clock.Advance(1e9)
	m.Enroll(t, http.StatusCreated)
	if _, reply := say(t, m, nothing); len(reply.Commands) != 0 {
		t.Fatal("it is sent by itself")
	}
	if detail := portal.Command(t, command.CommandID); detail.Withheld != storage.WithheldEnrolled {
		t.Errorf("command is %+v", detail.Command)
	}
	if got := portal.DecideCommand(t, "confirm", command.CommandID); got.Status != http.StatusOK {
		t.Fatalf("confirm: %s", got.Body)
	}
	if _, reply := say(t, m, nothing); len(reply.Commands) != 1 {
		t.Error("it is not sent when it is confirmed")
	}
}

// H30: a Mac that knows what this portal does not is ahead of it. What it knows is
// listed, and nothing destructive goes to it before an admin confirms.
func TestH30_AMacThatIsAheadFreezesItsDeliveries(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	orphan := protocol.NewRequestID(portal.Clock.Now(), protocol.RequestID{}).String()
	open := func(r *protocol.CheckinRequest) {
		r.OpenCommands = []protocol.OpenCommand{{CommandID: orphan, State: protocol.CommandAcknowledged, At: portal.Clock.Now()}}
	}
	say(t, m, open)
	if view := portal.Device(t); view.Frozen == "" || view.CommandsOpen != 1 {
		t.Fatalf("device is %+v", view)
	}
	command := portal.Issue(t, m.NewCommand("vm.delete", &m.Report.VMs[0], nil))
	if _, reply := say(t, m, open); len(reply.Commands) != 0 {
		t.Fatal("a delete is sent to it")
	}
	if detail := portal.Command(t, orphan); !detail.Orphan {
		t.Errorf("orphan is %+v", detail.Command)
	}
	if got := portal.DecideCommand(t, "cancel", orphan); got.Status != http.StatusOK {
		t.Fatalf("cancel: %s", got.Body)
	}
	if _, reply := say(t, m, open); len(reply.Cancel) != 1 {
		t.Errorf("reply is %+v", reply)
	}
	portal.MustDecide(t, audit.ActionConfirm, m.DeviceID, adminapi.Decision{Reason: "restored"})
	if _, reply := say(t, m, nothing); len(reply.Commands) != 1 || portal.Device(t).Frozen != "" {
		t.Errorf("%s is not sent after it was confirmed: %+v", command.CommandID, reply)
	}
}

// H69: the list of a lock or unlock is the one before it with its own machine changed, one
// version higher, and for this Mac.
func TestH69_AListOfHoldsIsHeldAgainstTheOneBefore(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
	m.Report.VMs = []protocol.VM{portaltest.WindowsVM("One"), portaltest.WindowsVM("Two")}
	m.Enroll(t, http.StatusCreated)
	m.Checkin(t)
	one, two := &m.Report.VMs[0], &m.Report.VMs[1]
	hold := func(vm *protocol.VM) protocol.Hold {
		return protocol.Hold{VMKey: vm.VMKey, VMName: vm.Name, Since: portal.Clock.Now(), CommandID: "c"}
	}
	upload := func(kind string, vm *protocol.VM, version uint64, change func(*protocol.HoldList), holds ...protocol.Hold) portaltest.Answer {
		t.Helper()
		list := protocol.HoldList{DeviceID: m.DeviceID, MacSerial: m.Serial, Version: version, IssuedAt: portal.Clock.Now(), Holds: holds}
		change(&list)
		payload, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		return portal.Upload(t, m.NewCommand(kind, vm, protocol.HoldsParams{Holds: protocol.Sign(protocol.PayloadHolds, payload, portal.CommandKey(t))}), portal.CommandKey(t))
	}
	same := func(*protocol.HoldList) {}
	if got := upload("vm.lock", one, 1, same, hold(one)); got.Status != http.StatusOK {
		t.Fatalf("lock: %d %s", got.Status, got.Body)
	}
	forced := hold(one)
	forced.Force = true
	renamed := hold(one)
	renamed.VMName = "Zwei"
	third := portaltest.WindowsVM("Three")
	for name, got := range map[string]portaltest.Answer{
		"the version of before":    upload("vm.lock", two, 1, same, hold(one), hold(two)),
		"a version too high":       upload("vm.lock", two, 3, same, hold(one), hold(two)),
		"another one released":     upload("vm.lock", two, 2, same, hold(two)),
		"another one forced":       upload("vm.lock", two, 2, same, forced, hold(two)),
		"another one locked":       upload("vm.lock", two, 2, same, hold(one), hold(two), hold(&third)),
		"a lock that does nothing": upload("vm.lock", two, 2, same, hold(one)),
		"an unlock that locks":     upload("vm.unlock", one, 2, same, hold(one), hold(two)),
		"another one's words":      upload("vm.lock", two, 2, same, renamed, hold(two)),
		"of another Mac":           upload("vm.lock", two, 2, func(l *protocol.HoldList) { l.MacSerial = "C02ZZZZZZZZZ" }, hold(one), hold(two)),
	} {
		if got.Status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, got.Status, got.Body)
		}
	}
	if got := upload("vm.lock", two, 2, same, hold(one), hold(two)); got.Status != http.StatusOK {
		t.Errorf("as it should be: %d %s", got.Status, got.Body)
	}
}

// H69: a list of holds is signed as its command is. With more signatures than a Mac reads, the
// answer that sends it by itself would be refused as a whole, with each check-in.
func TestH69_AListOfHoldsHasTheSignatureOfItsCommand(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	vm := &m.Report.VMs[0]
	list := protocol.HoldList{DeviceID: m.DeviceID, MacSerial: m.Serial, Version: 1, IssuedAt: portal.Clock.Now(), Holds: []protocol.Hold{{VMKey: vm.VMKey, VMName: vm.Name, Since: portal.Clock.Now(), CommandID: "c"}}}
	payload, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	second := portal.RegisterKey(t, "bob", 1)
	signed := protocol.Sign(protocol.PayloadHolds, payload, portal.CommandKey(t))
	many := signed
	for range protocol.MaxSignatures {
		many.Signatures = append(many.Signatures, protocol.Signature{KeyID: "0123456789abcdef", Sig: "AAAA"})
	}
	for name, holds := range map[string]protocol.Envelope{"many": many, "another person's": protocol.Sign(protocol.PayloadHolds, payload, second)} {
		if got := portal.Upload(t, m.NewCommand("vm.lock", vm, protocol.HoldsParams{Holds: holds}), portal.CommandKey(t)); got.Status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, got.Status, got.Body)
		}
	}
	portal.Issue(t, m.NewCommand("vm.lock", vm, protocol.HoldsParams{Holds: signed}))
}

// Who may sign, and how many must, is asked anew when a command is approved: a signature of
// a key that was revoked in between is none, and one approval is none of two.
func TestAnApprovalIsJudgedByTheKeysOfNow(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	bob := portal.RegisterKey(t, "bob", 2)
	carol := portal.RegisterKey(t, "carol", 2)
	command := portal.Issue(t, m.NewCommand("vm.delete", &m.Report.VMs[0], nil))
	payload, err := portal.Command(t, command.CommandID).Envelope.Unverified()
	if err != nil {
		t.Fatal(err)
	}
	approve := func(key ed25519.PrivateKey) portaltest.Answer {
		t.Helper()
		body, _ := json.Marshal(adminapi.CommandApproval{Signature: protocol.Sign(protocol.PayloadCommand, payload, key).Signatures[0]})
		return portal.Admin(t, http.MethodPost, "/v1/admin/commands/"+command.CommandID+"/approve", body)
	}
	portal.ChangeKeys(t, func(keys *site.CommandKeys) error { return keys.SetThreshold("vm.delete", 3) })
	if got := approve(bob); got.Status != http.StatusOK || portal.Command(t, command.CommandID).State != protocol.CommandAwaitingApproval {
		t.Fatalf("three are needed by now: %d %s", got.Status, got.Body)
	}
	portal.ChangeKeys(t, func(keys *site.CommandKeys) error {
		return cmp.Or(keys.SetThreshold("vm.delete", 2), keys.Remove(site.FirstAdmin))
	})
	if got := approve(carol); got.Status != http.StatusBadRequest || portal.Command(t, command.CommandID).State != protocol.CommandAwaitingApproval {
		t.Errorf("the issuer's key was revoked: %d %s", got.Status, got.Body)
	}
	if _, reply := say(t, m, nothing); len(reply.Commands) != 0 {
		t.Error("it is sent")
	}
}

// A device that was let in and has not reported has no epoch: nothing that is for one epoch
// is signed for none.
func TestACommandForOneEpochNeedsOne(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
	m.Enroll(t, http.StatusCreated)
	command := m.NewCommand("license.deactivate", nil, nil)
	command.Target.Epoch = ""
	if got := portal.Upload(t, command, portal.CommandKey(t)); got.Status != http.StatusBadRequest {
		t.Errorf("it is taken in: %d %s", got.Status, got.Body)
	}
}
