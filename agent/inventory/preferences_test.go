package inventory

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
)

// preferencesOf is how a look saw an account's preferences.
func preferencesOf(look *Look, uid uint32) (state string, runs []string) {
	for _, account := range look.Accounts {
		if account.User.UID == uid {
			return account.Preferences, account.Runs
		}
	}
	return "no such account", nil
}

// H44: a look tells one state of an account's preferences from another, in the same
// look at files as before, and only where a policy needs it.
func TestH44_PreferencesOfAccounts(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	path := alice.Home + "/" + prlctl.PreferenceFile
	l.files[path] = file{inode: 71, uid: 501, at: noon}
	state := func(name, want string) {
		t.Helper()
		look := l.look()
		if got, _ := preferencesOf(look, 501); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	state("no policy needs it", "")
	if slices.Contains(l.asked["alice"], path) {
		t.Error("it was looked at all the same")
	}
	l.collector.sources.NeedsPreferences = func() bool { return true }
	state("a policy needs it", fmt.Sprint("71 ", noon.Unix()))
	l.callsOf("alice")
	l.files[path] = file{inode: 72, uid: 501, at: noon}
	state("written anew within a second", fmt.Sprint("72 ", noon.Unix()))
	if looks := strings.Count(l.callsOf("alice"), "look alice"); looks != 1 {
		t.Errorf("%d looks at files", looks)
	}
	l.lookErr = map[string]error{"alice": fmt.Errorf("no")}
	state("nobody can tell: as it was", fmt.Sprint("72 ", noon.Unix()))
	l.lookErr = nil
	delete(l.files, path)
	l.listErr = map[string]error{"alice": &prlctl.Error{Code: string(protocol.CodeServiceDown)}}
	state("gone, while the service is down", "absent")
}

// H44: the application's runs of each account have names of their own.
func TestH44_RunsOfTheApplication(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	began := noon.Add(-time.Hour)
	run := func(pid int, uid uint32, path string, started time.Time) platform.Process {
		return platform.Process{PID: pid, UID: uid, Path: path, Started: started}
	}
	l.processes = []platform.Process{
		run(9, 501, prlctl.ClientApp, began.Add(time.Minute)), run(7, 501, prlctl.ClientApp, began), run(8, 502, prlctl.ClientApp, began),
		run(10, 501, "/Users/alice/prl_client_app", began), run(11, 501, prlctl.AppBundle+"/Contents/MacOS/prl_disp_service", began),
	}
	look := l.look()
	_, runs := preferencesOf(look, 501)
	if want := []string{fmt.Sprint("7@", began.UnixNano()), fmt.Sprint("9@", began.Add(time.Minute).UnixNano())}; !slices.Equal(runs, want) {
		t.Errorf("runs %q, want %q", runs, want)
	}
	for pid := range 1000 { // as many as a user likes
		l.processes = append(l.processes, run(100+pid, 501, prlctl.ClientApp, began))
	}
	if _, runs := preferencesOf(l.look(), 501); len(runs) != maxRuns {
		t.Errorf("%d runs", len(runs))
	}
}
