package policy_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

// everything is a policy that manages every setting.
func everything(t testing.TB) *policy.Document {
	var settings strings.Builder
	for i := range policy.Settings {
		setting := &policy.Settings[i]
		value := map[policy.Kind]string{policy.KindSwitch: "true", policy.KindNumber: fmt.Sprint(setting.Values.Max), policy.KindText: `"A-1"`}[setting.Values.Kind]
		switch {
		case setting.Values.Kind == policy.KindChoice:
			value = `"` + string(setting.Values.Only[0].Value) + `"`
		case strings.HasPrefix(setting.Name, "share_") || setting.Name == "smart_mount":
			value = "false"
		}
		fmt.Fprintf(&settings, `,"%s":%s`, setting.Name, value)
	}
	return other(t, settings.String()[1:])
}

// fleetOf is what is observed of so many machines, after one plan.
func fleetOf(t testing.TB, desired policy.Desired, count int) policy.Observed {
	observed := policy.Observed{Now: noon, Memory: policy.Memory{}}
	template := machineOf(t, windowsVM, isRunning)
	for i := range count {
		m := template
		m.Key = protocol.VMKey{ID: fmt.Sprintf("f11d8098-10fe-40d9-871e-%012d", i), UID: 501}
		observed.Machines = append(observed.Machines, m)
	}
	observed.Memory = remembered(observed.Memory, policy.Plan(desired, &observed))
	observed.Now = noon.Add(time.Hour)
	return observed
}

// inPlace are machines that are as everything wants them, but for what waits for
// a stop.
func inPlace(t testing.TB, desired policy.Desired, observed policy.Observed) policy.Observed {
	s := &simMachine{key: observed.Machines[0].Key, os: "win-11", kind: "VM", state: "stopped", values: make(map[string]string), adapters: []simAdapter{{kind: "shared", enabled: true}}}
	for flag := range simFlags {
		s.values[flag] = "off"
	}
	for range 3 {
		seen := s.look()
		for _, step := range policy.Plan(desired, &policy.Observed{Now: noon, Machines: []policy.Machine{seen}}).Steps {
			s.set(step.Args)
		}
	}
	s.state = "running"
	template := s.look()
	for i := range observed.Machines {
		observed.Machines[i].VM, observed.Machines[i].Config = template.VM, template.Config
	}
	observed.Memory = remembered(nil, policy.Plan(desired, &observed))
	return observed
}

// A plan for 200 machines with all settings takes at most 5 ms (DESIGN 11; this
// measures it), and half of that for half of them: once where nothing is to be
// done, and once where a dozen settings of each machine differ.
func BenchmarkPlan(b *testing.B) {
	desired := policy.Desired{Document: everything(b), Enforce: true}
	for _, count := range []int{50, 100, 200, 400} {
		fleet := fleetOf(b, desired, count)
		for name, observed := range map[string]policy.Observed{"differ": fleet, "compliant": inPlace(b, desired, fleetOf(b, desired, count))} {
			b.Run(fmt.Sprintf("%s/%d", name, count), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					policy.Plan(desired, &observed)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(count), "ns/machine")
			})
		}
	}
}

// What a plan allocates grows with the machines and no faster, and of a
// compliant one it is next to nothing: the memory of a setting is copied only
// when it changes.
func TestPlanIsLinear(t *testing.T) {
	allocations := func(settings *policy.Document, count int) float64 {
		desired := policy.Desired{Document: settings, Enforce: true}
		observed := fleetOf(t, desired, count)
		return testing.AllocsPerRun(5, func() { policy.Plan(desired, &observed) })
	}
	all := everything(t)
	small, large := allocations(all, 50), allocations(all, 400)
	if large > 8*small*1.1 {
		t.Errorf("400 machines take %.0f allocations, 50 take %.0f", large, small)
	}
	if each := (allocations(all, 200) - allocations(all, 100)) / 100; each > 10 {
		t.Errorf("a machine on which a dozen settings differ takes %.1f allocations", each)
	}
	compliant := other(t, `"startup":"manual","network":"shared","clipboard":"bidirectional","no_smart_cards":true,"pause_idle":false`)
	if each := (allocations(compliant, 200) - allocations(compliant, 100)) / 100; each > 3 {
		t.Errorf("a compliant machine takes %.1f allocations", each)
	}
}

// So does what it takes of memory: a verdict for each setting of each machine is
// most of it, and what is the same for many of them is held once.
func TestPlanIsSmall(t *testing.T) {
	desired := policy.Desired{Document: everything(t), Enforce: true}
	bytes := func(observed policy.Observed) float64 {
		const runs = 5
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			policy.Plan(desired, &observed)
		}
		runtime.ReadMemStats(&after)
		return float64(after.TotalAlloc-before.TotalAlloc) / runs
	}
	small, large := fleetOf(t, desired, 200), fleetOf(t, desired, 400)
	if each := (bytes(large) - bytes(small)) / 200; each > 16<<10 {
		t.Errorf("a machine on which a dozen settings differ takes %.0f bytes", each)
	}
	small, large = inPlace(t, desired, small), inPlace(t, desired, large)
	if each := (bytes(large) - bytes(small)) / 200; each > 8<<10 {
		t.Errorf("a machine that is as it is wanted takes %.0f bytes", each)
	}
	if each := (testing.AllocsPerRun(5, func() { policy.Plan(desired, &large) }) - testing.AllocsPerRun(5, func() { policy.Plan(desired, &small) })) / 200; each > 6 {
		t.Errorf("a machine that is as it is wanted takes %.1f allocations", each)
	}
	if size := unsafe.Sizeof(policy.Verdict{}); size > 176 {
		t.Errorf("a verdict has %d bytes", size)
	}
}
