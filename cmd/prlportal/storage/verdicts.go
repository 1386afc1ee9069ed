package storage

import (
	"fmt"
	"slices"
	"time"

	"prlagent/agent/protocol"
)

// Bounds of what is kept of a device's verdicts, and of how they changed: that is
// forgotten oldest first, and nothing is read of it where a check-in only adds to it.
const (
	MaxVerdictBytes = protocol.MaxRequest + maxKeptChanges*96
	MaxChangesBytes = 1 << 20 // of all changes of a device
	MaxChangesAge   = 400 * 24 * time.Hour
	maxKeptChanges  = 2000 // check-ins with changes
)

// Verdicts is what became of each setting on a Mac, as it reported last, and where
// to find how it changed.
type Verdicts struct {
	Report protocol.VerdictReport `json:"report"` // as a whole
	Last   uint64                 `json:"last,omitempty"`
	Kept   []ChangesMark          `json:"kept,omitempty"` // oldest first
	// ForgottenTo is when the newest change that was forgotten had been received.
	ForgottenTo time.Time `json:"forgotten_to,omitzero"`
}

// ChangesMark names the changes of one check-in.
type ChangesMark struct {
	First uint64    `json:"first"` // number of the first one
	At    time.Time `json:"at"`
	Bytes int       `json:"bytes"`
}

// VerdictChanges are the changes that one check-in told of. Each change of one
// setting on one machine has a number at this device, which stays its own: First is
// that of the first machine of the first group.
type VerdictChanges struct {
	First  uint64           `json:"first"`
	At     time.Time        `json:"at"` // when it was received
	SHA256 string           `json:"policy_sha256,omitempty"`
	VMs    []protocol.VMKey `json:"vms,omitempty"`
	Groups []VerdictChange  `json:"groups"`
}

// VerdictChange is one change of one setting, and the machines that it is true of.
type VerdictChange struct {
	Path   string       `json:"path"`
	Before VerdictState `json:"before,omitzero"` // zero: nothing was reported of it
	After  VerdictState `json:"after,omitzero"`  // zero: nothing is reported of it any more
	VMs    []int        `json:"vms,omitempty"`   // places in VMs; none: of the policy as a whole
}

// VerdictState is what was reported of a setting.
type VerdictState struct {
	Verdict  string        `json:"verdict"`
	Strength string        `json:"strength"`
	Code     protocol.Code `json:"code,omitempty"`
	Since    time.Time     `json:"since,omitzero"` // by the Mac's clock
}

func stateOf(group *protocol.VerdictGroup) VerdictState {
	if group == nil {
		return VerdictState{}
	}
	return VerdictState{group.Verdict, group.Strength, group.Code, group.Since}
}

// Each calls visit with each change and its number, in the order of the numbers.
func (c *VerdictChanges) Each(visit func(number uint64, vm protocol.VMKey, change *VerdictChange)) {
	number := c.First
	for i := range c.Groups {
		group := &c.Groups[i]
		if len(group.VMs) == 0 {
			visit(number, protocol.VMKey{}, group)
			number++
		}
		for _, place := range group.VMs {
			visit(number, c.VMs[place], group)
			number++
		}
	}
}

// Count is how many changes there are.
func (c *VerdictChanges) Count() (count int) {
	for i := range c.Groups {
		count += max(1, len(c.Groups[i].VMs))
	}
	return count
}

// Take takes over what a Mac tells, and gives what changed by it; nil where
// nothing did. It is false for a delta from other verdicts than those that are kept,
// and nothing is changed.
func (v *Verdicts) Take(told *protocol.VerdictReport, now time.Time) (changes *VerdictChanges, fits bool, err error) {
	merged, fits := told.Merge(&v.Report)
	if !fits {
		return nil, false, nil
	}
	found := compareVerdicts(&v.Report, &merged)
	found.First, found.At, found.SHA256 = v.Last+1, now, merged.SHA256
	v.Report = merged
	if len(found.Groups) == 0 {
		return nil, true, nil
	}
	v.Last += uint64(found.Count())
	changes, err = v.keep(&found, now)
	return changes, true, err
}

// Clear is Take of a Mac that reports no more.
func (v *Verdicts) Clear(now time.Time) (*VerdictChanges, error) {
	changes, _, err := v.Take(&protocol.VerdictReport{Full: true}, now)
	return changes, err
}

