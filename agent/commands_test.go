package agent

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/command"
	"prlagent/agent/config"
	"prlagent/agent/protocol"
)

var operatorKey = ed25519.NewKeyFromSeed([]byte("the key of one of the operators."))

// order is a signed command for the fake Mac.
func order(t *testing.T, d daemon, kind, id string, change func(*protocol.Command)) protocol.Envelope {
	t.Helper()
	wanted := protocol.Command{
		CommandID: id, Type: kind, IssuedAt: wallClock(), ExpiresAt: wallClock().Add(time.Hour),
		Target: protocol.CommandTarget{DeviceID: "device-1", MacSerial: testHost.Serial, Epoch: d.store.Epoch()},
	}
	if change != nil {
		change(&wanted)
	}
	payload, err := json.Marshal(wanted)
	if err != nil {
		t.Fatal(err)
	}
	return protocol.Sign(protocol.PayloadCommand, payload, operatorKey)
}

func commandSettings(t *testing.T, allowed ...string) config.Config {
	t.Helper()
	settings := settings(t)
	public := operatorKey.Public().(ed25519.PublicKey)
	settings.CommandKeys = []protocol.TrustedKey{{ID: protocol.KeyID(public), Key: public}}
	settings.AllowedCommands, settings.Mode = allowed, config.ModeEnforce
	settings.DestructiveLimit = config.DestructiveLimit{Count: 4, WindowHours: 24}
	return settings
}

// deletingDaemon is a daemon whose portal orders the deletion of a machine, which the
// executor carries out.
func deletingDaemon(t *testing.T, executor command.Executor) daemon {
	t.Helper()
	d := newDaemon(t, commandSettings(t, "vm.delete"))
	d.parts.executors = map[string]command.Executor{"vm.delete": executor}
	d = d.again(t)
	d.portal.orders = []protocol.Envelope{order(t, d, "vm.delete", "delete-1", func(c *protocol.Command) {
		c.Target.VMID, c.Target.UID = "vm-1", 501
	})}
	return d
}

// runAll starts the daemon's loop and what carries out commands.
func (d daemon) runAll(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.commands.run(ctx)
	}()
	stopLoop := d.run(t)
	return func() {
		stopLoop()
		cancel()
		<-ended
	}
}

// countedExecutor counts its acts, and is held while there is a channel.
type countedExecutor struct {
	acts chan string
	hold chan struct{}
}

func (countedExecutor) Prepare(context.Context, *command.Job) (*command.Readiness, error) {
	return &command.Readiness{}, nil
}

func (c countedExecutor) Act(ctx context.Context, job *command.Job) error {
	c.acts <- job.Command.CommandID
	if c.hold != nil {
		select {
		case <-c.hold:
		case <-ctx.Done():
		}
	}
	return nil
}

func (countedExecutor) Verify(context.Context, *command.Job) (*command.Outcome, error) {
	return &command.Outcome{State: protocol.CommandSucceeded, Code: protocol.CodeVerifiedAbsent}, nil
}

