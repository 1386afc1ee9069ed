package agent

import (
	"context"
	"fmt"
	"time"

	"prlagent/platform"
	"prlagent/platform/tool"
)

// osascript shows notifications. Without a kill timer it could hang for ever, as
// such tools are known to (facts/acting.md 4).
const (
	osascript   = "/usr/bin/osascript"
	notifyLimit = 10 * time.Second
)

// notifyScript shows its only argument. osascript hands what follows the script to
// its run handler (osascript(1); not seen on a Mac yet, as little as whether macOS
// then shows it), so that no text is ever part of the script.
var notifyScript = []string{
	"-e", "on run argv",
	"-e", `display notification (item 1 of argv) with title "Parallels virtual machines"`,
	"-e", "end run",
}

// notifierOf asks the Mac to show a user a text, as that user and in their GUI
// session, where the service that shows it is (facts/macos.md 7.1).
func notifierOf(mac *platform.Machine) func(context.Context, platform.User, string) error {
	return func(ctx context.Context, user platform.User, text string) error {
		result, err := mac.As(user, true).Run(ctx, tool.Command{
			Path: osascript, Args: append(notifyScript[:len(notifyScript):len(notifyScript)], text), Limit: notifyLimit, MaxOutput: 64 << 10,
		})
		if err == nil && result.ExitCode != 0 {
			return &tool.Error{Code: tool.CodeFailed, Path: osascript, Err: fmt.Errorf("exit code %d", result.ExitCode)}
		}
		return err
	}
}
