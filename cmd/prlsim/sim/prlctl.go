package sim

import (
	"bufio"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// prlctl plays the command line of the virtual machines.
func prlctl(in *invocation) int {
	if len(in.args) == 0 {
		return in.fail(exitRefused, "Usage: prlctl <action> <ID | NAME> [options]")
	}
	action, arguments := in.args[0], in.args[1:]
	if action == "--version" {
		version, build := in.state.Product.parts()
		in.say("prlctl version %s (%s)", version, build) // facts/prlctl.md 1.1
		return 0
	}
	if in.state.assumes("help_without_service", "works") {
		if code, answered := in.wantsHelp(); answered {
			return code
		}
	}
	if code, stop := in.suffer(); stop {
		return code
	}
	if code, answered := in.wantsHelp(); answered {
		return code
	}
	in.misjudge()
	switch action {
	case "list":
		return list(in, arguments)
	case "start", "stop", "suspend", "resume", "pause":
		return act(in, action, arguments)
	case "set":
		return setVM(in, arguments)
	case "delete":
		return deleteVM(in, arguments)
	case "status":
		return status(in, arguments)
	case "monitor-events":
		return monitorEvents(in, arguments)
	}
	return in.fail(exitRefused, "Unrecognized option: %s", action)
}

// misjudge makes every VM with a process look stopped to its user who is logged
// in but asks from outside of that session, where the Mac is assumed to do so
// (facts/prlctl.md 5.4). It changes only what this run has read.
func (in *invocation) misjudge() {
	user, known := in.state.user(in.caller)
	if !known || !user.LoggedIn || in.session == user.UID || in.state.assumes("plain_sudo", "true_states") {
		return
	}
	for _, vm := range in.state.visibleTo(in.caller) {
		if vm.active() {
			vm.State = "stopped"
		}
	}
}

// target takes the VM's id or name from the first argument. Options come after
// it (facts/prlctl.md 1.2).
func (in *invocation) target(state *State, arguments []string) (*VM, error) {
	if len(arguments) == 0 {
		return nil, errNotFound
	}
	vm, err := findVM(state.visibleTo(in.caller), arguments[0])
	if err != nil {
		return nil, errNotFound
	}
	return vm, nil
}

// refusal is an error in the tool's own words.
type refusal string

func (r refusal) Error() string { return string(r) }

func refusef(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

// errNotFound is the text for a VM that is not in the caller's directory
// (facts/prlctl.md 5).
const errNotFound refusal = "Failed to get VM config: The virtual machine could not be found. " +
	"The virtual machine is not registered in the virtual machine directory on your Mac. " +
	"Contact the Parallels support team for assistance."

// refuse prints an error and returns its exit code.
func (in *invocation) refuse(err error) int {
	if errors.Is(err, errNotFound) && in.state.assumes("not_found_exit", "1") {
		return in.fail(1, "%v", err)
	}
	return in.fail(exitRefused, "%v", err)
}

// act carries out one of the transitions.
func act(in *invocation, name string, arguments []string) int {
	if _, err := in.target(in.state, arguments); err != nil {
		return in.refuse(err)
	}
	rule := strings.Join(append([]string{name}, arguments[1:]...), " ")
	action, known := transitions[rule]
	if !known {
		return in.fail(exitRefused, "Unrecognized option: %s", arguments[1])
	}
	in.say("%s", action.doing)
	err := in.mac.Update(func(state *State) error {
		vm, err := in.target(state, arguments)
		if err != nil {
			return err
		}
		return in.mac.perform(state, vm, action)
	})
	if err != nil {
		return in.refuse(refusef("Failed to %s the VM: %v", action.failing, err))
	}
	in.say("The VM has been successfully %s.", action.done)
	return 0
}

// deleteVM asks before it removes a stopped VM and its files
// (facts/prlctl.md 1.2).
func deleteVM(in *invocation, arguments []string) int {
	vm, err := in.target(in.state, arguments)
	if err != nil {
		return in.refuse(err)
	}
	if len(arguments) > 1 {
		return in.fail(exitRefused, "Unrecognized option: %s", arguments[1])
	}
	if in.asksBeforeDelete() {
		fmt.Fprintf(in.stdout, "Are you sure you want to delete the virtual machine \"%s\"? (y/n): ", vm.Name)
		line, _ := bufio.NewReader(in.stdin).ReadString('\n') // an ended input answers nothing
		if answer := strings.TrimSpace(line); answer != "y" && answer != "Y" {
			return in.fail(exitRefused, "Operation canceled.")
		}
	}
	in.say("Removing the VM...")
	err = in.mac.Update(func(state *State) error {
		vm, err := in.target(state, arguments)
		if err != nil {
			return err
		}
		return in.mac.remove(state, vm)
	})
	if err != nil {
		return in.refuse(refusef("Failed to remove the VM: %v", err))
	}
	in.say("The VM has been successfully removed.")
	return 0
}

func (in *invocation) asksBeforeDelete() bool {
	if in.state.assumes("delete_prompt", "always") {
		return true
	}
	return isTerminal(in.stdin)
}

// status prints one line of text (facts/prlctl.md 1.2).
func status(in *invocation, arguments []string) int {
	vm, err := in.target(in.state, arguments)
	if err != nil {
		return in.refuse(err)
	}
	if len(arguments) > 1 {
		return in.fail(exitRefused, "Unrecognized option: %s", arguments[1])
	}
	in.say("VM \"%s\" exist %s", vm.Name, vm.State)
	return 0
}

// listOptions are the options of `prlctl list` that the simulated tool knows.
type listOptions struct {
	all, info, json, full, noHeader, template bool
	fields                                    []string
	id                                        string
}

// parseList reads `list [ID] [options]`.
func (in *invocation) parseList(arguments []string) (options listOptions, err error) {
	switches := map[string]*bool{
		"-a": &options.all, "--all": &options.all, "-i": &options.info, "--info": &options.info,
		"-j": &options.json, "--json": &options.json, "-f": &options.full, "--full": &options.full,
		"-t": &options.template, "--template": &options.template, "-H": &options.noHeader, "--no-header": &options.noHeader,
	}
	options.fields = []string{"uuid", "status", "ip_configured", "name"}
	for i := 0; i < len(arguments); i++ {
		argument := arguments[i]
		on, known := switches[argument]
		switch {
		case known:
			*on = true
		case argument == "-o" || argument == "--output":
			if i++; i == len(arguments) {
				return options, refusef("Option requires an argument: %s", argument)
			}
			options.fields = strings.Split(arguments[i], ",")
		case strings.HasPrefix(argument, "-") || options.id != "":
			return options, refusef("Unrecognized option: %s", argument)
		case i > 0 && in.state.assumes("options_before_id", "refused"):
			return options, errNotFound
		default:
			options.id = argument
		}
	}
	return options, checkFields(options.fields)
}

var listFields = []string{"uuid", "status", "ip_configured", "name", "dist", "type"}

func checkFields(fields []string) error {
	for _, name := range fields {
		if !slices.Contains(listFields, name) {
			return refusef("Unknown field name: %s", name)
		}
	}
	return nil
}
