package sim

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
)

func serviceCommand() *cobra.Command {
	parent := commandGroup("service", "Stop and start the Parallels Service",
		serviceActionCommand("stop", "Stop the service: the tools cannot reach it, and streams of events end", func(state *State) {
			_ = state.setFault("service_down", "") // this one exists and takes no value
		}),
		serviceActionCommand("start", "Start the service; from then on it has a process", func(state *State) {
			state.clearFault("service_down", "")
			state.Service.Process = true
		}),
		serviceActionCommand("restart", "Restart the service: a new process, and streams of events end", func(state *State) {
			state.clearFault("service_down", "")
			state.Service.Process, state.Service.Running = true, false
		}))
	parent.Long = `Stop and start the Parallels Service, prl_disp_service. While it is stopped,
prlctl and prlsrvctl end with 253: that is the fault service_down, which is on
then, and which stops the service as well when it is switched on for all users.`
	parent.Example = "  prlsim service restart\n  prlsim service stop\n  prlsim service start"
	return parent
}

func serviceActionCommand(use, short string, apply func(*State)) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: argumentCount(0, 0),
		RunE: func(command *cobra.Command, _ []string) error {
			return changeMac(command, func(mac Mac, state *State) (string, error) {
				apply(state)
				err := mac.syncService(state)
				return "The service is " + state.Service.summary(), err
			})
		},
	}
}

func (s dispatcherService) summary() string {
	switch {
	case !s.Running:
		return "stopped"
	case s.PID == 0:
		return "running, without a process"
	}
	return "running, process " + strconv.Itoa(s.PID)
}

func appCommand() *cobra.Command {
	parent := commandGroup("app", "Launch and quit Parallels Desktop",
		appLaunchCommand(), appQuitCommand())
	parent.Long = `Launch and quit the application, prl_client_app: a real process for each user
who runs it, also on a Mac without processes. One account plays all users, so that
an agent takes it to run for each of them.`
	parent.Example = "  prlsim app launch\n  prlsim app launch --user bob\n  prlsim app quit"
	parent.PersistentFlags().String("user", "", "who does it (default: launch: the user on the screen, quit: all)")
	return parent
}

func appLaunchCommand() *cobra.Command {
	return &cobra.Command{
		Use: "launch", Short: "Launch the application", Args: argumentCount(0, 0),
		RunE: func(command *cobra.Command, _ []string) error {
			return changeMac(command, func(mac Mac, state *State) (string, error) {
				user, err := command.Flags().GetString("user")
				if err != nil {
					return "", err
				}
				if user == "" {
					user = state.defaultOwner()
				}
				return "The application runs for " + user, mac.launchApp(state, user)
			})
		},
	}
}

func appQuitCommand() *cobra.Command {
	var crash bool
	command := &cobra.Command{
		Use: "quit", Short: "Quit the application", Args: argumentCount(0, 0),
		Long: `Quit the application. It writes preferences then, by the assumption quit_writes,
and installs an update that it has downloaded.`,
		RunE: func(command *cobra.Command, _ []string) error {
			return changeMac(command, func(_ Mac, state *State) (string, error) {
				user, err := command.Flags().GetString("user")
				if err != nil {
					return "", err
				}
				if crash {
					state.crashApp(user)
				}
				if state.quitApp(user) == 0 {
					return "", fmt.Errorf("the application does not run")
				}
				return "The application has quit", nil
			})
		},
	}
	command.Flags().BoolVar(&crash, "crash", false, "it crashes: it writes and installs nothing")
	return command
}
