// Package daemon is the program prlagentd: flags and their environment twins,
// the log, and the life cycle around agent.Run.
package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"prlagent/agent"
	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/launchd"
	"prlagent/platform/text"
	"prlagent/store"
)

// Exit codes of prlagentd.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUsage   = 2
	exitRunning = 3 // another one runs on this Mac
	exitRefused = 4 // not root, or not allowed to
)

// Main runs the program and gives its exit code.
func Main() int {
	return runProgram(os.Args[1:], os.Stdout, os.Stderr)
}

func runProgram(args []string, stdout, stderr io.Writer) int {
	command := newCommand()
	command.SetArgs(args)
	command.SetOut(stdout)
	command.SetErr(stderr)
	if err := command.Execute(); err != nil {
		return explainEnd(stderr, err)
	}
	return exitOK
}

// explainEnd prints why the program ends and, where the table of codes knows it,
// what to do; the result is the exit code.
func explainEnd(stderr io.Writer, err error) int {
	var known *exitError
	if errors.As(err, &known) {
		fmt.Fprint(stderr, text.Complaint("prlagentd", err, ""))
		return known.code
	}
	remedy := protocol.CodeOf(err).Text().Remedy
	if errors.Is(err, errUsage) {
		remedy = "See 'prlagentd help'."
	}
	fmt.Fprint(stderr, text.Complaint("prlagentd", err, remedy))
	switch {
	case errors.Is(err, store.ErrLocked):
		return exitRunning
	case errors.Is(err, errUsage):
		return exitUsage
	}
	return exitFailed
}

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	text string
}

func (e *exitError) Error() string { return e.text }

var errUsage = errors.New("wrong usage")

// programFlags are the flags of every command; each has an environment twin.
type programFlags struct{ root, config, logLevel string }

func newCommand() *cobra.Command {
	var f programFlags
	var showVersion bool
	root := &cobra.Command{
		Use:           "prlagentd",
		Short:         "The endpoint agent for Macs that run Parallels Desktop",
		Long:          "prlagentd watches Parallels Desktop on this Mac, reports to a management portal and\nanswers 'prlagent'. launchd starts it with 'prlagentd run'." + exitHelp,
		Example:       "  sudo prlagentd run\n  prlagentd version --json",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			if showVersion {
				return printVersion(command)
			}
			return command.Help()
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", err, errUsage) })
	root.PersistentFlags().StringVar(&f.root, "root", os.Getenv("PRLAGENT_ROOT"), "folder of a simulated Mac ($PRLAGENT_ROOT)")
	root.PersistentFlags().StringVar(&f.config, "config", os.Getenv("PRLAGENT_CONFIG"), "local configuration instead of config.plist ($PRLAGENT_CONFIG)")
	root.PersistentFlags().StringVar(&f.logLevel, "log-level", os.Getenv("PRLAGENT_LOG_LEVEL"), "debug, info, warn or error ($PRLAGENT_LOG_LEVEL)")
	// Not cobra's own flag: its template would link text/template, and with it all
	// methods of the program.
	root.Flags().BoolVar(&showVersion, "version", false, "print the version")
	root.SetHelpCommand(helpCommand())
	root.AddCommand(runCommand(&f), versionCommand(), lookCommand())
	return root
}

const exitHelp = `

Exit codes: 0 it was stopped, 1 it failed, 2 the command line makes no sense,
3 another one runs on this Mac, 4 not root, or not allowed to.`

// helpCommand is cobra's, but for a name that no command has, which is a mistake.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Show what a command does",
		Example: "  prlagentd help run",
		RunE: func(command *cobra.Command, topic []string) error {
			found, rest, err := command.Root().Find(topic)
			if err != nil || len(rest) > 0 {
				return fmt.Errorf("there is no command %q: %w", strings.Join(topic, " "), errUsage)
			}
			return found.Help()
		},
	}
}

func printVersion(command *cobra.Command) error {
	version, revision := localapi.BuildVersion()
	_, err := fmt.Fprintln(command.OutOrStdout(), strings.TrimSpace("prlagentd "+version+" "+revision))
	return err
}

