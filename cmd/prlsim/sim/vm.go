package sim

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// transition is one action on a VM: the states it may start from, the state it
// ends in, and its words. The texts are by analogy with the tool's ancestor
// (facts/prlctl.md 5, rows "[I]").
type transition struct {
	effect     string // as it is recorded
	from       []string
	to         string
	progress   string // first line of output
	participle string // participle of the success line
	infinitive string // infinitive of the error line
}

// transitions holds the actions by name, and by "name flag" where a flag
// changes the rule (facts/prlctl.md 1.2). Starting a suspended VM resumes it. That a
// kill of a VM has a text of its own is inferred (acting.md 1), and so is what a stop
// or pause by ACPI, a restart and a reset need.
var transitions = map[string]transition{
	"start":             {"start", []string{"stopped", "suspended"}, "running", "Starting the VM...", "started", "start"},
	"stop":              {"stop", []string{"running"}, "stopped", "Stopping the VM...", "stopped", "stop"},
	"stop --acpi":       {"stop", []string{"running"}, "stopped", "Stopping the VM...", "stopped", "stop"},
	"stop --kill":       {"stop --kill", []string{"running", "paused"}, "stopped", "Stopping the VM...", "stopped", "stop"},
	"stop --drop-state": {"stop --drop-state", []string{"suspended"}, "stopped", "Stopping the VM...", "stopped", "stop"},
	"suspend":           {"suspend", []string{"running", "paused"}, "suspended", "Suspending the VM...", "suspended", "suspend"},
	"resume":            {"resume", []string{"suspended", "paused"}, "running", "Resuming the VM...", "resumed", "resume"},
	"pause":             {"pause", []string{"running"}, "paused", "Pausing the VM...", "paused", "pause"},
	"pause --acpi":      {"pause", []string{"running"}, "paused", "Pausing the VM...", "paused", "pause"},
	"restart":           {"restart", []string{"running"}, "running", "Restarting the VM...", "restarted", "restart"},
	"reset":             {"reset", []string{"running", "paused"}, "running", "Resetting the VM...", "reset", "reset"},
}

// errWrongState is the refusal of an action that the VM's state does not allow.
const errWrongState toolError = "Unable to perform the action because the virtual machine is not in the required state"

// hasProcess reports whether the VM has a process.
func (vm *VM) hasProcess() bool { return vm.State == "running" || vm.State == "paused" }

// applyTransition carries a transition out on a VM of the state, with its
// process, bundle and event.
func (m Mac) applyTransition(state *State, vm *VM, action transition) error {
	if !slices.Contains(action.from, vm.State) {
		return fmt.Errorf("%w: it is %s", errWrongState, vm.State)
	}
	if vm.Packed && action.to == "running" { // it must be unpacked first, facts/prlctl.md 8
		return toolErrorf("Unable to perform the action because the virtual machine is packed.") // the text is invented
	}
	state.addEffect(action.effect, vm, "")
	if action.effect == "restart" || action.effect == "reset" {
		return m.restartGuest(state, vm)
	}
	if word, has := transitionalStates[[2]string{vm.State, action.to}]; has {
		state.addEvent(vm, "vm_state_changed", word)
	}
	return m.setVMState(state, vm, action.to)
}

// transitionalStates are the words for the time between two states, which
// events tell (facts/prlctl.md 3). The vocabulary is that of 2.3; which word
// belongs to which change is inferred from their meaning.
var transitionalStates = map[[2]string]string{
	{"stopped", "running"}:   "starting",
	{"suspended", "running"}: "resuming",
	{"paused", "running"}:    "continuing",
	{"running", "stopped"}:   "stopping",
	{"paused", "stopped"}:    "stopping",
	{"running", "suspended"}: "suspending",
	{"paused", "suspended"}:  "suspending",
	{"running", "paused"}:    "pausing",
}

