package policy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// document is a policy with these members beside the mandatory ones.
func document(t testing.TB, members string) *policy.Document {
	t.Helper()
	parsed, err := policy.Parse([]byte(`{"schema":1,"policy_id":"finance","revision":7,"name":"Finance","groups":["finance"],` + members + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// other is a policy that wants these settings of machines from other sources.
func other(t testing.TB, settings string) *policy.Document {
	t.Helper()
	return document(t, `"vm_settings":{"other":{`+settings+`}}`)
}

// The captured and composed descriptions of testdata.
const (
	windowsVM = "list-windows-running.json"
	linuxVM   = "list-linux-suspended.json"
	macVM     = "list-macos-stopped.json"
)

// change is a value of a description that a test changes: a path with slashes.
// A nil value removes the key.
type change struct {
	path  string
	value any
}

var (
	isRunning   = change{"State", "running"}
	isStopped   = change{"State", "stopped"}
	isSuspended = change{"State", "suspended"}
)

// machineOf is a machine with the description of a file, changed.
func machineOf(t testing.TB, file string, changes ...change) policy.Machine {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../testdata/prlctl", file))
	if err != nil {
		t.Fatal(err)
	}
	var list []map[string]any
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	for _, change := range changes {
		setPath(list[0], change.path, change.value)
	}
	text, err := json.Marshal(list[0])
	if err != nil {
		t.Fatal(err)
	}
	m := policy.Machine{Config: &prlctl.ConfigPVS{
		LockGuestOnSuspend: prlctl.SwitchOff, AutoUpdate: prlctl.SwitchOn, IsolatedVM: prlctl.SwitchOff, GuestSharing: prlctl.SwitchOff,
	}, FirstSeen: noon}
	if err := m.VM.UnmarshalJSON(text); err != nil {
		t.Fatal(err)
	}
	m.Key = protocol.VMKey{ID: m.VM.ID, UID: 501}
	return m
}

func setPath(object map[string]any, path string, value any) {
	keys := strings.Split(path, "/")
	for _, key := range keys[:len(keys)-1] {
		below, is := object[key].(map[string]any)
		if !is {
			below = make(map[string]any)
			object[key] = below
		}
		object = below
	}
	if last := keys[len(keys)-1]; value == nil {
		delete(object, last)
	} else {
		object[last] = value
	}
}

// plan plans the machines under enforcement, with nothing remembered.
func plan(document *policy.Document, machines ...policy.Machine) *policy.Result {
	return policy.Plan(policy.Desired{Document: document, Enforce: true}, &policy.Observed{Now: noon, Machines: machines})
}

// stateOf is how far the policy is carried out, by the verdicts of a plan.
func stateOf(result *policy.Result) string {
	verdicts := make([]*policy.Verdict, len(result.Verdicts))
	for i := range result.Verdicts {
		verdicts[i] = &result.Verdicts[i]
	}
	return policy.State(verdicts)
}

// calls are the steps as they are typed, without the machine.
func calls(steps []policy.Step) []string {
	list := make([]string, 0, len(steps))
	for _, step := range steps {
		list = append(list, strings.Join(step.Args, " "))
	}
	return list
}

func wantCalls(t *testing.T, steps []policy.Step, want ...string) {
	t.Helper()
	if got := calls(steps); !slices.Equal(got, want) {
		t.Errorf("steps\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// verdictOf is the verdict and the code on a setting of the first machine.
func verdictOf(t testing.TB, result *policy.Result, setting string) string {
	t.Helper()
	for _, v := range result.Verdicts {
		if v.Setting == setting {
			return fmt.Sprintf("%s %s", v.Verdict, v.Code)
		}
	}
	t.Errorf("no verdict on %s", setting)
	return ""
}

func wantVerdict(t *testing.T, result *policy.Result, setting, want string) {
	t.Helper()
	if got := verdictOf(t, result, setting); got != want {
		t.Errorf("%s is %q, want %q", setting, got, want)
	}
}

// remembered is the memory after a plan.
func remembered(before policy.Memory, result *policy.Result) policy.Memory {
	after := make(policy.Memory, len(before))
	for key, memory := range before {
		after[key] = memory
	}
	for key, memory := range result.Memory {
		if after[key] = memory; memory.IsEmpty() {
			delete(after, key)
		}
	}
	return after
}
