package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/tree"
)

// Change is what is to be signed and added. It says for each group what becomes of
// it, also where nothing does.
type Change struct {
	Policies [][]byte
	Heads    []protocol.Head // with the versions that come next, not signed yet
	Steps    []Step
}

// Step is what becomes of one group.
type Step struct {
	Group string `json:"group"`
	What  What   `json:"what"`
	// Before and After name a policy as "finance 7"; empty: none.
	Before    string `json:"before,omitempty"`
	After     string `json:"after,omitempty"`
	Candidate string `json:"candidate,omitempty"`
	Percent   int    `json:"percent,omitempty"`
	Mode      string `json:"mode,omitempty"` // of the head; empty: as the Macs' profile says
}

// What is what becomes of a group.
type What string

// Whats.
const (
	Unchanged What = "unchanged" // nothing is signed
	Changed   What = "changed"
	Released  What = "released" // it had a policy, and has none now
	Renewed   What = "renewed"  // the same, signed anew
)

// IsEmpty reports whether there is nothing to sign.
func (c *Change) IsEmpty() bool { return len(c.Heads) == 0 }

// Released are the groups that lose their policy.
func (c *Change) Released() []string {
	var groups []string
	for _, step := range c.Steps {
		if step.What == Released {
			groups = append(groups, step.Group)
		}
	}
	return groups
}

// Policies reads policies of what is published.
type Policies interface {
	Policy(ctx context.Context, sha256 string) ([]byte, error)
}

// Publication is a tree to be published.
type Publication struct {
	Tree    tree.Tree
	Percent int  // of the Macs of each group whose policy changes; 0: all, at once
	Monitor bool // in monitor mode, whatever the groups' files say
}

// Errors of planning.
var (
	ErrPolicyGone = errors.New("was published and is not in the tree; put its file back, or add it to deleted_policies in site.yaml, which ends it for good")
	ErrDeleted    = errors.New("was among deleted_policies in site.yaml, and has to stay there: its id is never used again; give a policy that comes back another name")
	ErrCandidate  = errors.New("has a candidate that is neither what is in the tree nor decided on; 'prlportal policies promote' or 'halt' it first, or publish with --percent in its place")
	ErrWrongSite  = errors.New("site.yaml is of another site")
)

// Plan is what publishing a tree changes. What is the same is not signed again. A
// group that is published and not in the tree is released by a head that says so,
// and keeps it.
func (p Publication) Plan(ctx context.Context, state State, policies Policies) (Change, error) {
	if id := p.Tree.Site.SiteID; id != "" && id != state.SiteID {
		return Change{}, ErrWrongSite
	}
	if err := p.checkDeleted(&state); err != nil {
		return Change{}, err
	}
	planned := planner{state: state, policies: policies, pointers: make(map[string]protocol.PolicyPointer), same: make(map[string][]byte)}
	groups := slices.AppendSeq(state.groups(), maps.Keys(state.Signed))
	for i := range p.Tree.Groups {
		groups = append(groups, p.Tree.Groups[i].ID)
	}
	slices.Sort(groups)
	for _, group := range slices.Compact(groups) {
		head, err := p.wanted(ctx, &planned, group)
		if err != nil {
			return Change{}, err
		}
		planned.add(head)
	}
	return planned.change, nil
}

// checkDeleted holds POL-08: a policy ends in a way that a reviewer sees, and for good.
func (p Publication) checkDeleted(state *State) error {
	for _, id := range state.Deleted {
		if !slices.Contains(p.Tree.Site.DeletedPolicies, id) {
			return fmt.Errorf("policy %.64s %w", id, ErrDeleted)
		}
	}
	for _, document := range state.Documents {
		id := document.Pointer.PolicyID
		isThere := slices.ContainsFunc(p.Tree.Policies, func(one tree.Policy) bool { return one.ID == id })
		if id != "" && !isThere && !slices.Contains(p.Tree.Site.DeletedPolicies, id) {
			return fmt.Errorf("policy %.64s %w", id, ErrPolicyGone)
		}
	}
	return nil
}

// wanted is the head that a group should have.
func (p Publication) wanted(ctx context.Context, planned *planner, group string) (protocol.Head, error) {
	before := planned.state.Heads[group]
	head := protocol.Head{GroupID: group, SplaySecs: p.Tree.Site.SplaySecs}
	known := p.Tree.Group(group)
	if known == nil {
		return head, nil
	}
	if head.Mode = known.Mode; p.Monitor {
		head.Mode = protocol.ModeMonitor
	}
	wanted := p.Tree.PolicyOf(group)
	if wanted == nil {
		return head, nil
	}
	pointer, err := planned.pointer(ctx, wanted)
	if err != nil {
		return head, err
	}
	return withPolicy(head, before, pointer, p.Percent)
}

