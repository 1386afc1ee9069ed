package cli

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/profile"
)

// commandsOf are the command and all below it, without cobra's own.
func commandsOf(command *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{command}
	for _, below := range command.Commands() {
		if below.Name() != "completion" && below.Name() != "help" {
			all = append(all, commandsOf(below)...)
		}
	}
	return all
}

// An example that cannot be typed is none: each one names commands and flags that
// there are.
func TestEveryCommandHasExamplesThatExist(t *testing.T) {
	t.Parallel()
	for _, command := range commandsOf(newRootCommand()) {
		if command.HasSubCommands() && command.HasParent() && (command.Name() == "admins" || command.Name() == "keys" || command.Name() == "webhook") {
			continue // its commands have them
		}
		if command.Example == "" {
			t.Errorf("%s has no example", command.CommandPath())
		}
		for line := range strings.Lines(command.Example) {
			words := strings.Fields(line)
			at := len(words) - 1
			for ; at >= 0 && words[at] != "prlportal"; at-- {
			}
			if at < 0 {
				t.Errorf("%s: the example %q is of another program", command.CommandPath(), line)
				continue
			}
			root := newRootCommand()
			found, rest, err := root.Find(words[at+1:])
			if err != nil || found == root {
				t.Errorf("%s: the example %q: %v", command.CommandPath(), line, err)
				continue
			}
			for _, word := range rest {
				if name, isFlag := strings.CutPrefix(word, "--"); isFlag && found.Flags().Lookup(name) == nil {
					t.Errorf("%s: the example %q has a flag that is none", command.CommandPath(), line)
				}
			}
		}
	}
}

func TestEveryHelpHasTheExitCodes(t *testing.T) {
	t.Parallel()
	for _, command := range commandsOf(newRootCommand()) {
		args := append(strings.Fields(command.CommandPath())[1:], "--help")
		portaltest.MustContain(t, mustRun(t, args...), "Exit codes:", "2  wrong usage")
	}
}

func TestHelpOfWhatIsNoCommandIsAnError(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"help", "nonsense"}, {"help", "admins", "nonsense"}, {"nonsense"}, {"admins", "nonsense"}} {
		if out, err := prlportal(t, args...); exitCode(err) != exitUsage {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
	portaltest.MustContain(t, mustRun(t, "help", "certificate", "renew"), "prlportal certificate renew", "--now")
	portaltest.MustContain(t, mustRun(t, "help"), "backup", "admins")
	portaltest.MustContain(t, mustRun(t, "--version"), "prlportal ")
}

// The shell offers the values of every flag whose help names them.
func TestValuesAreCompleted(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"vms --format ":                 "table csv json ndjson",
		"vms --format j":                "json",
		"export --format ":              "csv json ndjson",
		"export ":                       "vms devices events verdicts",
		"report compliance --format ":   "table csv json",
		"report licenses --format ":     "table csv json",
		"profile --format ":             "mobileconfig plist",
		"profile --mode ":               "monitor enforce",
		"serve --log-level ":            "debug info warn error",
		"admins add alice --role ":      "viewer operator approver",
		"vms --columns vm_name,vm_ip":   "",
		"vms --columns vm_name,vm_stat": "vm_name,vm_state vm_name,vm_status",
		"devices --sort agent_v":        "agent_version",
	} {
		out := mustRun(t, append([]string{"__complete"}, strings.Split(typed, " ")...)...)
		var offered []string
		for line := range strings.Lines(out) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, ":") && !strings.HasPrefix(line, "Completion ended") {
				offered = append(offered, line)
			}
		}
		if got := strings.Join(offered, " "); got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
	for _, command := range commandsOf(newRootCommand()) {
		command.Flags().VisitAll(func(flag *pflag.Flag) {
			few := strings.Contains(flag.Usage, " or ") && strings.Count(flag.Usage, ",") <= 2 && !strings.Contains(flag.Usage, "(default")
			_, completed := command.GetFlagCompletionFunc(flag.Name)
			if few && slices.Contains([]string{"format", "mode", "log-level", "role"}, flag.Name) && !completed {
				t.Errorf("%s --%s has values and offers none", command.CommandPath(), flag.Name)
			}
		})
	}
}

// One style: the program's name and what is wrong, in one line; below it, for
// what was not called as it should be, the help of that very command.
func TestErrorsAreOneLineWithTheProgramsName(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		help string // "" for what was called rightly
	}{
		{[]string{"nonsense"}, "prlportal"},
		{[]string{"help", "nonsense"}, "prlportal help"},
		{[]string{"completion", "nonsense"}, "prlportal completion"},
		{[]string{"admins", "nonsense"}, "prlportal admins"},
		{[]string{"views", "nonsense"}, "prlportal views"},
		{[]string{"certificate", "nonsense"}, "prlportal certificate"},
		{[]string{"devices", "--dir", t.TempDir()}, "prlportal devices"},
		{[]string{"devices", "--nonsense"}, "prlportal devices"},
		{[]string{"devices", "approve"}, "prlportal devices approve"},
		{[]string{"devices", "--dir", fixedSite(t), "--url", "https://127.0.0.1:1"}, ""},
		{[]string{"serve", "--dir", t.TempDir()}, ""},
		{[]string{"init"}, "prlportal init"},
		{[]string{"restore", "--check", "no such file"}, ""},
	} {
		var out, problems bytes.Buffer
		if code := runCommand(t.Context(), test.args, &out, &problems); code == 0 || out.Len() > 0 {
			t.Errorf("%v: ends with %d, %s", test.args, code, out.String())
		}
		line, remedy, _ := strings.Cut(problems.String(), "\n")
		want := ""
		if test.help != "" {
			want = "  → See '" + test.help + " --help'.\n"
		}
		if !strings.HasPrefix(line, "prlportal: ") || remedy != want {
			t.Errorf("%v: it says %q", test.args, problems.String())
		}
	}
}

// The same of what rules and codes tell people to run.
func TestRemediesNameCommandsThatExist(t *testing.T) {
	t.Parallel()
	var remedies []string
	for _, rule := range profile.Rules {
		remedies = append(remedies, rule.Remedy)
	}
	for _, words := range protocol.Codes {
		remedies = append(remedies, words.Remedy)
	}
	quoted := regexp.MustCompile(`'prlportal ([^']*)'`)
	for _, remedy := range remedies {
		for _, match := range quoted.FindAllStringSubmatch(remedy, -1) {
			words := slices.DeleteFunc(strings.Fields(match[1]), func(word string) bool { return word == "…" })
			root := newRootCommand()
			found, rest, err := root.Find(words)
			if err != nil || found == root {
				t.Errorf("%q: %v", remedy, err)
				continue
			}
			for _, word := range rest {
				if name, isFlag := strings.CutPrefix(word, "--"); isFlag && found.Flags().Lookup(name) == nil {
					t.Errorf("%q: %s has no --%s", remedy, found.CommandPath(), name)
				}
			}
		}
	}
}