// restartGuest starts the guest anew. Which events tell of it, and whether the VM has
// another process afterwards, is not known; the words are those of facts/prlctl.md 2.3.
func (m Mac) restartGuest(state *State, vm *VM) error {
	if state.assumes("restart_process", "new") {
		vm.PID = 0
	}
	vm.State = "stopped"
	state.noteStart(vm, time.Now(), false)
	vm.State = "running"
	if err := m.syncVMProcess(state, vm); err != nil {
		return err
	}
	if state.assumes("restart_events", "states") {
		state.addEvent(vm, "vm_state_changed", "resetting")
		state.addEvent(vm, "vm_state_changed", "running")
	}
	return m.writeBundle(state, vm)
}

// setVMState puts the VM into a state, without rules.
func (m Mac) setVMState(state *State, vm *VM, to string) error {
	before := *vm
	vm.State = to
	if to == "running" && !before.hasProcess() {
		state.noteStart(vm, time.Now(), before.State == "suspended")
	}
	if err := m.syncVMProcess(state, vm); err != nil {
		return err
	}
	state.addEvent(vm, "vm_state_changed", to)
	return m.writeBundle(state, vm)
}

// noteStart keeps what a start changes, beside the process. The Tools of a VM
// that is resumed run already.
func (s *State) noteStart(vm *VM, now time.Time, resumed bool) {
	if !vm.Started && vm.Tools != "none" && vm.ToolsBuild == "" {
		vm.ToolsBuild = s.Product.Version
	}
	vm.Started, vm.StartedAt = true, now.Format(time.DateTime)
	vm.ToolsReadyAt = time.Time{}
	if vm.Tools != "none" && !resumed && s.assumes("tools_after_start", "later") {
		vm.ToolsReadyAt = now.Add(toolsDelay)
	}
}

// toolsDelay is how long the Tools of a VM that was just started have not
// reported yet. A list 7 s after a start showed it (captures.md 2); how long it
// lasts is not known.
const toolsDelay = 10 * time.Second

// areToolsReady reports whether the Tools have reported since the last start.
func (s *State) areToolsReady(vm *VM, now time.Time) bool { return !now.Before(vm.ToolsReadyAt) }

// haveToolsReported reports whether they have ever done so. On a Mac without
// processes nobody would write it down later, so there a start is enough.
func (s *State) haveToolsReported(vm *VM) bool {
	return vm.ToolsReported || s.NoProcesses || s.areToolsReady(vm, time.Now())
}

// reportTools makes the Tools of a VM report now.
func (m Mac) reportTools(state *State, vm *VM) error {
	vm.ToolsReadyAt, vm.ToolsReported = time.Time{}, true
	state.addEvent(vm, "vm_tools_state_changed", "")
	return m.writeBundle(state, vm)
}

// syncVMProcess starts the VM's process if it needs one. A process that is no
// longer needed ends by itself.
func (m Mac) syncVMProcess(state *State, vm *VM) error {
	switch {
	case !vm.hasProcess():
		vm.PID = 0
	case vm.PID == 0 && !state.NoProcesses:
		pid, err := m.startVMApp(state, vm)
		if err != nil {
			return err
		}
		vm.PID = pid
	}
	return nil
}

// errBusyRunning is what delete says of a VM that runs. It stands in code of others
// that works against the real tool, and is built like the captured text of a VM that
// is cloned (facts/prlctl.md 5).
const errBusyRunning toolError = "Unable to perform the action because the virtual machine is busy. The virtual machine is currently running. Please try again later."

// checkRemovable refuses the deletion of a VM that runs. Whether a suspended one, an
// invalid one, or one with linked clones can be deleted is not known.
func (s *State) checkRemovable(vm *VM) error {
	switch {
	case vm.hasProcess():
		return errBusyRunning
	case vm.State == "suspended" && s.assumes("delete_suspended", "works"):
	case vm.State == "invalid" && s.assumes("delete_invalid", "works"):
	case vm.State != "stopped":
		return fmt.Errorf("%w: it is %s", errWrongState, vm.State)
	}
	if len(s.clonesOf(vm)) > 0 && s.assumes("delete_parent", "refused") {
		return toolErrorf("Unable to perform the action because the virtual machine has linked clones.") // invented
	}
	return nil
}

