package protocol

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// drawReport makes a small report, so that two of them often share rows.
func drawReport(t *rapid.T) Report {
	report := Report{
		Agent:   AgentInfo{Version: rapid.SampledFrom([]string{"1", "2"}).Draw(t, "version")},
		Host:    Host{ComputerName: rapid.SampledFrom([]string{"", "Mac"}).Draw(t, "computer")},
		Product: Product{Installed: rapid.Bool().Draw(t, "installed")},
		Policy:  PolicyReport{State: rapid.SampledFrom([]string{PolicyNone, PolicyFetched}).Draw(t, "policy")},
		Health:  HealthReport{State: rapid.SampledFrom([]string{Healthy, Degraded}).Draw(t, "health")},
	}
	grouping := NewVerdictGrouping(rapid.SampledFrom([]string{"ab", "cd"}).Draw(t, "document"))
	drawVerdicts := func(key VMKey) {
		for _, path := range []string{"a", "b"} {
			if word := rapid.SampledFrom([]string{"", VerdictInPlace, VerdictFailed}).Draw(t, path); word != "" {
				grouping.Add(key, &VerdictGroup{Path: path, Verdict: word, Since: noon.Add(time.Duration(rapid.IntRange(0, 1).Draw(t, "since")) * time.Second)})
			}
		}
	}
	drawVerdicts(VMKey{})
	for i, owner := range []string{"alice", "bob"} {
		if rapid.Bool().Draw(t, "uses "+owner) {
			report.Users = append(report.Users, UserLook{Name: owner})
		}
		for id := range 3 {
			if !rapid.Bool().Draw(t, "has") {
				continue
			}
			vm := VM{VMKey: VMKey{ID: fmt.Sprint(id), UID: 501 + uint32(i)}, Owner: owner, Bundle: Bundle{Inode: rapid.Uint64Range(0, 1).Draw(t, "inode")},
				Name: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name")}
			if rapid.Bool().Draw(t, "gap") {
				vm.Gaps = map[string]Code{"cpu": CodeNotShown, "vm_os": CodeNoTools}
			}
			if rapid.Bool().Draw(t, "used") {
				vm.LastUsedAt = noon.Add(time.Duration(rapid.IntRange(0, 1).Draw(t, "hour")) * time.Hour)
			}
			report.VMs = append(report.VMs, vm)
			drawVerdicts(vm.VMKey)
		}
	}
	report.Verdicts = grouping.Report
	report.Truncated = rapid.Bool().Draw(t, "truncated")
	return report
}

// portalCopy is what a portal holds of a device: it knows nothing of hashes
// but whether two are the same.
type portalCopy struct {
	report Report
	hash   string
}

// take applies a request as doc.go says, after a trip over the wire.
func (p *portalCopy) take(t *rapid.T, sent CheckinRequest) (answer string) {
	wire, err := json.Marshal(sent)
	if err != nil {
		t.Fatal(err)
	}
	var request CheckinRequest
	if err := Decode(wire, MaxRequest, &request); err != nil {
		t.Fatal(err)
	}
	inventory := request.Inventory
	if inventory.Hash == p.hash {
		return InventoryOK
	}
	if !inventory.Full && inventory.Base != p.hash {
		return InventorySendFull
	}
	rows := make(map[string]VM)
	if !inventory.Full {
		for _, vm := range p.report.VMs {
			rows[vm.VMKey.String()] = vm
		}
	}
	for _, key := range inventory.Removed {
		delete(rows, key.String())
	}
	for _, vm := range inventory.VMs {
		rows[vm.VMKey.String()] = vm
	}
	if request.Verdicts != nil {
		merged, fits := request.Verdicts.Merge(&p.report.Verdicts)
		if !fits {
			return InventorySendFull
		}
		p.report.Verdicts = merged
	}
	p.report.VMs = nil
	for _, vm := range rows {
		p.report.VMs = append(p.report.VMs, vm)
	}
	p.takeParts(request)
	p.report.Truncated, p.hash = inventory.Truncated, inventory.Hash
	return InventoryOK
}

func (p *portalCopy) takeParts(request CheckinRequest) {
	if request.Agent != nil {
		p.report.Agent = *request.Agent
	}
	if request.Host != nil {
		p.report.Host = *request.Host
	}
	if request.Product != nil {
		p.report.Product = *request.Product
	}
	if request.Policy != nil {
		p.report.Policy = *request.Policy
	}
	if request.Health != nil {
		p.report.Health = *request.Health
	}
	if request.Users != nil {
		p.report.Users = request.Users
	}
}

// flatVerdicts compares verdicts by what they say of which machine.
var flatVerdicts = cmp.Transformer("flat", func(v VerdictReport) map[string]string {
	flat := map[string]string{"document": v.SHA256}
	v.Each(func(key VMKey, group *VerdictGroup) {
		flat[key.String()+" "+group.Path] = fmt.Sprint(group.Verdict, group.Code, group.Strength, group.Since.UTC())
	})
	return flat
})

// However reports follow one another, and whatever is lost on the way, a
// portal that applies what it is sent ends with exactly the last report.
func TestReportReachesThePortal(t *testing.T) {
	t.Parallel()
	sameRows := []cmp.Option{flatVerdicts, cmpopts.EquateEmpty(), cmpopts.SortSlices(func(a, b VM) bool { return a.VMKey.Compare(b.VMKey) < 0 })}
	rapid.Check(t, func(t *rapid.T) {
		var portal portalCopy
		var acknowledged Baseline
		for range rapid.IntRange(1, 6).Draw(t, "reports") {
			report := drawReport(t)
			var request CheckinRequest
			base, err := report.Fill(&request, acknowledged)
			if err != nil {
				t.Fatal(err)
			}
			switch rapid.SampledFrom([]string{"fine", "fine", "lost", "reply lost", "restored"}).Draw(t, "trip") {
			case "lost":
				continue
			case "reply lost":
				portal.take(t, request)
				continue
			case "restored": // the portal comes back from a backup of its first day
				portal = portalCopy{}
			}
			if portal.take(t, request) == InventorySendFull {
				request = CheckinRequest{}
				if base, err = report.Fill(&request, Baseline{}); err != nil {
					t.Fatal(err)
				}
				if portal.take(t, request) != InventoryOK {
					t.Fatal("a full report is refused")
				}
			}
			acknowledged = base
			if diff := cmp.Diff(report, portal.report, sameRows...); diff != "" {
				t.Fatalf("the portal has another report (-sent +kept):\n%s", diff)
			}
		}
	})
}

func TestINV_34_UnchangedReportIsAHash(t *testing.T) {
	t.Parallel()
	report := sampleReport()
	var first, second CheckinRequest
	base, err := report.Fill(&first, Baseline{})
	if err != nil {
		t.Fatal(err)
	}
	if !first.Inventory.Full || len(first.Inventory.VMs) != 2 || first.Agent == nil || first.Host == nil || first.Product == nil ||
		first.Policy == nil || first.Verdicts == nil || !first.Verdicts.Full || len(first.Users) != 2 || first.Inventory.Base != "" {
		t.Errorf("the first report is not whole: %+v", first)
	}
	again := sampleReport() // another look that found the same
	kept, err := again.Fill(&second, base)
	if err != nil {
		t.Fatal(err)
	}
	if want := (CheckinRequest{Inventory: Inventory{Hash: first.Inventory.Hash}}); !cmp.Equal(second, want) {
		t.Errorf("the second report is more than its hash: %+v", second)
	}
	if diff := cmp.Diff(base, kept); diff != "" {
		t.Errorf("another baseline (-first +second):\n%s", diff)
	}
}

// Every field of a report changes its hash, and only its own part or row.
func TestBaselineSeesEveryChange(t *testing.T) {
	t.Parallel()
	report := sampleReport()
	before, err := report.Baseline()
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]func(*Report){
		"agent":     func(r *Report) { r.Agent.Mode = "enforce" },
		"host":      func(r *Report) { r.Host.ConsoleUser = "" },
		"product":   func(r *Report) { r.Product.Gaps = map[string]Code{"pd_state": CodeEdition} },
		"users":     func(r *Report) { r.Users[1].Code = "" },
		"policy":    func(r *Report) { r.Policy.Revision++ },
		"verdicts":  func(r *Report) { r.Verdicts.Groups[1].Since = noon.Add(time.Second) },
		"row":       func(r *Report) { r.VMs[0].SeenBy = nil },
		"gap":       func(r *Report) { r.VMs[1].Gaps["cpu"] = CodeNotShown },
		"key":       func(r *Report) { r.VMs[1].UID = 503 },
		"owner":     func(r *Report) { r.VMs[1].Owner = "robert" },
		"bundle":    func(r *Report) { r.VMs[1].Bundle.Inode = 1 },
		"truncated": func(r *Report) { r.Truncated = true },
		"no rows":   func(r *Report) { r.VMs = nil },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			changed := sampleReport()
			change(&changed)
			after, err := changed.Baseline()
			if err != nil {
				t.Fatal(err)
			}
			if after.Hash == before.Hash {
				t.Error("the hash is the same")
			}
			for part, hash := range after.Parts {
				if (hash != before.Parts[part]) != (part == name) {
					t.Errorf("the hash of %s changed: %t", part, hash != before.Parts[part])
				}
			}
		})
	}
}

// The baseline is kept in the store, as JSON.
func TestBaselineIsKept(t *testing.T) {
	t.Parallel()
	report := sampleReport()
	base, err := report.Baseline()
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(base)
	if err != nil {
		t.Fatal(err)
	}
	var back Baseline
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	var request CheckinRequest
	if _, err := report.Fill(&request, back); err != nil || request.Inventory.Base != "" || request.Host != nil {
		t.Errorf("%+v, %v", request, err)
	}
}

// BenchmarkFill200VMs hashes the largest report there is and finds one row changed.
func BenchmarkFill200VMs(b *testing.B) {
	report := sampleReport()
	for i := range MaxVMs - 2 {
		vm := sampleVM()
		vm.ID = fmt.Sprintf("aaaaaaaa-0000-4000-8000-%012d", i)
		report.VMs = append(report.VMs, vm)
	}
	base, err := report.Baseline()
	if err != nil {
		b.Fatal(err)
	}
	report.VMs[0].Name = "Renamed"
	b.ReportAllocs()
	for b.Loop() {
		var request CheckinRequest
		if _, err := report.Fill(&request, base); err != nil || len(request.Inventory.VMs) != 1 {
			b.Fatal(err)
		}
	}
}
