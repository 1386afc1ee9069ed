package prlctl

// Support is whether the installed version has a command, an option or a
// flag. Nothing is ever Supported that the tools' own help did not show.
type Support string

// Values of Support.
const (
	Supported      Support = "supported"
	Unsupported    Support = "unsupported"
	SupportUnknown Support = "unknown" // the help could not be read, or does not settle it
)

// Ability is one flag of a `set` as its help shows it.
type Ability struct {
	Support Support  `json:"support"`
	Values  []string `json:"values,omitempty"` // the words that the help offers for it; empty if it lists none
}

// Capabilities are what one version of the tools can do by its own help
// (facts/prlctl.md 12). It is a plain value: kept as JSON under its version,
// it spares the next process of the agent the probe.
type Capabilities struct {
	Version  Version            `json:"version"`
	Set      map[string]Ability `json:"set"`      // flags of `prlctl set`, by their name with both dashes
	HostSet  map[string]Ability `json:"host_set"` // flags of `prlsrvctl set`
	Commands map[string]Support `json:"commands"` // of prlctl: monitor-events, pack, …
	JSON     Support            `json:"json"`     // `prlctl list --json`
	// Unread names each help that could not be read, with the code of an
	// Error; while there is one, some answers are SupportUnknown that a later
	// probe may give.
	Unread map[string]string `json:"unread,omitempty"`
}

// Complete reports whether every help was read and all of these flags and
// today's commands were looked up, so that asking again would tell nothing new
// of this version. What an earlier version of the agent has kept may lack what
// was added since.
func (c Capabilities) Complete(flags Flags) bool {
	if c.Version.IsZero() || len(c.Unread) > 0 {
		return false
	}
	for _, flag := range flags.Set {
		if _, probed := c.Set[flag.Name]; !probed {
			return false
		}
	}
	for _, name := range flags.HostSet {
		if _, probed := c.HostSet[name]; !probed {
			return false
		}
	}
	for _, name := range probedCommands {
		if _, probed := c.Commands[name]; !probed {
			return false
		}
	}
	return true
}

// Flag tells whether `prlctl set` has the flag, for example --isolate-vm. A
// flag that was not probed is SupportUnknown.
func (c Capabilities) Flag(name string) Ability { return abilityOf(c.Set, name) }

// HostFlag tells whether `prlsrvctl set` has the flag, for example
// --require-pwd.
func (c Capabilities) HostFlag(name string) Ability { return abilityOf(c.HostSet, name) }

// Command tells whether prlctl has the command, for example monitor-events.
func (c Capabilities) Command(name string) Support {
	if support, probed := c.Commands[name]; probed {
		return support
	}
	return SupportUnknown
}

func abilityOf(abilities map[string]Ability, name string) Ability {
	if ability, probed := abilities[name]; probed {
		return ability
	}
	return Ability{Support: SupportUnknown}
}
