package fleet

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/query"
)

// minMigration is the oldest Parallels Desktop that can be migrated from Business Edition
// or to another kind of license (the guide, "Upgrading from Business Edition" and
// "Migrating…"; protocol.md 2.8).
const minMigration = "20.1.0"

// How a Mac stands before a migration.
const (
	MigrationReady   = "ready"
	MigrationTooOld  = "too_old"
	MigrationUnknown = "unknown" // its version is not known
	MigrationNone    = "not_installed"
)

// Licenses is who uses licenses, of all Macs that are not retired.
type Licenses struct {
	At    time.Time    `json:"at"`
	Rows  []LicenseRow `json:"rows"` // by group
	Macs  []LicenseMac `json:"macs"` // by group and name
	Stale int          `json:"stale"`
	MinPD string       `json:"min_pd_version"` // for a migration
}

// LicenseRow counts the Macs of a group.
type LicenseRow struct {
	Group          string `json:"group"`
	Macs           int    `json:"macs"`
	SSO            int    `json:"activated_sso"`
	Key            int    `json:"activated_key"`
	Deactivated    int    `json:"deactivated"`
	NotInstalled   int    `json:"not_installed"`
	Unknown        int    `json:"unknown"` // whether and how it is activated
	TooOld         int    `json:"too_old"` // to be migrated
	VersionUnknown int    `json:"version_unknown"`
	// Idle30 are those of which it is known that Parallels Desktop was not launched for
	// that many days; of Idle30Unknown it is not known whether it was.
	Idle30        int `json:"idle_30"`
	Idle30Unknown int `json:"idle_30_unknown"`
	Idle60        int `json:"idle_60"`
	Idle60Unknown int `json:"idle_60_unknown"`
	Idle90        int `json:"idle_90"`
	Idle90Unknown int `json:"idle_90_unknown"`
}

// LicenseMac is one Mac.
type LicenseMac struct {
	DeviceID     string    `json:"device_id"`
	Group        string    `json:"group"`
	ComputerName string    `json:"computer_name,omitempty"`
	MacSerial    string    `json:"mac_serial"`
	PDVersion    string    `json:"pd_version,omitempty"`
	PDState      string    `json:"pd_state,omitempty"` // empty: not known, or not installed
	Migration    string    `json:"migration"`          // one of the Migration words
	LaunchedAt   time.Time `json:"launched_at,omitzero"`
	UsedAt       time.Time `json:"used_at,omitzero"` // last use of any virtual machine
	WatchedSince time.Time `json:"watched_since,omitzero"`
	// IdleDays is for how many days it is known that Parallels Desktop was not launched and
	// no virtual machine used; nil where nothing is known. IdleAtLeast: it may be more,
	// because nobody watched before.
	IdleDays      *int      `json:"idle_days"`
	IdleAtLeast   bool      `json:"idle_at_least,omitempty"`
	LastCheckinAt time.Time `json:"last_checkin_at,omitzero"`
}

var idleDays = [3]int{30, 60, 90}

const day = 24 * time.Hour

// Licenses counts who uses licenses, by what the Macs have reported and nothing else.
func (s Scan) Licenses(ctx context.Context) (Licenses, error) {
	found := Licenses{At: s.Now.UTC(), Macs: []LicenseMac{}, Rows: []LicenseRow{}, MinPD: minMigration}
	rows := make(map[string]*LicenseRow)
	err := s.Fleet.eachDevice(ctx, func(m *cachedDevice) error {
		if m.device.IsRetired() {
			return nil
		}
		row := rows[m.device.Group.ID]
		if row == nil {
			row = &LicenseRow{Group: m.device.Group.ID}
			rows[m.device.Group.ID] = row
		}
		if s.isStale(m.device.LastCheckinAt) {
			found.Stale++
		}
		mac := s.licenseMac(m)
		row.count(mac, s.Now)
		found.Macs = append(found.Macs, mac)
		return nil
	})
	for _, group := range slices.Sorted(maps.Keys(rows)) {
		found.Rows = append(found.Rows, *rows[group])
	}
	slices.SortFunc(found.Macs, func(a, b LicenseMac) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.ComputerName, b.ComputerName), cmp.Compare(a.DeviceID, b.DeviceID))
	})
	return found, err
}

