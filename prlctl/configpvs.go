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

// configFields are the elements below the root that are read.
var configFields = map[string]func(*ConfigPVS, string){
	"Identification/VmUuid":                func(c *ConfigPVS, text string) { c.VMUUID = fileUUID(text) },
	"Identification/SourceVmUuid":          func(c *ConfigPVS, text string) { c.SourceVMUUID = fileUUID(text) },
	"Identification/LinkedVmUuid":          func(c *ConfigPVS, text string) { c.LinkedVMUUID = fileUUID(text) },
	"Identification/VmName":                func(c *ConfigPVS, text string) { c.VMName = text },
	"Identification/VmCreationDate":        func(c *ConfigPVS, text string) { c.VMCreationDate = fileDate(text) },
	"Identification/VmUptimeStartDateTime": func(c *ConfigPVS, text string) { c.VMUptimeStartDateTime = fileDate(text) },
	"Settings/General/SerialNumber":        func(c *ConfigPVS, text string) { c.SerialNumber = text },
	"Settings/General/AssetId":             func(c *ConfigPVS, text string) { c.AssetID = text },
	"Settings/General/SourceOsVersion":     func(c *ConfigPVS, text string) { c.SourceOSVersion = text },
	"Settings/General/OsType":              func(c *ConfigPVS, text string) { c.OSType = fileNumber(text) },
	"Settings/General/OsNumber":            func(c *ConfigPVS, text string) { c.OSNumber = fileNumber(text) },
	"Settings/Tools/ToolsVersion":          func(c *ConfigPVS, text string) { c.ToolsVersion = text },
	"Settings/Tools/IsolatedVm":            func(c *ConfigPVS, text string) { c.IsolatedVM = ParseSwitch(text) },
	"Settings/Tools/LockGuestOnSuspend":    func(c *ConfigPVS, text string) { c.LockGuestOnSuspend = ParseSwitch(text) },
	"Settings/Tools/AutoUpdate/Enabled":    func(c *ConfigPVS, text string) { c.AutoUpdate = ParseSwitch(text) },
	"Settings/VmEncryptionInfo/Enabled":    func(c *ConfigPVS, text string) { c.VMEncryptionInfo.Enabled = ParseSwitch(text) },
	"Settings/VmEncryptionInfo/PluginId":   func(c *ConfigPVS, text string) { c.VMEncryptionInfo.PluginID = text },

	"Settings/Tools/SharedFolders/GuestSharing/Enabled": func(c *ConfigPVS, text string) { c.GuestSharing = ParseSwitch(text) },

	"Settings/VmEncryptionInfo/SecretKeySourceType": func(c *ConfigPVS, text string) { c.VMEncryptionInfo.SecretKeySourceType = text },
	"Settings/VmEncryptionInfo/SecretKeyId":         func(c *ConfigPVS, text string) { c.VMEncryptionInfo.SecretKeyID = text },
}

// adapterElement is what each network card of the file is.
const adapterElement = "Hardware/NetworkAdapter"

// adapterFields are the elements below a network card that are read.
var adapterFields = map[string]func(*NetworkAdapter, string){
	"Enabled":      func(a *NetworkAdapter, text string) { a.Enabled = ParseSwitch(text) },
	"Connected":    func(a *NetworkAdapter, text string) { a.Connected = ParseSwitch(text) },
	"EmulatedType": func(a *NetworkAdapter, text string) { a.Mode = wordOf(networkModes, text) },
	"AdapterType":  func(a *NetworkAdapter, text string) { a.Card = wordOf(networkCards, text) },
}

// ReadConfigPVS reads the bytes of a config.pvs. Errors are *Error with one of
// the codes file_invalid, file_too_large, file_too_deep and duplicate_element;
// they hold nothing of the file (H11).
func ReadConfigPVS(data []byte) (ConfigPVS, error) {
	reader := configReader{}
	err := readXML(data, reader.element)
	if err != nil {
		return ConfigPVS{}, err
	}
	if !reader.rooted {
		return ConfigPVS{}, &Error{Code: CodeFileInvalid}
	}
	return reader.config, nil
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
	if set, known := configFields[key]; known {
		return key, func(text string) { set(&r.config, text) }
	}
	if len(path) == 1 {
		return "", nil
	}
	if setting, known := configWordAt(path[1:]); known {
		return key, func(text string) { *setting.field(&r.config) = wordOf(setting.words, text) }
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
	set, known := adapterFields[name]
	index := len(r.config.Network) - 1
	if !below || !known || index < 0 {
		return "", nil
	}
	return key + strconv.Itoa(index), func(text string) { set(&r.config.Network[index], text) }
}

// fileDate reads a date of the file; empty for none. The tools write a date that
// was never set as one of long ago (facts/captures.md 4.4).
func fileDate(text string) string {
	for _, null := range []string{"1752-01-01", "1751-12-31"} {
		if strings.HasPrefix(text, null) {
			return ""
		}
	}
	return text
}

// fileUUID reads a UUID of the file; empty for none.
func fileUUID(text string) string {
	id, err := ParseID(text)
	if err != nil || strings.Trim(id, "0-") == "" {
		return ""
	}
	return id
}

// fileNumber reads a number of the file; 0 for none.
func fileNumber(text string) int {
	number, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0
	}
	return int(number)
}
