package inventory

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"prlagent/prlctl"
)

// isolation writes the config.pvs of alice's machine, as changed at a time.
func (l *lab) isolation(value string, at time.Time) {
	l.files[windows().home+"/config.pvs"] = file{uid: 501, at: at, data: fmt.Sprintf(
		"<ParallelsVirtualMachine><Settings><Tools><IsolatedVm>%s</IsolatedVm></Tools></Settings></ParallelsVirtualMachine>", value)}
}

// configOf is what a look says of the isolation of alice's machine, and how often
// files were looked at as alice.
func (l *lab) configOf(t *testing.T) string {
	t.Helper()
	look := l.look()
	for _, m := range look.Machines {
		if m.VM.ID == windowsID {
			shown := "nothing"
			if m.Config != nil {
				shown = m.Config.IsolatedVM.String()
			}
			return fmt.Sprintf("%s, %d", shown, strings.Count(l.callsOf("alice"), "look alice"))
		}
	}
	t.Fatal("the machine is gone")
	return ""
}

// config.pvs is read where a policy needs it, and then only after it was changed:
// a quiet look costs no read, and no commit.
func TestVMS_43_ConfigIsReadOnceForEachChange(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.isolation("0", noon.Add(-time.Hour))
	wantEqual(t, "nobody needs it", l.configOf(t), "nothing, 1")

	needs := true
	need := func() { l.collector.sources.NeedsConfig = func(*prlctl.VM) bool { return needs } }
	need()
	wantEqual(t, "a policy needs it", l.configOf(t), "off, 2")
	commits := l.state.Commits()
	wantEqual(t, "nothing has changed", l.configOf(t), "off, 1")
	wantEqual(t, "commits of a quiet look", l.state.Commits(), commits)

	l.isolation("1", noon.Add(-30*time.Minute))
	wantEqual(t, "it was changed", l.configOf(t), "on, 2")
	wantEqual(t, "nothing has changed again", l.configOf(t), "on, 1")

	commits = l.state.Commits()
	l.isolation("1", noon.Add(-20*time.Minute))
	wantEqual(t, "it was touched", l.configOf(t), "on, 2")
	wantEqual(t, "commits for a touch", l.state.Commits(), commits)

	l.restart()
	need()
	wantEqual(t, "a new process reads it once", l.configOf(t), "on, 2")
	wantEqual(t, "and not again", l.configOf(t), "on, 1")

	needs = false
	l.isolation("0", noon.Add(-10*time.Minute))
	wantEqual(t, "nobody needs it any more", l.configOf(t), "on, 1")
	needs = true
	wantEqual(t, "a policy needs it again", l.configOf(t), "off, 2")
}

// A file that was written just now may be written once more within the second
// that its time tells.
func TestVMS_43_ConfigThatWasJustWrittenIsReadAgain(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.collector.sources.NeedsConfig = func(*prlctl.VM) bool { return true }
	next := l.now.Add(time.Minute)
	l.isolation("0", next)
	wantEqual(t, "first", l.configOf(t), "off, 2")
	l.isolation("1", next)
	wantEqual(t, "the same second", l.configOf(t), "on, 2")
	wantEqual(t, "settled", l.configOf(t), "on, 1")
}

// What cannot be read any more is not known: nobody is shown what was.
func TestVMS_43_ConfigThatCannotBeReadIsNotKnown(t *testing.T) {
	t.Parallel()
	for name, failed := range map[string]error{"denied": fs.ErrPermission, "gone": fs.ErrNotExist} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.collector.sources.NeedsConfig = func(*prlctl.VM) bool { return true }
			l.isolation("1", noon.Add(-time.Hour))
			wantEqual(t, "before", l.configOf(t), "on, 2")
			l.files[windows().home+"/config.pvs"] = file{uid: 501, at: noon.Add(-time.Minute), failed: failed}
			wantEqual(t, "after", l.configOf(t), "nothing, 2")
			l.isolation("0", noon.Add(-time.Second))
			wantEqual(t, "again", l.configOf(t), "off, 2")
		})
	}
}

// When a machine was seen first is remembered: a policy may adopt what was there
// before a day (H42).
func TestH42_FirstSeenIsKept(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	first := l.look().Machines[0].FirstSeen
	wantEqual(t, "first seen", first, noon.Add(time.Minute))
	l.restart()
	wantEqual(t, "after a restart", l.look().Machines[0].FirstSeen, first)
}
