package prlctl

import "slices"

// Support is whether the installed version has a command, an option or a
// flag. Nothing is ever Supported that the tools' own help did not show; and
// what a help shows may still be refused (facts/captures.md 5.4).
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
	// Refused are the flags that `prlctl set` and `prlsrvctl set` did not
	// recognize, in order, whatever their help says.
	Refused     []string `json:"refused,omitempty"`
	HostRefused []string `json:"host_refused,omitempty"`
	// Unread names each help that could not be read, with the code of an
	// Error; while there is one, some answers are SupportUnknown that a later
	// probe may give.
	Unread map[string]string `json:"unread,omitempty"`
}

// Complete reports whether every help was read and all of these flags and
// today's commands were looked up, so that asking again would tell nothing new
// of this version. What an earlier version of the agent has kept may lack what
// was added since.
func (c *Capabilities) Complete(flags Flags) bool {
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
// flag that was not probed is SupportUnknown, one that was refused Unsupported.
func (c *Capabilities) Flag(name string) Ability { return abilityOf(c.Set, c.Refused, name) }

// HostFlag tells whether `prlsrvctl set` has the flag, for example
// --require-pwd.
func (c *Capabilities) HostFlag(name string) Ability {
	return abilityOf(c.HostSet, c.HostRefused, name)
}

// Refuse notes a flag that the tool did not recognize when it was to set it: of
// prlsrvctl if host, else of prlctl. It reports whether that is news.
func (c *Capabilities) Refuse(host bool, flag string) bool {
	refused := &c.Refused
	if host {
		refused = &c.HostRefused
	}
	at, known := slices.BinarySearch(*refused, flag)
	if !known {
		*refused = slices.Insert(slices.Clone(*refused), at, flag)
	}
	return !known
}

// Command tells whether prlctl has the command, for example monitor-events.
func (c *Capabilities) Command(name string) Support {
	if support, probed := c.Commands[name]; probed {
		return support
	}
	return SupportUnknown
}

func abilityOf(abilities map[string]Ability, refused []string, name string) Ability {
	if slices.Contains(refused, name) {
		return Ability{Support: Unsupported}
	}
	if ability, probed := abilities[name]; probed {
		return ability
	}
	return Ability{Support: SupportUnknown}
}
