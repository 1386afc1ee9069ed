package agentapi_test

import (
	"crypto/ed25519"
	"slices"
	"strings"
	"testing"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/storage"
)

// deleted is the result of a delete that the Mac has carried out.
func deleted(portal *portaltest.Portal, id string) protocol.Result {
	return protocol.Result{
		CommandID: id, State: protocol.CommandSucceeded, Code: protocol.CodeVerifiedAbsent, Message: "gone", StartedAt: portal.Clock.Now(), EndedAt: portal.Clock.Now(),
		Observed: map[string]string{"bundle": "absent"},
	}
}

// A receipt is judged when it arrives: the device's key, the device, the epoch, the very
// command and the very result. One that is not good hides no result, and is not shown as
// if it were one.
func TestReceiptsAreJudgedOnArrival(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]receiptCase{
		"as the agent signs it": {func(t *testing.T, m *portaltest.Mac, r protocol.Result) *protocol.Envelope { return m.Receipt(t, r) }, storage.ReceiptVerified, ""},
		"none":                  {func(*testing.T, *portaltest.Mac, protocol.Result) *protocol.Envelope { return nil }, storage.ReceiptNone, ""},
		"a serial in other letters": {func(t *testing.T, m *portaltest.Mac, r protocol.Result) *protocol.Envelope {
			return m.Receipt(t, r, func(said *protocol.Receipt) { said.MacSerial = strings.ToLower(said.MacSerial) })
		}, storage.ReceiptVerified, ""},
		"signed by another key": {func(t *testing.T, m *portaltest.Mac, r protocol.Result) *protocol.Envelope {
			return m.SignReceipt(t, portaltest.NewKey(t), r)
		}, storage.ReceiptNotGood, "not signed with the device's key"},
		"under the device's name by another key": {func(t *testing.T, m *portaltest.Mac, r protocol.Result) *protocol.Envelope {
			signed := m.SignReceipt(t, portaltest.NewKey(t), r)
			signed.Signatures[0].KeyID = m.KeyID()
			return signed
		}, storage.ReceiptNotGood, "not signed with the device's key"},
		"signed twice": {func(t *testing.T, m *portaltest.Mac, r protocol.Result) *protocol.Envelope {
			signed := m.Receipt(t, r)
			signed.Signatures = slices.Concat(signed.Signatures, m.SignReceipt(t, portaltest.NewKey(t), r).Signatures)
			return signed
		}, storage.ReceiptNotGood, "2 signatures"},
		"of another kind": {func(t *testing.T, m *portaltest.Mac, r protocol.Result) *protocol.Envelope {
			payload, _ := m.Receipt(t, r).Unverified()
			signed := protocol.Sign(protocol.PayloadEnroll, payload, m.Key)
			return &signed
		}, storage.ReceiptNotGood, "not signed with the device's key"},
		"no JSON": {func(_ *testing.T, m *portaltest.Mac, _ protocol.Result) *protocol.Envelope {
			signed := protocol.Sign(protocol.PayloadReceipt, []byte("done"), m.Key)
			return &signed
		}, storage.ReceiptNotGood, "no receipt"},
		"of another device":   changedReceipt(func(said *protocol.Receipt) { said.DeviceID = "other" }, "another Mac"),
		"of another Mac":      changedReceipt(func(said *protocol.Receipt) { said.MacSerial = "C02BBBBBBBBB" }, "another Mac"),
		"of another epoch":    changedReceipt(func(said *protocol.Receipt) { said.Epoch = "other" }, "never had"),
		"of another command":  changedReceipt(func(said *protocol.Receipt) { said.CommandSHA256 = strings.Repeat("0", 64) }, "another command"),
		"of no command":       changedReceipt(func(said *protocol.Receipt) { said.CommandSHA256 = "" }, "another command"),
		"of another id":       changedReceipt(func(said *protocol.Receipt) { said.Result.CommandID += "1" }, "something else"),
		"of another state":    changedReceipt(func(said *protocol.Receipt) { said.Result.State = protocol.CommandFailed }, "something else"),
		"of another code":     changedReceipt(func(said *protocol.Receipt) { said.Result.Code = protocol.CodeAlreadyAbsent }, "something else"),
		"of another message":  changedReceipt(func(said *protocol.Receipt) { said.Result.Message = "kept" }, "something else"),
		"of another begin":    changedReceipt(func(said *protocol.Receipt) { said.Result.StartedAt = said.Result.StartedAt.Add(1e9) }, "something else"),
		"of another end":      changedReceipt(func(said *protocol.Receipt) { said.Result.EndedAt = said.Result.EndedAt.Add(1e9) }, "something else"),
		"of other facts":      changedReceipt(func(said *protocol.Receipt) { said.Result.Observed = map[string]string{"bundle": "present"} }, "something else"),
		"with one in another": changedReceipt(func(said *protocol.Receipt) { said.Result.Receipt = &protocol.Envelope{} }, "something else"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			portal := portaltest.New(t)
			m := portaltest.Enrolled(t, portal)
			command := portal.Issue(t, m.NewCommand("vm.delete", &m.Report.VMs[0], nil))
			say(t, m, nothing)
			result := deleted(portal, command.CommandID)
			sent := result
			sent.Receipt = test.receipt(t, m, result)
			_, reply := say(t, m, func(r *protocol.CheckinRequest) { r.Results = []protocol.Result{sent} })
			detail := portal.Command(t, command.CommandID)
			if detail.ReceiptState != test.want || !strings.Contains(detail.ReceiptFault, test.fault) || (test.fault == "") != (detail.ReceiptFault == "") {
				t.Errorf("receipt is %s (%s), want %s (%s)", detail.ReceiptState, detail.ReceiptFault, test.want, test.fault)
			}
			if detail.State != protocol.CommandSucceeded || detail.Result == nil || len(reply.Acks) != 1 {
				t.Errorf("the result is hidden: %+v", detail.Command)
			}
		})
	}
}

