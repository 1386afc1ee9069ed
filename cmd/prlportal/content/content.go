// Package content is what Macs are given: signed heads, and the policies that they
// pin by their hash. It plans what changes when a tree is published, promoted,
// halted or renewed, signs it on the operator's machine, and judges it where it is
// taken in. The portal has no signing key (H31), and a Mac judges anew.
package content

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/site"
)

// Published is what there is for Macs: heads, and the index of policies, of which
// none is ever removed, so that it is the history as well.
type Published struct {
	Heads        []Head       `json:"heads"`    // by their groups
	Policies     []Document   `json:"policies"` // by id and revision
	Keys         []byte       `json:"keys,omitempty"`
	PrimaryGroup string       `json:"primary_group,omitempty"` // of the portal; empty where it is not known
	Groups       []GroupNamed `json:"groups,omitempty"`        // that the portal names
}

// GroupNamed is a group with its name for people.
type GroupNamed struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// Head is a signed head as it lies in a file.
type Head struct {
	GroupID  string          `json:"group_id"`
	Envelope json.RawMessage `json:"envelope"`
}

// Document is a policy in the index.
type Document struct {
	Pointer     protocol.PolicyPointer `json:"pointer"`
	PublishedAt time.Time              `json:"published_at"` // the last time that a head came to name it
}

// Upload is what is added. Policies are kept before heads, so that a head never
// names what is not there.
type Upload struct {
	Policies [][]byte          `json:"policies,omitempty"`
	Heads    []json.RawMessage `json:"heads,omitempty"`
	Keys     []byte            `json:"keys,omitempty"` // the list of policy keys, where it changed
}

// Store has what is published: a portal, or a folder that any web server serves.
type Store interface {
	Published(ctx context.Context) (Published, error)
	Policy(ctx context.Context, sha256 string) ([]byte, error)
	Add(ctx context.Context, upload Upload) error
}

// Split divides an upload into parts that can each be taken in by itself: every
// policy goes with the first head that names it. No part has more than so many
// heads, or more bytes than one head and its policies beyond most.
func (u Upload) Split(mostHeads, mostBytes int) ([]Upload, error) {
	left := make(map[string][]byte, len(u.Policies))
	for _, data := range u.Policies {
		left[protocol.PointTo("", 0, data).SHA256] = data
	}
	parts, bytes := []Upload{{Keys: u.Keys}}, 0
	for _, envelope := range u.Heads {
		head, err := Head{Envelope: envelope}.Decode()
		if err != nil {
			return nil, err
		}
		part := &parts[len(parts)-1]
		if len(part.Heads) == mostHeads || bytes > mostBytes {
			parts = append(parts, Upload{})
			part, bytes = &parts[len(parts)-1], 0
		}
		part.Heads, bytes = append(part.Heads, envelope), bytes+len(envelope)
		for _, pointer := range pointersIn(head) {
			if data, isLeft := left[pointer.SHA256]; isLeft {
				part.Policies, bytes = append(part.Policies, data), bytes+len(data)
				delete(left, pointer.SHA256)
			}
		}
	}
	if len(left) > 0 {
		return nil, ErrUnnamed
	}
	return parts, nil
}

// Decode reads a head without judging whether it was signed.
func (h Head) Decode() (protocol.Head, error) {
	return protocol.PeekHead(h.Envelope)
}

// verified reads a head that one of the keys signed.
func (h Head) verified(trusted []protocol.TrustedKey) (protocol.Head, error) {
	envelope, err := protocol.ParseEnvelope(h.Envelope, protocol.MaxHead)
	if err != nil {
		return protocol.Head{}, err
	}
	payload, err := envelope.Verify(protocol.PayloadHead, trusted, 1)
	if err != nil {
		return protocol.Head{}, err
	}
	head, err := protocol.ParseHead(payload)
	if err == nil && head.GroupID != h.GroupID {
		err = protocol.ErrWrongGroup
	}
	return head, err
}

