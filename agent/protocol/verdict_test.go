package protocol

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// everySetting is verdicts on as many settings of 200 machines, so many of which
// differ from machine to machine.
func everySetting(settings, different int) VerdictReport {
	grouping := NewVerdictGrouping(samplePolicy().SHA256)
	for i := range MaxVMs {
		id := sha256.Sum256([]byte{byte(i)}) // as hard to compress as a UUID
		key := VMKey{ID: fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:16]), UID: 501 + uint32(i)%4}
		for j := range settings {
			verdict := VerdictGroup{Path: fmt.Sprintf("vm_settings.other.setting_no_%02d", j), Verdict: VerdictInPlace, Strength: StrengthReverted}
			if j%3 == 1 {
				verdict.Verdict, verdict.Code, verdict.Since = VerdictDeferred, CodeVMRunning, noon
			}
			if j < different {
				verdict.Verdict, verdict.Code, verdict.Since = VerdictFailed, CodeNotVerified, noon.Add(time.Duration(i*settings+j)*time.Second)
			}
			grouping.Add(key, &verdict)
		}
	}
	return grouping.Report
}

// Every setting of the catalogue and as many again on 200 machines is little beside
// their rows; what is left of the protocol's room is for the others.
func TestH51_TwoHundredMachinesWithEverySettingFit(t *testing.T) {
	t.Parallel()
	const settings = 40
	for name, c := range map[string]struct{ different, bytes, packed, tokens int }{
		"as a look finds them":               {0, 50 << 10, 12 << 10, 10_000},
		"four settings differ in their time": {4, 200 << 10, 32 << 10, 28_000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			report := Report{Verdicts: everySetting(settings, c.different)}
			for i, key := range report.Verdicts.VMs {
				vm := sampleVM()
				vm.VMKey, vm.Name = key, fmt.Sprint("Windows ", i)
				report.VMs = append(report.VMs, vm)
			}
			composed, err := report.Compose(sampleRequest("agent_start"), Baseline{}, withinWire)
			if err != nil || composed.Shed.IsTrimmed() {
				t.Fatalf("%s were shed: %v", composed.Shed, err)
			}
			told := composed.Request.Verdicts
			verdicts := 0
			told.Each(func(VMKey, *VerdictGroup) { verdicts++ })
			body, err := Encode(told)
			if err != nil || verdicts != MaxVMs*settings || told.LeftOut != 0 {
				t.Fatalf("%d verdicts, %d left out: %v", verdicts, told.LeftOut, err)
			}
			packed := packedSize(t, body)
			tokens := bytes.Count(body, []byte(",")) + 2*bytes.Count(body, []byte(":"))
			t.Logf("%d verdicts in %d groups: %d bytes, %d packed, some %d tokens; the whole report has %d bytes, %d packed",
				verdicts, len(told.Groups), len(body), packed, tokens, len(composed.Body), packedSize(t, composed.Body))
			if len(body) > c.bytes || packed > c.packed || tokens > c.tokens {
				t.Errorf("%d bytes, %d packed, %d tokens; want at most %+v", len(body), packed, tokens, c)
			}
		})
	}
}

func packedSize(t testing.TB, body []byte) int {
	t.Helper()
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	if _, err := zip.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Len()
}

// A change on one machine tells of that machine, whatever its place is, and not of
// the others.
func TestVerdictsTravelAsADelta(t *testing.T) {
	t.Parallel()
	before := Report{Verdicts: everySetting(20, 0)}
	base, err := before.Baseline()
	if err != nil {
		t.Fatal(err)
	}
	after := Report{}
	grouping := NewVerdictGrouping(before.Verdicts.SHA256)
	gone, changed := before.Verdicts.VMs[7], before.Verdicts.VMs[0]
	before.Verdicts.Each(func(key VMKey, group *VerdictGroup) {
		one := *group
		if key == changed && group.Path == "vm_settings.other.setting_no_05" {
			one.Verdict, one.Code, one.Since = VerdictContended, CodeContended, noon
		}
		if key != gone {
			grouping.Add(key, &one)
		}
	})
	after.Verdicts = grouping.Report
	var request CheckinRequest
	if _, err := after.Fill(&request, base); err != nil {
		t.Fatal(err)
	}
	told := request.Verdicts
	if told == nil || told.Full || told.Base != base.Parts["verdicts"] || !cmp.Equal(told.VMs, []VMKey{changed}) || !cmp.Equal(told.Cleared, []VMKey{gone}) || len(told.Groups) != 20 {
		t.Fatalf("told %+v", told)
	}
	merged, fits := told.Merge(&VerdictReport{Hash: told.Base, VMs: before.Verdicts.VMs, Groups: before.Verdicts.Groups})
	if diff := cmp.Diff(after.Verdicts, merged, flatVerdicts); !fits || diff != "" {
		t.Errorf("fits: %t; the portal has others (-sent +kept):\n%s", fits, diff)
	}
	if _, fits = told.Merge(&VerdictReport{Hash: "another"}); fits {
		t.Error("a delta was added to something else than its base")
	}
}

// What no agent sends does not become something else: a place without a machine
// is nothing, and never the policy as a whole.
func TestVerdictsOfNoMachineAreNothing(t *testing.T) {
	t.Parallel()
	report := VerdictReport{VMs: []VMKey{{ID: "a", UID: 501}}, Groups: []VerdictGroup{
		{Path: "one", VMs: []int{7, -1, 0, 1 << 40}}, {Path: "none", VMs: []int{3}}, {Path: "whole"},
	}}
	report.cut()
	want := []VerdictGroup{{Path: "one", VMs: []int{0}}, {Path: "whole"}}
	if diff := cmp.Diff(want, report.Groups); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
