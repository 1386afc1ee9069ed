package content_test

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io/fs"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/content"
	"prlagent/cmd/prlportal/site"
)

// What an operator's token brings is judged by the policy keys: nothing of what is
// refused is kept, and the heads stay what they were.
func TestWhatIsNotTakenIn(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.setPolicy("p", 1, "a")
	f.publish(content.Publication{})
	good := stateOf(f).Heads["a"]
	policyOf := func(text string) []byte { return []byte(text) }
	fit := policyOf(`{"schema":1,"policy_id":"p","revision":9,"name":"p","groups":["a"]}`)
	foreign := policyOf(`{"schema":1,"policy_id":"p","revision":9,"name":"p","groups":["b"]}`)
	withNull := policyOf(`{"schema":1,"policy_id":"p","revision":9,"name":"p","groups":["a"],"golden_image":null}`)
	head := func(change func(*protocol.Head)) protocol.Head {
		made := good
		made.HeadVersion++
		change(&made)
		return made
	}
	pointing := func(policy []byte) protocol.Head {
		return head(func(h *protocol.Head) { pointer := protocol.PointTo("p", 9, policy); h.Policy = &pointer })
	}
	ours, thief := keyFrom(1), keyFrom(9)
	keysOf := func(siteID string, version uint64, listed ed25519.PrivateKey, signers ...ed25519.PrivateKey) []byte {
		data, err := site.PolicyKeys{SiteID: siteID, Version: version, Keys: site.PublicHalves([]ed25519.PrivateKey{listed})}.Sign(signers...)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	heads := func(list ...json.RawMessage) content.Upload { return content.Upload{Heads: list} }
	for name, test := range map[string]struct {
		upload content.Upload
		want   error
	}{
		"of another key":          {heads(signed(t, head(func(*protocol.Head) {}), thief)), protocol.ErrSignature},
		"unsigned":                {heads(signed(t, head(func(*protocol.Head) {}))), protocol.ErrSignature},
		"no head":                 {heads(json.RawMessage(`{}`)), protocol.ErrHeadInvalid},
		"of another site":         {heads(signed(t, head(func(h *protocol.Head) { h.SiteID = "other" }), ours)), protocol.ErrWrongSite},
		"a lower version":         {heads(signed(t, head(func(h *protocol.Head) { h.HeadVersion = good.HeadVersion - 1 }), ours)), protocol.ErrHeadInvalid},
		"another of this version": {heads(signed(t, head(func(h *protocol.Head) { h.HeadVersion--; h.SplaySecs = 7 }), ours)), content.ErrConflict},
		"ended":                   {heads(signed(t, head(func(h *protocol.Head) { h.ExpiresAt = morning }), ours)), content.ErrEnded},
		"without its policy":      {heads(signed(t, pointing(fit), ours)), content.ErrMissingPolicy},
		"without its candidate's": {heads(signed(t, head(func(h *protocol.Head) {
			h.Candidate = &protocol.Candidate{PolicyID: "p", Revision: 9, SHA256: protocol.PointTo("", 0, fit).SHA256, Size: len(fit), Percent: 5}
		}), ours)), content.ErrMissingPolicy},
		"of another group":         {content.Upload{Policies: [][]byte{foreign}, Heads: []json.RawMessage{signed(t, pointing(foreign), ours)}}, content.ErrNotForGroup},
		"of another size":          {content.Upload{Policies: [][]byte{fit}, Heads: []json.RawMessage{signed(t, head(func(h *protocol.Head) { p := protocol.PointTo("p", 9, fit); p.Size++; h.Policy = &p }), ours)}}, protocol.ErrPolicyHash},
		"a policy with null":       {content.Upload{Policies: [][]byte{withNull}}, content.ErrNotAPolicy},
		"no policy":                {content.Upload{Policies: [][]byte{[]byte("junk")}}, content.ErrNotAPolicy},
		"a policy without a head":  {content.Upload{Policies: [][]byte{fit}}, content.ErrUnnamed},
		"a policy beside a head":   {content.Upload{Policies: [][]byte{fit}, Heads: []json.RawMessage{signed(t, good, ours)}}, content.ErrUnnamed},
		"a thief's keys":           {content.Upload{Keys: keysOf(theSite, 9, thief, thief)}, site.ErrPolicyKeys},
		"keys of before":           {content.Upload{Keys: keysOf(theSite, 1, ours, ours)}, content.ErrOldKeys},
		"keys of another site":     {content.Upload{Keys: keysOf("other", 9, ours, ours)}, protocol.ErrWrongSite},
		"one good and one bad one": {heads(signed(t, head(func(*protocol.Head) {}), ours), signed(t, head(func(h *protocol.Head) { h.GroupID = "b" }), thief)), protocol.ErrSignature},
	} {
		before, _ := f.published()
		if err := f.folder.Accept(t.Context(), theSite, test.upload, f.now); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
		if after, _ := f.published(); mustJSON(t, after) != mustJSON(t, before) {
			t.Errorf("%s: something was kept", name)
		}
	}
	again := heads(signed(t, good, ours))
	if err := f.folder.Accept(t.Context(), theSite, again, f.now); err != nil {
		t.Errorf("the same head once more: %v", err)
	}
	rolled := head(func(h *protocol.Head) { h.HeadVersion = 5 })
	if err := f.folder.Accept(t.Context(), theSite, heads(signed(t, rolled, ours)), f.now); err != nil {
		t.Fatal(err)
	}
	rolled.HeadVersion = 4
	if err := f.folder.Accept(t.Context(), theSite, heads(signed(t, rolled, ours)), f.now); !errors.Is(err, protocol.ErrRollback) {
		t.Errorf("a lower version: %v", err)
	}
}

// A portal from before there were lists of keys takes the first list whose keys
// signed all of its heads, and no other.
func TestKeysOfAnOlderPortal(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.publish(content.Publication{})
	if err := f.root.Remove(site.PolicyKeysFile); err != nil {
		t.Fatal(err)
	}
	for _, key := range []ed25519.PrivateKey{keyFrom(9), keyFrom(1)} {
		list, err := site.PolicyKeys{SiteID: theSite, Version: 1, Keys: site.PublicHalves([]ed25519.PrivateKey{key})}.Sign(key)
		if err != nil {
			t.Fatal(err)
		}
		err = f.folder.Accept(t.Context(), theSite, content.Upload{Keys: list}, f.now)
		if isOurs := key.Equal(keyFrom(1)); (err == nil) != isOurs {
			t.Errorf("ours %t: %v", isOurs, err)
		}
	}
	if _, err := f.folder.Policy(t.Context(), "../policy-keys.dsse"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a policy outside of the folder: %v", err)
	}
	empty := newFleet(t)
	if err := empty.folder.Accept(t.Context(), theSite, content.Upload{}, time.Now()); !errors.Is(err, content.ErrNoPolicyKeys) {
		t.Errorf("without keys: %v", err)
	}
}
