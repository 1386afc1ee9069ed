package protocol

// CommandType is one row of the table of commands, and says everything about
// its type (protocol.md 2.9, DESIGN 8). What the Mac allows by itself and what
// a profile lists are made from it.
type CommandType struct {
	Type string // as Command.Type and AllowedCommands have it
	// Destructive says that nothing puts back what it takes away: it starts only
	// with proof of the time (H24), and never again after the epoch has changed.
	Destructive bool
	Counted     bool   // counts toward DestructiveLimit (H31)
	Listed      bool   // runs only where AllowedCommands lists it
	Text        string // what it does, for people
}

// CommandTypes are all commands there are, in the order in which a profile
// lists them. A Mac rejects every other one.
var CommandTypes = []CommandType{
	{"vm.delete", true, true, true, "Delete a virtual machine with its disks."},
	{"vm.lock", false, false, true, "Suspend a virtual machine and keep it suspended."},
	{"vm.unlock", false, false, true, "Let a locked virtual machine start again."},
	{"vm.restart", false, false, true, "Restart the guest of a virtual machine."},
	{"vm.redownload", true, true, true, "Delete a virtual machine and provide the policy's golden image anew."},
	{"license.deactivate", true, true, true, "Deactivate the license of Parallels Desktop."},
	{"windows_update.check", false, false, true, "Look for updates of a Windows guest."},
	{"windows_update.install", false, false, true, "Install updates of a Windows guest."},
	{"inventory.refresh", false, false, false, "Look at the Mac and report all of it."},
	{"policy.refresh", false, false, false, "Fetch the policy."},
	{"diagnostics", false, false, true, "Send a redacted support bundle."},
}

// CommandNames are the types of the commands that are wanted, in their order.
func CommandNames(wanted func(CommandType) bool) []string {
	var names []string
	for _, command := range CommandTypes {
		if wanted(command) {
			names = append(names, command.Type)
		}
	}
	return names
}
