package sim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"prlagent/platform/text"
)

// consoleCommand returns the operator's console, `prlsim`. Subcommands of other
// packages can be added to it.
func consoleCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "prlsim",
		Short: "A simulated Mac with Parallels Desktop to try and test with",
		Long: `prlsim makes a folder that stands for a Mac with Parallels Desktop: its users,
its virtual machines and the tools an agent calls. What you do to it here is
what people and the Mac do in real life.

Exit codes: 0 done, 1 it failed, 2 the command line makes no sense.`,
		Example: `  prlsim mac create /tmp/mac
  prlsim vm list --mac /tmp/mac
  prlsim vm start macOS --mac /tmp/mac
  prlsim app launch --mac /tmp/mac
  prlsim fault set service_down --mac /tmp/mac
  /tmp/mac/usr/bin/sudo -n -H -u alice "/Applications/Parallels Desktop.app/Contents/MacOS/prlctl" list -a`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       buildVersion(),
		RunE:          groupRun("prlsim"),
	}
	root.SetVersionTemplate("prlsim {{.Version}}\n")
	root.SetHelpCommand(helpCommand())
	root.PersistentFlags().String("mac", "", "the simulated Mac's folder (default: the one that contains the current folder)")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	root.AddCommand(macCommand(), vmCommand(), productCommand(), userCommand(), serviceCommand(), appCommand(), preferencesCommand(), swiftDialogCommand(),
		networkCommand(), eventCommand(), faultCommand(), jobCommand(), profileCommand(), effectsCommand(), versionCommand())
	return root
}

// executeConsole runs the console: exit code 2 for wrong usage, 1 for other
// errors, and its own for an error that has one.
func executeConsole(command *cobra.Command) int {
	err := command.Execute()
	var coded interface{ ExitCode() int }
	switch {
	case errors.As(err, &coded):
		fmt.Fprint(command.ErrOrStderr(), text.Complaint("prlsim", err, ""))
		return coded.ExitCode()
	case err == nil:
		return 0
	case errors.Is(err, errUsage) || strings.HasPrefix(err.Error(), "unknown command"):
		fmt.Fprint(command.ErrOrStderr(), text.Complaint("prlsim", errors.New(strings.TrimPrefix(err.Error(), errUsage.Error()+": ")), "See 'prlsim help'."))
		return 2
	}
	fmt.Fprint(command.ErrOrStderr(), text.Complaint("prlsim", err, ""))
	return 1
}

// helpCommand is cobra's, but for a name that no command has, which is a mistake.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Show what a command does", Example: "  prlsim help vm create",
		RunE: func(command *cobra.Command, topic []string) error {
			found, rest, err := command.Root().Find(topic)
			if err != nil || len(rest) > 0 {
				return fmt.Errorf("%w: unknown command %q of prlsim", errUsage, strings.Join(topic, " "))
			}
			return found.Help()
		},
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Example: "  prlsim version", Args: argumentCount(0, 0),
		RunE: func(command *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(command.OutOrStdout(), "prlsim", buildVersion())
			return err
		},
	}
}

// buildVersion is the version that the go command recorded.
func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

// commandGroup is a command that only groups others.
func commandGroup(use, short string, commands ...*cobra.Command) *cobra.Command {
	parent := &cobra.Command{
		Use: use, Short: short,
		RunE: groupRun("prlsim " + use),
	}
	parent.AddCommand(commands...)
	return parent
}

// groupRun is what a command does that needs another one behind it.
func groupRun(path string) func(*cobra.Command, []string) error {
	return func(command *cobra.Command, arguments []string) error {
		if len(arguments) > 0 {
			return fmt.Errorf("%w: unknown command %q of %s", errUsage, arguments[0], path)
		}
		return command.Help()
	}
}

