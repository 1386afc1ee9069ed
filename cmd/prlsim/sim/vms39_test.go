package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"prlagent/agent/enforce"
	"prlagent/agent/lane"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/platform/tool"
	client "prlagent/prlctl" // prlctl is the tool here
	"prlagent/store"
)

var policyTrials = flag.Int("policy.trials", 12, "how many random policies TestVMS_39_OnlyWhatIsManaged enforces on simulated Macs")

// trial is one random policy on one random Mac, and what people do meanwhile.
type trial struct {
	assume   []string
	version  string
	notDone  []string // flags whose set says that it is done, and lies
	done     []string // flags whose set says that it failed, and lies
	machines []trialMachine
	document string
	locks    bool // AllowUnprovenLocks
	changes  []trialChange
}

type trialMachine struct {
	os, owner, state, tools string
	adapters                int
	settings                []string // NAME=VALUE, as a person has them
}

// trialChange is what a person changes later.
type trialChange struct {
	machine int
	setting string
}

// drawTrial draws a trial: from the simulator's own tables, not from the
// catalogue, which it checks.
func drawTrial(t *rapid.T) trial {
	made := trial{
		version: rapid.SampledFrom([]string{"26", "27", "20", "19", "16", "15"}).Draw(t, "version"),
		notDone: drawFlags(t, "not done"), done: drawFlags(t, "done"), locks: rapid.Bool().Draw(t, "locks"), document: drawPolicy(t),
	}
	for _, one := range settingAssumptions {
		if at := rapid.IntRange(0, len(one.Values)-1).Draw(t, one.Name); at > 0 {
			made.assume = append(made.assume, one.Name+"="+one.Values[at])
		}
	}
	for range rapid.IntRange(1, 3).Draw(t, "machines") {
		m := trialMachine{
			os:       rapid.SampledFrom([]string{"win-11", "win-11", "ubuntu", "macosx"}).Draw(t, "os"),
			owner:    rapid.SampledFrom([]string{"alice", "bob"}).Draw(t, "owner"),
			state:    rapid.SampledFrom([]string{"stopped", "running", "suspended"}).Draw(t, "state"),
			tools:    rapid.SampledFrom([]string{"installed", "none"}).Draw(t, "tools"),
			adapters: rapid.IntRange(1, 3).Draw(t, "adapters"),
		}
		m.settings = drawSettings(t, m.adapters)
		made.machines = append(made.machines, m)
	}
	for i, m := range made.machines {
		for _, setting := range drawSettings(t, m.adapters) {
			made.changes = append(made.changes, trialChange{i, setting})
		}
	}
	return made
}

func drawFlags(t *rapid.T, what string) []string {
	if rapid.IntRange(0, 2).Draw(t, what) > 0 {
		return nil
	}
	var names []string
	for _, one := range policy.Flags.Set {
		names = append(names, one.Name)
	}
	return rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, 4, rapid.ID[string]).Draw(t, what+" flags")
}

// drawSettings draws what a person sets, by the names of the flags.
func drawSettings(t *rapid.T, adapters int) []string {
	var settings []string
	for _, one := range setFlags {
		if one.values == "" || one.category == "device_mgmt" || slices.Contains(notSimulated, one.name) || one.name == "--name" || rapid.IntRange(0, 3).Draw(t, one.name+"?") > 0 {
			continue
		}
		if one.name == lockFlag && rapid.IntRange(0, 3).Draw(t, "locked") > 0 {
			continue // it ends most of a trial
		}
		var words []string
		for word := range strings.SplitSeq(one.values, "|") {
			if word != "text" && word != numberWord {
				words = append(words, word)
			}
		}
		switch one.name {
		case "--cpus", "--memsize":
			words = map[string][]string{"--cpus": {"1", "2", "6"}, "--memsize": {"1024", "3072"}}[one.name]
		}
		if len(words) > 0 {
			settings = append(settings, strings.TrimPrefix(one.name, "--")+"="+rapid.SampledFrom(words).Draw(t, one.name))
		}
	}
	for number := range adapters {
		words := rapid.SampledFrom([]string{"", "shared", "host-only", "bridged", "bridged:en1", "disconnected", "disabled,bridged"}).Draw(t, "adapter")
		if words != "" {
			settings = append(settings, adapterName(number)+"="+words)
		}
	}
	return settings
}

