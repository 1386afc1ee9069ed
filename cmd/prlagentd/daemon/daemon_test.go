package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"prlagent/agent/protocol"
	"prlagent/store"
)

// What launchd keeps of a daemon that does not start says what to do.
func TestErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		err    error
		code   int
		remedy protocol.Code // whose remedy is the second line; empty = there is none
	}{
		{"no code", errors.New("broken"), exitFailed, ""},
		{"wrong usage", fmt.Errorf("unknown flag: %w", errUsage), exitUsage, ""},
		{"a refusal", &exitError{exitRefused, "not root"}, exitRefused, ""},
		{"another daemon", fmt.Errorf("open state: %w", store.ErrLocked), exitRunning, protocol.CodeAlreadyRunning},
		{"no permission", fmt.Errorf("open state: %w", store.ErrDenied), exitFailed, protocol.CodeStoreDenied},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			want := "prlagentd: " + c.err.Error() + "\n"
			if c.remedy != "" {
				want += "  → " + c.remedy.Text().Remedy + "\n"
			}
			if errors.Is(c.err, errUsage) {
				want += "  → See 'prlagentd help'.\n"
			}
			var stderr bytes.Buffer
			if code := explainEnd(&stderr, c.err); code != c.code || stderr.String() != want {
				t.Errorf("exit code %d with %q, want %d with %q", code, stderr.String(), c.code, want)
			}
		})
	}
}
