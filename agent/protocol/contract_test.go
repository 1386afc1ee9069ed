package protocol

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

const contractFolder = "../../testdata/contract"

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// samplePolicy is a policy report with every word that it can have.
func samplePolicy() PolicyReport {
	return PolicyReport{
		State: PolicyPartial, Code: CodeContentStale, PolicyID: "finance", Revision: 7,
		SHA256: "9c41d7f1e5c8b3a297d6e4f5a8b1c2d3e4f5061728394a5b6c7d8e9f00112233", HeadVersion: 41,
		Counts: map[string]int{StrengthEnforced: 9, StrengthDeterred: 1, StrengthReverted: 2, StrengthMonitored: 1, StrengthNotEnforceable: 1},
	}
}

// sampleVerdicts is on two machines and on the policy as a whole.
func sampleVerdicts() VerdictReport {
	return VerdictReport{
		SHA256: samplePolicy().SHA256, VMs: []VMKey{sampleVM().VMKey, gappyVM().VMKey},
		Groups: []VerdictGroup{
			{Path: "vm_settings.other.startup", Verdict: VerdictInPlace, Strength: StrengthReverted, VMs: []int{0, 1}},
			{Path: "vm_settings.other.clipboard", Verdict: VerdictNotApplicable, Strength: StrengthMonitored, Code: CodeGuestOS, Since: noon, VMs: []int{1}},
			{Path: "security_controls.org_license_only", Verdict: VerdictUnsupported, Strength: StrengthNotEnforceable, Code: CodeSectionNotSupported, Since: noon},
		},
	}
}

// sampleHealth is that of a Mac with a wrong key, where a user's tools fail.
func sampleHealth() HealthReport {
	return HealthReport{State: Unhealthy, Conditions: []ReportedCondition{
		{Code: CodeConfigInvalid, Since: noon.Add(-48 * time.Hour), Count: 1, Subject: "DailyCheckTime"},
		{Code: CodeServiceDown, Since: noon.Add(-time.Hour), Count: 1},
	}}
}

// sampleVM is a row with no empty cell.
func sampleVM() VM {
	return VM{
		VMKey: VMKey{ID: "f11d8098-10fe-40d9-871e-27af1e66161e", UID: 501}, Owner: "alice", Bundle: Bundle{Volume: "0E5C2F1A-9C3B-4B7E-8D55-6A0F4C1B7D21", Inode: 12345678},
		SeenBy: []Account{{UID: 502, Name: "bob"}}, Name: "Windows 11", State: StateSuspended, RawState: "paused", OS: "Windows 11", Edition: "Pro", OSBuild: "26100",
		Serial: "Parallels-F1 1D 80 98 10 FE 40 D9 87 1E 27 AF 1E 66 16 1E", Source: SourceOther, Encryption: EncryptedPassword,
		LastUsedAt: noon.Add(-26 * time.Hour), ToolsVersion: "26.4.0-57513", ToolsState: "possibly_installed", CPU: CPUArm,
		ConfigHash: "51aa0b1c2d3e4f5061728394a5b6c7d8",
	}
}

// gappyVM is a row of a user who cannot be listed, of a machine that never ran.
func gappyVM() VM {
	return VM{
		VMKey: VMKey{ID: "7d0c9c1e-4f5b-4c39-9d0e-2b7c3a1f6e55", UID: 502}, Owner: "bob",
		Name: "=macOS\x1b[31m", State: StateUnknown, RawState: "stopped", OS: "macOS", Source: SourceOther, Encryption: NotEncrypted, CPU: CPUArm,
		Stale: CodeServiceDown, SeenAt: noon.Add(-time.Hour),
		Gaps: map[string]Code{"vm_edition": CodeGuestOS, "vm_os_build": CodeNeverStarted, "vm_serial": CodeMacGuestSerial,
			"tools_version": CodeNeverStarted, "last_used": CodeNeverStarted},
	}
}

func sampleHost() Host {
	return Host{ComputerName: "Alice's Mac", Serial: "C02XL0THJGH5", HardwareUUID: "D16E8CA5-3B60-5BBE-AFF4-5BA1012DD0CC",
		Model: "MacBookPro18,3", MacOS: "26.1", MacOSBuild: "25B78", CPU: CPUArm, ConsoleUser: "alice"}
}

func sampleProduct() Product {
	return Product{Installed: true, Version: "26.4.0", Build: "57513", Edition: "enterprise", State: ProductSSO, License: "6J9A5T-******-******-******-RN17ZA"}
}

func sampleReport() Report {
	return Report{
		Agent: AgentInfo{Version: "0.3.0", Arch: "arm64", Mode: "monitor"}, Host: sampleHost(), Product: sampleProduct(),
		Users:  []UserLook{{Name: "alice", UID: 501, Count: 1}, {Name: "bob", UID: 502, Code: CodeServiceDown, At: noon.Add(-time.Hour), Count: 1}},
		Policy: samplePolicy(), Verdicts: sampleVerdicts(), Health: sampleHealth(), VMs: []VM{sampleVM(), gappyVM()},
	}
}

