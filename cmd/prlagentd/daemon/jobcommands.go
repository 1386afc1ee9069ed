package daemon

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"strings"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/launchd"
	"prlagent/platform/text"
	"prlagent/platform/tool"
)

const jobHelp = `

What launchctl answers is a hint; how the job stands 'launchctl print' says, and that
is what counts.

Exit codes: 0 it is so, 1 it is not, and the code says why, 2 the command line makes no
sense, 4 not root, or refused.`

// jobCommands are the commands that install the daemon, and start and stop it.
func (i *invocation) jobCommands() []command {
	asJSON := flagRow{name: "json", on: &i.asJSON, meaning: "print JSON"}
	return []command{
		{
			name:  "install",
			short: "Have launchd keep the daemon, now and after each boot",
			long: "Put the job's property list in place, enable the job, and have launchd run it. An\n" +
				"equal file is not written again, and a daemon that runs is not disturbed. The\n" +
				"programs must be in place, as the package puts them." + jobHelp,
			example: "  sudo prlagentd install\n  sudo prlagentd install --json",
			flags:   []flagRow{asJSON}, run: func() error { return i.control("install", (*launchd.Manager).Install) },
		},
		{
			name:  "restart",
			short: "Have launchd run the daemon as another process",
			long: "End the daemon and start it again, or start one that does not run. What it does\n" +
				"at that moment is looked at after the start: nothing is done twice." + jobHelp,
			example: "  sudo prlagentd restart",
			flags:   []flagRow{asJSON}, run: func() error { return i.control("restart", (*launchd.Manager).Restart) },
		},
		{
			name:    "start",
			short:   "Start the daemon that is installed",
			long:    "Enable the job and have launchd run it, now and after each boot." + jobHelp,
			example: "  sudo prlagentd start",
			flags:   []flagRow{asJSON}, run: func() error { return i.control("start", (*launchd.Manager).Start) },
		},
		{
			name:  "status",
			short: "Show what launchd says of the daemon",
			long: "Show whether the job is installed, loaded, enabled and runs, and how its last\n" +
				"process ended. How the agent is, 'prlagent status' says.\n\n" +
				"Exit codes: 0 it runs and will after the next boot, 1 it does not, 2 the command line\n" +
				"makes no sense, 4 not root.",
			example: "  sudo prlagentd status --json",
			flags:   []flagRow{asJSON}, run: i.showJob,
		},
		{
			name:  "stop",
			short: "Stop the daemon until the next boot or start",
			long: "Have launchd forget the job, and with it end the daemon. After the next boot it runs\n" +
				"again; 'launchctl disable system/" + launchd.Label + "' would keep it from that." + jobHelp,
			example: "  sudo prlagentd stop",
			flags:   []flagRow{asJSON}, run: func() error { return i.control("stop", stopJob) },
		},
		{
			name:  "uninstall",
			short: "Take the daemon off this Mac",
			long: "End the daemon, and remove the job, the programs, the snapshots and the receipt of\n" +
				"the package. Configuration, state and logs stay, unless --purge is given.\n\n" +
				"It is refused while something is in place that the agent has placed: machines that are\n" +
				"held, locks, switches of the Mac, controls that are lifted for a while. With --release\n" +
				"exactly that is lifted first, also if the daemon does not run; what was there before\n" +
				"stays. What cannot be lifted is named, and the agent stays." + jobHelp,
			example: "  sudo prlagentd uninstall\n  sudo prlagentd uninstall --release --purge",
			flags: []flagRow{
				asJSON,
				{name: "purge", on: &i.purge, meaning: "remove configuration, state and logs, too"},
				{name: "release", on: &i.release, meaning: "lift what the agent has placed first"},
			},
			run: i.uninstall,
		},
	}
}

// jobDocument is what the commands about the job print as JSON.
type jobDocument struct {
	Schema    int                   `json:"schema"`
	Action    string                `json:"action"`
	Code      protocol.Code         `json:"code,omitempty"` // why it is not as it should be
	Text      string                `json:"text,omitempty"`
	Detail    string                `json:"detail,omitempty"`
	Remedy    string                `json:"remedy,omitempty"`
	Installed bool                  `json:"installed"` // the job's file is in place
	Loaded    bool                  `json:"loaded"`
	Disabled  bool                  `json:"disabled"`
	Running   bool                  `json:"running"`
	PID       int                   `json:"pid,omitempty"`
	Runs      int                   `json:"runs,omitempty"` // since it was loaded, if launchd says it
	LastExit  *int                  `json:"last_exit,omitempty"`
	Placed    *localapi.Placed      `json:"placed,omitempty"`   // what keeps an uninstallation from going on
	Released  []localapi.HandVM     `json:"released,omitempty"` // and what became of it
	Switches  []localapi.HandSwitch `json:"switches,omitempty"`
	Removed   []string              `json:"removed,omitempty"`
}

// managedMac is the Mac that a command is about.
type managedMac struct {
	root    string
	tools   *tool.Runner
	manager *launchd.Manager
}

func (i *invocation) openMac() (*managedMac, error) {
	root, err := checkRoot(i.root)
	if err != nil {
		return nil, err
	}
	tools := &tool.Runner{Root: root}
	return &managedMac{root, tools, &launchd.Manager{Tools: tools, Root: root}}, nil
}

