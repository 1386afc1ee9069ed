package sim

import (
	"bufio"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// notFound is the text for a VM that is not in the caller's directory
// (facts/prlctl.md 5).
const notFound = "Failed to get VM config: The virtual machine could not be found. " +
	"The virtual machine is not registered in the virtual machine directory on your Mac. " +
	"Contact the Parallels support team for assistance."

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
	if code, stop := in.suffer(); stop {
		return code
	}
	switch action {
	case "list":
		return list(in, arguments)
	case "start", "stop", "suspend", "resume", "pause":
		return act(in, action, arguments)
	case "delete":
		return deleteVM(in, arguments)
	case "status":
		return status(in, arguments)
	}
	return in.fail(exitRefused, "Unrecognized option: %s", action)
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

var errNotFound = errors.New(notFound)

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
		return in.refuse(fmt.Errorf("Failed to %s the VM: %w", action.failing, err)) //nolint:staticcheck // the tool's text
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
		fmt.Fprintf(in.stdout, "Are you sure you want to delete the virtual machine %q? (y/n): ", vm.Name)
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
		return in.refuse(fmt.Errorf("Failed to remove the VM: %w", err)) //nolint:staticcheck // the tool's text
	}
	in.say("The VM has been successfully removed.")
	return 0
}

func (in *invocation) asksBeforeDelete() bool {
	if in.state.assumes("delete_prompt", "always") {
		return true
	}
	file, ok := in.stdin.(interface{ Fd() uintptr })
	if !ok {
		return false
	}
	_, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	return err == nil
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
	in.say("VM %q exist %s", vm.Name, vm.State)
	return 0
}

// listOptions are the options of `prlctl list` that the simulated tool knows.
type listOptions struct {
	all, info, json, noHeader, template bool
	fields                              []string
	id                                  string
}

// parseList reads `list [ID] [options]`.
func (in *invocation) parseList(arguments []string) (options listOptions, err error) {
	options.fields = []string{"uuid", "status", "ip_configured", "name"}
	optionSeen := false
	for i := 0; i < len(arguments); i++ {
		switch argument := arguments[i]; argument {
		case "-a", "--all":
			options.all, optionSeen = true, true
		case "-i", "--info":
			options.info, optionSeen = true, true
		case "-j", "--json":
			options.json, optionSeen = true, true
		case "-f", "--full":
			optionSeen = true
		case "-t", "--template":
			options.template, optionSeen = true, true
		case "-H", "--no-header":
			options.noHeader, optionSeen = true, true
		case "-o", "--output":
			if i++; i == len(arguments) {
				return options, fmt.Errorf("Option requires an argument: %s", argument) //nolint:staticcheck // the tool's text
			}
			options.fields, optionSeen = strings.Split(arguments[i], ","), true
			if err := checkFields(options.fields); err != nil {
				return options, err
			}
		default:
			if strings.HasPrefix(argument, "-") {
				return options, fmt.Errorf("Unrecognized option: %s", argument) //nolint:staticcheck // the tool's text
			}
			if options.id != "" {
				return options, fmt.Errorf("Unrecognized option: %s", argument) //nolint:staticcheck // the tool's text
			}
			if optionSeen && in.state.assumes("options_before_id", "refused") {
				return options, errNotFound
			}
			options.id = argument
		}
	}
	return options, nil
}

var listFields = []string{"uuid", "status", "ip_configured", "name", "dist", "type"}

func checkFields(fields []string) error {
	for _, name := range fields {
		if !slices.Contains(listFields, name) {
			return fmt.Errorf("Unknown field name: %s", name) //nolint:staticcheck // the tool's text
		}
	}
	return nil
}