// drawPolicy draws a policy that is valid.
func drawPolicy(t *rapid.T) string {
	settings := make(map[string]any)
	for i := range policy.Settings {
		if setting := &policy.Settings[i]; rapid.IntRange(0, 2).Draw(t, "manages "+setting.Name) == 0 {
			settings[setting.Name] = drawWanted(t, setting)
		}
	}
	section := map[string]any{"other": settings, "beyond_guide": rapid.Bool().Draw(t, "beyond"), "on_unsupported": rapid.SampledFrom([]string{"leave", "stricter"}).Draw(t, "unsupported")}
	for {
		text, err := json.Marshal(map[string]any{"schema": 1, "policy_id": "p", "revision": 1, "name": "P", "vm_settings": section})
		if err != nil {
			t.Fatal(err)
		}
		_, problems := policy.Check(text)
		if len(problems) == 0 {
			return string(text)
		}
		if problems[0].Code != protocol.CodePolicyConflict {
			t.Fatal(problems[0])
		}
		delete(settings, strings.TrimPrefix(problems[0].Path, "vm_settings.other."))
	}
}

func drawWanted(t *rapid.T, setting *policy.Setting) any {
	switch values := setting.Values; values.Kind {
	case policy.KindNumber:
		return min(max(values.Min, rapid.SampledFrom([]int{2, 2048}).Draw(t, setting.Name)), values.Max)
	case policy.KindText:
		return "A-1"
	case policy.KindChoice:
		return rapid.SampledFrom(values.Only).Draw(t, setting.Name).Value
	default:
		return len(values.Only) > 0 || rapid.Bool().Draw(t, setting.Name)
	}
}

// trialMac is a trial under way: the real planning and enforcement over the
// simulated tools.
type trialMac struct {
	trial
	mac      Mac
	ids      []string
	document *policy.Document
	state    *store.Store
	enforcer *enforce.Enforcer
	posted   chan uint32
	ctx      context.Context
	content  policy.Content
	flags    client.Capabilities
	monitor  bool

	mu   sync.Mutex
	sets []string
}

// toolsOf run in the process of the test, as one user in their session.
type toolsOf struct {
	*trialMac
	user platform.User
}

// Run is client.Runner.
func (r toolsOf) Run(_ context.Context, c *tool.Command) (tool.Result, error) {
	state, err := r.mac.Load()
	if err != nil {
		return tool.Result{}, err
	}
	if len(c.Args) > 2 && c.Args[0] == "set" && c.Args[2] != "--help" {
		r.mu.Lock()
		r.sets = append(r.sets, r.user.Name+" "+strings.Join(c.Args[1:], " "))
		r.mu.Unlock()
	}
	play, _ := toolByName(filepath.Base(c.Path))
	var stdout, stderr bytes.Buffer
	code := play(&invocation{
		mac: r.mac, state: state, caller: r.user.Name, session: int(r.user.UID), name: filepath.Base(c.Path), args: c.Args,
		stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr,
	})
	return tool.Result{Stdout: stdout.Bytes(), Stderr: stderr.Bytes(), ExitCode: code}, nil
}

// LookAtFiles reads the files of bundles.
func (m *trialMac) LookAtFiles(_ context.Context, _ platform.User, questions []platform.FileQuestion) ([]platform.FileAnswer, error) {
	answers := make([]platform.FileAnswer, len(questions))
	for i, question := range questions {
		content, err := os.ReadFile(m.mac.Path(question.Path))
		var fields any
		if err == nil {
			fields, err = client.FileReaders()[question.Reader](content)
		}
		if err == nil {
			answers[i].Fields, err = json.Marshal(fields)
		}
		answers[i].Err = err
	}
	return answers, nil
}

