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

// diffSettings are what the policy of these tests manages: what the description
// shows, what only config.pvs does, adapters, what needs a machine shut down, and
// the lock.
const diffSettings = `"clipboard":"disconnect","no_smart_cards":true,"no_share_vm_apps":true,"no_share_mac_apps":true,"startup":"manual",
	"network":"host_only","no_tools_autoupdate":true,"lock_on_suspend":true,"asset_tag":"F-1","auto_compress_disks":false,"no_config_changes":true`

// diffMac is a Mac of one user with a few machines, whose tool does what it is told.
type diffMac struct {
	t        *testing.T
	mu       sync.Mutex
	objects  map[string]map[string]any    // by id
	files    map[string]*prlctl.ConfigPVS // the same
	locks    bool                         // the profile has AllowUnprovenLocks
	stuck    bool                         // no lock is lifted
	set      map[string]bool              // "id setting": what the tool was called for
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
	if flag == "--device-set" {
		putAt(m.objects[id], "Hardware/"+args[1]+"/type", args[3]) // --device-set netN --type T --connect
		putAt(m.objects[id], "Hardware/"+args[1]+"/state", "connected")
		m.set[id+" network"] = true
		return nil
	}
	for i := range policy.Settings {
		for j := range policy.Settings[i].Parts {
			if part := &policy.Settings[i].Parts[j]; part.Flag == flag {
				m.set[id+" "+policy.Settings[i].Name] = true
				if m.stuck && args[0] == "--lock-edit-settings=off" {
					return &prlctl.Error{Code: prlctl.CodeAdminPassword}
				}
				if part.File != nil {
					m.putInFile(id, flag, value)
				} else {
					putAt(m.objects[id], part.Shown[0], value)
				}
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
func (m *diffMac) LookAtFiles(_ context.Context, _ platform.User, questions []platform.FileQuestion) ([]platform.FileAnswer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	answers := make([]platform.FileAnswer, len(questions))
	for i, question := range questions {
		id := strings.TrimSuffix(filepath.Base(filepath.Dir(question.Path)), ".pvm")
		answers[i].Fields, answers[i].Err = json.Marshal(m.files[id])
	}
	return answers, nil
}

func (m *diffMac) putInFile(id, flag, value string) {
	switch file := m.files[id]; flag {
	case "--tools-autoupdate":
		file.AutoUpdate = prlctl.ParseSwitch(value)
	case "--lock-on-suspend":
		file.LockGuestOnSuspend = prlctl.ParseSwitch(value)
	case "--asset-id":
		file.AssetID = value
	default:
		m.t.Errorf("%s is not in this file", flag)
	}
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

// file is config.pvs as it is now.
func (m *diffMac) file(id string) *prlctl.ConfigPVS {
	config := *m.files[id]
	return &config
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
	m := &diffMac{t: t, objects: make(map[string]map[string]any), files: make(map[string]*prlctl.ConfigPVS), locks: number%4 > 0, stuck: number%4 == 1, set: make(map[string]bool), posted: make(chan uint32, 1),
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
		for _, name := range []string{"auto_compress_disks", "no_config_changes"} {
			putAt(list[0], policy.Find(name).Parts[0].Shown[0], []string{"on", "off"}[random.IntN(2)])
		}
		for adapter := range 1 + random.IntN(2) {
			base := fmt.Sprintf("Hardware/net%d/", adapter)
			putAt(list[0], base+"enabled", []string{"true", "true", "false"}[random.IntN(3)])
			putAt(list[0], base+"type", []string{"shared", "host", "host-only", "bridged"}[random.IntN(4)])
			putAt(list[0], base+"state", []string{"connected", "disconnected"}[random.IntN(2)])
		}
		switches := []prlctl.Switch{prlctl.SwitchOn, prlctl.SwitchOff}
		m.files[id] = &prlctl.ConfigPVS{AutoUpdate: switches[random.IntN(2)], LockGuestOnSuspend: switches[random.IntN(2)], AssetID: []string{"", "F-1"}[random.IntN(2)]}
		list[0]["Home"], list[0]["Home path"] = diffUser.Home+"/"+id+".pvm/", diffUser.Home+"/"+id+".pvm/config.pvs"
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
	situation := &enforce.Situation{Content: m.content, Enforce: enforces, AllowUnprovenLocks: m.locks, Mark: m.enforcer.Mark(), Version: prlctl.Version{Major: 26, Minor: 4}, Whole: true}
	for id := range m.objects {
		vm := m.vm(id)
		situation.Machines = append(situation.Machines, &enforce.Machine{
			Facts: policy.Machine{Key: protocol.VMKey{ID: id, UID: diffUser.UID}, VM: vm, Config: m.file(id), AtWork: true},
			Owner: enforce.Owner{User: diffUser, Session: true}, Name: "Windows 11", ConfigHash: vm.ConfigHash(),
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
func (m *diffMac) known(device string) (known []fleet.Known) {
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
		known = append(known, fleet.Known{DeviceID: device, Key: key, SHA256: kept.SHA256, Verdicts: verdicts})
	}
	return known
}

// What diff says that enforcing will set on 200 Macs that monitor is what is set
// there: at once, and once each machine has been resumed or shut down. Of nothing but
// the lock, which enforcing tries first, it says that it does not know.
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
		before := fleet.PolicyVersion{Document: document, SHA256: m.content.Pointer.SHA256}
		next := before
		next.Enforce = true
		atOnce, atAll := []string{}, []string{}
		open := make(map[string]bool) // what is told to be not known
		for _, one := range fleet.Predict(before, next, m.known(fmt.Sprint(number))) {
			name := one.Key.ID + " " + strings.TrimPrefix(one.Path, "vm_settings.other.")
			outcomes[one.Outcome]++
			if open[name] = one.Outcome == fleet.OutcomeUnknown; open[name] && !strings.HasSuffix(name, " no_config_changes") {
				t.Errorf("%s is not known", name)
			}
			if one.Outcome == fleet.OutcomeSet {
				atOnce = append(atOnce, name)
			}
			if one.Outcome == fleet.OutcomeSet || one.Outcome == fleet.OutcomeWaits {
				atAll = append(atAll, name)
			}
		}
		m.converge()
		m.wantSet("at once", atOnce, open)
		for _, state := range []string{"running", "stopped"} {
			for id := range m.objects {
				m.objects[id]["State"] = state
			}
			m.converge()
		}
		if m.stuck { // what waits on the machine with the lock has to wait for longer
			atAll = slices.DeleteFunc(atAll, func(name string) bool { return !m.set[name] })
		}
		m.wantSet("at all", atAll, open)
	}
	t.Logf("outcomes: %v", outcomes)
	for _, outcome := range []fleet.Outcome{fleet.OutcomeSet, fleet.OutcomeWaits, fleet.OutcomeStays, fleet.OutcomeExcluded, fleet.OutcomeUnknown} {
		if outcomes[outcome] < 20 {
			t.Errorf("only %d have the outcome %s", outcomes[outcome], outcome)
		}
	}
}

func (m *diffMac) wantSet(when string, want []string, open map[string]bool) {
	m.t.Helper()
	got := []string{}
	for name := range m.set {
		if !open[name] {
			got = append(got, name)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		m.t.Errorf("%s (-predicted +executed):\n%s", when, diff)
	}
}
