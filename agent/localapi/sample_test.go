package localapi

import (
	"time"

	"prlagent/agent/protocol"
)

// The samples are one Mac as an administrator sees it: alice at work, bob
// without a session, and a portal that stopped answering.

func at(clock string) time.Time {
	moment, err := time.Parse(time.DateTime, "2026-11-23 "+clock)
	if err != nil {
		panic(err)
	}
	return moment
}

func sampleStatus() *Status {
	return &Status{
		Schema: Schema, At: at("09:41:10"), ValidUntil: at("10:44:00"),
		Daemon: Daemon{Version: "1.0.0", Revision: "0acce8a1b2c3", PID: 412, StartedAt: at("07:58:02"), Running: true},
		Health: Health{State: Degraded, Conditions: []Condition{
			condition(protocol.CodePortalUnreachable, "09:30:00", "dial tcp 192.0.2.7:8443: i/o timeout"),
			condition(protocol.CodeLocallyManaged, "07:58:02", ""),
		}},
		Config: ConfigStatus{Source: "local", LocallyManaged: true, Mode: "monitor", Problems: []ConfigProblem{
			{Key: "CheckinInterval", Code: protocol.CodeConfigInvalid, Text: "is a string, not an integer"},
		}},
		Portal: PortalStatus{
			URL: "https://portal.example.org:8443", Enrollment: "enrolled", DeviceID: "dev-7f3a",
			Group:         protocol.Group{ID: "grp-design", Name: "Design", Source: protocol.GroupFromSecret},
			LastAttemptAt: at("09:40:00"), LastSuccessAt: at("08:40:00"), NextAttemptAt: at("09:44:00"),
			NextReason: "backoff", LastCode: protocol.CodePortalUnreachable, LastDetail: "i/o timeout", Failures: 3, Sequence: 17,
		},
		Policy: protocol.PolicyReport{
			State: protocol.PolicyFetched, PolicyID: "pol-1", Revision: 4,
			Counts: map[string]int{protocol.StrengthMonitored: 6, protocol.StrengthDeterred: 1},
		},
		PolicyInForce: InForce{Source: "head", CandidatePercent: 5, Mode: "monitor", ModeOf: "configuration", ExpiresAt: at("07:00:00").AddDate(0, 0, 20)},

		Store:    StoreStatus{Outcome: "opened", Epoch: "ep-01", Commits: 23},
		Host:     sampleHost(),
		Product:  sampleProduct(),
		Counts:   Counts{Users: 2, UsersFailed: 1, VMs: 3, Running: 1, Stale: 1},
		Schedule: Schedule{DailyAt: at("23:10:00").Add(24 * time.Hour), CheckinAt: at("09:44:00"), Because: "backoff"},
		Users: []protocol.UserLook{
			{Name: "alice", UID: 501, At: at("09:40:01"), Count: 2},
			{Name: "bob", UID: 502, Code: protocol.CodeUserSession, At: at("07:58:04"), Count: 1},
		},
		Pass:     samplePass(),
		ToolRuns: map[string]uint64{"prlctl": 14, "prlsrvctl": 3},
		Doing: []Activity{{Step: "observe", StartedAt: at("09:41:02"), GivesUpAt: at("09:42:17"), Users: []Waiting{
			{Name: "bob", UID: 502, StartedAt: at("09:41:02"), GivesUpAt: at("09:42:17")},
		}}},
	}
}

// sampleHand is what became of a setting of alice's machine and of two others; and
// of a switch of the host, which is told where locks are lifted.
func sampleHand() *HandResult {
	alices := PolicyVM{VMKey: protocol.VMKey{ID: "00000000-0000-4000-8000-000000000001", UID: 501}, Name: "Windows 11", Owner: "alice"}
	bobs := PolicyVM{VMKey: protocol.VMKey{ID: "00000000-0000-4000-8000-000000000002", UID: 502}, Name: "Team Linux", Owner: "bob"}
	running, missing, prompt := protocol.CodeVMRunning.Text(), protocol.CodeVMNotFound.Text(), protocol.CodeAdminPassword.Text()
	return &HandResult{
		Schema: Schema, Mode: "enforce", Setting: "asset_tag", Value: "F-2",
		VMs: []HandVM{
			{PolicyVM: alices, Outcome: "done", PolicyPath: "vm_settings.other.asset_tag", PolicyValue: "F-1", PutBack: true},
			{PolicyVM: bobs, Outcome: "deferred", Code: protocol.CodeVMRunning, Text: running.Text, Remedy: running.Remedy},
			{PolicyVM: PolicyVM{VMKey: protocol.VMKey{ID: "00000000-0000-4000-8000-00000000dead"}}, Outcome: "refused", Code: protocol.CodeVMNotFound, Text: missing.Text, Remedy: missing.Remedy},
		},
		Switches: []HandSwitch{
			{Target: "--require-pwd create-vm", Outcome: "done"},
			{Target: "--require-pwd add-vm", Outcome: "refused", Code: protocol.CodeAdminPassword, Text: prompt.Text, Remedy: prompt.Remedy, Command: "sudo prlsrvctl set --require-pwd add-vm:off"},
		},
	}
}

func condition(code protocol.Code, since, detail string) Condition {
	words := code.Text()
	return Condition{Code: code, Severity: words.Severity, Text: words.Text, Remedy: words.Remedy, Detail: detail, Since: at(since)}
}