// clonesOf are the linked clones that need the VM's disks.
func (s *State) clonesOf(vm *VM) []*VM {
	var clones []*VM
	for _, other := range s.VMs {
		if other.LinkedTo == vm.ID && other.Owner == vm.Owner {
			clones = append(clones, other)
		}
	}
	return clones
}

// removeVM deletes a VM and its files (facts/prlctl.md 1.2: delete removes files).
// Linked clones of it break (facts/prlctl.md 8).
func (m Mac) removeVM(state *State, vm *VM) error {
	if err := state.checkRemovable(vm); err != nil {
		return err
	}
	if err := os.RemoveAll(m.Path(vm.Bundle)); err != nil {
		return fmt.Errorf("remove bundle: %w", err)
	}
	for _, name := range deletionEvents[state.assumedValue("delete_events")] {
		state.addEvent(vm, name, "")
	}
	for _, clone := range state.clonesOf(vm) {
		if err := m.setVMState(state, clone, "invalid"); err != nil {
			return err
		}
	}
	state.addEffect("delete", vm, vm.Bundle)
	state.forgetVM(vm)
	return nil
}

// forgetVM takes a VM out of the directory; another account may have one with the
// same id.
func (s *State) forgetVM(vm *VM) {
	s.stopStarting(vm)
	s.VMs = slices.DeleteFunc(s.VMs, func(other *VM) bool { return other == vm })
}

// deletionEvents are what a deletion tells, by the assumption delete_events.
var deletionEvents = map[string][]string{
	"deleted": {"vm_deleted"}, "unregistered": {"vm_unregistered"}, "both": {"vm_unregistered", "vm_deleted"},
}

// unregisterVM takes a stopped or invalid VM out of the directory and keeps its files
// (facts/prlctl.md 1.2 and 2.8).
func (m Mac) unregisterVM(state *State, vm *VM) error {
	if vm.State != "stopped" && vm.State != "invalid" {
		return fmt.Errorf("%w: it is %s", errWrongState, vm.State)
	}
	state.addEvent(vm, "vm_unregistered", "")
	state.addEffect("unregister", vm, vm.Bundle)
	state.Unregistered = append(state.Unregistered, vm)
	state.forgetVM(vm)
	return nil
}

// newVMOptions describes a VM to create.
type newVMOptions struct {
	ID           string // empty: a new one
	Name         string // empty: the system's name
	OS           string
	Owner        string
	Shared       bool
	State        string // stopped (empty), running or suspended
	NeverStarted bool
	Tools        string // installed (empty), outdated, none
	Encrypted    bool
	Description  string
}

// createVM registers a VM and makes its bundle.
func (m Mac) createVM(state *State, wanted newVMOptions) (*VM, error) {
	system, err := guestSystem(wanted.OS)
	if err != nil {
		return nil, err
	}
	if err := state.checkNewVM(&wanted, system); err != nil {
		return nil, err
	}
	purpose := state.nextID("vm")
	vm := &VM{
		ID: cmp.Or(wanted.ID, seededUUID(state.Seed, purpose)), Name: wanted.Name, Description: wanted.Description,
		Owner: wanted.Owner, Shared: wanted.Shared, OS: wanted.OS, State: wanted.State,
		Tools: wanted.Tools, Encrypted: wanted.Encrypted, Started: !wanted.NeverStarted,
		MAC:     state.seededMAC(purpose),
		Address: fmt.Sprintf("10.211.55.%d", 3+state.Counter%250),
	}
	vm.Bundle = m.newBundle(state, vm)
	if vm.Started {
		vm.Uptime, vm.StartedAt, vm.ToolsReported = 36000+1000*state.Counter, "2026-11-20 08:15:00", true
		vm.ToolsBuild = toolsBuild(vm.Tools, state.Product.Version)
	}
	state.VMs = append(state.VMs, vm)
	if err := m.syncVMProcess(state, vm); err != nil {
		return nil, err
	}
	state.addEvent(vm, "vm_added", "")
	return vm, m.writeBundle(state, vm)
}

