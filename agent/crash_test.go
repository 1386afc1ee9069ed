package agent

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/checkin"
	"prlagent/agent/protocol"
	"prlagent/agent/watch"
)

// crash ends the daemon in the middle of an exchange, of which it learns
// nothing any more: all that the next one has is on the disk.
func (d daemon) crash(t *testing.T, stop func()) daemon {
	t.Helper()
	stop()
	d.portal.change(func(portal *fakePortal) { portal.hold, portal.silent = nil, false })
	return d.again(t)
}

// aliceHas is a Mac on which alice has a virtual machine that is stopped.
func (d daemon) aliceHas(id string) {
	d.create(id)
	d.mac.change(func(mac *fakeMac) {
		mac.look.Users = []protocol.UserLook{{Name: "alice", UID: 501}}
	})
}

// starts is the event of alice's machine that starts, and what a look then sees.
func (d daemon) starts(id string) {
	d.mac.change(func(mac *fakeMac) {
		mac.look.VMs = slices.Clone(mac.look.VMs)
		mac.look.VMs[0].State = protocol.StateRunning
	})
	d.inbox.Tell(watch.Hint{UID: 501, VMID: id, State: protocol.StateRunning})
}

// A second pass has its own reasons: that the exchange of the first one carried
// all of its own says nothing about them.
func TestReasonsSurviveACrashBeforeTheSecondExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		d.aliceHas("a")
		stop := d.run(t)
		time.Sleep(time.Hour)
		told := len(d.portal.checkins())
		d.portal.change(func(portal *fakePortal) { portal.hold = make(chan struct{}) })
		d.starts("a")
		time.Sleep(time.Minute) // the look is over, and the exchange hangs
		synctest.Wait()
		if got := len(d.portal.checkins()); got != told {
			t.Fatalf("%d check-ins arrived", got-told)
		}
		d = d.crash(t, stop)
		stop = d.run(t)
		time.Sleep(time.Hour)
		stop()
		if got := d.carried(told); !slices.Contains(got, "vm_started a") {
			t.Errorf("carried: %v", got)
		}
	})
}

// What a report carried is settled in the commit that stores it: a crash right
// after it tells nothing twice.
func TestReasonsOfAStoredReportAreNotToldAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		d.aliceHas("a")
		stop := d.run(t)
		time.Sleep(time.Hour)
		synctest.Wait() // a look of this moment must not see half of the start
		d.portal.change(func(portal *fakePortal) { portal.silent = true })
		before := len(d.portal.checkins())
		d.starts("a")
		time.Sleep(protocol.DefaultTiming().Debounce) // and no tick later, which would write
		synctest.Wait()
		if got := d.carried(before); !slices.Contains(got, "vm_started a") {
			t.Fatalf("carried: %v", got)
		}
		told := len(d.portal.checkins())
		d = d.crash(t, stop)
		stop = d.run(t)
		time.Sleep(time.Hour)
		stop()
		if got := d.carried(told); !slices.Equal(got, []string{"agent_start "}) {
			t.Errorf("carried after the crash: %v", got)
		}
	})
}

// A crash does not make the agent forget that the portal is failing, or that it
// refused for good, nor that it is well again.
func TestFailuresSurviveACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		for _, outcome := range []checkin.Outcome{
			{Code: protocol.CodePortalUnreachable}, {Code: protocol.CodePortalRefused, NoRetry: true}, {},
		} {
			d.portal.answer(outcome)
			stop := d.run(t)
			d.ask(t)
			synctest.Wait()
			failures := d.Status().Portal.Failures
			stop() // which writes nothing
			kept := d.kept(t).Limits
			if kept.Failures != failures || (failures == 0) != (outcome.Code == "") || kept.NoRetry != outcome.NoRetry {
				t.Errorf("after %+v: %d failures, of which %d are kept, and %t", outcome, failures, kept.Failures, kept.NoRetry)
			}
			d = d.again(t)
		}
	})
}
