package sim

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How often a process of the Mac checks whether it is still needed: rarely where
// a pipe wakes it.
const (
	backgroundPoll      = time.Second
	backgroundPollAlone = 300 * time.Millisecond
)

// startBackground starts a program that lives with the Mac, detached from the
// caller's terminal and pipes, and returns its id. Its input is its wake pipe.
// The caller holds the Mac's lock, so the process sees the state only after its
// id is in it.
func (m Mac) startBackground(macPath string, arguments ...string) (int, error) {
	pipe, err := m.createWakePipe()
	if err != nil {
		return 0, err
	}
	input := os.NewFile(uintptr(pipe.descriptor), pipe.file)
	defer input.Close()
	process := exec.Command(m.Path(macPath), arguments...)
	process.Args[0] = m.Dir + macPath // as it is called, also where a clean path looks otherwise
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
	return pid, pipe.publish(waitingProcess{PID: pid})
}

// vmAppCalled is how a VM's process is called: with a doubled slash
// (captures.md 4.3).
const vmAppCalled = appTools + "//Parallels VM.app/Contents/MacOS/prl_vm_app"

func (m Mac) startVMApp(state *State, vm *VM) (int, error) {
	return m.startBackground(vmAppCalled, state.vmAppArguments(vm)...)
}

// vmAppArguments are those of four pastes (captures.md 4.3). That --dir-uuid is
// the account's directory of VMs is inferred.
func (s *State) vmAppArguments(vm *VM) []string {
	return []string{"--vm-name", vm.Name, "--uuid", "{" + s.idCase(vm.ID) + "}", "--dir-uuid", "{" + s.idCase(s.directoryID(vm.Owner)) + "}", "--log-dir", vm.Bundle}
}

// directoryID is the id of an account's directory of VMs.
func (s *State) directoryID(account string) string {
	if s.assumes("dir_uuid", "one") {
		return seededUUID(s.Seed, "directory of VMs")
	}
	user, _ := s.userByName(account)
	return seededUUID(s.Seed, fmt.Sprintf("directory of VMs of %d", user.UID))
}

// vmApp plays prl_vm_app, and the guest's Tools in it.
func vmApp(in *invocation) int {
	if len(in.args) != 8 || in.args[0] != "--vm-name" || in.args[2] != "--uuid" || in.args[4] != "--dir-uuid" || in.args[6] != "--log-dir" {
		return in.failf(255, "prl_vm_app: wrong arguments")
	}
	return in.liveWhileNeeded(vmProcess{in})
}

// vmOfProcess is the VM that the process runs: two accounts can have one of the same
// id (facts/prlctl.md 5.2).
func (s *State) vmOfProcess(pid int) (vm *VM, known bool) {
	index := slices.IndexFunc(s.VMs, func(vm *VM) bool { return vm.PID == pid })
	if index < 0 {
		return nil, false
	}
	return s.VMs[index], true
}

// vmProcess is what a VM's process does while it lives.
type vmProcess struct{ in *invocation }

// changed returns when the Tools report, if they have not since the start.
func (p vmProcess) changed(state *State) (wakeAt time.Time) {
	vm, known := state.vmOfProcess(os.Getpid())
	if !known {
		return time.Time{}
	}
	if arguments := p.argumentsNow(state, vm); !slices.Equal(arguments, p.in.args) {
		called := p.in.mac.Dir + vmAppCalled
		err := syscall.Exec(called, append([]string{called}, arguments...), []string{})
		p.in.failf(1, "prl_vm_app: %v", err)
	}
	return vm.ToolsReadyAt
}

// argumentsNow are those that the process table shows. A name that changed stays
// as it was at the start (captures.md 4.3, inferred), unless the Mac is assumed
// to show the present one.
func (p vmProcess) argumentsNow(state *State, vm *VM) []string {
	if state.assumes("process_name", "current") {
		return state.vmAppArguments(vm)
	}
	return p.in.args
}

// wake makes the Tools report.
func (p vmProcess) wake() error {
	return p.in.mac.update(func(state *State) error {
		vm, known := state.vmOfProcess(os.Getpid())
		if !known || vm.ToolsReadyAt.IsZero() || !state.areToolsReady(vm, time.Now()) {
			return nil
		}
		return p.in.mac.reportTools(state, vm)
	})
}

// idleProcess does nothing while it lives.
type idleProcess struct{}

func (idleProcess) changed(*State) (wakeAt time.Time) { return time.Time{} }
func (idleProcess) wake() error                       { return nil }

// dispatcherProcess is what the dispatcher does: it writes what is due. It plays
// cfprefsd besides, which has no process of its own here.
type dispatcherProcess struct{ mac Mac }

func (p dispatcherProcess) changed(state *State) (wakeAt time.Time) {
	wakeAt = state.nextDueConfig()
	if domain := state.nextDueDomain(); wakeAt.IsZero() || !domain.IsZero() && domain.Before(wakeAt) {
		wakeAt = domain
	}
	return wakeAt
}

