package agentapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/storage"
)

func TestCheckinGapAsksForEverything(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	m.Sequence += 3 // three reports never arrived
	request, _ := m.Next(t)
	var reply protocol.CheckinReply
	m.Send(t, request).Decode(t, &reply)
	if reply.Inventory != protocol.InventorySendFull {
		t.Errorf("answer is %s, want send_full", reply.Inventory)
	}
	m.Base = protocol.Baseline{}
	m.Sequence++
	request, _ = m.Next(t)
	m.Send(t, request).Decode(t, &reply)
	if reply.Inventory != protocol.InventoryOK {
		t.Errorf("answer to everything is %s, want ok", reply.Inventory)
	}
}

func TestCheckinDeltaOfAnUnknownBaseChangesNoRow(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	request, _ := m.Next(t)
	request.Inventory = protocol.Inventory{Hash: "new", Base: "never acknowledged", VMs: []protocol.VM{portaltest.WindowsVM("Windows 10")}}
	var reply protocol.CheckinReply
	m.Send(t, request).Decode(t, &reply)
	if reply.Inventory != protocol.InventorySendFull {
		t.Errorf("answer is %s, want send_full", reply.Inventory)
	}
	if rows := portal.VMs(t); len(rows) != 1 || rows["Windows 10"] != nil {
		t.Errorf("rows are %v", rows)
	}
}

func TestINV_34_UnchangedReportMovesOnlyTheTime(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	before, err := portal.Store.Report(t.Context(), m.DeviceID)
	if err != nil {
		t.Fatal(err)
	}
	portal.Clock.Advance(time.Hour)
	request, _ := m.Next(t)
	if request.Inventory.VMs != nil || request.Host != nil || request.Inventory.Base != "" {
		t.Fatalf("request is %+v, want the hash alone", request)
	}
	var reply protocol.CheckinReply
	m.Send(t, request).Decode(t, &reply)
	after, err := portal.Store.Report(t.Context(), m.DeviceID)
	if err != nil {
		t.Fatal(err)
	}
	if difference := cmp.Diff(before, after); difference != "" || reply.Inventory != protocol.InventoryOK {
		t.Errorf("answer is %s, report changed: %s", reply.Inventory, difference)
	}
	if got := portal.VMs(t)["Windows 11"]["last_reported"]; got != "2026-11-23T10:00:00Z" {
		t.Errorf("last_reported is %v", got)
	}
}

// INV-17: last reported is when the portal heard that the virtual machine is
// there, by the portal's clock.
func TestINV_17_LastReportedIsTheServersReceiveTime(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	lastReported := func() any { return portal.VMs(t)["Windows 11"]["last_reported"] }
	if got := lastReported(); got != "2026-11-23T09:00:00Z" {
		t.Errorf("after the first report it is %v", got)
	}

	portal.Clock.Advance(time.Hour)
	request, base := m.Next(t)
	request.SentAt = portaltest.Morning.Add(-1000 * time.Hour) // the Mac's clock has no say
	m.Send(t, request)
	m.Base = base
	if got := lastReported(); got != "2026-11-23T10:00:00Z" {
		t.Errorf("after a quiet check-in it is %v", got)
	}

	portal.Clock.Advance(time.Hour)
	m.Report.VMs[0].Stale = protocol.CodeUserSession // alice could not be listed
	m.Checkin(t)
	portal.Clock.Advance(time.Hour)
	m.Checkin(t)
	if got := lastReported(); got != "2026-11-23T10:00:00Z" {
		t.Errorf("for a stale row it is %v, want the last time it was seen", got)
	}

	m.Report.VMs[0].Stale = ""
	m.Checkin(t)
	if got := lastReported(); got != "2026-11-23T12:00:00Z" {
		t.Errorf("after it came back it is %v", got)
	}
}

func TestINV_17_UnacknowledgedReportConfirmsNothing(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	portal.Clock.Advance(time.Hour)
	request, _ := m.Next(t)
	request.Inventory = protocol.Inventory{Hash: "new", Base: "never acknowledged"}
	m.Send(t, request)
	if got := portal.VMs(t)["Windows 11"]["last_reported"]; got != "2026-11-23T09:00:00Z" {
		t.Errorf("last_reported is %v", got)
	}
}

