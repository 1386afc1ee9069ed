package inventory

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
)

// attendAll visits every account, all at the same time, each in its own lane.
func (s *survey) attendAll(ctx context.Context) []attendance {
	var users []platform.User
	for _, user := range s.users {
		if !s.isUnused(user) {
			users = append(users, user)
		}
	}
	all := make([]attendance, len(users))
	var group sync.WaitGroup
	for i, user := range users {
		if s.visits[user.Name] == nil {
			s.visits[user.Name] = &lane[account]{}
		}
		visits, next, patience := s.visits[user.Name], s.visitOf(user), s.patienceWith(user)
		group.Go(func() { all[i] = s.attend(ctx, visits, next, patience) })
	}
	group.Wait()
	return all
}

func (s *survey) visitOf(user platform.User) visit {
	return visit{
		sources: s.sources, slots: s.slots, log: s.log, at: s.At, refused: s.refused,
		user: user, session: s.inSession(user), hanging: s.patience / hangingAfter, known: copied(s.memory.of(user.Name)),
	}
}

// patienceWith is how long the look waits for one user.
func (s *survey) patienceWith(user platform.User) time.Duration {
	if s.slots.hung(user.UID) {
		return s.patience / shortPatience
	}
	return s.patience
}

// unusedFor is how long an account without a session and without traces is not
// looked at again.
const unusedFor = time.Hour

func (s *survey) isUnused(user platform.User) bool {
	age := s.At.Sub(s.unused[user.Name])
	return age >= 0 && age < unusedFor && !s.inSession(user) && !s.memory.knows(user.Name)
}

// take turns what the lanes gave into findings, in the order of the users. An
// account that could not be listed, or is late, keeps what it had.
func (s *survey) take(all []attendance) {
	for _, attended := range all {
		user, now := attended.user, attended.account
		if earlier := attended.earlier; earlier != nil {
			for _, entry := range earlier.entries {
				entry.explainLastUsed() // nobody has judged its state, and now it is too late
			}
			s.memory.set(user, earlier.entries)
			s.seen[user.Name] = earlier.at
		}
		if attended.late {
			s.log.Warn().Str("user", user.Name).Msg("the look does not wait for this user")
			now.code = protocol.CodeUserLate
		}
		if now.unused {
			s.unused[user.Name] = s.At
			continue
		}
		look := s.takeAccount(user, now)
		if now.truncated {
			s.truncate(user.Name)
		}
		if look.Code != "" {
			s.lack(look.Code, user.Name)
		}
		s.Users = append(s.Users, look)
	}
}

func (s *survey) takeAccount(user platform.User, now account) protocol.UserLook {
	look := protocol.UserLook{Name: user.Name, UID: user.UID, Code: now.code}
	if now.code != "" {
		known := s.memory.of(user.Name)
		look.At = s.lastListed(user, known)
		s.keepStale(user, known, look)
		look.Count = len(known)
		return look
	}
	s.seen[user.Name] = s.At
	s.memory.set(user, now.entries)
	s.found = append(s.found, now.found...)
	look.Code, look.Count = now.doubt, len(now.entries)
	return look
}

// unreadable is the record of a virtual machine of which nothing but its id
// was ever readable.
func unreadable(user platform.User, broken prlctl.Unreadable) *record {
	entry := &record{User: user, Row: protocol.VM{
		VMKey:  protocol.VMKey{ID: broken.ID, Owner: user.Name},
		State:  protocol.StateUnknown,
		Source: protocol.SourceUnknown,
	}}
	for _, column := range protocol.Columns {
		if column.Hidden {
			entry.explain(column.ID, "", protocol.Code(broken.Code))
		}
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

// codeOf is the code of what a look could not read.
func codeOf(err error) protocol.Code {
	switch code := protocol.CodeOf(err); code {
	case "":
		return protocol.CodeToolFailed
	case protocol.CodeUnrecognized:
		return protocol.CodePDVersionTooOld // what a look asks with, every version since --json knows
	default:
		return code
	}
}

func isAbsent(err error) bool { return errors.Is(err, fs.ErrNotExist) }
