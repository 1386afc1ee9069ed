package policy

import (
	"slices"
	"strings"
	"testing"
)

// Every flag is one that the tools can be asked for, and stands there once. A
// category that is not confirmed must not settle that a flag is missing.
func TestH43_Flags(t *testing.T) {
	t.Parallel()
	var names []string
	for _, flag := range Flags.Set {
		names = append(names, flag.Name)
		if flag.Category == "" || strings.Trim(flag.Category, "abcdefghijklmnopqrstuvwxyz_") != "" {
			t.Errorf("%s has the category %q", flag.Name, flag.Category)
		}
		if flag.Certain != (flag.Category == "advanced") {
			t.Errorf("%s: the category %s is certain: %t", flag.Name, flag.Category, flag.Certain)
		}
	}
	for _, list := range [][]string{names, Flags.HostSet} {
		for _, name := range list {
			if !strings.HasPrefix(name, "--") || len(name) < 4 {
				t.Errorf("%q is no flag", name)
			}
		}
		sorted := slices.Sorted(slices.Values(list))
		if unique := slices.Compact(slices.Clone(sorted)); len(unique) != len(list) || len(list) == 0 {
			t.Errorf("of %d flags %d are different", len(list), len(unique))
		}
	}
}
