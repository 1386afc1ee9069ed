package inventory

import (
	"context"
	"errors"
	"io/fs"
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
	err := s.sources.Trusted(ctx)
	var listing prlctl.Listing
	if err == nil {
		listing, err = s.sources.Lister(user, s.inSession(user)).List(ctx)
	}
	if err != nil {
		look.Code, look.At = codeOf(err), s.lastListed(user, known)
		s.log.Warn().Err(err).Str("user", user.Name).Msg("list virtual machines")
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
// known row.
func (s *survey) takeListing(ctx context.Context, user platform.User, known map[string]*record, listing prlctl.Listing) {
	fresh := make(map[string]*record, len(listing.VMs))
	for _, vm := range listing.VMs {
		entry := s.read(ctx, user, vm, known[vm.ID])
		fresh[vm.ID] = entry
		s.found = append(s.found, finding{user: user, record: entry})
	}
	for _, broken := range listing.Unreadable {
		entry, had := known[broken.ID]
		if !had || fresh[broken.ID] != nil {
			continue
		}
		entry.markStale(s.At)
		fresh[broken.ID] = entry
		s.found = append(s.found, finding{user, entry, protocol.Code(broken.Code)})
	}
	s.memory.set(user, fresh)
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
			entry.LastUsedAt, entry.Running = old.LastUsedAt, old.Running
		}
		full, err := s.sources.Lister(user, s.inSession(user)).Get(ctx, listed.ID)
		if err != nil {
			s.log.Warn().Err(err).Str("user", user.Name).Str("vm", listed.ID).Msg("read virtual machine")
			full, entry.Listed = listed, "" // ask again at the next look
		}
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

// lastListed is when the account was last listed, as far as anyone knows.
func (s *survey) lastListed(user platform.User, known map[string]*record) time.Time {
	if seen, listed := s.seen[user.Name]; listed {
		return seen
	}
	for _, entry := range known {
		if entry.SeenAt != nil {
			return *entry.SeenAt
		}
	}
	return time.Time{}
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
	case isAbsent(err):
		return protocol.CodePDNotInstalled
	}
	return protocol.CodeToolFailed
}

func isAbsent(err error) bool { return errors.Is(err, fs.ErrNotExist) }
