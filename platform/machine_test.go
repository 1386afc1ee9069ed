package platform

import (
	"errors"
	"os"
	"testing"
)

func TestPathStaysBelowTheRoot(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ root, macPath, want string }{
		"real Mac":            {"", "/Users/alice", "/Users/alice"},
		"simulated Mac":       {"/sim", "/Users/alice", "/sim/Users/alice"},
		"spaces":              {"/sim", "/Library/Application Support", "/sim/Library/Application Support"},
		"climbing out":        {"/sim", "/../../etc/passwd", "/sim/etc/passwd"},
		"climbing in between": {"/sim", "/Users/../../etc/passwd", "/sim/etc/passwd"},
		"relative":            {"/sim", "../etc", "/sim/etc"},
		"the root itself":     {"/sim", "/", "/sim"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := New(c.root, nil).Path(c.macPath); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestFreeSpace(t *testing.T) {
	t.Parallel()
	machine := New(t.TempDir(), nil)
	if free, err := machine.FreeSpace("/"); err != nil || free == 0 {
		t.Errorf("got %d bytes free, %v", free, err)
	}
	if _, err := machine.FreeSpace("/nothing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v for a missing path", err)
	}
}
