package sim

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// processPoll is how often a VM's process looks whether it is still needed.
const processPoll = 300 * time.Millisecond

// startVMProcess starts the VM's process, detached from the caller's terminal
// and pipes, and returns its id. The caller holds the Mac's lock, so the process
// sees the state only after its id is in it.
func (m Mac) startVMProcess(vm *VM) (int, error) {
	process := exec.Command(m.Path(vmAppPath), "--openvm", vm.Bundle+"/config.pvs", "--vm-name", vm.Name)
	process.Dir = m.Dir
	process.Env = []string{}
	process.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := process.Start(); err != nil {
		return 0, fmt.Errorf("start process of VM: %w", err)
	}
	pid := process.Process.Pid
	if err := process.Process.Release(); err != nil {
		return 0, fmt.Errorf("detach process of VM: %w", err)
	}
	return pid, nil
}

// vmApp plays prl_vm_app: it lives while the state says that this very process
// runs a VM, and while the Mac's folder exists.
func vmApp(in *invocation) int {
	if len(in.args) != 4 || in.args[0] != "--openvm" || in.args[2] != "--vm-name" {
		return in.fail(255, "prl_vm_app: wrong arguments")
	}
	unlock, err := in.mac.lock(unix.LOCK_SH) // waits until the starter has saved the id
	if err != nil {
		return in.fail(1, "prl_vm_app: %v", err)
	}
	unlock()
	file := in.mac.marker("state.json")
	var seen os.FileInfo
	for ; ; time.Sleep(processPoll) {
		info, err := os.Stat(file)
		if err != nil {
			return 0
		}
		if seen != nil && os.SameFile(seen, info) && seen.ModTime().Equal(info.ModTime()) {
			continue
		}
		seen = info
		if !in.mac.runsAs(os.Getpid()) {
			return 0
		}
	}
}

// runsAs reports whether a VM of the Mac runs as the process.
func (m Mac) runsAs(pid int) bool {
	state, err := m.Load()
	return err == nil && slices.ContainsFunc(state.VMs, func(vm *VM) bool { return vm.PID == pid })
}
