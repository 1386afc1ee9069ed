package cmd_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"prlagent/agent"
	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/platform/plist"
)

// queueLength is how many commands are ordered while programs are killed. All of it:
//
//	go test ./cmd -run KilledInAQueue -queue 100 -v
var queueLength = flag.Int("queue", 10, "commands that are ordered while the daemon and the portal are killed")

// ordered is one command of the queue, as an operator types it.
type ordered struct {
	kind   string
	vm     string // empty: the whole Mac
	user   string
	flags  []string
	starts bool // the machine runs at first
}

// newQueue mixes commands. Every machine is of one command, but for those that are let
// go again.
func newQueue(length int) (queue []ordered) {
	for i := range length - 1 {
		name, user := fmt.Sprintf("VM %d", i), []string{"alice", "bob"}[i/10%2]
		switch i % 10 {
		case 0, 3, 6:
			queue = append(queue, ordered{kind: "vm.delete", vm: name, user: user})
		case 1:
			queue = append(queue, ordered{kind: "vm.restart", vm: name, user: user, starts: true, flags: []string{"--timeout", "10s"}})
		case 2, 7:
			queue = append(queue, ordered{kind: "vm.lock", vm: name, user: user, starts: true})
		case 4:
			queue = append(queue, ordered{kind: "vm.delete", vm: name, user: user, starts: true, flags: []string{"--when", "now"}})
		case 5:
			queue = append(queue, ordered{kind: "inventory.refresh"})
		case 8:
			queue = append(queue, ordered{kind: "policy.refresh"})
		case 9:
			queue = append(queue, ordered{kind: "vm.unlock", vm: fmt.Sprintf("VM %d", i-2), user: user})
		}
	}
	return append(queue, ordered{kind: "license.deactivate"})
}

// killable is a site whose programs are killed and started again.
type killable struct {
	*site
	address string
	serial  string // of the Mac
	queue   []ordered
	// confirmed is how often the operator had the portal go on.
	confirmed int
	running   map[string]*exec.Cmd // by program
}

func newKillable(t *testing.T) *killable {
	port, err := reservePort()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(port.release)
	length := *queueLength
	if testing.Short() {
		length = min(length, 6)
	}
	k := &killable{site: newSite(t), address: port.address, queue: newQueue(length), running: make(map[string]*exec.Cmd)}
	runProgram(t, k.folder, "prlsim", "mac", "create", k.mac, "--users", "alice,bob", "--empty")
	for _, one := range k.queue {
		if one.vm == "" || one.kind == "vm.unlock" {
			continue
		}
		state := "stopped"
		if one.starts {
			state = "running"
		}
		k.sim(t, "vm", "create", "--os", "ubuntu", "--name", one.vm, "--user", one.user, "--state", state)
	}
	runProgram(t, k.folder, "prlportal", "init", k.portal)
	k.change(t, filepath.Join(k.portal, "portal", "config.json"), json.Unmarshal, json.Marshal, map[string]any{"splay_s": 0})
	profile := filepath.Join(k.mac, agent.ManagedConfig)
	runProgram(t, k.folder, "prlportal", "profile", "--dir", k.portal, "--url", "https://"+k.address, "--format", "plist", "-o", profile)
	timing := maps.Clone(quick)
	timing["WakeSplay"], timing["Tick"] = 0.0, 0.2
	decode := func(data []byte, into any) (err error) {
		*into.(*map[string]any), err = plist.DecodeDict(data)
		return err
	}
	k.change(t, profile, decode, plist.EncodeXML, map[string]any{
		"Mode": "enforce", "Timing": timing, "DestructiveLimit": map[string]any{"Count": 1000, "WindowHours": 24},
	})
	t.Cleanup(func() {
		for program := range k.running {
			if said, err := os.ReadFile(k.logOf(program)); err == nil && t.Failed() {
				t.Logf("%s:\n%s", program, said[max(0, len(said)-6000):])
			}
			k.kill(program)
		}
	})
	return k
}

