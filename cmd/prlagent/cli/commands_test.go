package cli

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/config"
	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

const firstCommand = "0194f3b6-0000-7000-8000-000000000001"

// The list, filtered or not, and all of one command, for people.
func TestCommandPages(t *testing.T) {
	t.Parallel()
	daemon, root := sampleDaemon(t), mac(t)
	daemon.commands.Commands[0].Message, daemon.commands.Commands[0].Target.VMName = "line\nbreak", "Win\x1b[31m"
	daemon.serve(t, root, admin)
	for name, c := range map[string]struct {
		arguments, golden string
		code              int
		stderr            string
	}{
		"list":             {"commands", "commands.txt", exitHealthy, ""},
		"open":             {"commands --open", "commands-open.txt", exitHealthy, ""},
		"type and time":    {"commands --type VM.Delete --since 2h", "commands-one.txt", exitHealthy, ""},
		"too old":          {"commands --since 1m", "commands-filtered.txt", exitHealthy, ""},
		"by id":            {"commands " + firstCommand, "command.txt", exitHealthy, ""},
		"by its beginning": {"commands 0194F3B6-0000-7000-8000-000000000002", "command-open.txt", exitHealthy, ""},
		"two begin so":     {"commands 0194f3b6", "", exitUsage, "the ids of 2 commands begin with 0194f3b6"},
		"no such":          {"commands 0194f3b7", "", exitDegraded, "There is no command with this id"},
		"no id":            {"commands ../status", "", exitUsage, "is no id of a command"},
		"id and filter":    {"commands 0194f3b6 --open", "", exitUsage, "leave the filters out"},
		"no type":          {"commands --type vm.explode", "", exitUsage, "--type must be one of vm.delete"},
		"no state":         {"commands --state done", "", exitUsage, "--state must be one of acknowledged"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := run(t, root, strings.Fields(c.arguments)...)
			if got.code != c.code || !strings.Contains(got.stderr, c.stderr) {
				t.Errorf("%+v", got)
			}
			if c.golden != "" {
				checkGolden(t, c.golden, got.stdout)
			}
			if strings.Contains(got.stdout, "\x1b") {
				t.Errorf("it steers the terminal: %q", got.stdout)
			}
		})
	}
}

// Everybody sees the commands on their own machines, without who wanted them and why;
// without a daemon that is said.
func TestH16_CommandsOfAUser(t *testing.T) {
	t.Parallel()
	daemon, root := sampleDaemon(t), mac(t)
	if got := run(t, root, "commands"); got.code != exitNotRunning || got.stdout != "" || !strings.Contains(got.stderr, "prlagentd") {
		t.Errorf("without a daemon: %+v", got)
	}
	stop := daemon.serve(t, root, localapi.Actor{UID: 501, Name: "anna"})
	list, one := run(t, root, "commands"), run(t, root, "commands", firstCommand)
	for _, got := range []screen{list, one} {
		if got.code != exitHealthy || !strings.Contains(got.stdout, "sudo prlagent commands") || strings.Contains(got.stdout, "Olga") || strings.Contains(got.stdout, "stolen") {
			t.Errorf("%+v", got)
		}
	}
	if strings.Contains(list.stdout, "inventory.refresh") {
		t.Errorf("a command on the whole Mac is shown:\n%s", list.stdout)
	}
	stop()
	daemon.serve(t, root, user)
	if got := run(t, root, "commands"); got.code != exitHealthy || !strings.HasPrefix(got.stdout, "There is no command.\n") {
		t.Errorf("another user: %+v", got)
	}
	if got := run(t, root, "commands", firstCommand); got.code != exitDegraded {
		t.Errorf("another user's: %+v", got)
	}
}

// The shell is offered ids with what they are.
func TestCommandIDsAreCompleted(t *testing.T) {
	t.Parallel()
	daemon, root := sampleDaemon(t), mac(t)
	daemon.serve(t, root, admin)
	got := run(t, root, "__complete", "commands", "0194f3b6-0000-7000-8000-00000000000")
	if !strings.Contains(got.stdout, firstCommand+"\tvm.delete Windows 11 succeeded\n") || strings.Count(got.stdout, "0194f3b6") != 2 {
		t.Errorf("%+v", got)
	}
	if got := run(t, root, "__complete", "commands", "--type", "vm."); !strings.Contains(got.stdout, "vm.lock") {
		t.Errorf("%+v", got)
	}
}

