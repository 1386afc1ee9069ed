package content

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"prlagent/agent/protocol"
)

// Errors of decisions on a policy.
var (
	ErrNoCandidate = errors.New("is a candidate nowhere: 'prlportal policies' lists those that are")
	ErrNoRevision  = errors.New("was never published")
	ErrNotOurs     = errors.New("is not on record as published from this operator's folder, and is not signed because a portal says so; put its content into the tree, and publish that")
	ErrNotInForce  = errors.New("is in force nowhere: 'prlportal policies' lists those that are")
	ErrTooEarly    = errors.New("cannot be promoted yet")
)

// Promote makes a candidate the policy of the groups that have it.
func Promote(state State, policyID string) (Change, error) {
	return decide(state, policyID, func(head *protocol.Head) {
		pointer := head.Candidate.Pointer()
		head.Policy, head.Candidate = &pointer, nil
	})
}

// Halt takes a candidate away: Macs that took it go back to the policy of their
// group at their next check-in, others never take it.
func Halt(state State, policyID string) (Change, error) {
	return decide(state, policyID, func(head *protocol.Head) { head.Candidate = nil })
}

func decide(state State, policyID string, change func(head *protocol.Head)) (Change, error) {
	planned := planner{state: state}
	for _, group := range state.groups() {
		head := state.Heads[group]
		if head.Candidate != nil && head.Candidate.PolicyID == policyID {
			if err := state.checkNewest(group); err != nil {
				return Change{}, err
			}
			change(&head)
			planned.add(head)
		}
	}
	if planned.change.IsEmpty() {
		return Change{}, fmt.Errorf("policy %s %w", policyID, ErrNoCandidate)
	}
	return planned.change, nil
}

// Revert publishes the content of an older revision as a new one, for the groups
// that have the policy now. A candidate of it is halted. Old policies have no
// signature of their own: what comes back is what the operator knows as published.
func Revert(ctx context.Context, state State, policies Policies, policyID string, revision uint64) (Change, error) {
	old, published := state.Find(policyID, revision)
	if !published {
		return Change{}, fmt.Errorf("policy %s %d %w", policyID, revision, ErrNoRevision)
	}
	var groups []string
	for _, group := range state.groups() {
		head := state.Heads[group]
		if has(head, policyID) {
			if err := state.checkNewest(group); err != nil {
				return Change{}, err
			}
			groups = append(groups, group)
		}
	}
	if len(groups) == 0 {
		return Change{}, fmt.Errorf("policy %s %w", policyID, ErrNotInForce)
	}
	latest, _ := state.latest(policyID)
	data, err := policies.Policy(ctx, old.Pointer.SHA256)
	if err != nil {
		return Change{}, fmt.Errorf("read policy %s %d: %w", policyID, revision, err)
	}
	pointed, _, err := pointTo(data)
	if err != nil || pointed != old.Pointer || !state.Policies[pointed.SHA256] {
		return Change{}, fmt.Errorf("policy %s %d %w", policyID, revision, ErrNotOurs)
	}
	if data, err = renumber(data, latest.Pointer.Revision+1, groups); err != nil {
		return Change{}, err
	}
	planned := planner{state: state, pointers: make(map[string]protocol.PolicyPointer)}
	pointer, err := planned.addPolicy(policyID, data)
	if err != nil {
		return Change{}, err
	}
	for _, group := range groups {
		head := state.Heads[group]
		head.Policy, head.Candidate = &pointer, nil
		planned.add(head)
	}
	return planned.change, nil
}

func has(head protocol.Head, policyID string) bool {
	return head.Policy != nil && head.Policy.PolicyID == policyID || head.Candidate != nil && head.Candidate.PolicyID == policyID
}

// renumber is a document with another revision, for the groups that have it now.
func renumber(data []byte, revision uint64, groups []string) ([]byte, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	for name, value := range map[string]any{"revision": revision, "groups": groups} {
		encoded, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("encode policy: %w", err)
		}
		members[name] = encoded
	}
	var encoded bytes.Buffer
	encoder := json.NewEncoder(&encoded)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(members); err != nil {
		return nil, fmt.Errorf("encode policy: %w", err)
	}
	return bytes.TrimSuffix(encoded.Bytes(), []byte("\n")), nil
}

