package agentapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/storage"
)

// makeOlder puts what a portal before this one kept of the Mac into the store:
// the machine as it is, and as it was before each of two reboots.
func makeOlder(t *testing.T, portal *portaltest.Portal, m *portaltest.Mac) {
	t.Helper()
	device, err := portal.Store.Device(t.Context(), storage.ByID(m.DeviceID))
	if err != nil {
		t.Fatal(err)
	}
	report, err := portal.Store.Report(t.Context(), m.DeviceID)
	if err != nil {
		t.Fatal(err)
	}
	var history storage.History
	for boot := range 3 {
		row := report.Rows[0]
		row.VM.UID, row.VM.Bundle = 0, protocol.Bundle{Device: uint64(boot + 1), Inode: row.VM.Bundle.Inode}
		row.FirstSeenAt = portaltest.Morning.AddDate(0, 0, 10*(boot-3))
		if boot == 2 {
			report.Rows[0] = row
			break
		}
		history.Rows = append(history.Rows, storage.PastRow{Row: row, RemovedAt: portaltest.Morning.AddDate(0, 0, 10*(boot-2))})
	}
	if err := portal.Store.Save(t.Context(), storage.Change{Device: device, Report: &report, History: &history}); err != nil {
		t.Fatal(err)
	}
}

// What the portal stored of reboots is one machine again: at once in every
// answer, and for good with the next report of its Mac.
func TestH21_ThePortalHealsWhatItStored(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	makeOlder(t, portal, m)
	since := url.Values{"since": {portaltest.Morning.AddDate(0, -2, 0).Format(time.RFC3339)}}
	check := func(when string) {
		t.Helper()
		rows, _ := portal.List(t, "vms", since)
		if len(rows) != 1 || rows[0]["removed_at"] != nil {
			t.Errorf("%s: rows are %v", when, rows)
		}
		extra, _ := rows[0]["extra"].(map[string]any)
		if got, want := extra["first_seen"], portaltest.Morning.AddDate(0, 0, -30).Format(time.RFC3339); got != want {
			t.Errorf("%s: first seen %v, want %s", when, got, want)
		}
		if fmt.Sprint(rows[0]["uid"]) != "501" {
			t.Errorf("%s: of %v", when, rows[0]["uid"])
		}
	}
	check("before any report")
	portal.Clock.Advance(time.Hour)
	m.Base = protocol.Baseline{} // as an agent begins after its update
	m.Report.VMs[0].Bundle.Volume = "11111111-9C3B-4B7E-8D55-6A0F4C1B7D21"
	m.Checkin(t)
	check("after a full report")
	history, err := portal.Store.History(t.Context(), m.DeviceID)
	if err != nil || len(history.Rows) != 2 {
		t.Errorf("history has %d rows, %v", len(history.Rows), err)
	}
	kept, err := portal.Store.Report(t.Context(), m.DeviceID)
	if err != nil || kept.IsOlder() {
		t.Errorf("the store has %+v, %v", kept.Rows, err)
	}
}

// A reboot, a restored bundle and a renamed account are changes of one row.
func TestH21_ARowKeepsItsHistory(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*portaltest.Mac){
		"restored from a copy": func(m *portaltest.Mac) { m.Report.VMs[0].Bundle.Inode++ },
		"another volume":       func(m *portaltest.Mac) { m.Report.VMs[0].Bundle.Volume = "22222222-9C3B-4B7E-8D55-6A0F4C1B7D21" },
		"a renamed account": func(m *portaltest.Mac) {
			m.Report.VMs[0].Owner, m.Report.Users = "alicia", []protocol.UserLook{{Name: "alicia", UID: 501, Count: 1}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			portal := portaltest.New(t)
			m := portaltest.Enrolled(t, portal)
			portal.Clock.Advance(time.Hour)
			change(m)
			m.Checkin(t)
			rows, _ := portal.List(t, "vms", url.Values{"since": {portaltest.Morning.Format(time.RFC3339)}})
			if len(rows) != 1 || rows[0]["removed_at"] != nil || rows[0]["user_name"] != m.Report.VMs[0].Owner {
				t.Fatalf("rows are %v", rows)
			}
			if extra, _ := rows[0]["extra"].(map[string]any); extra["first_seen"] != portaltest.Morning.Format(time.RFC3339) {
				t.Errorf("first seen %v", extra["first_seen"])
			}
			history, err := portal.Store.History(t.Context(), m.DeviceID)
			if err != nil || len(history.Rows) != 0 {
				t.Errorf("history has %d rows, %v", len(history.Rows), err)
			}
		})
	}
}

