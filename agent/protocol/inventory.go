package protocol

import (
	"cmp"
	"fmt"
	"time"
)

// Values of the guide's columns that have a closed vocabulary (protocol.md 5.1).
const (
	StateRunning   = "Running"
	StateStopped   = "Stopped"
	StateSuspended = "Suspended"
	StateUnknown   = "Unknown"

	StatusActive       = "Active"
	StatusDeactivated  = "Deactivated"
	StatusDeleteFailed = "Failed to delete"

	SourceOther   = "Other"   // not from a golden image of ours
	SourceUnknown = "Unknown" // no provenance record, and none can be made (H42)

	NotEncrypted       = "Not encrypted"
	EncryptedPassword  = "Encrypted with a custom password"
	EncryptedByLicense = "Encrypted (license based)"
	Encrypted          = "Encrypted" // by which method is not known (facts/prlctl.md 2.9 [U])

	CommandNone = "None"

	ProductSSO         = "Activated (SSO)"
	ProductKey         = "Activated (License Key)"
	ProductDeactivated = "Deactivated"

	CPUIntel = "Intel"
	CPUArm   = "Arm"
)

// Bundle names a VM's folder by what cannot be renamed: the device and inode
// of the folder. Zero where it could not be looked at.
type Bundle struct {
	Device uint64 `json:"device,omitempty"`
	Inode  uint64 `json:"inode,omitempty"`
}

// VMKey tells VMs apart: the same id can be registered in two accounts, and
// the same account can get another bundle under an old id (H21).
type VMKey struct {
	ID     string `json:"vm_id"`
	Owner  string `json:"user_name"`
	Bundle Bundle `json:"bundle,omitzero"`
}

// String is the key in one word, for maps, stores and logs.
func (k VMKey) String() string {
	return fmt.Sprintf("%s/%s/%x.%x", k.ID, k.Owner, k.Bundle.Device, k.Bundle.Inode)
}

// Compare orders keys by owner, then id, then bundle.
func (k VMKey) Compare(other VMKey) int {
	return cmp.Or(
		cmp.Compare(k.Owner, other.Owner),
		cmp.Compare(k.ID, other.ID),
		cmp.Compare(k.Bundle.Device, other.Bundle.Device),
		cmp.Compare(k.Bundle.Inode, other.Bundle.Inode),
	)
}

// VM is what the agent observed of one virtual machine. Empty cells of the
// table have their reason in Gaps.
type VM struct {
	VMKey
	SeenBy       []string        `json:"seen_by,omitempty"` // other accounts that list a shared VM
	Name         string          `json:"vm_name"`
	State        string          `json:"vm_state"`            // one of the State words
	RawState     string          `json:"raw_state,omitempty"` // as the tool said it
	OS           string          `json:"vm_os,omitempty"`
	Edition      string          `json:"vm_edition,omitempty"`
	OSBuild      string          `json:"vm_os_build,omitempty"`
	Serial       string          `json:"vm_serial,omitempty"`
	Source       string          `json:"vm_source"`
	Encryption   string          `json:"vm_encryption,omitempty"`
	LastUsedAt   time.Time       `json:"last_used,omitzero"` // last start that was observed, UTC
	ToolsVersion string          `json:"tools_version,omitempty"`
	ToolsState   string          `json:"tools_state,omitempty"` // as the tool said it
	CPU          string          `json:"cpu,omitempty"`         // guest architecture
	ConfigHash   string          `json:"config_hash,omitempty"` // of the normalized configuration
	Stale        Code            `json:"stale,omitempty"`       // why this is the last known row and not a fresh one
	SeenAt       time.Time       `json:"seen_at,omitzero"`      // set on stale rows: when it was last seen
	Gaps         map[string]Code `json:"gaps,omitempty"`        // column id -> why it is empty, or a remark on its value
}

// Host is the Mac.
type Host struct {
	ComputerName string `json:"computer_name,omitempty"`
	Serial       string `json:"serial"`
	HardwareUUID string `json:"hardware_uuid,omitempty"`
	Model        string `json:"model,omitempty"`
	MacOS        string `json:"macos,omitempty"`
	MacOSBuild   string `json:"macos_build,omitempty"`
	CPU          string `json:"cpu,omitempty"` // Intel or Arm
	ConsoleUser  string `json:"console_user,omitempty"`
}

// Product is the Parallels Desktop installation.
type Product struct {
	Installed bool            `json:"installed"`
	Version   string          `json:"version,omitempty"` // 26.4.0
	Build     string          `json:"build,omitempty"`   // 57513
	Edition   string          `json:"edition,omitempty"`
	State     string          `json:"state,omitempty"`   // one of the Product words
	License   string          `json:"license,omitempty"` // masked by the tool: only its first and last group
	Gaps      map[string]Code `json:"gaps,omitempty"`    // column id -> why it is empty
}

// UserLook says how listing one account's VMs went.
type UserLook struct {
	Name  string    `json:"user_name"`
	UID   uint32    `json:"uid"`
	Code  Code      `json:"code,omitempty"` // why the account could not be listed; empty = it was
	At    time.Time `json:"at,omitzero"`    // last time it was listed
	Count int       `json:"vms"`
}

// Row is one line of the guide's table: a VM joined with its Mac and with
// what the portal knows. Both prlagent and prlportal print it by Columns.
type Row struct {
	VM
	Host           Host
	Product        Product
	Status         string
	LastCommand    string
	LastReportedAt time.Time
	Extra          RowExtra
}

// RowExtra is what our table has beside the guide's twenty columns.
type RowExtra struct {
	Group             string    `json:"group,omitempty"`
	GroupSource       string    `json:"group_source,omitempty"`
	PolicyRevision    uint64    `json:"policy_revision,omitempty"`
	PolicyState       string    `json:"policy_state,omitempty"`
	LastCommandDetail string    `json:"last_command_detail,omitempty"`
	AgentVersion      string    `json:"agent_version,omitempty"`
	FirstSeenAt       time.Time `json:"first_seen,omitzero"`
	DeviceID          string    `json:"device_id,omitempty"`
}

// StatusOf derives the VM status column: the product's state decides, a failed
// delete wins (protocol.md 2.9).
func StatusOf(product Product, deleteFailed bool) string {
	switch {
	case deleteFailed:
		return StatusDeleteFailed
	case product.State == ProductDeactivated:
		return StatusDeactivated
	case product.State == "":
		return ""
	}
	return StatusActive
}
