package portaltest

import (
	"net/http"
	"testing"
	"time"

	"prlagent/agent/protocol"
)

// TwoMacs are two Macs whose virtual machines, Win and Deb, differ in every
// column that can differ.
func TwoMacs(t *testing.T) *Portal {
	t.Helper()
	portal := New(t)
	first := NewMac(t, portal, "C02AAAAAAAAA")
	win := WindowsVM("Win")
	win.Name, win.ID, win.Owner, win.State = "Win", "1f3c2a1b-6d1e-4f63-9c5b-2f1f4f1a7b3e", "alice", protocol.StateRunning
	win.OS, win.Edition, win.OSBuild, win.ToolsVersion = "Windows 11", "Pro, N", "26100", "26.4.0-57513"
	win.Serial, win.LastUsedAt = "Parallels-1F 3C 2A 1B 6D 1E 4F 63 9C 5B 2F 1F 4F 1A 7B 3E", Morning.Add(-26*time.Hour)
	first.Report.VMs = []protocol.VM{win}
	first.Enroll(t, http.StatusCreated)
	first.Checkin(t)

	portal.Clock.Advance(time.Hour)
	second := NewMac(t, portal, "C02BBBBBBBBB")
	second.Report.Host.ComputerName = "Bob's Mac"
	second.Report.Product = protocol.Product{Installed: true, Version: "26.10.1", Build: "60001", State: protocol.ProductDeactivated}
	deb := WindowsVM("Deb")
	deb.Name, deb.ID, deb.UID, deb.Owner, deb.Source, deb.CPU = "Deb", "2a4d3b2c-7e2f-4a74-8d6c-3a2a5a2b8c4f", 502, "bob", "Golden Debian", protocol.CPUIntel
	deb.OS, deb.Encryption, deb.Gaps = "Debian GNU/Linux 12", protocol.EncryptedPassword, nil
	second.Report.VMs = []protocol.VM{deb}
	second.Enroll(t, http.StatusCreated)
	second.Checkin(t)
	return portal
}

// ColumnFilters are filters of every column of the guide and what they show of
// TwoMacs: Win, Deb, both or nothing.
var ColumnFilters = map[string][][2]string{
	"user_name":     {{"user_name=ALICE", "Win"}, {"user_name != alice", "Deb"}, {"user_name in bob, carol", "Deb"}, {"user_name empty", ""}},
	"computer_name": {{"computer_name=Bob's Mac", "Deb"}, {"computer_name contains alice", "Win"}},
	"vm_name":       {{"vm_name=win", "Win"}, {"vm_name contains e", "Deb"}, {`vm_name in "Win", Deb`, "Win, Deb"}},
	"vm_id":         {{"vm_id=1F3C2A1B-6d1e-4f63-9c5b-2f1f4f1a7b3e", "Win"}, {"vm_id contains 8d6c", "Deb"}},
	"vm_state":      {{"vm_state=Running", "Win"}, {"vm_state in stopped,suspended", "Deb"}},
	"vm_status":     {{"vm_status=Deactivated", "Deb"}, {"vm_status!=Deactivated", "Win"}},
	"vm_os":         {{"vm_os contains windows", "Win"}, {`vm_os in "Windows 11", macOS`, "Win"}},
	"vm_edition":    {{`vm_edition in "Pro, N"`, "Win"}, {"vm_edition empty", "Deb"}, {"vm_edition!=Home", "Win, Deb"}},
	"vm_os_build":   {{"vm_os_build>=22631", "Win"}, {"vm_os_build<9", ""}, {"vm_os_build empty", "Deb"}},
	"vm_serial":     {{"vm_serial contains 3c 2a 1b", "Win"}, {"vm_serial empty", "Deb"}, {"vm_serial not empty", "Win"}},
	"vm_source":     {{"vm_source=other", "Win"}, {"vm_source contains golden", "Deb"}},
	"vm_encryption": {{"vm_encryption=Not encrypted", "Win"}, {"vm_encryption contains password", "Deb"}},
	"last_command":  {{"last_command=None", "Win, Deb"}, {"last_command contains pending", ""}},
	"last_used":     {{"last_used=2026-11-22", "Win"}, {"last_used before 2026-11-22", ""}, {"last_used after -2d", "Win"}, {"last_used empty", "Deb"}, {"last_used<=2026-11-22T07:00Z", "Win"}},
	"last_reported": {{"last_reported>2026-11-23T09:00Z", "Deb"}, {"last_reported=2026-11-23", "Win, Deb"}, {"last_reported before -30m", "Win"}, {"last_reported>=2026-11-24", ""}},
	"pd_version":    {{"pd_version<26.10", "Win"}, {"pd_version>26.9", "Deb"}, {"pd_version=26.4.0", "Win"}, {"pd_version=26.4.0.57513", "Win"}, {"pd_version>=26.4.0.57514", "Deb"}, {"pd_version in 26.4, 20.1.1", "Win"}},
	"pd_state":      {{"pd_state=Deactivated", "Deb"}, {"pd_state contains license key", "Win"}},
	"tools_version": {{"tools_version<26.5", "Win"}, {"tools_version=26.4", "Win"}, {"tools_version empty", "Deb"}},
	"mac_serial":    {{"mac_serial=c02bbbbbbbbb", "Deb"}, {"mac_serial in C02AAAAAAAAA,C02BBBBBBBBB", "Win, Deb"}},
	"cpu":           {{"cpu=Intel", "Deb"}, {"cpu!=Intel", "Win"}},
}
