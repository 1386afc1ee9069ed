package sim

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"prlagent/platform/text"
)

func eventCommand() *cobra.Command {
	return commandGroup("event", "Make events that have no cause, and see who listens",
		eventEmitCommand(), eventStormCommand(), eventMonitorsCommand(), eventAwaitCommand())
}

// emitOptions is what `event emit` tells.
type emitOptions struct {
	vm, user, name, state string
	count                 int
}

func eventEmitCommand() *cobra.Command {
	var wanted emitOptions
	command := &cobra.Command{
		Use: "emit", Short: "Tell the streams of events something that did not happen", Args: argumentCount(0, 0),
		Long: `Tell the streams of events something that did not happen: nothing about the VM
changes. The VM may be one that is not registered, given by its id; then all
users are told. The event may be one that nobody knows.`,
		Example: `  prlsim event emit --vm macOS --name vm_config_changed
  prlsim event emit --vm macOS --name vm_state_changed --state running
  prlsim event emit --vm 11111111-2222-4333-8444-555555555555 --name vm_added --user alice
  prlsim event emit --vm macOS --name vm_perfstats --count 100`,
		RunE: func(command *cobra.Command, _ []string) error {
			if wanted.vm == "" || wanted.name == "" || wanted.count < 1 {
				return fmt.Errorf("%w: an event needs --vm and --name, and at least one --count", errUsage)
			}
			mac, err := macOf(command)
			if err != nil {
				return err
			}
			state, err := mac.Load()
			if err != nil {
				return err
			}
			event, err := state.eventToEmit(wanted)
			if err != nil {
				return err
			}
			events := make([]eventRecord, wanted.count)
			for i := range events {
				events[i] = event
			}
			return mac.recordEvents(events...)
		},
	}
	flags := command.Flags()
	flags.StringVar(&wanted.vm, "vm", "", "name or id of the VM, or the id of one that is not there")
	flags.StringVar(&wanted.user, "user", "", "owner of the VM; of one that is not there, the only one who is told")
	flags.StringVar(&wanted.name, "name", "", "name of the event, for example vm_config_changed")
	flags.StringVar(&wanted.state, "state", "", "state that a vm_state_changed tells")
	flags.IntVar(&wanted.count, "count", 1, "how often")
	return command
}

var uuidForm = text.Pattern(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

func (s *State) eventToEmit(wanted emitOptions) (eventRecord, error) {
	if _, known := s.userByName(wanted.user); wanted.user != "" && !known {
		return eventRecord{}, fmt.Errorf("no user %q on this Mac", wanted.user)
	}
	vm, err := findVM(s.ownedBy(wanted.user), wanted.vm)
	if err == nil {
		return s.newEvent(vm, wanted.name, wanted.state), nil
	}
	if id := strings.Trim(wanted.vm, "{}"); uuidForm().MatchString(id) {
		unregistered := &VM{ID: strings.ToLower(id), Owner: wanted.user, Shared: wanted.user == ""}
		return s.newEvent(unregistered, wanted.name, wanted.state), nil
	}
	return eventRecord{}, err
}

// stormOptions is what `event storm` does.
type stormOptions struct {
	vm, user                string
	echoes, uptimes, cycles int
	interval                int // milliseconds
}

func eventStormCommand() *cobra.Command {
	var wanted stormOptions
	command := &cobra.Command{
		Use: "storm", Short: "Many events that mean little: echoes, uptime, quick starts and stops", Args: argumentCount(0, 0),
		Long: `Make many events. Echoes are vm_config_changed without any change, as reading a
VM makes them. An uptime is a vm_config_changed where only the VM's uptime
changed. A cycle starts a VM and stops it again. They are made in turns; the VM
is left as it was, but for its uptime and its last start.`,
		Example: `  prlsim event storm --echoes 1000
  prlsim event storm --echoes 1000 --uptime 500 --interval-ms 5
  prlsim event storm --cycles 50 --vm macOS --interval-ms 100`,
		RunE: func(command *cobra.Command, _ []string) error {
			if wanted.echoes+wanted.uptimes+wanted.cycles < 1 || wanted.cycles > 0 && wanted.vm == "" {
				return fmt.Errorf("%w: a storm needs --echoes, --uptime or --cycles, and --cycles needs --vm", errUsage)
			}
			mac, err := macOf(command)
			if err != nil {
				return err
			}
			ctx, stop := interruptContext()
			defer stop()
			if err := mac.runStorm(ctx, wanted); err != nil {
				return err
			}
			fmt.Fprintf(command.OutOrStdout(), "%d echoes, %d uptimes, %d cycles\n", wanted.echoes, wanted.uptimes, wanted.cycles)
			return nil
		},
	}
	flags := command.Flags()
	flags.StringVar(&wanted.vm, "vm", "", "name or id of the VM (default: all in turns)")
	flags.StringVar(&wanted.user, "user", "", "owner of the VMs (default: all)")
	flags.IntVar(&wanted.echoes, "echoes", 0, "number of echoes")
	flags.IntVar(&wanted.uptimes, "uptime", 0, "number of changes of the uptime only")
	flags.IntVar(&wanted.cycles, "cycles", 0, "number of starts and stops of a stopped VM")
	flags.IntVar(&wanted.interval, "interval-ms", 0, "milliseconds between two turns")
	return command
}

func (m Mac) runStorm(ctx context.Context, wanted stormOptions) error {
	for turn := range max(wanted.echoes, wanted.uptimes, wanted.cycles) {
		if turn > 0 && !sleepContext(ctx, time.Duration(wanted.interval)*time.Millisecond) {
			return ctx.Err()
		}
		for _, part := range []struct {
			count int
			apply func(*State, *VM) error
		}{
			{wanted.echoes, func(state *State, vm *VM) error { return m.recordEvents(state.newEvent(vm, "vm_config_changed", "")) }},
			{wanted.uptimes, func(_ *State, vm *VM) error { return m.raiseUptime(vm.ID) }},
			{wanted.cycles, func(_ *State, vm *VM) error { return m.startAndStop(ctx, vm.ID, wanted.interval) }},
		} {
			if turn >= part.count {
				continue
			}
			if err := m.withVMInTurn(turn, wanted, part.apply); err != nil {
				return err
			}
		}
	}
	return nil
}

// withVMInTurn picks the VM whose turn it is.
func (m Mac) withVMInTurn(turn int, wanted stormOptions, apply func(*State, *VM) error) error {
	state, err := m.Load()
	if err != nil {
		return err
	}
	vms := state.ownedBy(wanted.user)
	if wanted.vm != "" {
		vm, err := findVM(vms, wanted.vm)
		if err != nil {
			return err
		}
		vms = []*VM{vm}
	}
	if len(vms) == 0 {
		return errors.New("there are no VMs for a storm")
	}
	return apply(state, vms[turn%len(vms)])
}

// changeVM runs a change of one VM.
func (m Mac) changeVM(id string, apply func(*State, *VM) error) error {
	return m.update(func(state *State) error {
		vm, err := findVM(state.VMs, id)
		if err != nil {
			return err
		}
		return apply(state, vm)
	})
}

func (m Mac) raiseUptime(id string) error {
	return m.changeVM(id, func(state *State, vm *VM) error {
		vm.Uptime++
		state.addEvent(vm, "vm_config_changed", "")
		return m.writeBundle(state, vm)
	})
}

func (m Mac) startAndStop(ctx context.Context, id string, interval int) error {
	for _, action := range []string{"start", "stop"} {
		err := m.changeVM(id, func(state *State, vm *VM) error { return m.applyTransition(state, vm, transitions[action]) })
		if err != nil {
			return err
		}
		if action == "start" {
			sleepContext(ctx, time.Duration(interval)*time.Millisecond) // it is stopped in any case
		}
	}
	return nil
}

// sleepContext waits; false means that the context ended before.
func sleepContext(ctx context.Context, wait time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(wait):
		return true
	}
}