// start makes the Mac.
func (m *trialMac) start() error {
	folder, err := os.MkdirTemp(keptMacs, "")
	if err != nil {
		return err
	}
	wanted := standardMac()
	wanted.Empty, wanted.ProductVersion, wanted.Assume = true, m.version, m.assume
	if m.mac, err = makeMac(filepath.Join(folder, "mac"), wanted); err != nil {
		return err
	}
	if err := m.mac.update(m.populate); err != nil {
		return err
	}
	if m.document, err = policy.Parse([]byte(m.trial.document)); err != nil {
		return err
	}
	m.content = policy.Content{Verified: true, HeadVersion: 1, Document: []byte(m.trial.document), Pointer: protocol.PointTo("p", 1, []byte(m.trial.document))}
	m.state, _, err = store.Open(m.ctx, filepath.Join(folder, "state"), store.Options{Log: zerolog.Nop(), Collections: enforce.Collections()})
	if err != nil {
		return err
	}
	m.posted = make(chan uint32, 10)
	m.enforcer = enforce.New(enforce.Options{
		Store: m.state, Lanes: lane.New(), Files: m, Now: time.Now, Log: zerolog.Nop(),
		Tool:   func(user platform.User, _ bool) enforce.Tool { return client.New(toolsOf{m, user}) },
		Refuse: func(_ client.Version, name string) error { m.flags.Refuse(false, name); return nil },
		Posted: func(uid uint32) { m.posted <- uid },
	})
	m.flags, err = client.New(toolsOf{m, platform.User{Name: "alice", UID: 501}}).Probe(m.ctx, policy.Flags)
	return err
}

func (m *trialMac) populate(state *State) error {
	for i, wanted := range m.machines {
		vm, err := m.mac.createVM(state, newVMOptions{OS: wanted.os, Owner: wanted.owner, Name: fmt.Sprint("M", i), State: wanted.state, Tools: wanted.tools})
		if err != nil {
			return err
		}
		m.ids = append(m.ids, vm.ID)
		if err := m.mac.configureVM(state, vm, fmt.Sprint("adapters=", wanted.adapters), false); err != nil {
			return err
		}
		for _, setting := range wanted.settings {
			if err := m.byHand(state, vm, setting); err != nil {
				return err
			}
		}
	}
	for fault, flags := range map[string][]string{faultNotDone: m.notDone, faultDone: m.done} {
		if len(flags) > 0 {
			if err := state.setFault(fault+"="+strings.Join(flags, ","), ""); err != nil {
				return err
			}
		}
	}
	return nil
}

// byHand is what a person does in the product's window, where there is a switch
// only for what the version and the guest have.
func (m *trialMac) byHand(state *State, vm *VM, setting string) error {
	name, _, _ := strings.Cut(setting, "=")
	if at := findFlag("--" + name); at >= 0 && (!state.knowsFlag(setFlags[at]) || state.checkGuest(setFlags[at], vm) != nil) {
		return nil
	}
	return m.mac.configureVM(state, vm, setting, true)
}

