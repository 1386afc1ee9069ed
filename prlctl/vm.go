package prlctl

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"path"
	"sort"
	"strconv"
	"strings"
	"time"
)

// VM is one virtual machine as `prlctl list -i --json` describes it (facts/
// prlctl.md 2.2). The typed fields are what inventory and enforcement need; an
// absent key leaves a field at its zero value. Raw holds everything.
type VM struct {
	ID           string        // lower case, no braces
	Name         string        // the user's text, unchecked
	Description  string        // the user's text, unchecked
	Type         string        // VM or APPLE_VZ_VM
	State        State         // the tool's word
	OS           string        // distribution id, for example win-11, ubuntu, macosx
	Template     Switch        // it is a template
	Uptime       time.Duration // sum of all runs since the counter was reset
	HomePath     string        // config.pvs, or the bundle itself when packed or invalid
	Home         string        // the bundle with a trailing slash; may be empty in the bulk list
	GuestTools   GuestTools
	Security     Security
	CPUType      string // of the guest: x86 or arm; versions before 18 do not say
	BIOSType     string // legacy, efi32, efi64 or efi-arm64
	SerialNumber string // SMBIOS serial number, empty unless it was overridden
	Disks        []Disk // hard disks in the order of their names
	// Adapters are the network adapters in the order of their numbers.
	Adapters []Adapter

	// Raw is the whole object in canonical text: no blanks between tokens, no
	// needless escapes, no raw control bytes. Keys keep their order.
	Raw json.RawMessage

	configHash  string
	uptimeShown bool
}

// GuestTools is what is known of Parallels Tools in the guest.
type GuestTools struct {
	State   string // installed, possibly_installed (not running), not_installed, outdated
	Version string // for example 26.4.0-57513; see ParseVersion
}

// Security is the section of that name.
type Security struct {
	Encrypted      Switch
	TPMEnabled     Switch
	TPMType        string // off or crb
	CustomPassword Switch // a custom password protects the configuration
	Locked         Switch // the configuration is locked
	Protected      Switch // the machine expires
	Archived       Switch
	Packed         Switch // not reported before version 20
}

// Disk is one hard disk.
type Disk struct {
	Name    string // hdd0, hdd1, …
	Image   string // path of the image
	Enabled Switch
}

// Adapter is one network adapter. The words are the tool's, which has several
// spellings for some (facts/acting.md 1).
type Adapter struct {
	Name    string // net0, net1, …: what the tool takes in --device-set
	Type    string // shared, bridged, host or host-only
	Iface   string // of a bridged one; empty or default for the Mac's default adapter
	State   string // disconnected, or connected; not said where it is connected
	Enabled Switch
}

// Guest systems and kinds of machines that are treated apart.
const (
	osMacOS     = "macosx"
	typeAppleVZ = "APPLE_VZ_VM"
)

// ShowsUptime reports whether the tool showed Uptime as a number, so that zero is
// its word: not every list shows every key.
func (v *VM) ShowsUptime() bool { return v.uptimeShown }

// MacOSGuest reports whether the guest is macOS, on Apple silicon or Intel.
func (v *VM) MacOSGuest() bool {
	return v.OS == osMacOS || v.Type == typeAppleVZ
}

// WindowsGuest reports whether the guest is configured as a Windows.
func (v *VM) WindowsGuest() bool { return strings.HasPrefix(v.OS, "win") }

// Architecture returns x86 or arm: the processor's type, or else what the BIOS
// type tells of it, for versions that do not show the processor's. It is empty where
// the tool shows neither.
func (v *VM) Architecture() string {
	if v.CPUType != "" {
		return strings.ToLower(v.CPUType)
	}
	switch strings.ToLower(v.BIOSType) {
	case "efi-arm64":
		return "arm"
	case "efi64", "efi32", "legacy":
		return "x86"
	}
	return ""
}