// change changes values of a file.
func (k *killable) change(t *testing.T, path string, decode func([]byte, any) error, encode func(any) ([]byte, error), values map[string]any) {
	t.Helper()
	content := make(map[string]any)
	data, err := os.ReadFile(path)
	if err == nil {
		err = decode(data, &content)
	}
	if err == nil {
		maps.Copy(content, values)
		data, err = encode(content)
	}
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (k *killable) launch(t *testing.T, program string) {
	t.Helper()
	args := []string{"run", "--root", k.mac}
	if program == portalName {
		args = []string{"serve", "--demo", "--dir", k.portal, "--listen", k.address}
	}
	log, err := os.OpenFile(k.portal+"."+program+".err", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	command := exec.Command(filepath.Join(k.folder, program), args...)
	command.Stderr = log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	k.running[program] = command
}

// logOf is the file with what a program says.
func (k *killable) logOf(program string) string {
	if program == "prlagentd" {
		return filepath.Join(k.mac, agent.LogFile)
	}
	return k.portal + "." + program + ".err"
}

func (k *killable) kill(program string) {
	_ = k.running[program].Process.Kill()
	_ = k.running[program].Wait()
	delete(k.running, program)
}

// commandState is how a command stands, for either side.
type commandState struct {
	ID       string `json:"command_id"`
	Type     string `json:"type"`
	VM       string `json:"vm_name"`
	State    string `json:"state"`
	Code     string `json:"code"`
	Receipt  string `json:"receipt_state"`
	Withheld string `json:"withheld"`
	Open     bool   `json:"open"`
}

// ask runs a program until it answers with JSON: it may have been killed whom it asks.
func (k *killable) ask(into any, program string, args ...string) error {
	var failed error
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(50 * time.Millisecond) {
		output, err := exec.Command(filepath.Join(k.folder, program), args...).Output()
		if err == nil {
			return json.Unmarshal(output, into)
		}
		failed = err
	}
	return fmt.Errorf("%s %q: %w", program, args, failed)
}

func (k *killable) atPortal(filters ...string) ([]commandState, error) {
	args := []string{"commands", "--json", "--dir", k.portal}
	for _, filter := range filters {
		args = append(args, "--filter", filter)
	}
	var answer struct{ Commands []commandState }
	err := k.ask(&answer, portalName, args...)
	return answer.Commands, err
}

// order has the portal take a command. The operator whose portal was killed meanwhile
// looks whether it has it, and types it again if not.
func (k *killable) order(one ordered) error {
	args := append([]string{"command", one.kind, "--dir", k.portal, "--reason", "a test"}, one.flags...)
	if one.vm == "" {
		args = append(args, "--device", k.serial, "--yes", k.serial)
	} else {
		args = append(args, "--vm", one.vm, "--yes", one.vm)
	}
	var said []byte
	for began := time.Now(); time.Since(began) < 2*time.Minute; time.Sleep(50 * time.Millisecond) {
		output, err := exec.Command(filepath.Join(k.folder, portalName), args...).CombinedOutput()
		if err == nil {
			return nil
		}
		said = output
		if one.vm == "" && one.kind != "license.deactivate" {
			continue // one that is open is waited for
		}
		filters := []string{"type=" + one.kind}
		if one.vm != "" {
			filters = append(filters, `vm_name="`+one.vm+`"`)
		}
		known, err := k.atPortal(append(filters, "state!="+protocol.CommandUnknown)...)
		if err != nil || len(known) > 0 {
			return err
		}
	}
	return fmt.Errorf("the portal does not take %s %s: %s", one.kind, one.vm, said)
}

// orderAll orders the queue. The license goes when all else is over: without it no
// machine starts.
func (k *killable) orderAll() error {
	for _, one := range k.queue {
		if one.kind == "license.deactivate" {
			if err := k.awaitEnds(); err != nil {
				return err
			}
		}
		if err := k.order(one); err != nil {
			return err
		}
		k.checkIn()
	}
	return k.awaitEnds()
}

// checkIn has the agent ask for commands, if it is there: a person does not wait for its
// cadence, nor for its patience with a portal that was not there.
func (k *killable) checkIn() {
	_ = exec.Command(filepath.Join(k.folder, "prlagent"), "checkin", "--root", k.mac).Run()
}

// awaitEnds waits until no command is open. A portal that was killed between its audit
// log and its database cannot tell that from having been put back, and withholds what is
// destructive until somebody confirms (H30): the operator does.
func (k *killable) awaitEnds() error {
	var open []commandState
	var err error
	for began := time.Now(); time.Since(began) < 5*time.Minute; time.Sleep(300 * time.Millisecond) {
		if open, err = k.atPortal("open=true"); err != nil || len(open) == 0 {
			return err
		}
		if slices.ContainsFunc(open, func(one commandState) bool { return one.Withheld == string(protocol.CodePortalRestored) }) {
			confirm := exec.Command(filepath.Join(k.folder, portalName), "devices", "confirm", k.serial, "--reason", "it was killed", "--dir", k.portal)
			if confirm.Run() == nil {
				k.confirmed++
			}
		}
		k.checkIn()
	}
	return fmt.Errorf("commands do not end: %+v", open)
}

// moment is what a kill waits for: a file that changes.
type moment struct {
	name string
	file string // relative to the Mac or the portal; empty: no file, but a time
}

// moments of an agent at work, and of a portal.
var (
	agentMoments = []moment{
		{"an attempt is in the intent file", filepath.Join(agent.StateFolder, "intents")},
		{"a commit of the journal", filepath.Join(agent.StateFolder, "state.db")},
		{"an effect", ".prlsim/effects"},
		{"a tool's call", ".prlsim/calls"},
		{name: "some time"},
	}
	portalMoments = []moment{{"a commit of the portal", "portal/portal.db"}, {name: "some time"}}
)

// await waits for a moment: for the nth change of the file, and not long.
func (m moment) await(folder string, random *rand.Rand) {
	if m.file == "" {
		time.Sleep(time.Duration(random.IntN(1500)) * time.Millisecond) // the moment is what is tested
		return
	}
	last, changes := stamp(filepath.Join(folder, m.file)), 1+random.IntN(4)
	for began := time.Now(); changes > 0 && time.Since(began) < 2*time.Second; time.Sleep(500 * time.Microsecond) {
		if now := stamp(filepath.Join(folder, m.file)); now != last {
			last = now
			changes--
		}
	}
}

func stamp(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprint(info.Size(), info.ModTime().UnixNano())
}

// killAtWork kills programs again and again, until the queue is over or it was often
// enough, and says how often at which moment.
func (k *killable) killAtWork(t *testing.T, random *rand.Rand, victims []string, over <-chan error) (count map[string]int, err error) {
	count = make(map[string]int)
	turn := map[string]int{portalName: random.IntN(len(portalMoments)), "prlagentd": random.IntN(len(agentMoments))}
	for kills := 0; ; {
		select {
		case err := <-over:
			return count, err
		default:
		}
		if kills >= max(4, len(k.queue)/2) {
			return count, <-over
		}
		victim := victims[random.IntN(len(victims))]
		moments, folder := agentMoments, k.mac
		if victim == portalName {
			moments, folder = portalMoments, k.portal
		}
		when := moments[turn[victim]%len(moments)]
		turn[victim]++
		when.await(folder, random)
		killed := []string{victim}
		if len(victims) > 1 && random.IntN(3) == 0 {
			killed = victims
		}
		for _, program := range killed {
			k.kill(program)
			count[program+" at "+when.name]++
			kills++
		}
		for _, program := range killed {
			k.launch(t, program)
		}
	}
}

// TestH22_H23_CMD12_PROTOCOL10_KilledInAQueue kills the real daemon, the real portal, and
// both, while a queue of mixed commands is ordered and carried out. What the portal says
// at the end is what the Mac says, and what happened on it: each effect once, or none
// and a failure.
func TestH22_H23_CMD12_PROTOCOL10_KilledInAQueue(t *testing.T) {
	t.Parallel()
	needProcesses(t)
	for name, victims := range map[string][]string{
		"the agent": {"prlagentd"}, "the portal": {portalName}, "both": {"prlagentd", portalName},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if slices.Contains(victims, "prlagentd") {
				needFindFiles(t)
			}
			k := newKillable(t)
			k.launch(t, portalName)
			k.launch(t, "prlagentd")
			if err := k.awaitRows(); err != nil {
				t.Fatal(err)
			}
			over := make(chan error, 1)
			began := time.Now()
			go func() { over <- k.orderAll() }()
			count, err := k.killAtWork(t, rand.New(rand.NewPCG(20261129, uint64(len(name)))), victims, over)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d commands in %s, confirmed %d times, killed: %v", len(k.queue), time.Since(began).Round(time.Second), k.confirmed, count)
			k.judge(t)
		})
	}
}