// noArguments refuses words that no command takes, and names that no command has.
func noArguments(command *cobra.Command, given []string) error {
	if len(given) > 0 {
		return fmt.Errorf("%q makes no sense after %q: %w", given[0], command.CommandPath(), errUsage)
	}
	return nil
}

func runCommand(f *programFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Run in the foreground until SIGTERM (what launchd starts)",
		Example: "  sudo prlagentd run\n" +
			"  prlagentd run --root /tmp/mac --log-level debug    # a simulated Mac, see 'prlsim help'",
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return runDaemon(*f) },
	}
}

func versionCommand() *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  prlagentd version --json",
		Args:    noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			version, revision := localapi.BuildVersion()
			if !asJSON {
				return printVersion(command)
			}
			return json.NewEncoder(command.OutOrStdout()).Encode(map[string]any{
				"schema": localapi.Schema, "version": version, "revision": revision,
				"go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
			})
		},
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return command
}

// runDaemon checks who we are, opens the log and runs until a signal.
func runDaemon(f programFlags) error {
	root, err := checkRoot(f.root)
	if err != nil {
		return err
	}
	panicLog := filepath.Join(root, launchd.AgentJob().StandardErrorPath)
	if err := boundPanicLog(os.Stderr, panicLog); err != nil {
		fmt.Fprintln(os.Stderr, "prlagentd:", text.DisplayError(err))
	}
	log, err := openLog(filepath.Join(root, agent.LogFile), f.logLevel)
	if err != nil {
		return err
	}
	defer log.Close()
	zerolog.ErrorHandler = tellOnce(os.Stderr)
	tellOfOldLogs(log.logger, filepath.Join(root, localapi.OldLogFolder))
	if root != "" {
		if err := installSelf(root); err != nil {
			return err
		}
	}
	tuneMemory()
	options := agent.Options{Root: root, Config: f.config, LogLevel: f.logLevel, Log: log.logger}
	return underServiceManager(func(ctx context.Context) error {
		ctx, stop := signal.NotifyContext(ctx, stopSignals...)
		defer stop()
		err := agent.Run(ctx, options)
		if err != nil {
			log.logger.Error().Err(err).Msg("stop")
		}
		return err
	})
}

// tellOfOldLogs says that there are logs which nobody writes or removes any more.
func tellOfOldLogs(log zerolog.Logger, folder string) {
	if _, err := os.Lstat(folder); err == nil {
		log.Warn().Str("folder", localapi.OldLogFolder).Msg("logs of an older version are left; remove the folder by hand")
	}
}

// stopSignals are an orderly stop, of which nothing that was started is left: all
// that end a program and can be caught, but those of its own crashes.
var stopSignals = []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT}

// tuneMemory trades a little CPU in the seconds of a pass for a small idle
// process: collections start early, and pages go back to the system.
func tuneMemory() {
	debug.SetGCPercent(25)
	debug.SetMemoryLimit(64 << 20)
}

// checkRoot decides whose Mac this is. Without --root it is this one, and we
// must be root. With --root the owner of the folder plays root, and that must
// be us; on a real Mac root has no use for it and a user could aim it anywhere.
func checkRoot(root string) (string, error) {
	if root == "" {
		if os.Geteuid() != 0 {
			return "", &exitError{exitRefused, "must run as root; use sudo, or --root for a simulated Mac"}
		}
		return "", nil
	}
	if runtime.GOOS == "darwin" && os.Geteuid() == 0 {
		return "", &exitError{exitRefused, "--root is refused for root on macOS"}
	}
	absolute, err := filepath.Abs(root)
	if err != nil {
		return "", fmt.Errorf("resolve --root: %w", err)
	}
	info, err := os.Stat(absolute)
	switch {
	case err != nil:
		return "", fmt.Errorf("open --root: %w (make a simulated Mac with 'prlsim mac create DIR')", err)
	case !info.IsDir():
		return "", &exitError{exitUsage, "--root is not a folder: " + absolute}
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Geteuid() {
		return "", &exitError{exitRefused, "--root must belong to you: " + absolute}
	}
	return absolute, nil
}
