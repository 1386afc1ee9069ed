package protocol

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// withinWire are the limits of the wire.
func withinWire(body []byte) bool {
	var packed bytes.Buffer
	writer, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	_, _ = writer.Write(body)
	_ = writer.Close()
	return len(body) <= MaxRequest && packed.Len() <= MaxRequestGzip
}

// noise is a text that does not compress.
func noise(random *rand.Rand, length int) string {
	var text strings.Builder
	for text.Len() < length {
		text.WriteByte(byte('!' + random.IntN(94)))
	}
	return text.String()
}

// hogged is a Mac on which one user has as many machines with as long texts as
// possible, and others have a few.
func hogged(random *rand.Rand) Report {
	report := Report{Users: []UserLook{{Name: "hog", UID: 501}, {Name: "alice", UID: 502}}}
	for i := range 160 {
		report.VMs = append(report.VMs, VM{VMKey: VMKey{ID: fmt.Sprintf("00000000-0000-0000-0501-%012d", i), UID: 501}, Owner: "hog",
			Name: noise(random, 1024), OS: noise(random, 1024), Edition: noise(random, 1024), OSBuild: noise(random, 1024),
			Serial: noise(random, 1024), ToolsVersion: noise(random, 1024), ToolsState: noise(random, 1024), RawState: noise(random, 1024),
			State: StateRunning, Source: SourceOther})
	}
	for i := range 40 {
		report.VMs = append(report.VMs, VM{VMKey: VMKey{ID: fmt.Sprintf("00000000-0000-0000-0502-%012d", i), UID: 502}, Owner: "alice",
			Name: "Windows", OS: "Windows 11 Enterprise with a name that is a bit longer", State: StateRunning, Source: SourceOther})
	}
	return report
}

func TestH51_OneUsersTextsTakeNoRoomOfAnothers(t *testing.T) {
	t.Parallel()
	drawn := hogged(rand.New(rand.NewPCG(51, 1)))
	report := drawn.Cut()
	grouping := NewVerdictGrouping("ab")
	for i := range 1000 {
		grouping.Add(VMKey{ID: "x", UID: 502}, &VerdictGroup{Path: fmt.Sprint("vm_settings.setting", i)})
	}
	report.Verdicts = grouping.Report
	request := CheckinRequest{Events: make([]Event, 50)}
	for i := range request.Events {
		request.Events[i] = Event{Seq: uint64(i + 1), Type: "vm_state"}
	}
	composed, err := report.Compose(request, Baseline{}, withinWire)
	if err != nil || !withinWire(composed.Body) {
		t.Fatalf("%d bytes: %v", len(composed.Body), err)
	}
	if shed := composed.Shed; shed.Rows != 0 || shed.Cells == 0 || !shed.IsTrimmed() || len(composed.Request.Events) != 50 {
		t.Errorf("%s were shed, %d events stay", shed, len(composed.Request.Events))
	}
	whole := 0
	for i, vm := range composed.Request.Inventory.VMs {
		trimmed := !cmp.Equal(vm, report.VMs[i])
		if trimmed && (vm.UID != 501 || vm.Gaps["vm_name"] != CodeReportTrimmed || vm.State != StateRunning) {
			t.Errorf("a row lost something: %+v", vm)
		}
		if vm.UID == 501 && !trimmed {
			whole++
		}
	}
	if len(composed.Request.Inventory.VMs) != 200 || whole < 20 {
		t.Errorf("%d rows, %d of the user's whole", len(composed.Request.Inventory.VMs), whole)
	}
	if body := len(composed.Body); body < MaxRequestGzip*3/4 {
		t.Errorf("only %d bytes are used", body)
	}
}