// licenseMac is what is known of one Mac. One that was not heard of for longer than it
// should be may have been used since.
func (s Scan) licenseMac(m *cachedDevice) LicenseMac {
	device, product := &m.device, m.report.Product
	mac := LicenseMac{
		DeviceID: device.ID, Group: device.Group.ID, ComputerName: m.report.Host.ComputerName, MacSerial: device.MacSerial(),
		PDVersion: product.Version, PDState: product.State, Migration: migrationOf(product, !device.LastCheckinAt.IsZero()),
		LaunchedAt: device.LaunchedAt, WatchedSince: device.WatchedSince, LastCheckinAt: device.LastCheckinAt,
	}
	for i := range m.report.Rows {
		mac.UsedAt = latestTime(mac.UsedAt, m.report.Rows[i].VM.LastUsedAt)
	}
	if mac.UsedAt.After(s.Now) { // by a clock that goes ahead
		mac.UsedAt = s.Now
	}
	if device.WatchedSince.IsZero() || s.isStale(device.LastCheckinAt) {
		return mac
	}
	used := latestTime(mac.LaunchedAt, mac.UsedAt)
	days := max(0, int(device.LastCheckinAt.Sub(latestTime(used, device.WatchedSince))/day))
	mac.IdleDays, mac.IdleAtLeast = &days, device.WatchedSince.After(used)
	return mac
}

// migrationOf says how a Mac stands before a migration.
func migrationOf(product protocol.Product, hasReported bool) string {
	switch {
	case hasReported && !product.Installed && product.Version == "":
		return MigrationNone
	case product.Version == "" || product.Version[0] < '0' || product.Version[0] > '9':
		return MigrationUnknown
	case query.IsOlder(product.Version, minMigration):
		return MigrationTooOld
	}
	return MigrationReady
}

// count adds a Mac to its group.
func (r *LicenseRow) count(mac LicenseMac, now time.Time) {
	r.Macs++
	switch {
	case mac.Migration == MigrationNone:
		r.NotInstalled++
	case mac.PDState == protocol.ProductSSO:
		r.SSO++
	case mac.PDState == protocol.ProductKey:
		r.Key++
	case mac.PDState == protocol.ProductDeactivated:
		r.Deactivated++
	default:
		r.Unknown++
	}
	switch mac.Migration {
	case MigrationNone: // nothing to launch, and nothing to migrate
		return
	case MigrationTooOld:
		r.TooOld++
	case MigrationUnknown:
		r.VersionUnknown++
	}
	for i, counted := range [3]struct{ idle, unknown *int }{{&r.Idle30, &r.Idle30Unknown}, {&r.Idle60, &r.Idle60Unknown}, {&r.Idle90, &r.Idle90Unknown}} {
		switch mac.idleFor(idleDays[i], now) {
		case isIdle:
			*counted.idle++
		case idleUnknown:
			*counted.unknown++
		}
	}
}

// What is known of whether a Mac was used within a time.
type idleness int

const (
	wasUsed idleness = iota
	isIdle
	idleUnknown
)

// idleFor says whether it was not used for that many days. A use is known by its time,
// that there was none only of a Mac that would have told of it.
func (m *LicenseMac) idleFor(days int, now time.Time) idleness {
	used := latestTime(m.LaunchedAt, m.UsedAt)
	switch {
	case now.Sub(used) < time.Duration(days)*day:
		return wasUsed
	case m.IdleDays != nil && *m.IdleDays >= days:
		return isIdle
	}
	return idleUnknown
}