// needFindFiles skips a test where a daemon that was killed cannot tell what became of the
// files of a deletion: other accounts than root's may not find files by their numbers, and
// not every file system has an id that lasts.
func needFindFiles(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 || platform.VolumeID(os.TempDir()) == "" {
		t.Skip("files cannot be found by their numbers: run as root, with TMPDIR on ext4 or btrfs")
	}
}

// awaitRows waits until the portal has the machines.
func (k *killable) awaitRows() error {
	wanted := 0
	for _, one := range k.queue {
		if one.vm != "" && one.kind != "vm.unlock" {
			wanted++
		}
	}
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(50 * time.Millisecond) {
		var answer struct{ VMs []vmRow }
		if err := k.ask(&answer, portalName, "vms", "--json", "--dir", k.portal); err != nil {
			return err
		}
		if len(answer.VMs) != wanted {
			continue
		}
		var devices struct {
			Devices []struct {
				Serial string `json:"mac_serial"`
			}
		}
		err := k.ask(&devices, portalName, "devices", "--json", "--dir", k.portal)
		if err == nil && len(devices.Devices) == 1 {
			k.serial = devices.Devices[0].Serial
		}
		return err
	}
	return errors.New("the portal has not all machines")
}

// effect is one record of 'prlsim effects'.
type effect struct {
	Effect string
	By     string
	Name   string
}

