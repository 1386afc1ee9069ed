package fleet_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/storage"
)

// A license is counted by group and kind; what is too old to be migrated is named, what is
// not known is unknown, a retired Mac is in none (LIC-05, LIC-08).
func TestLIC05_LIC08_LicensesByGroup(t *testing.T) {
	t.Parallel()
	now := portaltest.Morning
	ago := func(days int) time.Time { return now.Add(-time.Duration(days) * 24 * time.Hour) }
	heard := now.Add(-time.Hour)
	product := func(version, state string) protocol.Product {
		return protocol.Product{Installed: true, Version: version, State: state}
	}
	type mac struct {
		group    string
		product  protocol.Product
		launched time.Time
		used     time.Time
		watched  time.Time
		heard    time.Time
		retired  bool
	}
	macs := []mac{
		{group: "a", product: product("26.4.0", protocol.ProductSSO), launched: ago(3), watched: ago(200), heard: heard},
		{group: "a", product: product("20.1.0", protocol.ProductSSO), launched: ago(46), watched: ago(200), heard: heard},
		{group: "a", product: product("20.0.9", protocol.ProductKey), launched: ago(100), watched: ago(200), heard: heard},
		{group: "a", product: product("19.4.1", protocol.ProductKey), launched: ago(100), used: ago(31), watched: ago(200), heard: heard},
		{group: "a", product: product("26.4.0", protocol.ProductDeactivated), watched: ago(70), heard: heard}, // never launched since it is watched
		{group: "b", product: product("26.4.0", protocol.ProductKey), launched: ago(100), watched: ago(10), heard: heard},
		{group: "b", product: product("26.4.0", protocol.ProductKey), launched: ago(100), watched: ago(200), heard: ago(8)}, // silent
		{group: "b", product: product("26.4.0", protocol.ProductKey), launched: ago(100), heard: heard},                     // of before launches were kept
		{group: "b", product: product("26.4.0", ""), launched: ago(0), watched: ago(1), heard: heard},
		{group: "b", product: product("", protocol.ProductKey), used: now.Add(time.Hour), watched: ago(1), heard: heard},
		{group: "b", product: product("beta", protocol.ProductKey), launched: ago(20), watched: ago(200), heard: ago(8)}, // silent, but used
		{group: "b", product: protocol.Product{}, watched: ago(200), heard: heard},
		{group: "b", product: protocol.Product{}},
		{group: "b", product: product("19.0", protocol.ProductKey), retired: true},
	}
	read := fleet.New(storage.NewMemory(), fleet.MaxBytes)
	for i, m := range macs {
		id := fmt.Sprintf("device-%02d", i)
		device := storage.Device{
			ID: id, Serial: "C02" + id, HardwareUUID: id, Group: protocol.Group{ID: m.group}, EnrolledAt: ago(300), LaunchedAt: m.launched, WatchedSince: m.watched, LastCheckinAt: m.heard,
		}
		if m.retired {
			device.RetiredAt = now
		}
		report := storage.Report{Product: m.product, Rows: []storage.Row{{VM: protocol.VM{LastUsedAt: m.used}}}}
		if err := read.Save(t.Context(), storage.Change{Device: device, Report: &report}); err != nil {
			t.Fatal(err)
		}
	}
	found, err := fleet.Scan{Fleet: read, Now: now, Freshness: 3 * 24 * time.Hour}.Licenses(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []fleet.LicenseRow{
		{Group: "a", Macs: 5, SSO: 2, Key: 2, Deactivated: 1, TooOld: 2, Idle30: 4, Idle60: 2, Idle60Unknown: 0, Idle90: 1, Idle90Unknown: 1},
		{Group: "b", Macs: 8, Key: 5, Unknown: 2, NotInstalled: 1, VersionUnknown: 3, Idle30Unknown: 4, Idle60Unknown: 4, Idle90Unknown: 4},
	}
	if difference := cmp.Diff(want, found.Rows); difference != "" {
		t.Errorf("(-want +got):\n%s", difference)
	}
	if found.Stale != 3 || len(found.Macs) != 13 || found.MinPD != "20.1.0" {
		t.Errorf("%d stale, %d Macs, %s", found.Stale, len(found.Macs), found.MinPD)
	}
	words := map[string]string{}
	for _, m := range found.Macs {
		idle := "unknown"
		if m.IdleDays != nil {
			idle = fmt.Sprintf("%d %t", *m.IdleDays, m.IdleAtLeast)
		}
		words[m.DeviceID] = m.Migration + " " + idle
	}
	for id, want := range map[string]string{
		"device-00": "ready 2 false", "device-01": "ready 45 false", "device-02": "too_old 99 false", "device-03": "too_old 30 false", "device-04": "ready 69 true",
		"device-05": "ready 9 true", "device-06": "ready unknown", "device-07": "ready unknown", "device-09": "unknown 0 false", "device-11": "not_installed 199 true", "device-12": "unknown unknown",
	} {
		if words[id] != want {
			t.Errorf("%s is %q, want %q", id, words[id], want)
		}
	}
}
