package platform

import (
	"strings"
	"time"
)

// VendorBundle is where Parallels Desktop is installed on a Mac.
const VendorBundle = "/Applications/Parallels Desktop.app"

// Process is one running program of Parallels Desktop, or one that is called
// like one.
type Process struct {
	PID     int
	UID     uint32    // effective; below a root the account that plays all users
	Name    string    // at most 16 bytes on a Mac, 15 on Linux
	Path    string    // Mac path of the program; "" when it cannot be read, as when it just begins or ends
	Started time.Time // with PID it names a process for good

	// What a program inside VendorBundle was started with, and no other (H61):
	// the ids of a virtual machine and of its account's directory of them, as
	// they are written there, unchecked.
	Arguments VMArguments
}

// vendorPrefix begins the names of all processes of Parallels Desktop:
// prl_client_app, prl_disp_service, prl_vm_app, prl_naptd (facts/macos.md 3.2).
const vendorPrefix = "prl_"

func isVendorName[text ~string | ~[]byte](name text) bool {
	return len(name) >= len(vendorPrefix) && string(name[:len(vendorPrefix)]) == vendorPrefix
}

// programInstance is one program in one process. A process that executes another
// program keeps its id and start time, but gets that program's name, its owner
// where the program is made so, and another place for its arguments.
type programInstance struct {
	pid         int
	started     int64 // in the kernel's own unit
	uid         uint32
	name        string
	argsAddress uint64 // an address that the kernel chooses anew for each program; 0 where it does not tell
}

// runningProgram is what an instance runs.
type runningProgram struct {
	path      string
	arguments VMArguments
}

// Limits of reading what a process runs. The kernel may have to fetch the
// process's memory for it, from a mount that is dead, and holds the caller until
// then (H61).
const (
	readLimit       = time.Second           // for all that one call of Processes has to read
	leastReadTime   = 10 * time.Millisecond // for each of them, also when others have used that up
	maxReadsOfUser  = 4                     // that the kernel holds at the same time, of processes of one user
	maxReadsOfUsers = 64                    // and of all users
)

// programCache remembers what the vendor's processes run, so that path and
// arguments of each are read once: a user can start any number of programs with
// such a name. It is not safe for concurrent use.
type programCache struct {
	known       map[programInstance]cachedProgram
	reading     map[programInstance]chan runningProgram // what the kernel holds
	waited      time.Duration                           // in this call
	currentCall uint64
}

type cachedProgram struct {
	runningProgram
	lastCall uint64 // the last one that asked
}

// lookUp gives the program of an instance. What cannot be read yet, or in the
// time that is left of this call, is asked for again at the next one.
func (p *programCache) lookUp(asked programInstance, read func() runningProgram) runningProgram {
	found, known := p.known[asked]
	if !known {
		found.runningProgram = p.readInTime(asked, read)
		if found.path == "" {
			return runningProgram{}
		}
	}
	if p.known == nil {
		p.known = make(map[programInstance]cachedProgram)
	}
	found.lastCall = p.currentCall
	p.known[asked] = found
	return found.runningProgram
}

// readInTime gives nothing for what the kernel holds. One that it held before
// is not waited for again.
func (p *programCache) readInTime(asked programInstance, read func() runningProgram) runningProgram {
	if result, held := p.reading[asked]; held {
		select {
		case found := <-result:
			delete(p.reading, asked)
			return found
		default:
			return runningProgram{}
		}
	}
	if p.isFull(asked.uid) {
		return runningProgram{}
	}
	result := make(chan runningProgram, 1)
	go func() { result <- read() }()
	found, ended := p.await(result)
	if !ended {
		if p.reading == nil {
			p.reading = make(map[programInstance]chan runningProgram)
		}
		p.reading[asked] = result
	}
	return found
}

// await waits for what is left of this call's time.
func (p *programCache) await(result <-chan runningProgram) (found runningProgram, ended bool) {
	begun := time.Now()
	defer func() { p.waited += time.Since(begun) }()
	timer := time.NewTimer(max(readLimit-p.waited, leastReadTime))
	defer timer.Stop()
	select {
	case found = <-result:
		return found, true
	case <-timer.C:
		return runningProgram{}, false
	}
}

// isFull reports whether no more is read for this user until the kernel gives
// something back.
func (p *programCache) isFull(uid uint32) bool {
	held := 0
	for other := range p.reading {
		if other.uid == uid {
			held++
		}
	}
	return held >= maxReadsOfUser || len(p.reading) >= maxReadsOfUsers
}

// endCall forgets what this call did not ask for.
func (p *programCache) endCall() {
	for asked, found := range p.known {
		if found.lastCall != p.currentCall {
			delete(p.known, asked)
		}
	}
	for asked, result := range p.reading {
		if len(result) > 0 { // in time for the next call, or of a process that is gone
			if found := <-result; found.path != "" {
				p.keep(asked, found)
			}
			delete(p.reading, asked)
		}
	}
	p.waited = 0
	p.currentCall++
}

// keep remembers what came too late for this call until the end of the next.
func (p *programCache) keep(asked programInstance, found runningProgram) {
	if p.known == nil {
		p.known = make(map[programInstance]cachedProgram)
	}
	p.known[asked] = cachedProgram{found, p.currentCall + 1}
}

// isInside reports whether a clean path lies below a folder.
func isInside(path, folder string) bool { return strings.HasPrefix(path, folder+"/") }
