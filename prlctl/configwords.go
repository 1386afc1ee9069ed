package prlctl

import (
	"strconv"
	"strings"
)

// The numbers of config.pvs in words: those of prlctl where it has one. They are
// from the code of a viewer of problem reports whose author works in Parallels'
// support; some were seen in captures (facts/captures.md 4.4).

// configWord is a setting that the file writes as a number.
type configWord struct {
	within string // section below the root; where in it the element stands was not always seen
	field  func(*ConfigPVS) *string
	words  map[string]string
}

// configWords are those settings by the name of their element.
var configWords = map[string]configWord{
	"VmType": {"Identification", func(c *ConfigPVS) *string { return &c.Kind },
		map[string]string{"0": "", "2": "macvm"}},
	"AutoStart": {"Settings/Startup", func(c *ConfigPVS) *string { return &c.AutoStart },
		map[string]string{"0": "off", "1": "start-host", "3": "start-app", "4": "open-window", "5": "user-login"}},
	"WindowMode": {"Settings/Startup", func(c *ConfigPVS) *string { return &c.WindowMode },
		map[string]string{"0": "same", "1": "window", "2": "fullscreen", "3": "coherence", "4": "modality", "5": "headless"}},
	"OnVmWindowClose": {"Settings/Shutdown", func(c *ConfigPVS) *string { return &c.OnVMWindowClose },
		map[string]string{"0": "stop", "1": "suspend", "2": "ask", "4": "shutdown", "5": "keep-running"}},
	"AutoStop": {"Settings/Shutdown", func(c *ConfigPVS) *string { return &c.AutoStop },
		map[string]string{"0": "stop", "1": "suspend", "2": "shutdown"}},
	"ActionOnStop": {"Settings", func(c *ConfigPVS) *string { return &c.ActionOnStop },
		map[string]string{"0": "window", "1": "close", "3": "quit"}},
	"HypervisorType": {"Settings", func(c *ConfigPVS) *string { return &c.Hypervisor },
		map[string]string{"0": "parallels", "1": "apple"}},
	"ScaleViewMode": {"Settings", func(c *ConfigPVS) *string { return &c.ScaleViewMode },
		map[string]string{"0": "off", "1": "auto", "2": "keep-ratio", "3": "stretch"}},
	"UndoDisks": {"Settings", func(c *ConfigPVS) *string { return &c.UndoDisks },
		map[string]string{"1": "on"}}, // rollback; the number of ask was not seen
	"Enter": {"Settings/TravelOptions", func(c *ConfigPVS) *string { return &c.TravelEnter },
		map[string]string{"0": "never", "1": "on-battery", "2": "below-threshold"}},
	"Quit": {"Settings/TravelOptions", func(c *ConfigPVS) *string { return &c.TravelQuit },
		map[string]string{"0": "never"}},
	"EfiEnabled": {"Settings", func(c *ConfigPVS) *string { return &c.Firmware },
		map[string]string{"1": "efi", "5": "efi-arm64"}},
}

// networkModes are the numbers of EmulatedType, and networkCards those of
// AdapterType.
var (
	networkModes = map[string]string{"1": "shared", "2": "bridged"}
	networkCards = map[string]string{"0": "legacy", "1": "rtl8029", "2": "e1000", "3": "virtio", "4": "82574l"}
)

// configWordAt is the setting that the element at this path below the root has.
func configWordAt(path []string) (configWord, bool) {
	setting, known := configWords[path[len(path)-1]]
	return setting, known && strings.HasPrefix(strings.Join(path, "/"), setting.within+"/")
}

// wordOf is the word for a number of the file. A number that is in no table is
// its own word; what is no number is nothing.
func wordOf(words map[string]string, text string) string {
	if word, known := words[text]; known {
		return word
	}
	if number, err := strconv.ParseInt(text, 10, 32); err == nil {
		return strconv.FormatInt(number, 10)
	}
	return ""
}