// State is what is published, as the operator's own keys verified it: what a
// portal says is no reason to sign anything.
type State struct {
	SiteID    string
	Heads     map[string]protocol.Head // by group
	Documents []Document               // by id and revision
	// Signed are the versions of heads that the operator signed last, by group.
	Signed map[string]uint64
	// Policies are the hashes of the policies that the operator is known to have
	// published: those of signed heads, and those on record.
	Policies map[string]bool
	// Deleted are the ids of policies that a published tree had among its deleted ones.
	Deleted []string
}

// Recall adds what the operator has on record of what was signed: what is published
// may be of before.
func (s *State) Recall(versions map[string]uint64, policies []string) {
	s.Signed, s.Policies = make(map[string]uint64), make(map[string]bool)
	maps.Copy(s.Signed, versions)
	for group, head := range s.Heads {
		s.Signed[group] = max(s.Signed[group], head.HeadVersion)
		for _, pointer := range pointersIn(head) {
			s.Policies[pointer.SHA256] = true
		}
	}
	for _, sha256 := range policies {
		s.Policies[sha256] = true
	}
}

// checkComplete refuses to take what is published for all that there is, where a
// group is missing of which a head was signed.
func (s *State) checkComplete() error {
	for _, group := range slices.Sorted(maps.Keys(s.Signed)) {
		if _, published := s.Heads[group]; !published {
			return fmt.Errorf("the published head of group %s %w", group, ErrNoHead)
		}
	}
	return nil
}

// ErrOlderHead says that a head is not the last one that was signed.
var ErrOlderHead = errors.New("is older than the one that was signed last, as after a restore from a backup; publish the tree")

// ErrNoHead says that a head that was signed is not there.
var ErrNoHead = errors.New("was signed and is not there, as after a restore from a backup; publish the tree")

// checkNewest refuses to sign anew what the operator has replaced: a portal that
// shows an older head, by mistake or by malice, would have it in force again.
func (s *State) checkNewest(group string) error {
	if s.isOlder(group) {
		return fmt.Errorf("the published head of group %s %w", group, ErrOlderHead)
	}
	return nil
}

func (s *State) isOlder(group string) bool { return s.Heads[group].HeadVersion < s.Signed[group] }

// Verify reads what is published by the operator's keys. A portal cannot have a
// head signed anew that the operator never signed.
func (p Published) Verify(siteID string, keys [][]byte) (State, error) {
	state := State{SiteID: siteID, Heads: make(map[string]protocol.Head), Documents: p.Policies}
	trusted := site.PolicyKeys{Keys: keys}.Trusted()
	for _, one := range p.Heads {
		head, err := one.verified(trusted)
		if err == nil && head.SiteID != siteID {
			err = protocol.ErrWrongSite
		}
		if err != nil {
			return State{}, fmt.Errorf("read the published head of group %.64s: %w", one.GroupID, err)
		}
		state.Heads[head.GroupID] = head
	}
	return state, nil
}

// SignedBy is what is published with those heads only that one of the keys signed.
func (p Published) SignedBy(keys [][]byte) Published {
	trusted := site.PolicyKeys{Keys: keys}.Trusted()
	p.Heads = slices.DeleteFunc(slices.Clone(p.Heads), func(head Head) bool {
		_, err := head.verified(trusted)
		return err != nil
	})
	return p
}

// latest is the document of a policy with the highest revision.
func (s *State) latest(policyID string) (Document, bool) {
	var found Document
	for _, document := range s.Documents {
		if document.Pointer.PolicyID == policyID && document.Pointer.Revision >= found.Pointer.Revision {
			found = document
		}
	}
	return found, found.Pointer.SHA256 != ""
}

// Find is the document of a policy with this revision.
func (s *State) Find(policyID string, revision uint64) (Document, bool) {
	at := slices.IndexFunc(s.Documents, func(d Document) bool {
		return d.Pointer.PolicyID == policyID && d.Pointer.Revision == revision
	})
	if at < 0 {
		return Document{}, false
	}
	return s.Documents[at], true
}

