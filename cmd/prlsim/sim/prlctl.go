package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// prlctl plays the command line of the virtual machines.
func prlctl(in *invocation) int {
	if len(in.args) == 0 {
		return in.failf(exitRefused, "Usage: prlctl <action> <ID | NAME> [options]")
	}
	action, arguments := in.args[0], in.args[1:]
	if action == "--version" {
		version, build := in.state.Product.versionAndBuild()
		in.printLinef("prlctl version %s (%s)", version, build) // facts/prlctl.md 1.1
		return 0
	}
	if in.state.assumes("help_without_service", "works") {
		if code, answered := in.wantsHelp(); answered {
			return code
		}
	}
	if code, stop := in.applyFaults(); stop {
		return code
	}
	if code, answered := in.wantsHelp(); answered {
		return code
	}
	if due := in.state.nextDueConfig(); !due.IsZero() && !time.Now().Before(due) { // where no process did it
		if err := in.mac.writeDueConfigs(); err != nil {
			return in.failWith(err)
		}
	}
	in.showStoppedOutsideSession()
	switch action {
	case "list":
		return listVMs(in, arguments)
	case "start", "stop", "suspend", "resume", "pause", "restart", "reset":
		return changeVMState(in, action, arguments)
	case "set":
		return setVM(in, arguments)
	case "delete":
		return deleteVM(in, arguments)
	case "create":
		return createTool(in, arguments)
	case "clone":
		return cloneTool(in, arguments)
	case "register":
		return registerTool(in, arguments)
	case "unregister":
		return unregisterTool(in, arguments)
	case "status":
		return printStatus(in, arguments)
	case "monitor-events":
		return monitorEvents(in, arguments)
	}
	return in.failf(exitRefused, "Unrecognized option: %s", action)
}

// showStoppedOutsideSession makes every VM with a process look stopped to its
// user who is logged in but asks from outside of that session, where the Mac is
// assumed to do so (facts/prlctl.md 5.4). It changes only what this run has
// read.
func (in *invocation) showStoppedOutsideSession() {
	user, known := in.state.userByName(in.caller)
	if !known || !user.LoggedIn || in.session == user.UID || in.state.assumes("plain_sudo", "true_states") {
		return
	}
	for _, vm := range in.state.visibleTo(in.caller) {
		if vm.hasProcess() {
			vm.State = "stopped"
		}
	}
}

// targetVM takes the VM's id or name from the first argument. Options come after
// it (facts/prlctl.md 1.2).
func (in *invocation) targetVM(state *State, arguments []string) (*VM, error) {
	if len(arguments) == 0 {
		return nil, errNotFound
	}
	vm, err := findVM(state.visibleTo(in.caller), arguments[0])
	if err != nil {
		return nil, errNotFound
	}
	return vm, nil
}

// toolError is an error in the tool's own words.
type toolError string

func (r toolError) Error() string { return string(r) }

func toolErrorf(format string, args ...any) error { return toolError(fmt.Sprintf(format, args...)) }

// errNotFound is the text for a VM that is not in the caller's directory
// (facts/prlctl.md 5).
const errNotFound toolError = "Failed to get VM config: The virtual machine could not be found. " +
	"The virtual machine is not registered in the virtual machine directory on your Mac. " +
	"Contact the Parallels support team for assistance."

// failWith prints an error and returns its exit code.
func (in *invocation) failWith(err error) int {
	if errors.Is(err, errUnanswered) {
		return exitRefused
	}
	if errors.Is(err, errNotFound) && in.state.assumes("not_found_exit", "1") {
		return in.failf(1, "%v", err)
	}
	return in.failf(exitRefused, "%v", err)
}

// checkHostPassword asks for the administrator where prlsrvctl set --require-pwd
// says so. Whether the tools ask at all is not known (facts/prlctl.md 11.13).
func (in *invocation) checkHostPassword(action, what string) error {
	if !in.state.requiresPassword(action) || in.state.assumes("require_pwd_tools", "not_asked") {
		return nil
	}
	return in.askAdministrator(what)
}

// printStatus prints one line of text (facts/prlctl.md 1.2).
func printStatus(in *invocation, arguments []string) int {
	vm, err := in.targetVM(in.state, arguments)
	if err != nil {
		return in.failWith(err)
	}
	if len(arguments) > 1 {
		return in.failf(exitRefused, "Unrecognized option: %s", arguments[1])
	}
	in.printLinef("VM \"%s\" exist %s", vm.Name, vm.State)
	return 0
}

// listOptions are the options of `prlctl list` that the simulated tool knows.
type listOptions struct {
	all, info, json, full, noHeader, template, stopped, name, listFields bool
	fields                                                               []string
	id                                                                   string
}

// parseList reads `list [ID] [options]`.
func (in *invocation) parseList(arguments []string) (options listOptions, err error) {
	switches := map[string]*bool{
		"-a": &options.all, "--all": &options.all, "-i": &options.info, "--info": &options.info,
		"-j": &options.json, "--json": &options.json, "-f": &options.full, "--full": &options.full,
		"-t": &options.template, "--template": &options.template, "-H": &options.noHeader, "--no-header": &options.noHeader,
		"-S": &options.stopped, "--stopped": &options.stopped, "-n": &options.name, "--name": &options.name,
		"-L": &options.listFields, "--list": &options.listFields,
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
				return options, toolErrorf("Option requires an argument: %s", argument)
			}
			options.fields = strings.Split(arguments[i], ",")
		case strings.HasPrefix(argument, "-") || options.id != "":
			return options, toolErrorf("Unrecognized option: %s", argument)
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
			return toolErrorf("Unknown field name: %s", name)
		}
	}
	return nil
}
