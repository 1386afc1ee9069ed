package tool

import "testing"

// What was cut is told also when the program has ended before anybody looked:
// of the two news either may be seen first, so that one run would show little.
func TestCutOutputOfAProgramThatHasEnded(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"print", "print-error"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			for range 16 {
				runner := new(Runner)
				program := runner.newProcess(&Command{Path: testBinary(t), Args: []string{role, "123456789"}, MaxOutput: 8}, role)
				program.started = func() { <-program.ended }
				result, err := runner.collectOutput(t.Context(), program)
				if err == nil {
					t.Fatalf("%q and %q count as all it printed", result.Stdout, result.Stderr)
				}
				requireCode(t, err, CodeTooLarge)
			}
		})
	}
}
