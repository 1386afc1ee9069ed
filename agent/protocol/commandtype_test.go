package protocol

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What the pages decide about each type (DESIGN 8, H31): a property that is
// changed by accident would delete more than an admin has allowed.
func TestH31_CommandTypes(t *testing.T) {
	t.Parallel()
	for property, c := range map[string]struct {
		has  func(*CommandType) bool
		want []string
	}{
		"counts toward the limit": {func(c *CommandType) bool { return c.Counted }, []string{"vm.delete", "vm.redownload", "license.deactivate"}},
		"is destructive":          {func(c *CommandType) bool { return c.Destructive }, []string{"vm.delete", "vm.redownload", "license.deactivate"}},
		"changes something":       {func(c *CommandType) bool { return c.Changes }, []string{"vm.delete", "vm.lock", "vm.unlock", "vm.restart", "vm.redownload", "license.deactivate", "windows_update.install"}},
		"is attempted once":       {func(c *CommandType) bool { return c.Once }, []string{"vm.restart", "windows_update.check", "windows_update.install"}},
		"needs no listing":        {func(c *CommandType) bool { return !c.Listed }, []string{"inventory.refresh", "policy.refresh"}},
		"is there": {func(*CommandType) bool { return true }, []string{
			"vm.delete", "vm.lock", "vm.unlock", "vm.restart", "vm.redownload", "license.deactivate",
			"windows_update.check", "windows_update.install", "inventory.refresh", "policy.refresh", "diagnostics",
		}},
	} {
		if diff := cmp.Diff(c.want, CommandNames(c.has)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", property, diff)
		}
	}
}

func TestEveryCommandTypeIsWhole(t *testing.T) {
	t.Parallel()
	var types []string
	for _, command := range CommandTypes {
		types = append(types, command.Type)
		if command.Type == "" || command.Timeout <= 0 || !strings.HasSuffix(command.Text, ".") {
			t.Errorf("%+v has no type, no limit or no sentence", command)
		}
		if command.Destructive && !(command.Listed && command.Changes) || command.Counted && !command.Destructive {
			t.Errorf("%s takes something away, and runs without being listed; or counts and takes nothing", command.Type)
		}
	}
	slices.Sort(types)
	if len(slices.Compact(types)) != len(CommandTypes) {
		t.Errorf("a type twice: %q", types)
	}
}

// What a change of the epoch ends, and what carries a list of holds, are facts of the
// rows.
func TestWhatACommandTypeMeansForDelivery(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][2]bool{
		"vm.delete": {true, false}, "vm.restart": {true, false}, "license.deactivate": {true, false}, "no such type": {true, false},
		"vm.lock": {false, true}, "vm.unlock": {false, true}, "inventory.refresh": {false, false}, "diagnostics": {false, false},
	} {
		if got := [2]bool{IsHazardous(name), ChangesHolds(name)}; got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
