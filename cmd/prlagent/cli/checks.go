package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/platform/safefile"
)

// Tools of the vendor, inside the application (facts/prlctl.md 1.1).
const (
	appBundle   = platform.VendorBundle
	appTools    = appBundle + "/Contents/MacOS/"
	stateFolder = "/Library/Application Support/prlagent"
)

// minimumFree is the room that the state and its backups may need, in bytes.
const minimumFree = 256 << 20

// doctorCheck is one row of the table of checks.
type doctorCheck struct {
	id, title string
	look      func(*checkedMac, context.Context) checkResult
}

// doctorChecks are what doctor looks at, in this order.
var doctorChecks = []doctorCheck{
	{"daemon", "The daemon answers", (*checkedMac).checkDaemon},
	{"health", "The daemon calls itself healthy", (*checkedMac).checkHealth},
	{"configuration", "The configuration can be used", (*checkedMac).checkConfiguration},
	{"portal", "The portal has a report", (*checkedMac).checkPortal},
	{"state", "The state database is whole", (*checkedMac).checkState},
	{"disk", "There is room for the state", (*checkedMac).checkDisk},
	{"folders", "Only root can change the agent's folders", (*checkedMac).checkFolders},
	{"snapshot", "Management tools can read the snapshot", (*checkedMac).checkSnapshot},
	{"product", "Parallels Desktop is installed", (*checkedMac).checkProduct},
	{"tools", "Its tools carry the vendor's signature", (*checkedMac).checkTools},
	{"users", "Every user's machines can be listed", (*checkedMac).checkUsers},
}

func (m *checkedMac) daemonRuns() bool { return m.err == nil && m.status.Daemon.Running }

func okResult(format string, args ...any) checkResult {
	return checkResult{Outcome: outcomeOK, Text: fmt.Sprintf(format, args...)}
}

// codeResult is a result in the words of a code; detail says more where there
// is more.
func codeResult(code protocol.Code, detail string) checkResult {
	words := code.Text()
	outcome := outcomeWarning
	if words.Severity == protocol.Failure {
		outcome = outcomeFailure
	}
	return checkResult{Outcome: outcome, Code: code, Text: joinParts(" ", words.Text, detail), Remedy: words.Remedy}
}

// unknownResult is that of a check that could not look.
func unknownResult(why string) checkResult {
	return checkResult{Outcome: outcomeUnknown, Text: "Not looked at: " + why + "."}
}

const noDaemon = "the daemon does not answer"

func (m *checkedMac) checkDaemon(context.Context) checkResult {
	switch {
	case m.daemonRuns():
		return okResult("Version %s, process %d.", m.status.Daemon.Version, m.status.Daemon.PID)
	case m.err == nil && m.status.Daemon.State == localapi.NotAnswering:
		return codeResult(protocol.CodeDaemonSilent, fmt.Sprintf("Its snapshot is of process %d.", m.status.Daemon.PID))
	case m.err == nil:
		return codeResult(protocol.CodeDaemonNotRunning, "It left a snapshot.")
	}
	return codeResult(cmp.Or(protocol.CodeOf(m.err), protocol.CodeDaemonNotRunning), "")
}

func (m *checkedMac) checkHealth(context.Context) checkResult {
	if !m.daemonRuns() {
		return unknownResult(noDaemon)
	}
	if m.status.Health.State == localapi.Healthy {
		return okResult("No condition needs a person.")
	}
	var codes []string
	for _, condition := range m.status.Health.Conditions {
		if needsPerson(condition) {
			codes = append(codes, string(condition.Code))
		}
	}
	return checkResult{Outcome: outcomeWarning, Text: "It is " + m.status.Health.State + ": " + strings.Join(codes, ", ") + ".", Remedy: "See 'prlagent status'."}
}

func (m *checkedMac) checkConfiguration(context.Context) checkResult {
	switch problems := m.status.Config.Problems; {
	case !m.daemonRuns():
		return unknownResult(noDaemon)
	case len(problems) > 0:
		return codeResult(problems[0].Code, problems[0].Key+": "+problems[0].Text)
	case m.status.Config.Source == "none":
		return okResult("None is there: the agent observes and answers locally.")
	}
	return okResult("Source %s, mode %s.", m.status.Config.Source, m.status.Config.Mode)
}

func (m *checkedMac) checkPortal(context.Context) checkResult {
	portal := m.status.Portal
	switch {
	case !m.daemonRuns():
		return unknownResult(noDaemon)
	case portal.URL == "":
		return okResult("No portal is configured.")
	case portal.LastCode != "":
		return codeResult(portal.LastCode, portal.LastDetail)
	case portal.LastSuccessAt.IsZero():
		return codeResult(protocol.CodeNotEnrolled, "")
	}
	return okResult("%s has it since %s.", portal.URL, portal.LastSuccessAt.UTC().Format("2006-01-02 15:04:05 UTC"))
}