// toolsBuild is the version of the Tools in a VM that was once started.
func toolsBuild(tools, product string) string {
	switch tools {
	case "none":
		return ""
	case "outdated":
		return "20.1.1-55740"
	}
	return product
}

// checkNewVM fills defaults in and refuses what does not fit together.
func (s *State) checkNewVM(wanted *newVMOptions, system guestOS) error {
	if wanted.Name == "" {
		wanted.Name = system.name
	}
	if wanted.State == "" {
		wanted.State = "stopped"
	}
	if wanted.Tools == "" {
		wanted.Tools = "installed"
	}
	if _, ok := s.userByName(wanted.Owner); !ok {
		return fmt.Errorf("no user %q on this Mac", wanted.Owner)
	}
	if strings.ContainsAny(wanted.Name, "/\x00") || len(wanted.Name) > 200 {
		return fmt.Errorf("%w: a name has at most 200 bytes and no slash", errUsage)
	}
	if !slices.Contains([]string{"stopped", "running", "suspended"}, wanted.State) {
		return fmt.Errorf("%w: state is stopped, running or suspended", errUsage)
	}
	if !slices.Contains(toolsStates, wanted.Tools) {
		return fmt.Errorf("%w: tools is one of %s", errUsage, strings.Join(toolsStates, ", "))
	}
	if wanted.NeverStarted && wanted.State != "stopped" {
		return fmt.Errorf("%w: a VM that was never started is stopped", errUsage)
	}
	return nil
}

var toolsStates = []string{"installed", "outdated", "none"}

// newBundle picks a folder that does not exist yet.
func (m Mac) newBundle(state *State, vm *VM) string {
	home := sharedVMHome
	if !vm.Shared {
		home = state.homeOf(vm.Owner) + "/Parallels"
	}
	extension := state.bundleExtension(vm)
	bundle := home + "/" + vm.Name + extension
	for i := 1; ; i++ {
		if _, err := os.Lstat(m.Path(bundle)); errors.Is(err, os.ErrNotExist) {
			return bundle
		}
		bundle = fmt.Sprintf("%s/%s (%d)%s", home, vm.Name, i, extension)
	}
}

// bundleExtension is what the folder of a VM ends in.
func (s *State) bundleExtension(vm *VM) string {
	if vm.OS == "macosx" && !s.Intel {
		return ".macvm"
	}
	return ".pvm"
}

// vmSetters are the short names of `vm set NAME=VALUE`; every other name is a
// path into the VM's document.
var vmSetters = map[string]func(vm *VM, value string) error{
	"name":        func(vm *VM, value string) error { vm.Name = value; return nil },
	"description": func(vm *VM, value string) error { vm.Description = value; return nil },
	"tools-build": func(vm *VM, value string) error { vm.ToolsBuild = value; return nil },
	"encrypted": func(vm *VM, value string) error {
		if !slices.Contains([]string{"yes", "no", "license"}, value) {
			return fmt.Errorf("%w: encrypted is yes, no or license", errUsage)
		}
		vm.Encrypted, vm.ByLicense = value != "no", value == "license"
		return nil
	},
	"tools": func(vm *VM, value string) error {
		if !slices.Contains(toolsStates, value) {
			return fmt.Errorf("%w: tools is one of %s", errUsage, strings.Join(toolsStates, ", "))
		}
		vm.Tools, vm.ToolsReadyAt, vm.ToolsReported = value, time.Time{}, vm.Started
		return nil
	},
	"address": func(vm *VM, value string) error {
		if _, err := netip.ParseAddr(value); err != nil {
			return fmt.Errorf("%w: %q is no IP address", errUsage, value)
		}
		vm.Address = value
		return nil
	},
	"guest-build": func(vm *VM, value string) (err error) { vm.GuestBuild, err = parsePositive(value); return err },
	"adapters": func(vm *VM, value string) error {
		count, err := parsePositive(value)
		if err != nil || count > 16 {
			return fmt.Errorf("%w: a VM has 1 to 16 adapters here", errUsage)
		}
		vm.Adapters = nil
		for number := range count {
			vm.Adapters = append(vm.Adapters, number)
		}
		return nil
	},
	"product-edition": func(vm *VM, value string) (err error) { vm.ProductEdition, err = parsePositive(value); return err },
}

