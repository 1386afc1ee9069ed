package inventory

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"

	"prlagent/agent/lane"
	"prlagent/agent/protocol"
	"prlagent/platform"
)

// visitUsers visits every account, all at the same time, each in its own lane.
func (l *look) visitUsers(ctx context.Context) []*visitedUser {
	var users []platform.User
	for _, user := range l.users {
		if !l.isUnused(user) {
			users = append(users, user)
		}
	}
	all := make([]*visitedUser, len(users))
	var group sync.WaitGroup
	for i, user := range users {
		next, patience := l.visitOf(user), l.collector.lanes.Patience(user.UID, l.patience)
		group.Go(func() { all[i] = l.collector.visitUser(ctx, next, patience) })
	}
	group.Wait()
	return all
}

func (l *look) visitOf(user platform.User) *visit {
	return &visit{
		sources: &l.collector.sources, lanes: l.collector.lanes, log: &l.collector.log, at: l.result.At, toolsRefused: l.toolsRefused,
		user: user, session: l.inSession(user), runLimit: lane.RunLimit(l.patience), known: copyMachines(l.known.ofUser(user.UID)),
	}
}

// visitedUser is what a look gets from one user's lane.
type visitedUser struct {
	user    platform.User
	outcome *visitOutcome // of this look; nothing is in it while that is late
	earlier *visitOutcome // what a look before this one did not wait for, if it is worth anything
	late    bool          // nothing of this look yet; the next one takes it
}

// hangs reports whether asking this user for anything more would cost time.
func (u *visitedUser) hangs() bool { return u.late || u.outcome.code == protocol.CodeToolTimeout }

// visitUser visits a user, and waits for it no longer than the patience. A visit
// that an earlier look gave up on is not thrown away, but what it saw may be
// old: it becomes what is known, and the user is visited again.
func (c *Collector) visitUser(ctx context.Context, next *visit, patience time.Duration) *visitedUser {
	defer c.visiting.begin(next.user, c.now(), patience)()
	over := time.NewTimer(patience)
	defer over.Stop()
	result := &visitedUser{user: next.user, outcome: &visitOutcome{}}
	if c.visits.Pending(next.user.UID) {
		earlier, ended := c.visits.Wait(ctx, next.user.UID, over.C)
		if !ended {
			result.late = true
			return result
		}
		forgotten := earlier.recalled && len(next.known) == 0 // as on a disk that was cloned
		if earlier.isListed() && !forgotten {
			result.earlier = earlier
			next.known = copyMachines(earlier.machines)
		}
	}
	c.visits.Start(next.user.UID, func() *visitOutcome { return next.run(ctx) })
	outcome, ended := c.visits.Wait(ctx, next.user.UID, over.C)
	if result.late = !ended; ended {
		result.outcome = outcome
	}
	return result
}

// unusedFor is how long an account without a session and without traces is not
// looked at again.
const unusedFor = time.Hour

func (l *look) isUnused(user platform.User) bool {
	age := l.result.At.Sub(l.collector.unusedSince[user.UID])
	return age >= 0 && age < unusedFor && !l.inSession(user) && !l.known.hasUser(user.UID)
}

// takeVisits turns what the lanes gave into machines, in the order of the
// users. An account that could not be listed, or is late, keeps what it had.
func (l *look) takeVisits(all []*visitedUser) {
	for _, visited := range all {
		user, now := visited.user, visited.outcome
		if now.preferences != "" {
			l.collector.preferences[user.UID] = now.preferences
		}
		if earlier := visited.earlier; earlier != nil {
			l.known.setUser(user, earlier.machines)
			l.collector.listedAt[user.UID] = earlier.at
		}
		if visited.late {
			l.collector.log.Warn().Str("user", user.Name).Msg("the look does not wait for this user")
			now.code = protocol.CodeUserLate
		}
		if now.unused {
			l.collector.unusedSince[user.UID] = l.result.At
			continue
		}
		listed := l.takeOutcome(user, now)
		if listed.LeftOut > 0 {
			l.noteTruncated(listed.Who())
		}
		if listed.Code != "" {
			l.noteIncomplete(listed.Code, user.Name)
		}
		l.result.Users = append(l.result.Users, *listed)
	}
}

func (l *look) takeOutcome(user platform.User, now *visitOutcome) *protocol.UserLook {
	listed := &protocol.UserLook{Name: user.Name, UID: user.UID, Code: now.code}
	if now.code != "" {
		known := l.known.ofUser(user.UID)
		listed.At = l.collector.lastListed(user, known)
		l.keepStale(user, known, listed)
		listed.Count = len(known)
		return listed
	}
	l.collector.listedAt[user.UID] = l.result.At
	l.known.setUser(user, now.machines)
	l.found = append(l.found, now.found...)
	listed.Code, listed.Count, listed.LeftOut = now.doubt, len(now.machines), now.leftOut
	if listed.LeftOut > 0 {
		listed.Code = cmp.Or(listed.Code, protocol.CodeVMLimit)
	}
	return listed
}

// keepStale keeps the machines of an account that cannot be listed as they were
// known.
func (l *look) keepStale(user platform.User, known map[string]*Machine, listed *protocol.UserLook) {
	for _, m := range known {
		m.markStale(listed.Code, listed.At)
		l.found = append(l.found, m)
	}
	l.known.setUser(user, known)
}

// lastListed is when the account was last listed, as far as anyone knows.
func (c *Collector) lastListed(user platform.User, known map[string]*Machine) time.Time {
	if at, listed := c.listedAt[user.UID]; listed {
		return at
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
