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

// POL-20, GRP-12: counts by group and by document; a retired Mac is in none.
func TestPOL20_PolicyStatus(t *testing.T) {
	t.Parallel()
	read := fleet.New(storage.NewMemory(), fleet.MaxBytes)
	now := portaltest.Morning
	document := strings.Repeat("a", 64)
	rows := func(counts storage.SettingCounts) []storage.Row { return []storage.Row{{}, {Settings: counts}} }
	waits := storage.Deferral{Path: "vm_settings.other.network", Since: now.Add(-3 * time.Hour)}
	for id, member := range map[string]struct {
		group   protocol.Group
		report  storage.Report
		retired bool
	}{
		"a": {protocol.Group{ID: "x", Source: "profile"}, storage.Report{Policy: protocol.PolicyReport{State: protocol.PolicyConverged, SHA256: document}, Rows: rows(storage.SettingCounts{InPlace: 4, Drifts: 9})}, false},
		"b": {protocol.Group{ID: "x", Source: "primary"}, storage.Report{Policy: protocol.PolicyReport{State: protocol.PolicyPartial, SHA256: document},
			Rows: rows(storage.SettingCounts{InPlace: 2, Failed: 1, Contended: 1, Deferred: 2}), OldestDeferral: &waits}, false},
		"c": {protocol.Group{ID: "y", Source: "secret"}, storage.Report{Policy: protocol.PolicyReport{State: protocol.PolicyFailed, SHA256: document}}, false},
		"d": {protocol.Group{ID: "y", Source: "secret"}, storage.Report{Policy: protocol.PolicyReport{State: "splendid", SHA256: "../x"}}, false},
		"f": {protocol.Group{ID: "y", Source: "secret"}, storage.Report{Policy: protocol.PolicyReport{State: protocol.PolicyNotApplicable}}, false},
		"e": {protocol.Group{ID: "y", Source: "secret"}, storage.Report{Policy: protocol.PolicyReport{State: protocol.PolicyFailed, SHA256: document}}, true},
	} {
		device := storage.Device{ID: id, Serial: "C02" + id, HardwareUUID: id, Group: member.group, EnrolledAt: now}
		if member.retired {
			device.RetiredAt = now
		}
		if err := read.Save(t.Context(), storage.Change{Device: device, Report: &member.report}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := fleet.Scan{Fleet: read, Now: now, Freshness: time.Hour}.PolicyStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := fleet.PolicyStatus{
		Groups: []fleet.GroupStatus{
			{Group: "x", Macs: 2, InPlace: 1, Partial: 1, Sources: map[string]int{"profile": 1, "primary": 1}, Deferred: 2,
				OldestDeferral: &fleet.GroupDeferral{DeviceID: "b", MacSerial: "C02b", Deferral: waits}},
			{Group: "y", Macs: 3, Failed: 1, NotApplicable: 1, None: 1, Sources: map[string]int{"secret": 3}},
		},
		Documents: []fleet.DocumentStatus{{SHA256: document, Macs: 3, Settings: 10, Troubled: 2, Failed: 1, TroubledMacs: 1.0 / 3}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
