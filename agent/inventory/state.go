package inventory

import (
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform"
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
	}
	counts := make(map[running]int) // machines of this name that the tool says run
	for _, found := range s.found {
		if found.gone == "" && found.record.Row.State == protocol.StateRunning && !s.listedBefore(found) {
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

// judge settles one machine's state and last start, given the processes that
// carry its name and how many machines of that name are said to run.
func (s *survey) judge(r *record, started []time.Time, sayRunning int) {
	row := &r.Row
	if row.State == protocol.StateStopped && len(started) > sayRunning {
		row.State = protocol.StateUnknown
		r.explain("vm_state", "", protocol.CodeStateDisputed)
	}
	isRunning := row.State == protocol.StateRunning
	switch {
	case !isRunning:
	case len(started) == 1 && sayRunning == 1:
		r.LastUsedAt = started[0].UTC().Truncate(time.Second)
	case !r.Running || r.LastUsedAt.IsZero():
		r.LastUsedAt = s.At.Truncate(time.Second)
	}
	r.Running = isRunning
	row.LastUsedAt = r.LastUsedAt
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
		if path.Base(process.Path) != vmProcess {
			continue
		}
		if at := slices.Index(process.Args, vmNameFlag); at >= 0 && at+1 < len(process.Args) {
			key := running{process.UID, process.Args[at+1]}
			out[key] = append(out[key], process.Started)
		}
	}
	return out, err
}

func (s *survey) processOf(found finding) running {
	return running{s.uidOf(found.user), found.record.Row.Name}
}

// uidOf is the uid that the user's processes have on this machine. It is taken
// from the home folder, because below a root one account plays all users.
func (s *survey) uidOf(user platform.User) uint32 {
	if uid, err := s.sources.Files.Owner(user.Home); err == nil {
		return uid
	}
	return user.UID
}

// listedBefore says whether another account listed the same shared machine
// before: it has one process, so it counts once.
func (s *survey) listedBefore(found finding) bool {
	for _, other := range s.found {
		if other.record == found.record {
			return false
		}
		if other.gone == "" && sameMachine(other.record, found.record) {
			return true
		}
	}
	return false
}

// sameMachine says whether two accounts' records are one shared machine: the
// same id and the same bundle (H21), by device and inode where they are known.
func sameMachine(a, b *record) bool {
	if a.Row.ID != b.Row.ID {
		return false
	}
	if a.Identity != (protocol.Bundle{}) || b.Identity != (protocol.Bundle{}) {
		return a.Identity == b.Identity
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

// join makes the row of one machine from all accounts that list it. A fresh
// finding speaks before a stale one; the owner is who owns the bundle.
func (s *survey) join(group []finding) protocol.VM {
	speaker := group[0]
	for _, found := range group {
		if speaker.gone != "" && found.gone == "" {
			speaker = found
		}
	}
	row := speaker.record.Row
	row.Owner = s.ownerOf(group).Name
	if speaker.gone != "" {
		row.Stale = speaker.gone
		row.State = protocol.StateUnknown
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
	owner := group[0].user
	if len(group) == 1 {
		return owner
	}
	uid, err := s.sources.Files.Owner(group[0].record.Bundle)
	if err != nil {
		return owner
	}
	for _, found := range group {
		if s.uidOf(found.user) == uid {
			return found.user
		}
	}
	return owner
}
