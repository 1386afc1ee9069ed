package tool

import (
	"os"
	"syscall"
)

// Children are told of programs that lead a process group of their own: that one
// lives, and that its end was seen.
type Children interface {
	Began(pid int)
	Ended(pid int)
}

// KillAll kills every program that lives, with its process group: the last act of
// a daemon, which nothing of what it started must outlive. launchd ends only
// what is in the daemon's own group.
func (r *Runner) KillAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for pid, process := range r.living {
		if process.Signal(syscall.Signal(0)) == nil { // else its id may be another's by now
			killGroup(pid, syscall.SIGKILL)
		}
	}
}

func (r *Runner) onBegan(process *os.Process) {
	if r.Children != nil {
		r.Children.Began(process.Pid)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.living == nil {
		r.living = make(map[int]*os.Process)
	}
	r.living[process.Pid] = process
}

func (r *Runner) onEnded(process *os.Process) {
	if r.Children != nil {
		r.Children.Ended(process.Pid)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.living[process.Pid] == process {
		delete(r.living, process.Pid)
	}
}
