package content

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/site"
)

// Refusals of what is uploaded.
var (
	ErrConflict      = errors.New("another head of this version is published; somebody published in the meantime: look, and publish again")
	ErrNoPolicyKeys  = errors.New("no policy keys of this site are known here")
	ErrNotAPolicy    = errors.New("it is no policy that a Mac would read")
	ErrMissingPolicy = errors.New("the policy of the head is not here")
	ErrNotForGroup   = errors.New("the policy of the head does not name the group")
	ErrOldKeys       = errors.New("the list of policy keys is older than the one that is known")
	ErrEnded         = errors.New("the head has ended already")
	ErrUnnamed       = errors.New("a policy is taken in with a head that names it, and not by itself")
)

// Accept keeps an upload if all of it is as the site's policy keys say: every head
// is signed, of this site, newer than the one that it replaces, and of policies
// that are here and name its group. A policy is not signed itself, so that every one must
// be named by a head beside it: the index of policies is what the next revisions are
// counted by. A Mac judges anew; this keeps mistakes and thieves of an admin's token
// from what the Macs are offered.
func (f *Folder) Accept(ctx context.Context, siteID string, upload Upload, now time.Time) error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	published, err := f.Heads(ctx)
	if err != nil {
		return err
	}
	trusted, err := acceptKeys(published, upload.Keys, siteID)
	if err != nil {
		return err
	}
	added := make(map[string][]byte)
	for _, data := range upload.Policies {
		pointer, _, err := pointTo(data)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNotAPolicy, err)
		}
		added[pointer.SHA256] = data
	}
	by := acceptance{published: published, trusted: trusted, added: added, named: make(map[string]bool), siteID: siteID, now: now}
	for _, envelope := range upload.Heads {
		if err := f.acceptHead(ctx, by, envelope); err != nil {
			return err
		}
	}
	for sha256 := range added {
		if !by.named[sha256] {
			return ErrUnnamed
		}
	}
	return f.add(upload, now)
}

// acceptKeys are the keys that count: those of the upload, if it has any, which
// must be signed by one of those before. A portal of before these lists has none,
// and takes the first one whose keys signed all of its heads.
func acceptKeys(published Published, uploaded []byte, siteID string) ([]protocol.TrustedKey, error) {
	if published.Keys == nil && uploaded == nil {
		return nil, ErrNoPolicyKeys
	}
	var present site.PolicyKeys
	var err error
	if published.Keys != nil {
		if present, err = site.ParsePolicyKeys(published.Keys, nil); err != nil || uploaded == nil {
			return present.Trusted(), err
		}
	}
	next, err := site.ParsePolicyKeys(uploaded, present.Trusted())
	switch {
	case err != nil:
		return nil, err
	case next.SiteID != siteID:
		return nil, protocol.ErrWrongSite
	case next.Version <= present.Version:
		return nil, ErrOldKeys
	case published.Keys == nil && len(published.Heads) == 0:
		return nil, ErrNoPolicyKeys
	case published.Keys == nil:
		for _, head := range published.Heads {
			if _, err := head.verified(next.Trusted()); err != nil {
				return nil, fmt.Errorf("%w: %w", site.ErrPolicyKeys, err)
			}
		}
	}
	return next.Trusted(), nil
}

// acceptance is what a head is judged by.
type acceptance struct {
	published Published
	trusted   []protocol.TrustedKey
	added     map[string][]byte // policies of the same upload, by their hash
	named     map[string]bool   // those of them that a head names
	siteID    string
	now       time.Time
}

func (f *Folder) acceptHead(ctx context.Context, by acceptance, envelope []byte) error {
	named, err := Head{Envelope: envelope}.Decode()
	if err != nil {
		return err
	}
	given := Head{GroupID: named.GroupID, Envelope: envelope}
	head, err := given.verified(by.trusted)
	switch {
	case err != nil:
		return err
	case head.SiteID != by.siteID:
		return protocol.ErrWrongSite
	case !head.ExpiresAt.After(by.now):
		return ErrEnded
	}
	if err := by.checkVersion(head, envelope); err != nil {
		return err
	}
	for _, pointer := range pointersIn(head) {
		by.named[pointer.SHA256] = true
		if err := f.checkPolicy(ctx, by, pointer, head.GroupID); err != nil {
			return err
		}
	}
	return nil
}

// pointersIn are the policies that a head names.
func pointersIn(head protocol.Head) []protocol.PolicyPointer {
	var pointers []protocol.PolicyPointer
	if head.Policy != nil {
		pointers = append(pointers, *head.Policy)
	}
	if head.Candidate != nil {
		pointers = append(pointers, head.Candidate.Pointer())
	}
	return pointers
}

// checkVersion refuses a head that is not newer; the same one may come again.
func (a acceptance) checkVersion(head protocol.Head, envelope []byte) error {
	at := slices.IndexFunc(a.published.Heads, func(h Head) bool { return h.GroupID == head.GroupID })
	if at < 0 || slices.Equal(a.published.Heads[at].Envelope, envelope) {
		return nil
	}
	before, err := a.published.Heads[at].Decode()
	switch {
	case err != nil:
		return nil // what no Mac reads is in nobody's way
	case head.HeadVersion < before.HeadVersion:
		return protocol.ErrRollback
	case head.HeadVersion == before.HeadVersion:
		return ErrConflict
	}
	return nil
}

func (f *Folder) checkPolicy(ctx context.Context, by acceptance, pointer protocol.PolicyPointer, group string) error {
	data, isNew := by.added[pointer.SHA256]
	if !isNew {
		var err error
		if data, err = f.Policy(ctx, pointer.SHA256); errors.Is(err, fs.ErrNotExist) {
			return ErrMissingPolicy
		} else if err != nil {
			return err
		}
	}
	found, document, err := pointTo(data)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrNotAPolicy, err)
	case found != pointer:
		return protocol.ErrPolicyHash
	case !document.InGroup(group):
		return ErrNotForGroup
	}
	return nil
}