// judge holds the portal's words, the Mac's words and what happened against each other.
func (k *killable) judge(t *testing.T) {
	t.Helper()
	portal, err := k.atPortal()
	if err != nil {
		t.Fatal(err)
	}
	var local struct{ Commands []commandState }
	var machines struct{ Rows []vmRow }
	var effects []effect
	waitUntil(t, func() bool { // the minimum gap holds, unless a person asks
		return exec.Command(filepath.Join(k.folder, "prlagent"), "checkin", "--wait", "--root", k.mac).Run() == nil
	})
	for _, err := range []error{
		k.ask(&local, "prlagent", "commands", "--json", "--root", k.mac),
		k.ask(&machines, "prlagent", "vms", "--json", "--root", k.mac),
		k.ask(&effects, "prlsim", "effects", "--json", "--mac", k.mac),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	onMac := make(map[string]commandState)
	for _, one := range local.Commands {
		onMac[one.ID] = one
	}
	ends := make(map[string]int)
	for _, one := range portal {
		if one.State == protocol.CommandUnknown { // it was not kept, and is known from the audit log
			ends[one.Type+" unknown"]++
			if mac, known := onMac[one.ID]; known {
				t.Errorf("%s: the portal does not know it, and the Mac has it: %+v", one.ID, mac)
			}
			continue
		}
		ends[strings.Join([]string{one.Type, one.State, one.Code}, " ")]++
		if mac := onMac[one.ID]; mac.State != one.State || mac.Code != one.Code {
			t.Errorf("%s %s: the portal says %s %s, the Mac %s %s", one.Type, one.VM, one.State, one.Code, mac.State, mac.Code)
		}
		if one.Receipt != "verified" {
			t.Errorf("%s %s: the receipt is %s", one.Type, one.VM, one.Receipt)
		}
		k.judgeOne(t, one, effects, machines.Rows)
	}
	done := make(map[string]int)
	for _, one := range effects {
		if one.By != "prlsim" {
			done[one.Effect]++
		}
	}
	t.Logf("ends: %v", ends)
	t.Logf("effects: %v", done)
	k.judgeAll(t, portal, ends)
}

// judgeOne compares the end of one command with what happened.
func (k *killable) judgeOne(t *testing.T, one commandState, effects []effect, rows []vmRow) {
	t.Helper()
	happened := func(what string) (count int) {
		for _, e := range effects {
			if e.Effect == what && e.By != "prlsim" && (one.VM == "" || e.Name == one.VM) {
				count++
			}
		}
		return count
	}
	i := slices.IndexFunc(rows, func(row vmRow) bool { return row.Name == one.VM })
	succeeded := one.State == protocol.CommandSucceeded
	expect := func(what string, isTrue bool) {
		t.Helper()
		if !isTrue {
			t.Errorf("%s %s is %s %s: %s", one.Type, one.VM, one.State, one.Code, what)
		}
	}
	wanted := 0
	if succeeded {
		wanted = 1
	}
	switch one.Type {
	case "vm.delete":
		expect(fmt.Sprintf("%d deletions", happened("delete")), happened("delete") == wanted)
		expect(fmt.Sprintf("it is in the list: %t", i >= 0), (i < 0) == succeeded)
		stops := happened("stop") + happened("stop --kill")
		expect(fmt.Sprintf("%d stops", stops), stops <= 1)
	case "vm.restart":
		restarts := happened("restart")
		expect(fmt.Sprintf("%d restarts", restarts), restarts == wanted || restarts == 1 && one.Code == string(protocol.CodeOutcomeUnknown))
	case "vm.lock":
		expect(fmt.Sprintf("%d suspensions", happened("suspend")), happened("suspend") <= 1)
		isHeld := !slices.ContainsFunc(k.queue, func(other ordered) bool { return other.kind == "vm.unlock" && other.vm == one.VM })
		if succeeded && isHeld {
			expect(fmt.Sprintf("%d suspensions", happened("suspend")), happened("suspend") == 1)
			expect("it is not suspended", i >= 0 && rows[i].State == "Suspended")
		}
	case "license.deactivate":
		expect(fmt.Sprintf("%d deactivations", happened("deactivate-license")), happened("deactivate-license") == wanted)
	}
}

// judgeAll sees that the queue was carried out, and that not all of it failed.
func (k *killable) judgeAll(t *testing.T, portal []commandState, ends map[string]int) {
	t.Helper()
	for _, one := range k.queue {
		if one.vm == "" {
			continue
		}
		count := 0
		for _, got := range portal {
			if got.Type == one.kind && got.VM == one.vm && got.State != protocol.CommandUnknown {
				count++
			}
		}
		if count != 1 {
			t.Errorf("%s %s: the portal has %d commands", one.kind, one.vm, count)
		}
	}
	succeeded := 0
	for end, count := range ends {
		if strings.Contains(end, " succeeded ") {
			succeeded += count
		}
	}
	if succeeded < len(portal)/2 {
		t.Errorf("only %d of %d commands succeeded", succeeded, len(portal))
	}
}
