package enforce

import (
	"strings"
	"testing"
	"testing/synctest"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// POL-12: a policy that no longer names a group is a deletion for that group only.
// The Macs of one group are told so by their head, those of the other are not.
func TestPOL_12_OneGroupIsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		released, kept := newLab(t, clipboard), newLab(t, clipboard)
		for _, l := range []*lab{released, kept} {
			l.converge()
		}
		released.content.Released = true
		for _, l := range []*lab{released, kept} {
			l.plan()
			l.vmOf(501).change(clipboardPath, "on")
			l.forget()
			l.converge()
		}
		released.wantSets()
		kept.wantSets("501 set --shared-clipboard=off")
		if got := released.report().State; got != protocol.PolicyNone {
			t.Errorf("the group that was taken out reports %s", got)
		}
		if got := kept.report().State; got != protocol.PolicyConverged {
			t.Errorf("the other reports %s", got)
		}
	})
}

// POL-19: an apply that a kill interrupts, wherever it does, is converging until
// the next start has completed it.
func TestPOL_19_AnInterruptedApplyIsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, at := range boundaries(t, clipboard+`,"startup":"ready_in_background"`) {
			l := labOn(t, at.mac, at.folder, clipboard+`,"startup":"ready_in_background"`)
			planned := l.plan()
			want := protocol.PolicyConverging
			if len(planned.Steps) == 0 {
				want = protocol.PolicyConverged // it was interrupted behind the last step
			}
			if got := l.report().State; got != want {
				t.Errorf("%s: %d steps are left, and it is %s", at.name, len(planned.Steps), got)
			}
			l.converge()
			if got := l.report(); got.State != protocol.PolicyConverged || got.Counts[protocol.StrengthReverted] != 2 {
				t.Errorf("%s: in the end %+v", at.name, got)
			}
		}
	})
}

// POL-20: what the portal counts of each group are these words, with what each
// setting holds by: a Mac is converged where all that can be is in place, partial
// where something has failed, and not applicable where the vendor's gates keep it
// out.
func TestPOL_20_WordsThatAreCounted(t *testing.T) {
	refuse := func(uint32, []string) (bool, error) { return false, &prlctl.Error{Code: prlctl.CodeAdminPassword} }
	for name, c := range map[string]struct {
		happens func(*lab)
		gates   Gates
		state   string
		counts  map[string]int
	}{
		"in place":       {func(*lab) {}, Gates{}, protocol.PolicyConverged, map[string]int{protocol.StrengthReverted: 2}},
		"not for it":     {func(l *lab) { l.content = contentOf(`"rosetta_linux":true`, 8) }, Gates{}, protocol.PolicyConverged, map[string]int{protocol.StrengthNotEnforceable: 2}},
		"failed":         {func(l *lab) { l.answer = refuse }, Gates{}, protocol.PolicyPartial, map[string]int{protocol.StrengthNotEnforceable: 2}},
		"no way":         {func(l *lab) { l.content = contentOf(`"no_external_devices":true`, 8) }, Gates{}, protocol.PolicyPartial, map[string]int{protocol.StrengthNotEnforceable: 2}},
		"waits":          {func(l *lab) { l.vmOf(501).state = prlctl.StateSuspended }, Gates{}, protocol.PolicyConverging, map[string]int{protocol.StrengthReverted: 2}},
		"monitored":      {func(l *lab) { l.monitor = true }, Gates{}, protocol.PolicyFetched, map[string]int{protocol.StrengthMonitored: 2}},
		"an old product": {func(*lab) {}, Gates{Vendor: true, ProductVersion: "19.4.1"}, protocol.PolicyNotApplicable, nil},
		"nothing to obey": {func(l *lab) {
			l.content = contentOf(clipboard, 8)
			l.content.Verified, l.content.Code = false, "policy_invalid"
		},
			Gates{}, protocol.PolicyFailed, nil},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, clipboard, func(l *lab) {
				c.happens(l)
				for range 4 {
					l.apply()
				}
				report := l.enforcer.Report(&l.content, c.gates)
				if report.State != c.state || len(report.Counts) != len(c.counts) {
					l.t.Errorf("state %s, counts %v", report.State, report.Counts)
				}
				for strength, count := range c.counts {
					if report.Counts[strength] != count {
						l.t.Errorf("%d are %s, want %d: %v", report.Counts[strength], strength, count, report.Counts)
					}
				}
				if strings.Contains(report.State, "applied") {
					l.t.Errorf("the word %s", report.State)
				}
			})
		})
	}
}