// sampleRequest is a check-in without its report.
func sampleRequest(reasons ...string) CheckinRequest {
	request := CheckinRequest{Protocol: Version, RequestID: "0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e11",
		Epoch: "b1f0c2d3e4f5061728394a5b6c7d8e9f", Sequence: 412, SentAt: noon, Triggers: []Trigger{}}
	for _, reason := range reasons {
		request.Triggers = append(request.Triggers, Trigger{Reason: reason, Count: 1, FirstAt: noon.Add(-time.Minute), LastAt: noon})
	}
	return request
}

// checkin is the request that tells report to a portal that has base.
func checkin(t testing.TB, request CheckinRequest, report, acknowledged *Report) CheckinRequest {
	t.Helper()
	var base Baseline
	if acknowledged != nil {
		var err error
		if base, err = acknowledged.Baseline(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := report.Fill(&request, base); err != nil {
		t.Fatal(err)
	}
	return request
}

func fullCheckin(t testing.TB) CheckinRequest {
	request, report := sampleRequest("agent_start"), sampleReport()
	request.OpenCommands = []OpenCommand{{CommandID: "0198e001-0000-7000-8000-000000000001", State: "acknowledged", At: noon}}
	request.Results = []Result{sampleResult()}
	request.Events = []Event{{Seq: 7, At: noon, Type: "rollback_detected", Code: CodeRollbackDetected, Data: map[string]string{"group": "finance", "version": "40"}}}
	return checkin(t, request, &report, nil)
}

// deltaCheckin tells of one changed row, one that left, and a part that is new.
func deltaCheckin(t testing.TB) CheckinRequest {
	before, after := sampleReport(), sampleReport()
	after.VMs = []VM{sampleVM()}
	after.VMs[0].State, after.VMs[0].RawState = StateRunning, "running"
	after.Users = nil
	after.Host.ComputerName = "Renamed"
	after.Verdicts.VMs, after.Verdicts.Groups[0].VMs = after.Verdicts.VMs[:1], []int{0}
	after.Verdicts.Groups[1].Verdict, after.Verdicts.Groups[1].Code, after.Verdicts.Groups[1].VMs = VerdictPending, CodeMonitorMode, []int{0}
	return checkin(t, sampleRequest("vm_started"), &after, &before)
}

func quietCheckin(t testing.TB) CheckinRequest {
	report := sampleReport()
	return checkin(t, sampleRequest("daily"), &report, &report)
}

func sampleHead() Head {
	return Head{SiteID: "example", GroupID: "finance", HeadVersion: 41, SplaySecs: 300, IssuedAt: noon, ExpiresAt: noon.AddDate(0, 0, 30),
		Policy: &PolicyPointer{PolicyID: "finance", Revision: 7, SHA256: samplePolicy().SHA256, Size: 1625}}
}

func sampleCommand() Command {
	vm := sampleVM()
	return Command{
		CommandID: "0198e001-0000-7000-8000-000000000001", Type: "vm.delete",
		Target: CommandTarget{DeviceID: "0198f6b2-0000-7000-8000-000000000002", MacSerial: sampleHost().Serial, UID: vm.UID, Owner: vm.Owner,
			VMID: vm.ID, VMName: vm.Name, Bundle: vm.Bundle},
		Params: json.RawMessage(`{"when":"now"}`), IssuedAt: noon, NotBefore: noon.Add(time.Hour), ExpiresAt: noon.AddDate(0, 0, 30),
		TimeoutS: 600, IssuedBy: "operator@example", Reason: "left the company",
	}
}

func sampleResult() Result {
	return Result{CommandID: "0198e001-0000-7000-8000-000000000000", State: "failed", Code: CodeVMBusy, Message: "the virtual machine is being cloned",
		StartedAt: noon.Add(-time.Minute), EndedAt: noon, Observed: map[string]string{"bundle": "present"}}
}

func sampleReply() CheckinReply {
	return CheckinReply{
		ServerTime: noon, NextCheckin: 3600, SplaySecs: 300, Group: Group{ID: "finance", Name: "Finance", Source: GroupFromProfile},
		Policy: &Hint{HeadVersion: 41, SHA256: samplePolicy().SHA256}, Inventory: InventorySendFull,
		Commands: []Envelope{Sign(PayloadCommand, []byte(`{"command_id":"0198e001"}`), keyFrom(1))},
		Cancel:   []string{"0198e001-0000-7000-8000-000000000009"}, Acks: []Ack{{CommandID: sampleResult().CommandID}},
	}
}

func enrollRequest() EnrollRequest {
	return EnrollRequest{
		RequestID: "0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e10", Origin: "https://portal.example:443", SiteID: "5b1f6c3e-8d0a-4c1b-9e57-0f6a2d3c4b5e", Secret: "from the profile", Serial: sampleHost().Serial, HardwareUUID: sampleHost().HardwareUUID,
		DeviceKey: publicOf(keyFrom(2)), AgentVersion: "0.3.0", Epoch: sampleRequest().Epoch, GroupHint: "finance", SentAt: noon,
	}
}

func sampleRow(vm VM) Row {
	return Row{
		VM: vm, Host: sampleHost(), Product: sampleProduct(), Status: StatusOf(sampleProduct(), false), LastCommand: CommandNone, LastReportedAt: noon,
		Extra: RowExtra{Group: "finance", GroupSource: GroupFromProfile, PolicyRevision: 7, PolicyState: PolicyFetched, AgentVersion: "0.3.0",
			FirstSeenAt: noon.AddDate(0, -1, 0), DeviceID: sampleCommand().Target.DeviceID},
	}
}

// Every message as it stands on the wire; whoever changes one of these files
// changes the contract (DESIGN 4.1). What we write we must also read.
func TestContractMessages(t *testing.T) {
	t.Parallel()
	release := sampleHead()
	release.Policy, release.HeadVersion = nil, 42
	cases := map[string]any{
		"enroll-request.json":       enrollRequest(),
		"enroll-reply.json":         EnrollReply{State: EnrollApproved, DeviceID: sampleCommand().Target.DeviceID, Token: "dG9rZW4", Group: Group{ID: "primary", Source: GroupFromPrimary}, ServerTime: noon},
		"enroll-reply-pending.json": EnrollReply{State: EnrollPending, DeviceID: sampleCommand().Target.DeviceID, ServerTime: noon, RetryAfter: 3600},
		"checkin-full.json":         fullCheckin(t),
		"checkin-delta.json":        deltaCheckin(t),
		"checkin-quiet.json":        quietCheckin(t),
		"checkin-reply.json":        sampleReply(),
		"checkin-reply-quiet.json":  CheckinReply{ServerTime: noon, Group: Group{ID: "primary", Source: GroupFromPrimary}, Inventory: InventoryOK},
		"problem.json":              Problem{Type: problemBase + ProblemSequenceConflict, Title: KindOfProblem(ProblemSequenceConflict).Title, Status: 409, Detail: "412 was another report", Instance: "0198f6b2", Retry: RetryLater, Field: "sequence", Expected: 413},
		"head.json":                 sampleHead(),
		"head-release.json":         release,
		"envelope.json":             Sign(PayloadHead, []byte(`{"site_id":"example"}`), keyFrom(1), keyFrom(2)),
		"policy-report.json":        samplePolicy(),
		"command.json":              sampleCommand(),
		"result.json":               sampleResult(),
		"holds.json":                sampleHolds(),
		"hold-report.json":          sampleHoldReport(),
		"receipt.json":              sampleReceipt(),
		"vm.json":                   sampleVM(),
		"vm-gaps.json":              gappyVM(),
	}
	for name, message := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden := checkGolden(t, name, message)
			back := reflect.New(reflect.TypeOf(message))
			if err := Decode(golden, MaxRequest, back.Interface()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(message, back.Elem().Interface(), sameJSON); diff != "" {
				t.Errorf("read back (-written +read):\n%s", diff)
			}
		})
	}
}

