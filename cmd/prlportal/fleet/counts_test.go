package fleet_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/storage"
)

func TestCountsOfDevices(t *testing.T) {
	t.Parallel()
	read := fleet.New(storage.NewMemory(), fleet.MaxBytes)
	now := portaltest.Morning
	for id, member := range map[string]struct {
		health  string
		seen    time.Duration // ago
		leftOut int
		retired bool
	}{
		"a": {protocol.Healthy, time.Minute, 0, false},
		"b": {protocol.Unhealthy, 2 * time.Hour, 3, false},
		"c": {protocol.Unhealthy, 30 * time.Hour, 0, false},
		"d": {"", 30 * time.Minute, 0, false},
		"e": {"splendid", time.Minute, -5, false},
		"f": {protocol.Healthy, 1000 * time.Hour, 0, true},
	} {
		device := storage.Device{ID: id, Serial: "C02" + id, HardwareUUID: id, AgentVersion: "0.1.0", EnrolledAt: now.Add(-2000 * time.Hour), LastCheckinAt: now.Add(-member.seen)}
		if member.retired {
			device.RetiredAt = now
		}
		report := storage.Report{Health: protocol.HealthReport{State: member.health}, Users: []protocol.UserLook{{Name: "alice", UID: 501, LeftOut: member.leftOut}}}
		if err := read.Save(t.Context(), storage.Change{Device: device, Report: &report}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := fleet.Scan{Fleet: read, Now: now, Freshness: 24 * time.Hour}.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := fleet.Counts{
		States:   map[string]int{fleet.StateOK: 5, fleet.StateRetired: 1},
		Health:   map[string]int{protocol.Healthy: 1, protocol.Unhealthy: 1, fleet.HealthStale: 1, "": 1, fleet.HealthUnknown: 1},
		Versions: map[string]int{"0.1.0": 5},
		Seen:     map[string]int{"hour": 3, "day": 1, "week": 1},
		Missing:  3,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