// Bundle returns the path of the bundle without a trailing slash, from Home or
// else from HomePath; empty if neither is an absolute path. It is the user's
// text and nothing to open without care.
func (v *VM) Bundle() string {
	home := v.Home
	if home == "" {
		home = strings.TrimSuffix(v.HomePath, "/config.pvs")
	}
	if !path.IsAbs(home) {
		return ""
	}
	return path.Clean(home)
}

// Serial returns the serial number that the guest sees: the overridden one if
// there is one, else `Parallels-` and the 16 bytes of the ID in written order.
// The derivation is inferred from dumps of Intel guests (facts/prlctl.md 2.9).
// It is empty for macOS guests, whose serial number the host does not show.
func (v *VM) Serial() string {
	if v.SerialNumber != "" {
		return v.SerialNumber
	}
	digits := strings.ToUpper(strings.ReplaceAll(v.ID, "-", ""))
	if v.MacOSGuest() || len(digits) != 32 {
		return ""
	}
	var serial strings.Builder
	serial.WriteString("Parallels-")
	for i := 0; i < len(digits); i += 2 {
		if i > 0 {
			serial.WriteByte(' ')
		}
		serial.WriteString(digits[i : i+2])
	}
	return serial.String()
}

// MarshalJSON returns Raw; null for a VM that was not read from a tool.
func (v VM) MarshalJSON() ([]byte, error) { return v.Raw.MarshalJSON() }

// UnmarshalJSON reads one object of the tool as List does. An object that List
// would call Unreadable is an *Error with that code. null changes nothing.
func (v *VM) UnmarshalJSON(data []byte) error {
	if bytes.Equal(bytes.TrimSpace(data), []byte("null")) {
		return nil
	}
	doc := document{source: data}
	root, err := doc.readValue()
	if err != nil {
		return outputError(err)
	}
	vm, broken := readVM(root)
	if broken != nil {
		return &Error{Code: broken.Code}
	}
	*v = *vm
	return nil
}

// readVM reads one object of a listing, or says why it cannot be trusted.
func readVM(root element) (*VM, *Unreadable) {
	id, code := readID(root)
	if code != "" {
		return nil, &Unreadable{Code: code}
	}
	if root.doc.repeated {
		return nil, &Unreadable{ID: id, Code: CodeDuplicateKey}
	}
	for _, key := range []string{"Name", "State", "Home", "Home path"} {
		if root.field(key).isNotText() {
			return nil, &Unreadable{ID: id, Code: CodeWrongType}
		}
	}
	uptime, uptimeShown := uptimeOf(root.field("Uptime"))
	return &VM{
		ID:           id,
		Name:         root.field("Name").text(),
		Description:  root.field("Description").text(),
		Type:         root.field("Type").text(),
		State:        State(root.field("State").text()),
		OS:           root.field("OS").text(),
		Template:     root.field("Template").switchValue(),
		Uptime:       uptime,
		uptimeShown:  uptimeShown,
		HomePath:     root.field("Home path").text(),
		Home:         root.field("Home").text(),
		GuestTools:   readGuestTools(root.field("GuestTools")),
		Security:     readSecurity(sectionOf(root, "Security")),
		CPUType:      root.at("Hardware", "cpu", "type").text(),
		BIOSType:     root.field("BIOS type").text(),
		SerialNumber: strings.TrimSpace(root.at("SMBIOS settings", "System serial number").text()),
		Disks:        readDisks(root.field("Hardware")),
		Adapters:     readAdapters(root.field("Hardware")),
		Raw:          bytes.Clone(root.raw()),
		configHash:   configHash(root),
	}, nil
}

// readID finds the ID, or the code of what is wrong with it.
func readID(root element) (id, code string) {
	if root.node().kind != kindObject {
		return "", CodeWrongType
	}
	field := root.field("ID")
	switch {
	case field.isNotText():
		return "", CodeWrongType
	case field.text() == "":
		return "", CodeNoID
	case !root.hasOnce("ID"):
		return "", CodeDuplicateKey
	}
	id, err := ParseID(field.text())
	if err != nil {
		return "", CodeInvalidVMID
	}
	return id, ""
}

