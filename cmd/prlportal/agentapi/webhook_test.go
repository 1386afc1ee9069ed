package agentapi_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
	"prlagent/cmd/prlportal/webhook"
)

func setWebhook(t *testing.T, portal *portaltest.Portal, address string) {
	t.Helper()
	hook := site.Webhook{URL: address, SetAt: portal.Clock.Now(), Secrets: []site.WebhookSecret{site.NewWebhookSecret()}}
	if err := hook.Save(filepath.Join(portal.Dir, site.PortalFolder)); err != nil {
		t.Fatal(err)
	}
}

// queuedMessages are the oldest messages of all devices, as they wait.
func queuedMessages(t *testing.T, portal *portaltest.Portal) []webhook.Message {
	t.Helper()
	queue := portal.Store.(webhook.Queue)
	var messages []webhook.Message
	for after := ""; ; {
		waiting, err := queue.NextOutgoing(t.Context(), after)
		if err != nil {
			return messages
		}
		var message webhook.Message
		if err := json.Unmarshal([]byte(waiting.Body), &message); err != nil {
			t.Fatal(err)
		}
		portal.Contract.CheckSchema(t, "WebhookMessage", []byte(waiting.Body))
		messages, after = append(messages, message), waiting.DeviceID
	}
}

// SEC-25: a violation that a Mac tells is kept together with the message of it, once,
// with user, machine and action; what the event table does not mark is not told, and
// nothing is where there is no webhook.
func TestSEC25_AViolationBecomesOneMessage(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	violation := protocol.Event{Seq: 1, At: portal.Clock.Now().Add(-time.Minute), Type: "policy_violation", Code: "vm_unprovisioned", Data: map[string]string{
		"uid": "501", "user_name": "alice", "vm_id": "1f3c2a1b-6d1e-4f63-9c5b-2f1f4f1a7b3e", "vm_name": "My\x1b[2J \u202eVM", "control": "provisioned_only", "action": "reported",
	}}
	m.CheckinWith(t, violation)
	if waiting := queuedMessages(t, portal); len(waiting) != 0 {
		t.Fatalf("without a webhook there waits %+v", waiting)
	}

	setWebhook(t, portal, "https://hooks.example/secret-path")
	violation.Seq = 2
	m.CheckinWith(t, protocol.Event{Seq: 3, At: portal.Clock.Now(), Type: "vm_state"}, violation)
	m.CheckinWith(t, violation) // again, as after a lost answer
	waiting := queuedMessages(t, portal)
	state, err := portal.Store.(webhook.Queue).OutgoingState(t.Context())
	if err != nil || state.Queued != 1 || len(waiting) != 1 {
		t.Fatalf("%d wait: %+v, %v", state.Queued, waiting, err)
	}
	got := waiting[0]
	if got.Type != protocol.WebhookVMUnprovisioned || !got.Timestamp.Equal(violation.At) || !strings.HasPrefix(got.ID, "evt_") || strings.Contains(got.ID, ".") {
		t.Errorf("the message is %+v", got)
	}
	data := got.Data
	if data.DeviceID != m.DeviceID || data.MacSerial != m.Serial || data.User == nil || *data.User != (webhook.User{UID: 501, Name: "alice"}) ||
		data.VM == nil || data.VM.ID != "1f3c2a1b-6d1e-4f63-9c5b-2f1f4f1a7b3e" || data.VM.Name != `My\x1b[2J \u202eVM` ||
		data.Code != "vm_unprovisioned" || data.Detail["action"] != "reported" || data.Detail["control"] != "provisioned_only" {
		t.Errorf("it says %+v", data)
	}
	metrics := portal.Admin(t, http.MethodGet, "/metrics", nil)
	portaltest.MustContain(t, string(metrics.Body), "prlportal_webhook_queued 1\n", `prlportal_webhook_dropped_total{reason="full"} 0`)
	status := portal.Admin(t, http.MethodGet, "/v1/admin/webhook", nil)
	if portaltest.MustContain(t, string(status.Body), `"queued":1`, `"receiver":"https://hooks.example"`); strings.Contains(string(status.Body), "secret-path") {
		t.Errorf("whoever may read is told the whole URL: %s", status.Body)
	}
}

