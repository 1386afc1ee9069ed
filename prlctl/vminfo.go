package prlctl

import (
	"strings"
)

// VMInfo is what we read of a bundle's VmInfo.pvi, into which the machine's
// process writes what Parallels Tools report (facts/captures.md 2). The file is
// there from creation on, with empty elements. All of it is the guest's word;
// what the guest has not told is empty.
type VMInfo struct {
	RealOSType    string // for Windows "Microsoft Windows, 64bit, N cpu(s), page: 4096b"
	RealOSTypeID  int    // 8 is Windows; 0 if there is none
	RealOSVersion string // for Windows "10.0.22631, ", with the service pack behind the comma
	// RealOSDetails is "ServicePack: a.b; SuiteMask: 0x…; ProductType: n;
	// ProductEdition: n" for Windows.
	RealOSDetails   string
	OSKernelVersion string // absent in 15 and 16, empty in 27
	DisplayVersion  string // 27; its form was not seen
	DeviceName      string // 27; the guest's own name
	SerialNumber    string // 27; its form was not seen
	BitLockerStatus string // 27; its form was not seen

	UEFIPlatformKeySHA256 string // Tools 26.3.3 and later
}

// infoElement is an element of VmInfo.pvi that is read, wherever it stands: only
// newer versions' outer elements are known.
type infoElement struct {
	parent string // empty: any
	set    func(*VMInfo, string)
}

var infoElements = map[string]infoElement{
	"RealOsType":            {"GuestOsInformation", func(i *VMInfo, text string) { i.RealOSType = text }},
	"RealOsTypeId":          {"GuestOsInformation", func(i *VMInfo, text string) { i.RealOSTypeID = fileNumber(text) }},
	"RealOsVersion":         {"GuestOsInformation", func(i *VMInfo, text string) { i.RealOSVersion = text }},
	"RealOsDetails":         {"GuestOsInformation", func(i *VMInfo, text string) { i.RealOSDetails = text }},
	"OsKernelVersion":       {"GuestOsInformation", func(i *VMInfo, text string) { i.OSKernelVersion = text }},
	"DisplayVersion":        {"GuestOsInformation", func(i *VMInfo, text string) { i.DisplayVersion = text }},
	"DeviceName":            {"GuestOsInformation", func(i *VMInfo, text string) { i.DeviceName = text }},
	"SerialNumber":          {"GuestOsInformation", func(i *VMInfo, text string) { i.SerialNumber = text }},
	"BitLockerStatus":       {"GuestOsInformation", func(i *VMInfo, text string) { i.BitLockerStatus = text }},
	"UefiPlatformKeySha256": {"", func(i *VMInfo, text string) { i.UEFIPlatformKeySHA256 = text }},
}

// unknownGuest is the RealOsTypeId of a guest that never told what it is.
const unknownGuest = 255

// ReadVMInfo reads the bytes of a VmInfo.pvi. The word "unknown" reads as
// nothing, and so does all of a guest that never told what it is. Errors are as
// of ReadConfigPVS.
func ReadVMInfo(data []byte) (VMInfo, error) {
	var info VMInfo
	err := readXML(data, func(path []string) (string, func(string)) {
		name := path[len(path)-1]
		element, known := infoElements[name]
		if !known || element.parent != "" && (len(path) < 2 || path[len(path)-2] != element.parent) {
			return "", nil
		}
		return name, func(text string) {
			if !strings.EqualFold(text, "unknown") {
				element.set(&info, text)
			}
		}
	})
	switch {
	case err != nil:
		return VMInfo{}, err
	case info.RealOSTypeID == unknownGuest:
		return VMInfo{RealOSTypeID: unknownGuest, UEFIPlatformKeySHA256: info.UEFIPlatformKeySHA256}, nil
	}
	return info, nil
}

