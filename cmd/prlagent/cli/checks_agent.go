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
	"time"

	"prlagent/agent/config"
	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/launchd"
	"prlagent/platform/safefile"
	"prlagent/platform/tool"
)

// minimumFree is the room that the state and its backups may need, in bytes.
const minimumFree = 256 << 20

// checkJob asks launchd, which tells everybody of the system's jobs.
func (m *checkedMac) checkJob(ctx context.Context) checkResult {
	printed, err := m.launchctl(ctx, "print", "system/"+launchd.Label)
	if err != nil {
		return unknownResult(err.Error())
	}
	job, known := launchd.ParseState(printed.ExitCode, string(printed.Stdout))
	switch {
	case !known:
		return unknownResult(fmt.Sprintf("launchctl ended with %d", printed.ExitCode))
	case !job.Loaded && m.isDisabled(ctx):
		return codeResult(protocol.CodeJobDisabled, "")
	case !job.Loaded && m.root != "" && m.isMissing(launchd.PlistPath):
		return unneededResult("On a simulated Mac the daemon is started by hand.")
	case !job.Loaded:
		return codeResult(protocol.CodeJobNotLoaded, "")
	case !job.Running:
		detail := ""
		if job.LastExit != nil {
			detail = fmt.Sprintf("Its last process ended with %d.", *job.LastExit)
		}
		return codeResult(protocol.CodeJobNotRunning, detail)
	case m.isDisabled(ctx):
		return codeResult(protocol.CodeJobDisabled, "It runs until the Mac is restarted.")
	}
	return okResult("It is loaded, runs, and is not disabled.")
}

func (m *checkedMac) launchctl(ctx context.Context, args ...string) (tool.Result, error) {
	return m.tools.Run(ctx, &tool.Command{Path: "/bin/launchctl", Args: args, MaxOutput: 4 << 20})
}

// isDisabled reports whether launchd would not start the job at the next boot, as far as
// it says.
func (m *checkedMac) isDisabled(ctx context.Context) bool {
	printed, err := m.launchctl(ctx, "print-disabled", "system")
	return err == nil && printed.ExitCode == 0 && launchd.ParseDisabled(string(printed.Stdout))
}

func (m *checkedMac) isMissing(macPath string) bool {
	_, err := os.Lstat(m.mac.Path(macPath))
	return errors.Is(err, fs.ErrNotExist)
}

func (m *checkedMac) checkDaemon(context.Context) checkResult {
	status, err := m.status()
	switch {
	case err == nil && status.Daemon.Running:
		return okResult("Version %s, process %d.", status.Daemon.Version, status.Daemon.PID)
	case err == nil && status.Daemon.State == localapi.NotAnswering:
		return codeResult(protocol.CodeDaemonSilent, fmt.Sprintf("Its snapshot is of process %d.", status.Daemon.PID))
	case err == nil:
		return codeResult(protocol.CodeDaemonNotRunning, "It left a snapshot.")
	}
	return codeResult(cmp.Or(protocol.CodeOf(err), protocol.CodeDaemonNotRunning), "")
}

func (m *checkedMac) checkHealth(context.Context) checkResult {
	status, _ := m.status()
	if status.Health.State == localapi.Healthy {
		return okResult("No condition needs a person.")
	}
	var codes []string
	for _, condition := range status.Health.Conditions {
		if needsPerson(condition) {
			codes = append(codes, string(condition.Code))
		}
	}
	outcome := outcomeWarning
	if status.Health.State == localapi.Unhealthy {
		outcome = outcomeFailure
	}
	return checkResult{Outcome: outcome, Text: fmt.Sprintf("It is %s: %s.", status.Health.State, strings.Join(codes, ", ")), Remedy: "See 'prlagent status'."}
}

// checkConfiguration reads the files itself, and hears the daemon, which may still
// go by what was there before.
func (m *checkedMac) checkConfiguration(context.Context) checkResult {
	explained := m.explained()
	problems := slices.Clone(explained.Config.Problems)
	if status, err := m.status(); err == nil {
		for _, problem := range status.Config.Problems {
			told := config.Problem{Key: problem.Key, Code: problem.Code, Text: problem.Text}
			if !slices.Contains(problems, told) {
				problems = append(problems, told)
			}
		}
	}
	if file := hiddenFile(explained.Files); file != "" && os.Geteuid() != 0 {
		return asRoot(file + " is for root only")
	}
	notRead := ""
	if len(explained.Unread) > 0 {
		notRead = " Not read by this version: " + strings.Join(explained.Unread, ", ") + "."
	}
	if len(problems) > 0 {
		return problemResult(problems, notRead)
	}
	c := explained.Config
	if c.Source == config.SourceNone {
		return okResult("None is there: the agent observes and answers locally.%s", notRead)
	}
	return okResult("Source %s, mode %s.%s", c.Source, c.Mode, notRead)
}

