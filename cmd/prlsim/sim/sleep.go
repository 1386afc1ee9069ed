package sim

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// agentProgram is what else stands still while the Mac sleeps, where it was
// started for this Mac by --root or the variable.
const (
	agentProgram      = "prlagentd"
	agentRootFlag     = "--root"
	agentRootVariable = "PRLAGENT_ROOT"
)

func macSleepCommand() *cobra.Command {
	return &cobra.Command{
		Use: "sleep DURATION", Short: "Put the Mac to sleep for a while", Args: argumentCount(1, 1),
		Long: `Put the Mac to sleep: its processes, and an agent that runs for its folder, are
stopped for that long; then they go on. The clock goes on meanwhile, and so do
the timers of the processes, which have expired when they wake: a real Mac stops
them. The command ends when the Mac is awake.`,
		Example: "  prlsim mac sleep 3s",
		RunE: func(command *cobra.Command, given []string) error {
			wait, err := time.ParseDuration(given[0])
			if err != nil || wait <= 0 {
				return fmt.Errorf("%w: %q is no duration such as 3s or 2m", errUsage, given[0])
			}
			mac, err := macOf(command)
			if err != nil {
				return err
			}
			ctx, stop := interruptContext()
			defer stop()
			count, err := mac.sleepFor(ctx, wait)
			if err != nil {
				return err
			}
			fmt.Fprintf(command.OutOrStdout(), "Slept for %s: %d processes\n", wait, count)
			return nil
		},
	}
}

// sleepFor stops the Mac's processes until the time is over or the context ends.
func (m Mac) sleepFor(ctx context.Context, wait time.Duration) (int, error) {
	var asleep []int
	defer func() {
		for _, pid := range asleep {
			_ = syscall.Kill(pid, syscall.SIGCONT) // it may have been killed
		}
	}()
	for { // what was begun meanwhile goes to sleep as well
		processes, err := m.ownProcesses()
		if err != nil {
			return 0, err
		}
		before := len(asleep)
		for _, pid := range processes {
			if !slices.Contains(asleep, pid) && syscall.Kill(pid, syscall.SIGSTOP) == nil {
				asleep = append(asleep, pid)
			}
		}
		if len(asleep) == before {
			break
		}
	}
	sleepContext(ctx, wait)
	return len(asleep), nil
}
