package inventory

import (
	"context"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
)

// vmProcess is the program that runs one virtual machine; its argv names it
// (facts/macos.md 3.2).
const (
	vmProcess  = "prl_vm_app"
	vmNameFlag = "--vm-name"
)

// running names the process of a virtual machine by what the process table
// shows: who runs it, and the name.
type running struct {
	uid  uint32
	name string
}

// judgeStates compares what the tool says with the processes there are. A
// "stopped" that a process contradicts is Unknown: run in the wrong session
// the tool is known to say so of virtual machines that run (facts/prlctl.md
// 5.4). A process also tells to the second when the machine was started.
func (s *survey) judgeStates(ctx context.Context) {
	processes, err := s.vmProcesses(ctx)
	if err != nil {
		s.log.Warn().Err(err).Msg("processes are not readable")
		s.lack(codeOf(err), "processes")
	}
	counts := make(map[running]int) // machines of this name that may have a process, by what the tool says
	for _, found := range s.found {
		if found.gone == "" && !atRest[prlctl.State(strings.ToLower(found.record.Row.RawState))] && !s.listedBefore(found) {
			counts[s.processOf(found)]++
		}
	}
	for _, found := range s.found {
		if found.gone == "" {
			key := s.processOf(found)
			s.judge(found.record, processes[key], counts[key])
		}
	}
}

// atRest are the states in which a machine has no process. While it stops, or
// is paused, it has one.
var atRest = map[prlctl.State]bool{prlctl.StateStopped: true, prlctl.StateSuspended: true, prlctl.StateInvalid: true}

// startSlack is how much two readings of one process's start may differ: where
// the system counts from its boot, a corrected clock moves the result.
const startSlack = 2 * time.Second

// judge settles one machine's state and last start, given the processes that
// carry its name and how many machines of that name may have one.
func (s *survey) judge(r *record, started []time.Time, expected int) {
	row := &r.Row
	if strings.EqualFold(row.RawState, string(prlctl.StateStopped)) && len(started) > expected {
		row.State = protocol.StateUnknown
		r.explain("vm_state", "", protocol.CodeStateDisputed)
	}
	isRunning := row.State == protocol.StateRunning
	switch {
	case !isRunning:
	case len(started) == 1 && expected == 1 && !started[0].IsZero():
		if at := started[0].UTC().Truncate(time.Second); at.Sub(r.LastUsedAt).Abs() >= startSlack {
			r.LastUsedAt = at
		}
	case !r.Running || r.LastUsedAt.IsZero():
		r.LastUsedAt = s.At.Truncate(time.Second)
	}
	r.Running = isRunning
	r.explainLastUsed()
}

// explainLastUsed shows the last known start, or says why there is none.
func (r *record) explainLastUsed() {
	r.Row.LastUsedAt = r.LastUsedAt
	reason := protocol.CodeNotSeenRunning
	if r.NeverStarted {
		reason = protocol.CodeNeverStarted
	}
	value := ""
	if !r.LastUsedAt.IsZero() {
		value = r.LastUsedAt.String()
	}
	r.explain("last_used", value, reason)
}

// vmProcesses are the start times of the machines' processes.
func (s *survey) vmProcesses(ctx context.Context) (map[running][]time.Time, error) {
	processes, err := s.sources.Processes.Processes(ctx)
	out := make(map[running][]time.Time)
	for _, process := range processes {
		if path.Base(process.Path) != vmProcess || !strings.HasPrefix(process.Path, prlctl.AppBundle+"/") {
			continue // a user may call a program of their own by this name
		}
		if at := slices.Index(process.Args, vmNameFlag); at >= 0 && at+1 < len(process.Args) {
			key := running{process.UID, shownName(process.Args[at+1])}
			out[key] = append(out[key], process.Started)
		}
	}
	return out, err
}

func (s *survey) processOf(found finding) running {
	return running{s.sources.Files.UIDOnDisk(found.user), found.record.Row.Name}
}

// listedBefore says whether another account whose processes are the same listed
// the same shared machine before: it has one process, so it counts once.
func (s *survey) listedBefore(found finding) bool {
	for _, other := range s.found {
		if other.record == found.record {
			return false
		}
		if other.gone == "" && s.processOf(other) == s.processOf(found) && sameMachine(other.record, found.record) {
			return true
		}
	}
	return false
}

// sameMachine says whether two accounts' records are one shared machine: the
// same id and the same bundle (H21), by device and inode where they are known.
// Both accounts' processes must also have seen the same owner: each can say
// what it likes, and to pass for the owner of somebody else's machine is not to
// be had by saying so.
func sameMachine(a, b *record) bool {
	if a.Row.ID != b.Row.ID {
		return false
	}
	if a.BundleUID != nil || b.BundleUID != nil {
		return a.Identity == b.Identity && a.BundleUID != nil && b.BundleUID != nil && *a.BundleUID == *b.BundleUID
	}
	return a.Bundle != "" && strings.EqualFold(a.Bundle, b.Bundle)
}

// rows joins the findings: a shared machine is one row, its bundle's owner's,
// with the other accounts in SeenBy.
func (s *survey) rows() []protocol.VM {
	var groups [][]finding
	for _, found := range s.found {
		at := slices.IndexFunc(groups, func(group []finding) bool { return sameMachine(group[0].record, found.record) })
		if at < 0 {
			groups = append(groups, []finding{found})
			continue
		}
		groups[at] = append(groups[at], found)
	}
	rows := make([]protocol.VM, 0, len(groups))
	for _, group := range groups {
		rows = append(rows, s.join(group))
	}
	return rows
}

// join makes the row of one machine from all accounts that list it. The owner
// is who owns the bundle, and the owner's finding speaks before another's: who
// registers somebody's bundle must not describe it. A fresh one speaks before a
// stale one.
func (s *survey) join(group []finding) protocol.VM {
	owner := s.ownerOf(group).Name
	weight := func(found finding) int {
		weight := 0
		if found.gone == "" {
			weight += 2
		}
		if found.user.Name == owner {
			weight++
		}
		return weight
	}
	speaker := slices.MaxFunc(group, func(a, b finding) int { return weight(a) - weight(b) })
	row := speaker.record.Row
	row.Owner = owner
	if speaker.gone != "" {
		row.Stale = speaker.gone
		row.State = protocol.StateUnknown
		row.Gaps = maps.Clone(row.Gaps)
		delete(row.Gaps, "vm_state") // Stale is the reason now
		if at := speaker.record.SeenAt; at != nil {
			row.SeenAt = at.UTC().Truncate(time.Second)
		}
	}
	for _, found := range group {
		if found.user.Name != row.Owner {
			row.SeenBy = append(row.SeenBy, found.user.Name)
		}
	}
	slices.Sort(row.SeenBy)
	return row
}

// ownerOf is the account whose files the bundle's are; the first that lists it
// where that says nothing, as below a root.
func (s *survey) ownerOf(group []finding) platform.User {
	for _, found := range group {
		if uid := found.record.BundleUID; uid != nil && s.sources.Files.UIDOnDisk(found.user) == *uid {
			return found.user
		}
	}
	return group[0].user
}
