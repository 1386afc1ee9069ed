package sim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// dialogPath is the program of swiftDialog, which is on the Macs where it was
// installed (facts/macos.md 13.4 for the application; its program is inferred).
const dialogPath = "/Library/Application Support/Dialog/Dialog.app/Contents/MacOS/Dialog"

// swiftDialog plays `Dialog --notification --title TITLE --message TEXT`, and no
// other form. Like osascript it shows nothing outside the user's GUI session, and it
// says so where it may not (facts/acting.md 4); with which exit code is not known.
func swiftDialog(in *invocation) int {
	if in.state.hasFault("notification_hangs", in.caller) {
		in.blockFor(0)
		return 1
	}
	if code := recordCall(in); code != 0 {
		return code
	}
	if len(in.args) != 5 || in.args[0] != "--notification" || in.args[1] != "--title" || in.args[3] != "--message" {
		return in.failf(1, "ERROR: Unknown options")
	}
	if in.state.hasFault("dialog_not_allowed", in.caller) {
		in.printLinef("ERROR: Notifications are not allowed for this application")
		return 0
	}
	return in.showNotification(notificationRecord{Title: in.args[2], Text: in.args[4]})
}

func swiftDialogCommand() *cobra.Command {
	return commandGroup("dialog", "Install and remove swiftDialog",
		&cobra.Command{
			Use: "install", Short: "Install swiftDialog, for root alone to change", Args: argumentCount(0, 0),
			RunE: func(command *cobra.Command, _ []string) error {
				mac, err := macOf(command)
				if err != nil {
					return err
				}
				return mac.installDialog()
			},
		},
		&cobra.Command{
			Use: "remove", Short: "Remove swiftDialog", Args: argumentCount(0, 0),
			RunE: func(command *cobra.Command, _ []string) error {
				mac, err := macOf(command)
				if err != nil {
					return err
				}
				return os.RemoveAll(mac.Path("/Library/Application Support/Dialog"))
			},
		})
}

func (m Mac) installDialog() error {
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own path: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(m.Path(dialogPath)), 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	if err := copyProgram(executable, m.Path(dialogPath)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
