// Package cli is the program prlagent: it asks the daemon over its socket,
// prints the answer for people or as JSON, and says by its exit code how
// things are. It never opens the daemon's database.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"prlagent/agent/localapi"
	"prlagent/platform"
	"prlagent/platform/text"
)

// Main runs the program with the arguments and the environment of this
// process; the result is its exit code.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p := &program{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environment: os.Getenv,
		terminal: isTerminal(os.Stdout), progressShown: isTerminal(os.Stderr), window: text.WindowWidth(os.Stdout),
		now: time.Now, zone: time.Local, progressDelay: 2 * time.Second, retryDelay: time.Second,
	}
	return p.run(ctx, os.Args[1:])
}

// isTerminal asks for a window, which only terminals have.
func isTerminal(file *os.File) bool { return text.WindowWidth(file) > 0 }

// program is one run: where it prints, what it knows of its surroundings, and
// the flags that all commands have.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environment    func(string) string
	terminal       bool // stdout is one
	window         int  // its width in columns; 0 = it is none
	progressShown  bool // stderr is a terminal: somebody sees progress
	now            func() time.Time
	zone           *time.Location
	progressDelay  time.Duration // how long to wait before progress is shown
	retryDelay     time.Duration // how long to wait before a daemon that went away is asked again

	root    string
	timeout time.Duration
	json    bool
}

const (
	defaultTimeout = 10 * time.Second
	waitTimeout    = 5 * time.Minute // of checkin --wait, unless --timeout is given
)

// run executes one command line; the result is the exit code.
func (p *program) run(ctx context.Context, arguments []string) int {
	root := p.rootCommand()
	root.SetArgs(arguments)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	command, err := root.ExecuteContextC(ctx)
	var known *exitError
	switch {
	case err == nil:
		return exitHealthy
	case errors.As(err, &known):
		p.explainExit(known)
		return known.code
	}
	help := "prlagent help"
	if command != root {
		help = command.CommandPath() + " --help"
	}
	fmt.Fprint(p.stderr, text.Complaint("prlagent", err, "See '"+help+"'."))
	return exitUsage
}

func (p *program) rootCommand() *cobra.Command {
	var version bool
	root := &cobra.Command{
		Use:           "prlagent",
		Short:         "Show what the agent on this Mac does and why",
		Long:          rootHelp,
		Example:       "  prlagent status\n  prlagent vms --columns user_name,vm_name,vm_state\n  prlagent checkin --wait\n  prlagent get last_checkin --ea",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noSuchCommand,
		RunE: func(command *cobra.Command, _ []string) error {
			if version {
				return exitOrNil(p.runVersion())
			}
			return command.Help()
		},

		SuggestionsMinimumDistance: 2,
	}
	flags := root.PersistentFlags()
	flags.StringVar(&p.root, "root", p.environment("PRLAGENT_ROOT"), "folder of a simulated Mac (environment: PRLAGENT_ROOT)")
	flags.DurationVar(&p.timeout, "timeout", p.defaultTimeout(), "how long to wait for the daemon (environment: PRLAGENT_TIMEOUT)")
	flags.BoolVar(&p.json, "json", false, "print JSON with stable names")
	status := p.statusCommand()
	p.addWhatIsSent(status)
	root.AddCommand(status, p.vmsCommand(), p.policyCommand(), p.vmCommand(), p.releaseCommand(), p.commandsCommand(), p.checkinCommand(), p.eventsCommand(), p.getCommand(), p.doctorCommand(),
		p.configCommand(), p.logsCommand(), p.bundleCommand(), p.versionCommand(), jsonTopic())
	root.SetHelpCommand(helpCommand())
	// Not cobra's own flag: its template would link text/template, and with it all
	// methods of the program.
	root.Flags().BoolVar(&version, "version", false, "print the version")
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return p.resolveFlags() }
	return root
}

// noSuchCommand refuses names that no command has, in one line.
func noSuchCommand(command *cobra.Command, given []string) error {
	if len(given) == 0 {
		return nil
	}
	meant := command.SuggestionsFor(given[0])
	if len(meant) == 0 {
		return fmt.Errorf("there is no command %q", given[0])
	}
	return fmt.Errorf("there is no command %q; did you mean %s?", given[0], strings.Join(meant, " or "))
}

// defaultTimeout is that of the environment; settle refuses one that is none.
func (p *program) defaultTimeout() time.Duration {
	given := p.environment("PRLAGENT_TIMEOUT")
	if given == "" {
		return defaultTimeout
	}
	limit, _ := time.ParseDuration(given)
	return limit
}

// resolveFlags makes the flags ready to use.
func (p *program) resolveFlags() error {
	if p.timeout <= 0 {
		return fmt.Errorf("--timeout and PRLAGENT_TIMEOUT must be a time above zero, such as 30s, not %v", p.timeout)
	}
	if p.root == "" {
		return nil
	}
	root, err := filepath.Abs(p.root)
	if err != nil {
		return fmt.Errorf("find --root: %w", err)
	}
	p.root = root
	return nil
}

func (p *program) newClient() *localapi.Client {
	client := localapi.NewClient(localapi.SocketUnder(p.root))
	client.DaemonLives, client.Installed = p.daemonLives, func() bool { return localapi.InstalledUnder(p.root) }
	return client
}

// daemonLives reports whether the process that wrote the last snapshot is there.
// Its name is looked at too, and whose it is: the id may be another's by now, and
// everybody can bring about a process with that id and name.
func (p *program) daemonLives() bool {
	snapshot, err := p.snapshot()
	if err != nil || snapshot.Daemon.PID == 0 {
		return false
	}
	name, uid, nameError := platform.ProcessName(snapshot.Daemon.PID)
	owner, err := platform.New(p.root, nil).Owner()
	return errors.Join(nameError, err) == nil && name == "prlagentd" && (uid == 0 || uid == owner)
}

// snapshot is what the daemon has left on disk.
func (p *program) snapshot() (localapi.Status, error) {
	return localapi.ReadSnapshot(filepath.Join(localapi.SnapshotsUnder(p.root), localapi.StatusJSON))
}

// withTimeout is ctx with the time limit of --timeout.
func (p *program) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, p.timeout)
}

const rootHelp = `prlagent asks the agent (prlagentd) on this Mac what it is doing and why.

Everybody may ask for the agent's health and for their own virtual machines.
Administrators of the Mac see everything and may ask for a check-in.

Exit codes:
  0  healthy, or the command did what it was asked
  1  degraded or unhealthy: something needs a person ('prlagent status'
     says what), or the command failed
  2  the command line makes no sense
  3  the daemon is not running, does not answer, or is not installed;
     'status' prints what it left behind, and 'get' answers from that with 0,
     but for 'get --live'
  4  refused: you may not do this

Output for people has local time with its zone and is in color only on a
terminal (NO_COLOR turns that off). Machines get UTC.`
