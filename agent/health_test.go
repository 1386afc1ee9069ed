package agent

import (
	"slices"
	"testing"
	"time"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

// tracked are the codes that are true at a time, with how long they have been.
func tracked(active, before []*activeCode, now time.Time, asked bool) (known []*activeCode) {
	for _, one := range active {
		again := *one
		known = append(known, &again)
	}
	track(known, before, now, asked)
	return known
}

// sinceOf is since when a condition is known to be true; zero if it is not.
func sinceOf(known []*activeCode, one *activeCode) time.Time {
	for _, other := range known {
		if other.isSame(one) {
			return other.Since
		}
	}
	return time.Time{}
}

func TestConditionsThatPeopleSee(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		activeCodes []protocol.Code
		lasting     time.Duration
		asked       bool
		want        []protocol.Code // conditions, worst first; pending ones too
		state       string
	}{
		"nothing is wrong": {state: localapi.Healthy},
		"an explanation is no alarm": {
			activeCodes: []protocol.Code{protocol.CodeNotConfigured},
			want:        []protocol.Code{protocol.CodeNotConfigured}, state: localapi.Healthy,
		},
		"a laptop between two networks": {
			activeCodes: []protocol.Code{protocol.CodePortalUnreachable}, lasting: time.Minute,
			want: []protocol.Code{protocol.CodePortalUnreachable}, state: localapi.Healthy,
		},
		"an outage that lasts": {
			activeCodes: []protocol.Code{protocol.CodePortalUnreachable}, lasting: roaming,
			want: []protocol.Code{protocol.CodePortalUnreachable}, state: localapi.Degraded,
		},
		"a person who asked sees it at once": {
			activeCodes: []protocol.Code{protocol.CodePortalUnreachable}, asked: true,
			want: []protocol.Code{protocol.CodePortalUnreachable}, state: localapi.Degraded,
		},
		"what follows from another is left out": {
			activeCodes: []protocol.Code{protocol.CodeHeadMissing, protocol.CodePortalUnreachable}, lasting: time.Hour,
			want: []protocol.Code{protocol.CodePortalUnreachable}, state: localapi.Degraded,
		},
		"a profile with a misspelled key is not called none": {
			activeCodes: []protocol.Code{protocol.CodeNotConfigured, protocol.CodeConfigUnknownKey},
			want:        []protocol.Code{protocol.CodeConfigUnknownKey}, state: localapi.Degraded,
		},
		"by itself it is seen": {
			activeCodes: []protocol.Code{protocol.CodeHeadMissing},
			want:        []protocol.Code{protocol.CodeHeadMissing}, state: localapi.Degraded,
		},
		"tools that may not run explain every user": {
			activeCodes: []protocol.Code{protocol.CodeServiceDown, protocol.CodeToolTimeout, protocol.CodeToolsUntrusted}, lasting: time.Hour,
			want: []protocol.Code{protocol.CodeToolsUntrusted}, state: localapi.Unhealthy,
		},
		"the worst comes first": {
			activeCodes: []protocol.Code{protocol.CodeLocallyManaged, protocol.CodeContentStale, protocol.CodeConfigInvalid},
			want:        []protocol.Code{protocol.CodeConfigInvalid, protocol.CodeContentStale, protocol.CodeLocallyManaged}, state: localapi.Unhealthy,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var active []*activeCode
			for _, code := range test.activeCodes {
				active = append(active, &activeCode{Code: code})
			}
			before := tracked(active, nil, now.Add(-test.lasting), false)
			health := diagnose(tracked(active, before, now, test.asked))
			var got []protocol.Code
			for _, condition := range health.Conditions {
				got = append(got, condition.Code)
			}
			if len(got) != len(test.want) {
				t.Fatalf("conditions %v, want %v", got, test.want)
			}
			for i := range got {
				if got[i] != test.want[i] {
					t.Errorf("conditions %v, want %v", got, test.want)
				}
			}
			if health.State != test.state {
				t.Errorf("the daemon is %s, want %s", health.State, test.state)
			}
		})
	}
}

// HasRow reports whether the table of codes has one; the tests from outside ask, too.
func HasRow(code protocol.Code) bool {
	return slices.ContainsFunc(protocol.Codes, func(row protocol.CodeText) bool { return row.Code == code })
}