func TestINV_23_RemovedVMLeavesTheTableAndStaysInHistory(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"delta", "full"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			portal := portaltest.New(t)
			m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
			m.Report.VMs = append(m.Report.VMs, portaltest.WindowsVM("Debian 12"))
			m.Enroll(t, http.StatusCreated)
			m.Checkin(t)

			portal.Clock.Advance(time.Hour)
			m.Report.VMs = m.Report.VMs[:1]
			if kind == "full" {
				m.Base = protocol.Baseline{}
			}
			m.Checkin(t)
			if rows := portal.VMs(t); len(rows) != 1 || rows["Windows 11"] == nil {
				t.Errorf("rows are %v, want Windows 11 alone", rows)
			}
			wantHistory(t, portal, m.DeviceID, "Debian 12")
		})
	}
}

func wantHistory(t *testing.T, portal *portaltest.Portal, deviceID, name string) {
	t.Helper()
	got := portal.Admin(t, http.MethodGet, "/v1/admin/devices/"+deviceID+"/history", nil)
	var list struct {
		VMs []struct {
			RemovedAt time.Time      `json:"removed_at"`
			VM        portaltest.Row `json:"vm"`
		} `json:"vms"`
	}
	if err := json.Unmarshal(got.Body, &list); err != nil {
		t.Fatalf("decode %s: %v", got.Body, err)
	}
	if len(list.VMs) != 1 {
		t.Fatalf("history is %s, want one row", got.Body)
	}
	past := list.VMs[0]
	if past.VM["vm_name"] != name || !past.RemovedAt.Equal(portaltest.Morning.Add(time.Hour)) || past.VM["last_reported"] != "2026-11-23T09:00:00Z" {
		t.Errorf("history has %+v", past)
	}
}

// What one report removes stands in the history in the order of the table.
func TestINV_23_RemovedTogetherTheyStandInOrder(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
	for n := range 12 {
		m.Report.VMs = append(m.Report.VMs, portaltest.WindowsVM(fmt.Sprint("VM ", n)))
	}
	m.Enroll(t, http.StatusCreated)
	m.Checkin(t)
	m.Report.VMs = m.Report.VMs[:1]
	m.Checkin(t)
	history, err := portal.Store.History(t.Context(), m.DeviceID)
	if err != nil || len(history.Rows) != 12 {
		t.Fatalf("history has %d rows, %v", len(history.Rows), err)
	}
	ordered := slices.IsSortedFunc(history.Rows, func(a, b storage.PastRow) int { return a.Row.VM.VMKey.Compare(b.Row.VM.VMKey) })
	if !ordered {
		t.Errorf("history is in no order: %v", history.Rows)
	}
}

func TestINV_08_DeactivationChangesTheStatusOfEveryVM(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	for _, step := range []struct{ state, want string }{
		{protocol.ProductKey, protocol.StatusActive},
		{protocol.ProductDeactivated, protocol.StatusDeactivated},
		{protocol.ProductSSO, protocol.StatusActive},
	} {
		m.Report.Product.State = step.state
		m.Checkin(t)
		if got := portal.VMs(t)["Windows 11"]["vm_status"]; got != step.want {
			t.Errorf("%s: status is %v, want %s", step.state, got, step.want)
		}
	}
}

// A part of a report is complete in itself: it is kept also when the rows that
// came with it are of an unknown base.
func TestCheckinKeepsEachPartByItself(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		part func(*protocol.CheckinRequest)
		kept func(storage.Report) bool
	}{
		"agent": {
			func(r *protocol.CheckinRequest) { r.Agent = &protocol.AgentInfo{Version: "9.9.9", Mode: "monitor"} },
			func(r storage.Report) bool { return r.Agent.Version == "9.9.9" },
		},
		"host": {
			func(r *protocol.CheckinRequest) { r.Host = &protocol.Host{ComputerName: "Bob's Mac"} },
			func(r storage.Report) bool { return r.Host.ComputerName == "Bob's Mac" },
		},
		"product": {
			func(r *protocol.CheckinRequest) { r.Product = &protocol.Product{Version: "27.0.0"} },
			func(r storage.Report) bool { return r.Product.Version == "27.0.0" },
		},
		"policy": {
			func(r *protocol.CheckinRequest) { r.Policy = &protocol.PolicyReport{State: protocol.PolicyFetched} },
			func(r storage.Report) bool { return r.Policy.State == protocol.PolicyFetched },
		},
		"users": {
			func(r *protocol.CheckinRequest) { r.Users = []protocol.UserLook{{Name: "bob", UID: 502}} },
			func(r storage.Report) bool { return len(r.Users) == 1 && r.Users[0].Name == "bob" },
		},
		"nothing": {
			func(*protocol.CheckinRequest) {},
			func(r storage.Report) bool { return r.Agent.Version == "0.1.0" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			portal := portaltest.New(t)
			m := portaltest.Enrolled(t, portal)
			request, _ := m.Next(t)
			request.Agent, request.Host, request.Product, request.Policy, request.Users = nil, nil, nil, nil, nil
			request.Inventory = protocol.Inventory{Hash: "new", Base: "never acknowledged"}
			c.part(&request)
			var reply protocol.CheckinReply
			m.Send(t, request).Decode(t, &reply)
			report, err := portal.Store.Report(t.Context(), m.DeviceID)
			if err != nil || reply.Inventory != protocol.InventorySendFull || !c.kept(report) {
				t.Errorf("answered %s; kept is %+v, %v", reply.Inventory, report, err)
			}
		})
	}
}

