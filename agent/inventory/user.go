package inventory

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"

	"prlagent/agent/lane"
	"prlagent/agent/protocol"
	"prlagent/platform"
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
		next, patience := s.visitOf(user), s.lanes.Patience(user.UID, s.patience)
		group.Go(func() { all[i] = s.attend(ctx, next, patience) })
	}
	group.Wait()
	return all
}

func (s *survey) visitOf(user platform.User) visit {
	return visit{
		sources: s.sources, lanes: s.lanes, log: s.log, at: s.At, refused: s.refused,
		user: user, session: s.inSession(user), runLimit: lane.RunLimit(s.patience), known: copied(s.memory.of(user.Name)),
	}
}

// attendance is what a look gets from one user's lane.
type attendance struct {
	user    platform.User
	account account  // of this look, unless late
	earlier *account // what a look before this one did not wait for, if it is worth anything
	late    bool     // nothing of this look yet; the next one takes it
}

// hangs reports whether asking this user for anything more would cost time.
func (a attendance) hangs() bool { return a.late || a.account.code == protocol.CodeToolTimeout }

// attend visits a user, and waits for it no longer than the patience. A visit
// that an earlier look gave up on is not thrown away, but what it saw may be
// old: it becomes what is known, and the user is visited again.
func (c *Collector) attend(ctx context.Context, next visit, patience time.Duration) attendance {
	over := time.NewTimer(patience)
	defer over.Stop()
	result := attendance{user: next.user}
	if c.visits.Pending(next.user.Name) {
		earlier, ended := c.visits.Wait(ctx, next.user.Name, over.C)
		if !ended {
			result.late = true
			return result
		}
		forgotten := earlier.recalled && len(next.known) == 0 // as on a disk that was cloned
		if earlier.isListed() && !forgotten {
			result.earlier = &earlier
			next.known = copied(earlier.entries)
		}
	}
	c.visits.Start(next.user.Name, func() account { return next.run(ctx) })
	var ended bool
	result.account, ended = c.visits.Wait(ctx, next.user.Name, over.C)
	result.late = !ended
	return result
}

// unusedFor is how long an account without a session and without traces is not
// looked at again.
const unusedFor = time.Hour

func (s *survey) isUnused(user platform.User) bool {
	age := s.At.Sub(s.unused[user.Name])
	return age >= 0 && age < unusedFor && !s.inSession(user) && !s.memory.knows(user.Name)
}

// take turns what the lanes gave into machines, in the order of the users. An
// account that could not be listed, or is late, keeps what it had.
func (s *survey) take(all []attendance) {
	for _, attended := range all {
		user, now := attended.user, attended.account
		if earlier := attended.earlier; earlier != nil {
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

// keepStale keeps the machines of an account that cannot be listed as they were
// known.
func (s *survey) keepStale(user platform.User, known map[string]*Machine, look protocol.UserLook) {
	for _, m := range known {
		m.markStale(look.Code, look.At)
		s.found = append(s.found, m)
	}
	s.memory.set(user, known)
}

// lastListed is when the account was last listed, as far as anyone knows.
func (c *Collector) lastListed(user platform.User, known map[string]*Machine) time.Time {
	if seen, listed := c.seen[user.Name]; listed {
		return seen
	}
	var latest time.Time
	for _, m := range known {
		if m.SeenAt.After(latest) {
			latest = m.SeenAt
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