// argumentCount checks the number of arguments and marks the error as usage.
func argumentCount(least, most int) cobra.PositionalArgs {
	return func(command *cobra.Command, given []string) error {
		if len(given) < least || most >= 0 && len(given) > most {
			return fmt.Errorf("%w: usage: %s", errUsage, command.UseLine())
		}
		return nil
	}
}

// macOf finds the Mac of --mac or of the current folder.
func macOf(command *cobra.Command) (Mac, error) {
	path, err := command.Flags().GetString("mac")
	if err != nil {
		return Mac{}, err
	}
	mac, err := findMac(path) // "" is the current folder
	if err != nil {
		return Mac{}, fmt.Errorf("%w; name one with --mac, or make one with: prlsim mac create DIR", err)
	}
	return mac, nil
}

// changeMac runs a change of the Mac's state and prints what it says. When it
// returns, processes have begun and ended as the change wants.
func changeMac(command *cobra.Command, apply func(Mac, *State) (string, error)) error {
	mac, err := macOf(command)
	if err != nil {
		return err
	}
	var message string
	err = mac.update(func(state *State) (err error) {
		message, err = apply(mac, state)
		return err
	})
	if err != nil {
		return err
	}
	mac.waitForExits()
	if message != "" {
		fmt.Fprintln(command.OutOrStdout(), text.Display(message))
	}
	return nil
}

// loadState returns the Mac's state for commands that only read.
func loadState(command *cobra.Command) (*State, error) {
	mac, err := macOf(command)
	if err != nil {
		return nil, err
	}
	return mac.Load()
}

// printRows prints rows as an aligned table, or value as JSON.
func printRows(command *cobra.Command, asJSON bool, value any, rows ...[]string) error {
	out := command.OutOrStdout()
	if asJSON {
		return printJSON(out, value)
	}
	_, err := io.WriteString(out, text.Table{Rows: rows}.String())
	return err
}

func printJSON(out io.Writer, value any) error {
	encoded, err := text.EncodeJSON(value, "", "  ")
	if err != nil {
		return err
	}
	_, err = out.Write(append(encoded, '\n'))
	return err
}

func macCommand() *cobra.Command {
	return commandGroup("mac", "Create a simulated Mac, look at it, rename it, reboot it, put it to sleep, run a script on it",
		macCreateCommand(), macShowCommand(), macRenameCommand(), macSerialCommand(), macRebootCommand(), macSleepCommand(), macScriptCommand(), assumptionsCommand())
}

