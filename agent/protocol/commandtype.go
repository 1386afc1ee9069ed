package protocol

import (
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
	params   any           // a nil pointer of the type of its Params
	Text     string        // what it does, for people
}

const (
	day   = 24 * time.Hour
	month = 30 * day
)

// CommandTypes are all commands there are, in the order in which a profile
// lists them. A Mac rejects every other one.
var CommandTypes = []CommandType{
	{
		Type: "vm.delete", Text: "Delete a virtual machine with its disks.",
		Destructive: true, Counted: true, Listed: true, OnVM: true, Changes: true,
		Lifetime: month, Timeout: 10 * time.Minute, params: (*DeleteParams)(nil),
	},
	{
		Type: "vm.lock", Text: "Suspend a virtual machine and keep it suspended.",
		Listed: true, OnVM: true, Changes: true,
		Lifetime: month, Timeout: 5 * time.Minute, params: (*HoldsParams)(nil),
	},
	{
		Type: "vm.unlock", Text: "Let a locked virtual machine start again.",
		Listed: true, OnVM: true, Changes: true,
		Lifetime: month, Timeout: 5 * time.Minute, params: (*HoldsParams)(nil),
	},
	{
		Type: "vm.restart", Text: "Restart the guest of a virtual machine.",
		Listed: true, OnVM: true, Changes: true, Once: true,
		Lifetime: day, Timeout: 10 * time.Minute, params: (*RestartParams)(nil),
	},
	{
		Type: "vm.redownload", Text: "Delete a virtual machine and provide the policy's golden image anew.",
		Destructive: true, Counted: true, Listed: true, OnVM: true, Changes: true,
		Lifetime: month, Timeout: 10 * time.Minute, params: (*DeleteParams)(nil),
	},
	{
		Type: "license.deactivate", Text: "Deactivate the license of Parallels Desktop.",
		Destructive: true, Counted: true, Listed: true, Changes: true,
		Lifetime: month, Timeout: 5 * time.Minute, params: (*DeactivateParams)(nil),
	},
	{
		Type: "windows_update.check", Text: "Look for updates of a Windows guest.",
		Listed: true, OnVM: true, Once: true,
		Lifetime: day, Timeout: time.Hour, params: (*NoParams)(nil),
	},
	{
		Type: "windows_update.install", Text: "Install updates of a Windows guest.",
		Listed: true, OnVM: true, Changes: true, Once: true,
		Lifetime: day, Timeout: 6 * time.Hour, params: (*NoParams)(nil),
	},
	{
		Type: "inventory.refresh", Text: "Look at the Mac and report all of it.",
		Lifetime: day, Timeout: 10 * time.Minute, params: (*NoParams)(nil),
	},
	{
		Type: "policy.refresh", Text: "Fetch the policy.",
		Lifetime: day, Timeout: 10 * time.Minute, params: (*NoParams)(nil),
	},
	{
		Type: "diagnostics", Text: "Send a redacted support bundle.",
		Listed:   true,
		Lifetime: day, Timeout: 10 * time.Minute, params: (*NoParams)(nil),
	},
}

// CommandTypeOf finds the row of a type; that of an unknown one is empty.
func CommandTypeOf(name string) (row *CommandType, known bool) {
	for i := range CommandTypes {
		if CommandTypes[i].Type == name {
			return &CommandTypes[i], true
		}
	}
	return &CommandType{}, false
}

// CommandNames are the types of the commands that are wanted, in their order.
func CommandNames(wanted func(*CommandType) bool) []string {
	var names []string
	for i := range CommandTypes {
		command := &CommandTypes[i]
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
	_, carries := row.params.(*HoldsParams)
	return carries
}
