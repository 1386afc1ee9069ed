package platform

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"
)

// Process is one running program of Parallels Desktop, or one that is called
// like one.
type Process struct {
	PID     int
	UID     uint32    // effective; below a root the account that plays all users
	Name    string    // at most 16 bytes on a Mac, 15 on Linux
	Path    string    // Mac path of the program; "" when it cannot be read, as when it just begins or ends
	Started time.Time // with PID it names a process for good
	Args    []string  // argv without argv[0], not to be changed; only where Path is known
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
	path     string
	args     []string
	lastCall uint64 // the last one that asked
}

// programCache remembers what the vendor's processes run, so that path and
// arguments of each are read once: a user can start any number of programs with
// such a name. It is not safe for concurrent use.
type programCache struct {
	known       map[programInstance]runningProgram
	currentCall uint64
}

// lookUp gives the program of an instance. What cannot be read yet is asked for
// again at the next call.
func (p *programCache) lookUp(asked programInstance, read func() (path string, args []string)) runningProgram {
	found, known := p.known[asked]
	if !known {
		found.path, found.args = read()
		if found.path == "" {
			return runningProgram{}
		}
	}
	if p.known == nil {
		p.known = make(map[programInstance]runningProgram)
	}
	found.lastCall = p.currentCall
	p.known[asked] = found
	return found
}

// endCall forgets what this call did not ask for.
func (p *programCache) endCall() {
	for asked, found := range p.known {
		if found.lastCall != p.currentCall {
			delete(p.known, asked)
		}
	}
	p.currentCall++
}

// maxProcessArgs caps argv: a process names any number it likes.
const maxProcessArgs = 4096

// parseProcessArgs reads the kernel's kern.procargs2: the number of arguments as
// 32 bits in the machine's byte order, the program's path, padding of zero
// bytes, then argv and the environment, each closed by a zero byte
// (facts/macos.md 3.2). argv[0] is left out, and so is the environment.
func parseProcessArgs(data []byte) (path string, args []string, err error) {
	if len(data) < 4 {
		return "", nil, errors.New("process arguments are too short")
	}
	count := binary.NativeEndian.Uint32(data)
	if count > maxProcessArgs {
		return "", nil, errors.New("too many process arguments")
	}
	program, rest, found := bytes.Cut(data[4:], []byte{0})
	if !found {
		return "", nil, errors.New("process arguments are cut short")
	}
	rest = bytes.TrimLeft(rest, "\x00")
	for index := range count {
		argument, next, found := bytes.Cut(rest, []byte{0})
		if !found {
			return "", nil, errors.New("process arguments are cut short")
		}
		if index > 0 {
			args = append(args, string(argument))
		}
		rest = next
	}
	return string(program), args, nil
}