// Renew signs every head anew, also those that say that a group has no policy. They
// say the same as before.
func Renew(state State) (Change, error) {
	if err := state.checkComplete(); err != nil {
		return Change{}, err
	}
	var change Change
	for _, group := range state.groups() {
		if err := state.checkNewest(group); err != nil {
			return Change{}, err
		}
		head := state.Heads[group]
		head.HeadVersion++
		change.Heads = append(change.Heads, head)
		step := Step{Group: group, What: Renewed, Before: nameOf(head.Policy), After: nameOf(head.Policy), Mode: head.Mode}
		if head.Candidate != nil {
			pointer := head.Candidate.Pointer()
			step.Candidate, step.Percent = nameOf(&pointer), head.Candidate.Percent
		}
		change.Steps = append(change.Steps, step)
	}
	return change, nil
}

// Gate is what a candidate must have shown before it is promoted.
type Gate struct {
	MinHours   int     // since it was published
	MinDevices int     // that report on it
	MaxFailed  float64 // percent of their settings that may have failed or be contended
}

// Shown is what the Macs with one policy document report of it.
type Shown struct {
	SHA256 string `json:"sha256"`
	Macs   int    `json:"macs"` // that report on it
	// Settings are the verdicts on settings of virtual machines, those in place
	// among them; Troubled, those that failed or are contended.
	Settings int `json:"settings"`
	Troubled int `json:"troubled"`
	Failed   int `json:"failed"` // Macs that could not take it at all
	// TroubledMacs is the sum of the Macs' own shares of trouble.
	TroubledMacs float64 `json:"troubled_macs"`
}

// Check says why the candidates of a policy cannot be promoted yet; nil if they
// can. A Mac that could not take the document counts as if all had failed on it.
func (g Gate) Check(state State, policyID string, shown []Shown, now time.Time) error {
	seen := make(map[string]bool)
	for _, group := range state.groups() {
		candidate := state.Heads[group].Candidate
		if candidate == nil || candidate.PolicyID != policyID || seen[candidate.SHA256] {
			continue
		}
		seen[candidate.SHA256] = true
		document, _ := state.Find(policyID, candidate.Revision)
		if err := g.checkOne(document, shownOf(shown, candidate.SHA256), now); err != nil {
			return fmt.Errorf("policy %s %d %w", policyID, candidate.Revision, err)
		}
	}
	return nil
}

func (g Gate) checkOne(document Document, shown Shown, now time.Time) error {
	if age := now.Sub(document.PublishedAt); age < time.Duration(g.MinHours)*time.Hour {
		return fmt.Errorf("%w: it was published %d hours ago, --min-hours is %d", ErrTooEarly, int(age.Hours()), g.MinHours)
	}
	if shown.Macs < g.MinDevices {
		return fmt.Errorf("%w: %d Macs report on it, --min-devices is %d", ErrTooEarly, shown.Macs, g.MinDevices)
	}
	if percent := shown.failedPercent(); percent > g.MaxFailed {
		return fmt.Errorf("%w: %.1f %% of the settings failed or are contended (%d of %d in all, %.1f %% of those of a Mac in the mean, and %d Macs could not take it), --max-failed is %g", ErrTooEarly,
			percent, shown.Troubled, shown.Settings, percentOf(shown.TroubledMacs, shown.Macs), shown.Failed, g.MaxFailed)
	}
	return nil
}

// failedPercent is the worst of three shares: of all settings, of each Mac's own, so
// that none drowns the others with what it reports, and of Macs.
func (s Shown) failedPercent() float64 {
	return max(percentOf(float64(s.Troubled), s.Settings), percentOf(s.TroubledMacs, s.Macs), percentOf(float64(s.Failed), s.Macs))
}

func percentOf(part float64, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * part / float64(whole)
}

func shownOf(list []Shown, sha256 string) Shown {
	for _, one := range list {
		if one.SHA256 == sha256 {
			return one
		}
	}
	return Shown{SHA256: sha256}
}
