package enforce

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/platform/tool"
)

// notifyPolicy has one setting that needs the machine shut down.
const notifyPolicy = `"asset_tag":"F-1"},"max_wait_h":720,"golden_image":{`

// day plans for each hour of a day. It gives what users were shown, and what became
// of reminders.
func (l *lab) day() (shown, outcomes []string) {
	l.t.Helper()
	for range 24 {
		planned, _ := l.apply()
		synctest.Wait()
		for _, event := range append(planned.Events, l.enforcer.TakeReminders()...) {
			outcomes = append(outcomes, strings.TrimSpace(event.Data["uid"]+" "+event.Data["notification"]+" "+string(event.Code)))
		}
		time.Sleep(time.Hour)
	}
	for len(l.shown) > 0 {
		shown = append(shown, (<-l.shown)[:3])
	}
	slices.Sort(outcomes)
	slices.Sort(shown)
	return shown, outcomes
}

// Who is told that machines wait for them, and what the events say of it: once, and
// again after a week.
func TestVMS_41_UsersAreNotified(t *testing.T) {
	skipLong(t)
	both := func(word string) string { return "[501 " + word + " 502 " + word + "]" }
	for name, test := range map[string]struct {
		change func(*lab)
		shown  string // on the first day
		events string
	}{
		"once":                             {func(*lab) {}, "[501 502]", both("asked")},
		"not where nobody wants it":        {func(l *lab) { l.notify = false }, "[]", both("off")},
		"not in monitor mode":              {func(l *lab) { l.monitor = true }, "[]", "[]"},
		"not once locks were released":     {func(l *lab) { l.releaseLocks() }, "[]", "[]"},
		"not without a session":            {func(l *lab) { l.absent = true }, "[]", both("no_session")},
		"once where it fails":              {func(l *lab) { l.notifyFails = &tool.Error{Code: tool.CodeTimeout} }, "[501 502]", both("failed tool_timeout")},
		"not of machines that are at rest": {func(l *lab) { l.rest() }, "[]", "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, notifyPolicy, func(l *lab) {
				l.run()
				l.notify = true
				test.change(l)
				if shown, outcomes := l.day(); fmt.Sprint(shown) != test.shown || fmt.Sprint(outcomes) != test.events {
					l.t.Errorf("shown %v, events %v", shown, outcomes)
				}
				for day := 2; day <= 7; day++ {
					if shown, outcomes := l.day(); len(shown)+len(outcomes) != 0 {
						l.t.Errorf("day %d: shown %v, events %v", day, shown, outcomes)
					}
				}
				want := test.events
				if l.absent {
					want = "[]" // it is still due, and that was said
				}
				if shown, outcomes := l.day(); fmt.Sprint(shown) != test.shown || fmt.Sprint(outcomes) != want {
					l.t.Errorf("after a week: shown %v, events %v", shown, outcomes)
				}
			})
		})
	}
}

// run has every machine running, and rest every one shut down.
func (l *lab) run() {
	for _, vm := range l.vms {
		vm.state = "running"
	}
}

func (l *lab) rest() {
	for _, vm := range l.vms {
		vm.state = "stopped"
	}
}

// Who had no session is told at the first plan when they have one, also after a
// restart, and then not for a week; a restart tells nobody again.
func TestVMS_41_NotifiedAtLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, notifyPolicy)
		l.run()
		l.notify, l.absent = true, true
		l.day()
		restart := func() {
			next := labOn(t, l.fakeMac, copyState(t, l.folder), "")
			next.content, next.notify = l.content, true
			l = next
		}
		restart()
		if shown, _ := l.day(); len(shown) != 2 {
			l.t.Errorf("with a session, shown %v", shown)
		}
		restart()
		for range 5 {
			if shown, outcomes := l.day(); len(shown)+len(outcomes) != 0 {
				l.t.Errorf("again, after a restart: %v, %v", shown, outcomes)
			}
		}
	})
}

// The text says how many machines wait and what to do, and the deadline, if there
// is one; whatever machines and people are called is not in it.
func TestH15_TheTextOfANotificationIsOurs(t *testing.T) {
	local := time.Local
	time.Local = time.FixedZone("CET", 3600)
	t.Cleanup(func() { time.Local = local })
	inBubble(t, notifyPolicy, func(l *lab) {
		l.run()
		l.notify = true
		l.look = func(s *Situation) {
			for _, machine := range s.Machines {
				machine.Name, machine.Bundle, machine.Owner.User.Name = `canary"; quit`, "/canary.pvm", "canary"
			}
		}
		l.apply()
		synctest.Wait()
		for range 2 {
			if text := <-l.shown; strings.Contains(text, "canary") || !strings.Contains(text, "Please shut down") {
				l.t.Errorf("shown %q", text)
			}
		}
	})
	key := protocol.VMKey{ID: "canary"}
	for want, notice := range map[string]policy.Notice{
		"New settings wait for 1 of your Parallels virtual machines. Please suspend or shut down those that are running.": {VMs: []protocol.VMKey{key}},
		"New settings wait for 2 of your Parallels virtual machines. Please shut down those that are running. " +
			"Deadline: Tuesday, December 8, 13:00 CET.": {VMs: []protocol.VMKey{key, key}, ShutDown: true, Deadline: time.Date(2026, 12, 8, 12, 0, 0, 0, time.UTC)},
	} {
		if got := noticeText(&notice); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