// withPolicy puts the policy into a head, as a candidate beside the one of before
// where only some Macs are to take it.
func withPolicy(head, before protocol.Head, pointer protocol.PolicyPointer, percent int) (protocol.Head, error) {
	isBase := before.Policy != nil && *before.Policy == pointer
	isCandidate := before.Candidate != nil && before.Candidate.Pointer() == pointer
	switch {
	case percent > 0 && !isBase:
		head.Policy, head.Candidate = before.Policy, candidateOf(pointer, percent)
	case before.Candidate == nil:
		head.Policy = &pointer
	case isCandidate:
		head.Policy, head.Candidate = before.Policy, before.Candidate
	default:
		return head, fmt.Errorf("group %s %w", head.GroupID, ErrCandidate)
	}
	return head, nil
}

func candidateOf(p protocol.PolicyPointer, percent int) *protocol.Candidate {
	return &protocol.Candidate{PolicyID: p.PolicyID, Revision: p.Revision, SHA256: p.SHA256, Size: p.Size, Percent: percent}
}

// planner collects a change.
type planner struct {
	state    State
	policies Policies
	pointers map[string]protocol.PolicyPointer // of the tree's policies, by their ids
	same     map[string][]byte                 // policies that are published already, by their hash
	change   Change
}

// pointer is the pointer to a policy of the tree: to the latest revision, where
// that has the same content, or to the one after it.
func (p *planner) pointer(ctx context.Context, wanted *tree.Policy) (protocol.PolicyPointer, error) {
	if pointer, known := p.pointers[wanted.ID]; known {
		return pointer, nil
	}
	latest, published := p.state.latest(wanted.ID)
	if published {
		data, err := p.policies.Policy(ctx, latest.Pointer.SHA256)
		if err != nil {
			return protocol.PolicyPointer{}, fmt.Errorf("read policy %s %d: %w", wanted.ID, latest.Pointer.Revision, err)
		}
		if bytes.Equal(data, wanted.Encode(latest.Pointer.Revision)) {
			pointer := protocol.PointTo(wanted.ID, latest.Pointer.Revision, data)
			p.pointers[wanted.ID], p.same[pointer.SHA256] = pointer, data
			return pointer, nil
		}
	}
	return p.addPolicy(wanted.ID, wanted.Encode(latest.Pointer.Revision+1))
}

func (p *planner) addPolicy(id string, data []byte) (protocol.PolicyPointer, error) {
	pointer, _, err := pointTo(data)
	if err != nil {
		return protocol.PolicyPointer{}, fmt.Errorf("policy %s: %w", id, err)
	}
	p.pointers[id] = pointer
	p.change.Policies = append(p.change.Policies, data)
	return pointer, nil
}

// add plans a head, if it says anything that the one before does not.
func (p *planner) add(head protocol.Head) {
	before, published := p.state.Heads[head.GroupID]
	step := Step{
		Group: head.GroupID, What: Changed, Before: nameOf(before.Policy), After: nameOf(head.Policy), Mode: head.Mode,
	}
	if head.Candidate != nil {
		pointer := head.Candidate.Pointer()
		step.Candidate, step.Percent = nameOf(&pointer), head.Candidate.Percent
		p.beginAnew(before, pointer.SHA256)
	}
	switch {
	case published && sayTheSame(before, head) && !p.state.isOlder(head.GroupID):
		step.What = Unchanged
	case head.Policy == nil && head.Candidate == nil && (before.Policy != nil || before.Candidate != nil || p.isMissing(head.GroupID)):
		step.What = Released
	}
	p.change.Steps = append(p.change.Steps, step)
	if step.What != Unchanged {
		head.HeadVersion = max(before.HeadVersion, p.state.Signed[head.GroupID]) + 1
		p.change.Heads = append(p.change.Heads, head)
	}
}

// isMissing reports whether a head was signed for the group, and none is published:
// what it said is not known.
func (p *planner) isMissing(group string) bool {
	_, published := p.state.Heads[group]
	return !published && p.state.Signed[group] > 0
}

// beginAnew publishes a candidate again that was one before and is none now: its
// time begins anew.
func (p *planner) beginAnew(before protocol.Head, sha256 string) {
	data, published := p.same[sha256]
	if published && (before.Candidate == nil || before.Candidate.SHA256 != sha256) {
		p.change.Policies = append(p.change.Policies, data)
		delete(p.same, sha256)
	}
}

// sayTheSame reports whether two heads differ in when they were signed only.
func sayTheSame(a, b protocol.Head) bool {
	return a.Mode == b.Mode && a.SplaySecs == b.SplaySecs && equal(a.Policy, b.Policy) && equal(a.Candidate, b.Candidate)
}

func equal[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

func nameOf(pointer *protocol.PolicyPointer) string {
	if pointer == nil {
		return ""
	}
	return fmt.Sprintf("%s %d", pointer.PolicyID, pointer.Revision)
}
