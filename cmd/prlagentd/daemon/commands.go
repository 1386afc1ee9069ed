package daemon

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"sort"
	"strings"

	"prlagent/agent"
	"prlagent/agent/localapi"
)

// invocation is what one command line asks for. The zero value but for stdout is
// ready for execute.
type invocation struct {
	root, config, logLevel string // flags of every command; each has an environment twin

	version bool // --version, of the program alone
	asJSON  bool // of version, and of the commands about the job
	purge   bool // of uninstall
	release bool // of uninstall
	help    bool

	words  []string // what stands behind the command
	stdout io.Writer
}

// command is a row of the table of commands. A flag or an argument that a row
// does not name is refused.
type command struct {
	name     string // empty: the program without a command
	argument string // as the help shows it; empty: it takes none
	short    string // one line
	long     string // more than one; empty: as short
	example  string
	hidden   bool // not listed: nothing for people
	flags    []flagRow
	run      func() error
}

const exitHelp = `

Exit codes: 0 it was stopped, 1 it failed, 2 the command line makes no sense,
3 another one runs on this Mac, 4 not root, or not allowed to.`

// commands are all commands, by name, behind the program itself.
func (i *invocation) commands() []command {
	rows := []command{
		{
			long: "prlagentd watches Parallels Desktop on this Mac, reports to a management portal and\n" +
				"answers 'prlagent'. launchd starts it with 'prlagentd run'." + exitHelp,
			example: "  sudo prlagentd run\n  prlagentd version --json",
			flags:   []flagRow{{name: "version", on: &i.version, meaning: "print the version"}},
			run:     i.withoutCommand,
		},
		{
			name: "help", argument: "[COMMAND]",
			short:   "Show what a command does",
			example: "  prlagentd help run",
			run:     i.helpOfWords,
		},
		{
			name:   agent.LookCommand,
			short:  "Answer the daemon's questions about this user's files",
			hidden: true,
			run:    answerLook,
		},
		{
			name:  "run",
			short: "Run in the foreground until SIGTERM (what launchd starts)",
			example: "  sudo prlagentd run\n" +
				"  prlagentd run --root /tmp/mac --log-level debug    # a simulated Mac, see 'prlsim help'",
			run: i.runDaemon,
		},
		{
			name:    "version",
			short:   "Print the version",
			example: "  prlagentd version --json",
			flags:   []flagRow{{name: "json", on: &i.asJSON, meaning: "print JSON"}},
			run:     i.printVersion,
		},
	}
	return sortedByName(append(rows, i.jobCommands()...))
}

// sortedByName sorts all rows but the program's own.
func sortedByName(rows []command) []command {
	sort.Slice(rows, func(a, b int) bool { return rows[a].name < rows[b].name })
	return rows
}

// programFlags are the flags of every command.
func (i *invocation) programFlags() []flagRow {
	return []flagRow{
		{name: "config", text: &i.config, twin: "PRLAGENT_CONFIG", meaning: "local configuration instead of config.plist"},
		{name: "help", on: &i.help, letter: 'h', meaning: "show what the command does"},
		{name: "log-level", text: &i.logLevel, twin: "PRLAGENT_LOG_LEVEL", meaning: "debug, info, warn or error"},
		{name: "root", text: &i.root, twin: "PRLAGENT_ROOT", meaning: "folder of a simulated Mac"},
	}
}

// execute does what the command line asks for.
func (i *invocation) execute(args []string) error {
	commands, flags := i.commands(), i.programFlags()
	for at := range flags {
		flag := &flags[at]
		if flag.twin != "" {
			*flag.text = os.Getenv(flag.twin)
		}
	}
	chosen, args := chooseCommand(commands, flags, args)
	var err error
	if i.words, err = parseFlags(append(flags, chosen.flags...), args); err != nil {
		return fmt.Errorf("%w: %w", err, errUsage)
	}
	if i.help {
		return i.printHelp(chosen)
	}
	if len(i.words) > 0 && chosen.argument == "" {
		return fmt.Errorf("%q makes no sense after %q: %w", i.words[0], chosen.path(), errUsage)
	}
	return chosen.run()
}

func (i *invocation) withoutCommand() error {
	if i.version {
		return i.printVersion()
	}
	return i.printHelp(&i.commands()[0])
}

// helpOfWords shows the help of a command; a name that none has is a mistake.
func (i *invocation) helpOfWords() error {
	asked := findCommand(i.commands(), strings.Join(i.words, " "))
	if asked == nil {
		return fmt.Errorf("there is no command %q: %w", strings.Join(i.words, " "), errUsage)
	}
	return i.printHelp(asked)
}

func (i *invocation) printVersion() error {
	version, revision := localapi.BuildVersion()
	if i.asJSON {
		return json.NewEncoder(i.stdout).Encode(map[string]any{
			"schema": localapi.Schema, "version": version, "revision": revision,
			"go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
		})
	}
	_, err := fmt.Fprintln(i.stdout, strings.TrimSpace("prlagentd "+version+" "+revision))
	return err
}
