package agent

import (
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/inventory"
	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/agent/watch"
	"prlagent/platform"
)

// A portal that does not answer hides nothing on the Mac: each look is published
// when it ends, and the portal is told afterwards.
func TestH59_ALookIsPublishedWhileAnExchangeRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		d.portal.hold = make(chan struct{})
		defer d.run(t)()
		synctest.Wait() // the first exchange hangs
		d.create("a")
		d.inbox.Tell(watch.Hint{UID: 501})
		time.Sleep(protocol.DefaultTiming().Debounce + time.Second)
		synctest.Wait()
		if rows := d.Inventory().Rows; len(rows) != 1 || len(d.portal.checkins()) != 0 {
			t.Errorf("%d rows are shown, %d check-ins", len(rows), len(d.portal.checkins()))
		}
		status := d.Status()
		if status.Counts.VMs != 1 || status.Pass == nil || status.Pass.Number != 2 || status.Pass.Steps[1].Code != protocol.CodeThrottled {
			t.Errorf("counts %+v, pass %+v", status.Counts, status.Pass)
		}
		close(d.portal.hold)
		time.Sleep(2 * time.Minute)
		if got := d.carried(0); len(got) != 2 || got[0] != "agent_start " || got[1] != "vm_created a" {
			t.Errorf("carried %v", got)
		}
	})
}

// While something runs, the status says what, since when, and when it gives up.
func TestH59_TheStatusSaysWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		d.mac.hold, d.portal.hold = make(chan struct{}), make(chan struct{})
		began := wallClock()
		defer d.run(t)()
		doing := func(step string, start, end time.Time) {
			t.Helper()
			synctest.Wait()
			got := d.Status().Doing
			if len(got) != 1 || got[0].Step != step || !got[0].StartedAt.Equal(start) || !got[0].GivesUpAt.Equal(end) {
				t.Errorf("it does %+v, want %s since %s until %s", got, step, start, end)
			}
		}
		doing(stepObserve, began, time.Time{})
		close(d.mac.hold)
		doing(stepExchange, began, began.Add(exchangeLimit))
		close(d.portal.hold)
		synctest.Wait()
		if got := d.Status().Doing; len(got) != 0 {
			t.Errorf("when all is done it does %+v", got)
		}
	})
}

// Whose tools have not answered is said as long as the look waits for them.
func TestTheStatusSaysForWhomALookWaits(t *testing.T) {
	t.Parallel()
	began, until := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC), time.Date(2026, 11, 23, 9, 1, 15, 0, time.UTC)
	published := []localapi.Activity{{Step: stepObserve, StartedAt: began}, {Step: stepExchange, StartedAt: began}}
	doing := withUsers(published, []inventory.Visiting{{User: platform.User{Name: "bob", UID: 502}, Since: began, Until: until}})
	if got := doing[0]; len(got.Users) != 1 || got.Users[0].Name != "bob" || !got.GivesUpAt.Equal(until) || len(doing[1].Users) != 0 {
		t.Errorf("%+v", doing)
	}
	if published[0].Users != nil {
		t.Error("the published status was changed")
	}
}

// An exchange is bounded as a whole, and one that was cut off has failed.
func TestH59_AnExchangeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		d.portal.hold = make(chan struct{}) // for ever
		defer d.run(t)()
		time.Sleep(exchangeLimit - time.Second)
		synctest.Wait()
		if failures := d.Status().Portal.Failures; failures != 0 {
			t.Errorf("%d failures before the limit", failures)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if failures := d.Status().Portal.Failures; failures != 1 {
			t.Errorf("%d failures after the limit", failures)
		}
	})
}

// A stop does not wait for a portal.
func TestH59_AStopDoesNotWaitForThePortal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		d.portal.hold = make(chan struct{})
		stop := d.run(t)
		synctest.Wait()
		began := time.Now()
		stop()
		if took := time.Since(began); took > stopLimit {
			t.Errorf("the stop took %s", took)
		}
	})
}