// groups are the groups that have heads, in their order.
func (s *State) groups() []string { return slices.Sorted(maps.Keys(s.Heads)) }

// End is when the first of the heads ends; zero if there is none.
func (s *State) End() time.Time { return EndOf(slices.Collect(maps.Values(s.Heads))) }

// EndOf is when the first of the heads ends; zero if there is none.
func EndOf(heads []protocol.Head) (end time.Time) {
	for i := range heads {
		if end.IsZero() || heads[i].ExpiresAt.Before(end) {
			end = heads[i].ExpiresAt
		}
	}
	return end
}

// EndWarning is how long before the end of the first head people are told.
const EndWarning = 10 * 24 * time.Hour

// sortDocuments puts an index in its order.
func sortDocuments(documents []Document) {
	slices.SortFunc(documents, func(a, b Document) int {
		return cmp.Or(strings.Compare(a.Pointer.PolicyID, b.Pointer.PolicyID), cmp.Compare(a.Pointer.Revision, b.Pointer.Revision), strings.Compare(a.Pointer.SHA256, b.Pointer.SHA256))
	})
}

// pointTo makes the pointer to a document, which must be one that a Mac reads.
func pointTo(data []byte) (protocol.PolicyPointer, *policy.Document, error) {
	document, err := policy.Parse(data)
	if err != nil {
		return protocol.PolicyPointer{}, nil, err
	}
	return protocol.PointTo(document.PolicyID, document.Revision, data), document, nil
}

// Signer signs heads on the operator's machine.
type Signer struct {
	SiteID string
	Keys   []ed25519.PrivateKey // all of them sign: two while one replaces the other
	// Retired signs the list of keys, which a portal that knows no other one would
	// refuse, and nothing else; nil if there is none.
	Retired ed25519.PrivateKey
	Now     time.Time
}

// Sign is the upload of a change: its heads with the next versions, which come
// from the heads before and never from the clock, and its policies. The list of
// keys is added where the one that is published is another.
func (s Signer) Sign(change Change, before Published) (Upload, error) {
	upload := Upload{Policies: change.Policies}
	issued := s.Now.UTC().Truncate(time.Second)
	for _, head := range change.Heads {
		head.SiteID, head.IssuedAt, head.ExpiresAt = s.SiteID, issued, issued.Add(site.HeadLifetime)
		payload, err := json.Marshal(head)
		if err != nil {
			return Upload{}, fmt.Errorf("encode head: %w", err)
		}
		envelope, err := protocol.Sign(protocol.PayloadHead, payload, s.Keys...).JSON()
		if err != nil {
			return Upload{}, fmt.Errorf("sign head: %w", err)
		}
		if len(envelope) > protocol.MaxHead {
			return Upload{}, fmt.Errorf("the head of group %s has %d bytes, at most %d are read", head.GroupID, len(envelope), protocol.MaxHead)
		}
		upload.Heads = append(upload.Heads, envelope)
	}
	var err error
	upload.Keys, err = s.changedKeys(before.Keys)
	return upload, err
}

// changedKeys is the signed list of the operator's keys; nil where the one that is
// published says the same.
func (s Signer) changedKeys(published []byte) ([]byte, error) {
	wanted := site.PolicyKeys{SiteID: s.SiteID, Version: 1, Keys: site.PublicHalves(s.Keys)}
	if len(published) > 0 {
		present, err := site.ParsePolicyKeys(published, nil)
		if err != nil {
			return nil, err
		}
		if slices.EqualFunc(present.Keys, wanted.Keys, slices.Equal[[]byte]) {
			return nil, nil
		}
		wanted.Version = present.Version + 1
	}
	signers := s.Keys
	if s.Retired != nil {
		signers = append(slices.Clone(signers), s.Retired)
	}
	return wanted.Sign(signers...)
}
