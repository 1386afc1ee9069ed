package fleet_test

import (
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/storage"
)

// The mapping of protocol.md 2.9: what the columns Last command and VM status say of each
// state of a command, and of none.
func TestINV15_INV08_TheColumnsOfACommand(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	vm := protocol.VM{VMKey: protocol.VMKey{ID: "vm", UID: 501}, Name: "Windows"}
	for _, test := range []struct{ kind, state, epoch, wantCommand, wantStatus string }{
		{"", "", "", "None", protocol.StatusActive},
		{"vm.delete", protocol.CommandAwaitingApproval, "", "Pending delete", protocol.StatusActive},
		{"vm.delete", protocol.CommandPending, "", "Pending delete", protocol.StatusActive},
		{"vm.delete", protocol.CommandDelivered, "e", "Pending delete", protocol.StatusActive},
		{"vm.delete", protocol.CommandAcknowledged, "e", "Pending delete", protocol.StatusActive},
		{"vm.lock", protocol.CommandDeferred, "e", "Pending lock", protocol.StatusActive},
		{"vm.restart", protocol.CommandRunning, "e", "Pending restart", protocol.StatusActive},
		{"vm.delete", protocol.CommandSucceeded, "e", "None", protocol.StatusActive},
		{"vm.delete", protocol.CommandCancelled, "e", "None", protocol.StatusActive},
		{"vm.delete", protocol.CommandFailed, "e", "Failed to delete", protocol.StatusDeleteFailed},
		{"vm.delete", protocol.CommandRejected, "e", "Failed to delete", protocol.StatusDeleteFailed},
		{"vm.delete", protocol.CommandExpired, "e", "Failed to delete", protocol.StatusDeleteFailed},
		{"vm.delete", protocol.CommandUnknown, "e", "Failed to delete", protocol.StatusActive},
		{"vm.redownload", protocol.CommandRejected, "e", "Failed to redownload", protocol.StatusDeleteFailed},
		{"vm.lock", protocol.CommandFailed, "e", "Failed to lock", protocol.StatusActive},
		{"windows_update.install", protocol.CommandFailed, "e", "Failed to install", protocol.StatusActive},
		{"vm.delete", protocol.CommandFailed, "of before", "None", protocol.StatusActive}, // bound to the epoch
		{"vm.delete", protocol.CommandAcknowledged, "of before", "Pending delete", protocol.StatusActive},
	} {
		t.Run(test.kind+" "+test.state+" "+test.epoch, func(t *testing.T) {
			t.Parallel()
			var log storage.CommandLog
			if test.kind != "" {
				log.Commands = []storage.Command{{ID: "c", Type: test.kind, State: test.state, Epoch: test.epoch, Since: now, ExpiresAt: now.Add(time.Hour), Target: protocol.CommandTarget{VMID: "vm", UID: 501}}}
			}
			report := storage.Report{Product: protocol.Product{Installed: true, State: protocol.ProductKey}, Rows: []storage.Row{{VM: vm}}}
			_, rows := fleet.Scan{Now: now, Freshness: time.Hour}.Device(storage.Device{ID: "d", Epoch: "e", HasCommands: true}, report, log)
			if rows[0].LastCommand != test.wantCommand || rows[0].Status != test.wantStatus {
				t.Errorf("last command %q, status %q", rows[0].LastCommand, rows[0].Status)
			}
			if (rows[0].Extra.LastCommandDetail == "") != (test.kind == "" || test.epoch == "of before" && test.wantCommand == "None") {
				t.Errorf("detail %q", rows[0].Extra.LastCommandDetail)
			}
		})
	}
}

// CMD-16: VMs of a Mac whose product is deactivated stay, with that status.
func TestCMD16_RowsOfADeactivatedProductStay(t *testing.T) {
	t.Parallel()
	report := storage.Report{Product: protocol.Product{Installed: true, State: protocol.ProductDeactivated}, Rows: []storage.Row{{VM: protocol.VM{Name: "Windows"}}}}
	_, rows := fleet.Scan{}.Device(storage.Device{ID: "d"}, report, storage.CommandLog{})
	if len(rows) != 1 || rows[0].Status != protocol.StatusDeactivated {
		t.Errorf("rows are %+v", rows)
	}
}