// sameJSON compares raw JSON by what it says: a golden file is indented.
var sameJSON = cmp.Transformer("json", func(raw json.RawMessage) (value any) {
	_ = json.Unmarshal(raw, &value)
	return value
})

// The table as machines read it, with the reasons of its empty cells.
func TestContractRows(t *testing.T) {
	t.Parallel()
	nobody := sampleRow(gappyVM())
	nobody.Product = Product{Gaps: map[string]Code{"pd_version": CodePDNotInstalled, "pd_state": CodePDNotInstalled, "vm_status": CodePDNotInstalled}}
	nobody.Status, nobody.Extra = StatusOf(nobody.Product, false), RowExtra{}
	for name, row := range map[string]Row{"row.json": sampleRow(sampleVM()), "row-gaps.json": nobody} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkGolden(t, name, row)
		})
	}
}

// checkGolden compares a message with its file, which it returns.
func checkGolden(t *testing.T, name string, message any) []byte {
	t.Helper()
	got, err := json.MarshalIndent(message, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	path := filepath.Join(contractFolder, name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
	return got
}

// DESIGN 11: a quiet check-in is small.
func TestQuietCheckinIsSmall(t *testing.T) {
	t.Parallel()
	body, err := json.Marshal(quietCheckin(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(body) > 500 { // the budget of 700 bytes is with the request's head
		t.Errorf("%d bytes: %s", len(body), body)
	}
}
