package inventory

import (
	"cmp"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
)

// Machine is one virtual machine with everything that was observed of it. What
// could not be read now is what was read last. The row of the guide's table is
// a projection of it.
type Machine struct {
	User    platform.User      // whose it is: of those who list it the one who owns the bundle, as far as that can be seen
	Session bool               // the user has a GUI session, and it can be entered
	SeenBy  []protocol.Account // other accounts that list it, by uid
	Bundle  Bundle

	// VM is the description of the newest query by id, with every key that the
	// tool showed, except that State, Uptime and GuestTools are of the newest
	// list. Of one that is larger than maxDescription only what the columns need
	// is left. It is the bulk list's, which may leave sections out, where a query
	// by id was never answered.
	VM         prlctl.VM
	ConfigHash string // of the whole description

	Config *prlctl.ConfigPVS // what was read of config.pvs under this configuration; nil if it was not read
	Guest  prlctl.GuestOS    // what VmInfo.pvi says of the guest

	Space        platform.Space // of the bundle, where a policy needs it; zero if not known
	FirstSeen    time.Time      // by the agent, UTC; zero if not known
	StartedAt    time.Time      // last start that was observed, UTC; zero if none was
	WrittenAt    time.Time      // last write of its process into the bundle, UTC, while no start was observed; zero if not known
	NeverStarted bool           // true until it has an uptime or has shown its tools
	Disputed     bool           // the tool says that it is stopped, and a process that runs it contradicts
	InfoUnread   bool           // VmInfo.pvi, or where it is, could not be read at the newest look at it
	InfoPrivate  bool           // because macOS' privacy control refused (facts/macos.md 7)

	Unreadable protocol.Code // not empty: no description was ever readable, why; only the id is known
	Stale      protocol.Code // not empty: it could not be looked at now, why; all is as it was seen last
	SeenAt     time.Time     // set while stale: when it was seen last

	listed  string // configuration hash of the bulk list: unchanged, nothing is queried again; empty: it is in any case
	running bool   // it ran when it was last compared with the processes

	needsSpace    bool
	needsConfig   bool      // a policy needs what config.pvs says
	configChanged time.Time // last change of config.pvs when it was read; zero: to be read
	configDue     bool      // in this look
}

// Bundle is the folder of a virtual machine. All of it is the word of the user's
// tools and processes. It is no part of what the machine is: one that moved, or
// was restored from a copy, is the same machine (H21).
type Bundle struct {
	Path     string          // Mac path; empty if the tool did not say
	Identity protocol.Bundle // zero where it could not be looked at
	Owner    *uint32         // uid of the folder's owner on this disk; set with Identity
}

// Key tells the machine apart from all others.
func (m *Machine) Key() protocol.VMKey {
	return protocol.VMKey{ID: m.VM.ID, UID: m.User.UID}
}

// State is the inventory's word for the machine's state.
func (m *Machine) State() string {
	if m.Stale != "" || m.Disputed {
		return protocol.StateUnknown
	}
	return m.VM.State.Portal()
}

// hasState reports whether the tool's word for the machine's state is this one.
func (m *Machine) hasState(state prlctl.State) bool {
	return strings.EqualFold(string(m.VM.State), string(state))
}

// encryption is the guide's word; empty if the tool does not show it.
func (m *Machine) encryption() string {
	switch {
	case m.VM.Security.Encrypted.Off():
		return protocol.NotEncrypted
	case !m.VM.Security.Encrypted.On():
		return ""
	case m.Config == nil:
		return protocol.Encrypted
	}
	switch m.Config.VMEncryptionInfo.Method() {
	case prlctl.MethodPassword:
		return protocol.EncryptedPassword
	case prlctl.MethodLicense:
		return protocol.EncryptedByLicense
	}
	return protocol.Encrypted
}

// serial is the serial number that the guest sees: the one that was set, what
// the guest's tools report (facts/captures.md 2), or the derived one.
func (m *Machine) serial() string {
	return cmp.Or(m.VM.SerialNumber, m.Guest.SerialNumber, m.VM.Serial())
}

// withoutTools is why the guest has told nothing.
func (m *Machine) withoutTools() protocol.Code {
	switch {
	case m.NeverStarted:
		return protocol.CodeNeverStarted
	case m.VM.GuestTools.State != "" && noTools(m.VM.GuestTools):
		return protocol.CodeNoTools
	}
	return protocol.CodeNotShown
}

func noTools(tools prlctl.GuestTools) bool {
	return tools.Version == "" || tools.State == "not_installed"
}

// markStale notes why the machine could not be looked at now and, once, when it
// was seen last.
func (m *Machine) markStale(code protocol.Code, at time.Time) {
	m.Stale = code
	if m.SeenAt.IsZero() {
		m.SeenAt = at
	}
}
