// Package daemon is the program prlagentd: its commands, flags and their
// environment twins, the log, and the life cycle around agent.Run.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"

	"github.com/rs/zerolog"

	"prlagent/agent"
	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/launchd"
	"prlagent/platform/safefile"
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
	i := &invocation{stdout: stdout}
	if err := i.execute(args); err != nil {
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
	case slices.Contains(refusals, protocol.CodeOf(err)):
		return exitRefused
	}
	return exitFailed
}

// refusals are the codes of an uninstallation that would leave something in place.
var refusals = []protocol.Code{protocol.CodeUninstallRefused, protocol.CodeUninstallNewer}

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	text string
}

func (e *exitError) Error() string { return e.text }

var errUsage = errors.New("wrong usage")

// runDaemon checks who we are, opens the log and runs until a signal.
func (i *invocation) runDaemon() error {
	root, err := checkRoot(i.root)
	if err != nil {
		return err
	}
	panicLog := filepath.Join(root, launchd.AgentJob().StandardErrorPath)
	if err := boundPanicLog(os.Stderr, panicLog); err != nil {
		fmt.Fprintln(os.Stderr, "prlagentd:", text.DisplayError(err))
	}
	wasOpen, err := repairSupportFolder(root)
	if err != nil {
		return err
	}
	log, err := openLog(filepath.Join(root, agent.LogFile), i.logLevel)
	if err != nil {
		return err
	}
	defer log.Close()
	if wasOpen != nil {
		log.logger.Warn().Err(wasOpen).Msg("the mode of the agent's own folder is set again")
	}
	zerolog.ErrorHandler = tellOnce(os.Stderr)
	tellOfOldLogs(log.logger, filepath.Join(root, localapi.OldLogFolder))
	if root != "" {
		if err := installSelf(root); err != nil {
			return err
		}
	}
	tuneRuntime()
	options := agent.Options{Root: root, Config: i.config, LogLevel: i.logLevel, Log: &log.logger, OnIdle: new(memory).onIdle}
	return underServiceManager(func(ctx context.Context) error {
		ctx, stop := signal.NotifyContext(ctx, stopSignals...)
		defer stop()
		ctx, end := context.WithCancelCause(ctx)
		defer end(nil)
		go endWhenReplaced(ctx, root, end)
		err := agent.Run(ctx, &options)
		if err != nil {
			log.logger.Error().Err(err).Msg("stop")
		}
		return err
	})
}

// repairSupportFolder takes the right to write in the agent's own folder from others,
// before the first file below it is opened (H53). wasOpen says who had it; an error is
// about what lies above, or is no folder of ours.
func repairSupportFolder(root string) (wasOpen, err error) {
	path := filepath.Join(root, localapi.SupportFolder)
	wasOpen = safefile.CheckFolder(path, uint32(os.Geteuid()))
	folder, err := safefile.MakeFolder(path, 0o755)
	if err != nil {
		return nil, fmt.Errorf("open support folder: %w", err)
	}
	return wasOpen, folder.Close()
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