func parsePositive(value string) (int, error) {
	number, err := strconv.Atoi(value)
	if err != nil || number < 1 {
		return 0, fmt.Errorf("%w: %q is no number above 0", errUsage, value)
	}
	return number, nil
}

// configureVM changes one setting, given as NAME=VALUE, and tells the monitors.
func (m Mac) configureVM(state *State, vm *VM, setting string, addKey bool) error {
	name, value, ok := strings.Cut(setting, "=")
	if !ok || name == "" {
		return fmt.Errorf("%w: %q is not NAME=VALUE", errUsage, setting)
	}
	if err := state.changeByHand(vm, name, value, addKey); err != nil {
		return err
	}
	if err := m.commitSettings(state, vm); err != nil {
		return err
	}
	if name == "tools" || name == "tools-build" {
		state.addEvent(vm, "vm_tools_state_changed", "")
	}
	return nil
}

// changeByHand changes what a person can: by a short name, an adapter's name, the
// name of a flag of prlctl set without its dashes, or a path in the list.
func (s *State) changeByHand(vm *VM, name, value string, addKey bool) error {
	at := findFlag("--" + name)
	set, short := vmSetters[name]
	_, isAdapter := adapterNumber(name)
	switch {
	case short:
		return set(vm, value)
	case isAdapter && vm.hasAdapter(name):
		return s.adapterByHand(vm, name, value)
	case at < 0:
		return s.overrideSetting(vm, name, value, addKey || isAdapterExtra(vm, name))
	case !setFlags[at].acceptsValue(value):
		return fmt.Errorf("%w: %s is one of %s", errUsage, name, setFlags[at].values)
	}
	return s.changeSetting(vm, flagValue{flag: setFlags[at], value: value})
}

// isAdapterExtra reports whether a path is a key of an adapter that the list
// shows only where it says something.
func isAdapterExtra(vm *VM, name string) bool {
	device, key := path.Split(strings.TrimPrefix(name, "Hardware/"))
	return (key == "state" || key == "iface") && vm.hasAdapter(strings.TrimSuffix(device, "/"))
}

func (s *State) overrideSetting(vm *VM, setting, value string, addKey bool) error {
	document, err := s.sectionedDocument(vm, false)
	if err != nil {
		return err
	}
	if _, err := applySetting(document, setting, value, addKey); err != nil {
		return err
	}
	if vm.Settings == nil {
		vm.Settings = map[string]any{}
	}
	if setting == "Miscellaneous Sharing/Shared clipboard" { // the older name of one setting
		setting = "Miscellaneous Sharing/Shared clipboard mode"
	}
	vm.Settings[setting] = value
	return nil
}

// knownStates is the vocabulary of facts/prlctl.md 2.3.
var knownStates = []string{
	"stopped", "running", "suspended", "paused", "invalid", "starting", "restoring", "resetting", "pausing",
	"suspending", "stopping", "compacting", "snapshoting", "continuing", "migrating", "del_snapshot", "resuming",
	"syncing", "reconnecting", "mounted", "cloning", "unknown",
}
