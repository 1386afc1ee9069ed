package fleet

import (
	"context"
	"maps"
	"slices"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// PolicyStatus is what all devices but those that are retired report of their
// policies.
type PolicyStatus struct {
	Groups    []GroupStatus    `json:"groups"`    // by their ids
	Documents []DocumentStatus `json:"documents"` // by their hash
}

// GroupStatus is how far a group's policy is carried out, in Macs.
type GroupStatus struct {
	Group         string `json:"group"`
	Macs          int    `json:"macs"`
	InPlace       int    `json:"in_place"`
	Converging    int    `json:"converging"` // fetched, and not everything is in place yet; also on Macs that only monitor
	Partial       int    `json:"partial"`
	Failed        int    `json:"failed"`
	NotApplicable int    `json:"not_applicable"`
	None          int    `json:"none"` // without a policy, or without a report
	// Expired are Macs with a head past its time; their policy stays in force, and
	// they are among the others by their settings.
	Expired int `json:"expired"`
	// Sources counts where the Macs have the group from.
	Sources map[string]int `json:"sources"`
	// Violations is what is against security controls.
	Violations int `json:"violations"`
	// Deferred are settings that wait for their machine or its user; OldestDeferral
	// waits longest.
	Deferred       int            `json:"deferred"`
	OldestDeferral *GroupDeferral `json:"oldest_deferral,omitempty"`
}

// StateCount is how many Macs of a group are in one state.
type StateCount struct {
	Words string
	Macs  int
}

// States are the counts of a group by their words, in the order of the columns; Macs
// is their sum.
func (g *GroupStatus) States() []StateCount {
	return []StateCount{
		{"in place", g.InPlace}, {"converging", g.Converging}, {"partial", g.Partial}, {"failed", g.Failed},
		{"not applicable", g.NotApplicable}, {"without", g.None},
	}
}

// GroupDeferral is a setting that waits for its machine or the machine's user.
type GroupDeferral struct {
	DeviceID  string `json:"device_id"`
	MacSerial string `json:"mac_serial"`
	storage.Deferral
}

// DocumentStatus is what the devices that have one policy document report of it.
type DocumentStatus struct {
	SHA256   string `json:"sha256"`
	Macs     int    `json:"macs"`
	Settings int    `json:"settings"` // of all their virtual machines
	Troubled int    `json:"troubled"` // of these, those that failed or are contended
	Failed   int    `json:"failed"`   // Macs that could not take it
	// TroubledMacs is the sum of the Macs' own shares of trouble: one half of whose
	// settings failed is half a Mac, however many settings it says that it has.
	TroubledMacs float64 `json:"troubled_macs"`
}

// PolicyStatus counts what is reported of policies.
func (s Scan) PolicyStatus(ctx context.Context) (PolicyStatus, error) {
	groups, documents := make(map[string]*GroupStatus), make(map[string]*DocumentStatus)
	err := s.Fleet.eachDevice(ctx, func(m *cachedDevice) error {
		if m.device.IsRetired() {
			return nil
		}
		id, counts := m.device.Group.ID, settingsOf(&m.report)
		if groups[id] == nil {
			groups[id] = &GroupStatus{Group: id, Sources: make(map[string]int)}
		}
		groups[id].add(m, counts)
		if sha256 := m.report.Policy.SHA256; protocol.ValidName(sha256) {
			if documents[sha256] == nil {
				documents[sha256] = &DocumentStatus{SHA256: sha256}
			}
			documents[sha256].add(m, counts)
		}
		return nil
	})
	status := PolicyStatus{Groups: []GroupStatus{}, Documents: []DocumentStatus{}}
	for _, id := range slices.Sorted(maps.Keys(groups)) {
		status.Groups = append(status.Groups, *groups[id])
	}
	for _, sha256 := range slices.Sorted(maps.Keys(documents)) {
		status.Documents = append(status.Documents, *documents[sha256])
	}
	return status, err
}

func (g *GroupStatus) add(m *cachedDevice, counts storage.SettingCounts) {
	g.Macs++
	g.Sources[m.device.Group.Source]++
	state := m.report.Policy.State
	if state == protocol.PolicyStale {
		g.Expired++
		state = stateBy(counts)
	}
	switch state {
	case protocol.PolicyConverged:
		g.InPlace++
	case protocol.PolicyFetched, protocol.PolicyConverging:
		g.Converging++
	case protocol.PolicyPartial:
		g.Partial++
	case protocol.PolicyFailed:
		g.Failed++
	case protocol.PolicyNotApplicable:
		g.NotApplicable++
	default:
		g.None++
	}
	g.Violations += m.report.Violations
	g.Deferred += counts.Deferred
	oldest := m.report.OldestDeferral
	if oldest != nil && (g.OldestDeferral == nil || oldest.Since.Before(g.OldestDeferral.Since)) {
		g.OldestDeferral = &GroupDeferral{m.device.ID, m.device.Serial, *oldest}
	}
}

func (d *DocumentStatus) add(m *cachedDevice, counts storage.SettingCounts) {
	d.Macs++
	all, troubled := counts.All(), counts.Failed+counts.Contended
	d.Settings += all
	d.Troubled += troubled
	if all > 0 {
		d.TroubledMacs += float64(troubled) / float64(all)
	}
	if m.report.Policy.State == protocol.PolicyFailed {
		d.Failed++
	}
}

// settingsOf counts the settings of all machines and accounts of a device, and of the
// Mac as a whole.
func settingsOf(report *storage.Report) (sum storage.SettingCounts) {
	for i := range report.Rows {
		sum.AddAll(&report.Rows[i].Settings)
	}
	sum.AddAll(&report.AccountSettings)
	sum.AddAll(&report.HostSettings)
	return sum
}

// stateBy is the state of a policy by what is counted of its settings, as the Mac
// judges it (policy.State).
func stateBy(counts storage.SettingCounts) string {
	switch {
	case counts.Partial+counts.Contended+counts.Failed+counts.Unsupported+counts.Unknown > 0:
		return protocol.PolicyPartial
	case counts.Pending+counts.Deferred > 0:
		return protocol.PolicyConverging
	}
	return protocol.PolicyConverged
}
