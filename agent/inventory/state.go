package inventory

import (
	"context"
	"sort"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/platform/text"
	"prlagent/prlctl"
)

// compareWithProcesses compares what the tool says with the processes there
// are. A "stopped" that a process contradicts is Unknown: run in the wrong
// session the tool is known to say so of virtual machines that run
// (facts/prlctl.md 5.4). A process also tells to the second when the machine
// was started.
func (l *look) compareWithProcesses(ctx context.Context) {
	processes, err := l.collector.sources.Processes.Processes(ctx)
	if err != nil {
		l.collector.log.Warn().Err(err).Msg("processes are not readable")
		l.noteIncomplete(codeOf(err), "processes")
	}
	l.listedByID = make(map[string][]*Machine, len(l.found))
	for _, m := range l.found {
		l.listedByID[m.VM.ID] = append(l.listedByID[m.VM.ID], m)
	}
	l.processes = processes
	byID := l.vmProcesses(processes)
	for _, m := range l.found {
		if m.Stale != "" {
			continue
		}
		var started []time.Time
		processes := byID[m.VM.ID]
		for i := range processes {
			if l.mayRun(&processes[i], m) {
				started = append(started, processes[i].started)
			}
		}
		m.compare(started, l.expectedProcesses(processes, m), l.result.At)
	}
}

// expectedProcesses is how many machines of this one's id may have a process, by
// what the tool says, of those whose processes cannot be told from its own. A
// shared machine has one process, wherever it is listed.
func (l *look) expectedProcesses(processes []vmProcess, m *Machine) int {
	var counted []*Machine
	for _, other := range l.listedByID[m.VM.ID] {
		if other.Stale != "" || other.isAtRest() {
			continue
		}
		if (other == m || l.areRivals(processes, m, other)) && !isAmong(counted, other) {
			counted = append(counted, other)
		}
	}
	return len(counted)
}

// areRivals reports whether one of the processes may be either machine's.
func (l *look) areRivals(processes []vmProcess, a, b *Machine) bool {
	for i := range processes {
		if l.mayRun(&processes[i], a) && l.mayRun(&processes[i], b) {
			return true
		}
	}
	return false
}

// isAmong reports whether one of the machines is the same shared machine.
func isAmong(machines []*Machine, m *Machine) bool {
	for _, other := range machines {
		if sameMachine(other, m) {
			return true
		}
	}
	return false
}

// isAtRest reports whether the machine is in a state in which it has no process.
// While it stops, or is paused, it has one.
func (m *Machine) isAtRest() bool {
	return m.hasState(prlctl.StateStopped) || m.hasState(prlctl.StateSuspended) || m.hasState(prlctl.StateInvalid)
}

// startSlack is how much two readings of one process's start may differ: where
// the system counts from its boot, a corrected clock moves the result.
const startSlack = 2 * time.Second

// compare settles the machine's state and last start in a look at that time,
// given the starts of its processes and how many machines may have these. A start
// in the future is a wrong clock's, and says nothing.
func (m *Machine) compare(started []time.Time, expected int, at time.Time) {
	m.Disputed = m.hasState(prlctl.StateStopped) && len(started) > expected
	isRunning := m.State() == protocol.StateRunning
	switch {
	case !isRunning:
	case len(started) == 1 && expected == 1 && !started[0].IsZero() && !started[0].After(at.Add(startSlack)):
		if at := started[0].UTC().Truncate(time.Second); at.Sub(m.StartedAt).Abs() >= startSlack {
			m.StartedAt = at
		}
	case !m.running || m.StartedAt.IsZero():
		m.StartedAt = at.Truncate(time.Second)
	}
	m.running = isRunning
}

// sameMachine reports whether what two accounts list is one shared machine: the
// same id and the same bundle (H21), by volume and inode where they are known.
// What was read in another boot, from a volume whose id does not last, is told
// by the path.
// Both accounts' processes must also have seen the same owner: each can say
// what it likes, and to pass for the owner of somebody else's machine is not to
// be had by saying so.
func sameMachine(a, b *Machine) bool {
	if a.VM.ID != b.VM.ID {
		return false
	}
	if a.Bundle.Owner == nil && b.Bundle.Owner == nil {
		return samePath(a, b)
	}
	return a.Bundle.Owner != nil && b.Bundle.Owner != nil && *a.Bundle.Owner == *b.Bundle.Owner &&
		!a.Bundle.Identity.IsOther(b.Bundle.Identity) && (a.Bundle.Identity == b.Bundle.Identity || samePath(a, b))
}

func samePath(a, b *Machine) bool {
	return a.Bundle.Path != "" && text.SameName(a.Bundle.Path, b.Bundle.Path)
}

// machines joins what the accounts list: a shared machine is one, its bundle's
// owner's, with the other accounts in SeenBy.
func (l *look) machines() []Machine {
	var groups [][]*Machine
	for _, m := range l.found {
		at := 0
		for at < len(groups) && !sameMachine(groups[at][0], m) {
			at++
		}
		if at == len(groups) {
			groups = append(groups, nil)
		}
		groups[at] = append(groups[at], m)
	}
	machines := make([]Machine, 0, len(groups))
	for _, group := range groups {
		machines = append(machines, *l.join(group))
	}
	sort.SliceStable(machines, func(i, j int) bool { return machines[i].Key().Compare(machines[j].Key()) < 0 })
	return machines
}

// join makes one machine of what all accounts that list it say. The owner is
// who owns the bundle, and the owner's account speaks before another's: who
// registers somebody's bundle must not describe it. One that was looked at now
// speaks before a stale one.
func (l *look) join(group []*Machine) *Machine {
	owner := l.ownerOf(group)
	weight := func(m *Machine) int {
		weight := 0
		if m.Stale == "" {
			weight += 2
		}
		if m.User.UID == owner.UID {
			weight++
		}
		return weight
	}
	speaker := group[0]
	for _, m := range group {
		if weight(m) > weight(speaker) {
			speaker = m
		}
	}
	joined := new(Machine)
	*joined = *speaker
	joined.User, joined.Session = owner, l.inSession(owner)
	for _, m := range group {
		if m.User.UID != owner.UID {
			joined.SeenBy = append(joined.SeenBy, protocol.Account{UID: m.User.UID, Name: m.User.Name})
		}
	}
	seers := joined.SeenBy
	sort.SliceStable(seers, func(i, j int) bool { return seers[i].UID < seers[j].UID })
	return joined
}

// ownerOf is the account whose files the bundle's are; the first that lists it
// where that says nothing, as below a root. It is always one that lists it, and
// no account lists an id twice: two bundles under one id are never one
// account's, whoever owns them, and their keys differ.
func (l *look) ownerOf(group []*Machine) platform.User {
	for _, m := range group {
		if uid := m.Bundle.Owner; uid != nil && l.collector.sources.Files.UIDOnDisk(m.User) == *uid {
			return m.User
		}
	}
	return group[0].User
}
