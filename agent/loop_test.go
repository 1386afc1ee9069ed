package agent

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/checkin"
	"prlagent/agent/config"
	"prlagent/agent/inventory"
	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/agent/trigger"
	"prlagent/store"
)

// settings are a configuration with a portal and the default timing.
func settings(t *testing.T) config.Config {
	t.Helper()
	return config.Config{
		ServerURL: &url.URL{Scheme: "https", Host: "portal.example.com"},
		Mode:      config.ModeMonitor, LogLevel: "info", Source: config.SourceNone, Timing: protocol.DefaultTiming(),
	}
}

func TestTRG_11_OneDailyCheckinWhenNothingElseHappens(t *testing.T) {
	skipHours(t)
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		defer d.run(t)()
		synctest.Wait()
		start := len(d.portal.checkins())
		if start != 1 {
			t.Fatalf("%d check-ins at the start, want 1", start)
		}
		time.Sleep(trigger.Day + trigger.Day/10 + time.Minute)
		synctest.Wait()
		got := d.portal.checkins()[start:]
		if len(got) != 1 || got[0].triggers[0].Reason != string(trigger.Daily) {
			t.Fatalf("in a quiet day came %d check-ins %v, want one daily", len(got), reasons(got))
		}
		if due := trigger.DailyAt(d.portal.checkins()[0].at, "device-1", trigger.Day); got[0].at.Sub(due).Abs() > time.Minute {
			t.Errorf("it came at %s, the device's phase is at %s", got[0].at, due)
		}
	})
}

func TestTRG_12_AnyCheckinPostponesTheDailyOne(t *testing.T) {
	skipHours(t)
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		defer d.run(t)()
		time.Sleep(10 * time.Hour)
		d.ask(t)
		asked := wallClock()
		time.Sleep(trigger.Day - trigger.Day/10 - time.Minute)
		synctest.Wait()
		if got := d.portal.checkins(); len(got) != 2 {
			t.Fatalf("check-ins %v: the daily one was not postponed", reasons(got))
		}
		time.Sleep(trigger.Day / 5)
		synctest.Wait()
		got := d.portal.checkins()
		if len(got) != 3 || got[2].triggers[0].Reason != string(trigger.Daily) {
			t.Fatalf("check-ins %v, want agent_start, manual, daily", reasons(got))
		}
		if after := got[2].at.Sub(asked); after < trigger.Day-trigger.Day/10 {
			t.Errorf("the daily check-in came %s after the last", after)
		}
	})
}

func TestCheckinWaitsForThePassThatAnswersIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		d.portal.hold = make(chan struct{})
		defer d.run(t)()
		synctest.Wait() // the first pass hangs in its exchange
		answers := make(chan localapi.CheckinResult)
		go func() { answers <- d.ask(t) }()
		synctest.Wait()
		close(d.portal.hold)
		answer := <-answers
		if !answer.Accepted || answer.Code != "" || !answer.Reported || answer.Pass.Number != 3 { // the second looked while the first hung
			t.Errorf("answered by pass %d (%+v), want the one that checked in after the question", answer.Pass.Number, answer)
		}
	})
}

func TestCheckinGivesUpWithItsAsker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		d.portal.hold = make(chan struct{})
		defer d.run(t)()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if answer := d.Checkin(ctx, true); answer.Code != protocol.CodeCheckinTimeout || !answer.Accepted {
			t.Errorf("answer %+v, want accepted and checkin_timeout", answer)
		}
	})
}

func TestCheckinSaysThatTheDaemonEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		d.portal.hold = make(chan struct{})
		defer d.run(t)()
		ctx, stop := context.WithCancel(t.Context()) // as the socket's: it ends with the daemon
		time.AfterFunc(time.Second, stop)
		if answer := d.Checkin(ctx, true); answer.Code != protocol.CodeDaemonNotRunning || answer.Reported {
			t.Errorf("answer %+v, want daemon_not_running", answer)
		}
	})
}

func TestPeopleCannotFloodThePortal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		defer d.run(t)()
		refused := 0
		for range 2 * personBurst {
			if d.ask(t).Code == protocol.CodeTooManyRequests {
				refused++
			}
		}
		if refused != personBurst {
			t.Errorf("%d of %d were refused, want %d", refused, 2*personBurst, personBurst)
		}
		time.Sleep(personEvery)
		if answer := d.ask(t); answer.Code != "" {
			t.Errorf("after a pause: %s", answer.Code)
		}
	})
}

func TestOutageIsRetriedAndTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		d.portal.outcome = checkin.Outcome{Code: protocol.CodePortalUnreachable}
		defer d.run(t)()
		time.Sleep(time.Hour)
		synctest.Wait()
		failures := len(d.portal.checkins())
		if failures < 5 || failures > 20 {
			t.Errorf("%d attempts in an hour without a portal", failures)
		}
		d.portal.answer(checkin.Outcome{})
		time.Sleep(31 * time.Minute)
		synctest.Wait()
		status := d.Status()
		if status.Portal.Failures != 0 || len(d.portal.checkins()) != failures+1 {
			t.Errorf("after the outage: %d failures, %d check-ins more", status.Portal.Failures, len(d.portal.checkins())-failures)
		}
	})
}

func TestContentThatIsRefusedIsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		d.portal.content, d.portal.outcome = true, checkin.Outcome{Code: protocol.CodeHeadSignature}
		defer d.run(t)()
		synctest.Wait()
		if status := d.Status(); status.Portal.Failures != 0 || status.Pass.Steps[1].Code != protocol.CodeHeadSignature {
			t.Errorf("%d failures, steps %+v", status.Portal.Failures, status.Pass.Steps)
		}
		time.Sleep(trigger.Day / 2)
		synctest.Wait()
		if got := len(d.portal.checkins()); got != 1 {
			t.Errorf("%d check-ins in half a day: a report that arrived was sent again", got)
		}
	})
}

func TestWithoutAPortalItOnlyLooks(t *testing.T) {
	skipHours(t)
	synctest.Test(t, func(t *testing.T) {
		local := settings(t)
		local.ServerURL = nil
		d := newDaemon(t, local)
		defer d.run(t)()
		time.Sleep(3 * trigger.Day)
		synctest.Wait()
		if len(d.portal.checkins()) != 0 || d.mac.looks < 3 {
			t.Errorf("%d check-ins and %d looks in three days", len(d.portal.checkins()), d.mac.looks)
		}
		if status := d.Status(); status.Health.State != localapi.Healthy || status.Portal.Enrollment != "not_configured" {
			t.Errorf("health %s, enrollment %s", status.Health.State, status.Portal.Enrollment)
		}
	})
}

func TestPolicyThatArrivesIsReportedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		d.portal.arriving = &protocol.PolicyReport{State: protocol.PolicyFetched, PolicyID: "finance", Revision: 7, SHA256: "9c41"}
		defer d.run(t)()
		synctest.Wait()
		got := d.portal.checkins()
		if len(got) != 2 || got[1].report.Policy.State != protocol.PolicyFetched || len(got[1].triggers) != 0 {
			t.Fatalf("check-ins %v, want a second one that reports the policy", reasons(got))
		}
		d.ask(t)
		if again := len(d.portal.checkins()); again != 3 {
			t.Errorf("a quiet pass made %d check-ins, want 1", again-2)
		}
	})
}

func TestLookThatFailsStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		d.mac.err = context.DeadlineExceeded
		defer d.run(t)()
		synctest.Wait()
		if steps := d.Status().Pass.Steps; steps[0].Outcome != localapi.StepFailed || len(steps) != 4 {
			t.Errorf("steps %+v", steps)
		}
		if state := d.Status().Health.State; state != localapi.Unhealthy {
			t.Errorf("health %s after a look that failed", state)
		}
		d.mac.change(func(mac *fakeMac) { mac.err = nil })
		if answer := d.ask(t); answer.Code != "" {
			t.Errorf("the next pass: %s", answer.Code)
		}
		if state := d.Status().Health.State; state != localapi.Healthy {
			t.Errorf("health %s after a good look", state)
		}
	})
}

func reasons(got []exchanged) (out [][]string) {
	for _, one := range got {
		var words []string
		for _, entry := range one.triggers {
			words = append(words, entry.Reason)
		}
		out = append(out, words)
	}
	return out
}

func TestDamagedStateEndsTheDaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		d.mac.err = fmt.Errorf("recall inventory: %w", store.ErrDamaged)
		if err := d.loop(t.Context()); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("the loop ended with %v; only a restart can restore the state", err)
		}
	})
}

func TestProfileIsNoticedWithoutARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		with := settings(t)
		without := with
		without.ServerURL = nil
		d := newDaemon(t, without)
		var current atomic.Pointer[config.Config]
		current.Store(&without)
		d.parts.loadConfig = current.Load
		defer d.run(t)()
		synctest.Wait()
		current.Store(&with) // between two ticks: the loop sleeps
		time.Sleep(2 * protocol.DefaultTiming().Tick)
		synctest.Wait()
		got := d.portal.checkins()
		if len(got) != 1 || !trigger.SetOf(got[0].triggers).Has(trigger.ProfileChanged) {
			t.Errorf("check-ins %v, want one because of profile_changed", reasons(got))
		}
	})
}

func TestQuestionSeesTheProfileOfNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		with := settings(t)
		without := with
		without.ServerURL = nil
		d := newDaemon(t, without)
		var current atomic.Pointer[config.Config]
		current.Store(&without)
		d.parts.loadConfig = current.Load
		defer d.run(t)()
		synctest.Wait()
		current.Store(&with)
		if answer := d.ask(t); !answer.Reported || len(d.portal.checkins()) != 1 {
			t.Errorf("answer %+v, %d check-ins: want one with the new profile", answer, len(d.portal.checkins()))
		}
	})
}

func TestStateIsBackedUpDaily(t *testing.T) {
	skipHours(t)
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		defer d.run(t)()
		synctest.Wait()
		first := d.Status().Store.BackedUpAt
		d.ask(t)
		if again := d.Status().Store.BackedUpAt; !again.Equal(first) || first.IsZero() {
			t.Errorf("backups at %s and %s, want one", first, again)
		}
		time.Sleep(2 * trigger.Day)
		synctest.Wait()
		if !d.Status().Store.BackedUpAt.After(first) {
			t.Error("no backup in two days")
		}
	})
}

func TestQuietPassCommitsNothingOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		defer d.run(t)()
		d.ask(t)                                          // carries the events of the start
		if quiet := d.ask(t); quiet.Pass.CommitsNow > 1 { // the one in which the exchange stores its report
			t.Errorf("%d commits beside those of the exchange", quiet.Pass.CommitsNow-1)
		}
	})
}

// A first look can take minutes. What the last daemon knew is shown meanwhile,
// and said to be old.
func TestBeforeTheFirstLookTheLastKnownIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		d.mac.hold = make(chan struct{})
		d.mac.recalled = &inventory.Look{
			Users: []protocol.UserLook{{Name: "alice", UID: 501, Count: 1, Code: protocol.CodeNotLookedYet}},
			VMs:   []protocol.VM{{VMKey: protocol.VMKey{ID: "1", UID: 501}, Owner: "alice", Name: "Windows", State: protocol.StateUnknown, Stale: protocol.CodeNotLookedYet}},
		}
		defer d.run(t)()
		synctest.Wait()
		status := d.Status()
		if status.Portal.Enrollment != checkin.EnrollmentDone || status.Counts.VMs != 1 || status.Counts.Stale != 1 {
			t.Errorf("enrollment %s, counts %+v", status.Portal.Enrollment, status.Counts)
		}
		if conditions := status.Health.Conditions; len(conditions) != 1 || conditions[0].Code != protocol.CodeNotLookedYet {
			t.Errorf("conditions %+v, want %s alone", conditions, protocol.CodeNotLookedYet)
		}
		if rows := d.Inventory(); len(rows.Rows) != 1 || !rows.At.IsZero() {
			t.Errorf("%d rows as of %s, want one of no time", len(rows.Rows), rows.At)
		}
		close(d.mac.hold)
		synctest.Wait()
		if status := d.Status(); len(status.Health.Conditions) != 0 || len(d.Inventory().Rows) != 0 {
			t.Errorf("after the look: %+v, %d rows", status.Health.Conditions, len(d.Inventory().Rows))
		}
		if events, _, _ := d.eventLog.EventsSince(0, 10); len(events) != 0 {
			t.Errorf("events %+v: what came and went is known between two looks only", events)
		}
	})
}

// What a clone remembers of the Mac it was copied from must not be reported.
func TestH02_TheFirstReportOfACloneIsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		other := protocol.Host{Serial: "C02OTHER", HardwareUUID: "00000000-0000-0000-0000-000000000002"}
		if _, err := checkin.LoadIdentity(d.parts.identity, &other); err != nil {
			t.Fatal(err)
		}
		defer d.run(t)()
		synctest.Wait()
		if got := d.portal.checkins(); len(got) != 1 || d.mac.looks != 2 {
			t.Errorf("%d check-ins after %d looks, want one after a second look", len(got), d.mac.looks)
		}
	})
}