// A terminal shows as much of an id as tells it from the others.
func TestShortIDs(t *testing.T) {
	t.Parallel()
	list := func(ids ...string) (commands []localapi.Command) {
		for _, id := range ids {
			commands = append(commands, localapi.Command{CommandID: id})
		}
		return commands
	}
	for name, c := range map[string]struct{ ids, want []string }{
		"told apart early": {[]string{"0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e11", "0198f6b2-7c1f-7d0a-9a55-3f1d0c2b7e11"}, []string{"0198f6b2-7c1e", "0198f6b2-7c1f"}},
		"of one moment":    {[]string{"0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e11", "0198f6b2-7c1e-7aaa-9a55-3f1d0c2b7e11"}, []string{"0198f6b2-7c1e-7d0a", "0198f6b2-7c1e-7aaa"}},
		"short":            {[]string{"one", "two"}, []string{"one", "two"}},
	} {
		if got := shortIDs(list(c.ids...)); !cmp.Equal(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	page := commandsPage(outputView{zone: time.UTC, window: 100}, localapi.CommandList{Commands: list("0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e11")}, false)
	if !strings.Contains(page, "0198f6b2-7c1e ") || strings.Contains(page, "7d0a") {
		t.Errorf("on a terminal:\n%s", page)
	}
}

// status says in a line what is open, what the portal does not know yet, and what
// failed last.
func TestStatusSaysOfCommands(t *testing.T) {
	t.Parallel()
	v := outputView{zone: time.UTC, now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	deleting := localapi.CommandBrief{CommandID: firstCommand, Type: "vm.delete", VMName: "Win", Owner: "anna", State: protocol.CommandDeferred, Code: protocol.CodeWaitsForStop}
	failed := localapi.CommandBrief{
		CommandID: "second", Type: "license.deactivate", State: protocol.CommandFailed, Code: protocol.CodeNotDone, Since: v.now.Add(-3 * time.Hour),
	}
	for name, c := range map[string]struct {
		commands *localapi.CommandStatus
		want     []string
	}{
		"nothing":    {nil, nil},
		"keys alone": {&localapi.CommandStatus{TimeProven: true}, nil},
		"a stranger": {&localapi.CommandStatus{Open: 2}, []string{"Commands", "2 open; see 'prlagent commands'"}},
		"all": {&localapi.CommandStatus{Open: 3, Unreported: 1, Oldest: []localapi.CommandBrief{deleting}, LastFailed: &failed}, []string{
			"3 open: vm.delete Win of anna, deferred: waits_for_stop; 2 others; 1 result for the portal; see 'prlagent commands'",
			"last failed", "license.deactivate, failed: not_done (3 h 0 min ago); see 'prlagent commands second'",
		}},
	} {
		for page, show := range map[string]func(outputView, localapi.Status) string{"summary": statusSummary, "whole": statusPage} {
			got := show(v, localapi.Status{Commands: c.commands})
			if len(c.want) == 0 && strings.Contains(got, "ommand") {
				t.Errorf("%s, %s: it shows %q", name, page, got)
			}
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("%s, %s: %q is not in\n%s", name, page, want, got)
				}
			}
		}
	}
}

// doctor says which commands can be carried out, and what keeps them from it.
func TestH20_H22_H24_DoctorLooksAtCommands(t *testing.T) {
	t.Parallel()
	keys := []protocol.TrustedKey{{ID: "0011223344556677"}}
	for name, c := range map[string]struct {
		configuration config.Config
		outcome, want string
	}{
		"no key":    {config.Config{AllowedCommands: []string{"vm.delete"}}, outcomeUnneeded, "no command runs"},
		"all well":  {config.Config{CommandKeys: keys, Mode: protocol.ModeEnforce, AllowedCommands: []string{"vm.delete"}}, outcomeOK, "1 key: 0011223344556677. Allowed: vm.delete, inventory.refresh"},
		"monitors":  {config.Config{CommandKeys: keys, Mode: protocol.ModeMonitor}, outcomeNote, "what changes anything is rejected"},
		"threshold": {config.Config{CommandKeys: keys, AllowedCommands: []string{"vm.delete"}, CommandThreshold: map[string]int{"vm.delete": 2}}, outcomeWarning, "never carried out, because CommandThreshold wants more keys than there are: vm.delete"},
		"two keys":  {config.Config{CommandKeys: append(keys, keys...), Mode: protocol.ModeEnforce, AllowedCommands: []string{"vm.delete"}, CommandThreshold: map[string]int{"vm.delete": 2}}, outcomeOK, "vm.delete with 2 keys"},
	} {
		if got := judgeCommandKeys(c.configuration); got.Outcome != c.outcome || !strings.Contains(got.Text, c.want) {
			t.Errorf("%s: %+v", name, got)
		}
	}

	allowed := config.Explanation{Config: config.Config{AllowedCommands: []string{"vm.delete"}}}
	for name, c := range map[string]struct {
		commands     *localapi.CommandStatus
		explained    config.Explanation
		time, record string
	}{
		"nothing":      {nil, allowed, outcomeUnneeded, outcomeUnneeded},
		"all well":     {&localapi.CommandStatus{TimeProven: true}, allowed, outcomeOK, outcomeOK},
		"not allowed":  {&localapi.CommandStatus{}, config.Explanation{}, outcomeUnneeded, outcomeOK},
		"clock behind": {&localapi.CommandStatus{}, allowed, outcomeWarning, outcomeOK},
		"no record":    {&localapi.CommandStatus{TimeProven: true, RecordCode: protocol.CodeIntentsUnreadable}, allowed, outcomeOK, outcomeFailure},
	} {
		m := &checkedMac{
			status:    func() (localapi.Status, error) { return localapi.Status{Commands: c.commands}, nil },
			explained: func() config.Explanation { return c.explained },
		}
		if got := m.checkCommandTime(t.Context()); got.Outcome != c.time {
			t.Errorf("%s: time %+v", name, got)
		}
		if got := m.checkCommandRecord(t.Context()); got.Outcome != c.record {
			t.Errorf("%s: record %+v", name, got)
		}
	}
	m := &checkedMac{status: func() (localapi.Status, error) { return localapi.Status{}, fmt.Errorf("nobody answers") }}
	if m.checkCommandTime(t.Context()).Outcome != outcomeUnknown || m.checkCommandRecord(t.Context()).Outcome != outcomeUnknown {
		t.Error("it is known without an answer")
	}
}