// eachVM changes every machine.
func (m *trialMac) eachVM(change func(state *State, i int, vm *VM) error) error {
	return m.mac.update(func(state *State) error {
		for i, id := range m.ids {
			vm, err := findVM(state.VMs, id)
			if err == nil {
				err = change(state, i, vm)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// look is what the agent sees.
func (m *trialMac) look() (*enforce.Situation, error) {
	state, err := m.mac.Load()
	if err != nil {
		return nil, err
	}
	s := &enforce.Situation{Content: m.content, Enforce: !m.monitor, AllowUnprovenLocks: m.locks, Mark: m.enforcer.Mark(), Capabilities: m.flags, Version: m.flags.Version, Whole: true}
	m.enforcer.Adopt(&m.content)
	for _, made := range state.VMs {
		account, _ := state.userByName(made.Owner)
		user := platform.User{Name: account.Name, UID: uint32(account.UID), Home: account.home()}
		vm, err := client.New(toolsOf{m, user}).Get(m.ctx, made.ID)
		if err != nil {
			return nil, err
		}
		machine := &enforce.Machine{
			Facts: policy.Machine{Key: protocol.VMKey{ID: vm.ID, UID: user.UID}, VM: vm, AtWork: true, FirstSeen: time.Now()},
			Owner: enforce.Owner{User: user, Session: true}, Name: vm.Name, Bundle: vm.Bundle(), ConfigHash: vm.ConfigHash(),
		}
		if m.enforcer.NeedsConfig(&vm) {
			content, err := os.ReadFile(m.mac.Path(vm.Bundle() + "/config.pvs"))
			if err != nil {
				return nil, err
			}
			config, err := client.ReadConfigPVS(content)
			if err != nil {
				return nil, err
			}
			machine.Facts.Config = config
		}
		s.Machines = append(s.Machines, machine)
	}
	return s, nil
}

// apply is one pass.
func (m *trialMac) apply() (steps int, err error) {
	time.Sleep(configDelay) // what was written is in the file
	s, err := m.look()
	if err != nil {
		return 0, err
	}
	planned, err := m.enforcer.Plan(s)
	if err != nil {
		return 0, err
	}
	owners := make(map[uint32]bool)
	for i := range planned.Steps {
		owners[planned.Steps[i].VM.UID] = true
	}
	m.enforcer.Apply(m.ctx, planned)
	for range owners {
		m.enforcer.Take(<-m.posted)
	}
	return len(planned.Steps), nil
}

// converge makes passes until one has nothing to do. What it changes is managed,
// what is said of it is true, and one more pass runs no tool and writes nothing.
func (m *trialMac) converge(managed map[string]bool) error {
	before, err := m.places()
	if err != nil {
		return err
	}
	for passes := 0; ; passes++ {
		steps, err := m.apply()
		if err != nil {
			return err
		}
		if steps == 0 {
			break
		}
		if passes == 10 {
			return fmt.Errorf("it does not end: %v", m.sets)
		}
	}
	after, err := m.places()
	if err != nil {
		return err
	}
	for i := range m.ids {
		for _, change := range before[i].changes(after[i]) {
			if place, _, _ := strings.Cut(change, ": "); !managed[place] {
				return fmt.Errorf("machine %d: not managed, and changed: %s; sets %v", i, change, m.sets)
			}
		}
	}
	sets, commits := len(m.sets), m.state.Commits()
	time.Sleep(time.Minute)
	if steps, err := m.apply(); err != nil || steps > 0 || len(m.sets) > sets || m.state.Commits() != commits {
		return fmt.Errorf("another pass: %w, %d steps, sets %v, %d commits", err, steps, m.sets[sets:], m.state.Commits()-commits)
	}
	return m.checkVerdicts(after)
}

// places are what each machine is set to, in the simulator's own words: by the
// paths of its table, whatever the tools show.
func (m *trialMac) places() ([]machineView, error) {
	state, err := m.mac.Load()
	if err != nil {
		return nil, err
	}
	var all []machineView
	for _, id := range m.ids {
		vm, err := findVM(state.VMs, id)
		if err != nil {
			return nil, err
		}
		system, err := guestSystem(vm.OS)
		if err != nil {
			return nil, err
		}
		document, err := state.wholeDocument(vm, system, false)
		if err != nil {
			return nil, err
		}
		view := machineView{}
		view.addDocument("", document)
		for element, value := range vm.Elements {
			view[pvsPrefix+element] = value
		}
		maps.DeleteFunc(view, func(place, _ string) bool { return strings.HasPrefix(place, "Uptime") })
		all = append(all, view)
	}
	return all, nil
}

// managedPlaces are the places that the policy may change.
func (m *trialMac) managedPlaces(state *State) map[string]bool {
	managed := make(map[string]bool)
	add := func(name, value string) {
		flag := setFlags[findFlag(name)]
		for _, setting := range append(flagValue{flag: flag, value: value}.settings(), state.sideEffects(flagValue{flag: flag, value: value})...) {
			managed[setting[0]] = true
		}
	}
	for name, value := range m.document.VMSettings.Other.Settings {
		for _, part := range policy.Find(name).Parts {
			switch {
			case part.Keep != "", name == "isolate_vm" && value == policy.False && part.Flag != "--isolate-vm":
			case part.Adapters:
				for number := range 3 {
					for _, key := range []string{"type", "iface", "state"} {
						managed[adapterPath(adapterName(number), key)] = true
					}
				}
			case part.AsIs:
				add(part.Flag, string(value))
			default:
				for _, word := range part.Words {
					add(part.Flag, word.Set[0])
				}
			}
			if part.Flag == "--network-cond" {
				for _, key := range []string{"Bandwidth", "Delay", "Packet Loss"} {
					managed["Network/Inbound/"+key], managed["Network/Outbound/"+key] = true, true
				}
			}
		}
	}
	const gamepads = "USB and Bluetooth/Automatic sharing gamepads"
	if at := findFlag("--auto-share-gamepad"); m.document.VMSettings.Other.Settings["share_gamepads"] == "" {
		// What isolating changes is put back, where the version can and does not lie.
		managed[gamepads] = !state.knowsFlag(setFlags[at]) || slices.Contains(m.notDone, "--auto-share-gamepad")
	}
	return managed
}

// checkVerdicts fails where something is said to be in place and is not, or where
// nothing is done about something although it could be.
func (m *trialMac) checkVerdicts(places []machineView) error {
	for _, one := range m.enforcer.View().Settings {
		verdict := one.Verdict
		i := slices.Index(m.ids, verdict.VM.ID)
		switch verdict.Verdict {
		case protocol.VerdictInPlace:
			if err := m.checkInPlace(verdict, places[i]); err != nil {
				return fmt.Errorf("machine %d: %s=%s is said to be in place: %w", i, verdict.Setting, verdict.Value, err)
			}
		case protocol.VerdictPending:
			return fmt.Errorf("machine %d: %s is pending by %s, and nothing is done", i, verdict.Setting, verdict.Code)
		case protocol.VerdictFailed, protocol.VerdictContended:
			for _, gap := range verdict.Gaps {
				if gap.Verdict == verdict.Verdict && !m.mayFail(gap.Target, places[i]) {
					return fmt.Errorf("machine %d: %s is %s by %s: %+v; sets %v", i, verdict.Setting, verdict.Verdict, verdict.Code, gap, m.sets)
				}
			}
		case protocol.VerdictDeferred:
			if places[i]["State"] == "stopped" {
				return fmt.Errorf("machine %d is shut down: %s is deferred by %s", i, verdict.Setting, verdict.Code)
			}
		}
	}
	return nil
}

// mayFail reports whether there is a reason why a flag cannot be set.
func (m *trialMac) mayFail(target string, place machineView) bool {
	name, _, _ := strings.Cut(target, " ")
	assumed := func(one string) bool { return slices.Contains(m.assume, one) }
	return slices.Contains(m.notDone, name) || place[lockPlace] == "on" || // a lie, or somebody's lock
		name == lockFlag && assumed("lock_placing=prompt") || name == "--startup-view" && assumed("headless_view=needs_feature")
}

// lockPlace shows whether a configuration is locked.
const lockPlace = "Security/Configuration is locked"

// checkInPlace compares with the simulator's own values.
func (m *trialMac) checkInPlace(verdict *policy.Verdict, place machineView) error {
	setting, value := policy.Find(verdict.Setting), verdict.Value
	if verdict.Code == protocol.CodeStricterValue {
		value = setting.StricterThan(value)
	}
	for i := range setting.Parts {
		part := &setting.Parts[i]
		word := part.WordFor(value)
		switch {
		case part.Adapters:
			if err := checkAdapters(value, place); err != nil {
				return err
			}
		case part.AsIs && part.Read == policy.ReadAtMost:
			limit, _ := strconv.Atoi(string(value))
			if number, err := strconv.Atoi(strings.TrimSuffix(place[setFlags[findFlag(part.Flag)].path], "Mb")); err != nil || number > limit {
				return fmt.Errorf("%s is %d: %w", part.Flag, number, err)
			}
		case word == nil || len(part.Shown) == 0 && part.File == nil:
		default:
			known := setFlags[findFlag(part.Flag)]
			is, has := place[known.path]
			if !has {
				continue
			}
			if client.ParseSwitch(is) != client.SwitchUnknown && part.Read == policy.ReadSwitch || strings.HasSuffix(known.path, "/enabled") {
				is = client.ParseSwitch(is).String()
			}
			for key, text := range known.words {
				if text == is {
					is = key
				}
			}
			if !slices.Contains(append(slices.Clone(word.Set), word.Shown...), is) {
				return fmt.Errorf("%s is %s", part.Flag, is)
			}
		}
	}
	return nil
}

func checkAdapters(wanted policy.Value, place machineView) error {
	kinds := map[policy.Value][]string{"shared": {"shared"}, "host_only": {"host", "host-only"}, "bridged_default": {"bridged"}}
	for number := range 3 {
		at := func(key string) string { return place[adapterPath(adapterName(number), key)] }
		iface := at("iface")
		switch {
		case at("type") == "" || at("enabled") == "false":
		case wanted == "disconnect" && at("state") != "disconnected",
			wanted != "disconnect" && (at("state") == "disconnected" || !slices.Contains(kinds[wanted], at("type"))),
			wanted == "bridged_default" && iface != "" && iface != "default":
			return fmt.Errorf("net%d is %s %s %s", number, at("type"), iface, at("state"))
		}
	}
	return nil
}

// run is the life of a policy on the Mac: enforced as the machines are, then shut
// down; changed by people; released.
func (m *trialMac) run() error {
	state, err := m.mac.Load()
	if err != nil {
		return err
	}
	managed := m.managedPlaces(state)
	first, err := m.places()
	if err != nil {
		return err
	}
	stop := func() error {
		return m.eachVM(func(state *State, _ int, vm *VM) error { return m.mac.setVMState(state, vm, "stopped") })
	}
	if err := m.monitors(first); err != nil {
		return err
	}
	if err := m.converge(managed); err != nil {
		return fmt.Errorf("at first: %w", err)
	}
	if err := stop(); err != nil {
		return err
	}
	time.Sleep(2 * time.Hour)
	if err := m.converge(managed); err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	err = m.eachVM(func(state *State, i int, vm *VM) error {
		for _, change := range m.changes {
			if change.machine != i {
				continue
			}
			if err := m.byHand(state, vm, change.setting); err != nil {
				return err
			}
		}
		return m.mac.setVMState(state, vm, m.machines[i].state)
	})
	if err != nil {
		return err
	}
	time.Sleep(3 * time.Hour)
	if err := m.converge(managed); err != nil {
		return fmt.Errorf("changed by people: %w", err)
	}
	if err := stop(); err != nil {
		return err
	}
	time.Sleep(3 * time.Hour)
	if err := m.converge(managed); err != nil {
		return fmt.Errorf("changed by people, and shut down: %w", err)
	}
	m.content.Released = true
	stuck := slices.Contains(m.notDone, lockFlag) || slices.ContainsFunc(m.assume, func(one string) bool {
		return strings.HasPrefix(one, "lock_release=") && one != "lock_release=accepted"
	}) || !slices.Contains(m.assume, "lock_release=accepted")
	if err := m.converge(map[string]bool{lockPlace: true}); err != nil {
		return fmt.Errorf("released: %w", err)
	}
	last, err := m.places()
	if err != nil {
		return err
	}
	for i, id := range m.ids {
		people := first[i][lockPlace] == "on" || slices.ContainsFunc(m.changes, func(c trialChange) bool { return c.machine == i && strings.HasPrefix(c.setting, "lock-edit") })
		if !people && !stuck && last[i][lockPlace] == "on" {
			return fmt.Errorf("machine %d (%s): a lock of ours is left; sets %v", i, id, m.sets)
		}
	}
	return nil
}

// monitors makes a pass in monitor mode, which touches nothing (H40).
func (m *trialMac) monitors(before []machineView) error {
	m.monitor = true
	defer func() { m.monitor = false }()
	if _, err := m.apply(); err != nil {
		return err
	}
	after, err := m.places()
	if err != nil {
		return err
	}
	for i := range m.ids {
		if changes := before[i].changes(after[i]); len(changes) > 0 || len(m.sets) > 0 {
			return fmt.Errorf("monitor mode: machine %d: %q, sets %v", i, changes, m.sets)
		}
	}
	return nil
}

// enforceTrial runs a trial under fake time.
func enforceTrial(t *testing.T, drawn trial) (failure error) {
	synctest.Test(t, func(*testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		m := &trialMac{trial: drawn, ctx: ctx}
		if failure = m.start(); failure == nil {
			failure = m.run()
		}
		cancel()
		if m.enforcer != nil {
			m.enforcer.Close()
			if err := m.state.Close(); failure == nil {
				failure = err
			}
		}
		os.RemoveAll(filepath.Dir(m.mac.Dir))
	})
	return failure
}

// VMS-39, H40: monitor mode touches nothing. Whatever the policy, the machines, the spellings of what is read back
// and the lies of exit codes, the simulated Mac before and after differs in what
// is managed only, and what is said to be in place is; another pass runs no tool
// and writes nothing; what people change converges; a release leaves all but our
// lock.
func TestVMS_39_OnlyWhatIsManaged(t *testing.T) {
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		if err := flag.Set("rapid.checks", strconv.Itoa(*policyTrials)); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		drawn := drawTrial(rt)
		if err := enforceTrial(t, drawn); err != nil {
			rt.Fatalf("%v\non %+v", err, drawn)
		}
	})
}
