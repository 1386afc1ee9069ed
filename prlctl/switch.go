package prlctl

import "strings"

// Switch is a setting with two values that the tools write as on and off, yes
// and no, true and false, or 1 and 0 (facts/prlctl.md 2.1). The zero value
// means that the tool did not say, or said something we do not understand.
type Switch uint8

// Values of a Switch.
const (
	SwitchUnknown Switch = iota
	SwitchOff
	SwitchOn
)

// ParseSwitch reads one word of the tools or of their files, in any case. Other
// words are SwitchUnknown.
func ParseSwitch(word string) Switch {
	switch strings.ToLower(strings.TrimSpace(word)) {
	case "on", "yes", "true", "1":
		return SwitchOn
	case "off", "no", "false", "0":
		return SwitchOff
	}
	return SwitchUnknown
}

// On reports whether the switch is known to be on.
func (s Switch) On() bool { return s == SwitchOn }

// Off reports whether the switch is known to be off.
func (s Switch) Off() bool { return s == SwitchOff }

// String returns on, off or unknown.
func (s Switch) String() string {
	switch s {
	case SwitchOn:
		return "on"
	case SwitchOff:
		return "off"
	}
	return "unknown"
}
