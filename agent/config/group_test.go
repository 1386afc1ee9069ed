package config

import (
	"strings"
	"testing"
)

// Ids of groups: what may stand in them is a name of a file, in a path and in a
// message.
func TestGRP_03_GroupIDs(t *testing.T) {
	t.Parallel()
	for id, good := range map[string]bool{
		"finance": true, "finance-emea": true, "finance_emea": true, "finance.emea": true, "2026": true, "9": true, "a": true, "z": true, "0-._z": true,
		strings.Repeat("a", 64): true, strings.Repeat("a", 65): false,
		"": false, "-finance": false, ".finance": false, "_finance": false, "..": false, "Finance": false, "finanzé": false,
		"fin ance": false, "fin/ance": false, "fin%2fance": false, "fin~ance": false, "fin:ance": false, "fin{ance": false, "fin`ance": false, "fin@ance": false,
	} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			m := newMac(t)
			m.managed(dict{"Group": id})
			want := ""
			if good {
				want = id
			}
			if c := loadNow(m.paths); c.Group != want || (len(problemsOf(c, "Group")) == 0) != good {
				t.Errorf("group %q, problems %v", c.Group, c.Problems)
			}
		})
	}
}
