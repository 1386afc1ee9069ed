package trigger

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/protocol"
)

// What must survive a restart comes back from JSON as it was; what the
// configuration, the exchange and the next look say is not in it.
func TestStateIsStoredAsItIs(t *testing.T) {
	t.Parallel()
	state := State{
		Seen: stepNoon, Origin: "https://portal.example.com",
		Reports: Reports{ReportAt: stepNoon.Add(time.Second)},
		Limits: Limits{
			Bucket: Bucket{Level: 2.5, At: stepNoon}, LastExchange: stepNoon.Add(2), Failures: 3, FailingSince: stepNoon.Add(4),
			NoRetry: true, RetryAt: stepNoon.Add(5), NotBefore: stepNoon.Add(6), Splay: 7,
		},
		Calendar: Calendar{DailyAt: stepNoon.Add(8)},
		Beliefs: Beliefs{
			Known: true, Product: ProductBelief{Version: "26.4.0", State: protocol.ProductKey, License: "L", Activated: true},
			VMs: []VMBelief{{
				Key: protocol.VMKey{ID: "a", UID: 501}, SeenBy: []protocol.Account{{UID: 502, Name: "bob"}}, Bundle: protocol.Bundle{Volume: "v", Inode: 7},
				State: protocol.StateRunning, Config: "c",
			}},
		},
	}
	lively := state
	lively.Portal, lively.DeviceID, lively.Timing = true, stepDevice, stepTiming
	lively.Looks = Looks{Running: true, At: stepNoon, SafetyLookAt: stepNoon, HintsNext: hintCounts{{501, 1}}}
	lively.Reports.Waiting = Set{}.Add(stepNoon, VMCreated, "a")
	lively.Reports.SplayDraw, lively.Limits.Running, lively.Calendar.CadenceAt = 0.5, true, stepNoon
	data, err := json.Marshal(lively)
	if err != nil {
		t.Fatal(err)
	}
	var recalled State
	if err := json.Unmarshal(data, &recalled); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(state, recalled, cmp.AllowUnexported(Set{}, VMBelief{})); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}

// Each part goes along with a clock that is set back: everything stays as far
// away, or as old, as it was.
func TestEveryPartGoesAlongWithTheClock(t *testing.T) {
	t.Parallel()
	at := stepNoon.Add(time.Minute)
	state := State{
		Seen:     stepNoon,
		Looks:    Looks{At: at, SafetyLookAt: at},
		Reports:  Reports{ReportAt: at},
		Limits:   Limits{Bucket: Bucket{At: at}, LastExchange: at, LastSuccess: at, FailingSince: at, RetryAt: at, NotBefore: at},
		Calendar: Calendar{DailyAt: at, CadenceAt: at},
		Beliefs:  Beliefs{VMs: []VMBelief{{stateAt: at}}},
	}
	onClock := func(now time.Time) State {
		after := state
		after.onClock(now)
		return after
	}
	back := onClock(stepNoon.Add(-time.Hour))
	for name, got := range map[string]time.Time{
		"look": back.Looks.At, "safety look": back.Looks.SafetyLookAt, "report": back.Reports.ReportAt, "bucket": back.Limits.Bucket.At,
		"last exchange": back.Limits.LastExchange, "last success": back.Limits.LastSuccess, "failing since": back.Limits.FailingSince,
		"retry": back.Limits.RetryAt, "not before": back.Limits.NotBefore, "daily": back.Calendar.DailyAt, "cadence": back.Calendar.CadenceAt,
	} {
		if want := at.Add(-time.Hour); !got.Equal(want) {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if !back.Beliefs.VMs[0].stateAt.IsZero() {
		t.Error("the time of an event on another clock is believed")
	}
	if slept := onClock(stepNoon.Add(time.Hour)); !slept.Limits.FailingSince.Equal(state.Limits.FailingSince.Add(time.Hour)) {
		t.Error("an outage is longer by a sleep, or a clock set forward")
	}
	awake := onClock(stepNoon.Add(state.Timing.Tick))
	if !awake.Limits.FailingSince.Equal(state.Limits.FailingSince) {
		t.Error("an outage does not last")
	}
	if ahead := onClock(stepNoon.Add(time.Hour)); !ahead.Limits.RetryAt.Equal(at) || !ahead.Reports.ReportAt.Equal(at) {
		t.Error("a clock set forward moves what is due")
	}
}

// What turns out to be another Mac's state takes no look with it that was asked for
// meanwhile: there may be nothing else that says how this Mac is by then.
func TestH02_ALookThatWasAskedForOutlivesTheStateOfAnotherMac(t *testing.T) {
	t.Parallel()
	for name, what := range map[string]Event{
		"a hint": aliceHears("a", ""), "a reason": SourceEvent{Reason: AppLaunch}, "somebody asks": SourceEvent{Reason: Manual},
		"a wake": SourceEvent{Reason: Wake}, "our own sets": Converged{Look: true, UID: uids["alice"]},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := simulate(t)
			s.looks = 10 * time.Second
			s.tell(Configured{Portal: true, DeviceID: stepDevice, Timing: stepTiming})
			s.tell(SourceEvent{Reason: AgentStart})
			s.tell(what)
			s.now = s.lookEndsAt
			s.state.ForgetOtherMac()
			s.tell(Configured{Portal: true, DeviceID: stepDevice, Timing: stepTiming})
			s.tell(s.look())
			s.until(s.now.Add(time.Minute))
			if len(s.passes) < 2 {
				t.Errorf("looks: %+v", s.passes)
			}
		})
	}
}
