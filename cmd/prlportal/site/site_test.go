package site_test

import (
	"testing"
	"time"

	"prlagent/cmd/prlportal/site"
)

func TestFreshnessFollowsTheCadenceInForce(t *testing.T) {
	t.Parallel()
	for _, wanted := range []struct {
		cadence, splay int
		want           time.Duration
	}{
		{3600, 300, 2*time.Hour + 5*time.Minute},
		{0, 300, 48*time.Hour + 5*time.Minute}, // the guide's daily check
		{10, 0, 10 * time.Minute},              // no agent believes less than five minutes
		{1 << 30, 0, 48 * time.Hour},
	} {
		if got := (site.Config{NextCheckinSecs: wanted.cadence, SplaySecs: wanted.splay}).Freshness(); got != wanted.want {
			t.Errorf("%d s and %d s: %s, want %s", wanted.cadence, wanted.splay, got, wanted.want)
		}
	}
	if got := (site.Config{NextCheckinSecs: 3600, SplaySecs: 300, StaleAfterSecs: 90}).Freshness(); got != 90*time.Second {
		t.Errorf("an operator's own: %s", got)
	}
}
