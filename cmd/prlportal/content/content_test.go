package content_test

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/content"
	"prlagent/cmd/prlportal/site"
)

// POL-04, POL-05, POL-07, POL-12, GRP-02: what publishing does to each group.
func TestPublish(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.want(f.publish(content.Publication{}), "a: changed; b: changed")
	f.want(f.versions(), "a 1, b 1")

	f.setPolicy("p", 1, "a", "b")
	f.setPolicy("idle", 1)
	f.want(f.publish(content.Publication{}), "a: changed p 1; b: changed p 1")
	_, state := f.published()
	if *state.Heads["a"].Policy != *state.Heads["b"].Policy || len(state.Documents) != 1 {
		t.Errorf("POL-04, POL-05: one policy of two groups is another for each, or an idle one is published: %+v", state)
	}
	f.now = f.now.Add(time.Hour)
	f.want(f.publish(content.Publication{}), "a: unchanged p 1; b: unchanged p 1")
	f.want(f.versions(), "a 2, b 2")
	f.write("policies/p.yaml", "# another form of the same\n"+string(f.files["policies/p.yaml"].Data))
	f.want(f.publish(content.Publication{}), "a: unchanged p 1; b: unchanged p 1")

	f.setPolicy("p", 2, "a", "b")
	f.want(f.publish(content.Publication{}), "a: changed p 2; b: changed p 2")
	f.setPolicy("p", 2, "b")
	f.want(f.publish(content.Publication{}), "a: released; b: changed p 3")
	f.setPolicy("q", 7, "a")
	f.want(f.publish(content.Publication{}), "a: changed q 1; b: unchanged p 3")
	f.want(f.publish(content.Publication{Monitor: true}), "a: changed q 1 monitor; b: changed p 3 monitor")
	f.write("groups/b.yaml", "name: B\nmode: enforce")
	f.want(f.publish(content.Publication{}), "a: changed q 1; b: changed p 3 enforce")

	// A group that is gone keeps a signed head that says so, and is not signed again.
	f.write("groups/b.yaml", "")
	f.want(f.publish(content.Publication{}), "a: unchanged q 1; b: released")
	f.want(f.publish(content.Publication{}), "a: unchanged q 1; b: unchanged")
	f.want(f.versions(), "a 7, b 7")
}

// POL-16: a policy without groups, as those of a trial, is saved in the tree and applied
// to nobody, however often the tree is published, until a group is set.
func TestPOL16_APolicyWithoutGroupsStaysUnapplied(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.write("policies/trial.yaml", "name: Trial\ngroups: []\nvm_settings: {other: {max_cpus: 1}}")
	f.publish(content.Publication{})
	for range 2 {
		f.want(f.publish(content.Publication{}), "a: unchanged; b: unchanged")
	}
	if state := stateOf(f); len(state.Documents) != 0 || state.Heads["a"].Policy != nil {
		t.Errorf("%+v", state)
	}
	f.setPolicy("trial", 1, "b")
	f.want(f.publish(content.Publication{}), "a: unchanged; b: changed trial 1")
}

// POL-08: a policy ends in a way that a reviewer sees, and its id for good.
func TestADeletedPolicyIsNamed(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.setPolicy("p", 1, "a")
	f.publish(content.Publication{})
	f.write("policies/p.yaml", "")
	if _, err := f.plan(content.Publication{}); !errors.Is(err, content.ErrPolicyGone) {
		t.Fatalf("it ends without a word: %v", err)
	}
	f.write("site.yaml", "primary_group: a\ndeleted_policies: [p]")
	f.want(f.publish(content.Publication{}), "a: released; b: unchanged")
	state := stateOf(f)
	state.Deleted = []string{"p"}
	if change, err := (content.Publication{Tree: f.tree()}).Plan(t.Context(), state, f.folder); err != nil || !change.IsEmpty() {
		t.Errorf("the same tree again: %+v, %v", change, err)
	}
	f.write("site.yaml", "primary_group: a")
	f.setPolicy("p", 2, "a")
	if _, err := (content.Publication{Tree: f.tree()}).Plan(t.Context(), state, f.folder); !errors.Is(err, content.ErrDeleted) {
		t.Errorf("a deleted policy comes back: %v", err)
	}
	f.setPolicy("p", 2)
	f.write("policies/p.yaml", "")
	f.write("site.yaml", "primary_group: a\ndeleted_policies: [p]\nsite_id: another")
	if _, err := f.plan(content.Publication{}); !errors.Is(err, content.ErrWrongSite) {
		t.Errorf("another site's tree: %v", err)
	}
}