func readGuestTools(section element) GuestTools {
	return GuestTools{State: section.field("state").text(), Version: section.field("version").text()}
}

// sectionOf is a section of the description. Up to version 15 there are none, and
// their keys stand in the description itself (facts/captures.md 4.5).
func sectionOf(root element, name string) element {
	if section := root.field(name); section.exists() {
		return section
	}
	return root
}

func readSecurity(section element) Security {
	return Security{
		Encrypted:      section.field("Encrypted").switchValue(),
		TPMEnabled:     section.field("TPM enabled").switchValue(),
		TPMType:        section.field("TPM type").text(),
		CustomPassword: section.field("Custom password protection").switchValue(),
		Locked:         section.field("Configuration is locked").switchValue(),
		Protected:      section.field("Protected").switchValue(),
		Archived:       section.field("Archived").switchValue(),
		Packed:         section.field("Packed").switchValue(),
	}
}

func readDisks(hardware element) []Disk {
	var disks []Disk
	for _, member := range hardware.fields() {
		name := string(hardware.doc.key(member))
		device := element{hardware.doc, member}
		if !strings.HasPrefix(name, "hdd") || device.node().kind != kindObject {
			continue
		}
		disks = append(disks, Disk{
			Name:    name,
			Image:   device.field("image").text(),
			Enabled: device.field("enabled").switchValue(),
		})
	}
	return disks
}

func readAdapters(hardware element) []Adapter {
	var adapters []Adapter
	for _, member := range hardware.fields() {
		name := string(hardware.doc.key(member))
		device := element{hardware.doc, member}
		if !isAdapterName(name) || device.node().kind != kindObject {
			continue
		}
		adapters = append(adapters, Adapter{
			Name:    name,
			Type:    device.field("type").text(),
			Iface:   device.field("iface").text(),
			State:   device.field("state").text(),
			Enabled: device.field("enabled").switchValue(),
		})
	}
	sort.SliceStable(adapters, func(i, j int) bool { // net10 is after net9
		return cmp.Or(cmp.Compare(len(adapters[i].Name), len(adapters[j].Name)), cmp.Compare(adapters[i].Name, adapters[j].Name)) < 0
	})
	return adapters
}

// isAdapterName reports whether the tool can be told to set the device of this
// name as a network adapter.
func isAdapterName(name string) bool {
	number, is := strings.CutPrefix(name, "net")
	return is && number != "" && len(number) <= 3 && strings.Trim(number, "0123456789") == ""
}

// uptimeOf turns a counter into a duration. What is none, or can be none, is 0
// and not shown.
func uptimeOf(counter element) (uptime time.Duration, shown bool) {
	const most = 100 * 365 * 24 * 60 * 60
	count, err := strconv.ParseInt(strings.TrimSpace(counter.textOrLiteral()), 10, 64)
	if err != nil || count < 0 || count > most {
		return 0, false
	}
	return time.Duration(count) * time.Second, true
}

// ParseID checks a UUID of the form 8-4-4-4-12, in any case, with or without
// braces, and returns it in lower case without braces. The error is an *Error
// with the code invalid_vm_id and does not repeat the text.
func ParseID(text string) (string, error) {
	id := text
	if inner, braced := strings.CutPrefix(id, "{"); braced {
		closed := false
		if id, closed = strings.CutSuffix(inner, "}"); !closed {
			return "", &Error{Code: CodeInvalidVMID, Err: errNoUUID}
		}
	}
	const form = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
	if len(id) != len(form) {
		return "", &Error{Code: CodeInvalidVMID, Err: errNoUUID}
	}
	id = strings.ToLower(id)
	for i := range len(id) {
		if fits := form[i] == 'x' && isHex(id[i]) || form[i] == '-' && id[i] == '-'; !fits {
			return "", &Error{Code: CodeInvalidVMID, Err: errNoUUID}
		}
	}
	return id, nil
}

var errNoUUID = errors.New("not a UUID")

func isHex(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' }