// Every row of the table must name codes that there are, and no code may hide
// itself: two that explain each other would both be gone.
func TestWarnablesAreSound(t *testing.T) {
	t.Parallel()
	for _, row := range warnables {
		code := row.code
		if !HasRow(code) {
			t.Errorf("%s is no code", code)
		}
		for _, parent := range row.explainedBy {
			if !HasRow(parent) {
				t.Errorf("%s is explained by %s, which is no code", code, parent)
			}
			for _, back := range warnableOf(parent).explainedBy {
				if back == code || parent == code {
					t.Errorf("%s and %s explain each other", code, parent)
				}
			}
		}
	}
}

// What may pass by itself has the time that really passed: a reading of the wall
// clock alone would count a sleep, and a clock that is set.
func TestConditionsLastByTheMonotonicClock(t *testing.T) {
	t.Parallel() // in a bubble no time has a monotonic reading
	d := newDaemon(t, settings(t))
	l := newLoop(t.Context(), d.agent)
	l.recall()
	l.failed = protocol.CodeServiceDown
	health := l.judge(&localapi.Status{})
	if since := sinceOf(l.active, &activeCode{Code: protocol.CodeServiceDown}); since.IsZero() || since == since.Round(0) {
		t.Errorf("since %v has no monotonic reading", since)
	}
	for _, condition := range health.Conditions {
		if condition.Since != condition.Since.Round(0) {
			t.Errorf("%s is shown since %v", condition.Code, condition.Since)
		}
	}
}

func TestSinceIsKeptWhileItLasts(t *testing.T) {
	t.Parallel()
	first := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	alice := &activeCode{Code: protocol.CodeServiceDown, Topic: topicUser, UID: 501}
	bob := &activeCode{Code: protocol.CodeServiceDown, Topic: topicUser, UID: 502}
	known := tracked([]*activeCode{alice}, nil, first, false)
	known = tracked([]*activeCode{alice, bob}, known, first.Add(time.Minute), false)
	if !sinceOf(known, alice).Equal(first) || !sinceOf(known, bob).Equal(first.Add(time.Minute)) {
		t.Errorf("since %v", known)
	}
	known = tracked(nil, known, first.Add(2*time.Minute), false)
	known = tracked([]*activeCode{alice}, known, first.Add(3*time.Minute), false)
	if !sinceOf(known, alice).Equal(first.Add(3 * time.Minute)) {
		t.Errorf("a condition that came back is as old as before: %v", known)
	}
}

// H70: what was shown once stays shown until it ends. Whether somebody has just
// asked for a check-in makes no difference.
func TestH70_AConditionThatIsShownStaysUntilItEnds(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	down := []*activeCode{{Code: protocol.CodeServiceDown, Topic: topicUser, Subject: "alice", UID: 501}}
	known := tracked(down, nil, now, true)
	for _, step := range []time.Duration{4 * time.Second, 8 * time.Second, time.Minute} {
		known = tracked(down, known, now.Add(step), false)
		if health := diagnose(known); health.State != localapi.Degraded {
			t.Errorf("%s after somebody asked, and nothing has changed, the daemon is %s", step, health.State)
		}
	}
	known = tracked(nil, known, now.Add(2*time.Minute), false)
	known = tracked(down, known, now.Add(3*time.Minute), false)
	if health := diagnose(known); health.State != localapi.Healthy {
		t.Errorf("one that ended and has just begun anew is %s", health.State)
	}
}

// Conditions with one cause are one, with what they are true of.
func TestConditionsWithOneCauseAreOne(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	active := []*activeCode{
		{Code: protocol.CodeServiceDown, Topic: topicUser, Subject: "alice", UID: 501},
		{Code: protocol.CodeToolTimeout, Topic: topicUser, Subject: "carol", UID: 503},
		{Code: protocol.CodeServiceDown, Topic: topicUser, Subject: "bob", UID: 502},
	}
	before := tracked(active[:1], nil, now.Add(-time.Hour), false)
	health := diagnose(tracked(active, before, now, false))
	if len(health.Conditions) != 1 {
		t.Fatalf("one stopped service is %d conditions: %+v", len(health.Conditions), health.Conditions)
	}
	got := health.Conditions[0]
	if got.Count != 2 || got.Subject != "alice, bob" || !got.Since.Equal(now.Add(-time.Hour)) || got.Pending {
		t.Errorf("%+v", got)
	}
}
