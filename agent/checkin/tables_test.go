package checkin

import "testing"

// The first row of a table that fits is taken: one behind it with the same key would
// never be.
func TestTablesHaveEachKeyOnce(t *testing.T) {
	t.Parallel()
	for i := range enrollmentConditions {
		if enrollmentCondition(enrollmentConditions[i].code) != &enrollmentConditions[i] {
			t.Errorf("%s is there twice", enrollmentConditions[i].code)
		}
	}
	seen := make(map[string]bool)
	for _, row := range problemReactions {
		if seen[row.problem] {
			t.Errorf("%s is there twice", row.problem)
		}
		seen[row.problem] = true
	}
}