// A candidate is decided on before anything else is published in its place.
func TestCandidates(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.setPolicy("p", 1, "a")
	f.publish(content.Publication{Percent: 5})
	f.want(f.versions(), "a 1, b 1")
	_, state := f.published()
	if head := state.Heads["a"]; head.Policy != nil || head.Candidate.Percent != 5 {
		t.Errorf("%+v", head)
	}
	if _, err := content.Promote(state, "q"); !errors.Is(err, content.ErrNoCandidate) {
		t.Errorf("promoted: %v", err)
	}
	change, err := content.Promote(state, "p")
	if err != nil {
		t.Fatal(err)
	}
	f.apply(change)
	f.setPolicy("p", 2, "a")
	f.want(f.publish(content.Publication{Percent: 5}), "a: changed p 1 (p 2 for 5%); b: unchanged")
	f.want(f.publish(content.Publication{}), "a: unchanged p 1 (p 2 for 5%); b: unchanged")
	f.want(f.publish(content.Publication{Percent: 50}), "a: changed p 1 (p 2 for 50%); b: unchanged")

	f.setPolicy("p", 3, "a")
	if _, err := f.plan(content.Publication{}); !errors.Is(err, content.ErrCandidate) {
		t.Errorf("a change went past its candidate: %v", err)
	}
	f.want(f.publish(content.Publication{Percent: 5}), "a: changed p 1 (p 3 for 5%); b: unchanged")
	_, state = f.published()
	if change, err = content.Halt(state, "p"); err != nil {
		t.Fatal(err)
	}
	f.apply(change)
	f.want(stepWords(change), "a: changed p 1")
	if change, err = content.Revert(t.Context(), stateOf(f), f.folder, "p", 2); err != nil {
		t.Fatal(err)
	}
	f.apply(change)
	f.want(stepWords(change), "a: changed p 4")
	// What is published is what the tree would say of revision 2.
	f.setPolicy("p", 2, "a")
	f.want(f.publish(content.Publication{}), "a: unchanged p 4; b: unchanged")
	for _, wrong := range []struct {
		policy   string
		revision uint64
	}{{"p", 9}, {"q", 1}} {
		if _, err := content.Revert(t.Context(), stateOf(f), f.folder, wrong.policy, wrong.revision); !errors.Is(err, content.ErrNoRevision) {
			t.Errorf("%v: %v", wrong, err)
		}
	}
}

// stateOf is what is published, to an operator with everything on record.
func stateOf(f *fleet) content.State {
	_, state := f.published()
	var policies []string
	for _, document := range state.Documents {
		policies = append(policies, document.Pointer.SHA256)
	}
	state.Recall(nil, policies)
	return state
}

