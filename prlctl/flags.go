package prlctl

import "slices"

// Flags are what a probe looks for. The catalogue of settings has them; this
// package knows none by itself.
type Flags struct {
	Set     []Flag   // of `prlctl set`
	HostSet []string // of `prlsrvctl set`, by their name with both dashes
}

// Flag is one flag of `prlctl set`.
type Flag struct {
	Name     string // with both dashes
	Category string // whose help shows it (facts/prlctl.md 1.5)
	// Certain: the category is confirmed. Others follow the names of
	// the categories, so the flag counts as there in whatever help it shows up.
	Certain bool
}

// categories lists what the flags need, each once.
func (f Flags) categories() []string {
	var list []string
	for _, flag := range f.Set {
		if !slices.Contains(list, flag.Category) {
			list = append(list, flag.Category)
		}
	}
	return list
}

// probedCommands are those of prlctl that not every version has (facts/prlctl.md 12).
var probedCommands = []string{
	"monitor-events", "pack", "unpack", "archive", "unarchive", "encrypt", "decrypt", "change-passwd",
	"protection-set", "protection-remove", "installtools", "capture",
}

// anchorCommands are commands that every version has: a text without them is no help
// of prlctl.
var anchorCommands = []string{"list", "set"}
