package prlctl

import (
	"strconv"
	"strings"
)

// ConfigPVS is what we read of a bundle's config.pvs (facts/prlctl.md 6,
// "config.pvs element map"): what `prlctl list` does not show. Absent elements
// leave zero values. UUIDs are in lower case without braces, and empty where
// the file has none, one of zeros, or something else.
type ConfigPVS struct {
	VMUUID       string
	SourceVMUUID string // the same in every copy of one image unless it was regenerated
	LinkedVMUUID string // the parent of a linked clone
	VMName       string // the user's text, unchecked

	VMCreationDate        string // "2013-05-25 02:59:09"; its time zone is not known; empty for a null date
	VMUptimeStartDateTime string // same form: the start of the uptime counter, and no start of the machine

	SerialNumber    string // empty unless it was overridden
	AssetID         string
	SourceOSVersion string
	OSType          int // family: 7 macOS, 8 Windows, 9 Linux
	OSNumber        int // release: 1795 macOS, 2063 Windows 10, 2559 another Linux

	// Settings that the file writes as numbers, in our words (see configWords);
	// a number that is in no table stays as it is written.
	Kind            string // of machine: the word for a .macvm, empty for the usual one
	AutoStart       string
	AutoStop        string
	WindowMode      string
	OnVMWindowClose string
	ActionOnStop    string
	Hypervisor      string
	ScaleViewMode   string
	UndoDisks       string
	TravelEnter     string
	TravelQuit      string
	Firmware        string

	Network []NetworkAdapter // in the order of the file

	ToolsVersion       string
	IsolatedVM         Switch
	LockGuestOnSuspend Switch
	AutoUpdate         Switch // of Parallels Tools
	GuestSharing       Switch // the guest's folders are shared to the Mac
	VMEncryptionInfo   VMEncryptionInfo
}

// NetworkAdapter is one network card of a machine.
type NetworkAdapter struct {
	Enabled   Switch
	Connected Switch
	Mode      string // EmulatedType: shared, bridged; the number of host-only is not known
	Card      string // AdapterType: virtio, e1000, …; it says nothing of the mode
}

// VMEncryptionInfo is whether and by what a VM is encrypted. Its hashes and
// salt are never read.
type VMEncryptionInfo struct {
	Enabled  Switch
	PluginID string // which value means a license-based encryption is not known
	// SecretKeySourceType is 1 while encryption is off (27.0.2). It is the best
	// lead for encryption by license, and only inferred: nothing decides by it.
	SecretKeySourceType string
	SecretKeyID         string
}

// configRoot is the root element of config.pvs.
const configRoot = "ParallelsVirtualMachine"

// field is where the text of an element below the root belongs, for fillField; nil
// if it is not read.
func (c *ConfigPVS) field(path string) any {
	switch path {
	case "Identification/VmUuid":
		return (*fileUUID)(&c.VMUUID)
	case "Identification/SourceVmUuid":
		return (*fileUUID)(&c.SourceVMUUID)
	case "Identification/LinkedVmUuid":
		return (*fileUUID)(&c.LinkedVMUUID)
	case "Identification/VmName":
		return &c.VMName
	case "Identification/VmCreationDate":
		return (*fileDate)(&c.VMCreationDate)
	case "Identification/VmUptimeStartDateTime":
		return (*fileDate)(&c.VMUptimeStartDateTime)
	case "Settings/General/SerialNumber":
		return &c.SerialNumber
	case "Settings/General/AssetId":
		return &c.AssetID
	case "Settings/General/SourceOsVersion":
		return &c.SourceOSVersion
	case "Settings/General/OsType":
		return &c.OSType
	case "Settings/General/OsNumber":
		return &c.OSNumber
	case "Settings/Tools/ToolsVersion":
		return &c.ToolsVersion
	case "Settings/Tools/IsolatedVm":
		return &c.IsolatedVM
	case "Settings/Tools/LockGuestOnSuspend":
		return &c.LockGuestOnSuspend
	case "Settings/Tools/AutoUpdate/Enabled":
		return &c.AutoUpdate
	case "Settings/Tools/SharedFolders/GuestSharing/Enabled":
		return &c.GuestSharing
	case "Settings/VmEncryptionInfo/Enabled":
		return &c.VMEncryptionInfo.Enabled
	case "Settings/VmEncryptionInfo/PluginId":
		return &c.VMEncryptionInfo.PluginID
	case "Settings/VmEncryptionInfo/SecretKeySourceType":
		return &c.VMEncryptionInfo.SecretKeySourceType
	case "Settings/VmEncryptionInfo/SecretKeyId":
		return &c.VMEncryptionInfo.SecretKeyID
	}
	return nil
}

// adapterElement is what each network card of the file is.
const adapterElement = "Hardware/NetworkAdapter"

// field is the same of an element below a network card.
func (a *NetworkAdapter) field(name string) any {
	switch name {
	case "Enabled":
		return &a.Enabled
	case "Connected":
		return &a.Connected
	case "EmulatedType":
		return numberField{&a.Mode, networkModes}
	case "AdapterType":
		return numberField{&a.Card, networkCards}
	}
	return nil
}

// ReadConfigPVS reads the bytes of a config.pvs. Errors are *Error with one of
// the codes file_invalid, file_too_large, file_too_deep and duplicate_element;
// they hold nothing of the file (H11).
func ReadConfigPVS(data []byte) (*ConfigPVS, error) {
	reader := configReader{}
	err := readXML(data, reader.element)
	if err != nil {
		return nil, err
	}
	if !reader.rooted {
		return nil, &Error{Code: CodeFileInvalid}
	}
	return &reader.config, nil
}

// configReader is one reading of a config.pvs.
type configReader struct {
	config ConfigPVS
	rooted bool
}

// maxAdapters caps the network cards that are read; a real machine has at most
// 16.
const maxAdapters = 64

// maxConfigDepth is deeper than any element that is read.
const maxConfigDepth = 12

// element is the reader's elementFilter.
func (r *configReader) element(path []string) (string, func(string)) {
	if path[0] != configRoot {
		return "", nil
	}
	r.rooted = true
	if len(path) > maxConfigDepth {
		return "", nil
	}
	key := strings.Join(path[1:], "/")
	if field := r.config.field(key); field != nil {
		return key, func(text string) { fillField(field, text) }
	}
	if len(path) == 1 {
		return "", nil
	}
	if setting := configWordAt(path[1:]); setting != nil {
		return key, func(text string) { *setting.field(&r.config) = setting.words.of(text) }
	}
	return r.adapter(key)
}

// adapter begins a network card, or reads an element of the last one.
func (r *configReader) adapter(key string) (string, func(string)) {
	if key == adapterElement && len(r.config.Network) < maxAdapters {
		r.config.Network = append(r.config.Network, NetworkAdapter{})
		return "", nil
	}
	name, below := strings.CutPrefix(key, adapterElement+"/")
	index := len(r.config.Network) - 1
	if !below || index < 0 || r.config.Network[index].field(name) == nil {
		return "", nil
	}
	return key + strconv.Itoa(index), func(text string) { fillField(r.config.Network[index].field(name), text) }
}
