package policy

import (
	"slices"
	"strings"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// Act is something that a person does with the virtual machines of a Mac, and
// that a control may be about.
type Act string

// Acts.
const (
	ActCreate   Act = "create"
	ActRegister Act = "register"
	ActClone    Act = "clone"
	ActRemove   Act = "remove"
	actOther    Act = "" // none of these
)

// Acts are all of them, in order.
var Acts = []Act{ActCreate, ActRegister, ActClone, ActRemove}

// Control is one of the six security controls of the vendor's policy wizard. The
// vendor enforces them inside its application; what can be done from outside are
// the mechanisms.
type Control struct {
	Name string // member of security_controls
	Doc  string // what it does, for people
	// Mechanisms are the ways in which it is carried out, the firmest first. Of an
	// act none of them is about, the control leaves it alone.
	Mechanisms []Mechanism
	// NotEnforceable is why nothing of ours holds it, for people; empty if something
	// does. It may still have a mechanism that the profile has to allow.
	NotEnforceable string
	judge          func(*controlsPlan, *Control) (verdict string, code protocol.Code)
}

// Mechanism is one way in which a control is carried out, with the words for
// what it is worth: Strength words of protocol, for a standard user and for an
// administrator of the Mac.
type Mechanism struct {
	Switch   string // of the host; empty: what is done is detected and reported
	Acts     []Act  // that it is about; none: what the control is about is no act
	Standard string
	Admin    string
}

// HostSwitch is one switch of `prlsrvctl set`: while it is on, Parallels Desktop
// asks for an administrator's password.
type HostSwitch struct {
	Name     string // create-vm, …, preferences
	Flag     string
	Word     string // that the flag's value begins with
	Evidence *Evidence
	shown    func(info *prlctl.ServerInfo, name string) (on, known bool)
}

// HostSwitches are all of them. The four of --require-pwd are one list, which
// the tool reads and writes as a whole (facts/acting.md 1): one call sets one of
// them, and no two calls are made at a time. That an administrator's password is
// asked for is inferred; who has it passes (facts/prlctl.md 6).
var HostSwitches = []HostSwitch{
	{Name: "create-vm", Flag: "--require-pwd", Word: "create-vm:", Evidence: &prlctl14, shown: requiresPassword},
	{Name: "add-vm", Flag: "--require-pwd", Word: "add-vm:", Evidence: &prlctl14, shown: requiresPassword},
	{Name: "clone-vm", Flag: "--require-pwd", Word: "clone-vm:", Evidence: &prlctl14, shown: requiresPassword},
	{Name: "remove-vm", Flag: "--require-pwd", Word: "remove-vm:", Evidence: &prlctl14, shown: requiresPassword},
	{
		// The tool may ask for an administrator before it changes this (facts/prlctl.md
		// 1.4), which nobody answers: --host-admin is never used (H67).
		Name: "preferences", Flag: "--lock-edit-settings", Evidence: &Evidence{OneScript, "prlctl 1.4"},
		shown: func(info *prlctl.ServerInfo, _ string) (on, known bool) {
			return info.PreferencesLocked.On(), info.PreferencesLocked != prlctl.SwitchUnknown
		},
	},
}

var prlctl14 = Evidence{Confirmed, "prlctl 1.4"}

// requiresPassword is what the host shows of an action of --require-pwd: the key is
// absent where the list is empty.
func requiresPassword(info *prlctl.ServerInfo, action string) (on, known bool) {
	return slices.Contains(info.RequirePassword, action), true
}

// Shown is what the host shows of the switch: on, off, or nothing.
func (s *HostSwitch) Shown(info *prlctl.ServerInfo) string {
	if info == nil {
		return ""
	}
	on, known := s.shown(info, s.Name)
	switch {
	case !known:
		return ""
	case on:
		return switchOn
	}
	return switchOff
}

// Args are the arguments behind `prlsrvctl set`. Only the form with two was seen
// (facts/prlctl.md 1.4), and all of it is ours.
func (s *HostSwitch) Args(word string) []string { return []string{s.Flag, s.Word + word} }

// Target names the switch as a flag of a setting is named.
func (s *HostSwitch) Target() string {
	if s.Word == "" {
		return s.Flag
	}
	return s.Flag + " " + s.Name
}

// Words of a switch.
const (
	switchOn  = "on"
	switchOff = "off"
)

// FindHostSwitch is the switch of that name; nil if there is none.
func FindHostSwitch(name string) *HostSwitch {
	for i := range HostSwitches {
		if HostSwitches[i].Name == name {
			return &HostSwitches[i]
		}
	}
	return nil
}

// Path is where the control stands in a document.
func (c *Control) Path() string { return protocol.ControlsPath + c.Name }

// ControlAt is the row that stands there in a document; nil if it is none's place.
func ControlAt(path string) *Control {
	name, is := strings.CutPrefix(path, protocol.ControlsPath)
	if !is {
		return nil
	}
	return FindControl(name)
}

// FindControl is the control of that name; nil if there is none.
func FindControl(name string) *Control {
	for i := range Controls {
		if Controls[i].Name == name {
			return &Controls[i]
		}
	}
	return nil
}

// Controls is the catalogue of security controls, in the order of the guide. A
// switch has Parallels Desktop ask for an administrator's password before an act:
// its words are for a Mac without a custom one, as an administrator knows their
// own. A mechanism without a switch has what is done detected and reported. A
// machine that is suspended for it stays: nothing is put back.
var Controls = []Control{
	{
		Name: "provisioned_only",
		Doc:  "true lets users have no virtual machine but those of the organization's golden images. One that somebody creates, registers or clones is reported, and suspended where on_violation says so. One that is older than the control is kept.",
		Mechanisms: []Mechanism{
			{Switch: "create-vm", Acts: []Act{ActCreate}, Standard: protocol.StrengthDeterred, Admin: protocol.StrengthMonitored},
			{Switch: "add-vm", Acts: []Act{ActRegister}, Standard: protocol.StrengthDeterred, Admin: protocol.StrengthMonitored},
			{Switch: "clone-vm", Acts: []Act{ActClone}, Standard: protocol.StrengthDeterred, Admin: protocol.StrengthMonitored},
			{Acts: []Act{ActCreate, ActRegister, ActClone}, Standard: protocol.StrengthMonitored, Admin: protocol.StrengthMonitored},
		},
		judge: (*controlsPlan).judgeProvisionedOnly,
	},
	{
		Name:       "one_provisioned_per_user",
		Doc:        "true lets each account of the Mac have one virtual machine of the organization's golden images. Another one is reported, and suspended where on_violation says so. Alone it is about no other virtual machine.",
		Mechanisms: []Mechanism{{Acts: []Act{ActCreate, ActRegister, ActClone}, Standard: protocol.StrengthMonitored, Admin: protocol.StrengthMonitored}},
		judge:      (*controlsPlan).judgeOnePerUser,
	},
	{
		Name: "no_removal",
		Doc:  "true keeps users from removing a virtual machine of the organization's golden images. A removal is reported. Where the password may be asked for, it is asked for before any virtual machine is removed: Parallels Desktop does not tell them apart.",
		Mechanisms: []Mechanism{
			{Switch: "remove-vm", Acts: []Act{ActRemove}, Standard: protocol.StrengthDeterred, Admin: protocol.StrengthMonitored},
			{Acts: []Act{ActRemove}, Standard: protocol.StrengthMonitored, Admin: protocol.StrengthMonitored},
		},
		judge: (*controlsPlan).judgeNoRemoval,
	},
	{
		Name:       "no_major_upgrade",
		Doc:        "true keeps Parallels Desktop at its major version, the first number: from 20.x to 26.x is one step. A step is reported. It has no effect with a local update server, or where a profile manages the updates.",
		Mechanisms: []Mechanism{{Standard: protocol.StrengthMonitored, Admin: protocol.StrengthMonitored}},
		judge:      (*controlsPlan).judgeNoMajorUpgrade,
	},
	{
		Name: "no_preferences",
		Doc:  "true keeps users from changing the preferences of Parallels Desktop. Its own dialog cannot be closed from outside; values that the policy manages are put back.",
		Mechanisms: []Mechanism{
			{Switch: "preferences", Standard: protocol.StrengthDeterred, Admin: protocol.StrengthNotEnforceable},
			{Standard: protocol.StrengthNotEnforceable, Admin: protocol.StrengthNotEnforceable},
		},
		NotEnforceable: "the preferences cannot be closed from outside Parallels Desktop",
		judge:          (*controlsPlan).judgeNotEnforceable,
	},
	{
		Name:           "org_license_only",
		Doc:            "true binds virtual machines to the organization's license by encryption. That is done by Parallels Desktop and the vendor's cloud alone; what is seen of it is reported.",
		Mechanisms:     []Mechanism{{Standard: protocol.StrengthNotEnforceable, Admin: protocol.StrengthNotEnforceable}},
		NotEnforceable: "who activates with another license is not held back by anything that we have",
		judge:          (*controlsPlan).judgeOrgLicenseOnly,
	},
}

// Holds is how firmly the control holds against an act while these switches are
// in place, for a standard user and for an administrator: Strength words of
// protocol; both are empty where the control leaves the act alone.
func (c *Control) Holds(act Act, inPlace []string) (standard, admin string) {
	for i := range c.Mechanisms {
		m := &c.Mechanisms[i]
		if m.isAbout(act) && (m.Switch == "" || slices.Contains(inPlace, m.Switch)) {
			return m.Standard, m.Admin
		}
	}
	return "", ""
}

// isAbout reports whether the mechanism is about an act, or of what is no act about
// anything else.
func (m *Mechanism) isAbout(act Act) bool {
	for _, one := range m.Acts {
		if one == act {
			return true
		}
	}
	return act == actOther && len(m.Acts) == 0
}

// ActStrength is how firmly a control holds against one act.
type ActStrength struct {
	Act             Act
	Standard, Admin string
}

// acts are the acts that the control is about.
func (c *Control) acts(inPlace []string) (about []ActStrength) {
	for _, act := range Acts {
		if standard, admin := c.Holds(act, inPlace); standard != "" {
			about = append(about, ActStrength{act, standard, admin})
		}
	}
	return about
}

// firmness orders Strength words, the weakest first.
var firmness = []string{
	protocol.StrengthNotEnforceable, protocol.StrengthMonitored, protocol.StrengthReverted, protocol.StrengthDeterred, protocol.StrengthEnforced,
}

// strength is how firmly the control holds as a whole: as against the act that it
// holds least against.
func (c *Control) strength(inPlace []string) *Strength {
	var weakest Strength
	for _, act := range append([]Act{actOther}, Acts...) {
		standard, admin := c.Holds(act, inPlace)
		weakest = Strength{weaker(weakest.Standard, standard), weaker(weakest.Admin, admin)}
	}
	return &weakest
}

func weaker(a, b string) string {
	if a == "" || b != "" && slices.Index(firmness, b) < slices.Index(firmness, a) {
		return b
	}
	return a
}

// switches are the host's switches that carry the control out.
func (c *Control) switches() (names []string) {
	for i := range c.Mechanisms {
		if name := c.Mechanisms[i].Switch; name != "" {
			names = append(names, name)
		}
	}
	return names
}

// Uses reports whether the host's switch carries the control out.
func (c *Control) Uses(name string) bool {
	for i := range c.Mechanisms {
		if c.Mechanisms[i].Switch == name {
			return true
		}
	}
	return false
}

// UsesLock reports whether the control has a mechanism that H67 keeps from being
// used without AllowUnprovenLocks.
func (c *Control) UsesLock() bool { return len(c.switches()) > 0 }
