// Package launchd holds the definition of the agent's launchd job as data.
//
// Facts cited in this package are of facts/macos.md 1.3, the keys of
// launchd.plist(5) that are worth using, unless another section is named.
package launchd

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"prlagent/platform/plist"
)

// The job's names (DESIGN 4).
const (
	// Label is the job's name for launchd. It is also the agent's preference
	// domain and the name of the property list without its suffix.
	Label = "org.prlagent.agent"
	// PlistPath is where the definition is installed. launchd refuses it there
	// unless root owns it and only root can write it (facts/macos.md 1.2).
	PlistPath = "/Library/LaunchDaemons/" + Label + ".plist"
)

const (
	supportFolder = "/Library/Application Support/prlagent"
	daemonPath    = supportFolder + "/bin/prlagentd"
)

// Job is a launchd job definition. A key that is no field here is left out of
// the property list on purpose; AgentJob says why.
type Job struct {
	Label             string   `plist:"Label"`
	Program           string   `plist:"Program"`           // absolute path
	ProgramArguments  []string `plist:"ProgramArguments"`  // the argument vector, the program's name first
	RunAtLoad         bool     `plist:"RunAtLoad"`         // start as soon as launchd knows the job
	KeepAlive         bool     `plist:"KeepAlive"`         // start again however it ended
	ThrottleInterval  int      `plist:"ThrottleInterval"`  // seconds between two starts, at least
	ExitTimeOut       int      `plist:"ExitTimeOut"`       // seconds from SIGTERM to SIGKILL
	Umask             string   `plist:"Umask"`             // octal, with a leading 0
	WorkingDirectory  string   `plist:"WorkingDirectory"`  // absolute path
	StandardErrorPath string   `plist:"StandardErrorPath"` // absolute path

	AbandonProcessGroup bool `plist:"AbandonProcessGroup"` // leave children alive when the job dies
}

// AgentJob is the job that runs the daemon as root, from boot on.
//
// Left out, and why:
//   - SoftResourceLimits, HardResourceLimits: NumberOfFiles in a system daemon
//     also sets the kernel-wide limits, and the Go runtime raises the
//     descriptor limit by itself (facts/macos.md 4).
//   - ProcessType, Nice, LowPriorityIO: the default is Standard; Background
//     throttles CPU and disk and, as inferred, image downloads with them.
//   - EnvironmentVariables: every tool is called by its absolute path and with
//     an environment of our making.
//   - StandardOutPath: the daemon writes nothing there, and launchd never
//     rotates it.
//   - AssociatedBundleIdentifiers: names an app bundle, and there is none.
//   - Disabled: launchctl's own persistent state overrides it (1.2).
//   - WatchPaths, StartInterval, StartCalendarInterval: they start a job that
//     does not run; this one always does, and has its own triggers.
//   - LaunchEvents, MachServices, Sockets: need calls that exist in C only.
func AgentJob() *Job {
	return &Job{
		Label: Label,
		// Program is what is executed, whatever the vector says. Relative names
		// would be looked up on launchd's standard path.
		Program:          daemonPath,
		ProgramArguments: []string{daemonPath, "run"},
		// KeepAlive implies it; written out for the people who read the file.
		RunAtLoad: true,
		// Also after a clean exit: a daemon that a local user could end for good
		// by making it exit enforces nothing. bootout is the way to stop it.
		KeepAlive: true,
		// The default, made explicit. A crash loop costs six starts a minute;
		// Kolide waits 60 s, Fleet 10 s.
		ThrottleInterval: 10,
		// The default is "system-defined", and 0 would wait forever. Within 30 s
		// a tool call is ended and the store closed.
		ExitTimeOut: 30,
		// What root creates here is nobody else's to read unless its mode is set
		// on purpose. A string, because an integer would be read as decimal.
		Umask: "077",
		// The parent of the state folder: it holds the program, so it exists
		// whenever the job can start, and it is root's alone to write.
		WorkingDirectory: supportFolder,
		// Panics only: the log goes to a rotated file of our own
		// (facts/macos.md 11), and launchd does not rotate this one: the daemon
		// empties it at its start. launchd opens it as root and makes no folder,
		// so it lies where only root can put a link in its place (H53).
		StandardErrorPath: supportFolder + "/logs/prlagentd.panic.log",
		// launchd ends what is left in the daemon's own process group when it
		// dies. The tools are not: each leads a group of its own, which the
		// daemon ends before it goes, or at its next start if it was killed.
		AbandonProcessGroup: false,
	}
}

// Plist renders the job as an XML property list. A job that launchd would
// refuse or read differently is an error.
func (job *Job) Plist() ([]byte, error) {
	if err := job.validate(); err != nil {
		return nil, fmt.Errorf("check job: %w", err)
	}
	data, err := plist.EncodeXML(*job)
	if err != nil {
		return nil, fmt.Errorf("render job: %w", err)
	}
	return data, nil
}

func (job *Job) validate() error {
	switch {
	case job.Label == "":
		return errors.New("no Label")
	case len(job.ProgramArguments) == 0:
		return errors.New("no ProgramArguments")
	case job.ThrottleInterval < 1 || job.ExitTimeOut < 1:
		return errors.New("less than one second of ThrottleInterval or ExitTimeOut")
	case !isOctal(job.Umask):
		return fmt.Errorf("mode mask %q is not octal with a leading 0", job.Umask)
	}
	for _, name := range []string{job.Program, job.WorkingDirectory, job.StandardErrorPath} {
		if !path.IsAbs(name) {
			return fmt.Errorf("path %q is not absolute", name)
		}
	}
	return nil
}

func isOctal(mask string) bool {
	return len(mask) > 1 && mask[0] == '0' && strings.Trim(mask, "01234567") == ""
}