// A command that comes in an answer is carried out beside the loop, and its result
// is told at once, signed; the portal's acknowledgement settles it.
func TestH59_CommandsRunBesideTheLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		executor := countedExecutor{acts: make(chan string, 8), hold: make(chan struct{})}
		d := deletingDaemon(t, executor)
		stop := d.runAll(t)
		defer stop()
		if id := <-executor.acts; id != "delete-1" {
			t.Fatalf("%s was done", id)
		}
		began := time.Now()
		if asked := d.ask(t); !asked.Reported { // the loop goes on meanwhile
			t.Fatalf("%+v", asked)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("a check-in took %s while a command ran", took)
		}
		d.portal.change(func(f *fakePortal) {
			if len(f.open) != 1 || f.open[0].State != protocol.CommandRunning {
				t.Errorf("the portal is told of %+v", f.open)
			}
		})
		close(executor.hold)
		ended := time.Now()
		for len(d.portal.resultsSoFar()) == 0 {
			time.Sleep(time.Second)
			if time.Since(ended) > time.Minute {
				t.Fatal("the result is not told")
			}
		}
		result := d.portal.resultsSoFar()[0]
		if result.State != protocol.CommandSucceeded || result.Code != protocol.CodeVerifiedAbsent || result.Receipt == nil {
			t.Errorf("%+v", result)
		}
		d.ask(t)
		if told := d.portal.resultsSoFar(); len(told) != 1 || len(executor.acts) != 0 {
			t.Errorf("told %d times, %d more acts", len(told), len(executor.acts))
		}
		list, err := d.Commands("delete")
		if err != nil || len(list.Commands) != 1 || !list.Commands[0].Acknowledged || list.Commands[0].Attempts != 1 {
			t.Errorf("%+v, %v", list, err)
		}
		var states []string
		for _, step := range list.Commands[0].History {
			states = append(states, step.State)
		}
		if want := []string{"acknowledged", "running", "succeeded"}; !slices.Equal(states, want) {
			t.Errorf("history %q, want %q", states, want)
		}
		var kinds []string
		events, _, _ := d.eventLog.EventsSince(0, 1000)
		for _, event := range events {
			if event.Data["command_id"] == "delete-1" {
				kinds = append(kinds, event.Type)
			}
		}
		if want := []string{"command_received", "command_started", "command_ended"}; !slices.Equal(kinds, want) {
			t.Errorf("events %q, want %q", kinds, want)
		}
	})
}

func (f *fakePortal) resultsSoFar() []protocol.Result {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.results)
}

// The refresh types need no listing and no mode: they ask the loop for a look, or
// for the policy, and are done once that is.
func TestRefreshCommands(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"inventory.refresh", "policy.refresh"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				settings := commandSettings(t)
				settings.Mode = config.ModeMonitor
				d := newDaemon(t, settings)
				d.portal.orders = []protocol.Envelope{order(t, d, kind, "refresh-1", nil)}
				stop := d.runAll(t)
				defer stop()
				for range 120 {
					if len(d.portal.resultsSoFar()) > 0 {
						break
					}
					time.Sleep(time.Second)
				}
				results := d.portal.resultsSoFar()
				if len(results) == 0 || results[0].State != protocol.CommandSucceeded || d.portal.told != 1 {
					t.Errorf("%+v, asked %d times", results, d.portal.told)
				}
			})
		})
	}
}

// A command of another Mac, of a type that is not listed, and one that nobody signed
// who may, are answered and nothing is done.
func TestH20_PROTOCOL14_RefusedCommandsAreAnswered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, commandSettings(t, "vm.delete"))
		executor := countedExecutor{acts: make(chan string, 8)}
		d.parts.executors = map[string]command.Executor{"vm.delete": executor, "license.deactivate": executor}
		d = d.again(t)
		unsigned := order(t, d, "license.deactivate", "unsigned-1", nil)
		unsigned.Signatures = nil
		d.portal.orders = []protocol.Envelope{
			order(t, d, "license.deactivate", "unlisted-1", nil), unsigned,
			order(t, d, "vm.delete", "other-1", func(c *protocol.Command) {
				c.Target.VMID, c.Target.UID, c.Target.MacSerial = "vm-1", 501, "C02OTHER"
			}),
		}
		stop := d.runAll(t)
		defer stop()
		for range 120 {
			if len(d.portal.resultsSoFar()) == 3 {
				break
			}
			time.Sleep(time.Second)
		}
		got := map[string]protocol.Code{}
		for _, result := range d.portal.resultsSoFar() {
			got[result.CommandID] = result.Code
		}
		want := map[string]protocol.Code{
			"unlisted-1": protocol.CodeCommandUnlisted, "unsigned-1": protocol.CodeCommandSignature, "other-1": protocol.CodeCommandOtherMac,
		}
		for id, code := range want {
			if got[id] != code {
				t.Errorf("%s: %q, want %q", id, got[id], code)
			}
		}
		if len(executor.acts) != 0 {
			t.Errorf("%d acts", len(executor.acts))
		}
	})
}
