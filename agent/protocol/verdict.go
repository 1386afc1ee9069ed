package protocol

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"
)

// VerdictReport is what became of each setting of the policy on each machine, and of
// each preference of each account, whose key has no id: what is said of machines here
// goes for accounts as well. Like Inventory it is a delta against Base, or everything:
// the verdicts on the machines of VMs take the place of all that were known of them,
// those on the policy as a whole always do.
//
// What is the same of many machines is said once, and a machine is named once:
// every setting of 200 machines fits beside their rows (H51).
type VerdictReport struct {
	Hash   string         `json:"hash"`           // of all verdicts, opaque to the portal
	Base   string         `json:"base,omitempty"` // the acknowledged hash that the delta starts from
	Full   bool           `json:"full,omitempty"`
	SHA256 string         `json:"policy_sha256,omitempty"` // of the document that the verdicts are on
	VMs    []VMKey        `json:"vms,omitempty"`
	Groups []VerdictGroup `json:"groups,omitempty"`
	// Cleared are the machines that have no verdict any more.
	Cleared []VMKey `json:"cleared,omitempty"`
	LeftOut int     `json:"left_out,omitempty"` // verdicts that wait for a report with more room (H51)
}

// VerdictGroup is one verdict on one setting, and the machines that it is true
// of.
type VerdictGroup struct {
	Path     string    `json:"path"` // of the setting in the document
	Verdict  string    `json:"verdict"`
	Strength string    `json:"strength"`
	Code     Code      `json:"code,omitempty"`
	Since    time.Time `json:"since,omitzero"` // of what is not simply in place: verdict and code are the same
	VMs      []int     `json:"vms,omitempty"`  // their places in the report's VMs; none: of the policy as a whole
}

// Limits of a VerdictReport, in entries: of all settings of all machines, and of
// its groups. Machines and accounts are at most MaxVMs together.
const (
	MaxVerdicts      = 16 << 10
	MaxVerdictGroups = 4 << 10
)

// IsSimplyInPlace reports whether there is nothing to say but that the setting is
// as it is wanted.
func (g *VerdictGroup) IsSimplyInPlace() bool { return g.Verdict == VerdictInPlace && g.Code == "" }

// same is what the verdicts of a group have in common.
type sameVerdict struct {
	path, verdict, strength string
	code                    Code
	since                   int64
	isWhole                 bool // on the policy as a whole
}

// VerdictGrouping makes a report of verdicts that come one by one.
type VerdictGrouping struct {
	Report VerdictReport

	groups map[sameVerdict]int
	vms    map[VMKey]int
	count  int

	last   *VerdictGroup // that was added last, and its group's place
	lastAt int
}

// NewVerdictGrouping begins a report on a document.
func NewVerdictGrouping(sha256 string) *VerdictGrouping {
	return &VerdictGrouping{Report: VerdictReport{SHA256: sha256}, groups: make(map[sameVerdict]int), vms: make(map[VMKey]int)}
}

// Add adds a verdict, whose own VMs do not count; the zero key is the policy as a
// whole. What is beyond the limits is left out, and counted. A verdict that is added
// of several machines in a row must not change meanwhile.
func (g *VerdictGrouping) Add(vm VMKey, verdict *VerdictGroup) {
	report := &g.Report
	place, isNamed := g.vms[vm]
	at, isGroup := g.lastAt, verdict == g.last
	var same sameVerdict
	if !isGroup {
		same = sameVerdict{verdict.Path, verdict.Verdict, verdict.Strength, verdict.Code, verdict.Since.Unix(), vm == VMKey{}}
		at, isGroup = g.groups[same]
	}
	if g.count == MaxVerdicts || !isGroup && len(report.Groups) == MaxVerdictGroups || !isNamed && vm != (VMKey{}) && len(report.VMs) == MaxVMs {
		report.LeftOut++
		return
	}
	g.count++
	if !isGroup {
		at = len(report.Groups)
		g.groups[same] = at
		added := *verdict
		added.VMs = nil
		report.Groups = append(report.Groups, added)
	}
	g.last, g.lastAt = verdict, at
	if vm == (VMKey{}) {
		return
	}
	if !isNamed {
		place = len(report.VMs)
		g.vms[vm] = place
		report.VMs = append(report.VMs, vm)
	}
	group := &report.Groups[at]
	group.VMs = append(group.VMs, place)
}

// Each calls visit with each verdict, in the order of the groups. The key is zero
// for the policy as a whole. Places that name no machine are passed over.
func (v *VerdictReport) Each(visit func(VMKey, *VerdictGroup)) {
	for i := range v.Groups {
		group := &v.Groups[i]
		if len(group.VMs) == 0 {
			visit(VMKey{}, group)
		}
		for _, place := range group.VMs {
			if place >= 0 && place < len(v.VMs) {
				visit(v.VMs[place], group)
			}
		}
	}
}

// verdictPart is the name of the verdicts' hash among a baseline's parts.
const verdictPart = "verdicts"

