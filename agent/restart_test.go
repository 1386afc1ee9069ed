package agent

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"prlagent/agent/checkin"
	"prlagent/agent/protocol"
	"prlagent/agent/trigger"
	"prlagent/agent/watch"
)

// create gives alice one more virtual machine, of which nobody tells.
func (d daemon) create(id string) {
	d.mac.change(func(mac *fakeMac) {
		mac.look.VMs = append(slices.Clone(mac.look.VMs), protocol.VM{VMKey: protocol.VMKey{ID: id, UID: 501}, Owner: "alice", State: protocol.StateStopped})
	})
}

// carried are the reasons of all check-ins since the first n, with their VMs.
func (d daemon) carried(n int) []string {
	var out []string
	for _, one := range d.portal.checkins()[n:] {
		for _, entry := range one.triggers {
			out = append(out, entry.Reason+" "+entry.VMID)
		}
	}
	return out
}

// What no report has told is told after the next start, once; what a report has
// is not.
func TestReasonsSurviveARestart(t *testing.T) {
	unreachable := checkin.Outcome{Code: protocol.CodePortalUnreachable}
	cases := map[string]struct {
		loses bool // the report could not be stored
		want  []string
	}{
		"not stored": {true, []string{"vm_created a", "agent_start "}},
		"stored":     {false, []string{"agent_start "}},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDaemon(t, settings(t))
				stop := d.run(t)
				time.Sleep(time.Hour)
				d.portal.answer(unreachable)
				d.portal.change(func(portal *fakePortal) { portal.loses = test.loses })
				d.create("a")
				d.inbox.Tell(watch.Hint{})
				time.Sleep(20 * time.Second)
				stop()
				d.portal.answer(checkin.Outcome{})
				told := len(d.portal.checkins())
				d = d.again(t)
				stop = d.run(t)
				time.Sleep(time.Hour)
				stop()
				if diff := cmp.Diff(test.want, d.carried(told), cmpopts.SortSlices(func(a, b string) bool { return a > b })); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				told = len(d.portal.checkins())
				d = d.again(t)
				stop = d.run(t)
				time.Sleep(time.Hour)
				stop()
				if got := d.carried(told); slices.Contains(got, "vm_created a") {
					t.Errorf("told again: %v", got)
				}
			})
		})
	}
}

// A VM that comes while no daemon runs is news to the next one (TRG-16).
func TestTRG_16_WhatHappenedBetweenTwoDaemons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		stop := d.run(t)
		time.Sleep(time.Hour)
		stop()
		told := len(d.portal.checkins())
		d.mac.change(func(mac *fakeMac) {
			mac.look.VMs = []protocol.VM{{VMKey: protocol.VMKey{ID: "a", UID: 501}, Owner: "alice", State: protocol.StateRunning}}
		})
		d = d.again(t)
		stop = d.run(t)
		time.Sleep(time.Hour)
		stop()
		if got := d.carried(told); !slices.Contains(got, "vm_created a") {
			t.Errorf("carried: %v", got)
		}
	})
}

// A daemon that starts again keeps the patience of the one before: with the
// backoff, and with the gap and the bucket when it starts again and again.
func TestPatienceSurvivesARestart(t *testing.T) {
	skipHours(t)
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		d.portal.answer(checkin.Outcome{Code: protocol.CodePortalUnreachable})
		stop := d.run(t)
		time.Sleep(12 * time.Hour)
		stop()
		before, waits := len(d.portal.checkins()), d.kept(t).Limits.RetryAt.Sub(wallClock())
		if waits < time.Second {
			time.Sleep(2 * time.Second)
		}
		d = d.again(t)
		stop = d.run(t)
		synctest.Wait()
		if again := len(d.portal.checkins()); again != before || d.Status().Portal.Failures < 5 {
			t.Errorf("%d attempts at the start, after %d failures", again-before, d.Status().Portal.Failures)
		}
		time.Sleep(45 * time.Minute)
		if again := len(d.portal.checkins()); again == before {
			t.Error("no attempt when the backoff was over")
		}
		stop()
	})
}

func TestACrashLoopIsThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		for range 60 { // a start every ten seconds for ten minutes
			d = d.again(t)
			stop := d.run(t)
			synctest.Wait()
			stop()
			time.Sleep(10 * time.Second)
		}
		if many := len(d.portal.checkins()); many > 7 {
			t.Errorf("%d check-ins in ten minutes", many)
		}
	})
}

// kept is what the store has of the loop.
func (d daemon) kept(t *testing.T) (state trigger.State) {
	t.Helper()
	_, err := schedules.Load(d.store, scheduleKey, &state)
	if err != nil {
		t.Fatal(err)
	}
	return state
}
