package sim

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// person is a user who starts a VM again and again, in a process of the Mac.
type person struct {
	User   string `json:"user"`
	VM     string `json:"vm"`
	Period int    `json:"period_ms"`
	PID    int    `json:"pid"`
}

// personProgram is no program of a Mac: it stands for somebody at the keyboard.
const (
	personProgram = "person"
	personPath    = "/" + markerFolder + "/" + personProgram
)

// keepStarting lets the owner of a VM start it in a loop.
func (m Mac) keepStarting(state *State, vm *VM, period time.Duration) error {
	state.stopStarting(vm)
	millis := int(period.Milliseconds())
	pid, err := m.startBackground(personPath, vm.ID, vm.Owner, strconv.Itoa(millis))
	state.Persons = append(state.Persons, person{User: vm.Owner, VM: vm.ID, Period: millis, PID: pid})
	return err
}

// stopStarting ends it, and reports whether somebody did.
func (s *State) stopStarting(vm *VM) bool {
	before := len(s.Persons)
	s.Persons = slices.DeleteFunc(s.Persons, func(p person) bool { return p.VM == vm.ID && p.User == vm.Owner })
	return len(s.Persons) < before
}

// personProcess starts its VM whenever that does not run, at most once a period.
type personProcess struct {
	in       *invocation
	vm, user string
	period   time.Duration
	last     time.Time // it looked, or started the VM
}

// runPerson plays `person VM USER MILLISECONDS`.
func runPerson(in *invocation) int {
	if len(in.args) != 3 {
		return in.failf(exitRefused, "person: wrong arguments")
	}
	return in.liveWhileNeeded(&personProcess{in: in, vm: in.args[0], user: in.args[1], period: faultDuration(in.args[2], time.Millisecond)})
}

func (s *State) isLoggedIn(name string) bool {
	user, _ := s.userByName(name)
	return user.LoggedIn
}

func (p *personProcess) changed(state *State) (wakeAt time.Time) {
	vm, err := findVM(state.ownedBy(p.user), p.vm)
	if err != nil || vm.State == "running" || !state.isLoggedIn(p.user) {
		return time.Time{}
	}
	if next := p.last.Add(p.period); next.After(time.Now()) {
		return next
	}
	return time.Now()
}

// wake tries to start the VM. What the Mac refuses is tried again after a period: the
// state is saved in any case, which is a change.
func (p *personProcess) wake() error {
	p.last = time.Now()
	return p.in.mac.update(func(state *State) error {
		vm, err := findVM(state.ownedBy(p.user), p.vm)
		if err != nil || !state.ownsProcess(os.Getpid()) || !state.isLoggedIn(p.user) {
			return nil
		}
		state.actor = actor{personProgram, p.user}
		name := "start"
		if vm.State == "paused" {
			name = "resume"
		}
		if slices.Contains(transitions[name].from, vm.State) && !vm.Packed {
			return p.in.mac.applyTransition(state, vm, transitions[name])
		}
		return nil
	})
}

func vmKeepStartingCommand() *cobra.Command {
	var period time.Duration
	command := &cobra.Command{
		Use: "keep-starting NAME-OR-ID", Short: "Let its user start a VM whenever it does not run, until let-be", Args: argumentCount(1, 1),
		Long: `Let its user start a VM whenever it does not run, at most once a period, in a
process of the simulated Mac, until vm let-be. What was started is in prlsim
effects, by person.`,
		Example: "  prlsim vm keep-starting macOS --every 2s\n  prlsim vm let-be macOS",
		RunE: func(command *cobra.Command, given []string) error {
			if period < time.Millisecond {
				return fmt.Errorf("%w: --every is at least 1ms", errUsage)
			}
			return vmChange(command, given[0], func(mac Mac, state *State, vm *VM) (string, error) {
				return fmt.Sprintf("%s: %s starts it every %s", vm.Name, vm.Owner, period), mac.keepStarting(state, vm, period)
			})
		},
	}
	command.Flags().DurationVar(&period, "every", 2*time.Second, "how long the user waits before they start it again")
	return command
}

func vmLetBeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "let-be NAME-OR-ID", Short: "End keep-starting", Args: argumentCount(1, 1),
		RunE: func(command *cobra.Command, given []string) error {
			return vmChange(command, given[0], func(_ Mac, state *State, vm *VM) (string, error) {
				if !state.stopStarting(vm) {
					return "", fmt.Errorf("nobody keeps starting %s", vm.Name)
				}
				return vm.Name + ": nobody starts it any more", nil
			})
		},
	}
}
