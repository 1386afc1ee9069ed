//go:build !linux

package store_test

import (
	"errors"
	"testing"
)

var platformRoles = map[string]func(dir string) childResult{
	"record": func(string) childResult {
		return childResult{}.failed(errors.New("ptrace refused: there is none like that of Linux"))
	},
}

func recordRole(t testing.TB, _, _ string) []change {
	t.Skip("recording needs the ptrace of Linux")
	return nil
}