// Events, then verdicts, then cells, then rows are given up, as the room gets
// less.
func TestH51_WhatIsShedFirst(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(51, 2))
	drawn := hogged(random)
	report := drawn.Cut()
	report.VMs, report.Health = report.VMs[150:], sampleHealth()
	grouping := NewVerdictGrouping("ab")
	for i := range 40 {
		grouping.Add(VMKey{ID: fmt.Sprint("vm-", i), UID: 501}, &VerdictGroup{Path: noise(random, 200)})
	}
	report.Verdicts = grouping.Report
	var request CheckinRequest
	for i := range 40 {
		request.Events = append(request.Events, Event{Seq: uint64(i + 1), Type: "vm_state", Data: map[string]string{"vm_name": noise(random, 200)}})
	}
	var before Shed
	var order []string
	for room := 80 << 10; room > 4<<10; room -= 512 {
		composed, err := report.composeWithin(request, Baseline{}, room)
		if err != nil || len(composed.Body) > room && composed.Shed.Rows < len(report.VMs) {
			t.Fatalf("%d bytes of %d: %v", len(composed.Body), room, err)
		}
		for _, part := range []struct {
			what   string
			before int
			now    int
		}{{"events", before.Events, composed.Shed.Events}, {"verdicts", before.Verdicts, composed.Shed.Verdicts},
			{"cells", before.Cells, composed.Shed.Cells}, {"rows", before.Rows, composed.Shed.Rows}} {
			if part.before == 0 && part.now > 0 && !slices.Contains(order, part.what) {
				order = append(order, part.what)
			}
		}
		before = composed.Shed
		if health := composed.Request.Health; health == nil || len(health.Conditions) != 2 {
			t.Errorf("with room for %d bytes the agent's health is %+v: it is never shed", room, health)
		}
		if told := composed.Request.Verdicts; told != nil && told.LeftOut != 40-len(told.Groups) {
			t.Errorf("%d verdicts, and %d left out", len(told.Groups), told.LeftOut)
		}
		if inventory := composed.Request.Inventory; inventory.Truncated != (composed.Shed.Rows > 0) || len(inventory.VMs)+composed.Shed.Rows != len(report.VMs) {
			t.Errorf("%d rows are there and %d are not: truncated is %t", len(inventory.VMs), composed.Shed.Rows, inventory.Truncated)
		}
		if room > 16<<10 && (len(composed.Request.Events) == 0 || composed.Request.Verdicts == nil) {
			t.Errorf("with room for %d bytes nothing is heard of events or verdicts", room)
		}
	}
	if got := strings.Join(order, " "); got != "events verdicts cells rows" {
		t.Errorf("the order is %s", got)
	}
}

// drawText is what users write: much of it, or what grows when it is encoded.
func drawText(t *rapid.T, random *rand.Rand) string {
	length := rapid.SampledFrom([]int{0, 8, 31, 33, 255, 256, 1024, 5000}).Draw(t, "length")
	switch rapid.IntRange(0, 3).Draw(t, "kind") {
	case 0:
		return strings.Repeat("<", length)
	case 1:
		return strings.Repeat("\u0007", length)
	case 2:
		return strings.Repeat("💣é", length/6)
	}
	return noise(random, length)
}

func drawHostileReport(t *rapid.T, random *rand.Rand) (Report, CheckinRequest) {
	report := Report{Host: Host{ComputerName: drawText(t, random)}, Product: Product{Installed: true, Version: drawText(t, random)}}
	var request CheckinRequest
	grouping := NewVerdictGrouping("ab")
	for user := range rapid.IntRange(1, 3).Draw(t, "users") {
		uid := uint32(501 + user)
		report.Users = append(report.Users, UserLook{Name: fmt.Sprint("user", uid), UID: uid})
		for i := range rapid.IntRange(0, 30).Draw(t, "machines") {
			vm := VM{VMKey: VMKey{ID: fmt.Sprintf("%012d", i), UID: uid}, Owner: fmt.Sprint("user", uid), State: StateRunning,
				Name: drawText(t, random), OS: drawText(t, random), RawState: drawText(t, random), ToolsVersion: drawText(t, random)}
			if i%8 == 0 {
				vm.SeenBy = []Account{{UID: 700, Name: "other"}}
			}
			report.VMs = append(report.VMs, vm)
			if i%4 == 0 {
				grouping.Add(vm.VMKey, &VerdictGroup{Path: drawText(t, random), Verdict: VerdictFailed, Since: noon})
			}
		}
	}
	report.Verdicts = grouping.Report
	for i := range rapid.IntRange(0, 20).Draw(t, "events") {
		request.Events = append(request.Events, Event{Seq: uint64(i + 1), Type: "vm_renamed", Data: map[string]string{"from": drawText(t, random)}})
	}
	for range rapid.IntRange(0, 3).Draw(t, "results") {
		request.Results = append(request.Results, Result{CommandID: "c", Message: drawText(t, random)})
	}
	return report, request
}