// SEC-25: open violations are counted with the Mac and its group, by what it reported
// last; a control that could not be put in place is none.
func TestSEC25_OpenViolationsAreCounted(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	report := func(add func(*protocol.VerdictGrouping)) {
		t.Helper()
		grouping := protocol.NewVerdictGrouping("ab")
		add(grouping)
		m.Report.Verdicts = grouping.Report
		m.Checkin(t)
	}
	counted := func() (device, group int) {
		t.Helper()
		var status fleet.PolicyStatus
		if err := json.Unmarshal(portal.Admin(t, http.MethodGet, "/v1/admin/policies/status", nil).Body, &status); err != nil {
			t.Fatal(err)
		}
		return portal.Device(t).Violations, status.Groups[0].Violations
	}
	since := portal.Clock.Now().Add(-time.Hour)
	vm := m.Report.VMs[0].VMKey
	report(func(g *protocol.VerdictGrouping) {
		for _, known := range []struct {
			vm   protocol.VMKey
			path string
			code protocol.Code
		}{
			{vm, "security_controls.provisioned_only", "vm_unprovisioned"},
			{protocol.VMKey{}, "security_controls.no_removal", "removed_against_policy"},
			{protocol.VMKey{}, "security_controls.no_preferences", protocol.CodeToolFailed}, // it could not be set
			{vm, "vm_settings.other.clipboard", "vm_unprovisioned"},                         // it is about no control
		} {
			g.Add(known.vm, &protocol.VerdictGroup{Path: known.path, Verdict: protocol.VerdictFailed, Strength: protocol.StrengthMonitored, Code: known.code, Since: since})
		}
	})
	if device, group := counted(); device != 2 || group != 2 {
		t.Errorf("%d at the device and %d at the group, want 2", device, group)
	}
	if listed, _ := portal.List(t, "devices", url.Values{"filter": {"violations>1"}}); len(listed) != 1 {
		t.Errorf("%d devices are found by it", len(listed))
	}
	report(func(*protocol.VerdictGrouping) {})
	if device, group := counted(); device != 0 || group != 0 {
		t.Errorf("%d and %d afterwards", device, group)
	}
	retired := storage.Change{Device: storedDevice(t, portal, m.DeviceID)}
	retired.Retire(storage.Report{Violations: 3}, storage.History{}, "", portal.Clock.Now())
	if retired.Report.Violations != 0 {
		t.Error("a Mac that is retired has violations")
	}
}

// wantCommandMessage settles the oldest message of the queue, which must be of that type and about
// the command.
func wantCommandMessage(t *testing.T, portal *portaltest.Portal, kind, commandID, state string) webhook.Message {
	t.Helper()
	queue := portal.Store.(webhook.Queue)
	waiting, err := queue.NextOutgoing(t.Context(), "")
	if err != nil {
		t.Fatalf("%s: nothing waits (%v)", kind, err)
	}
	var message webhook.Message
	if err := json.Unmarshal([]byte(waiting.Body), &message); err != nil {
		t.Fatal(err)
	}
	portal.Contract.CheckSchema(t, "WebhookMessage", []byte(waiting.Body))
	if detail := message.Data.Detail; message.Type != kind || detail["command_id"] != commandID || detail["state"] != state || detail["command"] != "vm.delete" {
		t.Errorf("want %s %s, the message is %+v", kind, state, message)
	}
	if err := queue.Settle(t.Context(), storage.Settlement{DeviceID: waiting.DeviceID, Number: waiting.Number, Outcome: storage.SentOutgoing, At: portal.Clock.Now()}); err != nil {
		t.Fatal(err)
	}
	return message
}

// SEC-25, protocol.md 5.2: what becomes of a command is told once, in its order, with the
// machine, the persons and the reason; also that it waits for an administrator.
func TestSEC25_WhatBecomesOfACommandIsTold(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	bob := portal.RegisterKey(t, "bob", 2)
	setWebhook(t, portal, "https://hooks.example/secret-path")
	m.Report.VMs[0].Name = "My\x1b[2J VM"
	m.Checkin(t)
	command := portal.Issue(t, m.NewCommand("vm.delete", &m.Report.VMs[0], nil))
	payload, err := portal.Command(t, command.CommandID).Envelope.Unverified()
	if err != nil {
		t.Fatal(err)
	}
	body, _ := json.Marshal(map[string]any{"signature": protocol.Sign(protocol.PayloadCommand, payload, bob).Signatures[0]})
	if got := portal.Admin(t, http.MethodPost, "/v1/admin/commands/"+command.CommandID+"/approve", body); got.Status != http.StatusOK {
		t.Fatalf("approve: %s", got.Body)
	}
	say(t, m, nothing)
	request, _ := say(t, m, nothing) // it is sent again, which is no news
	m.Send(t, request)
	portal.Clock.Advance(time.Second)
	m.Enroll(t, http.StatusCreated)
	say(t, m, func(r *protocol.CheckinRequest) {
		r.Results = []protocol.Result{{CommandID: command.CommandID, State: protocol.CommandFailed, Code: protocol.CodeNotDone, EndedAt: portal.Clock.Now()}}
	})
	issued := wantCommandMessage(t, portal, protocol.WebhookCommandIssued, command.CommandID, protocol.CommandAwaitingApproval)
	if data := issued.Data; data.VM == nil || strings.Contains(data.VM.Name, "\x1b") || data.User.Name != "alice" || data.Detail["issued_by"] != "operator" || data.Detail["reason"] != "stolen" || data.ComputerName == "" {
		t.Errorf("data are %+v", data)
	}
	wantCommandMessage(t, portal, protocol.WebhookCommandApproved, command.CommandID, protocol.CommandPending)
	wantCommandMessage(t, portal, protocol.WebhookCommandDelivered, command.CommandID, protocol.CommandDelivered)
	wantCommandMessage(t, portal, protocol.WebhookCommandWithheld, command.CommandID, protocol.CommandDelivered)
	if ended := wantCommandMessage(t, portal, protocol.WebhookCommandEnded, command.CommandID, protocol.CommandFailed); ended.Data.Code != protocol.CodeNotDone {
		t.Errorf("data are %+v", ended.Data)
	}
	if waiting := queuedMessages(t, portal); len(waiting) != 0 {
		t.Errorf("there waits %+v", waiting)
	}
}
