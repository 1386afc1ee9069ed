package sim

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"prlagent/platform/text"
)

// notificationRecord is a record of `.prlsim/notifications`: what a user was shown.
type notificationRecord struct {
	Time  time.Time `json:"time"`
	Tool  string    `json:"tool"` // that showed it
	User  string    `json:"user"`
	Title string    `json:"title"`
	Text  string    `json:"text"`
}

// osascript plays `osascript -e LINE… [ARGUMENT…]` for scripts that show one
// notification (osascript(1): lines build one script, and what follows them is
// handed to its run handler). Outside the user's GUI session it fails, as such
// tools do (facts/acting.md 4); the texts of its errors are invented.
func osascript(in *invocation) int {
	if in.state.hasFault("notification_hangs", in.caller) {
		in.blockFor(0)
		return 1
	}
	if code := recordCall(in); code != 0 {
		return code
	}
	script, arguments := "", in.args
	for len(arguments) > 1 && arguments[0] == "-e" {
		script, arguments = script+arguments[1]+"\n", arguments[2:]
	}
	if script == "" || len(arguments) > 0 && strings.HasPrefix(arguments[0], "-") {
		return in.failf(1, "usage: osascript -e statement [argument ...]")
	}
	shown, err := readNotification(script, arguments)
	if err != nil {
		return in.failf(1, "%v", err)
	}
	return in.showNotification(shown)
}

// showNotification shows the user in whose session the tool runs a notification.
func (in *invocation) showNotification(shown notificationRecord) int {
	if in.state.hasFault("notification_fails", in.caller) {
		return in.failf(1, "execution error: An error of type -10810 has occurred. (-10810)")
	}
	user, known := in.state.userByName(in.caller)
	if !known || !user.LoggedIn || in.session != user.UID {
		return in.failf(1, "execution error: Connection is invalid. (-609)")
	}
	shown.Time, shown.Tool, shown.User = time.Now().UTC(), in.name, in.caller
	if err := appendRecords(in.mac, "notifications", []notificationRecord{shown}); err != nil {
		return in.failf(1, "%s: %v", in.name, err)
	}
	return 0
}

// notificationScript is the one form of a script that is understood: a text, and
// perhaps a title, each a plain literal or an argument of the run handler.
var notificationScript = text.Pattern(`^(on run argv\n)?display notification ("[^"\\\n]*"|\(item \d of argv\))` +
	`(?: with title ("[^"\\\n]*"|\(item \d of argv\)))?\n(end run\n)?$`)

func readNotification(script string, arguments []string) (shown notificationRecord, err error) {
	parts := notificationScript().FindStringSubmatch(script)
	if parts == nil || (parts[1] == "") != (parts[4] == "") {
		return shown, fmt.Errorf("syntax error: A script is not one that shows a notification. (-2741)")
	}
	used := 0
	value := func(expression string) string {
		number, is := strings.CutPrefix(expression, "(item ")
		if !is {
			return strings.Trim(expression, `"`)
		}
		used++
		item, _ := strconv.Atoi(number[:1])
		if parts[1] == "" || item < 1 || item > len(arguments) {
			err = fmt.Errorf("execution error: Can’t get item %d of argv. (-1728)", item)
			return ""
		}
		return arguments[item-1]
	}
	shown = notificationRecord{Text: value(parts[2]), Title: value(parts[3])}
	if err == nil && used != len(arguments) { // stricter than the real one, which lets them be
		err = fmt.Errorf("%d of %d arguments are used", used, len(arguments))
	}
	return shown, err
}

func userNotificationsCommand() *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use: "notifications", Short: "List the notifications that users were shown", Args: argumentCount(0, 0),
		RunE: func(command *cobra.Command, _ []string) error {
			mac, err := macOf(command)
			if err != nil {
				return err
			}
			shown, err := mac.notifications()
			if err != nil {
				return err
			}
			rows := [][]string{{"TIME", "TOOL", "USER", "TITLE", "TEXT"}}
			for _, one := range shown {
				rows = append(rows, []string{one.Time.Format(time.RFC3339), one.Tool, one.User, one.Title, one.Text})
			}
			return printRows(command, asJSON, shown, rows...)
		},
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return command
}

// notifications are what users were shown, oldest first.
func (m Mac) notifications() ([]notificationRecord, error) {
	shown := []notificationRecord{}
	content, err := os.ReadFile(m.markerPath("notifications"))
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("read notifications: %w", err)
	}
	for line := range strings.Lines(string(content)) {
		var one notificationRecord
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			return nil, fmt.Errorf("read notifications: %w", err)
		}
		shown = append(shown, one)
	}
	return shown, nil
}
