package inventory

import (
	"cmp"
	"time"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// guestNames are the names of the tool's distribution ids (facts/prlctl.md
// 2.2; the ids that were not seen in a list are inferred) for guests that have not told their own; an id that is not here is
// shown as it is.
var guestNames = [][2]string{
	{"win-11", "Windows 11"}, {"win-10", "Windows 10"}, {"win-8.1", "Windows 8.1"}, {"win-8", "Windows 8"}, {"win-7", "Windows 7"},
	{"win-vista", "Windows Vista"}, {"win-xp", "Windows XP"}, {"win-2000", "Windows 2000"}, {"win-nt", "Windows NT"},
	{"win-me", "Windows ME"}, {"win-98", "Windows 98"}, {"win-95", "Windows 95"}, {"win-311", "Windows 3.11"}, {"win", "Windows"},
	{"win-2025", "Windows Server 2025"}, {"win-2022", "Windows Server 2022"}, {"win-2019", "Windows Server 2019"},
	{"win-2016", "Windows Server 2016"}, {"win-2012", "Windows Server 2012"}, {"win-2008", "Windows Server 2008"},
	{"win-2003", "Windows Server 2003"},
	{"macosx", "macOS"}, {"macos", "macOS"},
	{"ubuntu", "Ubuntu"}, {"debian", "Debian"}, {"kali", "Kali Linux"}, {"mint", "Linux Mint"}, {"elementary", "elementary OS"},
	{"fedora-core", "Fedora"}, {"fedora", "Fedora"}, {"centos", "CentOS"}, {"rhel", "Red Hat Enterprise Linux"}, {"redhat", "Red Hat Linux"},
	{"rocky", "Rocky Linux"}, {"alma", "AlmaLinux"}, {"almalinux", "AlmaLinux"}, {"oracle", "Oracle Linux"},
	{"suse", "SUSE Linux"}, {"opensuse", "openSUSE"}, {"manjaro", "Manjaro"}, {"arch", "Arch Linux"}, {"gentoo", "Gentoo"},
	{"mandriva", "Mandriva"}, {"xandros", "Xandros"}, {"linux", "Linux"},
	{"android", "Android"}, {"chrome", "Chrome OS"}, {"freebsd", "FreeBSD"}, {"solaris", "Solaris"}, {"msdos", "MS-DOS"}, {"os2", "OS/2"},
}

// guestName is the name of a distribution id; empty if it is not known.
func guestName(id string) string {
	for i := range guestNames {
		if guestNames[i][0] == id {
			return guestNames[i][1]
		}
	}
	return ""
}

// processorOf is the guide's word for the tool's word for the processor; empty if
// it is another one.
func processorOf(architecture string) string {
	switch architecture {
	case "x86":
		return protocol.CPUIntel
	case "arm":
		return protocol.CPUArm
	}
	return ""
}

// rowsOf are the machines as rows of the guide's table.
func rowsOf(machines []Machine, product *protocol.Product) []protocol.VM {
	rows := make([]protocol.VM, len(machines))
	for i := range machines {
		machines[i].fillRow(&rows[i])
	}
	return remarked(rows, product)
}

// fillRow makes the machine a row of the guide's table, with a reason for every
// cell that is empty. What depends on the product is remarked beside.
func (m *Machine) fillRow(row *protocol.VM) {
	row.VMKey, row.Owner, row.Bundle, row.SeenBy, row.State, row.Stale = m.Key(), m.User.Name, m.Bundle.Identity, m.SeenBy, m.State(), m.Stale
	if m.Stale != "" && !m.SeenAt.IsZero() {
		row.SeenAt = m.SeenAt.UTC().Truncate(time.Second)
	}
	if m.Unreadable != "" {
		row.State, row.Source = protocol.StateUnknown, protocol.SourceUnknown
		explainHidden(row, m.Unreadable)
		return
	}
	m.fillSettings(row)
	m.fillGuest(row)
	m.fillState(row)
	explainHidden(row, "")
	row.Cut() // whatever a user or a guest wrote (H51)
}

// fillSettings fills the columns of the configuration.
func (m *Machine) fillSettings(row *protocol.VM) {
	row.Name = m.VM.Name
	row.Source = protocol.SourceOther
	row.Serial = m.serial()
	row.Encryption = m.encryption()
	row.CPU = processorOf(m.VM.Architecture())
	row.ConfigHash = m.ConfigHash
}

// fillGuest fills the columns that the guest fills, its tools among them.
func (m *Machine) fillGuest(row *protocol.VM) {
	row.OS = cmp.Or(m.Guest.Name, guestName(m.VM.OS), m.VM.OS)
	row.Edition, row.OSBuild = m.Guest.Edition, m.Guest.Build
	row.ToolsState = m.VM.GuestTools.State
	if !noTools(m.VM.GuestTools) {
		row.ToolsVersion = m.VM.GuestTools.Version
	}
	reason := m.withoutTools()
	explain(row, "tools_version", row.ToolsVersion, reason)
	switch {
	case m.InfoPrivate:
		reason = protocol.CodePrivacyDenied
	case m.InfoUnread:
		reason = protocol.CodeNotReadable
	}
	explain(row, "vm_os", row.OS, reason)
	explain(row, "vm_os_build", row.OSBuild, reason)
	if !m.VM.WindowsGuest() {
		reason = protocol.CodeGuestOS // editions are Windows' own
	}
	explain(row, "vm_edition", row.Edition, reason)
}

// fillState fills the columns of what the machine does.
func (m *Machine) fillState(row *protocol.VM) {
	row.RawState = string(m.VM.State)
	if m.Stale == "" && row.State == protocol.StateUnknown {
		noteGap(row, "vm_state", m.unknownState())
	}
	switch row.LastUsedAt = m.StartedAt; {
	case !m.StartedAt.IsZero():
	case m.NeverStarted:
		noteGap(row, "last_used", protocol.CodeNeverStarted)
	case !m.WrittenAt.IsZero():
		row.LastUsedAt = m.WrittenAt
		noteGap(row, "last_used", protocol.CodeWrittenAt)
	}
}

// unknownState is the reason of a state that is Unknown.
func (m *Machine) unknownState() protocol.Code {
	switch {
	case m.Disputed:
		return protocol.CodeStateDisputed
	case m.hasState(prlctl.StateInvalid):
		return protocol.CodeVMInvalid
	}
	return protocol.CodeNotShown
}

// explainHidden gives every cell of the description that is empty, and has no
// reason yet, one: this, or if that is empty the column's own.
func explainHidden(row *protocol.VM, reason protocol.Code) {
	cells := &protocol.Row{VM: *row}
	for i := range protocol.Columns {
		if column := &protocol.Columns[i]; column.Hidden && row.Gaps[column.ID] == "" {
			explain(row, column.ID, column.Value(cells), cmp.Or(reason, column.Missing))
		}
	}
}

// explain gives the reason of a column whose cell is empty.
func explain(row *protocol.VM, column, value string, reason protocol.Code) {
	if value == "" {
		noteGap(row, column, reason)
	}
}