func TestCheckinKeepsWhatTheMacSaid(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	m.Report.Host.ComputerName = "Renamed"
	m.Report.VMs[0].State = protocol.StateRunning
	m.Checkin(t)
	row := portal.VMs(t)["Windows 11"]
	for column, want := range map[string]any{
		"computer_name": "Renamed", "vm_state": "Running", "mac_serial": "C02AAAAAAAAA",
		"pd_version": "26.4.0 (57513)", "vm_edition": nil, "last_command": "None",
	} {
		if row[column] != want {
			t.Errorf("%s is %v, want %v", column, row[column], want)
		}
	}
	if got := row["gaps"].(map[string]any)["vm_edition"]; got != string(protocol.CodeNeverStarted) {
		t.Errorf("reason of the empty cell is %v", got)
	}
}

func TestCheckinForgetsUsersThatAreGone(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	m.Checkin(t)
	for _, users := range [][]protocol.UserLook{{{Name: "bob", UID: 502}}, nil} {
		m.Report.Users = users
		m.Checkin(t)
		kept, err := portal.Store.Report(t.Context(), m.DeviceID)
		if err != nil || len(kept.Users) != len(users) {
			t.Errorf("users are %v, %v, want %v", kept.Users, err, users)
		}
	}
}

func TestCheckinCutsLongTexts(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
	m.Report.VMs[0].Name = strings.Repeat("é", 200)
	m.Enroll(t, http.StatusCreated)
	m.Checkin(t)
	if portal.VMs(t)[strings.Repeat("é", 127)] == nil {
		t.Error("the name was not cut to 255 bytes between two characters")
	}
}

// A hostile device that adds rows report by report gets no further than an
// honest one, and what it says of its Mac stays short in every row.
func TestCheckinRowsDoNotAddUp(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	hash := m.Base.Hash
	var reply protocol.CheckinReply
	for round := range 3 {
		request, _ := m.Next(t)
		request.Inventory = protocol.Inventory{Hash: fmt.Sprint("round ", round), Base: hash}
		for i := range protocol.MaxVMs - 1 {
			request.Inventory.VMs = append(request.Inventory.VMs, portaltest.WindowsVM(fmt.Sprint(round, "/", i)))
		}
		m.Send(t, request).Decode(t, &reply)
		if reply.Inventory == protocol.InventoryOK {
			hash = request.Inventory.Hash
		}
	}
	if reply.Inventory != protocol.InventorySendFull {
		t.Errorf("answer is %s, want send_full", reply.Inventory)
	}
	if rows := portal.VMs(t); len(rows) != protocol.MaxVMs {
		t.Errorf("%d rows, want %d", len(rows), protocol.MaxVMs)
	}
}

func TestCheckinCutsTheTextsOfEveryRow(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	long := strings.Repeat("n", 10_000)
	m.Report.Host.ComputerName, m.Report.Product.Version, m.Report.Agent.Version = long, long, long
	vm := portaltest.WindowsVM("Windows 11")
	vm.SeenBy = slices.Repeat([]protocol.Account{{UID: 502, Name: long}}, 100)
	vm.Bundle.Volume = long
	vm.Gaps = map[string]protocol.Code{protocol.Columns[0].ID: protocol.CodeNeverStarted, "of the future": protocol.Code(long)}
	m.Report.VMs = []protocol.VM{vm}
	m.Checkin(t)
	if got := portal.Admin(t, http.MethodGet, "/v1/admin/vms?per_page=1000", nil); len(got.Body) > 16<<10 {
		t.Errorf("one row has %d bytes", len(got.Body))
	}
	m.Checkin(t) // the report is as acknowledged, whatever was cut
}
