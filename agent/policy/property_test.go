package policy_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// world is a simulated Mac under a policy: the machines, and what the agent
// remembers of them.
type world struct {
	t        *rapid.T
	desired  policy.Desired
	observed policy.Observed
	machines []*simMachine
	lies     int             // calls that are about to be lost with nothing done
	done     map[string]bool // the machine and the setting of each call
}

// drawMachine is a random machine.
func drawMachine(t *rapid.T, number int) *simMachine {
	s := &simMachine{
		key:   protocol.VMKey{ID: fmt.Sprintf("f11d8098-10fe-40d9-871e-%012d", number), UID: uint32(501 + number%2)},
		state: rapid.SampledFrom([]string{"running", "stopped", "suspended"}).Draw(t, "state"),
		os:    rapid.SampledFrom([]string{"win-11", "ubuntu", "macosx"}).Draw(t, "os"), kind: "VM",
		spelling: rapid.IntRange(0, 5).Draw(t, "spelling"), values: make(map[string]string),
		noFile: rapid.IntRange(0, 9).Draw(t, "file unreadable") == 0,
	}
	if s.os == "macosx" {
		s.kind = "APPLE_VZ_VM"
	}
	for _, flag := range slices.Sorted(maps.Keys(simFlags)) { // the same draws for the same seed
		s.values[flag] = drawWord(t, flag)
	}
	s.values["--lock-edit-settings"] = "off"
	for range rapid.IntRange(0, 3).Draw(t, "adapters") {
		s.adapters = append(s.adapters, drawAdapter(t))
	}
	return s
}

func drawWord(t *rapid.T, flag string) string {
	words := simWords[flag]
	if words == nil {
		words = []string{"on", "off"}
	}
	return rapid.SampledFrom(words).Draw(t, flag)
}

func drawAdapter(t *rapid.T) simAdapter {
	return simAdapter{
		kind:         rapid.SampledFrom([]string{"shared", "host-only", "bridged"}).Draw(t, "type"),
		iface:        rapid.SampledFrom([]string{"", "default", "en5"}).Draw(t, "interface"),
		disconnected: rapid.Bool().Draw(t, "disconnected"), enabled: rapid.IntRange(0, 4).Draw(t, "disabled") > 0,
	}
}

// drawDocument is a random policy that is valid.
func drawDocument(t *rapid.T) *policy.Document {
	settings := make(map[string]any)
	for i := range policy.Settings {
		if setting := &policy.Settings[i]; rapid.IntRange(0, 2).Draw(t, "manages "+setting.Name) == 0 {
			settings[setting.Name] = drawValue(t, setting)
		}
	}
	for {
		text, err := json.Marshal(map[string]any{"schema": 1, "policy_id": "p", "revision": 1, "name": "P", "vm_settings": map[string]any{
			"other": settings, "beyond_guide": rapid.Bool().Draw(t, "beyond"), "on_unsupported": rapid.SampledFrom([]string{"leave", "stricter"}).Draw(t, "unsupported"),
		}})
		if err != nil {
			t.Fatal(err)
		}
		document, problems := policy.Check(text)
		if len(problems) == 0 {
			return document
		}
		if problems[0].Code != protocol.CodePolicyConflict {
			t.Fatal(problems[0])
		}
		delete(settings, strings.TrimPrefix(problems[0].Path, "vm_settings.other."))
	}
}

func drawValue(t *rapid.T, setting *policy.Setting) any {
	switch values := setting.Values; values.Kind {
	case policy.KindNumber:
		return rapid.SampledFrom([]int{values.Min, 2048}).Filter(func(n int) bool { return n <= values.Max }).Draw(t, setting.Name)
	case policy.KindText:
		return rapid.SampledFrom([]string{"A-1", "Rack 4"}).Draw(t, setting.Name)
	case policy.KindChoice:
		return rapid.SampledFrom(values.Only).Draw(t, setting.Name).Value
	default:
		return len(values.Only) > 0 || rapid.Bool().Draw(t, setting.Name)
	}
}

// converge plans and carries out until nothing is left to do, and returns the
// last plan.
func (w *world) converge() *policy.Result {
	for range 12 {
		w.observed.Machines = nil
		for _, s := range w.machines {
			w.observed.Machines = append(w.observed.Machines, s.look())
		}
		result := policy.Plan(w.desired, &w.observed)
		w.observed.Memory = remembered(w.observed.Memory, w.kept(result.Memory))
		if len(result.Steps) == 0 {
			return result
		}
		for _, step := range result.Steps {
			w.carryOut(step)
		}
		w.observed.Now = w.observed.Now.Add(time.Minute)
	}
	w.t.Fatal("the plans do not come to an end")
	return &policy.Result{}
}

// kept is memory through the store, as JSON.
func (w *world) kept(memory policy.Memory) *policy.Result {
	back := make(policy.Memory, len(memory))
	for key, entry := range memory {
		var read policy.VMMemory
		text, err := json.Marshal(entry)
		if err == nil {
			err = json.Unmarshal(text, &read)
		}
		if err != nil {
			w.t.Fatal(err)
		}
		back[key] = read
	}
	return &policy.Result{Memory: back}
}

