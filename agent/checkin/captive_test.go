package checkin

import (
	"slices"
	"testing"
	"time"

	"prlagent/agent/protocol"
)

// A network that has just changed may want a sign-in first: that is no alarm
// yet, and asks for one attempt more, a minute later.
func TestCaptiveNetworks(t *testing.T) {
	t.Parallel()
	for _, test := range hostileServers {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t)
			test.arrange(h)
			want := test.code
			if slices.Contains(captiveSigns, test.code) {
				want = protocol.CodePossiblyCaptive
			}
			first, _ := h.try("network_up")
			if first.Code != want {
				t.Fatalf("right after the change: %q, want %q", first.Code, want)
			}
			if slices.Contains(captiveSigns, test.code) && (first.RetryAfter != captiveRetry || first.Code.Text().Severity != protocol.Info) {
				t.Errorf("retry after %s, severity %s", first.RetryAfter, first.Code.Text().Severity)
			}
			h.now = h.now.Add(captiveRetry)
			if second, _ := h.try("daily"); second.Code != test.code {
				t.Errorf("a minute later: %q, want %q", second.Code, test.code)
			}
			h.now = h.now.Add(time.Hour)
			if third, _ := h.try("wake"); third.Code != want {
				t.Errorf("after another change: %q, want %q", third.Code, want)
			}
		})
	}
}

func TestAChangeOfTheNetworkExcusesOneFailureForTenMinutes(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	changed := func(at time.Time) []protocol.Trigger {
		return []protocol.Trigger{{Reason: "daily", LastAt: now.Add(time.Hour)}, {Reason: "network_up", LastAt: at}}
	}
	cases := []struct {
		name     string
		before   networkChange
		triggers []protocol.Trigger
		code     protocol.Code
		want     bool
	}{
		{"no change", networkChange{}, changed(time.Time{})[:1], protocol.CodePortalWebPage, false},
		{"just now", networkChange{}, changed(now), protocol.CodePortalWebPage, true},
		{"ten minutes ago", networkChange{}, changed(now.Add(-captiveWindow)), protocol.CodePortalWebPage, true},
		{"longer ago", networkChange{}, changed(now.Add(-captiveWindow - 1)), protocol.CodePortalWebPage, false},
		{"a clock that was set back", networkChange{}, changed(now.Add(year)), protocol.CodePortalWebPage, false},
		{"used up", networkChange{changed: now, excused: now}, nil, protocol.CodePortalWebPage, false},
		{"used up and told again", networkChange{changed: now, excused: now}, changed(now), protocol.CodePortalWebPage, false},
		{"used up, and changed again", networkChange{changed: now.Add(-time.Minute), excused: now.Add(-time.Minute)}, changed(now), protocol.CodePortalWebPage, true},
		{"a failure of another kind", networkChange{}, changed(now), protocol.CodePortalDNS, false},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			network := test.before
			network.noteChanges(test.triggers)
			got := network.excuseFailure(test.code, now)
			if got != test.want {
				t.Errorf("excused: %t", got)
			}
			if twice := network.excuseFailure(protocol.CodePortalWebPage, now); got && twice {
				t.Error("excused twice")
			}
		})
	}
}
