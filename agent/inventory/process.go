package inventory

import (
	"slices"
	"time"

	"prlagent/platform"
	"prlagent/prlctl"
)

// vmProcess is one process of a virtual machine.
type vmProcess struct {
	machine   string // id of the virtual machine
	directory string // id of the account's directory of virtual machines; empty if it does not say
	uid       uint32
	account   uint32 // uid of whose it is, which below a root is not the process's; 0 if nobody knows
	started   time.Time
}

// vmProcesses are the machines' processes, by the machines' ids.
func (l *look) vmProcesses(processes []platform.Process) map[string][]vmProcess {
	var found []vmProcess
	for i := range processes {
		if process, ok := vmProcessOf(&processes[i]); ok {
			found = append(found, process)
			l.runners = append(l.runners, process.uid)
		}
	}
	l.findAccounts(found)
	byID := make(map[string][]vmProcess)
	for _, process := range found {
		byID[process.machine] = append(byID[process.machine], process)
	}
	return byID
}

// vmProcessOf reads a process of the process table. The name of its machine is among
// its arguments too, as it was when the machine started, and is not kept: one that was
// renamed since, and another that bears the old name now, would be taken for each other.
func vmProcessOf(process *platform.Process) (vmProcess, bool) {
	if !prlctl.IsVMProgram(process.Path) {
		return vmProcess{}, false
	}
	machine, err := prlctl.ParseID(process.Arguments.VMID)
	if err != nil {
		return vmProcess{}, false
	}
	directory, _ := prlctl.ParseID(process.Arguments.DirectoryID) // empty for what is none
	return vmProcess{machine: machine, directory: directory, uid: process.UID, started: process.Started}, true
}

// findAccounts says whose the processes are: the account with their uid that
// lists the machine. Where several have that uid, as below a root, or none, it is
// the only account that lists the machine, or else the one that is known to have
// the same directory.
func (l *look) findAccounts(processes []vmProcess) {
	directories := make(map[string][]uint32) // accounts by their directory
	for i := range processes {
		process := &processes[i]
		if accounts := l.accountsFor(process); len(accounts) == 1 {
			process.account = accounts[0]
			if !slices.Contains(directories[process.directory], process.account) {
				directories[process.directory] = append(directories[process.directory], process.account)
			}
		}
	}
	for i := range processes {
		process := &processes[i]
		known := directories[process.directory]
		if process.account == 0 && process.directory != "" && len(known) == 1 && slices.Contains(l.accountsFor(process), known[0]) {
			process.account = known[0]
		}
	}
}

// accountsFor are the accounts that may have a process: of those that list the
// machine the ones with its uid, or all where nobody has that uid.
func (l *look) accountsFor(process *vmProcess) []uint32 {
	var byUID, listing []uint32
	for _, user := range l.users {
		if l.collector.sources.Files.UIDOnDisk(user) == process.uid {
			byUID = append(byUID, user.UID)
		}
	}
	for _, m := range l.listedByID[process.machine] {
		uid := m.User.UID
		if !slices.Contains(listing, uid) && (len(byUID) == 0 || slices.Contains(byUID, uid)) {
			listing = append(listing, uid)
		}
	}
	return listing
}

// mayRun reports whether the process may be this machine's: it has its id, and
// its account lists it, or nobody knows which account's it is. Of a shared
// machine it may be any account's that lists it.
func (l *look) mayRun(process *vmProcess, m *Machine) bool {
	if process.account == 0 {
		return slices.Contains(l.accountsFor(process), m.User.UID)
	}
	if process.account == m.User.UID {
		return true
	}
	for _, other := range l.listedByID[m.VM.ID] {
		if other.User.UID == process.account && sameMachine(other, m) {
			return true
		}
	}
	return false
}
