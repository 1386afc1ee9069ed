package sim

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How often a process of the Mac looks whether it is still needed: rarely where
// it is told of changes.
const (
	residentPoll      = time.Second
	residentPollAlone = 300 * time.Millisecond
)

// startResident starts a program that lives with the Mac, detached from the
// caller's terminal and pipes, and returns its id. Its input is its bell. The
// caller holds the Mac's lock, so the process sees the state only after its id
// is in it.
func (m Mac) startResident(macPath string, arguments ...string) (int, error) {
	bell, err := m.openBell()
	if err != nil {
		return 0, err
	}
	input := os.NewFile(uintptr(bell.descriptor), bell.file)
	defer input.Close()
	process := exec.Command(m.Path(macPath), arguments...)
	process.Dir, process.Stdin = m.Dir, input
	process.Env = []string{}
	process.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := process.Start(); err != nil {
		return 0, fmt.Errorf("start %s: %w", filepath.Base(macPath), err)
	}
	pid := process.Process.Pid
	if err := process.Process.Release(); err != nil {
		return 0, fmt.Errorf("detach %s: %w", filepath.Base(macPath), err)
	}
	return pid, bell.name(Listener{PID: pid})
}

func (m Mac) startVMProcess(vm *VM) (int, error) {
	return m.startResident(vmAppPath, "--openvm", vm.Bundle+"/config.pvs", "--vm-name", vm.Name)
}

// vmApp plays prl_vm_app.
func vmApp(in *invocation) int {
	if len(in.args) != 4 || in.args[0] != "--openvm" || in.args[2] != "--vm-name" {
		return in.fail(255, "prl_vm_app: wrong arguments")
	}
	return resident(in)
}

// resident plays a program that lives while the state says that this very
// process runs, and while the Mac's folder exists.
func resident(in *invocation) int {
	// Waits until the starter has saved the id. The file is there: nothing is
	// made in a folder that may be about to go.
	unlock, err := in.mac.lockAt(os.O_RDWR, unix.LOCK_SH)
	if err != nil {
		return in.fail(1, "%s: %v", in.name, err)
	}
	unlock()
	bell, poll := bellAt(0), residentPoll
	if bell.descriptor < 0 {
		poll = residentPollAlone
	}
	state := watchedFile{path: in.mac.marker("state.json")}
	for {
		switch changed, err := state.changed(); {
		case err != nil:
			return 0
		case changed && !in.mac.runsAs(os.Getpid()):
			return 0
		}
		bell.wait(poll, -1)
	}
}

// watchedFile tells whether a file that is only ever replaced whole has changed
// since the last look.
type watchedFile struct {
	path string
	seen os.FileInfo
}

func (w *watchedFile) changed() (bool, error) {
	info, err := os.Stat(w.path)
	if err != nil {
		return false, err
	}
	if w.seen != nil && os.SameFile(w.seen, info) && w.seen.ModTime().Equal(info.ModTime()) {
		return false, nil
	}
	w.seen = info
	return true, nil
}

// runsAs reports whether something of the Mac runs as the process.
func (m Mac) runsAs(pid int) bool {
	state, err := m.Load()
	return err == nil && (state.Service.PID == pid ||
		slices.ContainsFunc(state.VMs, func(vm *VM) bool { return vm.PID == pid }) ||
		slices.ContainsFunc(state.Apps, func(app App) bool { return app.PID == pid }))
}

// Service is the product's dispatcher, prl_disp_service. It is down while the
// fault service_down is on for all.
type Service struct {
	Running bool `json:"running"`
	Starts  int  `json:"starts"` // a stream of events ends when this changes
	Process bool `json:"process"`
	PID     int  `json:"pid,omitempty"` // 0: down, or without a process
}

// App is the product's application as one user runs it.
type App struct {
	User string `json:"user"`
	PID  int    `json:"pid"`
}

// matchService starts and ends the dispatcher as the state says.
func (m Mac) matchService(state *State) error {
	service := &state.Service
	if state.hasFault("service_down", "") {
		service.Running, service.PID = false, 0
		return nil
	}
	if !service.Running {
		service.Running, service.PID = true, 0
		service.Starts++
	}
	if service.PID != 0 || !service.Process {
		return nil
	}
	pid, err := m.startResident(dispatcherPath)
	service.PID = pid
	return err
}

// launchApp starts the application of a user who has a session; it runs once
// for each user (facts/macos.md 3.2).
func (m Mac) launchApp(state *State, name string) error {
	user, known := state.user(name)
	switch {
	case !known:
		return fmt.Errorf("no user %q on this Mac", name)
	case !user.LoggedIn:
		return fmt.Errorf("%s is not logged in, and the application needs a session", name)
	case slices.ContainsFunc(state.Apps, func(app App) bool { return app.User == name }):
		return fmt.Errorf("the application runs already for %s", name)
	}
	pid, err := m.startResident(clientAppPath)
	state.Apps = append(state.Apps, App{User: name, PID: pid})
	return err
}

// quitApp ends the application of a user, or of all with an empty name.
func (s *State) quitApp(name string) (ended int) {
	before := len(s.Apps)
	s.Apps = slices.DeleteFunc(s.Apps, func(app App) bool { return name == "" || app.User == name })
	return before - len(s.Apps)
}
