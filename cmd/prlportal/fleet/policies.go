package fleet

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// policyFacts is what is counted of a device's report on its policy.
type policyFacts struct {
	settings, troubled, deferred int
	oldestDeferral               time.Time
}

// maxSettings bounds what is believed of one device.
const maxSettings = 1_000_000

func policyFactsOf(report storage.Report) policyFacts {
	var facts policyFacts
	for _, count := range report.Policy.Counts {
		facts.settings += min(max(count, 0), maxSettings)
	}
	for i := range report.Policy.Verdicts {
		verdict := &report.Policy.Verdicts[i]
		switch verdict.Verdict {
		case protocol.VerdictFailed, protocol.VerdictContended:
			facts.troubled++
		case protocol.VerdictDeferred:
			facts.deferred++
			if facts.oldestDeferral.IsZero() || verdict.Since.Before(facts.oldestDeferral) {
				facts.oldestDeferral = verdict.Since
			}
		}
	}
	facts.settings = max(facts.settings, facts.troubled)
	return facts
}

// PolicyStatus is what all devices but those that are retired report of their
// policies.
type PolicyStatus struct {
	Groups    []GroupStatus    `json:"groups"`    // by their ids
	Documents []DocumentStatus `json:"documents"` // by their hash
}

// GroupStatus is what the devices of a group report.
type GroupStatus struct {
	GroupID string         `json:"group_id"`
	Devices int            `json:"devices"`
	Sources map[string]int `json:"sources"` // where the devices have the group from
	States  map[string]int `json:"states"`  // by the words of a policy's state; "" where none is reported
	// Deferred are settings that wait for a machine or its user, the oldest since
	// OldestDeferral.
	Deferred       int       `json:"deferred,omitempty"`
	OldestDeferral time.Time `json:"oldest_deferral,omitzero"`
}

// DocumentStatus is what the devices that have one policy document report of it.
type DocumentStatus struct {
	SHA256   string `json:"sha256"`
	Devices  int    `json:"devices"`
	Settings int    `json:"settings"` // verdicts, those on what is in place among them
	Troubled int    `json:"troubled"` // verdicts that it failed or is contended
	Failed   int    `json:"failed"`   // devices that could not take it
}

// PolicyStatus counts what is reported of policies.
func (s Scan) PolicyStatus(ctx context.Context) (PolicyStatus, error) {
	groups, documents := make(map[string]*GroupStatus), make(map[string]*DocumentStatus)
	err := s.Fleet.eachDevice(ctx, func(m *cachedDevice) error {
		if m.device.IsRetired() {
			return nil
		}
		id := m.device.Group.ID
		if groups[id] == nil {
			groups[id] = &GroupStatus{GroupID: id, Sources: make(map[string]int), States: make(map[string]int)}
		}
		groups[id].add(m)
		if sha256 := m.report.Policy.SHA256; protocol.ValidName(sha256) {
			if documents[sha256] == nil {
				documents[sha256] = &DocumentStatus{SHA256: sha256}
			}
			documents[sha256].add(m)
		}
		return nil
	})
	status := PolicyStatus{Groups: []GroupStatus{}, Documents: []DocumentStatus{}}
	for _, group := range groups {
		status.Groups = append(status.Groups, *group)
	}
	for _, document := range documents {
		status.Documents = append(status.Documents, *document)
	}
	slices.SortFunc(status.Groups, func(a, b GroupStatus) int { return strings.Compare(a.GroupID, b.GroupID) })
	slices.SortFunc(status.Documents, func(a, b DocumentStatus) int { return cmp.Compare(a.SHA256, b.SHA256) })
	return status, err
}

// policyStates are the words that are counted by themselves; a device can report
// any word.
var policyStates = []string{
	"", protocol.PolicyNone, protocol.PolicyFetched, protocol.PolicyConverging, protocol.PolicyConverged,
	protocol.PolicyPartial, protocol.PolicyFailed, protocol.PolicyStale, protocol.PolicyNotApplicable,
}

// stateOther stands for a word that no agent of this version reports.
const stateOther = "other"

func (g *GroupStatus) add(m *cachedDevice) {
	state := m.report.Policy.State
	if !slices.Contains(policyStates, state) {
		state = stateOther
	}
	g.Devices++
	g.States[state]++
	g.Sources[m.device.Group.Source]++
	g.Deferred += m.policy.deferred
	if oldest := m.policy.oldestDeferral; !oldest.IsZero() && (g.OldestDeferral.IsZero() || oldest.Before(g.OldestDeferral)) {
		g.OldestDeferral = oldest.UTC()
	}
}

func (d *DocumentStatus) add(m *cachedDevice) {
	d.Devices++
	d.Settings += m.policy.settings
	d.Troubled += m.policy.troubled
	if m.report.Policy.State == protocol.PolicyFailed {
		d.Failed++
	}
}
