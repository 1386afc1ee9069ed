package platform

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"prlagent/platform/tool"
)

// Console says who sits at the Mac.
type Console struct {
	User     string   // short name of the user in front of the screen, "" for nobody
	UID      uint32   // 0 for nobody
	Sessions []uint32 // uids of all users with a GUI session whose login is done, sorted
}

// Console asks the system configuration for the console user. The login window,
// the setup assistant and root are nobody, and so is a moment in which the
// console user and the session on the console differ, as during a fast user
// switch (facts/macos.md 8), or in which several sessions are on it.
//
// The text quotes the long names of users, so one with line breaks can forge a
// session of somebody else. Console.User, whose name stands before all sessions,
// it can make empty but not forge. Whoever uses Sessions must bear one that
// cannot be joined.
func (m *Machine) Console(ctx context.Context) (Console, error) {
	out, err := m.runQuery(ctx, &tool.Command{
		Path:      "/usr/sbin/scutil",
		Stdin:     []byte("show State:/Users/ConsoleUser\nquit\n"),
		MaxOutput: 1 << 20,
	})
	if err != nil {
		return Console{}, fmt.Errorf("ask for the console user: %w", err)
	}
	return consoleFrom(parseDictionary(string(out))), nil
}

func consoleFrom(state scutilDictionary) Console {
	var console Console
	onConsole, claims := uint32(0), 0
	for _, session := range state.nestedIn("SessionInfo") {
		uid, ok := session.uidOf("kCGSSessionUserIDKey")
		if !ok {
			continue
		}
		if session.values["kCGSSessionOnConsoleKey"] == "TRUE" {
			onConsole = uid
			claims++
		}
		if uid >= firstUserUID && session.values["kCGSessionLoginDoneKey"] == "TRUE" {
			console.Sessions = append(console.Sessions, uid)
		}
	}
	slices.Sort(console.Sessions)
	console.Sessions = slices.Compact(console.Sessions)

	uid, ok := state.uidOf("UID")
	person := User{Name: state.values["Name"], UID: uid}
	if ok && person.isPerson() && person.Name != "loginwindow" && (claims == 0 || claims == 1 && onConsole == uid) {
		console.User, console.UID = person.Name, uid
	}
	return console
}

func (d scutilDictionary) uidOf(key string) (uint32, bool) {
	uid, err := strconv.ParseUint(d.values[key], 10, 32)
	return uint32(uid), err == nil
}
