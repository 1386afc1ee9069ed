package protocol

import (
	"cmp"
	"encoding/json"
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

// Bundle names a VM's folder by what neither a rename nor a reboot changes: the
// id of its volume, and its inode there (H21). Zero where it could not be looked
// at.
type Bundle struct {
	Volume string `json:"volume,omitempty"` // the volume's UUID; elsewhere than macOS the file system's own id
	// Device is st_dev, and set only where the volume has no id that lasts: the
	// numbers are given anew at each boot, so two of them say nothing of each
	// other. Agents before this one set nothing else.
	Device uint64 `json:"device,omitempty"`
	Inode  uint64 `json:"inode,omitempty"`
}

// IsOther reports whether two bundles are two folders for sure, as after one was
// restored from a copy: another inode, or another volume where both have an id
// that lasts.
func (b Bundle) IsOther(than Bundle) bool {
	if b == (Bundle{}) || than == (Bundle{}) {
		return false
	}
	return b.Inode != than.Inode || b.Volume != than.Volume && b.Volume != "" && than.Volume != ""
}

// VMKey tells VMs apart: the same id can be registered in two accounts (H21).
type VMKey struct {
	ID  string `json:"vm_id"`
	UID uint32 `json:"uid"` // of the owner; 0 in what was kept or sent before keys had it
}

// String is the key in one word, for maps, stores and logs.
func (k VMKey) String() string { return fmt.Sprintf("%s/%d", k.ID, k.UID) }

// Compare orders keys by owner, then id.
func (k VMKey) Compare(other VMKey) int {
	return cmp.Or(cmp.Compare(k.UID, other.UID), cmp.Compare(k.ID, other.ID))
}

// Account is one account of the Mac. It is its uid; the name is what the
// directory called it then, for people.
type Account struct {
	UID  uint32 `json:"uid"`
	Name string `json:"user_name"`
}

// UnmarshalJSON takes a bare name as well, which is what was kept and sent
// before, and what RowJSON writes: its uid is 0.
func (a *Account) UnmarshalJSON(data []byte) error {
	*a = Account{}
	if json.Unmarshal(data, &a.Name) == nil {
		return nil
	}
	type account Account
	return json.Unmarshal(data, (*account)(a))
}

// VM is what the agent observed of one virtual machine. Empty cells of the
// table have their reason in Gaps.
type VM struct {
	VMKey
	Owner        string          `json:"user_name"` // name of the owner's account
	Bundle       Bundle          `json:"bundle,omitzero"`
	SeenBy       []Account       `json:"seen_by,omitempty"` // other accounts that list a shared VM, by uid
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
	Code  Code      `json:"code,omitempty"` // why the account could not be listed, or what its list lacks; empty = it was
	At    time.Time `json:"at,omitzero"`    // last time it was listed
	Count int       `json:"vms"`            // virtual machines of its list
	// LeftOut is beyond Count or the report's room: machines that no row is for. Of
	// an account that nobody tries to list it is how many more such accounts are
	// not named.
	LeftOut int `json:"left_out,omitempty"`
}

// IsListed reports whether the account was listed in the look.
func (u *UserLook) IsListed() bool {
	return u.Code == "" || u.Code == CodeVMLimit || u.Code == CodeStreamLimit
}

// IsLookedAt reports whether anybody tries to list the account; of one that
// nobody does, only Name, UID, Code and LeftOut say something.
func (u *UserLook) IsLookedAt() bool {
	switch u.Code {
	case CodeAccountNotLocal, CodeAccountUIDLow, CodeAccountUIDHigh, CodeAccountHidden:
		return false
	}
	return true
}

// Who is the account in a message, with the number of what its rows lack, or of
// accounts like it.
func (u *UserLook) Who() string {
	switch {
	case u.LeftOut > 0 && !u.IsLookedAt():
		return fmt.Sprintf("%s and %d more accounts", u.Name, u.LeftOut)
	case u.LeftOut > 0:
		return fmt.Sprintf("%s, %d left out", u.Name, u.LeftOut)
	}
	return u.Name
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
