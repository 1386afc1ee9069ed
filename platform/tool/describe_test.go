package tool

import "testing"

// The first row of a program is taken: the words of one behind it would not be logged.
func TestLoggedActionsHaveEachProgramOnce(t *testing.T) {
	t.Parallel()
	for _, row := range loggedActions {
		for _, word := range row.words {
			if !isLogged(row.program, word) {
				t.Errorf("%s of %s is in a second row", word, row.program)
			}
		}
	}
}
