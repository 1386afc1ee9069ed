package sim

import (
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
)

// element is one XML element of a bundle's files: either text or children.
type element struct {
	Name     string
	Text     string
	Children []element
}

func text(name, value string) element             { return element{Name: name, Text: value} }
func group(name string, inner ...element) element { return element{Name: name, Children: inner} }

// encodeXML renders an element tree with the XML header.
func encodeXML(root element) []byte {
	var out strings.Builder
	out.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n")
	writeElement(&out, root, "")
	return []byte(out.String())
}

func writeElement(out *strings.Builder, e element, indent string) {
	fmt.Fprintf(out, "%s<%s>", indent, e.Name)
	if len(e.Children) > 0 {
		out.WriteString("\n")
		for _, child := range e.Children {
			writeElement(out, child, indent+"   ")
		}
		out.WriteString(indent)
	}
	// A strings.Builder does not fail.
	_ = xml.EscapeText(out, []byte(e.Text))
	fmt.Fprintf(out, "</%s>\n", e.Name)
}

// writeBundle renders the VM's folder from the state (facts/prlctl.md 6 and 8).
func (m Mac) writeBundle(state *State, vm *VM) error {
	if vm.State == "invalid" { // the bundle is missing or damaged, facts/prlctl.md 2.3
		return nil
	}
	system, err := guestSystem(vm.OS)
	if err != nil {
		return err
	}
	files := map[string][]byte{"config.pvs": encodeXML(state.configuration(vm, system))}
	if vm.Started && vm.Tools != "none" {
		files["VmInfo.pvi"] = encodeXML(guestInformation(system))
	}
	for name, content := range files {
		if err := writeFile(m.Path(path.Join(vm.Bundle, name)), content); err != nil {
			return err
		}
	}
	return m.writeDummies(vm)
}

// writeDummies makes the files that only have to exist.
func (m Mac) writeDummies(vm *VM) error {
	names := []string{"NVRAM.dat"}
	if vm.Apple() {
		names = []string{"aux.bin", "macid.bin", "machw.bin"}
	}
	names = append(names, "harddisk1.hdd/DiskDescriptor.xml", "harddisk1.hdd/harddisk1.hdd.0.hds")
	if vm.Started {
		names = append(names, "parallels.log")
	}
	for _, name := range names {
		file := m.Path(path.Join(vm.Bundle, name))
		if _, err := os.Lstat(file); err == nil {
			continue
		}
		if err := writeFile(file, []byte("simulated\n")); err != nil {
			return err
		}
	}
	return m.writeLockFile(vm)
}

// writeLockFile keeps vm.lock in the bundle while the VM runs
// (facts/prlctl.md 2.9).
func (m Mac) writeLockFile(vm *VM) error {
	file := m.Path(path.Join(vm.Bundle, "vm.lock"))
	if vm.active() {
		return writeFile(file, nil)
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove vm.lock: %w", err)
	}
	return nil
}

func guestInformation(system guestOS) element {
	return group("ParallelsVirtualMachineInformation",
		group("GuestOsInformation",
			text("RealOsType", system.realType),
			text("RealOsVersion", system.realName),
			text("OsKernelVersion", system.kernel)))
}