// stateCodes are the outcomes of opening the state database that a person
// should know of.
var stateCodes = map[string]protocol.Code{
	"repaired": protocol.CodeStateRestored, "restored": protocol.CodeStateRestored, "reset": protocol.CodeStateReset,
}

func (m *checkedMac) checkState(context.Context) checkResult {
	if m.err != nil {
		return unknownResult("there is neither a daemon nor a snapshot")
	}
	if code, known := stateCodes[m.status.Store.Outcome]; known {
		return codeResult(code, m.status.Store.Reason)
	}
	return okResult("It was %s when the daemon started.", m.status.Store.Outcome)
}

func (m *checkedMac) checkDisk(context.Context) checkResult {
	free, err := m.mac.FreeSpace(stateFolder)
	switch {
	case err != nil:
		return unknownResult("the state folder is not there")
	case free < minimumFree:
		return codeResult(protocol.CodeStoreFull, fmt.Sprintf("%d MB are free.", free>>20))
	}
	return okResult("%.1f GB are free.", float64(free)/1e9)
}

// checkFolders looks at the folders itself: a daemon below a folder that others
// can change does not start.
func (m *checkedMac) checkFolders(context.Context) checkResult {
	owner, err := m.mac.Owner()
	if err != nil {
		return unknownResult(err.Error())
	}
	folders := localapi.OwnFoldersUnder(m.root)
	var found []string
	for _, folder := range folders {
		switch err := safefile.CheckFolder(folder, owner); {
		case err == nil:
		case !errors.Is(err, safefile.ErrUnsafeDirectory):
			return unknownResult(err.Error())
		case !slices.Contains(found, err.Error()):
			found = append(found, err.Error())
		}
	}
	if len(found) > 0 {
		return codeResult(protocol.CodeFolderWritable, strings.Join(found, "; ")+".")
	}
	return okResult("%d folders, and every folder above them.", len(folders))
}

func (m *checkedMac) checkSnapshot(context.Context) checkResult {
	info, err := os.Lstat(filepath.Join(localapi.SnapshotsUnder(m.root), localapi.StatusPlist))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return checkResult{Outcome: outcomeWarning, Text: "There is no status.plist.", Remedy: "Start the daemon once."}
	case err != nil:
		return unknownResult(err.Error())
	case info.Mode().Perm()&0o004 == 0:
		return checkResult{Outcome: outcomeWarning, Text: "status.plist is not readable by all.", Remedy: "Restart the daemon; it sets the mode anew."}
	}
	return okResult("status.plist, of %s.", info.ModTime().UTC().Format("2006-01-02 15:04:05 UTC"))
}

func (m *checkedMac) checkProduct(context.Context) checkResult {
	_, err := os.Lstat(m.mac.Path(appBundle))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return codeResult(protocol.CodePDNotInstalled, "")
	case err != nil:
		return unknownResult(err.Error())
	}
	product := m.status.Product
	return okResult("%s.", joinParts(", ", appBundle, product.Version, product.Edition, product.State))
}

func (m *checkedMac) checkTools(ctx context.Context) checkResult {
	for _, name := range []string{"prlctl", "prlsrvctl"} {
		err := m.mac.Trusted(ctx, appTools+name)
		switch code := protocol.CodeOf(err); {
		case code != "":
			return codeResult(code, name)
		case err != nil:
			return unknownResult(err.Error())
		}
	}
	return okResult("prlctl and prlsrvctl do.")
}

func (m *checkedMac) checkUsers(context.Context) checkResult {
	if !m.daemonRuns() {
		return unknownResult(noDaemon)
	}
	if m.status.Restricted {
		return unknownResult("only administrators see other users; use sudo")
	}
	worst, others := lackingUsers(m.status.Users)
	if worst.Code == "" {
		return okResult("%d users, %d virtual machines.", m.status.Counts.Users, m.status.Counts.VMs)
	}
	detail := worst.Who()
	if len(others) > 0 {
		detail += "; also " + strings.Join(others, ", ")
	}
	return codeResult(worst.Code, detail)
}

// lackingUsers gives the user whose list lacks something for the worst reason,
// and the others in words.
func lackingUsers(users []protocol.UserLook) (worst protocol.UserLook, others []string) {
	severity := func(user protocol.UserLook) int {
		return slices.Index([]protocol.Severity{protocol.Info, protocol.Warning, protocol.Failure}, user.Code.Text().Severity)
	}
	for _, user := range users {
		if user.Code != "" && (worst.Code == "" || severity(user) > severity(worst)) {
			worst = user
		}
	}
	for _, user := range users {
		if user.Code != "" && user.UID != worst.UID {
			others = append(others, user.Who()+": "+string(user.Code))
		}
	}
	return worst, others
}