func samplePass() *Pass {
	return &Pass{
		Number: 9, StartedAt: at("09:40:00"), EndedAt: at("09:40:03").Add(250 * time.Millisecond),
		Triggers: []protocol.Trigger{{Reason: "manual", Count: 2, FirstAt: at("09:39:58"), LastAt: at("09:39:59")}},
		Steps: []Step{
			{Name: "observe", Outcome: StepDone, Millis: 1240},
			{Name: "exchange", Outcome: StepFailed, Code: protocol.CodePortalUnreachable, Detail: "i/o timeout", Millis: 2000},
			{Name: "converge", Outcome: StepSkipped, Detail: "mode monitor"},
			{Name: "report", Outcome: StepDone, Millis: 4},
		},
		Requests: 1, SentBytes: 642, ToolRuns: 4, CommitsNow: 1,
	}
}

func sampleHost() protocol.Host {
	return protocol.Host{
		ComputerName: "Alice’s MacBook Pro", Serial: "C02SECRET1", HardwareUUID: "5A1C0B8E-0000-4000-8000-00000000C0DE",
		Model: "MacBookPro18,3", MacOS: "26.1", MacOSBuild: "25B78", CPU: protocol.CPUArm, ConsoleUser: "alice",
	}
}

func sampleProduct() protocol.Product {
	return protocol.Product{
		Installed: true, Version: "26.4.0", Build: "57513", Edition: "Enterprise Edition",
		State: protocol.ProductKey, License: "ABC123-******-XYZ789",
	}
}

func sampleInventory() *Inventory {
	return &Inventory{Schema: Schema, At: at("09:40:01"), Rows: []protocol.Row{
		sampleRow(protocol.VM{
			VMKey: protocol.VMKey{ID: "0f1e2d3c-0000-4000-8000-000000000001", UID: 501}, Owner: "alice", Bundle: protocol.Bundle{Volume: "0E5C2F1A-9C3B-4B7E-8D55-6A0F4C1B7D21", Inode: 4711},
			Name: "Windows 11", State: protocol.StateRunning, RawState: "running", OS: "Windows 11", Edition: "Enterprise",
			OSBuild: "26100.2314", Serial: "Parallels-0F 1E 2D 3C", Source: protocol.SourceOther, Encryption: protocol.NotEncrypted,
			LastUsedAt: at("08:12:44"), ToolsVersion: "26.4.0-57513", ToolsState: "installed", CPU: protocol.CPUArm, ConfigHash: "9d3c",
		}),
		sampleRow(protocol.VM{
			VMKey: protocol.VMKey{ID: "0f1e2d3c-0000-4000-8000-000000000002", UID: 501}, Owner: "alice", Bundle: protocol.Bundle{Volume: "0E5C2F1A-9C3B-4B7E-8D55-6A0F4C1B7D21", Inode: 4712},
			SeenBy: []protocol.Account{{UID: 502, Name: "bob"}},
			Name:   "開発用 Ubuntu 24.04", State: protocol.StateStopped, RawState: "stopped", OS: "Ubuntu", Source: protocol.SourceUnknown,
			CPU: protocol.CPUArm, ConfigHash: "77aa",
			Gaps: map[string]protocol.Code{
				"tools_version": protocol.CodeNoTools, "vm_edition": protocol.CodeGuestOS, "vm_os_build": protocol.CodeGuestOS,
				"last_used": protocol.CodeNotSeenRunning, "vm_serial": protocol.CodeNotShown, "vm_encryption": protocol.CodeNotShown,
			},
		}),
		sampleRow(protocol.VM{
			VMKey: protocol.VMKey{ID: "0f1e2d3c-0000-4000-8000-000000000003", UID: 502}, Owner: "bob", Bundle: protocol.Bundle{Volume: "0E5C2F1A-9C3B-4B7E-8D55-6A0F4C1B7D21", Inode: 4713},
			Name: "Evil\x1b[2J\u202egpj.exe", State: protocol.StateSuspended, RawState: "suspended", OS: "Windows 11",
			Source: protocol.SourceOther, LastUsedAt: at("07:00:00").AddDate(0, 0, -3), ToolsVersion: "26.3.1-57300",
			Stale: protocol.CodeUserSession, SeenAt: at("07:58:04"),
			Gaps: map[string]protocol.Code{"vm_edition": protocol.CodeUserSession},
		}),
	}}
}

func sampleRow(vm protocol.VM) protocol.Row {
	return protocol.Row{
		VM: vm, Host: sampleHost(), Product: sampleProduct(), Status: protocol.StatusActive,
		LastCommand: protocol.CommandNone, LastReportedAt: at("08:40:00"),
		Extra: protocol.RowExtra{Group: "Design", GroupSource: protocol.GroupFromSecret, AgentVersion: "1.0.0", DeviceID: "dev-7f3a"},
	}
}

func sampleEvents() []protocol.Event {
	return []protocol.Event{
		{Seq: 1, At: at("07:58:02"), Type: "agent_started", Data: map[string]string{"version": "1.0.0"}},
		{Seq: 2, At: at("07:58:04"), Type: "user_failing", Code: protocol.CodeUserSession, Data: map[string]string{"uid": "502", "user_name": "bob", "since": "2026-11-23T07:58:04Z"}},
		{Seq: 3, At: at("08:12:44"), Type: "vm_started", Data: map[string]string{"uid": "501", "user_name": "alice", "vm_name": "Windows 11"}},
		{Seq: 4, At: at("09:30:00"), Type: "checkins_failing", Code: protocol.CodePortalUnreachable, Data: map[string]string{"since": "2026-11-23T09:20:00Z", "detail": "i/o timeout"}},
	}
}

func sampleCheckin() CheckinResult {
	return CheckinResult{
		Schema: Schema, Accepted: true, Waited: true,
		Code: protocol.CodePortalUnreachable, Detail: "i/o timeout", Pass: samplePass(),
	}
}