// One id in two accounts is two rows, also where the accounts have had one
// another's names.
func TestH21_OneIDInTwoAccounts(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
	bobs := portaltest.WindowsVM("Windows 11")
	bobs.UID, bobs.Owner, bobs.Name = 502, "bob", "Copy"
	m.Report.VMs = append(m.Report.VMs, bobs)
	m.Enroll(t, http.StatusCreated)
	m.Checkin(t)
	m.Report.VMs[0].Owner, m.Report.VMs[1].Owner = "bob", "alice"
	m.Checkin(t)
	rows := portal.VMs(t)
	if len(rows) != 2 || rows["Windows 11"]["user_name"] != "bob" || rows["Copy"]["user_name"] != "alice" {
		t.Errorf("rows are %v", rows)
	}
	history, err := portal.Store.History(t.Context(), m.DeviceID)
	if err != nil || len(history.Rows) != 0 {
		t.Errorf("history has %d rows, %v", len(history.Rows), err)
	}
}

// An agent before this one names accounts by their names alone. Its reports are
// taken, what it removes needs a full one, and its Mac's reboots are none of the
// machine's.
func TestH21_OlderAgentIsUnderstood(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
	m.Enroll(t, http.StatusCreated)
	older := func(inventory map[string]any, users bool) protocol.CheckinReply {
		t.Helper()
		request, _ := m.Next(t)
		request.Inventory = protocol.Inventory{}
		request.Host, request.Product, request.Policy, request.Agent = nil, nil, nil, nil
		if !users {
			request.Users = nil
		}
		body, err := json.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		part, err := json.Marshal(inventory)
		if err != nil {
			t.Fatal(err)
		}
		got := m.SendBody(t, []byte(strings.Replace(string(body), `"inventory":{"hash":""}`, `"inventory":`+string(part), 1)))
		if got.Status != http.StatusOK {
			t.Fatalf("answer is %d %s", got.Status, got.Body)
		}
		var reply protocol.CheckinReply
		got.Decode(t, &reply)
		return reply
	}
	row := func(device int) map[string]any {
		return map[string]any{"vm_id": "a", "user_name": "alice", "bundle": map[string]any{"device": device, "inode": 7}, "seen_by": []string{"bob"},
			"vm_name": "Windows 11", "vm_state": "Stopped", "vm_source": "Other"}
	}
	if reply := older(map[string]any{"hash": "1", "full": true, "vms": []any{row(1)}}, true); reply.Inventory != protocol.InventoryOK {
		t.Fatalf("full report: %s", reply.Inventory)
	}
	portal.Clock.Advance(time.Hour)
	rebooted := map[string]any{"hash": "2", "base": "1", "vms": []any{row(2)},
		"removed": []any{map[string]any{"vm_id": "a", "user_name": "alice", "bundle": map[string]any{"device": 1, "inode": 7}}}}
	if reply := older(rebooted, false); reply.Inventory != protocol.InventorySendFull {
		t.Fatalf("a delta that removes by name: %s", reply.Inventory)
	}
	if reply := older(map[string]any{"hash": "2", "full": true, "vms": []any{row(2)}}, true); reply.Inventory != protocol.InventoryOK {
		t.Fatalf("full report after a reboot: %s", reply.Inventory)
	}
	kept, err := portal.Store.Report(t.Context(), m.DeviceID)
	if err != nil || len(kept.Rows) != 1 || kept.Rows[0].VM.UID != 501 || !kept.Rows[0].FirstSeenAt.Equal(portaltest.Morning) {
		t.Errorf("kept %+v, %v", kept.Rows, err)
	}
	history, err := portal.Store.History(t.Context(), m.DeviceID)
	if err != nil || len(history.Rows) != 0 {
		t.Errorf("history has %d rows, %v", len(history.Rows), err)
	}
}

// A row of which neither the agent nor its list of accounts says whose it is
// could be anybody's.
func TestH21_ARowOfNobodyIsRefused(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	m.Report.VMs[0].UID, m.Report.VMs[0].Owner = 0, "carol"
	m.Base = protocol.Baseline{}
	request, _ := m.Next(t)
	if got := m.Send(t, request); got.Status != http.StatusBadRequest || !strings.Contains(string(got.Body), "inventory.vms[0].uid") {
		t.Errorf("answer is %d %s", got.Status, got.Body)
	}
}
