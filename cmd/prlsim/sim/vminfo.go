package sim

import "fmt"

// vmInfoElement is VmInfo.pvi: its root, attributes and element names are those
// of real files of 15.1.5, 16.5 and 27.0.2 (captures.md 2). The elements are
// empty until the Tools have reported.
func (s *State) vmInfoElement(vm *VM, system guestOS) element {
	reported := s.vmInfoOf(vm, system)
	guest := parentElement("GuestOsInformation",
		textElement("RealOsType", reported.osType), textElement("RealOsTypeId", fmt.Sprint(reported.typeID)),
		textElement("RealOsVersion", reported.version), textElement("RealOsDetails", reported.details))
	if s.Product.majorVersion() >= vmInfoDeviceSince {
		guest.Children = append(guest.Children,
			textElement("OsKernelVersion", reported.kernel), textElement("DeviceId", ""),
			textElement("DeviceName", reported.deviceName), textElement("SerialNumber", reported.serial),
			textElement("DisplayVersion", reported.displayVersion), textElement("BitLockerStatus", reported.bitLocker),
			textElement("UefiPlatformKeySha256", ""))
	}
	return element{Name: "VmInfo", Attributes: [][2]string{{"dyn_lists", ""}, {"schemaVersion", "1.0"}}, Children: []element{guest}}
}

// vmInfoDeviceSince is the first major version that writes what files of 15 and
// 16 lack and that of 27.0.2 has (captures.md 2); where in between it came is
// inferred from the key's hash, which Tools of 26.3.3 report.
const vmInfoDeviceSince = 26

// guestReport is what the Tools have told about a guest.
type guestReport struct {
	osType, version, details, kernel              string
	typeID                                        int
	deviceName, serial, displayVersion, bitLocker string
}

// neverKnown is the RealOsTypeId of a guest that was never known (captures.md 2).
const neverKnown = 255

func (s *State) vmInfoOf(vm *VM, system guestOS) guestReport {
	report := guestReport{typeID: neverKnown}
	switch {
	case !vm.Started || vm.Tools != "none" && !s.haveToolsReported(vm):
		return report
	case vm.Tools == "none":
		if s.assumes("vminfo_without_tools", "unknown") { // captures.md 2, code of 2013
			report.version = "unknown"
		}
		return report
	case system.isWindows():
		report = windowsReport(vm, system)
	case s.assumes("vminfo_other", "empty"):
		return report
	default:
		report.osType, report.typeID, report.version = system.realType, system.osType, system.realName
		if s.assumes("vminfo_other", "kernel") {
			report.version, report.kernel = system.kernel, system.kernel
		}
	}
	if s.assumes("vminfo_device", "filled") {
		report.deviceName, report.serial, report.displayVersion = "GUEST-"+vm.ID[:4], "SIM"+vm.ID[:6], system.displayVersion
		if system.isWindows() {
			report.bitLocker = "Off" // its words are not known
		}
	}
	return report
}

// windowsReport has the form of real files: a comma and a blank end the version,
// because the text of the service pack behind them is empty (captures.md 2).
func windowsReport(vm *VM, system guestOS) guestReport {
	build, edition := system.build, windowsPro
	if vm.GuestBuild != 0 {
		build = vm.GuestBuild
	}
	const workstation, server = 1, 3 // captures.md 2, inferred
	productType := workstation
	if system.server {
		productType, edition = server, windowsServerStandard
	}
	if vm.ProductEdition != 0 {
		edition = vm.ProductEdition
	}
	return guestReport{
		osType: fmt.Sprintf("Microsoft Windows, 64bit, %d cpu(s), page: 4096b", system.cpus), typeID: system.osType,
		version: fmt.Sprintf("10.0.%d, ", build),
		details: fmt.Sprintf("ServicePack: 0.0; SuiteMask: 0x100; ProductType: %d; ProductEdition: %d", productType, edition),
	}
}

// Windows' numbers of its editions: 48 is Professional, as 101 is Home (captures.md
// 2), that of the server is from Microsoft's table.
const (
	windowsPro            = 48
	windowsServerStandard = 7
)