// keep marks changes as kept, and forgets the oldest ones beyond the bounds.
func (v *Verdicts) keep(changes *VerdictChanges, now time.Time) (*VerdictChanges, error) {
	data, err := protocol.Encode(changes)
	if err != nil {
		return nil, fmt.Errorf("encode changes: %w", err)
	}
	v.Kept = append(v.Kept, ChangesMark{First: changes.First, At: now, Bytes: len(data)})
	size, keep := 0, 0
	for _, mark := range slices.Backward(v.Kept) {
		if size += mark.Bytes; size > MaxChangesBytes || keep == maxKeptChanges || now.Sub(mark.At) > MaxChangesAge {
			break
		}
		keep++
	}
	if forgotten := len(v.Kept) - keep; forgotten > 0 {
		v.ForgottenTo = v.Kept[forgotten-1].At
		v.Kept = slices.Delete(v.Kept, 0, forgotten)
	}
	if keep == 0 {
		return nil, nil // more than all of a device's together may be
	}
	return changes, nil
}

// oldest is the number of the oldest change that is kept.
func (v *Verdicts) oldest() uint64 {
	if len(v.Kept) == 0 {
		return v.Last + 1
	}
	return v.Kept[0].First
}

// Covers reports whether every change that was received since then is kept.
func (v *Verdicts) Covers(since time.Time) bool {
	return v.ForgottenTo.IsZero() || v.ForgottenTo.Before(since)
}

// verdictsOf are the verdicts of a report by machine, and the machines in its order.
func verdictsOf(report *protocol.VerdictReport) (byVM map[protocol.VMKey][]*protocol.VerdictGroup, vms []protocol.VMKey) {
	byVM = make(map[protocol.VMKey][]*protocol.VerdictGroup, len(report.VMs)+1)
	report.Each(func(vm protocol.VMKey, group *protocol.VerdictGroup) {
		verdicts, known := byVM[vm]
		if !known {
			vms = append(vms, vm)
			verdicts = make([]*protocol.VerdictGroup, 0, min(len(report.Groups), usualSettings))
		}
		byVM[vm] = append(verdicts, group)
	})
	return byVM, vms
}

// usualSettings is how many settings a machine seldom has more of.
const usualSettings = 32

// compareVerdicts gives what is not the same. The same verdict since another time
// is no change.
func compareVerdicts(before, after *protocol.VerdictReport) VerdictChanges {
	grouped := changeGrouping{groups: make(map[sameChange]int), vms: make(map[protocol.VMKey]int)}
	was, earlier := verdictsOf(before)
	is, now := verdictsOf(after)
	byPath := make(map[string]*protocol.VerdictGroup)
	for _, vm := range now {
		clear(byPath)
		for _, group := range was[vm] {
			byPath[group.Path] = group
		}
		for _, group := range is[vm] {
			old := byPath[group.Path]
			delete(byPath, group.Path)
			if old == nil || old.Verdict != group.Verdict || old.Code != group.Code || old.Strength != group.Strength {
				grouped.add(vm, old, group)
			}
		}
		for _, group := range was[vm] {
			if byPath[group.Path] == group {
				grouped.add(vm, group, nil)
			}
		}
	}
	for _, vm := range earlier {
		if _, still := is[vm]; still {
			continue
		}
		for _, group := range was[vm] {
			grouped.add(vm, group, nil)
		}
	}
	return grouped.changes
}

// changeGrouping says once what changed on many machines.
type changeGrouping struct {
	changes VerdictChanges
	groups  map[sameChange]int
	vms     map[protocol.VMKey]int
}

// sameChange is what the changes of a group have in common: a group of the one
// report, and a group of the other; nil where there is none.
type sameChange struct{ before, after *protocol.VerdictGroup }

func (g *changeGrouping) add(vm protocol.VMKey, before, after *protocol.VerdictGroup) {
	at, isGroup := g.groups[sameChange{before, after}]
	if !isGroup {
		at = len(g.changes.Groups)
		g.groups[sameChange{before, after}] = at
		named := after
		if after == nil {
			named = before
		}
		made := VerdictChange{Path: named.Path, Before: stateOf(before), After: stateOf(after)}
		g.changes.Groups = append(g.changes.Groups, made)
	}
	if vm == (protocol.VMKey{}) {
		return
	}
	place, isNamed := g.vms[vm]
	if !isNamed {
		place = len(g.changes.VMs)
		g.vms[vm] = place
		g.changes.VMs = append(g.changes.VMs, vm)
	}
	g.changes.Groups[at].VMs = append(g.changes.Groups[at].VMs, place)
}
