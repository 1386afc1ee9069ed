package sim

import (
	"fmt"
	"slices"
	"strings"
)

// actionRow is one command of prlctl as its help shows it (facts/prlctl.md 1.2).
// How the real help looks is not known; the names are.
type actionRow struct {
	name      string
	arguments string
	since     int // first major version that has it; 0: all
	until     int // last one; 0: the newest
}

// actionRows are the commands of 26.4.1, and what older versions call them. What
// is in the list and not played is refused when it is called.
var actionRows = []actionRow{
	{name: "list", arguments: "[-a, --all] [-i, --info] [-j, --json] [-f, --full] [-t, --template]\n       [-o, --output <field[,field...]>] [-H, --no-header]"},
	{name: "status", arguments: "<ID | NAME>"},
	{name: "create", arguments: "<NAME> [-o, --ostype <name>] [-d, --distribution <name>] [--dst <path>]"},
	{name: "clone", arguments: "<ID | NAME> --name <NAME> [--linked] [--dst <path>]"},
	{name: "delete", arguments: "<ID | NAME>"},
	{name: "register", arguments: "<PATH> [--uuid <UUID>] [--regenerate-src-uuid] [--force]"},
	{name: "unregister", arguments: "<ID | NAME> [--clean-src-uuid]"},
	{name: "move", arguments: "<ID | NAME> --dst <path>"},
	{name: "convert", arguments: "<PATH> [--dst <path>]"},
	{name: "pack", arguments: "<ID | NAME>"},
	{name: "unpack", arguments: "<ID | NAME>"},
	{name: "archive", arguments: "<ID | NAME>"},
	{name: "unarchive", arguments: "<ID | NAME>"},
	{name: "encrypt", arguments: "<ID | NAME>"},
	{name: "decrypt", arguments: "<ID | NAME>"},
	{name: "change-password", arguments: "<ID | NAME>", until: 25},
	{name: "change-passwd", arguments: "<ID | NAME>", since: 26},
	{name: "protection-set", arguments: "<ID | NAME>", since: 20},
	{name: "protection-remove", arguments: "<ID | NAME>", since: 20},
	{name: "start", arguments: "<ID | NAME> [--rollback-mode] [--recovery-mode]"},
	{name: "stop", arguments: "<ID | NAME> [--kill] [--acpi] [--drop-state]"},
	{name: "restart", arguments: "<ID | NAME>"},
	{name: "reset", arguments: "<ID | NAME>"},
	{name: "suspend", arguments: "<ID | NAME>"},
	{name: "resume", arguments: "<ID | NAME>"},
	{name: "pause", arguments: "<ID | NAME> [--acpi]"},
	{name: "reset-uptime", arguments: "<ID | NAME>"},
	{name: "snapshot", arguments: "<ID | NAME> [-n, --name <name>] [-d, --description <text>]"},
	{name: "snapshot-list", arguments: "<ID | NAME> [-t, --tree] [-i, --id <ID>] [-j]"},
	{name: "snapshot-switch", arguments: "<ID | NAME> -i, --id <ID> [--skip-resume]"},
	{name: "snapshot-delete", arguments: "<ID | NAME> -i, --id <ID> [-c, --children]"},
	{name: "exec", arguments: "<ID | NAME> [--current-user] <command>"},
	{name: "enter", arguments: "<ID | NAME>"},
	{name: "capture", arguments: "<ID | NAME> --file <path>"},
	{name: "send-key-event", arguments: "<ID | NAME>", since: 19},
	{name: "installtools", arguments: "<ID | NAME>"},
	{name: "problem-report", arguments: "<ID | NAME>"},
	{name: "set", arguments: "<ID | NAME> [options]"},
	{name: "server", arguments: "<info>"},
}

// availableActions are the commands that the Mac's version has. Since when
// there is monitor-events is not known (facts/prlctl.md 3).
func (s *State) availableActions() []actionRow {
	all := append(slices.Clone(actionRows), actionRow{name: "monitor-events", arguments: "[--json]", since: decimalValue(s.assumedValue("monitor_events_since"))})
	return slices.DeleteFunc(all, func(a actionRow) bool {
		return s.Product.majorVersion() < a.since || a.until != 0 && s.Product.majorVersion() > a.until
	})
}

func decimalValue(digits string) (value int) {
	for _, digit := range digits {
		value = value*10 + int(digit-'0')
	}
	return value
}

// wantsHelp plays what ends in --help, if the arguments do.
func (in *invocation) wantsHelp() (code int, answered bool) {
	if len(in.args) == 0 || in.args[len(in.args)-1] != "--help" {
		return 0, false
	}
	help := prlctlHelp
	if in.name == "prlsrvctl" {
		help = prlsrvctlHelp
	}
	text, err := help(in, in.args[:len(in.args)-1])
	if err != nil {
		return in.failWith(err), true
	}
	if code, refused := in.printEditionGate(); refused {
		return code, true
	}
	if in.state.assumes("help_output", "stderr_255") {
		return in.failf(exitRefused, "%s", text), true
	}
	in.printLinef("%s", text)
	return 0, true
}

