package fleet_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/storage"
)

// POL-20, GRP-12: counts by group and by document; a retired Mac is in none, and what
// a Mac says of itself is bounded.
func TestPOL20_PolicyStatus(t *testing.T) {
	t.Parallel()
	read := fleet.New(storage.NewMemory(), fleet.MaxBytes)
	now := portaltest.Morning
	document := strings.Repeat("a", 64)
	verdicts := func(words ...string) (list []protocol.Verdict) {
		for i, word := range words {
			list = append(list, protocol.Verdict{Path: "vm_settings.other.network", Verdict: word, Since: now.Add(-time.Duration(i) * time.Hour)})
		}
		return list
	}
	for id, member := range map[string]struct {
		group   protocol.Group
		policy  protocol.PolicyReport
		retired bool
	}{
		"a": {protocol.Group{ID: "x", Source: "profile"}, protocol.PolicyReport{State: protocol.PolicyConverged, SHA256: document, Counts: map[string]int{"reverted": 4}}, false},
		"b": {protocol.Group{ID: "x", Source: "primary"}, protocol.PolicyReport{State: protocol.PolicyPartial, SHA256: document, Counts: map[string]int{"reverted": 6, "deterred": -9},
			Verdicts: verdicts(protocol.VerdictFailed, protocol.VerdictContended, protocol.VerdictDeferred, protocol.VerdictDeferred)}, false},
		"c": {protocol.Group{ID: "y", Source: "secret"}, protocol.PolicyReport{State: protocol.PolicyFailed, SHA256: document}, false},
		"d": {protocol.Group{ID: "y", Source: "secret"}, protocol.PolicyReport{State: "splendid", SHA256: "../x"}, false},
		"e": {protocol.Group{ID: "y", Source: "secret"}, protocol.PolicyReport{State: protocol.PolicyFailed, SHA256: document}, true},
	} {
		device := storage.Device{ID: id, Serial: "C02" + id, HardwareUUID: id, Group: member.group, EnrolledAt: now}
		if member.retired {
			device.RetiredAt = now
		}
		if err := read.Save(t.Context(), storage.Change{Device: device, Report: &storage.Report{Policy: member.policy}}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := fleet.Scan{Fleet: read, Now: now, Freshness: time.Hour}.PolicyStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := fleet.PolicyStatus{
		Groups: []fleet.GroupStatus{
			{GroupID: "x", Devices: 2, Sources: map[string]int{"profile": 1, "primary": 1}, States: map[string]int{"converged": 1, "partial": 1}, Deferred: 2, OldestDeferral: now.Add(-3 * time.Hour)},
			{GroupID: "y", Devices: 2, Sources: map[string]int{"secret": 2}, States: map[string]int{"failed": 1, "other": 1}},
		},
		Documents: []fleet.DocumentStatus{{SHA256: document, Devices: 3, Settings: 10, Troubled: 2, Failed: 1}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
