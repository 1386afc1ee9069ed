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
	element string
	within  string // section below the root; where in it the element stands was not always seen
	field   func(*ConfigPVS) *string
	words   numberWords
}

// numberWords are the words for the numbers of a setting.
type numberWords []struct{ number, word string }

// configWords are those settings.
var configWords = []configWord{
	{"VmType", "Identification", func(c *ConfigPVS) *string { return &c.Kind },
		numberWords{{"0", ""}, {"2", "macvm"}}},
	{"AutoStart", "Settings/Startup", func(c *ConfigPVS) *string { return &c.AutoStart },
		numberWords{{"0", "off"}, {"1", "start-host"}, {"3", "start-app"}, {"4", "open-window"}, {"5", "user-login"}}},
	{"WindowMode", "Settings/Startup", func(c *ConfigPVS) *string { return &c.WindowMode },
		numberWords{{"0", "same"}, {"1", "window"}, {"2", "fullscreen"}, {"3", "coherence"}, {"4", "modality"}, {"5", "headless"}}},
	{"OnVmWindowClose", "Settings/Shutdown", func(c *ConfigPVS) *string { return &c.OnVMWindowClose },
		numberWords{{"0", "stop"}, {"1", "suspend"}, {"2", "ask"}, {"4", "shutdown"}, {"5", "keep-running"}}},
	{"AutoStop", "Settings/Shutdown", func(c *ConfigPVS) *string { return &c.AutoStop },
		numberWords{{"0", "stop"}, {"1", "suspend"}, {"2", "shutdown"}}},
	{"ActionOnStop", "Settings", func(c *ConfigPVS) *string { return &c.ActionOnStop },
		numberWords{{"0", "window"}, {"1", "close"}, {"3", "quit"}}},
	{"HypervisorType", "Settings", func(c *ConfigPVS) *string { return &c.Hypervisor },
		numberWords{{"0", "parallels"}, {"1", "apple"}}},
	{"ScaleViewMode", "Settings", func(c *ConfigPVS) *string { return &c.ScaleViewMode },
		numberWords{{"0", "off"}, {"1", "auto"}, {"2", "keep-ratio"}, {"3", "stretch"}}},
	{"UndoDisks", "Settings", func(c *ConfigPVS) *string { return &c.UndoDisks },
		numberWords{{"1", "on"}}}, // rollback; the number of ask was not seen
	{"Enter", "Settings/TravelOptions", func(c *ConfigPVS) *string { return &c.TravelEnter },
		numberWords{{"0", "never"}, {"1", "on-battery"}, {"2", "below-threshold"}}},
	{"Quit", "Settings/TravelOptions", func(c *ConfigPVS) *string { return &c.TravelQuit },
		numberWords{{"0", "never"}}},
	{"EfiEnabled", "Settings", func(c *ConfigPVS) *string { return &c.Firmware },
		numberWords{{"1", "efi"}, {"5", "efi-arm64"}}},
}

// networkModes are the numbers of EmulatedType, and networkCards those of
// AdapterType.
var (
	networkModes = numberWords{{"1", "shared"}, {"2", "bridged"}}
	networkCards = numberWords{{"0", "legacy"}, {"1", "rtl8029"}, {"2", "e1000"}, {"3", "virtio"}, {"4", "82574l"}}
)

// configWordAt is the setting that the element at this path below the root has;
// nil for none.
func configWordAt(path []string) *configWord {
	for i := range configWords {
		setting := &configWords[i]
		if setting.element == path[len(path)-1] && strings.HasPrefix(strings.Join(path, "/"), setting.within+"/") {
			return setting
		}
	}
	return nil
}

// of is the word for a number of the file. A number that is in no table is its own
// word; what is no number is nothing.
func (w numberWords) of(text string) string {
	for _, row := range w {
		if row.number == text {
			return row.word
		}
	}
	if number, err := strconv.ParseInt(text, 10, 32); err == nil {
		return strconv.FormatInt(number, 10)
	}
	return ""
}
