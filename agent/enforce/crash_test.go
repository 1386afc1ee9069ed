package enforce

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

// everything is a policy with calls of every kind: several flags, adapters, what
// only config.pvs shows, isolation that changes something else, and a lock.
const everything = `"isolate_vm":true,"startup":"ready_in_background","network":"host_only","no_share_mac_folders":true,"clipboard":"disconnect",` +
	`"no_smart_cards":true,"no_tools_autoupdate":true,"show_developer_tools":true,"no_config_changes":true`

// boundary is what there was on the Mac and on its disk when the daemon was
// killed.
type boundary struct {
	name   string
	mac    *fakeMac
	folder string
}

// copyState copies the state as the disk has it.
func copyState(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.MkdirAll(filepath.Join(to, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(from, "state", "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(to, "state", "state.db"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

// boundaries makes one apply, and gives what a kill before and after each call of
// the tool would have left: behind the intent, behind the effect, and behind the
// look at it.
func boundaries(t *testing.T, document string) []boundary {
	t.Helper()
	l := newLab(t, document)
	l.locks = true
	for key := range l.vms {
		if key.UID == bob.UID { // one is enough
			delete(l.vms, key)
		}
	}
	l.vmOf(501).change("USB and Bluetooth/Automatic sharing gamepads", "off")
	var found []boundary
	note := func(when string) func(string) {
		return func(call string) {
			l.mu.Lock()
			mac := l.clone()
			l.mu.Unlock()
			found = append(found, boundary{fmt.Sprintf("%d %s %s", len(found), when, call), mac, copyState(t, l.folder)})
		}
	}
	l.before, l.after = note("before"), note("after")
	l.converge()
	l.before, l.after = nil, nil
	return found
}

// Killed at any boundary of an apply, the next start completes it: the verdicts
// are true, everything is as it is wanted, what isolation changes is put back, and
// the lock is ours, so that a release lifts it.
func TestVMS_43_H45_KilledAtEveryStepBoundary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := boundaries(t, everything)
		if len(all) < 40 {
			t.Fatalf("%d boundaries only", len(all))
		}
		every := 1
		if testing.Short() {
			every = 4
		}
		for i := 0; i < len(all); i += every {
			restartAt(t, all[i])
		}
	})
}

func restartAt(t *testing.T, at boundary) {
	t.Helper()
	l := labOn(t, at.mac, at.folder, everything)
	l.locks = true
	l.plan()
	for name, verdict := range l.verdicts() { // before anything is done: none is called in place that is not
		if setting := policy.Find(name[4:]); verdict == protocol.VerdictInPlace && !isInPlace(l, setting) {
			t.Errorf("%s: %s is said to be in place", at.name, name)
		}
	}
	l.converge()
	for name, verdict := range l.verdicts() {
		if verdict != protocol.VerdictInPlace {
			t.Errorf("%s: %s is %s", at.name, name, verdict)
		}
	}
	vm := l.vmOf(501)
	for path, want := range map[string]string{
		"Miscellaneous Sharing/Shared clipboard mode": "off", "Security/Configuration is locked": "on",
		"USB and Bluetooth/Automatic sharing gamepads": "off", "Startup and Shutdown/Startup view": "headless",
	} {
		if got := vm.show(path); got != want {
			t.Errorf("%s: %s is %s, want %s", at.name, path, got, want)
		}
	}
	l.forget()
	if planned, _ := l.apply(); len(planned.Steps) > 0 {
		t.Errorf("%s: a second apply does something: %v", at.name, l.sets())
	}
	l.content.Released = true
	l.converge()
	l.wantSets("501 set --lock-edit-settings=off")
	if got := vm.show("Security/Configuration is locked"); got != "off" {
		t.Errorf("%s: after the release it is locked: %s", at.name, got)
	}
	time.Sleep(time.Minute) // what was killed cannot come any more
	l.converge()
	if memory := l.memoryOf(501); !memory.IsEmpty() {
		t.Errorf("%s: after the release this is remembered: %v", at.name, maps.Keys(memory.Settings))
	}
}

// isInPlace reports whether a new enforcer, who remembers nothing, sees it so too.
func isInPlace(l *lab, setting *policy.Setting) bool {
	s := l.situation()
	document, err := policy.Parse(s.Content.Document)
	if err != nil {
		l.t.Fatal(err)
	}
	observed := policy.Observed{Now: l.enforcer.now(), Version: s.Version}
	for _, m := range s.Machines {
		observed.Machines = append(observed.Machines, m.Facts)
	}
	for _, verdict := range policy.Plan(policy.Desired{Document: document, Enforce: true, AllowUnprovenLocks: true}, &observed).Verdicts {
		if verdict.Setting == setting.Name {
			return verdict.Verdict == protocol.VerdictInPlace
		}
	}
	return false
}
