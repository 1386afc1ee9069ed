package enforce

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"prlagent/prlctl"
)

const (
	lockPath = "Security/Configuration is locked"
	lockOn   = "501 set --lock-edit-settings=on"
	lockOff  = "501 set --lock-edit-settings=off"
)

// lockLab is a Mac that may be locked, on which alice has three machines, and no
// tool lifts a lock if it does not lift.
func lockLab(l *lab, lifts bool) {
	l.locks = true
	for range 2 {
		l.add(alice)
	}
	delete(l.vms, l.vmOf(502).key)
	if !lifts {
		l.answer = func(_ uint32, args []string) (bool, error) {
			return args[0] != "--lock-edit-settings=off", &prlctl.Error{Code: prlctl.CodeAdminPassword}
		}
	}
}

func (l *lab) locked() (locked int) {
	for _, vm := range l.vms {
		if vm.show(lockPath) == "on" {
			locked++
		}
	}
	return locked
}

// Before a second machine is locked, the lock of the first was lifted and placed
// again; and that is found out once for each version of the product and of macOS.
func TestH45_TheLockIsProbedOnOneMachine(t *testing.T) {
	inBubble(t, `"no_config_changes":true`, func(l *lab) {
		lockLab(l, true)
		l.converge()
		l.wantSets(lockOn, lockOff, lockOn, lockOn, lockOn)
		for _, update := range []func(){func() { l.version.Minor++ }, func() { l.system = "27.0 (26A1)" }} {
			update()
			l.forget()
			l.converge()
			l.wantSets(lockOff, lockOn)
		}
		l.forget()
		time.Sleep(time.Hour)
		l.converge()
		if len(l.calls) > 0 || l.locked() != 3 {
			l.t.Errorf("in the end %d are locked; calls %v", l.locked(), l.calls)
		}
		l.wantVerdict("no_config_changes", "in_place")
	})
}

// Where the lock cannot be lifted one machine has it, which says so, and the others
// are not locked: at any time, and over a restart.
func TestH45_WhereTheProbeFailsNoOtherIsLocked(t *testing.T) {
	inBubble(t, `"no_config_changes":true`, func(l *lab) {
		lockLab(l, false)
		l.after = func(string) {
			if locked := l.locked(); locked > 1 {
				l.t.Errorf("%d machines are locked", locked)
			}
		}
		l.converge()
		l = labOn(l.t, l.fakeMac, copyState(l.t.(*testing.T), l.folder), `"no_config_changes":true`)
		l.locks = true
		l.passesOfAnHour()
		verdicts := make(map[string]int)
		for _, one := range l.enforcer.View().Settings {
			verdicts[fmt.Sprint(one.Verdict.Verdict, " ", one.Verdict.Code)]++
		}
		if fmt.Sprint(verdicts) != "map[in_place release_unproven:1 unsupported release_unproven:2]" {
			l.t.Errorf("verdicts %v", verdicts)
		}
		if sets := l.sets(); len(sets) > 3 {
			l.t.Errorf("sets %v", sets)
		}
	})
}

// A machine that cannot be set does not keep the others from being probed, and one
// whose lock may not be placed any more is not lifted to find that out.
func TestH45_WhoIsProbed(t *testing.T) {
	inBubble(t, `"no_config_changes":true`, func(l *lab) {
		lockLab(l, true)
		first := l.vmOf(501)
		first.state = prlctl.StateSuspended
		l.converge()
		if l.locked() != 2 || first.show(lockPath) != "off" {
			l.t.Errorf("%d are locked; sets %v", l.locked(), l.sets())
		}
		l.locks = false
		l.version.Major++
		l.forget()
		l.converge()
		l.wantSets()
	})
	inBubble(t, `"no_config_changes":true`, func(l *lab) {
		lockLab(l, true)
		l.monitor = true
		planned := l.plan()
		if len(planned.WouldDo) != 3 || slices.ContainsFunc(l.sets(), func(set string) bool { return strings.Contains(set, "lock") }) {
			l.t.Errorf("in monitor mode %d would be done", len(planned.WouldDo))
		}
	})
}

// After an update of the product what has failed is tried again at once.
func TestH45_AnUpdateHasEverythingTriedAgain(t *testing.T) {
	inBubble(t, clipboard, func(l *lab) {
		l.answer = func(uint32, []string) (bool, error) { return false, &prlctl.Error{Code: prlctl.CodeToolFailed} }
		for range 4 {
			l.apply()
		}
		l.answer = nil
		l.converge()
		l.wantVerdict("clipboard", "failed tool_failed")
		l.version.Minor++
		l.converge()
		l.wantVerdict("clipboard", "in_place")
	})
}
