package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// ComplianceRow is how many virtual machines of a group have a setting in which
// state.
type ComplianceRow struct {
	Group string `json:"group"`
	Path  string `json:"path"`
	Macs  int    `json:"macs"`
	storage.SettingCounts
}

// Compliance is how the settings of the policies stand on all Macs.
type Compliance struct {
	At   time.Time       `json:"at"`
	Rows []ComplianceRow `json:"rows"` // by group and path
	Macs int             `json:"macs"` // that had reported settings, or may have
	// Silent are enrolled Macs that had reported no setting, Stale those that have not
	// been heard of for longer than they should be: of them stands what was last.
	Silent int `json:"silent"`
	Stale  int `json:"stale"`
	// Forgotten are Macs whose changes are not kept back to then: their settings of
	// today count as unknown.
	Forgotten int `json:"forgotten"`
	KeptDays  int `json:"kept_days"` // how long changes are kept at most
}

// Compliance gives how settings stood at a time, by what the portal had received
// until then; a zero time is now. Macs count with the group that they are in now.
func (s Scan) Compliance(ctx context.Context, at time.Time) (Compliance, error) {
	if at.IsZero() || at.After(s.Now) {
		at = s.Now
	}
	counting := complianceCount{scan: s, at: at, rows: make(map[[2]string]*ComplianceRow)}
	counting.sum = Compliance{At: at.UTC(), KeptDays: int(storage.MaxChangesAge.Hours() / 24)}
	err := s.Fleet.eachDevice(ctx, func(m *cachedDevice) error { return counting.add(ctx, m) })
	if err != nil {
		return Compliance{}, err
	}
	counting.sum.Rows = []ComplianceRow{}
	for _, key := range slices.SortedFunc(maps.Keys(counting.rows), func(a, b [2]string) int {
		return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]))
	}) {
		counting.sum.Rows = append(counting.sum.Rows, *counting.rows[key])
	}
	return counting.sum, nil
}

// complianceCount is a Compliance in the making.
type complianceCount struct {
	scan Scan
	at   time.Time
	rows map[[2]string]*ComplianceRow // by group and path
	sum  Compliance
}

// settingKey names a setting of one machine.
type settingKey struct {
	vm   protocol.VMKey
	path string
}

func (c *complianceCount) add(ctx context.Context, m *cachedDevice) error {
	retired := m.device.RetiredAt
	if m.device.EnrolledAt.After(c.at) || !retired.IsZero() && !retired.After(c.at) {
		return nil
	}
	kept, err := c.scan.Fleet.store.Verdicts(ctx, m.device.ID)
	if err != nil {
		return fmt.Errorf("load verdicts: %w", err)
	}
	states := make(map[settingKey]string)
	kept.Report.Each(func(vm protocol.VMKey, group *protocol.VerdictGroup) {
		states[settingKey{vm, group.Path}] = group.Verdict
	})
	forgotten := c.at.Before(c.scan.Now) && !kept.Covers(c.at)
	if forgotten {
		c.sum.Forgotten++
		for key := range states {
			states[key] = protocol.VerdictUnknown
		}
	} else if forgotten, err = takeBack(ctx, c.scan.Fleet.store, m.device.ID, &kept, c.at, states); err != nil {
		return err
	}
	if len(states) == 0 && !forgotten {
		c.sum.Silent++
		return nil
	}
	c.sum.Macs++
	if c.scan.isStale(m.device.LastCheckinAt) {
		c.sum.Stale++
	}
	c.count(m.device.Group.ID, states)
	return nil
}

// takeBack takes back what changed after a time. It reports whether a part of that
// was forgotten meanwhile.
func takeBack(ctx context.Context, store reportStore, deviceID string, kept *storage.Verdicts, at time.Time, states map[settingKey]string) (forgotten bool, err error) {
	for _, mark := range slices.Backward(kept.Kept) {
		if !mark.At.After(at) {
			break
		}
		changes, err := store.Changes(ctx, deviceID, mark.First)
		if errors.Is(err, storage.ErrNotFound) {
			return true, nil
		}
		if err != nil {
			return false, fmt.Errorf("load changes: %w", err)
		}
		changes.Each(func(_ uint64, vm protocol.VMKey, change *storage.VerdictChange) {
			if key := (settingKey{vm, change.Path}); change.Before.Verdict == "" {
				delete(states, key)
			} else {
				states[key] = change.Before.Verdict
			}
		})
	}
	return false, nil
}

func (c *complianceCount) count(group string, states map[settingKey]string) {
	counted := make(map[string]bool)
	for key, verdict := range states {
		name := [2]string{group, key.path}
		row := c.rows[name]
		if row == nil {
			row = &ComplianceRow{Group: group, Path: key.path}
			c.rows[name] = row
		}
		row.Add(verdict, 1)
		if !counted[key.path] {
			counted[key.path] = true
			row.Macs++
		}
	}
}