// wantFair holds what was kept of each user against what was lost: who lost a
// row had at least as much as anybody keeps, but for the size of one row.
func wantFair(t *rapid.T, report *Report, kept []VM) {
	keeps, had, lost := make(map[uint32]int), make(map[uint32]int), make(map[uint32]bool)
	largest := 0
	for _, vm := range report.VMs {
		lean, _ := vm.lean()
		size, _ := sizeOf(lean)
		had[vm.UID] += size
		largest = max(largest, size)
		at := slices.IndexFunc(kept, func(row VM) bool { return row.VMKey == vm.VMKey })
		if lost[vm.UID] = lost[vm.UID] || at < 0; at >= 0 {
			size, _ := sizeOf(kept[at])
			keeps[vm.UID] += size
		}
	}
	for loser := range lost {
		for other, size := range keeps {
			if lost[loser] && other != loser && size > had[loser]+largest {
				t.Fatalf("%d lost rows of %d bytes, and %d keeps %d", loser, had[loser], other, size)
			}
		}
	}
}

// Any content yields a report that fits, in which nobody lost a row for another
// who has more; and what was shed reaches the portal with the reports that follow.
func TestH51_AnyContentFitsAndArrives(t *testing.T) {
	t.Parallel()
	same := []cmp.Option{flatVerdicts, cmpopts.EquateEmpty(), cmpopts.SortSlices(func(a, b VM) bool { return a.VMKey.Compare(b.VMKey) < 0 })}
	rapid.Check(t, func(t *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		drawn, request := drawHostileReport(t, random)
		report := drawn.Cut()
		limit := rapid.IntRange(40<<10, 100<<10).Draw(t, "limit")
		fits := func(body []byte) bool { return len(body) <= limit }
		var portal portalCopy
		var base Baseline
		for round := 0; ; round++ {
			composed, err := report.Compose(request, base, fits)
			if err != nil || !fits(composed.Body) {
				t.Fatalf("%d bytes of %d: %v", len(composed.Body), limit, err)
			}
			if round == 0 {
				wantFair(t, report, composed.Request.Inventory.VMs)
			}
			if answer := portal.take(t, composed.Request); answer != InventoryOK {
				t.Fatalf("the portal says %s", answer)
			}
			base = composed.Baseline
			request.Events, request.Results = request.Events[len(composed.Request.Events):], nil
			if !composed.Shed.IsTrimmed() && len(request.Events) == 0 {
				break
			}
			if round > 200 {
				t.Fatalf("after %d reports %s still wait", round, composed.Shed)
			}
		}
		if diff := cmp.Diff(*report, portal.report, same...); diff != "" {
			t.Fatalf("the portal has another report (-seen +kept):\n%s", diff)
		}
		if now, err := report.Baseline(); err != nil || now.Hash != base.Hash {
			t.Fatalf("the baseline is %s, not %s: %v", base.Hash, now.Hash, err)
		}
	})
}