func (p dispatcherProcess) wake() error {
	if err := p.mac.writeDueConfigs(); err != nil {
		return err
	}
	return p.mac.update(func(state *State) error { return p.mac.writeDueDomains(state, time.Now()) })
}

func runDispatcher(in *invocation) int { return in.liveWhileNeeded(dispatcherProcess{in.mac}) }

func runBackground(in *invocation) int { return in.liveWhileNeeded(idleProcess{}) }

// liveWhileNeeded plays a program that lives while the state says that this very
// process runs, and while the Mac's folder exists. The program is told of each
// change, and woken when it asks to be.
func (in *invocation) liveWhileNeeded(program interface {
	changed(*State) (wakeAt time.Time)
	wake() error
}) int {
	// Waits until the starter has saved the id. The file is there: nothing is
	// made in a folder that may be about to go.
	unlock, err := in.mac.openLock(os.O_RDWR, unix.LOCK_SH)
	if err != nil {
		return in.failf(1, "%s: %v", in.name, err)
	}
	unlock()
	pipe, poll := inheritedWakePipe(0), backgroundPoll
	if pipe.descriptor < 0 {
		poll = backgroundPollAlone
	}
	file := watchedFile{path: in.mac.markerPath("state.json")}
	var wakeAt time.Time
	for {
		changed, err := file.hasChanged()
		if err != nil {
			return 0
		}
		if changed {
			state, err := in.mac.Load()
			if err != nil || !state.ownsProcess(os.Getpid()) {
				return 0
			}
			wakeAt = program.changed(state)
		}
		if !wakeAt.IsZero() && !time.Now().Before(wakeAt) {
			wakeAt = time.Time{}
			if err := program.wake(); err != nil {
				return 0
			}
		}
		pipe.wait(poll, -1)
	}
}

// watchedFile notices that a file that is only ever replaced whole has changed
// since it was last asked.
type watchedFile struct {
	path     string
	lastSeen os.FileInfo
}

func (w *watchedFile) hasChanged() (bool, error) {
	info, err := os.Stat(w.path)
	if err != nil {
		return false, err
	}
	if w.lastSeen != nil && os.SameFile(w.lastSeen, info) && w.lastSeen.ModTime().Equal(info.ModTime()) {
		return false, nil
	}
	w.lastSeen = info
	return true, nil
}

// ownsProcess reports whether something of the Mac runs as the process.
func (s *State) ownsProcess(pid int) bool {
	return s.Service.PID == pid ||
		slices.ContainsFunc(slices.Collect(maps.Values(s.Jobs)), func(job launchdJob) bool { return job.Keeper == pid }) ||
		slices.ContainsFunc(s.VMs, func(vm *VM) bool { return vm.PID == pid }) ||
		slices.ContainsFunc(s.Persons, func(p person) bool { return p.PID == pid }) ||
		slices.ContainsFunc(s.Apps, func(app runningApp) bool { return app.PID == pid })
}

// dispatcherService is the product's dispatcher, prl_disp_service. It is down
// while the fault service_down is on for all.
type dispatcherService struct {
	Running bool `json:"running"`
	Starts  int  `json:"starts"` // a stream of events ends when this changes
	Process bool `json:"process"`
	PID     int  `json:"pid,omitempty"` // 0: down, or without a process
}

// runningApp is the product's application as one user runs it.
type runningApp struct {
	User string `json:"user"`
	UID  int    `json:"uid"`
	PID  int    `json:"pid"`
	// Update is the version that it installs when it quits.
	Update string `json:"update,omitempty"`
}

// syncService starts and ends the dispatcher as the state says.
func (m Mac) syncService(state *State) error {
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
	pid, err := m.startBackground(dispatcherPath)
	service.PID = pid
	return err
}

// launchApp starts the application of a user who has a session; it runs once
// for each user (facts/macos.md 3.2).
func (m Mac) launchApp(state *State, name string) error {
	user, known := state.userByName(name)
	switch {
	case !known:
		return fmt.Errorf("no user %q on this Mac", name)
	case !user.LoggedIn:
		return fmt.Errorf("%s is not logged in, and the application needs a session", name)
	case slices.ContainsFunc(state.Apps, func(app runningApp) bool { return app.User == name }):
		return fmt.Errorf("the application runs already for %s", name)
	}
	pid, err := m.startBackground(clientAppPath)
	state.Apps = append(state.Apps, runningApp{User: name, UID: user.UID, PID: pid})
	return errors.Join(err, m.activateByProfile(state, name))
}

// crashApp lets those applications that quitApp ends end without a quit.
func (s *State) crashApp(name string) {
	for _, app := range s.Apps {
		if name == "" || app.User == name {
			s.crashed = append(s.crashed, app.PID)
		}
	}
}

// quitApp ends the application of a user, or of all with an empty name.
func (s *State) quitApp(name string) (ended int) {
	before := len(s.Apps)
	s.Apps = slices.DeleteFunc(s.Apps, func(app runningApp) bool { return name == "" || app.User == name })
	return before - len(s.Apps)
}