func eventMonitorsCommand() *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use: "monitors", Short: "List the streams of events that are connected", Args: argumentCount(0, 0),
		RunE: func(command *cobra.Command, _ []string) error {
			mac, err := macOf(command)
			if err != nil {
				return err
			}
			monitors := mac.connectedStreams()
			rows := [][]string{{"USER", "PROCESS"}}
			for _, monitor := range monitors {
				rows = append(rows, []string{monitor.User, strconv.Itoa(monitor.PID)})
			}
			return printRows(command, asJSON, monitors, rows...)
		},
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return command
}

// awaitPoll is how often `event await` looks.
const awaitPoll = 20 * time.Millisecond

func eventAwaitCommand() *cobra.Command {
	var user string
	var limit time.Duration
	var gone bool
	command := &cobra.Command{
		Use: "await", Short: "Wait until a user's stream of events is connected", Args: argumentCount(0, 0),
		Long: `Wait until a user's stream of events is connected: what happens from then on is
told by it. Without a user all who are on this Mac must have one.`,
		Example: `  prlsim event await --user alice
  prlsim event await --timeout 10s
  prlsim event await --gone`,
		RunE: func(command *cobra.Command, _ []string) error {
			mac, err := macOf(command)
			if err != nil {
				return err
			}
			state, err := mac.Load()
			if err != nil {
				return err
			}
			if _, known := state.userByName(user); user != "" && !known {
				return fmt.Errorf("no user %q on this Mac", user)
			}
			interrupted, stop := interruptContext()
			defer stop()
			ctx, cancel := context.WithTimeout(interrupted, limit)
			defer cancel()
			for !state.streamsMatch(mac.connectedStreams(), user, !gone) {
				if !sleepContext(ctx, awaitPoll) {
					return fmt.Errorf("after %s: connected are %v", limit, mac.connectedStreams())
				}
			}
			return nil
		},
	}
	command.Flags().StringVar(&user, "user", "", "the user (default: all)")
	command.Flags().DurationVar(&limit, "timeout", 30*time.Second, "how long to wait at most")
	command.Flags().BoolVar(&gone, "gone", false, "wait until there is none instead")
	return command
}

// streamsMatch reports whether the user, or each user, has a stream, or has none.
func (s *State) streamsMatch(monitors []waitingProcess, user string, connected bool) bool {
	has := map[string]bool{}
	for _, monitor := range monitors {
		has[monitor.User] = true
	}
	for _, other := range s.Users {
		if (user == "" || user == other.Name) && has[other.Name] != connected {
			return false
		}
	}
	return true
}

// interruptContext ends with the terminal's interrupt or a SIGTERM.
func interruptContext() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
}
