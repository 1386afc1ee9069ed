package policy

import (
	"slices"
	"strconv"
	"strings"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// Setting is one row of the catalogue. It says everything about its setting:
// planning, drift, what is probed, the schema and the words for people derive
// from it.
type Setting struct {
	Name   string // member of a scope of vm_settings
	Doc    string // what it does, for people
	Ours   bool   // the vendor's guide has no such setting
	Values *Values

	Guests Guests // that have it by the guide, or for ours by the facts
	Beyond Guests // that take it by the tool although the guide says no: under beyond_guide
	Tools  bool   // only for Windows with Parallels Tools (conformance VMS-30)

	Parts []Part
	// NoWay are the values that no public tool sets; Stricter is what
	// on_unsupported: stricter takes in place of one, empty if there is nothing.
	NoWay    []Value
	Stricter Value
	// Disruptive are the values whose first setting may interrupt somebody who
	// works in the running machine.
	Disruptive []Value
	Order      Order
	Lock       bool // see H67

	Strength *Strength // how firmly it holds where it can be enforced
}

// Order is when a setting is set, among those of one machine.
type Order int

// Orders. Isolating flips other sharing settings (facts/prlctl.md 6), and under
// the lock nothing can be set any more.
const (
	OrderFirst Order = iota - 1
	OrderUsual
	OrderLast
)

// Part is one flag of a setting, which is set by a call of its own: a flag that
// is refused must not sink its neighbors, and of device options only one may
// stand in a call (facts/acting.md 1).
type Part struct {
	Flag     string // of `prlctl set`, with both dashes
	Category string // whose help shows it (facts/prlctl.md 1.5)
	Certain  bool   // the category is confirmed
	Evidence *Evidence

	Adapters bool // one call for each network adapter, which is the flag's value
	// Shown are the places in the description that show it, the newest version's
	// first; of those that are there the first counts.
	Shown []string
	File  func(*prlctl.ConfigPVS) string // what config.pvs shows where the description does not
	Read  Reading                        // how to understand what is shown

	// Words are what the flag is set to for each of the setting's values. A value
	// without one leaves the flag alone.
	Words []Word
	// AsIs: the flag is set to the setting's value itself.
	AsIs    bool
	Stopped bool // only while the machine is shut down
	// Keep: setting the other parts changes this one, which is put back to the
	// value that was found before, if that is this word.
	Keep string
}

// Word is one value of a flag.
type Word struct {
	For   Value    // of the setting
	Set   []string // ways to write it, the preferred first; the one that the help offers is used
	Shown []string // what a re-read may show for it; empty: what is set
	With  []string // arguments behind it, in the same call
}

// Reading is how to understand what the tools show.
type Reading string

// Readings.
const (
	ReadWord   Reading = ""       // words without regard to case
	ReadSwitch Reading = "switch" // any spelling of on and off
	ReadAtMost Reading = "most"   // a number, perhaps with a unit: the value is an upper bound
	ReadText   Reading = "text"   // as it is
)

// Evidence is how sure we are that the flag does what the row says.
type Evidence struct {
	Level  Level
	Source string // page and section of the facts
}

// Level of evidence, by the words of the facts pages.
type Level string

// Levels. A flag that is Unknown is used only where the tool's own help shows it.
const (
	Confirmed Level = "C"
	OneScript Level = "C1"
	Inferred  Level = "I"
	Unknown   Level = "U"
)

// Guests is a set of kinds of guests.
type Guests uint8

// Kinds of guests.
const (
	Windows      Guests = 1 << iota
	OtherSystems        // Linux and whatever else is neither Windows nor macOS
	MacOnIntel
	MacOnArm

	AllGuests = Windows | OtherSystems | MacOnIntel | MacOnArm
	NotMac    = Windows | OtherSystems
	NotMacArm = Windows | OtherSystems | MacOnIntel
)

// guestOf is the kind of guest of a machine.
func guestOf(vm *prlctl.VM) Guests {
	switch {
	case vm.Type == "APPLE_VZ_VM", vm.MacOSGuest() && vm.Architecture() == "arm":
		return MacOnArm
	case vm.MacOSGuest():
		return MacOnIntel
	case vm.WindowsGuest():
		return Windows
	}
	return OtherSystems
}

// whyNotGuest is why the setting is not for this machine, which has such a guest;
// empty if it is.
func (s *Setting) whyNotGuest(vm *prlctl.VM, guest Guests, beyond bool) protocol.Code {
	guests := s.Guests
	if beyond {
		guests |= s.Beyond
	}
	switch {
	case guests&guest == 0 && guest == MacOnArm && guests&MacOnIntel != 0:
		return protocol.CodeGuestOSArch
	case guests&guest == 0 && s.Tools && guest == OtherSystems:
		return protocol.CodeNeedsWindowsTools
	case guests&guest == 0:
		return protocol.CodeGuestOS
	case s.Tools && (vm.GuestTools.Version == "" || vm.GuestTools.State == "not_installed"):
		return protocol.CodeNeedsWindowsTools
	}
	return ""
}

// StricterThan is what on_unsupported: stricter takes in the place of a value; empty
// if there is nothing.
func (s *Setting) StricterThan(value Value) Value {
	if !isAmong(s.NoWay, value) {
		return ""
	}
	return s.Stricter
}

// WordFor is what the flag is set to for a value; nil if the value leaves the
// flag alone.
func (p *Part) WordFor(value Value) *Word {
	if p.AsIs {
		return &Word{For: value, Set: []string{string(value)}}
	}
	for i := range p.Words {
		if p.Words[i].For == value {
			return &p.Words[i]
		}
	}
	return nil
}

// isUnread reports whether nothing shows the part: it is set together with
// others, and cannot be verified.
func (p *Part) isUnread() bool { return len(p.Shown) == 0 && p.File == nil && !p.Adapters }

// understand gives what the tool shows the spelling that is compared; empty if
// it shows nothing.
func (r Reading) understand(shown string) string {
	shown = strings.TrimSpace(shown)
	switch r {
	case ReadText:
		return shown
	case ReadSwitch:
		if state := prlctl.ParseSwitch(shown); state != prlctl.SwitchUnknown {
			return state.String()
		}
	case ReadAtMost:
		return strings.TrimSuffix(strings.ToLower(shown), "mb")
	}
	return strings.ToLower(shown)
}

// satisfies reports whether what is shown, as understood, is what the word
// wants.
func (p *Part) satisfies(word *Word, shown string) bool {
	if p.Read == ReadAtMost {
		number, err := strconv.Atoi(shown)
		limit, _ := strconv.Atoi(word.Set[0])
		return err == nil && number <= limit
	}
	if len(word.Shown) > 0 {
		return slices.Contains(word.Shown, shown)
	}
	return slices.Contains(word.Set, shown)
}

// Words for an adapter as a whole, in the place of the several keys that show it.
const (
	adapterOff          = "disabled"
	adapterDisconnected = "disconnected"
	adapterPinned       = "bridged to another interface"
)

// adapterWord is what the keys of a network adapter say together. All spellings
// that mean the same give one word (facts/acting.md 1): host and host-only, no
// interface and the default one, no state and connected.
func adapterWord(adapter *prlctl.Adapter) string {
	kind := strings.ToLower(adapter.Type)
	switch {
	case adapter.Enabled.Off():
		return adapterOff
	case strings.EqualFold(adapter.State, "disconnected"):
		return adapterDisconnected
	case kind == "host":
		return "host-only"
	case kind == "bridged" && adapter.Iface != "" && !strings.EqualFold(adapter.Iface, "default"):
		return adapterPinned
	}
	return kind
}
