package agent

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/command"
	"prlagent/agent/config"
	"prlagent/agent/inventory"
	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// waitingExecutor defers what it is asked for until it may go on.
type waitingExecutor struct {
	countedExecutor
	mayGoOn *bool
}

func (w waitingExecutor) Prepare(context.Context, *command.Job) (*command.Readiness, error) {
	if *w.mayGoOn {
		return &command.Readiness{}, nil
	}
	return &command.Readiness{State: protocol.CommandDeferred, Code: protocol.CodeWaitsForStop}, nil
}

// A restart of the daemon loses no command that waits: what carries commands out begins
// before the loop has recalled which Mac this is.
func TestH23_CMD_06_ARestartRefusesNothingThatWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		executor := waitingExecutor{countedExecutor{acts: make(chan string, 8)}, new(bool)}
		d := deletingDaemon(t, executor)
		stop := d.runAll(t)
		time.Sleep(time.Minute)
		stop()

		d = d.again(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			d.commands.trusts(d.parts.loadConfig())
			d.commands.run(ctx)
		}()
		synctest.Wait() // it has looked at all that it has
		if open, results := d.commands.runner.Report(); len(open) != 1 || len(results) != 0 {
			t.Errorf("after the restart: open %+v, results %+v", open, results)
		}
		*executor.mayGoOn = true
		stopLoop := d.run(t)
		time.Sleep(time.Minute)
		if len(executor.acts) != 1 {
			t.Errorf("%d acts", len(executor.acts))
		}
		stopLoop()
		cancel()
		<-ended
	})
}

// Commands that come in the very answer that tells a Mac its device id are for that.
func TestH69_CommandsThatComeWithTheDeviceID(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, commandSettings(t, "vm.delete"))
		d.commands.know(&knowledge{configuration: d.parts.loadConfig(), look: &inventory.Look{}}, d.portal)
		d.commands.mac.DeviceID, d.commands.mac.Serial = "", testHost.Serial
		d.commands.take(&protocol.CheckinReply{Commands: []protocol.Envelope{order(t, d, "inventory.refresh", "refresh-1", nil)}}, d.portal)
		if open, results := d.commands.runner.Report(); len(open) != 1 || len(results) != 0 {
			t.Errorf("open %+v, results %+v", open, results)
		}
	})
}

// The end of a command is in a backup of the state within minutes, and many ends are in
// one (DESIGN 9).
func TestH22_TheStateIsBackedUpOnceCommandsHaveEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		executor := countedExecutor{acts: make(chan string, 8), hold: make(chan struct{})}
		d := deletingDaemon(t, executor)
		stop := d.runAll(t)
		defer stop()
		<-executor.acts
		time.Sleep(5 * time.Minute)
		first := d.Status().Store.BackedUpAt
		close(executor.hold)
		time.Sleep(5 * time.Minute)
		second := d.Status().Store.BackedUpAt
		if first.IsZero() || !second.After(first) {
			t.Errorf("backed up at %s, and after the end of a command at %s", first, second)
		}
		time.Sleep(time.Hour)
		if third := d.Status().Store.BackedUpAt; !third.Equal(second) {
			t.Errorf("backed up again at %s, and nothing has ended", third)
		}
	})
}

// An event of a time that is to come was stamped by a clock that was set back since: it
// is no evidence of a restart, then or later.
func TestH26_AnEventOfTheFutureIsNoEvidence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		known, key := &actedOn{}, protocol.VMKey{ID: "vm-1", UID: 501}
		known.ranAt = map[protocol.VMKey]time.Time{key: wallClock().Add(time.Hour)}
		if ran := known.lastRun(key); !ran.IsZero() {
			t.Errorf("it ran at %s, and it is %s", ran, wallClock())
		}
		time.Sleep(2 * time.Hour)
		if ran := known.lastRun(key); !ran.IsZero() {
			t.Errorf("later: it ran at %s", ran)
		}
		known.onEvent(501, prlctl.Event{VMID: "vm-1", State: "running"})
		if ran := known.lastRun(key); ran.IsZero() {
			t.Error("an event of now is none")
		}
	})
}

// farPortal has a time of day of its own.
type farPortal struct {
	*fakePortal
	likely time.Time
}

func (f farPortal) Clock() (trusted, likely time.Time, proven bool) { return f.likely, f.likely, true }

// Deadlines of commands are by the likely time of day, not by a clock that somebody on
// the Mac has set.
func TestH24_ExecutorsGoByTheLikelyTime(t *testing.T) {
	t.Parallel()
	known := &actedOn{}
	if now := known.now(); wallClock().Sub(now).Abs() > time.Minute {
		t.Errorf("without a portal it is %s", now)
	}
	likely := wallClock().AddDate(1, 0, 0)
	known.know(&knowledge{configuration: &config.Config{}, look: &inventory.Look{}}, farPortal{&fakePortal{}, likely})
	if now := known.now(); !now.Equal(likely) {
		t.Errorf("it is %s, want %s", now, likely)
	}
}

// A portal that answers each check-in with something new to be refused does not have the
// Mac look and check in without a pause; what is to be told is told a little later.
func TestH31_H46_APortalDoesNotKeepTheMacBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, commandSettings(t))
		stop := d.runAll(t)
		defer stop()
		for range 600 {
			d.commands.hint()
			time.Sleep(time.Second)
		}
		most := newsBurst + int(10*time.Minute/newsEvery) + 5
		if got := len(d.portal.checkins()); got > most || got < newsBurst {
			t.Errorf("%d check-ins in ten minutes, at most %d", got, most)
		}
		time.Sleep(2 * newsEvery)
		before := len(d.portal.checkins())
		d.commands.hint()
		d.commands.hint()
		time.Sleep(2 * newsEvery) // the last one is not lost
		if len(d.portal.checkins()) == before {
			t.Error("news are not told")
		}
	})
}

// H47: an agent that runs to lift what it has placed, before it goes, begins nothing, also
// not what has waited for it. Once the Mac has an agent again, that is done.
func TestH47_H59_AnAgentThatLeavesBeginsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		executor := countedExecutor{acts: make(chan string, 8)}
		d := deletingDaemon(t, executor)
		d.parts.isLeaving = true
		d = d.again(t)
		stop := d.runAll(t)
		time.Sleep(10 * time.Minute)
		stop()
		if records, err := d.commands.runner.Records(); err != nil || len(records) != 1 || records[0].Attempts != 0 || len(executor.acts) > 0 {
			t.Fatalf("got %+v, %v, and %d acts", records, err, len(executor.acts))
		}
		d.parts.isLeaving = false
		d = d.again(t)
		stop = d.runAll(t)
		time.Sleep(10 * time.Minute)
		stop()
		if len(executor.acts) != 1 {
			t.Errorf("%d acts", len(executor.acts))
		}
	})
}
