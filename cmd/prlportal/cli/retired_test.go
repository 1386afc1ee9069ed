package cli

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/content"
	"prlagent/cmd/prlportal/site"
)

// A policy key was stolen and replaced: once all heads have the signature of the new
// one, what the thief of the old one publishes is not signed anew.
func TestAReplacedKeySignsNothingByARenewal(t *testing.T) {
	t.Parallel()
	keyFrom := func(seed byte) ed25519.PrivateKey {
		return ed25519.NewKeyFromSeed(slices.Repeat([]byte{seed}, ed25519.SeedSize))
	}
	old, next := keyFrom(1), keyFrom(2)
	now := time.Now()
	headOf := func(version uint64, key ed25519.PrivateKey) content.Published {
		payload, err := json.Marshal(protocol.Head{SiteID: "site", GroupID: "a", HeadVersion: version, IssuedAt: now, ExpiresAt: now.Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		envelope, err := protocol.Sign(protocol.PayloadHead, payload, key).JSON()
		if err != nil {
			t.Fatal(err)
		}
		return content.Published{Heads: []content.Head{{GroupID: "a", Envelope: envelope}}}
	}
	folder := t.TempDir()
	at := func(published content.Published) *workplace {
		t.Helper()
		versions, err := site.LoadHeadVersions(folder)
		keys, other := site.LoadHeadKeys(folder)
		if err := errors.Join(err, other); err != nil {
			t.Fatal(err)
		}
		work := &workplace{signer: content.Signer{SiteID: "site", Keys: []ed25519.PrivateKey{next}, Retired: old}, published: published, folder: folder, place: site.PortalPlace, versions: versions, headKeys: keys}
		if work.state, err = work.verify(); err != nil {
			t.Fatal(err)
		}
		work.state.Recall(versions[site.PortalPlace], nil)
		return work
	}
	// The first renewal after the replacement takes the heads of the old key.
	work := at(headOf(4, old))
	change, err := content.Renew(work.state)
	if err != nil || len(change.Heads) != 1 {
		t.Fatalf("%+v, %v", change, err)
	}
	if err := work.keepRecord(content.Change{}); err != nil || len(work.headKeys) != 0 {
		t.Errorf("nothing was signed, and the old key counts no more: %v", err)
	}
	if err := work.keepRecord(change); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		published content.Published
		want      error
	}{
		"of the new key":              {headOf(5, next), nil},
		"forged with the old one":     {headOf(99, old), content.ErrNoHead},
		"of before, as from a backup": {headOf(4, old), content.ErrNoHead},
	} {
		if _, err := content.Renew(at(test.published).state); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (&workplace{signer: content.Signer{SiteID: "site", Keys: []ed25519.PrivateKey{next}, Retired: old}, published: headOf(9, keyFrom(3))}).verify(); !errors.Is(err, protocol.ErrSignature) {
		t.Errorf("of a key that nobody knows: %v", err)
	}
}
