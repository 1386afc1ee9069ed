package agent

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/command"
	"prlagent/agent/config"
	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

// failingExecutor looks, and sees that it is not done.
type failingExecutor struct{ countedExecutor }

func (failingExecutor) Verify(context.Context, *command.Job) (*command.Outcome, error) {
	return &command.Outcome{State: protocol.CommandFailed, Code: protocol.CodeNotDone}, nil
}

// The status has in a line what is open and what failed last, also over a restart; a
// stranger sees how many there are.
func TestStatusSaysHowItStandsWithCommands(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, commandSettings(t, "vm.delete", "vm.restart"))
		executor := countedExecutor{acts: make(chan string, 8), hold: make(chan struct{})}
		failing := failingExecutor{countedExecutor{acts: make(chan string, 8)}}
		d.parts.executors = map[string]command.Executor{"vm.delete": executor, "vm.restart": failing}
		d = d.again(t)
		d.portal.orders = []protocol.Envelope{
			order(t, d, "license.deactivate", "unlisted-1", nil),
			order(t, d, "vm.delete", "delete-1", func(c *protocol.Command) {
				c.Target.VMID, c.Target.UID, c.Target.VMName, c.Target.Owner = "vm-1", 501, "Win", "anna"
			}),
		}
		stop := d.runAll(t)
		<-executor.acts
		time.Sleep(time.Minute)
		status := d.Status().Commands
		if status == nil || status.Open != 1 || len(status.Oldest) != 1 || status.RecordCode != "" {
			t.Fatalf("%+v", status)
		}
		if one := status.Oldest[0]; one.CommandID != "delete-1" || one.State != protocol.CommandRunning || one.VMName != "Win" || one.Owner != "anna" {
			t.Errorf("open: %+v", one)
		}
		if last := status.LastFailed; last == nil || last.CommandID != "unlisted-1" || last.Code != protocol.CodeCommandUnlisted {
			t.Errorf("failed: %+v", last)
		}
		if public := d.Status().ForEveryone().Commands; public.Open != 1 || public.Oldest != nil || public.LastFailed != nil {
			t.Errorf("a stranger sees %+v", public)
		}
		close(executor.hold)
		time.Sleep(time.Minute)
		d.ask(t)
		if status := d.Status().Commands; status.Open != 0 || status.Unreported != 0 || status.LastFailed == nil {
			t.Errorf("at the end: %+v", status)
		}
		d.portal.change(func(f *fakePortal) {
			f.results, f.orders = nil, []protocol.Envelope{order(t, d, "vm.restart", "restart-1", func(c *protocol.Command) { c.Target.VMID, c.Target.UID = "vm-1", 501 })}
		})
		d.ask(t)
		time.Sleep(time.Minute)
		d.ask(t)
		if last := d.Status().Commands.LastFailed; last.CommandID != "restart-1" || last.State != protocol.CommandFailed {
			t.Errorf("then failed: %+v", last)
		}
		stop()

		later := d.again(t)
		later.commands.trusts(&config.Config{})
		if last := later.Status().Commands.LastFailed; last == nil || last.CommandID != "restart-1" {
			t.Errorf("after a restart: %+v", last)
		}
		time.Sleep(failedShownFor)
		if status := later.Status().Commands; status != nil {
			t.Errorf("a month later: %+v", status)
		}
	})
}

// What keeps every command from beginning needs a person, and passes when it is mended;
// a Mac without keys for commands says nothing of it.
func TestH22_CommandsThatCannotBeKeptOnRecordNeedAPerson(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		settings config.Config
		told     bool
	}{"keys": {commandSettings(t, "vm.delete"), true}, "no keys": {settings(t), false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := newDaemon(t, c.settings)
				path := filepath.Join(filepath.Dir(d.parts.identity), command.IntentFile)
				if err := os.Mkdir(path, 0o700); err != nil {
					t.Fatal(err)
				}
				d = d.again(t)
				stop := d.runAll(t)
				defer stop()
				d.ask(t)
				isUnreadable := func(one localapi.Condition) bool { return one.Code == protocol.CodeIntentsUnreadable }
				status := d.Status()
				if told := slices.ContainsFunc(status.Health.Conditions, isUnreadable); told != c.told {
					t.Errorf("told: %t, %+v", told, status.Health)
				}
				if !c.told {
					return
				}
				if status.Commands.RecordCode != protocol.CodeIntentsUnreadable || status.Health.State != localapi.Unhealthy {
					t.Errorf("%+v, %s", status.Commands, status.Health.State)
				}
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				d.ask(t)
				d.ask(t)
				if status := d.Status(); status.Commands.RecordCode != "" || slices.ContainsFunc(status.Health.Conditions, isUnreadable) {
					t.Errorf("mended: %+v, %+v", status.Commands, status.Health)
				}
			})
		})
	}
}
