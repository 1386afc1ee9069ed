package sim

import (
	"fmt"
	"strings"
)

// Faults of the actions that change the state of a VM, remove it or take the license
// away. Their exit codes lie both ways (facts/prlctl.md 1.2 and 5).
const (
	faultActionDone      = "action_fails_but_done"
	faultActionNotDone   = "action_ok_but_not_done"
	faultActionHangs     = "action_hangs"
	faultActionHangsDone = "action_hangs_when_done"
	faultBusy            = "vm_busy"
)

// actionsValue is the value of a fault that hits actions, and faultyActions are those.
const actionsValue = "actions with commas between, or any"

var faultyActions = []string{"start", "stop", "suspend", "resume", "pause", "restart", "reset", "delete", "deactivate-license"}

// errCanceled is the text of an action whose end is open: it may have worked
// (facts/prlctl.md 1.2).
const errCanceled toolError = "Operation canceled."

// errBusy is the refusal of a VM that something else works on just now. The captured
// text names what (facts/prlctl.md 5); here nothing does.
const errBusy toolError = "Unable to perform the action because the virtual machine is busy. Please try again later."

// refusals are the faults because of which one action on a VM is refused, with its text.
// That of a guest that does not go down is captured (facts/prlctl.md 5); a snapshot's
// is built like that of cloning; the other two are invented.
var refusals = []struct {
	fault, action string
	text          toolError
}{
	{"guest_ignores_stop", "stop", errCanceled},
	{"guest_ignores_restart", "restart", errCanceled},
	{"suspend_guest", "suspend", "The guest operating system does not allow the virtual machine to be suspended."},
	{"suspend_disk", "suspend", "There is not enough free disk space to save the state of the virtual machine."},
	{"suspend_snapshot", "suspend", "Unable to perform the action because the virtual machine is busy. A snapshot of the virtual machine is being created. Please try again later."},
}

// checkRefusals refuses what the faults say. A kill asks no guest.
func (in *invocation) checkRefusals(effect string) error {
	busy, err := in.mac.useFault(in.state, faultBusy, in.caller)
	switch {
	case err != nil:
		return err
	case busy:
		return errBusy
	}
	for _, refusal := range refusals {
		if refusal.action == effect && in.state.hasFault(refusal.fault, in.caller) {
			return refusal.text
		}
	}
	return nil
}

// act carries out an action of the tool as the faults say, and prints how it ended:
// fail that it did not work.
func (in *invocation) act(action, success string, fail func(error) int, apply func(*State) error) int {
	if in.hits(faultActionHangs, action) {
		in.blockFor(0)
	}
	if !in.hits(faultActionNotDone, action) {
		if err := in.change(apply); err != nil {
			return fail(err)
		}
	}
	switch {
	case in.hits(faultActionHangsDone, action):
		in.blockFor(0)
	case in.hits(faultActionDone, action):
		return fail(errCanceled)
	}
	in.printLinef("%s", success)
	return 0
}

// changeVMState carries out one of the transitions.
func changeVMState(in *invocation, name string, arguments []string) int {
	target, err := in.targetVM(in.state, arguments)
	if err != nil {
		return in.failWith(err)
	}
	rule := strings.Join(append([]string{name}, arguments[1:]...), " ")
	action, known := transitions[rule]
	if !known {
		return in.failf(exitRefused, "Unrecognized option: %s", arguments[1])
	}
	fail := func(err error) int { return in.failAction(action.infinitive, err) }
	err = in.checkAction(target)
	if err == nil {
		err = in.checkRefusals(action.effect)
	}
	if err != nil {
		return fail(err)
	}
	in.printLinef("%s", action.progress)
	return in.act(name, action.successText(rule, in.state), fail, func(state *State) error {
		vm, err := in.targetVM(state, arguments)
		if err != nil {
			return err
		}
		return in.mac.applyTransition(state, vm, action)
	})
}

// successText is the last line of an action. All are the ancestor's (acting.md 1).
func (t transition) successText(rule string, s *State) string {
	if rule == "stop --kill" && s.assumes("kill_text", "forcibly") {
		return "The VM has been forcibly stopped"
	}
	return "The VM has been successfully " + t.participle + "."
}

// deleteVM asks before it removes a stopped VM and its files (facts/prlctl.md 1.2). It
// takes y; that it has a -f is not known (acting.md 1), so here it has none.
func deleteVM(in *invocation, arguments []string) int {
	vm, err := in.targetVM(in.state, arguments)
	if err != nil {
		return in.failWith(err)
	}
	if len(arguments) > 1 {
		return in.failf(exitRefused, "Unrecognized option: %s", arguments[1])
	}
	fail := func(err error) int { return in.failAction("remove", err) }
	if err := in.checkDeletion(vm); err != nil {
		return fail(err)
	}
	if in.asksBeforeDelete() {
		fmt.Fprintf(in.stdout, "Are you sure you want to delete the virtual machine \"%s\"? (y/n): ", vm.Name)
		if answer := in.readLine(); answer != "y" && answer != "Y" {
			return in.failf(exitRefused, "Operation canceled.")
		}
	}
	in.printLinef("Removing the VM...")
	return in.act("delete", "The VM has been successfully removed.", fail, func(state *State) error {
		vm, err := in.targetVM(state, arguments)
		if err != nil {
			return err
		}
		// What happens between the look at a VM and its removal.
		if done, err := in.mac.runDeleteHook(state, vm, in.caller); err != nil || done {
			return err
		}
		if err := state.checkRemovable(vm); err != nil {
			return refusedAfterChange{err}
		}
		return in.mac.removeVM(state, vm)
	})
}

// checkDeletion is what comes before the question.
func (in *invocation) checkDeletion(vm *VM) error {
	if err := in.checkAction(vm); err != nil {
		return err
	}
	if err := in.checkHostPassword("remove-vm", "remove a virtual machine"); err != nil {
		return err
	}
	return in.checkRefusals("delete")
}

func (in *invocation) asksBeforeDelete() bool {
	return in.state.assumes("delete_prompt", "always") || isTerminal(in.stdin)
}