// hiddenFile is a file that this user may not read; empty if there is none.
func hiddenFile(files []config.ExplainedFile) string {
	for _, file := range files {
		if file.State == config.FileUnreadable && strings.Contains(file.Text, fs.ErrPermission.Error()) {
			return file.Path
		}
	}
	return ""
}

// problemResult names all problems, in the words of the worst.
func problemResult(problems []config.Problem, more string) checkResult {
	severity := func(problem config.Problem) int {
		return slices.Index([]protocol.Severity{protocol.Failure, protocol.Warning, protocol.Info}, problem.Code.Text().Severity)
	}
	slices.SortStableFunc(problems, func(a, b config.Problem) int { return cmp.Compare(severity(a), severity(b)) })
	details := make([]string, 0, len(problems))
	for _, problem := range problems {
		details = append(details, problem.Key+": "+problem.Text)
	}
	return codeResult(problems[0].Code, strings.Join(details, "; ")+more)
}

func (m *checkedMac) checkPortal(context.Context) checkResult {
	status, _ := m.status()
	portal := status.Portal
	switch {
	case portal.URL == "":
		return okResult("No portal is configured.")
	case portal.LastCode != "":
		return codeResult(portal.LastCode, portal.LastDetail)
	case portal.LastSuccessAt.IsZero():
		return codeResult(protocol.CodeNotEnrolled, "")
	}
	return okResult("%s has it since %s.", portal.URL, utcWords(portal.LastSuccessAt))
}

// utcWords is a point in time in the texts of checks, which JSON has as well.
func utcWords(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05 UTC") }

// stateCodes are the outcomes of opening the state database that a person
// should know of.
var stateCodes = map[string]protocol.Code{
	"repaired": protocol.CodeStateRestored, "restored": protocol.CodeStateRestored, "reset": protocol.CodeStateReset,
}

func (m *checkedMac) checkState(context.Context) checkResult {
	status, err := m.status()
	if err != nil {
		return unknownResult("there is neither a daemon nor a snapshot")
	}
	if code, known := stateCodes[status.Store.Outcome]; known {
		return codeResult(code, status.Store.Reason)
	}
	return okResult("It was %s when the daemon started.", status.Store.Outcome)
}

func (m *checkedMac) checkDisk(context.Context) checkResult {
	free, err := m.mac.FreeSpace(localapi.SupportFolder)
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
	if err := localapi.CheckSnapshots(localapi.SnapshotsUnder(m.root)); err != nil {
		return checkResult{Outcome: outcomeWarning, Text: sentence(err.Error()), Remedy: "Restart the daemon; it writes the snapshot anew."}
	}
	return okResult("status.plist, of %s.", utcWords(info.ModTime()))
}

// logAge is how old the errors in the log are that a person should know of.
const logAge = 24 * time.Hour

func (m *checkedMac) checkLog(context.Context) checkResult {
	logs, err := openLogs(m.root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return unknownResult("there is no log yet")
	case err != nil:
		return logsUnknown(err)
	}
	defer logs.close()
	var last logLine
	errorLines := 0
	err = logs.read(m.now().Add(-logAge), func(line logLine) error {
		if line.isError() {
			errorLines++
			last = line
		}
		return nil
	})
	if err != nil && errorLines == 0 {
		return logsUnknown(err)
	}
	panics := ""
	if size := logs.panicSize(); size > 0 {
		panics = fmt.Sprintf(" What launchd keeps of its standard error has %d bytes.", size)
	}
	if errorLines > 0 {
		return codeResult(protocol.CodeLogErrors, fmt.Sprintf("%s, the last of %s: %s.%s", countWords(errorLines, "error"), utcWords(last.Time), last.words(), panics))
	}
	return okResult("None.%s", panics)
}

func logsUnknown(err error) checkResult {
	if errors.Is(err, fs.ErrPermission) {
		return asRoot("the log is for root only")
	}
	return unknownResult(err.Error())
}

func (m *checkedMac) checkOldLogs(context.Context) checkResult {
	_, err := os.Lstat(m.mac.Path(localapi.OldLogFolder))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return okResult("None.")
	case err != nil:
		return unknownResult(err.Error())
	}
	return codeResult(protocol.CodeOldLogs, localapi.OldLogFolder+".")
}
