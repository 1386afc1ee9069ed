package cmd_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"prlagent/agent/enforce"
	"prlagent/agent/lane"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/platform"
	"prlagent/prlctl"
	"prlagent/store"
)

// diffSettings are what the policy of these tests manages: what one description
// shows as a whole.
const diffSettings = `"clipboard":"disconnect","no_smart_cards":true,"no_share_vm_apps":true,"no_share_mac_apps":true,"startup":"manual"`

// diffMac is a Mac of one user with a few machines, whose tool does what it is told.
type diffMac struct {
	t        *testing.T
	mu       sync.Mutex
	objects  map[string]map[string]any // by id
	set      map[string]bool           // "id setting": what the tool was called for
	enforcer *enforce.Enforcer
	posted   chan uint32
	content  policy.Content
}

var diffUser = platform.User{Name: "alice", UID: 501, Home: "/Users/alice"}

// Set is enforce.Tool.
func (m *diffMac) Set(_ context.Context, id string, args ...string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	flag, value, _ := strings.Cut(args[0], "=")
	for i := range policy.Settings {
		for j := range policy.Settings[i].Parts {
			if part := &policy.Settings[i].Parts[j]; part.Flag == flag {
				putAt(m.objects[id], part.Shown[0], value)
				m.set[id+" "+policy.Settings[i].Name] = true
				return nil
			}
		}
	}
	m.t.Errorf("%s is of no setting", flag)
	return nil
}

// Get is enforce.Tool.
func (m *diffMac) Get(_ context.Context, id string) (prlctl.VM, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.vm(id), nil
}

// LookAtFiles is enforce.Files.
func (m *diffMac) LookAtFiles(context.Context, platform.User, []platform.FileQuestion) ([]platform.FileAnswer, error) {
	m.t.Error("no setting of these is read from a file")
	return nil, nil
}

func (m *diffMac) vm(id string) (vm prlctl.VM) {
	data, err := json.Marshal(m.objects[id])
	if err == nil {
		err = vm.UnmarshalJSON(data)
	}
	if err != nil {
		m.t.Error(err)
	}
	return vm
}

// putAt changes what is shown at a path.
func putAt(object map[string]any, path, value string) {
	keys := strings.Split(path, "/")
	for _, key := range keys[:len(keys)-1] {
		below, is := object[key].(map[string]any)
		if !is {
			below = make(map[string]any)
			object[key] = below
		}
		object = below
	}
	object[keys[len(keys)-1]] = value
}

// newDiffMac is a Mac on which everything is as chance has it.
func newDiffMac(t *testing.T, number int, random *rand.Rand, fixture []byte) *diffMac {
	t.Helper()
	document := fmt.Appendf(nil, `{"schema":1,"policy_id":"finance","revision":7,"name":"Finance","groups":["finance"],"vm_settings":{"other":{%s}}}`, diffSettings)
	m := &diffMac{t: t, objects: make(map[string]map[string]any), set: make(map[string]bool), posted: make(chan uint32, 1),
		content: policy.Content{Verified: true, HeadVersion: 7, Document: document, Pointer: protocol.PointTo("finance", 7, document)}}
	for i := range 1 + random.IntN(3) {
		var list []map[string]any
		if err := json.Unmarshal(fixture, &list); err != nil {
			t.Fatal(err)
		}
		id := fmt.Sprintf("%08d-10fe-40d9-871e-%012d", number, i)
		list[0]["ID"], list[0]["State"] = id, []string{"stopped", "running", "suspended", "paused"}[random.IntN(4)]
		if random.IntN(8) == 0 {
			list[0]["OS"] = "linux"
		}
		for _, name := range []string{"clipboard", "no_smart_cards", "no_share_vm_apps", "no_share_mac_apps"} {
			for _, part := range policy.Find(name).Parts {
				putAt(list[0], part.Shown[0], []string{"on", "off"}[random.IntN(2)])
			}
		}
		m.objects[id] = list[0]
	}
	state, _, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "state"), store.Options{Log: zerolog.Nop(), Collections: enforce.Collections()})
	if err != nil {
		t.Fatal(err)
	}
	m.enforcer = enforce.New(enforce.Options{
		Store: state, Lanes: lane.New(), Files: m, Now: time.Now, Log: zerolog.Nop(),
		Tool:   func(platform.User, bool) enforce.Tool { return m },
		Refuse: func(_ prlctl.Version, flag string) error { t.Errorf("%s was refused", flag); return nil },
		Posted: func(uid uint32) { m.posted <- uid },
	})
	t.Cleanup(func() {
		m.enforcer.Close()
		_ = state.Close()
	})
	return m
}

