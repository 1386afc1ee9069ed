package prlctl

import (
	"errors"
	"testing"
)

func TestErrorSaysWhatIsKnown(t *testing.T) {
	t.Parallel()
	cause := errors.New("killed")
	for want, err := range map[string]*Error{
		"prlctl: tool_failed":                             {Code: CodeToolFailed},
		"prlctl: tool_failed (exit 255)":                  {Code: CodeToolFailed, ExitCode: 255},
		"prlctl: tool_failed: Out of coffee.":             {Code: CodeToolFailed, Text: "Out of coffee."},
		"prlctl: tool_failed: killed":                     {Code: CodeToolFailed, Err: cause},
		"prlctl: tool_failed (exit 1): No coffee: killed": {Code: CodeToolFailed, ExitCode: 1, Text: "No coffee", Err: cause},
	} {
		if got := err.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if errors.Is(err, cause) != (err.Err != nil) {
			t.Errorf("%q unwraps to %v", want, errors.Unwrap(err))
		}
	}
}
