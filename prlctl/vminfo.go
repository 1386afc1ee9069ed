package prlctl

import "strings"

// VMInfo is what we read of a bundle's VmInfo.pvi, which the VM's process
// writes with what Parallels Tools report (facts/prlctl.md 2.9 and 6). It is
// missing until the guest has run with its tools. All of it is the guest's
// word.
type VMInfo struct {
	RealOSType            string
	RealOSVersion         string // for example "Windows 11 Pro, Version 22H2"
	OSKernelVersion       string // for example "10.0.22621"
	UEFIPlatformKeySHA256 string // Tools 26.3.3 and later
}

// infoElement is an element of VmInfo.pvi that is read, wherever it stands: the
// file's outer elements are not known.
type infoElement struct {
	parent string // empty: any
	set    func(*VMInfo, string)
}

var infoElements = map[string]infoElement{
	"RealOsType":            {"GuestOsInformation", func(i *VMInfo, text string) { i.RealOSType = text }},
	"RealOsVersion":         {"GuestOsInformation", func(i *VMInfo, text string) { i.RealOSVersion = text }},
	"OsKernelVersion":       {"GuestOsInformation", func(i *VMInfo, text string) { i.OSKernelVersion = text }},
	"UefiPlatformKeySha256": {"", func(i *VMInfo, text string) { i.UEFIPlatformKeySHA256 = text }},
}

// ReadVMInfo reads the bytes of a VmInfo.pvi. Errors are as of ReadConfigPVS.
func ReadVMInfo(data []byte) (VMInfo, error) {
	var info VMInfo
	err := readXML(data, func(path []string) (string, func(string)) {
		name := path[len(path)-1]
		element, known := infoElements[name]
		if !known || element.parent != "" && (len(path) < 2 || path[len(path)-2] != element.parent) {
			return "", nil
		}
		return name, func(text string) { element.set(&info, text) }
	})
	if err != nil {
		return VMInfo{}, err
	}
	return info, nil
}

// GuestOS is a guest's system in the columns of the inventory.
type GuestOS struct {
	Name    string // "Windows 11"; of other systems the whole text
	Edition string // "Pro"; Windows only
	Version string // "22H2"
	Build   string // "22621" on Windows; of other systems the kernel's version
}

// Guest takes RealOSVersion and OSKernelVersion apart. The form "Windows 11
// Pro, Version 22H2" and kernel 10.0.22621 are confirmed (facts/prlctl.md
// 2.9); other systems' texts are not, and are passed through whole.
func (i VMInfo) Guest() GuestOS {
	text := strings.TrimRight(strings.TrimSpace(i.RealOSVersion), ", ")
	text, version, _ := strings.Cut(text, ", Version ")
	name, edition := splitEdition(text)
	return GuestOS{
		Name:    name,
		Edition: edition,
		Version: version,
		Build:   osBuild(i.OSKernelVersion, strings.HasPrefix(name, "Windows")),
	}
}

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
