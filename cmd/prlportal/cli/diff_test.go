package cli

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"prlagent/cmd/prlportal/fleet"
)

// A cell says what it counts: machines, users or Macs alone.
func TestTableOfDifferences(t *testing.T) {
	t.Parallel()
	type counts = map[fleet.Outcome]int
	got := settingsTable([]fleet.SettingDiff{
		{Path: "product.update_check", Old: "daily", New: "never", Users: counts{fleet.OutcomeSet: 3}, Macs: counts{fleet.OutcomeSet: 2, fleet.OutcomeUnknown: 1}},
		{Path: "security_controls.no_removal", New: "true", Macs: counts{fleet.OutcomeUnknown: 4}},
		{Path: "vm_settings.other.startup", Old: "manual", VMs: counts{fleet.OutcomeReleased: 12}, Macs: counts{fleet.OutcomeReleased: 9}},
	})
	want := `Setting                       Before  Then   Set           Unmanaged  Unknown
product.update_check          daily   never  3 users on 2  –          1 Mac
security_controls.no_removal  –       true   –             –          4 Macs
vm_settings.other.startup     manual  –      –             12 on 9    –
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