// receiptCase is a receipt and what is to be made of it.
type receiptCase struct {
	receipt func(t *testing.T, m *portaltest.Mac, result protocol.Result) *protocol.Envelope
	want    string
	fault   string
}

// changedReceipt is signed by the right key and says something else.
func changedReceipt(change func(*protocol.Receipt), fault string) receiptCase {
	return receiptCase{func(t *testing.T, m *portaltest.Mac, r protocol.Result) *protocol.Envelope {
		return m.Receipt(t, r, change)
	}, storage.ReceiptNotGood, fault}
}

// A Mac whose journal was put back tells in the new epoch what it had signed in the old
// one; and nothing that comes later replaces a receipt that was verified.
func TestH22_ReceiptOfAnEpochBeforeIsGood(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	command := portal.Issue(t, m.NewCommand("inventory.refresh", nil, nil))
	say(t, m, nothing)
	result := deleted(portal, command.CommandID)
	result.Receipt = m.Receipt(t, result)
	m.Epoch, m.Sequence, m.Base = "epoch-after", 0, protocol.Baseline{}
	say(t, m, func(r *protocol.CheckinRequest) { r.Results = []protocol.Result{result} })
	if detail := portal.Command(t, command.CommandID); detail.ReceiptState != storage.ReceiptVerified {
		t.Fatalf("receipt is %s (%s)", detail.ReceiptState, detail.ReceiptFault)
	}
	kept := result.Receipt
	result.Message = "another"
	result.Receipt = m.SignReceipt(t, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), result)
	say(t, m, func(r *protocol.CheckinRequest) { r.Results = []protocol.Result{result} })
	detail := portal.Command(t, command.CommandID)
	if detail.ReceiptState != storage.ReceiptVerified || detail.Receipt.Payload != kept.Payload || detail.Result.Message != "gone" {
		t.Errorf("a later receipt took the place: %+v", detail)
	}
}

// Whoever has a Mac's token and not its key says first how a command ended. The Mac's own
// word, which it signs, is what stands in the end.
func TestTheSignedResultStandsInThePlaceOfAForgedOne(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	command := portal.Issue(t, m.NewCommand("vm.delete", &m.Report.VMs[0], nil))
	say(t, m, nothing)
	forged := deleted(portal, command.CommandID)
	forged.Receipt = m.SignReceipt(t, portaltest.NewKey(t), forged)
	say(t, m, func(r *protocol.CheckinRequest) { r.Results = []protocol.Result{forged} })
	if detail := portal.Command(t, command.CommandID); detail.State != protocol.CommandSucceeded || detail.ReceiptState != storage.ReceiptNotGood {
		t.Fatalf("the forged one is %+v", detail.Command)
	}
	result := protocol.Result{CommandID: command.CommandID, State: protocol.CommandFailed, Code: protocol.CodeNotDone, EndedAt: portal.Clock.Now()}
	result.Receipt = m.Receipt(t, result)
	say(t, m, func(r *protocol.CheckinRequest) { r.Results = []protocol.Result{result} })
	detail := portal.Command(t, command.CommandID)
	if detail.State != protocol.CommandFailed || detail.ReceiptState != storage.ReceiptVerified || detail.Receipt.Payload != result.Receipt.Payload {
		t.Errorf("the Mac's own is %+v", detail.Command)
	}
	say(t, m, func(r *protocol.CheckinRequest) { r.Results = []protocol.Result{forged} })
	if detail = portal.Command(t, command.CommandID); detail.State != protocol.CommandFailed {
		t.Errorf("the forged one came again: %+v", detail.Command)
	}
}
