package inventory

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/platform/tool"
	"prlagent/prlctl"
)

// finding is one virtual machine as one account lists it.
type finding struct {
	user   platform.User
	record *record
	gone   protocol.Code // not empty: the account could not be listed, this is the last known row
}

// listUser lists one account and notes what it found; an account that cannot
// be listed keeps what it had.
func (s *survey) listUser(ctx context.Context, user platform.User) protocol.UserLook {
	look := protocol.UserLook{Name: user.Name, UID: user.UID}
	known := s.memory.of(user.Name)
	var listing prlctl.Listing
	look.Code = s.refused
	if look.Code == "" {
		err := s.ask(user, func(session bool) (err error) {
			listing, err = s.sources.Lister(user, session).List(ctx)
			return err
		})
		if err != nil {
			s.log.Warn().Err(err).Str("user", user.Name).Msg("list virtual machines")
			look.Code = codeOf(err)
		}
	}
	if look.Code != "" {
		look.At = s.lastListed(user, known)
		s.keepStale(user, known, look)
		look.Count = len(known)
		return look
	}
	s.seen[user.Name] = s.At
	s.takeListing(ctx, user, known, listing)
	if len(listing.Unreadable) > 0 {
		look.Code = protocol.CodeUnreadableVM
	}
	look.Count = len(s.memory.of(user.Name))
	return look
}

// takeListing turns a listing into findings. A virtual machine that the
// account no longer has is forgotten; one that cannot be read keeps its last
// known row, and so does every one that may be the one without a name.
func (s *survey) takeListing(ctx context.Context, user platform.User, known map[string]*record, listing prlctl.Listing) {
	fresh := make(map[string]*record, len(listing.VMs))
	for _, vm := range s.mostly(user, known, listing.VMs) {
		entry := s.read(ctx, user, vm, known[vm.ID])
		fresh[vm.ID] = entry
		s.found = append(s.found, finding{user: user, record: entry})
	}
	stale := func(id string, entry *record, code string) {
		fresh[id] = entry
		s.found = append(s.found, finding{user, entry, protocol.Code(code)})
	}
	for _, broken := range listing.Unreadable {
		entry, had := known[broken.ID]
		switch {
		case broken.ID == "" || fresh[broken.ID] != nil || len(fresh) >= protocol.MaxVMs:
		case had:
			entry.markStale(s.At)
			stale(broken.ID, entry, broken.Code)
		default:
			stale(broken.ID, unreadable(user, broken), broken.Code)
		}
	}
	if at := slices.IndexFunc(listing.Unreadable, isNameless); at >= 0 {
		for id, entry := range known {
			if fresh[id] == nil {
				entry.markStale(s.At)
				stale(id, entry, listing.Unreadable[at].Code)
			}
		}
	}
	s.memory.set(user, fresh)
}

func isNameless(broken prlctl.Unreadable) bool { return broken.ID == "" }

// mostly is what is read of a listing: all of it, unless it alone is more than
// a report holds. Then it is cut, the known ones first, so that an account
// cannot make a look endless (H12).
func (s *survey) mostly(user platform.User, known map[string]*record, vms []prlctl.VM) []prlctl.VM {
	if len(vms) <= protocol.MaxVMs {
		return vms
	}
	s.truncate(user.Name)
	isNew := func(vm prlctl.VM) bool { return known[vm.ID] == nil }
	old := slices.DeleteFunc(slices.Clone(vms), isNew)
	vms = slices.DeleteFunc(slices.Clone(vms), func(vm prlctl.VM) bool { return !isNew(vm) })
	return append(old, vms...)[:protocol.MaxVMs]
}

// hidden are the columns that an unreadable description leaves empty.
var hidden = []string{
	"vm_name", "vm_os", "vm_edition", "vm_os_build", "vm_serial", "vm_encryption", "last_used", "tools_version", "cpu",
}

// unreadable is the record of a virtual machine of which nothing but its id
// was ever readable.
func unreadable(user platform.User, broken prlctl.Unreadable) *record {
	entry := &record{User: user, Row: protocol.VM{
		VMKey:  protocol.VMKey{ID: broken.ID, Owner: user.Name},
		State:  protocol.StateUnknown,
		Source: protocol.SourceUnknown,
	}}
	for _, column := range hidden {
		entry.explain(column, "", protocol.Code(broken.Code))
	}
	return entry
}

// keepStale keeps the last known rows of an account that cannot be listed.
func (s *survey) keepStale(user platform.User, known map[string]*record, look protocol.UserLook) {
	for _, entry := range known {
		entry.markStale(look.At)
		s.found = append(s.found, finding{user, entry, look.Code})
	}
	s.memory.set(user, known)
}

// read makes the record of a listed virtual machine: from memory where its
// configuration is what it was, else from a query by id, which alone names the
// bundle, and from the two files in the bundle.
func (s *survey) read(ctx context.Context, user platform.User, listed prlctl.VM, old *record) *record {
	entry := &record{User: user, Listed: listed.ConfigHash()}
	if old != nil && old.Listed == entry.Listed && old.Bundle != "" {
		*entry = *old
		entry.User, entry.SeenAt = user, nil
	} else {
		if old != nil {
			entry.LastUsedAt, entry.Running, entry.Row = old.LastUsedAt, old.Running, old.Row
		}
		full, err := s.get(ctx, user, listed.ID)
		if err != nil {
			s.log.Warn().Err(err).Str("user", user.Name).Str("vm", listed.ID).Msg("read virtual machine")
			full, entry.Listed = listed, "" // ask again at the next look
		}
		listed = full // it says more than the bulk list, and later
		entry.Bundle = full.Bundle()
		if old != nil {
			entry.Bundle, entry.Identity = first(entry.Bundle, old.Bundle), old.Identity
		}
		entry.describe(full)
	}
	entry.observe(listed)
	s.readBundle(ctx, entry)
	return entry
}

// errHung is a query that is not made.
var errHung = errors.New("a query of this user has hung before in this look")

// get queries one virtual machine. A user can stop a program that runs as them,
// so after one that did not end in its time no other is started for them: a
// look costs at most one time limit more for each user (H12).
func (s *survey) get(ctx context.Context, user platform.User, id string) (prlctl.VM, error) {
	if s.hung[user.UID] {
		return prlctl.VM{}, errHung
	}
	vm, err := s.sources.Lister(user, s.inSession(user)).Get(ctx, id)
	s.hung[user.UID] = err != nil && codeOf(err) == protocol.CodeToolTimeout
	return vm, err
}

// lastListed is when the account was last listed, as far as anyone knows.
func (c *Collector) lastListed(user platform.User, known map[string]*record) time.Time {
	if seen, listed := c.seen[user.Name]; listed {
		return seen
	}
	var latest time.Time
	for _, entry := range known {
		if entry.SeenAt != nil && entry.SeenAt.After(latest) {
			latest = *entry.SeenAt
		}
	}
	return latest
}

// codeOf finds the stable code in an error of the layers below.
func codeOf(err error) protocol.Code {
	var ofPrlctl *prlctl.Error
	var ofTool *tool.Error
	switch {
	case errors.As(err, &ofPrlctl):
		return protocol.Code(ofPrlctl.Code)
	case errors.As(err, &ofTool):
		return protocol.Code(ofTool.Code)
	}
	return protocol.CodeToolFailed
}

func isAbsent(err error) bool { return errors.Is(err, fs.ErrNotExist) }