// interruptible ends with a signal.
func interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), stopSignals...)
}

func stopJob(m *launchd.Manager, ctx context.Context) (launchd.State, error) {
	return launchd.State{}, m.Stop(ctx)
}

// control does one thing with the job, and says how it stands then.
func (i *invocation) control(action string, do func(*launchd.Manager, context.Context) (launchd.State, error)) error {
	mac, err := i.openMac()
	if err != nil {
		return err
	}
	if action == "install" && mac.root != "" {
		if err := installSelf(mac.root); err != nil {
			return err
		}
	}
	ctx, stop := interruptible()
	defer stop()
	_, err = do(mac.manager, ctx)
	document, _ := mac.describe(ctx, action)
	return i.tell(document, err)
}

// describe says how the job stands. What cannot be told is left out, and the error is why
// launchd does not say it.
func (m *managedMac) describe(ctx context.Context, action string) (jobDocument, error) {
	document := jobDocument{Schema: localapi.Schema, Action: action, Installed: m.manager.IsInstalled()}
	state, err := m.manager.State(ctx)
	document.Loaded, document.Running, document.PID = state.Loaded, state.Running, state.PID
	document.Runs, document.LastExit = state.Runs, state.LastExit
	document.Disabled, _ = m.manager.IsDisabled(ctx)
	return document, err
}

// tell prints the document, with the error that the command ends with.
func (i *invocation) tell(document jobDocument, err error) error {
	if err != nil {
		document.Code, document.Detail = protocol.CodeOf(err), text.DisplayError(err)
		words := document.Code.Text()
		document.Text, document.Remedy = words.Text, words.Remedy
	}
	switch {
	case i.asJSON:
		data, encodeError := text.EncodeJSON(document, "", "  ")
		if encodeError != nil {
			return encodeError
		}
		if _, writeError := i.stdout.Write(append(data, '\n')); writeError != nil {
			return writeError
		}
	case err == nil:
		if _, writeError := fmt.Fprint(i.stdout, document.page()); writeError != nil {
			return writeError
		}
	}
	return explained(err)
}

// page is the document for people.
func (d *jobDocument) page() string {
	var out strings.Builder
	switch {
	case d.Action == "uninstall":
		fmt.Fprintf(&out, "prlagent is not on this Mac any more; removed:\n")
		for _, path := range d.Removed {
			fmt.Fprintf(&out, "  %s\n", path)
		}
	case d.Running:
		fmt.Fprintf(&out, "launchd keeps prlagentd running%s.\n", ofProcess(d.PID))
	case d.Loaded:
		fmt.Fprintf(&out, "launchd knows prlagentd, and it does not run%s.\n", ofExit(d.LastExit))
	case d.Installed:
		out.WriteString("prlagentd is installed, and launchd does not keep it: it is stopped.\n")
	default:
		out.WriteString("prlagentd is not installed.\n")
	}
	if d.Disabled && d.Action != "uninstall" {
		out.WriteString("It is disabled: it does not start at the next boot.\n")
	}
	return out.String()
}

func ofProcess(pid int) string {
	if pid == 0 {
		return ""
	}
	return fmt.Sprintf(", as process %d", pid)
}

func ofExit(exit *int) string {
	if exit == nil {
		return ""
	}
	return fmt.Sprintf(": its last process ended with %d", *exit)
}

// showJob says how the job stands, and ends with 1 if that is not as it should be.
func (i *invocation) showJob() error {
	mac, err := i.openMac()
	if err != nil {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	document, err := mac.describe(ctx, "status")
	if err != nil {
		return i.tell(document, err)
	}
	document.Code = document.problem()
	words := document.Code.Text()
	document.Text, document.Remedy = words.Text, words.Remedy
	if err := i.tell(document, nil); err != nil {
		return err
	}
	if document.Code != "" {
		return &codedError{code: document.Code}
	}
	return nil
}

// problem is why the job is not as it should be.
func (d *jobDocument) problem() protocol.Code {
	switch {
	case d.Disabled:
		return protocol.CodeJobDisabled
	case !d.Loaded && !d.Installed:
		return protocol.CodeJobFileMissing
	case !d.Loaded:
		return protocol.CodeJobNotLoaded
	case d.Running:
		return ""
	case d.LastExit != nil && *d.LastExit != 0:
		return protocol.CodeJobCrashes
	}
	return protocol.CodeJobNotRunning
}

// codedError is an error of the table of codes.
type codedError struct {
	code   protocol.Code
	detail string // says more; empty: nothing
}

// Error gives the table's text, and what is known beside it.
func (e *codedError) Error() string {
	if e.detail == "" {
		return string(e.code) + ": " + e.code.Text().Text
	}
	return string(e.code) + ": " + e.code.Text().Text + " " + e.detail
}

// ErrorCode gives the code.
func (e *codedError) ErrorCode() string { return string(e.code) }

// explained is an error with the words of its code.
func explained(err error) error {
	code := protocol.CodeOf(err)
	var known *codedError
	if code == "" || errors.As(err, &known) {
		return err
	}
	cause := err
	var ofJob *launchd.Error
	if errors.As(err, &ofJob) {
		cause = ofJob.Err
	}
	return &codedError{code, "(" + cause.Error() + ")"}
}