// configuration is config.pvs with the elements of facts/prlctl.md 6.
func (s *State) configuration(vm *VM, system guestOS) element {
	return group("ParallelsVirtualMachine",
		s.identification(vm),
		group("Security",
			text("AccessControlList", ""), text("LockedOperationsList", ""), text("PasswordProtectedOperations", ""),
			text("LockDownHash", ""), text("Owner", vm.Owner), text("IsOwner", "1"),
			text("AccessForOthers", digit(vm.Shared)), text("LockedSign", "0")),
		group("Settings",
			group("General", text("OsType", fmt.Sprint(system.osType)), text("OsNumber", fmt.Sprint(system.osNumber)),
				text("SourceOsVersion", ""), text("VmDescription", vm.Description), text("IsTemplate", "0"),
				text("CustomProperty", ""), text("AssetId", vm.Elements["AssetId"]), text("SerialNumber", ""),
				text("SmbiosBiosVersion", ""), text("SmbiosBoardId", "")),
			group("Startup", text("AutoStart", "0"), text("AutoStartDelay", "0"), text("VmStartLoginMode", "0"), text("WindowMode", "0")),
			group("Shutdown", text("AutoStop", "1"), text("OnVmWindowClose", "0"), text("WindowOnShutdown", "0"), text("ReclaimDiskSpace", "0")),
			toolsConfiguration(vm),
			s.encryptionConfiguration(vm),
			group("UsbController", group("ExternalDevices", text("Disks", "1"), text("HumanInterfaces", "1"), text("Communication", "1"),
				text("Audio", "1"), text("Video", "1"), text("SmartCards", "1"), text("Printers", "1"), text("SmartPhones", "1"), text("Other", "1"))),
			group("SharedCamera", text("Enabled", "1")), group("SharedCCID", text("Enabled", "0")),
			group("SharedGamepad", text("Enabled", "1")), group("LockDown", text("Hash", ""))),
		group("Hardware",
			group("NetworkAdapter", text("Enabled", "1"), text("Connected", "1"), text("AdapterType", "1"),
				text("HostInterfaceName", ""), text("MAC", vm.MAC), text("EmulatedType", "1"))))
}

func (s *State) identification(vm *VM) element {
	bundle := vm.Bundle
	return group("Identification",
		text("VmUuid", "{"+vm.ID+"}"),
		text("VmType", digit(vm.Apple())),
		text("SourceVmUuid", "{"+vm.ID+"}"),
		text("LinkedVmUuid", ""), text("LinkedSnapshotUuid", ""),
		text("VmName", vm.Name),
		text("ServerUuid", "{"+s.DispatcherID+"}"), text("LastServerUuid", "{"+s.DispatcherID+"}"),
		text("ServerHost", ""), text("VmHome", bundle+"/config.pvs"), text("VmFilesLocation", "1"),
		text("VmCreationDate", "2026-01-15 09:30:00"),
		text("VmUptimeStartDateTime", vm.StartedAt),
		text("VmUptimeInSeconds", fmt.Sprint(vm.Uptime)))
}

// element is a value of config.pvs that a flag has set, or what it is before.
func (vm *VM) element(name, before string) string {
	if value, set := vm.Elements[name]; set {
		return value
	}
	return before
}

func toolsConfiguration(vm *VM) element {
	return group("Tools",
		text("ToolsVersion", vm.ToolsBuild), text("IsolatedVm", vm.element("IsolatedVm", "0")), text("NonAdminToolsUpgrade", "1"),
		text("LockGuestOnSuspend", vm.element("LockGuestOnSuspend", "0")), text("SyncVmHostname", "0"), text("SyncSshIds", "0"),
		group("SharedFolders", group("HostSharing", text("Enabled", "1")), group("GuestSharing", text("Enabled", "0"))),
		group("SharedProfile", text("Enabled", "0")),
		group("SharedApplications", text("FromWinToMac", "1"), text("FromMacToWin", "0")),
		group("AutoUpdate", text("Enabled", vm.element("AutoUpdate", "1"))),
		group("ClipboardSync", text("Enabled", "1"), text("PreserveTextFormatting", "1")),
		group("DevelopOptions", text("ShowInMenu", "0")))
}

// encryptionConfiguration names the default plugin; which plugin stands for the
// license-based method is unknown (facts/prlctl.md 2.9).
func (s *State) encryptionConfiguration(vm *VM) element {
	plugin := ""
	switch {
	case vm.Encrypted && vm.ByLicense && s.assumes("license_plugin", "own"):
		plugin = "<simulated-license-plugin>" // invented
	case vm.Encrypted:
		plugin = "<parallels-default-plugin>"
	}
	return group("VmEncryptionInfo", text("Enabled", digit(vm.Encrypted)), text("PluginId", plugin),
		text("Hash1", ""), text("Hash2", ""), text("Salt", ""))
}

func digit(on bool) string {
	if on {
		return "1"
	}
	return "0"
}
