package content_test

import (
	"context"
	"errors"
	"testing"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/content"
)

// lyingPortal answers with a policy that nobody signed, whatever is asked for.
type lyingPortal struct{ policy []byte }

func (p lyingPortal) Policy(context.Context, string) ([]byte, error) { return p.policy, nil }

// A stolen portal calls a policy of its own an old revision: revert signs only what
// the operator knows as published, and what was asked for.
func TestRevertSignsNothingThatAPortalSays(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	for cpus := 1; cpus <= 2; cpus++ {
		f.setPolicy("p", cpus, "a")
		f.publish(content.Publication{})
	}
	const evil = `{"schema":1,"policy_id":"p","revision":1,"name":"p","groups":["a"],"vm_settings":{"other":{"network":"shared"}}}`
	state := stateOf(f)
	first, _ := state.Find("p", 1)
	genuine, err := f.folder.Policy(t.Context(), first.Pointer.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	planted := protocol.PointTo("p", 1, []byte(evil))
	second := *state.Heads["a"].Policy
	renamed := second
	renamed.Revision = 1
	for name, test := range map[string]struct {
		pointer protocol.PolicyPointer
		policy  []byte
		recall  []string
		want    error
	}{
		"what was published":                     {first.Pointer, genuine, []string{first.Pointer.SHA256}, nil},
		"what is on no record":                   {first.Pointer, genuine, nil, content.ErrNotOurs},
		"a policy of the portal's own":           {planted, []byte(evil), []string{first.Pointer.SHA256}, content.ErrNotOurs},
		"it under the hash of one that is known": {first.Pointer, []byte(evil), []string{first.Pointer.SHA256}, content.ErrNotOurs},
		"another revision under this number":     {renamed, mustPolicy(t, f, second.SHA256), nil, content.ErrNotOurs},
	} {
		shown := f.shown()
		shown.Documents = []content.Document{{Pointer: test.pointer}, {Pointer: second}}
		shown.Recall(nil, test.recall)
		if _, err := content.Revert(t.Context(), shown, lyingPortal{test.policy}, "p", 1); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// shown is what is published, to an operator with nothing on record.
func (f *fleet) shown() content.State {
	f.Helper()
	_, state := f.published()
	return state
}

func mustPolicy(t *testing.T, f *fleet, sha256 string) []byte {
	t.Helper()
	data, err := f.folder.Policy(t.Context(), sha256)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The size that a portal tells of a policy is not signed: Macs would refuse the head.
func TestASizeIsNotTakenFromThePortal(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.setPolicy("p", 1, "a")
	f.publish(content.Publication{})
	f.setPolicy("p", 1, "a", "b")
	f.publish(content.Publication{})
	state := stateOf(f)
	for i := range state.Documents {
		state.Documents[i].Pointer.Size++
	}
	change, err := content.Publication{Tree: f.tree()}.Plan(t.Context(), state, f.folder)
	if err != nil || !change.IsEmpty() {
		t.Errorf("%+v, %v", change.Steps, err)
	}
}

// A portal that hides the head of a group, from a backup or by malice, has the others
// not renewed without it; publishing says anew what becomes of the group, and counts
// it among those that lose their policy where that is so.
func TestAHiddenHeadIsMissed(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.setPolicy("p", 1, "a", "b")
	f.publish(content.Publication{})
	state := stateOf(f)
	delete(state.Heads, "b")
	if _, err := content.Renew(state); !errors.Is(err, content.ErrNoHead) {
		t.Errorf("renewed without it: %v", err)
	}
	plan := func() content.Change {
		t.Helper()
		change, err := content.Publication{Tree: f.tree()}.Plan(t.Context(), state, f.folder)
		if err != nil {
			t.Fatal(err)
		}
		return change
	}
	f.want(stepWords(plan()), "a: unchanged p 1; b: changed p 1")
	f.write("groups/b.yaml", "")
	change := plan()
	f.want(stepWords(change), "a: unchanged p 1; b: released")
	if change.Heads[0].HeadVersion != 2 || len(change.Released()) != 1 {
		t.Errorf("%+v", change.Heads)
	}
}

// Versions that were seen signed count as signed, also where the answer to their
// upload was lost.
func TestWhatIsSeenIsRecalled(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.setPolicy("p", 1, "a")
	f.publish(content.Publication{})
	f.renew()
	state := f.shown()
	state.Recall(map[string]uint64{"a": 1, "b": 9}, nil)
	if state.Signed["a"] != 2 || state.Signed["b"] != 9 || !state.Policies[state.Heads["a"].Policy.SHA256] {
		t.Errorf("%+v", state)
	}
}