// plan looks and plans.
func (m *diffMac) plan(enforces bool) *enforce.Planned {
	m.t.Helper()
	situation := &enforce.Situation{Content: m.content, Enforce: enforces, Mark: m.enforcer.Mark(), Version: prlctl.Version{Major: 26, Minor: 4}, Whole: true}
	for id := range m.objects {
		situation.Machines = append(situation.Machines, &enforce.Machine{
			Facts: policy.Machine{Key: protocol.VMKey{ID: id, UID: diffUser.UID}, VM: m.vm(id), AtWork: true},
			Owner: enforce.Owner{User: diffUser, Session: true}, Name: "Windows 11", ConfigHash: m.vm(id).ConfigHash(),
		})
	}
	planned, err := m.enforcer.Plan(situation)
	if err != nil {
		m.t.Fatal(err)
	}
	return planned
}

// converge enforces until nothing is to be done.
func (m *diffMac) converge() {
	m.t.Helper()
	for range 20 {
		planned := m.plan(true)
		if len(planned.Steps) == 0 {
			return
		}
		m.enforcer.Apply(m.t.Context(), planned)
		m.enforcer.Take(<-m.posted)
	}
	m.t.Fatal("it does not end")
}

// known is what the portal has of the Mac after its check-in.
func (m *diffMac) known(device string) (known []fleet.KnownVM) {
	told := m.enforcer.Verdicts()
	told.Full = true
	kept, _ := told.Merge(new(protocol.VerdictReport))
	for id := range m.objects {
		key := protocol.VMKey{ID: id, UID: diffUser.UID}
		verdicts := make(map[string]*protocol.VerdictGroup)
		kept.Each(func(vm protocol.VMKey, group *protocol.VerdictGroup) {
			if vm == key {
				verdicts[group.Path] = group
			}
		})
		known = append(known, fleet.KnownVM{DeviceID: device, VM: protocol.VM{VMKey: key}, SHA256: kept.SHA256, Verdicts: verdicts})
	}
	return known
}

// What diff says that enforcing will set on 200 Macs that monitor is what is set
// there: at once, and once each machine has been resumed or shut down.
func TestDiffIsHonest(t *testing.T) {
	t.Parallel()
	fixture, err := os.ReadFile("../testdata/prlctl/list-windows-running.json")
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(12, 4))
	outcomes := make(map[fleet.Outcome]int)
	for number := range 200 {
		m := newDiffMac(t, number, random, fixture)
		if m.plan(false); len(m.set) > 0 {
			t.Fatalf("monitor mode has set %v", m.set)
		}
		document, err := policy.Parse(m.content.Document)
		if err != nil {
			t.Fatal(err)
		}
		before := fleet.PolicyVersion{Document: &document, SHA256: m.content.Pointer.SHA256}
		next := before
		next.Enforce = true
		atOnce, atAll := []string{}, []string{}
		for _, one := range fleet.Predict(before, next, m.known(fmt.Sprint(number))) {
			name := one.VM.ID + " " + strings.TrimPrefix(one.Path, "vm_settings.other.")
			outcomes[one.Outcome]++
			if one.Outcome == fleet.OutcomeSet {
				atOnce = append(atOnce, name)
			}
			if one.Outcome == fleet.OutcomeSet || one.Outcome == fleet.OutcomeWaits {
				atAll = append(atAll, name)
			}
		}
		m.converge()
		m.wantSet("at once", atOnce)
		for _, state := range []string{"running", "stopped"} {
			for id := range m.objects {
				m.objects[id]["State"] = state
			}
			m.converge()
		}
		m.wantSet("at all", atAll)
	}
	t.Logf("outcomes: %v", outcomes)
	for _, outcome := range []fleet.Outcome{fleet.OutcomeSet, fleet.OutcomeWaits, fleet.OutcomeStays, fleet.OutcomeExcluded} {
		if outcomes[outcome] < 20 {
			t.Errorf("only %d have the outcome %s", outcomes[outcome], outcome)
		}
	}
	if outcomes[fleet.OutcomeUnknown] > 0 {
		t.Errorf("%d are unknown", outcomes[fleet.OutcomeUnknown])
	}
}

func (m *diffMac) wantSet(when string, want []string) {
	m.t.Helper()
	got := []string{}
	for name := range m.set {
		got = append(got, name)
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		m.t.Errorf("%s (-predicted +executed):\n%s", when, diff)
	}
}