func (w *world) carryOut(step policy.Step) {
	if w.lies > 0 {
		w.lies--
		return // a crash, or a call that was lost
	}
	if w.done == nil {
		w.done = make(map[string]bool)
	}
	w.done[step.VM.String()+" "+step.Setting] = true
	at := slices.IndexFunc(w.machines, func(s *simMachine) bool { return s.key == step.VM })
	memory := w.observed.Memory[step.VM].Begin(&step, w.observed.Now)
	outcome := w.machines[at].set(step.Args)
	if !w.machines[at].noFile || !step.InFile {
		seen := w.machines[at].look()
		outcome.Proven = step.Proven(&seen.VM, seen.Config)
	}
	w.observed.Memory[step.VM] = memory.End(&step, outcome, "", w.observed.Now)
}

// managed are the flags that a policy may change.
func managed(document *policy.Document) map[string]bool {
	flags := make(map[string]bool)
	for name := range document.VMSettings.Other.Settings {
		for _, part := range policy.Find(name).Parts {
			if part.Keep == "" {
				flags[part.Flag] = true
			}
		}
	}
	return flags
}

// wantOnly fails if anything else than these flags changed.
func (w *world) wantOnly(before []*simMachine, flags map[string]bool) {
	for i, s := range w.machines {
		for flag, value := range s.values {
			if value != before[i].values[flag] && !flags[flag] {
				w.t.Fatalf("%s: %s went from %s to %s and is not managed", s.key.ID, flag, before[i].values[flag], value)
			}
		}
		if !flags["--device-set"] && !slices.Equal(s.adapters, before[i].adapters) {
			w.t.Fatalf("%s: adapters %+v became %+v", s.key.ID, before[i].adapters, s.adapters)
		}
	}
}

func (w *world) snapshot() []*simMachine {
	list := make([]*simMachine, 0, len(w.machines))
	for _, s := range w.machines {
		list = append(list, s.clone())
	}
	return list
}

// VMS-39: whatever the policy, the machines and the spellings, nothing but what
// is managed is touched; a second plan is empty; what a user changes is put
// back; a release leaves every value and lifts the lock that is ours.
func TestVMS39_PlanTouchesOnlyWhatIsManaged(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, lies: rapid.IntRange(0, 3).Draw(t, "lost calls")}
		w.desired = policy.Desired{Document: drawDocument(t), Enforce: true, AllowUnprovenLocks: rapid.Bool().Draw(t, "locks")}
		w.observed = policy.Observed{Now: noon, Memory: policy.Memory{}, Capabilities: prlctl.Capabilities{Set: map[string]prlctl.Ability{
			"--network-cond": {Support: rapid.SampledFrom([]prlctl.Support{prlctl.Supported, prlctl.SupportUnknown}).Draw(t, "conditioner")},
		}}}
		for i := range rapid.IntRange(1, 3).Draw(t, "machines") {
			w.machines = append(w.machines, drawMachine(t, i))
		}
		start, flags := w.snapshot(), managed(w.desired.Document)
		w.converge()
		w.wantOnly(start, flags)
		for _, s := range w.machines {
			s.state = "stopped"
		}
		w.wantSettled(w.converge())
		if again := w.converge(); len(again.Memory) != 0 {
			t.Fatalf("a second plan remembers %+v", again.Memory)
		}
		w.wantOnly(start, flags)

		for _, flag := range slices.Sorted(maps.Keys(simFlags)) {
			if flag != "--lock-edit-settings" {
				w.machines[0].values[flag] = drawWord(t, flag)
			}
		}
		w.machines[0].adapters = append(w.machines[0].adapters, drawAdapter(t))
		w.observed.Now = w.observed.Now.Add(2 * time.Hour)
		changed := w.snapshot()
		w.wantSettled(w.converge())
		w.wantOnly(changed, flags)

		ours := w.snapshot()
		w.desired.Released = true
		w.converge()
		w.wantOnly(ours, map[string]bool{"--lock-edit-settings": true})
		for i, s := range w.machines {
			if s.values["--lock-edit-settings"] != start[i].values["--lock-edit-settings"] {
				t.Fatalf("%s: a lock of ours is left", s.key.ID)
			}
		}
		if len(w.observed.Memory) != 0 {
			t.Fatalf("after the release %+v is remembered", w.observed.Memory)
		}
	})
}

// wantSettled fails if something could still be done.
func (w *world) wantSettled(result *policy.Result) {
	for _, v := range result.Verdicts {
		switch v.Verdict {
		case protocol.VerdictPending, protocol.VerdictDeferred, protocol.VerdictFailed, protocol.VerdictContended:
			w.t.Fatalf("%s of %s is %s %s: %+v", v.Path, v.VM.ID, v.Verdict, v.Code, v.Gaps)
		}
	}
}

// What monitor mode says it would do is what enforcement then does: the same
// settings of the same machines (H40).
func TestH40_MonitorModePredicts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, desired: policy.Desired{Document: drawDocument(t), AllowUnprovenLocks: rapid.Bool().Draw(t, "locks")}}
		w.observed = policy.Observed{Now: noon, Memory: policy.Memory{}}
		for i := range rapid.IntRange(1, 3).Draw(t, "machines") {
			s := drawMachine(t, i)
			s.state, s.noFile = "stopped", false
			w.machines = append(w.machines, s)
		}
		before := w.snapshot()
		monitored := w.converge()
		w.wantOnly(before, nil)
		predicted := make(map[string]bool)
		for _, step := range monitored.WouldDo {
			predicted[step.VM.String()+" "+step.Setting] = true
		}
		w.desired.Enforce = true
		w.converge()
		if !maps.Equal(predicted, w.done) && len(predicted)+len(w.done) > 0 {
			t.Fatalf("predicted %v, done %v", predicted, w.done)
		}
	})
}
