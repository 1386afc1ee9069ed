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
	Owner        string

	VMCreationDate        string // "2013-05-25 02:59:09"; its time zone is not known
	VMUptimeStartDateTime string // same form: when the uptime counter was reset

	SerialNumber    string // empty unless it was overridden
	AssetID         string
	SourceOSVersion string
	OSType          int // family; the numbers are not documented
	OSNumber        int // release; the numbers are not documented

	ToolsVersion       string
	IsolatedVM         Switch
	LockGuestOnSuspend Switch
	AutoUpdate         Switch // of Parallels Tools
	VMEncryptionInfo   VMEncryptionInfo
}

// VMEncryptionInfo is whether and by what a VM is encrypted. Its hashes and
// salt are never read.
type VMEncryptionInfo struct {
	Enabled  Switch
	PluginID string // which value means a license-based encryption is not known
}

// configRoot is the root element of config.pvs.
const configRoot = "ParallelsVirtualMachine"

// configFields are the elements below the root that are read.
var configFields = map[string]func(*ConfigPVS, string){
	"Identification/VmUuid":                func(c *ConfigPVS, text string) { c.VMUUID = fileUUID(text) },
	"Identification/SourceVmUuid":          func(c *ConfigPVS, text string) { c.SourceVMUUID = fileUUID(text) },
	"Identification/LinkedVmUuid":          func(c *ConfigPVS, text string) { c.LinkedVMUUID = fileUUID(text) },
	"Identification/VmName":                func(c *ConfigPVS, text string) { c.VMName = text },
	"Identification/VmCreationDate":        func(c *ConfigPVS, text string) { c.VMCreationDate = text },
	"Identification/VmUptimeStartDateTime": func(c *ConfigPVS, text string) { c.VMUptimeStartDateTime = text },
	"Security/Owner":                       func(c *ConfigPVS, text string) { c.Owner = text },
	"Settings/General/SerialNumber":        func(c *ConfigPVS, text string) { c.SerialNumber = text },
	"Settings/General/AssetId":             func(c *ConfigPVS, text string) { c.AssetID = text },
	"Settings/General/SourceOsVersion":     func(c *ConfigPVS, text string) { c.SourceOSVersion = text },
	"Settings/General/OsType":              func(c *ConfigPVS, text string) { c.OSType = fileNumber(text) },
	"Settings/General/OsNumber":            func(c *ConfigPVS, text string) { c.OSNumber = fileNumber(text) },
	"Settings/Tools/ToolsVersion":          func(c *ConfigPVS, text string) { c.ToolsVersion = text },
	"Settings/Tools/IsolatedVm":            func(c *ConfigPVS, text string) { c.IsolatedVM = parseSwitch(text) },
	"Settings/Tools/LockGuestOnSuspend":    func(c *ConfigPVS, text string) { c.LockGuestOnSuspend = parseSwitch(text) },
	"Settings/Tools/AutoUpdate/Enabled":    func(c *ConfigPVS, text string) { c.AutoUpdate = parseSwitch(text) },
	"Settings/VmEncryptionInfo/Enabled":    func(c *ConfigPVS, text string) { c.VMEncryptionInfo.Enabled = parseSwitch(text) },
	"Settings/VmEncryptionInfo/PluginId":   func(c *ConfigPVS, text string) { c.VMEncryptionInfo.PluginID = text },
}

// ReadConfigPVS reads the bytes of a config.pvs. Errors are *Error with one of
// the codes file_invalid, file_too_large, file_too_deep and duplicate_element;
// they hold nothing of the file (H11).
func ReadConfigPVS(data []byte) (ConfigPVS, error) {
	var config ConfigPVS
	rooted := false
	err := readXML(data, func(path []string) (string, func(string)) {
		rooted = rooted || path[0] == configRoot
		key := strings.Join(path[1:], "/")
		set, known := configFields[key]
		if !known || path[0] != configRoot {
			return "", nil
		}
		return key, func(text string) { set(&config, text) }
	})
	if err != nil {
		return ConfigPVS{}, err
	}
	if !rooted {
		return ConfigPVS{}, &Error{Code: CodeFileInvalid}
	}
	return config, nil
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
