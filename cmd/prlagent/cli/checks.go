package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

// Tools of the vendor, inside the application (facts/prlctl.md 1.1).
const (
	appBundle   = "/Applications/Parallels Desktop.app"
	appTools    = appBundle + "/Contents/MacOS/"
	stateFolder = "/Library/Application Support/prlagent"
)

// minimumFree is the room that the state and its backups may need, in bytes.
const minimumFree = 256 << 20

// check is one row of the table of checks.
type check struct {
	id, title string
	look      func(*patient, context.Context) finding
}

// checks are what doctor looks at, in this order.
var checks = []check{
	{"daemon", "The daemon answers", (*patient).daemon},
	{"health", "The daemon calls itself healthy", (*patient).health},
	{"configuration", "The configuration can be used", (*patient).configuration},
	{"portal", "The portal has a report", (*patient).portal},
	{"state", "The state database is whole", (*patient).state},
	{"disk", "There is room for the state", (*patient).disk},
	{"snapshot", "Management tools can read the snapshot", (*patient).snapshot},
	{"product", "Parallels Desktop is installed", (*patient).product},
	{"tools", "Its tools carry the vendor's signature", (*patient).tools},
	{"users", "Every user's machines can be listed", (*patient).users},
}

func (who *patient) running() bool { return who.err == nil && who.status.Daemon.Running }

func good(format string, args ...any) finding {
	return finding{Outcome: outcomeOK, Text: fmt.Sprintf(format, args...)}
}

// bad is a finding in the words of a code; detail says more where there is more.
func bad(code protocol.Code, detail string) finding {
	words := code.Text()
	outcome := outcomeWarning
	if words.Severity == protocol.Failure {
		outcome = outcomeFailure
	}
	return finding{Outcome: outcome, Code: code, Text: joined(" ", words.Text, detail), Remedy: words.Remedy}
}

// blind is the finding of a check that could not look.
func blind(why string) finding {
	return finding{Outcome: outcomeUnknown, Text: "Not looked at: " + why + "."}
}

const noDaemon = "the daemon is not running"

func (who *patient) daemon(context.Context) finding {
	switch {
	case who.running():
		return good("Version %s, process %d.", who.status.Daemon.Version, who.status.Daemon.PID)
	case who.err == nil:
		return bad(protocol.CodeDaemonNotRunning, "It left a snapshot.")
	}
	return bad(protocol.CodeDaemonNotRunning, "")
}

func (who *patient) health(context.Context) finding {
	if !who.running() {
		return blind(noDaemon)
	}
	if who.status.Health.State == localapi.Healthy {
		return good("No condition needs a person.")
	}
	var codes []string
	for _, condition := range who.status.Health.Conditions {
		if needsPerson(condition) {
			codes = append(codes, string(condition.Code))
		}
	}
	return finding{Outcome: outcomeWarning, Text: "It is degraded: " + strings.Join(codes, ", ") + ".", Remedy: "See 'prlagent status'."}
}

func (who *patient) configuration(context.Context) finding {
	switch problems := who.status.Config.Problems; {
	case !who.running():
		return blind(noDaemon)
	case len(problems) > 0:
		return bad(problems[0].Code, problems[0].Key+": "+problems[0].Text)
	case who.status.Config.Source == "none":
		return good("None is there: the agent observes and answers locally.")
	}
	return good("Source %s, mode %s.", who.status.Config.Source, who.status.Config.Mode)
}

func (who *patient) portal(context.Context) finding {
	portal := who.status.Portal
	switch {
	case !who.running():
		return blind(noDaemon)
	case portal.URL == "":
		return good("No portal is configured.")
	case portal.LastCode != "":
		return bad(portal.LastCode, portal.LastDetail)
	case portal.LastSuccessAt.IsZero():
		return bad(protocol.CodeNotEnrolled, "")
	}
	return good("%s has it since %s.", portal.URL, portal.LastSuccessAt.UTC().Format("2006-01-02 15:04:05 UTC"))
}

// stateCodes are the outcomes of opening the state database that a person
// should know of.
var stateCodes = map[string]protocol.Code{
	"repaired": protocol.CodeStateRestored, "restored": protocol.CodeStateRestored, "reset": protocol.CodeStateReset,
}

func (who *patient) state(context.Context) finding {
	if who.err != nil {
		return blind("there is neither a daemon nor a snapshot")
	}
	if code, known := stateCodes[who.status.Store.Outcome]; known {
		return bad(code, who.status.Store.Reason)
	}
	return good("It was %s when the daemon started.", who.status.Store.Outcome)
}

func (who *patient) disk(context.Context) finding {
	free, err := who.mac.FreeSpace(stateFolder)
	switch {
	case err != nil:
		return blind("the state folder is not there")
	case free < minimumFree:
		return bad(protocol.CodeStoreFull, fmt.Sprintf("%d MB are free.", free>>20))
	}
	return good("%.1f GB are free.", float64(free)/1e9)
}

func (who *patient) snapshot(context.Context) finding {
	info, err := os.Lstat(filepath.Join(localapi.SnapshotsUnder(who.root), localapi.StatusPlist))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return finding{Outcome: outcomeWarning, Text: "There is no status.plist.", Remedy: "Start the daemon once."}
	case err != nil:
		return blind(err.Error())
	case info.Mode().Perm()&0o004 == 0:
		return finding{Outcome: outcomeWarning, Text: "status.plist is not readable by all.", Remedy: "Restart the daemon; it sets the mode anew."}
	}
	return good("status.plist, of %s.", info.ModTime().UTC().Format("2006-01-02 15:04:05 UTC"))
}

func (who *patient) product(context.Context) finding {
	_, err := os.Lstat(who.mac.Path(appBundle))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return bad(protocol.CodePDNotInstalled, "")
	case err != nil:
		return blind(err.Error())
	}
	product := who.status.Product
	return good("%s.", joined(", ", appBundle, product.Version, product.Edition, product.State))
}

func (who *patient) tools(ctx context.Context) finding {
	for _, name := range []string{"prlctl", "prlsrvctl"} {
		err := who.mac.Trusted(ctx, appTools+name)
		switch code := protocol.CodeOf(err); {
		case code != "":
			return bad(code, name)
		case err != nil:
			return blind(err.Error())
		}
	}
	return good("prlctl and prlsrvctl do.")
}

func (who *patient) users(context.Context) finding {
	if !who.running() {
		return blind(noDaemon)
	}
	if who.status.Restricted {
		return blind("only administrators see other users; use sudo")
	}
	for _, user := range who.status.Users {
		if user.Code != "" {
			return bad(user.Code, user.Name)
		}
	}
	return good("%d users, %d virtual machines.", who.status.Counts.Users, who.status.Counts.VMs)
}