// What cannot be cut does not fit, and says so; there is no end of the world.
func TestH51_WhatCannotFitIsAnError(t *testing.T) {
	t.Parallel()
	var report Report
	if _, err := report.Compose(CheckinRequest{}, Baseline{}, func([]byte) bool { return false }); err != ErrReportTooLarge {
		t.Errorf("%v", err)
	}
}

// Every text and list of a report has its limit, also one that is added later.
func TestH51_EveryTextIsCut(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", MaxText)
	report := Report{
		Agent: AgentInfo{Version: long}, Host: Host{ComputerName: long, Model: long}, Product: Product{License: long, Gaps: map[string]Code{"cpu": CodeNotShown, long: "x", "vm_os": Code(long)}},
		Users:  slices.Repeat([]UserLook{{Name: long, UID: 501, Code: Code(long)}}, MaxUsers+1),
		Policy: PolicyReport{PolicyID: long}, Verdicts: longVerdicts(long),
		Health: HealthReport{State: long, Conditions: slices.Repeat([]ReportedCondition{{Code: Code(long), Subject: long}}, MaxConditions+1)},
		VMs: []VM{{VMKey: VMKey{ID: long}, Owner: long, Name: long, RawState: long, ToolsState: long, ConfigHash: long, Stale: Code(long),
			Bundle: Bundle{Volume: long}, SeenBy: slices.Repeat([]Account{{Name: long}}, MaxSeenBy+1), Gaps: map[string]Code{long: CodeNoTools}}},
	}
	request := CheckinRequest{
		RequestID: "id", Triggers: slices.Repeat([]Trigger{{Reason: long, VMID: long}}, MaxTriggers+1), OpenCommands: []OpenCommand{{CommandID: long}},
		Results: slices.Repeat([]Result{{CommandID: long, Message: long, Observed: map[string]string{long: long}}}, MaxResults+1),
		Events:  slices.Repeat([]Event{{Type: long, Data: map[string]string{"a": long, long: long}}}, MaxEvents+1),
	}
	cut := report.Cut()
	_, err := cut.Fill(&request, Baseline{})
	if err != nil {
		t.Fatal(err)
	}
	request.Cut()
	wantShort(t, request)
	if report.VMs[0].Name != long || len(report.VMs[0].SeenBy) != MaxSeenBy+1 || report.VMs[0].SeenBy[0].Name != long || len(report.Product.Gaps) != 3 {
		t.Error("the look itself was cut")
	}
	again := cut.Cut()
	if diff := cmp.Diff(cut, again); diff != "" {
		t.Errorf("cut twice it is another report: %s", diff)
	}
}

// longVerdicts has more groups, machines and places than a report may have.
func longVerdicts(long string) VerdictReport {
	places := make([]int, 2*MaxVMs)
	for i := range places {
		places[i] = i - 1
	}
	return VerdictReport{
		SHA256: long, VMs: slices.Repeat([]VMKey{{ID: long}}, MaxVMs+1),
		Groups: slices.Repeat([]VerdictGroup{{Path: long, VMs: places}}, MaxVerdictGroups+1),
	}
}

// wantShort walks all texts and lists of a request.
func wantShort(t *testing.T, request CheckinRequest) {
	t.Helper()
	lists := map[string]int{"Triggers": MaxTriggers, "Users": MaxUsers, "Groups": MaxVerdictGroups, "VMs": MaxVMs, "Conditions": MaxConditions, "Results": MaxResults, "Events": MaxEvents, "SeenBy": MaxSeenBy}
	for path, value := range leavesOf(request) {
		if len(value.text) > MaxText || len(value.text) > MaxName && !strings.HasSuffix(path, ".Message") && !strings.Contains(path, ".Data") && !strings.Contains(path, ".Observed") {
			t.Errorf("%s has %d bytes", path, len(value.text))
		}
		if most, limited := lists[path[strings.LastIndex(path, ".")+1:]]; limited && value.length > most {
			t.Errorf("%s has %d entries", path, value.length)
		}
	}
}
