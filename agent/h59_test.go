package agent

import (
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/protocol"
	"prlagent/agent/watch"
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