// GuestOS is a guest's system in the columns of the inventory, and what else it
// told of itself.
type GuestOS struct {
	Name    string // "Ubuntu 24.04.1 LTS"; empty where the file has only numbers, as for Windows
	Edition string // "Pro"; Windows only
	Version string // "22H2"
	Build   string // "22631" on Windows; of other systems the kernel's version

	DeviceName      string // the guest's own name
	SerialNumber    string
	BitLockerStatus string
}

// Guest takes the file's texts apart. A version is no name: for Windows the file
// has only numbers, and the name is the list's. A text that is a name was seen
// in no real file; it is taken as it is.
func (i VMInfo) Guest() GuestOS {
	guest := GuestOS{
		Version: i.DisplayVersion, DeviceName: i.DeviceName, SerialNumber: i.SerialNumber, BitLockerStatus: i.BitLockerStatus,
	}
	text := strings.TrimRight(strings.TrimSpace(i.RealOSVersion), ", ")
	if IsVersionText(text) {
		version, _, _ := strings.Cut(text, ",")
		guest.Build = i.buildOf(version)
		guest.Edition = windowsEdition(i.RealOSDetails)
		return guest
	}
	text, version, _ := strings.Cut(text, ", Version ")
	guest.Name, guest.Edition = splitEdition(text)
	if guest.Version == "" {
		guest.Version = version
	}
	if edition := windowsEdition(i.RealOSDetails); edition != "" {
		guest.Edition = edition
	}
	guest.Build = osBuild(i.OSKernelVersion, strings.HasPrefix(guest.Name, "Windows"))
	return guest
}

// isWindows reports whether the guest says that it is Windows, by any of its
// marks: the text of the type, its number, or the comma before the service pack.
func (i VMInfo) isWindows() bool {
	return i.RealOSTypeID == windowsType || strings.HasPrefix(i.RealOSType, "Microsoft Windows") || strings.Contains(i.RealOSVersion, ",")
}

// windowsType is the RealOsTypeId of Windows (facts/captures.md 2, 4.4).
const windowsType = 8

// buildOf is the build of a version that consists of numbers: on Windows the
// third one. What other systems have there was not seen; the kernel's version
// comes first.
func (i VMInfo) buildOf(version string) string {
	version = strings.TrimSpace(version)
	if !i.isWindows() {
		if kernel := strings.TrimSpace(i.OSKernelVersion); kernel != "" {
			return kernel
		}
		return version
	}
	if numbers := strings.Split(version, "."); len(numbers) > 2 {
		return numbers[2]
	}
	return osBuild(i.OSKernelVersion, true)
}

// windowsEdition is the edition that RealOsDetails name; empty for none, and for
// a number that is not in the table.
func windowsEdition(details string) string {
	for field := range strings.SplitSeq(details, ";") {
		name, value, _ := strings.Cut(field, ":")
		if strings.TrimSpace(name) == "ProductEdition" {
			return windowsEditions[fileNumber(strings.TrimSpace(value))]
		}
	}
	return ""
}

// IsVersionText reports whether a text of a guest is a version and no name.
func IsVersionText(text string) bool { return text != "" && text[0] >= '0' && text[0] <= '9' }

// splitEdition cuts "Windows 11 Pro" behind the release's name.
func splitEdition(text string) (name, edition string) {
	words := strings.Fields(strings.TrimPrefix(text, "Microsoft "))
	if len(words) < 2 || words[0] != "Windows" {
		return text, ""
	}
	length := 2
	if words[1] == "Server" {
		length = min(3, len(words))
	}
	if length < len(words) && words[length] == "R2" {
		length++
	}
	return strings.Join(words[:length], " "), strings.Join(words[length:], " ")
}

// osBuild returns what follows major and minor version of a Windows kernel.
func osBuild(kernel string, windows bool) string {
	kernel = strings.TrimSpace(kernel)
	parts := strings.SplitN(kernel, ".", 3)
	if !windows || len(parts) < 3 {
		return kernel
	}
	return parts[2]
}
