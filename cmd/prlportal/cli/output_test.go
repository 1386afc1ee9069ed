package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/query"
	"prlagent/cmd/prlportal/storage"
)

// sampleRows are rows as a client of the admin plane reads them.
func sampleRows(t *testing.T) []tableRow {
	t.Helper()
	host := protocol.Host{ComputerName: "Alice's MacBook", Serial: "C02AAAAAAAAA"}
	product := protocol.Product{Installed: true, Version: "26.4.0", Build: "57513", State: protocol.ProductKey}
	running := portaltest.WindowsVM("Windows 11")
	running.ID, running.State, running.LastUsedAt, running.ToolsVersion = "1f3c2a1b-6d1e-4f63-9c5b-2f1f4f1a7b3e", protocol.StateRunning, portaltest.Morning.Add(-time.Hour), "26.4.0.57513"
	fresh := portaltest.WindowsVM("=cmd|' /C calc'!A0")
	fresh.ID, fresh.Gaps = "2a4d3b2c-7e2f-4a74-8d6c-3a2a5a2b8c4f", map[string]protocol.Code{"last_used": protocol.CodeNeverStarted}
	hostile := portaltest.WindowsVM("name\x1b[2J\u202egpj.exe\nnext line")
	hostile.ID, hostile.UID, hostile.Owner, hostile.Stale = "3b5e4c3d-8f3a-4b85-9e7d-4b3b6b3c9d5a", 502, "bob", protocol.CodeUserSession
	hostile.Gaps = map[string]protocol.Code{"last_used": protocol.CodeNotSeenRunning}
	rows := make([]tableRow, 0, 3)
	for i, vm := range []protocol.VM{running, fresh, hostile} {
		view := fleet.VM{Row: protocol.Row{
			VM: vm, Host: host, Product: product, Status: protocol.StatusActive, LastCommand: protocol.CommandNone, LastReportedAt: portaltest.Morning,
			Extra: protocol.RowExtra{Group: "default", GroupSource: protocol.GroupFromPrimary, PolicyRevision: 7, PolicyState: protocol.PolicyNone, AgentVersion: "0.1.0", FirstSeenAt: portaltest.Morning, DeviceID: "0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e11"},
		}, ChangedAt: portaltest.Morning, StaleReport: i == 1}
		if i == 2 {
			view.RemovedAt = portaltest.Morning
		}
		rows = append(rows, rowAsSent(t, view))
	}
	return rows
}

// rowAsSent is a row as a client of the admin plane reads it.
func rowAsSent(t *testing.T, view any) tableRow {
	t.Helper()
	data, err := json.Marshal(view)
	if err != nil {
		t.Fatal(err)
	}
	row, err := readRow(data)
	if err != nil {
		t.Fatal(err)
	}
	return row
}

func TestVMsOutput(t *testing.T) {
	t.Parallel()
	rows := sampleRows(t)
	zone := time.FixedZone("CET", 3600)
	for name, columns := range map[string][]string{"vms.table": nil, "vms-all.table": {"all"}} {
		var out bytes.Buffer
		if err := printVMs(&out, mustChoose(t, columns, formatTable), rows, zone); err != nil {
			t.Fatal(err)
		}
		golden(t, name, out.Bytes())
	}
	for name, columns := range map[string][]string{
		"vms.csv": nil, "vms-all.csv": {"all"}, "vms.json": nil, "vms-chosen.json": {"vm_id", "last_used", "group", "gaps"}, "vms.ndjson": nil,
	} {
		var out bytes.Buffer
		format := strings.TrimPrefix(filepath.Ext(name), ".")
		writer, err := newRowWriter(&out, format, "vms", mustChoose(t, columns, format))
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			err = errors.Join(err, writer.write(row))
		}
		if err := errors.Join(err, writer.end(adminapi.ListInfo{Total: 3, AsOf: portaltest.Morning})); err != nil {
			t.Fatal(err)
		}
		golden(t, name, out.Bytes())
	}
}

func mustChoose(t *testing.T, ids []string, format string) []query.Column {
	t.Helper()
	columns, err := vmListing.chooseColumns(ids, format)
	if err != nil {
		t.Fatal(err)
	}
	return columns
}

func TestDevicesOutput(t *testing.T) {
	t.Parallel()
	devices := []fleet.Device{
		{
			DeviceID: "0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e11", State: fleet.StateOK, ComputerName: "Alice's MacBook", MacSerial: "C02AAAAAAAAA",
			PDVersion: "26.4.0", AgentVersion: "0.1.0", Mode: "monitor", Group: protocol.Group{ID: "default"}, VMs: 5, VMsMissing: 12,
			Health: protocol.Degraded, Conditions: []protocol.ReportedCondition{{Code: protocol.CodeServiceDown, Count: 2}, {Code: protocol.CodeConfigInvalid}},
			LastCheckinAt: portaltest.Morning, ClockAhead: -7500,
		},
		{
			DeviceID: "0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e12", State: fleet.StateDuplicate, MacSerial: "C02BBBBBBBBB", AgentVersion: "0.1.0", Group: protocol.Group{ID: "finance"},
			Pending:   []fleet.PendingKey{{KeyID: "0123456789abcdef", AskedAt: portaltest.Morning, Source: "192.0.2.9"}},
			Duplicate: &storage.Duplicate{Reason: storage.DuplicateSequence, At: portaltest.Morning, Count: 2},
		},
	}
	var out bytes.Buffer
	rows := []tableRow{rowAsSent(t, devices[0]), rowAsSent(t, devices[1])}
	columns, err := deviceListing.chooseColumns(nil, formatTable)
	if err != nil {
		t.Fatal(err)
	}
	if err := printDevices(&out, columns, rows, time.FixedZone("CET", 3600)); err != nil {
		t.Fatal(err)
	}
	golden(t, "devices.table", out.Bytes())
}

// Without a sort that was asked for, people look rows up by names, and numbers in
// them count as numbers.
func TestTablesAreInTheOrderOfNames(t *testing.T) {
	t.Parallel()
	rows := []tableRow{
		{"computer_name": "Mac 10", "user_name": "alice", "vm_name": "x"}, {"computer_name": "mac 9", "user_name": "bob", "vm_name": "VM 10"},
		{"computer_name": "mac 9", "user_name": "bob", "vm_name": "VM 9"}, {"computer_name": "Mac 9", "user_name": "alice", "vm_name": "z"},
	}
	vmListing.sortForPeople(rows)
	var names []string
	for _, row := range rows {
		names = append(names, row["vm_name"].(string))
	}
	if got := strings.Join(names, ", "); got != "z, VM 9, VM 10, x" {
		t.Error(got)
	}
}
