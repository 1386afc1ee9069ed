package replay

import (
	"maps"
	"slices"
	"strings"

	"prlagent/platform/text"
	"prlagent/prlctl"
)

// The facts of a bundle's files.

func checkInfoThere(r *reading) outcome {
	return ofMachines(r, func(m machine) outcome {
		if m.info == nil && !m.noInfo {
			return outcome{}
		}
		return agreesIf(!m.noInfo, "there is none")
	})
}

func checkInfoRoot(r *reading) outcome {
	return ofMachines(r, func(m machine) outcome {
		if m.info == nil {
			return outcome{}
		}
		root, _ := shapeXML(m.info)
		return agreesIf(root == `VmInfo dyn_lists="" schemaVersion="1.0"`, "<%s>", root)
	})
}

var (
	windowsVersion = text.Pattern(`^(\d+\.\d+\.\d+, .*|unknown|)$`)
	windowsDetails = text.Pattern(`^(ServicePack: \d+\.\d+; SuiteMask: 0x[0-9a-fA-F]+; ProductType: \d+; ProductEdition: \d+|)$`)
)

func checkWindowsVersion(r *reading) outcome {
	return ofMachines(r, func(m machine) outcome {
		if m.info == nil || !m.isWindows() {
			return outcome{}
		}
		version, _ := elementText(m.info, "RealOsVersion")
		details, _ := elementText(m.info, "RealOsDetails")
		if !windowsVersion().MatchString(version) {
			return differs("RealOsVersion %q", version)
		}
		return agreesIf(windowsDetails().MatchString(details), "RealOsDetails %q", details)
	})
}

func checkGuestSerials(r *reading) outcome {
	filled, empty := []string{}, []string{}
	for _, m := range r.machines {
		serial, there := elementText(m.info, "SerialNumber")
		switch {
		case there && serial != "":
			filled = append(filled, m.OS)
		case there:
			empty = append(empty, m.OS)
		}
	}
	if len(filled)+len(empty) == 0 {
		return outcome{}
	}
	return answers("filled for: %s; empty for: %s", strings.Join(filled, ", "), strings.Join(empty, ", "))
}

func checkOwner(r *reading) outcome {
	return ofMachines(r, func(m machine) outcome {
		owner, there := elementText(m.config, "Owner")
		if !there {
			return outcome{}
		}
		return agreesIf(owner == "", "it does")
	})
}

func checkMacVMType(r *reading) outcome {
	return ofMachines(r, func(m machine) outcome {
		kind, there := elementText(m.config, "VmType")
		if !there || !m.isMacVM() {
			return outcome{}
		}
		return agreesIf(kind == "2", "it is %s", kind)
	})
}

// checkEncryption tells what config.pvs says of each machine that is encrypted:
// which method it is shows in one of the two.
func checkEncryption(r *reading) outcome {
	var said []string
	for _, m := range r.machines {
		if m.config == nil || !m.Security.Encrypted.On() {
			continue
		}
		plugin, _ := elementText(m.config, "PluginId")
		source, _ := elementText(m.config, "SecretKeySourceType")
		said = append(said, m.Name+": PluginId "+plugin+", SecretKeySourceType "+source)
	}
	if len(said) == 0 {
		return outcome{}
	}
	return answers("%s", strings.Join(said, "; "))
}

// The facts of the help texts.

// categories are those of 26.4.1 (facts/prlctl.md 1.5).
var categories = strings.Fields("cpus memory boot video mouse keyboard printers usb bluetooth startup optimization travel security smartguard " +
	"protection modality fullscreen coherence timesync device_mgmt shared_folders shared_profiles shared_apps smart_mounts misc_sharing " +
	"advanced misc network_cond")

// flagsOf are flags that the help was seen to list, by category
// (facts/captures.md 5.1 and 5.2).
var flagsOf = map[string]string{
	"cpus":            "--cpus",
	"memory":          "--memsize",
	"misc":            "--name --description --template",
	"startup":         "--autostart --autostop --startup-view --on-window-close",
	"optimization":    "--nested-virt --hypervisor-type --resource-quota --faster-vm",
	"boot":            "--device-bootorder --bios-type --efi-secure-boot",
	"security":        "--isolate-vm --tpm --lock-edit-settings --userpasswd",
	"advanced":        "--sync-ssh-ids --rosetta-linux --sync-vm-hostname --share-host-location",
	"shared_folders":  "--shf-host --shf-host-defined --shf-host-automount --shf-guest --shf-guest-automount",
	"shared_profiles": "--shared-profile",
	"shared_apps":     "--sh-app-host-to-guest --sh-app-guest-to-host",
	"smart_mounts":    "--smart-mount",
	"misc_sharing":    "--shared-clipboard --shared-cloud",
	"usb":             "--auto-share-camera --auto-share-smart-card --auto-share-gamepad",
	"bluetooth":       "--auto-share-bluetooth",
}

// probedFlags are what the client is asked to look up.
func probedFlags() prlctl.Flags {
	flags := prlctl.Flags{HostSet: []string{"--require-pwd", "--lock-edit-settings", "--headless-mode-feature", "--verbose-log"}}
	for _, category := range categories {
		for _, name := range strings.Fields(flagsOf[category]) {
			flags.Set = append(flags.Set, prlctl.Flag{Name: name, Category: category})
		}
	}
	return flags
}

func (r *reading) categoryHelp(category string) string {
	return r.printed("prlctl", "set", category, "--help")
}

func checkCategories(r *reading) outcome {
	said := r.printed("prlctl", "set", "--help")
	if strings.TrimSpace(said) == "" {
		return outcome{}
	}
	words := strings.FieldsFunc(said, func(c rune) bool { return c != '_' && (c < 'a' || c > 'z') })
	var absent []string
	for _, category := range categories {
		if !slices.Contains(words, category) {
			absent = append(absent, category)
		}
	}
	return agreesIf(len(absent) == 0, "without %s", strings.Join(absent, ", "))
}

// checkFlags looks for each flag in the help of any category: in which one a flag
// stands is sure for few.
func checkFlags(r *reading) outcome {
	shown := make(shape)
	for _, category := range categories {
		maps.Copy(shown, shapeHelp(r.categoryHelp(category)))
	}
	if len(shown) == 0 {
		return outcome{}
	}
	var absent []string
	for _, category := range categories {
		for _, flag := range strings.Fields(flagsOf[category]) {
			if _, there := shown[flag]; !there {
				absent = append(absent, flag)
			}
		}
	}
	return agreesIf(len(absent) == 0, "absent: %s", strings.Join(absent, ", "))
}

var (
	tightChoice = text.Pattern(`<on\|off>`)
	looseChoice = text.Pattern(`<on \| off>`)
)

func checkSpacing(r *reading) outcome {
	tight, loose := 0, 0
	for _, category := range categories {
		said := r.categoryHelp(category)
		tight += len(tightChoice().FindAllString(said, -1))
		loose += len(looseChoice().FindAllString(said, -1))
	}
	if tight+loose == 0 {
		return outcome{}
	}
	return agreesIf(loose == 0, "%d with blanks, %d without", loose, tight)
}

func checkClipboard(r *reading) outcome {
	values, shown := shapeHelp(r.categoryHelp("misc_sharing"))["--shared-clipboard"]
	if !shown {
		return outcome{}
	}
	return answers("--shared-clipboard %s", values)
}
