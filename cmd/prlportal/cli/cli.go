// Package cli is the command line of prlportal: its main, the operator's
// commands (init, profile, lists, export, views, decisions of devices) and serve.
//
// A command parses its flags, calls the package that does the work, and prints
// for people or for machines. What it prints may come from a Mac or from a
// portal that lies, and is shown with package platform/text (H15).
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/platform/text"
)

// version is set by the build with -ldflags "-X …"; empty otherwise.
var version string

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
	// exitIncomplete: a file of evidence is genuine, and shows less than it could.
	exitIncomplete = 3
)

// usageError is a mistake in how the program was called.
type usageError string

func (e usageError) Error() string { return string(e) }

// Main runs prlportal with the process's own arguments and returns its exit
// code: 0, 1 for a failure, 2 for wrong usage, 3 for evidence that is not complete.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return runCommand(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

// runCommand runs one command line. Its error may have words of a Mac or of
// whoever typed them (H15).
func runCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	refuseOtherShells(root)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	remedy := ""
	var known interface{ Remedy() string }
	if errors.As(err, &known) {
		remedy = known.Remedy()
	}
	if exitCode(err) == exitUsage {
		remedy = "See '" + command.CommandPath() + " --help'."
	}
	fmt.Fprint(stderr, text.Complaint("prlportal", inPlainWords(err), remedy))
	return exitCode(err)
}

// inPlainWords says what the portal has refused without the words of the protocol.
func inPlainWords(err error) error {
	var problem protocol.Problem
	if !errors.As(err, &problem) {
		return err
	}
	if why, refused := strings.CutPrefix(problem.Detail, "Refused: "); refused {
		return errors.New("the portal refuses it: " + strings.TrimSuffix(why, "."))
	}
	if problem.Detail == adminapi.NoSuchCommand {
		return errors.New("there is no such command; see 'prlportal commands'")
	}
	return err
}

// refuseOtherShells has cobra's own command of completion take no word for its
// help that names no shell. It writes where the root does when it is made.
func refuseOtherShells(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	completion, _, err := root.Find([]string{"completion"})
	if err != nil {
		return
	}
	completion.Args = func(_ *cobra.Command, given []string) error {
		if len(given) > 0 {
			return usageError(fmt.Sprintf("there is no completion for %q", given[0]))
		}
		return nil
	}
	completion.RunE = func(command *cobra.Command, _ []string) error { return command.Help() }
}

func exitCode(err error) int {
	var usage usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	if errors.Is(err, errIncomplete) {
		return exitIncomplete
	}
	return exitFailure
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "prlportal",
		Short: "The reference management portal of prlagent",
		Long: `Prlportal is what Macs with prlagentd enroll with and report to, and the
operator's commands for it. Begin with 'prlportal init DIR'.

Every flag has a twin in the environment, shown in brackets; the flag wins.`,
		Example: `  prlportal init site --host portal.example.com
  prlportal serve --dir portal
  prlportal devices --dir site/operator`,
		Version:       programVersion(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(root *cobra.Command, given []string) error {
			if len(given) > 0 {
				if full := findBelow(root, given[0]); len(full) > 0 {
					return usageError("it is '" + strings.Join(full, "' or '") + "'")
				}
				return usageError(fmt.Sprintf("there is no command %q", given[0]))
			}
			return nil
		},
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	root.SetFlagErrorFunc(func(command *cobra.Command, err error) error {
		return usageError(err.Error() + hintAtTypography(command.Flags().Args()))
	})
	root.SetVersionTemplate("prlportal {{.Version}}\n")
	root.SetHelpCommand(newHelpCommand())
	root.AddCommand(newInitCommand(), newServeCommand(), newProfileCommand(), newPackageCommand(), newCertificateCommand(),
		newLintCommand(), newDiffCommand(), newPublishCommand(), newPoliciesCommand(), newGroupsCommand(), newRenewHeadsCommand(), newKeysCommand(),
		newDevicesCommand(), newVMsCommand(), newEventsCommand(), newCommandCommand(), newCommandsCommand(), newEvidenceCommand(), newVerifyCommand(), newExportCommand(), newReportCommand(), newViewsCommand(),
		newAdminsCommand(), newWebhookCommand(), newBackupCommand(), newRestoreCommand(), newAuditCommand(), newVersionCommand())
	for _, command := range root.Commands() {
		prepare(command)
	}
	root.SetUsageTemplate(root.UsageTemplate() + exitCodeHelp)
	return root
}

// findBelow are the whole names of the commands of that name below the first level.
func findBelow(root *cobra.Command, name string) (full []string) {
	for _, command := range root.Commands() {
		for _, below := range command.Commands() {
			if below.Name() == name {
				full = append(full, below.CommandPath())
			}
		}
	}
	return full
}

// prepare gives a command, and those below it, what all have.
func prepare(command *cobra.Command) {
	bindEnvironment(command)
	completeValues(command)
	for _, below := range command.Commands() {
		prepare(below)
	}
}

const exitCodeHelp = `
Exit codes:
  0  done
  1  it failed, or the portal refused
  2  wrong usage
`

// newHelpCommand is cobra's own but for a name that no command has, which is an
// error.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about a command",
		RunE: func(command *cobra.Command, args []string) error {
			found, rest, err := command.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usageError(fmt.Sprintf("there is no command %q", strings.Join(args, " ")))
			}
			return found.Help()
		},
	}
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  prlportal version",
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(command.OutOrStdout(), "prlportal", programVersion())
			return err
		},
	}
}

// programVersion is the version of this build, from the linker or from what
// the go command recorded.
func programVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// bindEnvironment gives each flag of the command its twin: --ready-file is
// also PRLPORTAL_READY_FILE.
func bindEnvironment(command *cobra.Command) {
	command.Flags().VisitAll(func(flag *pflag.Flag) {
		flag.Usage += " [" + environmentName(flag.Name) + "]"
	})
	checkArguments := command.Args
	command.Args = func(command *cobra.Command, args []string) error {
		if checkArguments == nil {
			return nil
		}
		if err := checkArguments(command, args); err != nil {
			return usageError(err.Error() + hintAtTypography(args) + ": '" + command.UseLine() + "'")
		}
		return nil
	}
	command.PreRunE = func(command *cobra.Command, _ []string) error { return readEnvironment(command) }
}

// hintAtTypography says why an argument that was pasted from a chat is none of the
// flags that it looks like.
func hintAtTypography(args []string) string {
	for _, arg := range args {
		straight := text.Straighten(arg)
		switch {
		case straight != arg && strings.HasPrefix(straight, "-"):
			return fmt.Sprintf("; %q begins with a dash, flags begin with two hyphens", text.Display(arg))
		case straight != arg && strings.Contains(straight, `"`):
			return fmt.Sprintf("; %q has curly quotes, which are none for the shell", text.Display(arg))
		}
	}
	return ""
}

func readEnvironment(command *cobra.Command) error {
	var failed error
	command.Flags().VisitAll(func(flag *pflag.Flag) {
		value, set := os.LookupEnv(environmentName(flag.Name))
		if !set || value == "" || flag.Changed || failed != nil {
			return
		}
		if err := command.Flags().Set(flag.Name, value); err != nil {
			failed = usageError(fmt.Sprintf("%s: %v", environmentName(flag.Name), err))
		}
	})
	return failed
}

func environmentName(flag string) string {
	return "PRLPORTAL_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}
