package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"prlagent/platform"
	"prlagent/platform/tool"
)

// What shows notifications. Without a kill timer it could hang for ever, as such
// tools are known to (facts/acting.md 4).
const (
	osascript = "/usr/bin/osascript"
	// swiftDialog is the program of the application that its package installs, which
	// shows notifications under a name of its own (facts/macos.md 13.4 for the
	// application's folder; that this is the program in it is inferred). The command
	// link in /usr/local/bin is not used: on many Macs users can change that folder.
	swiftDialog = "/Library/Application Support/Dialog/Dialog.app/Contents/MacOS/Dialog"
	notifyLimit = 10 * time.Second
	notifyTitle = "Parallels virtual machines"
)

// notifyScript shows its only argument. osascript hands what follows the script to
// its run handler (osascript(1); not seen on a Mac yet, as little as whether macOS
// then shows it), so that no text is ever part of the script.
var notifyScript = []string{
	"-e", "on run argv",
	"-e", `display notification (item 1 of argv) with title "` + notifyTitle + `"`,
	"-e", "end run",
}

// notAllowed is what swiftDialog says where neither the user nor a profile lets it
// show notifications (facts/acting.md 4).
const notAllowed = "Notifications are not allowed for this application"

var errNotAllowed = errors.New("it is not allowed to show notifications")

// notifierOf asks the Mac to show a user a text, as that user and in their GUI
// session, where the service that shows it is (facts/macos.md 7.1): by swiftDialog
// where only root can have installed it, unless it may not, else by osascript.
func notifierOf(mac *platform.Machine) func(context.Context, platform.User, string) error {
	return func(ctx context.Context, user platform.User, text string) error {
		runner := mac.As(user, true)
		if mac.CheckRootOwned(swiftDialog) == nil {
			err := show(ctx, runner, swiftDialog, "--notification", "--title", notifyTitle, "--message", text)
			if !errors.Is(err, errNotAllowed) {
				return err
			}
		}
		return show(ctx, runner, osascript, append(notifyScript[:len(notifyScript):len(notifyScript)], text)...)
	}
}

func show(ctx context.Context, runner platform.Runner, path string, args ...string) error {
	result, err := runner.Run(ctx, &tool.Command{Path: path, Args: args, Limit: notifyLimit, MaxOutput: 64 << 10})
	switch {
	case err != nil:
		return err
	case bytes.Contains(result.Stdout, []byte(notAllowed)), bytes.Contains(result.Stderr, []byte(notAllowed)):
		return &tool.Error{Code: tool.CodeFailed, Path: path, Err: errNotAllowed}
	case result.ExitCode != 0:
		return &tool.Error{Code: tool.CodeFailed, Path: path, Err: fmt.Errorf("exit code %d", result.ExitCode)}
	}
	return nil
}