func TestPromoteRefuses(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.setPolicy("p", 1, "a")
	f.publish(content.Publication{Percent: 5})
	sha256 := stateOf(f).Heads["a"].Candidate.SHA256
	gate := content.Gate{MinHours: 24, MinDevices: 10, MaxFailed: 5}
	for name, test := range map[string]struct {
		after time.Duration
		shown content.Shown
		says  string
	}{
		"all is well":                  {24 * time.Hour, content.Shown{SHA256: sha256, Macs: 10, Settings: 100, Troubled: 5}, ""},
		"too early":                    {23 * time.Hour, content.Shown{SHA256: sha256, Macs: 10, Settings: 100}, "--min-hours is 24"},
		"too few Macs":                 {24 * time.Hour, content.Shown{SHA256: sha256, Macs: 9, Settings: 100}, "9 Macs report"},
		"of another document":          {24 * time.Hour, content.Shown{SHA256: "x", Macs: 10}, "0 Macs report"},
		"too much that failed":         {24 * time.Hour, content.Shown{SHA256: sha256, Macs: 10, Settings: 100, Troubled: 6}, "6.0 %"},
		"a Mac that drowns the others": {24 * time.Hour, content.Shown{SHA256: sha256, Macs: 10, Settings: 16384 + 9, Troubled: 9, TroubledMacs: 9}, "90.0 %"},
		"Macs that could not take it":  {24 * time.Hour, content.Shown{SHA256: sha256, Macs: 10, Failed: 1}, "10.0 %"},
	} {
		err := gate.Check(stateOf(f), "p", []content.Shown{test.shown}, f.now.Add(test.after))
		if test.says == "" && err != nil || test.says != "" && (!errors.Is(err, content.ErrTooEarly) || !strings.Contains(err.Error(), test.says)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A halt and the same candidate again begin anew.
	f.now = f.now.Add(100 * time.Hour)
	change, err := content.Halt(stateOf(f), "p")
	if err != nil {
		t.Fatal(err)
	}
	f.apply(change)
	f.publish(content.Publication{Percent: 5})
	if err := gate.Check(stateOf(f), "p", []content.Shown{{SHA256: sha256, Macs: 10}}, f.now); !errors.Is(err, content.ErrTooEarly) {
		t.Errorf("the time before the halt counts: %v", err)
	}
}

// Clock +31 days: what says the same is signed anew, also that there is no policy.
func TestRenew(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.setPolicy("p", 1, "a")
	f.publish(content.Publication{Monitor: true})
	before := stateOf(f)
	f.now = f.now.Add(31 * 24 * time.Hour)
	if before.End().After(f.now) {
		t.Fatal("heads have not ended")
	}
	f.renew()
	after := stateOf(f)
	for group, head := range after.Heads {
		was := before.Heads[group]
		if head.HeadVersion != was.HeadVersion+1 || !head.ExpiresAt.Equal(f.now.Add(site.HeadLifetime)) {
			t.Errorf("%s: %+v", group, head)
		}
		head.HeadVersion, head.IssuedAt, head.ExpiresAt = was.HeadVersion, was.IssuedAt, was.ExpiresAt
		if one, other := mustJSON(t, head), mustJSON(t, was); one != other {
			t.Errorf("renewed, it says %s and said %s", one, other)
		}
	}
}

func (f *fleet) renew() {
	f.Helper()
	change, err := content.Renew(stateOf(f))
	if err != nil {
		f.Fatal(err)
	}
	f.apply(change)
}

// A portal that shows an older head, from a backup or from a thief, has nothing of
// it signed anew; publishing the tree goes past all that was signed.
func TestAnOlderHeadIsNotSignedAnew(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.setPolicy("p", 1, "a")
	f.publish(content.Publication{Percent: 5})
	state := stateOf(f)
	state.Signed = map[string]uint64{"a": 7}
	for name, sign := range map[string]func() (content.Change, error){
		"renew":   func() (content.Change, error) { return content.Renew(state) },
		"promote": func() (content.Change, error) { return content.Promote(state, "p") },
		"halt":    func() (content.Change, error) { return content.Halt(state, "p") },
		"revert":  func() (content.Change, error) { return content.Revert(t.Context(), state, f.folder, "p", 1) },
	} {
		if change, err := sign(); !errors.Is(err, content.ErrOlderHead) {
			t.Errorf("%s: %+v, %v", name, change, err)
		}
	}
	change, err := content.Publication{Tree: f.tree(), Percent: 5}.Plan(t.Context(), state, f.folder)
	if err != nil || len(change.Heads) != 1 || change.Heads[0].HeadVersion != 8 {
		t.Errorf("published: %+v, %v", change, err)
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// A key is replaced under Macs that have the profile of before, of the overlap or
// of after; the portal learns the keys from lists that a known key signed.
func TestKeysRotate(t *testing.T) {
	t.Parallel()
	for name, renewedBetween := range map[string]bool{"with a renewal in the overlap": true, "without one": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t)
			f.setPolicy("p", 1, "a")
			f.publish(content.Publication{})
			old, next := keyFrom(1), keyFrom(2)
			f.keys = []ed25519.PrivateKey{old, next}
			if renewedBetween {
				f.renew()
				f.wantSigned("a", old, true)
				f.wantSigned("a", next, true)
			}
			f.keys, f.old = []ed25519.PrivateKey{next}, old
			f.renew()
			f.wantSigned("a", old, false)
			f.wantSigned("a", next, true)
			published, state := f.published()
			head := state.Heads["a"]
			head.HeadVersion++
			if err := f.folder.Accept(t.Context(), theSite, content.Upload{Heads: []json.RawMessage{signed(t, head, old)}}, f.now); !errors.Is(err, protocol.ErrSignature) {
				t.Errorf("the old key is taken: %v", err)
			}
			if list, err := site.ParsePolicyKeys(published.Keys, nil); err != nil || len(list.Keys) != 1 {
				t.Errorf("%+v, %v", list, err)
			}
		})
	}
}

// wantSigned asks whether a Mac with this key in its profile would take the head.
func (f *fleet) wantSigned(group string, key ed25519.PrivateKey, want bool) {
	f.Helper()
	data, err := f.root.ReadFile(site.HeadPath(group))
	if err != nil {
		f.Fatal(err)
	}
	envelope, err := protocol.ParseEnvelope(data, protocol.MaxHead)
	if err != nil {
		f.Fatal(err)
	}
	trusted := site.PolicyKeys{Keys: site.PublicHalves([]ed25519.PrivateKey{key})}.Trusted()
	if _, err := envelope.Verify(protocol.PayloadHead, trusted, 1); (err == nil) != want {
		f.Errorf("signed by it is %t, want %t: %v", err == nil, want, err)
	}
}

// PROTOCOL-22: any web server can serve the folder: everything that a head names is
// there by its path, and is what was signed.
func TestPROTOCOL22_APlainFileServer(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.setPolicy("p", 1, "a")
	f.publish(content.Publication{})
	f.setPolicy("p", 2, "a")
	f.publish(content.Publication{Percent: 5})
	web := httptest.NewServer(http.FileServerFS(f.root.FS()))
	defer web.Close()
	get := func(path string) []byte {
		t.Helper()
		response, err := web.Client().Get(web.URL + "/" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		data, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s, %v", path, response.Status, err)
		}
		return data
	}
	envelope, err := protocol.ParseEnvelope(get("heads/a.dsse.json"), protocol.MaxHead)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := envelope.Verify(protocol.PayloadHead, site.PolicyKeys{Keys: site.PublicHalves(f.keys)}.Trusted(), 1)
	if err != nil {
		t.Fatal(err)
	}
	head, err := protocol.ParseHead(payload)
	if err != nil {
		t.Fatal(err)
	}
	for _, pointer := range []protocol.PolicyPointer{*head.Policy, head.Candidate.Pointer()} {
		data := get("policies/" + pointer.SHA256 + ".json")
		if _, err := policy.Parse(data); err != nil || pointer.CheckPolicy(data) != nil {
			t.Errorf("%s: %v", data, err)
		}
	}
}
