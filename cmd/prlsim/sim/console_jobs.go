package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func jobCommand() *cobra.Command {
	parent := commandGroup("job", "Load, unload, disable and enable jobs of launchd",
		jobLoadCommand(),
		jobChangeCommand("unload", "Let launchd forget the job, as after a bootout", (*launchdJob).unload),
		jobChangeCommand("disable", "Disable the job, as a person does in Login Items", func(job *launchdJob) { job.Disabled = true }),
		jobChangeCommand("enable", "Enable the job", func(job *launchdJob) { job.Disabled = false }),
		jobEnvironmentCommand(),
		jobListCommand())
	parent.Long = `Change what launchctl print and print-disabled say of a job of the system. No
process begins or ends by it, but that of a job that launchctl has bootstrapped.`
	parent.Example = "  prlsim job load org.example.agent --pid 123\n  prlsim job disable org.example.agent\n" +
		"  prlsim job unload " + dispatcherLabel + "    # the application was copied, not installed"
	return parent
}

func jobLoadCommand() *cobra.Command {
	var pid, exit int
	command := jobChangeCommand("load", "Let launchd know the job", func(job *launchdJob) {
		job.Loaded, job.PID, job.LastExit = true, pid, exit
	})
	command.Flags().IntVar(&pid, "pid", 0, "process of the job (0: it does not run)")
	command.Flags().IntVar(&exit, "last-exit", 0, "exit code of its last process")
	return command
}

func jobChangeCommand(use, short string, change func(*launchdJob)) *cobra.Command {
	return &cobra.Command{
		Use: use + " LABEL", Short: short, Args: argumentCount(1, 1),
		RunE: func(command *cobra.Command, given []string) error {
			return changeMac(command, func(_ Mac, state *State) (string, error) {
				job := state.job(given[0])
				change(&job)
				state.setJob(given[0], job)
				return given[0] + ": " + job.summary(), nil
			})
		},
	}
}

func jobEnvironmentCommand() *cobra.Command {
	return &cobra.Command{
		Use: "environment NAME=VALUE", Short: "Set a variable of every process that launchd starts, or with NAME= none", Args: argumentCount(1, 1),
		Example: "  prlsim job environment EXAMPLE_ROOT=$PWD/mac    # a program that has to be told where its Mac is",
		RunE: func(command *cobra.Command, given []string) error {
			name, value, found := strings.Cut(given[0], "=")
			if !found || name == "" {
				return fmt.Errorf("%w: usage: %s", errUsage, command.UseLine())
			}
			return changeMac(command, func(_ Mac, state *State) (string, error) {
				if state.JobEnvironment == nil {
					state.JobEnvironment = make(map[string]string)
				}
				state.JobEnvironment[name] = value
				if value == "" {
					delete(state.JobEnvironment, name)
				}
				return "launchd sets " + name + " to " + value, nil
			})
		},
	}
}

func jobListCommand() *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use: "list", Short: "List the jobs that were changed", Args: argumentCount(0, 0),
		RunE: func(command *cobra.Command, _ []string) error {
			state, err := loadState(command)
			if err != nil {
				return err
			}
			rows := [][]string{{"LABEL", "STATE"}}
			for _, label := range slices.Sorted(maps.Keys(state.Jobs)) {
				rows = append(rows, []string{label, state.Jobs[label].summary()})
			}
			return printRows(command, asJSON, state.Jobs, rows...)
		},
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return command
}
