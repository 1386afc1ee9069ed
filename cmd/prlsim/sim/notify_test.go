package sim

import (
	"os"
	"strings"
	"testing"
)

// A notification is shown to the user in whose session osascript runs; its text may
// be an argument of the script. Everything else is refused, and recorded.
func TestNotifications(t *testing.T) {
	t.Parallel()
	mac := newMac(t, newMacOptions{Users: []string{"alice", "bob"}, LoggedOut: []string{"bob"}, ProductVersion: "26", Empty: true, NoProcesses: true})
	argument := []string{"-e", "on run argv", "-e", `display notification (item 1 of argv) with title "T"`, "-e", "end run"}
	for name, test := range map[string]struct {
		caller  string
		session int
		args    []string
		want    string // shown, as "title: text"; empty: refused
		stderr  string
	}{
		"a text in the script":    {"alice", 501, []string{"-e", `display notification "hi"`}, ": hi", ""},
		"a text as an argument":   {"alice", 501, append(argument[:6:6], `"; quit`), `T: "; quit`, ""},
		"no argument":             {"alice", 501, argument, "", "item 1"},
		"without a session":       {"alice", 0, append(argument[:6:6], "x"), "", "(-609)"},
		"in another's session":    {"alice", 502, append(argument[:6:6], "x"), "", "(-609)"},
		"of a user who is out":    {"bob", 502, append(argument[:6:6], "x"), "", "(-609)"},
		"an argument too many":    {"alice", 501, append(argument[:6:6], "x", "y"), "", "1 of 2 arguments"},
		"an argument and no run":  {"alice", 501, []string{"-e", "display notification (item 1 of argv)", "x"}, "", "item 1"},
		"a script that does more": {"alice", 501, []string{"-e", `do shell script "id"`}, "", "syntax error"},
		"a text that leaves it":   {"alice", 501, []string{"-e", `display notification "a" & "b"`}, "", "syntax error"},
		"a file":                  {"alice", 501, []string{"/tmp/script"}, "", "usage"},
		"another option":          {"alice", 501, []string{"-e", `display notification "hi"`, "-l"}, "", "usage"},
	} {
		t.Run(name, func(t *testing.T) {
			before, err := mac.notifications()
			if err != nil {
				t.Fatal(err)
			}
			got := callAs(mac, test.caller).runIn(t, test.session, "osascript", test.args...)
			after, err := mac.notifications()
			if err != nil {
				t.Fatal(err)
			}
			shown := ""
			for _, one := range after[len(before):] {
				shown += one.Title + ": " + one.Text
				if one.User != test.caller || one.Time.IsZero() {
					t.Errorf("shown to %q at %v", one.User, one.Time)
				}
			}
			if shown != test.want || (got.code == 0) != (test.want != "") || !strings.Contains(got.stderr, test.stderr) {
				t.Errorf("%+v shows %q, want %q", got, shown, test.want)
			}
		})
	}
	if calls := readRecords[callRecord](t, mac, "log"); len(calls) != 12 {
		t.Errorf("%d calls are recorded", len(calls))
	}
}

// swiftDialog is there when it was installed. It shows a notification to the user in
// whose session it runs, and knows no other form of a call.
func TestSwiftDialog(t *testing.T) {
	t.Parallel()
	mac := newMac(t, newMacOptions{Users: []string{"alice"}, ProductVersion: "26", Empty: true, NoProcesses: true})
	if _, err := os.Stat(mac.Path(dialogPath)); err == nil {
		t.Error("it is there before it was installed")
	}
	if err := mac.installDialog(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(mac.Path(dialogPath)); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info, err)
	}
	form := []string{"--notification", "--title", "T", "--message", "-e x"}
	for name, test := range map[string]struct {
		session int
		args    []string
		shown   bool
	}{
		"a notification":    {501, form, true},
		"without a session": {0, form, false},
		"a window":          {501, form[1:], false},
		"one more option":   {501, append(form[:5:5], "--quitkey"), false},
	} {
		before, _ := mac.notifications()
		got := callAs(mac, "alice").runIn(t, test.session, "Dialog", test.args...)
		after, err := mac.notifications()
		if err != nil || (len(after) > len(before)) != test.shown || (got.code == 0) != test.shown {
			t.Errorf("%s: %+v, shown %+v, %v", name, got, after, err)
		}
		if test.shown && (after[0].Title != "T" || after[0].Text != "-e x" || after[0].Tool != "Dialog" || after[0].User != "alice") {
			t.Errorf("%s: %+v", name, after)
		}
	}
}