// prlctlHelp is `prlctl --help`, `prlctl ACTION --help`, and the flags of one
// category, which takes no VM (facts/prlctl.md 1.5).
func prlctlHelp(in *invocation, words []string) (string, error) {
	switch {
	case len(words) == 0:
		var out strings.Builder
		out.WriteString("Usage: prlctl <action> <ID | NAME> [options]\nSupported actions are:\n")
		for _, a := range in.state.availableActions() {
			fmt.Fprintf(&out, "  %s %s\n", a.name, a.arguments)
		}
		return strings.TrimRight(out.String(), "\n"), nil
	case words[0] == "set" && len(words) == 2 && isCategory(words[1]):
		return in.state.categoryHelp(words[1]), nil
	case words[0] == "set" && len(words) == 2 && in.state.assumes("unknown_category", "unrecognized"):
		return "", toolErrorf("Unrecognized option: %s", words[1])
	case words[0] == "set" && len(words) == 2:
		return "", errNotFound
	case words[0] == "set" && len(words) > 2: // with a VM's id, facts/prlctl.md 1.5
		return "", toolErrorf("Unrecognized option: %s", words[2])
	case len(words) == 1:
		return in.state.actionHelp(words[0])
	}
	return "", toolErrorf("Unrecognized option: %s", words[1])
}

func (s *State) actionHelp(name string) (string, error) {
	for _, a := range s.availableActions() {
		if a.name == name && name != "set" { // of `set` only the categories' help is known
			return "Usage: prlctl " + a.name + " " + a.arguments, nil
		}
	}
	return "", toolErrorf("Unrecognized option: %s", name)
}

func (s *State) categoryHelp(category string) string {
	lines := []string{"Usage: prlctl set <ID | NAME> [options]"}
	for _, flag := range s.flagsOfCategory(category) {
		lines = append(lines, strings.TrimRight("  "+flag.name+" "+helpSyntax(flag.values), " "))
	}
	return strings.Join(lines, "\n")
}

// helpSyntax writes what a flag takes: "<on | off>", "<text>", or nothing.
func helpSyntax(values string) string {
	if values == "" {
		return ""
	}
	return "<" + strings.ReplaceAll(values, "|", " | ") + ">"
}

// hostFlags are the flags of `prlsrvctl set` (facts/prlctl.md 1.4).
var hostFlags = []setFlag{
	{name: "--require-pwd", values: "create-vm|add-vm|remove-vm|clone-vm"},
	{name: "--lock-edit-settings", values: onOrOff},
	{name: "--host-admin", values: "text"},
	{name: "--headless-mode-feature", values: onOrOff},
	{name: "--verbose-log", values: onOrOff},
	{name: "--cep", values: onOrOff, inferred: true},
	{name: "--mem-limit", values: "text", inferred: true},
	{name: "--min-security-level", values: "low|normal|high", inferred: true},
	{name: "--mng-settings", values: "allow|deny", inferred: true},
	{name: "--log-rotation", values: onOrOff, inferred: true},
	{name: "--allow-attach-screenshots", values: onOrOff, inferred: true},
}

// prlsrvctlHelp is `prlsrvctl --help` and `prlsrvctl set --help`.
func prlsrvctlHelp(in *invocation, words []string) (string, error) {
	switch strings.Join(words, " ") {
	case "":
		return "Usage: prlsrvctl <action> [options]\nSupported actions are:\n  info [-j, --json] [--license]\n  user <list | set>\n" +
			"  set [options]\n  install-license --key <key>\n  update-license\n  deactivate-license", nil
	case "set":
		lines := []string{"Usage: prlsrvctl set [options]"}
		for _, flag := range hostFlags {
			if in.state.knowsFlag(flag) {
				lines = append(lines, "  "+flag.name+" "+helpSyntax(flag.values))
			}
		}
		return strings.Join(lines, "\n"), nil
	}
	return "", toolErrorf("Unrecognized option: %s", words[len(words)-1])
}

// setVM plays `prlctl set ID --flag value …`.
func setVM(in *invocation, arguments []string) int {
	if _, err := in.targetVM(in.state, arguments); err != nil {
		return in.failWith(err)
	}
	if code, refused := in.printEditionGate(); refused {
		return code
	}
	sets, err := in.state.parseSet(arguments[1:])
	if err != nil {
		return in.failWith(err)
	}
	err = in.mac.update(func(state *State) error {
		vm, err := in.targetVM(state, arguments)
		if err != nil {
			return err
		}
		for _, set := range sets {
			if err := in.mac.applyFlag(state, vm, set); err != nil {
				return err
			}
		}
		state.addEvent(vm, "vm_config_changed", "")
		return in.mac.writeBundle(state, vm)
	})
	if err != nil {
		return in.failWith(toolErrorf("Failed to configure the VM: %v", err))
	}
	in.printLinef("The VM has been successfully configured.")
	return 0
}