// marks are hashes of the verdicts on each machine, and with the empty name of
// those on the policy as a whole. In which order they stand does not matter: it
// changes with those on other machines.
func (v *VerdictReport) marks() map[string]VMMark {
	whole, sums := sha256.Sum256([]byte(v.SHA256)), make([][sha256.Size]byte, len(v.VMs))
	for i := range v.Groups {
		group := &v.Groups[i]
		one := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %d", group.Path, group.Verdict, group.Strength, group.Code, group.Since.Unix()))
		if len(group.VMs) == 0 {
			subtle.XORBytes(whole[:], whole[:], one[:])
		}
		for _, place := range group.VMs {
			subtle.XORBytes(sums[place][:], sums[place][:], one[:])
		}
	}
	marks := map[string]VMMark{"": {Hash: hex.EncodeToString(whole[:16])}}
	for i, key := range v.VMs {
		marks[key.String()] = VMMark{Key: key, Hash: hex.EncodeToString(sums[i][:16])}
	}
	return marks
}

// hashMarks is the hash over the marks.
func hashMarks(marks map[string]VMMark) string {
	sum := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(marks)) {
		fmt.Fprintf(sum, "%q=%s\n", key, marks[key].Hash)
	}
	return hex.EncodeToString(sum.Sum(nil))[:32]
}

// delta is what of the verdicts a portal lacks that has base; nil if it has all.
func (v *VerdictReport) delta(now, base Baseline) *VerdictReport {
	if now.Parts[verdictPart] == base.Parts[verdictPart] {
		return nil
	}
	made := v.only(func(key VMKey) bool {
		name := key.String()
		return now.Verdicts[name].Hash != base.Verdicts[name].Hash
	})
	made.Hash, made.Base = now.Parts[verdictPart], base.Parts[verdictPart]
	made.Full = made.Base == ""
	for _, name := range slices.Sorted(maps.Keys(base.Verdicts)) {
		if _, still := now.Verdicts[name]; !still {
			made.Cleared = append(made.Cleared, base.Verdicts[name].Key)
		}
	}
	return made
}

// only is the verdicts on the policy as a whole and on some of the machines.
func (v *VerdictReport) only(has func(VMKey) bool) *VerdictReport {
	made := *v
	made.VMs, made.Groups = nil, nil
	places := make([]int, len(v.VMs))
	for i, key := range v.VMs {
		if places[i] = -1; has(key) {
			places[i] = len(made.VMs)
			made.VMs = append(made.VMs, key)
		}
	}
	for i := range v.Groups {
		group := v.Groups[i]
		group.VMs = nil
		for _, place := range v.Groups[i].VMs {
			if places[place] >= 0 {
				group.VMs = append(group.VMs, places[place])
			}
		}
		if len(group.VMs) > 0 || len(v.Groups[i].VMs) == 0 {
			made.Groups = append(made.Groups, group)
		}
	}
	return &made
}

// cut leaves nothing that is longer than what a portal keeps, and no place that
// names no machine.
func (v *VerdictReport) cut() {
	cutTexts(v)
	v.VMs, v.Cleared = cutKeys(v.VMs), cutKeys(v.Cleared)
	v.Groups = cutEach(v.Groups, MaxVerdictGroups)
	room := MaxVerdicts
	for i := range v.Groups {
		group := &v.Groups[i]
		if len(group.VMs) == 0 {
			continue
		}
		named := make([]int, 0, min(len(group.VMs), len(v.VMs)))
		for _, place := range group.VMs {
			if place >= 0 && place < len(v.VMs) && len(named) < min(room, len(v.VMs)) {
				named = append(named, place)
			}
		}
		room -= len(named)
		group.VMs = named
	}
	// One that named machines, and names none any more, is not on the policy as a whole.
	v.Groups = slices.DeleteFunc(v.Groups, func(group VerdictGroup) bool { return group.VMs != nil && len(group.VMs) == 0 })
}

func cutKeys(keys []VMKey) []VMKey {
	keys = slices.Clone(keys[:min(len(keys), MaxVMs)])
	for i := range keys {
		keys[i].ID = CutText(keys[i].ID, MaxName)
	}
	return keys
}

// Merge gives the verdicts that a portal has after a report, of which kept are
// those before. It is false for a delta from others, which says nothing by itself.
func (v *VerdictReport) Merge(kept *VerdictReport) (merged VerdictReport, fits bool) {
	if !v.Full && v.Base != kept.Hash {
		return VerdictReport{}, false
	}
	grouping := NewVerdictGrouping(v.SHA256)
	if !v.Full {
		gone := make(map[VMKey]bool, len(v.VMs)+len(v.Cleared))
		for _, key := range slices.Concat(v.VMs, v.Cleared, []VMKey{{}}) {
			gone[key] = true
		}
		kept.Each(func(key VMKey, group *VerdictGroup) {
			if !gone[key] {
				grouping.Add(key, group)
			}
		})
	}
	v.Each(grouping.Add)
	merged = grouping.Report
	merged.Hash, merged.LeftOut = v.Hash, v.LeftOut
	return merged, true
}
