package prlctl

import "strings"

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
	OSKernelVersion string // absent in 15 and 16, empty in 27.0.2's template
	DisplayVersion  string // 27; its form was not seen
	DeviceName      string // 27; the guest's own name
	SerialNumber    string // 27; its form was not seen
	BitLockerStatus string // 27; its form was not seen

	UEFIPlatformKeySHA256 string // Tools 26.3.3 and later
}

// guestSection is the element in which all stands that is read, wherever it is
// itself.
const guestSection = "GuestOsInformation"

// field is where the text of an element of it belongs, for fillField; nil if it is
// not read.
func (i *VMInfo) field(element string) any {
	switch element {
	case "RealOsType":
		return &i.RealOSType
	case "RealOsTypeId":
		return &i.RealOSTypeID
	case "RealOsVersion":
		return &i.RealOSVersion
	case "RealOsDetails":
		return &i.RealOSDetails
	case "OsKernelVersion":
		return &i.OSKernelVersion
	case "DisplayVersion":
		return &i.DisplayVersion
	case "DeviceName":
		return &i.DeviceName
	case "SerialNumber":
		return &i.SerialNumber
	case "BitLockerStatus":
		return &i.BitLockerStatus
	case "UefiPlatformKeySha256":
		return &i.UEFIPlatformKeySHA256
	}
	return nil
}

// unknownGuest is the RealOsTypeId of a guest that never told what it is.
const unknownGuest = 255

// ReadVMInfo reads the bytes of a VmInfo.pvi. The word "unknown" reads as
// nothing, and so does all of a guest that never told what it is. Errors are as
// of ReadConfigPVS.
func ReadVMInfo(data []byte) (*VMInfo, error) {
	info := new(VMInfo)
	err := readXML(data, func(path []string) (string, func(string)) {
		name := path[len(path)-1]
		field := info.field(name)
		if field == nil || len(path) < 2 || path[len(path)-2] != guestSection {
			return "", nil
		}
		return name, func(text string) {
			if !strings.EqualFold(text, "unknown") {
				fillField(field, text)
			}
		}
	})
	switch {
	case err != nil:
		return nil, err
	case info.RealOSTypeID == unknownGuest:
		return &VMInfo{RealOSTypeID: unknownGuest, UEFIPlatformKeySHA256: info.UEFIPlatformKeySHA256}, nil
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
// has only numbers, and the name is the list's. What other systems have there
// was not seen: a text that is no version is taken for a name as it is.
func (i *VMInfo) Guest() GuestOS {
	guest := GuestOS{
		Version: i.DisplayVersion, DeviceName: i.DeviceName, SerialNumber: i.SerialNumber, BitLockerStatus: i.BitLockerStatus,
	}
	if i.isWindows() {
		guest.Build, guest.Edition = windowsBuild(i.RealOSVersion), windowsEdition(i.RealOSDetails)
		return guest
	}
	text := strings.TrimRight(strings.TrimSpace(i.RealOSVersion), ", ")
	guest.Build = strings.TrimSpace(i.OSKernelVersion)
	switch {
	case !IsVersionText(text):
		guest.Name = text
	case guest.Build == "":
		guest.Build = text
	}
	return guest
}

// isWindows reports whether the guest says that it is Windows: by the number of
// its type, or where that says nothing by the type's text, or else by its
// version: the comma before a service pack, or the name.
func (i *VMInfo) isWindows() bool {
	switch {
	case i.RealOSTypeID != 0:
		return i.RealOSTypeID == windowsType
	case i.RealOSType != "":
		return strings.HasPrefix(i.RealOSType, "Microsoft Windows")
	}
	return windowsBuild(i.RealOSVersion) != "" && strings.Contains(i.RealOSVersion, ",") || strings.Contains(i.RealOSVersion, "Windows")
}

// windowsType is the RealOsTypeId of Windows (facts/captures.md 2, 4.4).
const windowsType = 8

// windowsBuild is the third number of a version such as "10.0.22631, "; empty if
// the text has another form. OsKernelVersion is no help, since no real file had
// it filled for Windows (facts/captures.md 2).
func windowsBuild(text string) string {
	version, _, _ := strings.Cut(text, ",")
	numbers := strings.Split(strings.TrimSpace(version), ".")
	for _, number := range numbers {
		if number == "" || strings.Trim(number, "0123456789") != "" {
			return ""
		}
	}
	if len(numbers) < 3 {
		return ""
	}
	return numbers[2]
}

// windowsEdition is the edition that RealOsDetails name; empty for none, and for
// a number that is not in the table.
func windowsEdition(details string) string {
	for field := range strings.SplitSeq(details, ";") {
		name, value, _ := strings.Cut(field, ":")
		if strings.TrimSpace(name) == "ProductEdition" {
			return windowsEditionOf(readNumber(strings.TrimSpace(value)))
		}
	}
	return ""
}

// IsVersionText reports whether a text of a guest is a version and no name.
func IsVersionText(text string) bool { return text != "" && text[0] >= '0' && text[0] <= '9' }
