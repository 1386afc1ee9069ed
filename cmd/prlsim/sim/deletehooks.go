package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// faultOnDelete lets something happen between the look of prlctl delete at a VM and
// its removal, once: so a script can race without being fast.
const faultOnDelete = "on_delete"

// deleteHooks are what can happen then. With done set the tool ends without removing
// anything itself.
var deleteHooks = map[string]func(m Mac, state *State, vm *VM) (done bool, err error){
	// The files go elsewhere: the tool removes what is there no more, and says so.
	"move": func(m Mac, state *State, vm *VM) (bool, error) {
		to, err := m.renameBundle(vm, state.homeOf(vm.Owner)+"/Moved")
		if err == nil && state.assumes("missing_bundle", "followed") {
			vm.Bundle = to
		}
		return false, err
	},
	"trash": func(m Mac, state *State, vm *VM) (bool, error) {
		_, err := m.renameBundle(vm, state.homeOf(vm.Owner)+trashFolder)
		return false, err
	},
	"hardlink": func(m Mac, state *State, vm *VM) (bool, error) {
		_, err := m.linkDisks(vm, state.homeOf(vm.Owner)+"/Kept")
		return false, err
	},
	"reregister": func(m Mac, state *State, vm *VM) (bool, error) {
		return false, m.reregister(state, vm, state.homeOf(vm.Owner)+"/Elsewhere", true)
	},
	"restore": func(m Mac, state *State, vm *VM) (bool, error) { return false, m.restoreBundle(vm) },
	"unmount": func(m Mac, state *State, vm *VM) (bool, error) {
		before := vm.State
		err := m.setMounted(state, vm, false)
		vm.State, vm.StateBefore = before, "" // the tool has looked before
		return false, err
	},
	"start": func(m Mac, state *State, vm *VM) (bool, error) {
		state.actor = actor{"person", vm.Owner}
		return false, m.applyTransition(state, vm, transitions["start"])
	},
	"copy": func(m Mac, state *State, vm *VM) (bool, error) {
		return false, m.copyBundle(vm.Bundle, m.freePath(state.homeOf(vm.Owner)+"/Copies", baseName(vm.Bundle)))
	},
	"stop_service": func(_ Mac, state *State, _ *VM) (bool, error) {
		state.Faults = append(state.Faults, activeFault{Name: "service_down"})
		return true, nil
	},
}

const trashFolder = "/.Trash"

func baseName(macPath string) string { return macPath[strings.LastIndex(macPath, "/")+1:] }

func deleteHookNames() string { return strings.Join(slices.Sorted(maps.Keys(deleteHooks)), ", ") }

// checkDeleteHook refuses the value of the fault that names none of them.
func checkDeleteHook(value string) error {
	if _, known := deleteHooks[value]; !known {
		return fmt.Errorf("%w: fault %s takes one of %s, not %q", errUsage, faultOnDelete, deleteHookNames(), value)
	}
	return nil
}

// runDeleteHook lets happen what the fault says, and ends the fault.
func (m Mac) runDeleteHook(state *State, vm *VM, account string) (done bool, err error) {
	index := slices.IndexFunc(state.Faults, func(fault activeFault) bool {
		return fault.Name == faultOnDelete && (fault.User == "" || fault.User == account)
	})
	if index < 0 {
		return false, nil
	}
	hook := deleteHooks[state.Faults[index].Value]
	state.Faults = slices.Delete(state.Faults, index, index+1)
	made := state.actor
	done, err = hook(m, state, vm)
	state.actor = made
	return done, err
}
