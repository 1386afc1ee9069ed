package sim

import (
	"fmt"
	"slices"
	"strings"
)

// actionRow is one command of prlctl as its help shows it (facts/prlctl.md 1.2).
// The names are known, how the real help looks is not: it is laid out like that
// of the ancestor (captures.md 5.3), or plainly (the assumption help_layout).
type actionRow struct {
	name      string
	arguments string
	since     int    // first major version that has it; 0: all
	until     int    // last one; 0: the newest
	layout    string // value of help_layout that shows it; empty: all
}

// actionRows are the commands of 26.4.1, and what older versions call them. What
// is in the list and not played is refused when it is called.
var actionRows = []actionRow{
	{name: "list", layout: "ancestor", arguments: "[-a, --all] [-o, --output <field[,field...]>] [-L, --list] [-S, --stopped]\n       [-t, --template] [-n, --name] [-H, --no-header]"},
	{name: "list", layout: "ancestor", arguments: "[<ID | NAME>] -i, --info [-a, --all] [-f, --full] [-j, --json]"},
	{name: "list", layout: "plain", arguments: "[-a, --all] [-i, --info] [-j, --json] [-f, --full] [-t, --template]\n       [-o, --output <field[,field...]>] [-H, --no-header]"},
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
		return s.Product.majorVersion() < a.since || a.until != 0 && s.Product.majorVersion() > a.until ||
			a.layout != "" && !s.assumes("help_layout", a.layout)
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
		out.WriteString(in.state.helpHeader("prlctl") + "Usage: prlctl ACTION <ID | NAME> [OPTIONS] ...\nSupported actions are:\n")
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
	case words[0] == "set" && len(words) == 1:
		return in.state.categoriesHelp(), nil
	case len(words) == 1:
		return in.state.actionHelp(words[0])
	}
	return "", toolErrorf("Unrecognized option: %s", words[1])
}

// helpHeader is the version line of the ancestor's layout.
func (s *State) helpHeader(tool string) string {
	if s.assumes("help_layout", "plain") {
		return ""
	}
	version, build := s.Product.versionAndBuild()
	return fmt.Sprintf("%s version %s (%s)\n\n", tool, version, build)
}

func (s *State) actionHelp(name string) (string, error) {
	var lines []string
	for _, a := range s.availableActions() {
		if a.name == name {
			lines = append(lines, "Usage: prlctl "+a.name+" "+a.arguments)
		}
	}
	if len(lines) == 0 {
		return "", toolErrorf("Unrecognized option: %s", name)
	}
	return strings.Join(lines, "\n"), nil
}

// setCategories are the categories of 26.4.1 in its order (facts/prlctl.md 1.5).
var setCategories = strings.Fields("cpus memory boot video mouse keyboard printers usb bluetooth startup optimization travel security " +
	"smartguard protection modality fullscreen coherence timesync device_mgmt shared_folders shared_profiles shared_apps " +
	"smart_mounts misc_sharing advanced misc network_cond")

// categoriesHelp is `prlctl set --help`, which lists the categories with examples
// (captures.md 5.1). Its layout is invented.
func (s *State) categoriesHelp() string {
	return s.helpHeader("prlctl") + "Usage: prlctl set <ID | NAME> [OPTIONS]\n" +
		"The options are shown by category: prlctl set <category> --help\nCategories are:\n  " +
		strings.Join(setCategories, "\n  ") + "\nExamples:\n  prlctl set shared_folders --help\n  prlctl set startup --help"
}

func (s *State) categoryHelp(category string) string {
	lines := []string{"Usage: prlctl set <ID | NAME> [OPTIONS]"}
	for i, flag := range s.flagsOfCategory(category) {
		lines = append(lines, s.flagLine(flag, i))
	}
	return strings.Join(lines, "\n")
}

// flagLine is one flag of a help: "--x <on|off>", "--x <text>", or "--x" alone.
// 26.3.2 writes no blanks around the bars; the ancestor mixes both (captures.md
// 5.3), here with every second flag.
func (s *State) flagLine(flag setFlag, index int) string {
	bar := "|"
	if s.Product.majorVersion() < 26 && index%2 == 0 && s.assumes("help_spacing", "mixed") {
		bar = " | "
	}
	if flag.values == "" {
		return "  " + flag.name
	}
	return "  " + flag.name + " <" + strings.ReplaceAll(flag.values, "|", bar) + ">"
}

// prlsrvctlHelp is `prlsrvctl --help` and `prlsrvctl set --help`.
func prlsrvctlHelp(in *invocation, words []string) (string, error) {
	switch strings.Join(words, " ") {
	case "":
		return in.state.helpHeader("prlsrvctl") + "Usage: prlsrvctl ACTION [OPTIONS]\nSupported actions are:\n  info [-j, --json] [--license]\n  user <list | set>\n" +
			"  set [options]\n  install-license --key <key>\n  update-license\n  deactivate-license [--skip-network-errors]", nil
	case "set":
		lines := []string{"Usage: prlsrvctl set [OPTIONS]"}
		for i, flag := range hostFlags {
			if in.state.knowsFlag(flag) {
				lines = append(lines, in.state.flagLine(flag, i))
			}
		}
		return strings.Join(lines, "\n"), nil
	}
	return "", toolErrorf("Unrecognized option: %s", words[len(words)-1])
}
