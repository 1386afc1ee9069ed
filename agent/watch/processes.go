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

// clientApp is the application with its windows.
const clientApp = prlctl.ClientApp

// processRole is what a process is to us.
type processRole uint8

const (
	notVendors    processRole = iota
	vendorClient              // the application
	vendorService             // the dispatcher, one for the Mac
	vendorMachine             // a virtual machine that runs
)

func roleOf(process *platform.Process) processRole {
	if process.Path == "" {
		return notVendors
	}
	program := path.Clean(process.Path)
	if program == clientApp {
		return vendorClient
	}
	if !strings.HasPrefix(program, prlctl.AppBundle+"/") {
		return notVendors
	}
	switch path.Base(program) { // they may lie anywhere in the bundle
	case "prl_disp_service":
		return vendorService
	case "prl_vm_app":
		return vendorMachine
	}
	return notVendors
}

// Watch polls until ctx is done. It returns nil: a table that cannot be read is
// read again at the next poll, and what was known before stays known.
//
// It tells AppLaunch with the user for each launch of the application, and
// hints to look when a machine's process of that user began or ended, when the
// application ended (H44), or when a service began. What is there at the first poll is no news.
func (p Processes) Watch(ctx context.Context, tell func(Hint)) error {
	ticker := time.NewTicker(p.Every)
	defer ticker.Stop()
	table := processTable{seen: make(map[processID]seenProcess)}
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

type seenProcess struct {
	role processRole
	uid  uint32
	poll uint64 // the last one that found it
}

// processTable is what the polls found. It is one map of the few processes that
// matter, so that a poll that finds nothing new allocates nothing.
type processTable struct {
	seen  map[processID]seenProcess
	polls uint64
	up    bool // the service or the application runs
}

// poll compares the table with the one before and tells what is new. It gives
// whether the service or the application runs, and whether that is news.
func (t *processTable) poll(processes []platform.Process, tell func(Hint)) (changed, up bool) {
	t.polls++
	for index := range processes {
		t.onProcess(&processes[index], tell)
	}
	for id, was := range t.seen {
		if was.poll != t.polls {
			delete(t.seen, id)
			if was.role == vendorMachine || was.role == vendorClient {
				tell(Hint{UID: was.uid})
			}
			continue
		}
		up = up || was.role == vendorClient || was.role == vendorService
	}
	changed = t.firstPoll() || up != t.up
	t.up = up
	return changed, up
}

func (t *processTable) firstPoll() bool { return t.polls == 1 }

// onProcess notes a process, and tells it if it is new.
func (t *processTable) onProcess(process *platform.Process, tell func(Hint)) {
	id := processID{process.PID, process.Started.UnixNano()}
	was, known := t.seen[id]
	if !known || was.role == notVendors {
		was = seenProcess{role: roleOf(process), uid: process.UID}
	}
	// What cannot be told yet at the first poll is kept: it was there already.
	if !known && was.role == notVendors && !(t.firstPoll() && process.Path == "" && process.Name == path.Base(clientApp)) {
		return
	}
	was.poll = t.polls
	t.seen[id] = was
	if !known && !t.firstPoll() {
		tell(newProcess(was))
	}
}

// newProcess is the hint for a process that began.
func newProcess(seen seenProcess) Hint {
	switch seen.role {
	case vendorClient:
		return Hint{Reason: trigger.AppLaunch, UID: seen.uid}
	case vendorMachine:
		return Hint{UID: seen.uid}
	default: // a service: the machines of all users may have other states now
		return Hint{}
	}
}
