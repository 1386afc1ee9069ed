package watch

import (
	"context"
	"path"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/trigger"
	"prlagent/platform"
	"prlagent/prlctl"
)

// Processes watches the process table for what Parallels Desktop runs
// (facts/macos.md 3.2): the application that a user launches, the service that
// all depends on, and the process that each running virtual machine has.
//
// Only programs inside the application's bundle count: a user may call a
// program of their own by any name. A program whose path cannot be read (it is
// about to begin or to end) counts as nothing until it can, at a later poll.
type Processes struct {
	List  func(context.Context) ([]platform.Process, error)
	Every time.Duration // between two polls
	// Service is told whether the service or the application runs: at the first
	// poll and at each change. The stream of events may be started only then
	// (facts/macos.md 3.1). It must not block.
	Service func(up bool)
	Log     zerolog.Logger
}

// clientApp is the application with its windows, one process for each user.
const clientApp = prlctl.AppBundle + "/Contents/MacOS/prl_client_app"

// role is what a process is to us.
type role uint8

const (
	stranger role = iota
	client        // the application
	service       // the dispatcher, one for the Mac
	machine       // a virtual machine that runs
)

// roles are the programs that may lie anywhere in the bundle, by file name.
var roles = map[string]role{
	"prl_disp_service": service,
	"prl_vm_app":       machine,
}

func roleOf(process *platform.Process) role {
	if process.Path == "" {
		return stranger
	}
	program := path.Clean(process.Path)
	if program == clientApp {
		return client
	}
	if !strings.HasPrefix(program, prlctl.AppBundle+"/") {
		return stranger
	}
	return roles[path.Base(program)]
}

// Watch polls until ctx is done. It returns nil: a table that cannot be read is
// read again at the next poll, and what was known before stays known.
//
// It tells AppLaunch with the user for each launch of the application, and
// hints to look when a machine's process of that user began or ended, or when a
// service began. What is there at the first poll is no news.
func (p Processes) Watch(ctx context.Context, tell func(Hint)) error {
	ticker := time.NewTicker(p.Every)
	defer ticker.Stop()
	table := processTable{seen: make(map[processID]sighting)}
	failing := false
	for {
		processes, err := p.List(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			if changed, up := table.poll(processes, tell); changed {
				p.Service(up)
			}
		case !failing:
			p.Log.Warn().Err(err).Msg("cannot read the process table")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// processID names a process for good: a process id comes again, with another
// start time.
type processID struct {
	pid     int
	started int64 // nanoseconds
}

type sighting struct {
	role role
	uid  uint32
	poll uint64 // the last one that found it
}

// processTable is what the polls found. It is one map of the few processes that
// matter, so that a poll that finds nothing new allocates nothing.
type processTable struct {
	seen  map[processID]sighting
	polls uint64
	up    bool // the service or the application runs
}

// poll compares the table with the one before and tells what is new. It gives
// whether the service or the application runs, and whether that is news.
func (t *processTable) poll(processes []platform.Process, tell func(Hint)) (changed, up bool) {
	t.polls++
	for index := range processes {
		t.see(&processes[index], tell)
	}
	for id, was := range t.seen {
		if was.poll != t.polls {
			delete(t.seen, id)
			if was.role == machine {
				tell(Hint{UID: was.uid})
			}
			continue
		}
		up = up || was.role == client || was.role == service
	}
	changed = t.first() || up != t.up
	t.up = up
	return changed, up
}

func (t *processTable) first() bool { return t.polls == 1 }

// see notes a process, and tells it if it is new.
func (t *processTable) see(process *platform.Process, tell func(Hint)) {
	id := processID{process.PID, process.Started.UnixNano()}
	was, known := t.seen[id]
	if !known || was.role == stranger {
		was = sighting{role: roleOf(process), uid: process.UID}
	}
	// What cannot be told yet at the first poll is kept: it was there already.
	if !known && was.role == stranger && !(t.first() && process.Path == "" && process.Name == path.Base(clientApp)) {
		return
	}
	was.poll = t.polls
	t.seen[id] = was
	if !known && !t.first() {
		tell(newProcess(was))
	}
}

// newProcess is the hint for a process that began.
func newProcess(seen sighting) Hint {
	switch seen.role {
	case client:
		return Hint{Reason: trigger.AppLaunch, UID: seen.uid}
	case machine:
		return Hint{UID: seen.uid}
	default: // a service: the machines of all users may have other states now
		return Hint{}
	}
}