func macCreateCommand() *cobra.Command {
	var wanted newMacOptions
	var cpu, serial string
	command := &cobra.Command{
		Use:   "create DIR",
		Short: "Make a folder that stands for a Mac",
		Long: `Make a folder that stands for a Mac: alice (on the screen) and bob (switched out),
and five virtual machines. The service and each running VM have a real process,
prl_disp_service and prl_vm_app, which ends by itself when the service or the VM
stops, or when the folder is removed.`,
		Example: `  prlsim mac create /tmp/mac
  prlsim mac create /tmp/mac --users alice,bob,carol --logged-out carol
  prlsim mac create /tmp/old --pd-version 18 --cpu intel --empty
  prlsim mac create /tmp/mac --assume bulk_home=filled`,
		Args: argumentCount(1, 1),
		RunE: func(command *cobra.Command, given []string) error {
			if cpu != "arm" && cpu != "intel" {
				return fmt.Errorf("%w: --cpu is arm or intel", errUsage)
			}
			wanted.Intel = cpu == "intel"
			if command.Flags().Changed("serial") {
				wanted.Serial = &serial
			}
			executable, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find own path: %w", err)
			}
			mac, err := createMac(given[0], executable, wanted)
			if err != nil {
				return err
			}
			fmt.Fprintf(command.OutOrStdout(), "A simulated Mac is in %s\n", mac.Dir)
			return nil
		},
	}
	flags := command.Flags()
	flags.StringSliceVar(&wanted.Users, "users", []string{"alice", "bob"}, "the Mac's users, from uid 501 on")
	flags.StringSliceVar(&wanted.LoggedOut, "logged-out", nil, "users without a session")
	flags.StringSliceVar(&wanted.Standard, "standard", nil, "users who are no administrators")
	flags.StringVar(&wanted.Console, "console", "", "user on the screen (default: the first who is logged in)")
	flags.BoolVar(&wanted.Empty, "empty", false, "no virtual machines")
	flags.StringVar(&wanted.ProductVersion, "pd-version", "26.4.0-57513", "version of Parallels Desktop, whole or 15, 16, 18, 19, 20, 26, 27")
	flags.StringVar(&wanted.Edition, "edition", "enterprise", "standard, pro, business or enterprise")
	flags.StringVar(&cpu, "cpu", "arm", "arm or intel")
	flags.Int64Var(&wanted.Seed, "seed", 1, "ids and serial numbers are the same for the same seed")
	flags.StringVar(&wanted.ComputerName, "name", "Alice's MacBook Pro", "computer name")
	flags.StringVar(&serial, "serial", "", "serial number, which may be blank (default: one of the seed)")
	flags.BoolVar(&wanted.NoSerial, "no-serial", false, "the hardware has no serial number")
	flags.StringVar(&wanted.License, "license", "active", "active, graced, expired, invalid or none")
	flags.BoolVar(&wanted.NoProcesses, "no-processes", false, "no process starts by itself: neither the service nor VMs have one")
	flags.StringArrayVar(&wanted.Assume, "assume", nil, "NAME=VALUE of an unsure behavior (see prlsim mac assumptions)")
	return command
}

func macShowCommand() *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use: "show", Short: "Show the Mac, its product and what is assumed about it", Args: argumentCount(0, 0),
		RunE: func(command *cobra.Command, _ []string) error {
			state, err := loadState(command)
			if err != nil {
				return err
			}
			rows := [][]string{
				{"Computer name", state.ComputerName}, {"Serial number", state.SerialNumber},
				{"Hardware UUID", strings.ToUpper(state.HardwareUUID)}, {"Volume", state.Volume.summary()},
				{"Booted", state.BootedAt.Format(time.DateTime)}, {"Product", state.Product.summary()},
				{"On the screen", state.Console}, {"Service", state.Service.summary()}, {"Network", state.Network.summary()},
			}
			for _, assumption := range assumptions {
				rows = append(rows, []string{"Assumed " + assumption.Name, state.assumedValue(assumption.Name)})
			}
			return printRows(command, asJSON, state, rows...)
		},
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print the whole state as JSON")
	return command
}

func (p product) summary() string {
	switch {
	case !p.isInstalled():
		return "Parallels Desktop " + p.Version + ", deactivated"
	case p.LicenseStatus != "ACTIVE":
		return "Parallels Desktop " + p.Version + " " + p.Edition + ", license " + strings.ToLower(p.LicenseStatus)
	}
	return "Parallels Desktop " + p.Version + " " + p.Edition + ", activated by " + p.Activation
}

func macRenameCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rename NAME", Short: "Change the computer name", Args: argumentCount(1, 1),
		RunE: func(command *cobra.Command, given []string) error {
			return changeMac(command, func(_ Mac, state *State) (string, error) {
				state.ComputerName = given[0]
				return "The Mac is now named " + given[0], nil
			})
		},
	}
}

func assumptionsCommand() *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use: "assumptions", Short: "List the unsure behaviors that --assume switches", Args: argumentCount(0, 0),
		RunE: func(command *cobra.Command, _ []string) error {
			rows := [][]string{{"NAME", "VALUES (default first)", "MEANS", "FACT"}}
			for _, a := range assumptions {
				rows = append(rows, []string{a.Name, strings.Join(a.Values, ", "), a.Means, a.Fact})
			}
			return printRows(command, asJSON, assumptions, rows...)
		},
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return command
}
