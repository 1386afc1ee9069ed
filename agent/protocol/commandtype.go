package protocol

import (
	"slices"
	"time"
)

// CommandType is one row of the table of commands, and says everything about
// its type (protocol.md 2.9, DESIGN 8). What the Mac allows by itself and what
// a profile lists are made from it.
type CommandType struct {
	Type string // as Command.Type and AllowedCommands have it
	// Destructive says that nothing puts back what it takes away: it starts only
	// with proof of the time (H24), and never again after the epoch has changed.
	Destructive bool
	Counted     bool // counts toward DestructiveLimit (H31)
	Listed      bool // runs only where AllowedCommands lists it
	OnVM        bool // its target is one virtual machine; else the whole Mac
	Changes     bool // changes something on the Mac: an agent that monitors rejects it
	// Once says that its outcome cannot be observed for sure: it is attempted once,
	// and an attempt that broke off is CodeOutcomeUnknown (H26).
	Once     bool
	Lifetime time.Duration // from being signed to the latest start, unless the admin says otherwise
	Timeout  time.Duration // of one attempt, unless the admin says otherwise
	params   func() any    // a pointer to its Params
	Text     string        // what it does, for people
}

const (
	day   = 24 * time.Hour
	month = 30 * day
)

// CommandTypes are all commands there are, in the order in which a profile
// lists them. A Mac rejects every other one.
var CommandTypes = []CommandType{
	{"vm.delete", true, true, true, true, true, false, month, 10 * time.Minute, paramsOf[DeleteParams], "Delete a virtual machine with its disks."},
	{"vm.lock", false, false, true, true, true, false, month, 5 * time.Minute, paramsOf[HoldsParams], "Suspend a virtual machine and keep it suspended."},
	{"vm.unlock", false, false, true, true, true, false, month, 5 * time.Minute, paramsOf[HoldsParams], "Let a locked virtual machine start again."},
	{"vm.restart", false, false, true, true, true, true, day, 10 * time.Minute, paramsOf[RestartParams], "Restart the guest of a virtual machine."},
	{"vm.redownload", true, true, true, true, true, false, month, 10 * time.Minute, paramsOf[DeleteParams], "Delete a virtual machine and provide the policy's golden image anew."},
	{"license.deactivate", true, true, true, false, true, false, month, 5 * time.Minute, paramsOf[DeactivateParams], "Deactivate the license of Parallels Desktop."},
	{"windows_update.check", false, false, true, true, false, true, day, time.Hour, paramsOf[NoParams], "Look for updates of a Windows guest."},
	{"windows_update.install", false, false, true, true, true, true, day, 6 * time.Hour, paramsOf[NoParams], "Install updates of a Windows guest."},
	{"inventory.refresh", false, false, false, false, false, false, day, 10 * time.Minute, paramsOf[NoParams], "Look at the Mac and report all of it."},
	{"policy.refresh", false, false, false, false, false, false, day, 10 * time.Minute, paramsOf[NoParams], "Fetch the policy."},
	{"diagnostics", false, false, true, false, false, false, day, 10 * time.Minute, paramsOf[NoParams], "Send a redacted support bundle."},
}

func paramsOf[P any]() any { return new(P) }

// CommandTypeOf finds the row of a type.
func CommandTypeOf(name string) (row CommandType, known bool) {
	i := slices.IndexFunc(CommandTypes, func(row CommandType) bool { return row.Type == name })
	if i < 0 {
		return CommandType{}, false
	}
	return CommandTypes[i], true
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

// IsHazardous reports whether a repetition of a command of the type could do what
// nothing puts back, or do again what cannot be seen: its envelope is for one epoch of
// the Mac, and after a change of the epoch nobody but an administrator goes on (H22,
// H26). All others say what is to be, or only look. A type that is not known is.
func IsHazardous(name string) bool {
	row, known := CommandTypeOf(name)
	return !known || row.Destructive || row.Once
}

// ChangesHolds reports whether commands of the type carry a list of holds.
func ChangesHolds(name string) bool {
	row, _ := CommandTypeOf(name)
	if row.params == nil {
		return false
	}
	_, carries := row.params().(*HoldsParams)
	return carries
}