// A Mac without a serial number checks in by its hardware UUID, and says that it
// has none; one without a hardware UUID is none that a portal could know.
func TestAMacWithoutASerialOrAHardwareUUID(t *testing.T) {
	for name, test := range map[string]struct {
		host     protocol.Host
		reported bool
		code     protocol.Code
	}{
		"no serial":        {protocol.Host{HardwareUUID: testHost.HardwareUUID}, true, protocol.CodeNoSerial},
		"no hardware UUID": {protocol.Host{Serial: testHost.Serial}, false, protocol.CodeMacUnidentified},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDaemon(t, settings(t))
				d.mac.change(func(m *fakeMac) { m.look.Host = test.host })
				defer d.run(t)()
				synctest.Wait()
				answer := d.ask(t)
				if answer.Reported != test.reported || !test.reported && answer.Code != test.code {
					t.Errorf("answer %+v", answer)
				}
				health := d.Status().Health
				if !slices.ContainsFunc(health.Conditions, func(c localapi.Condition) bool { return c.Code == test.code }) {
					t.Errorf("health %+v", health)
				}
			})
		})
	}
}

func TestH02_ResetThatFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		other := protocol.Host{Serial: "C02OTHER", HardwareUUID: "00000000-0000-0000-0000-000000000002"}
		if _, err := checkin.LoadIdentity(d.parts.identity, &other); err != nil {
			t.Fatal(err)
		}
		obstacle := filepath.Join(filepath.Dir(d.parts.identity), "state.db.bak", "in the way")
		if err := os.MkdirAll(obstacle, 0o700); err != nil { // a backup that cannot be removed
			t.Fatal(err)
		}
		stop := d.run(t)
		synctest.Wait()
		if _, err := checkin.LoadIdentity(d.parts.identity, &testHost); !errors.Is(err, checkin.ErrForeign) {
			t.Fatalf("the obstacle did not help: %v", err)
		}
		backups, _ := filepath.Glob(filepath.Join(filepath.Dir(d.parts.identity), "state.db.bak*"))
		for _, backup := range backups { // they are rotated, the obstacle among them
			if err := os.RemoveAll(backup); err != nil {
				t.Fatal(err)
			}
		}
		d.ask(t)
		stop()
		if _, err := checkin.LoadIdentity(d.parts.identity, &testHost); err != nil {
			t.Errorf("identity after the second pass: %v", err)
		}
		events, _, err := d.eventLog.EventsSince(0, 10)
		if err != nil || len(events) != 1 || events[0].Code != protocol.CodeIdentityReset {
			t.Errorf("events %+v, %v", events, err)
		}
	})
}

// What other programs read from the snapshots is not left to grow old in silence.
func TestSnapshotsThatCannotBeWrittenAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		d.parts.snapshots = filepath.Join(d.parts.snapshots, "later")
		defer d.run(t)()
		synctest.Wait()
		if health := d.Status().Health; len(health.Conditions) != 1 || health.Conditions[0].Code != protocol.CodeSnapshotsOld {
			t.Errorf("conditions %+v, want %s", health.Conditions, protocol.CodeSnapshotsOld)
		}
		if err := os.Mkdir(d.parts.snapshots, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * protocol.DefaultTiming().Tick)
		synctest.Wait()
		if health := d.Status().Health; health.State != localapi.Healthy {
			t.Errorf("conditions %+v after the folder is there", health.Conditions)
		}
	})
}

func TestBackupThatFailsIsNoBackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		for _, backup := range []string{"state.db.bak.2", "state.db.bak.3"} { // one cannot be moved over the other
			if err := os.MkdirAll(filepath.Join(filepath.Dir(d.parts.identity), backup, "in the way"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		defer d.run(t)()
		synctest.Wait()
		if at := d.Status().Store.BackedUpAt; !at.IsZero() {
			t.Errorf("a backup at %s that there is not", at)
		}
	})
}

// What a look saw and the portal lacks is told although no event and no reason
// says so; that a portal cannot take it makes no storm.
func TestWhatThePortalLacksIsTold(t *testing.T) {
	skipHours(t)
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		defer d.run(t)()
		time.Sleep(2 * time.Hour)
		before := len(d.portal.checkins())
		d.portal.change(func(portal *fakePortal) { portal.untold = true })
		time.Sleep(20 * time.Minute) // a look of the safety net
		got := d.portal.checkins()[before:]
		if len(got) == 0 || len(got[0].triggers) != 0 {
			t.Errorf("check-ins %v, want one without a reason", reasons(got))
		}
		time.Sleep(24 * time.Hour)
		if many := len(d.portal.checkins()) - before; many > 2*(6+24*6) { // each with its follow-up
			t.Errorf("%d check-ins in a day: more than the bucket allows", many)
		}
	})
}
