//go:build race

package cmd_test

import (
	"syscall"

	"prlagent/cmd/prlagentd/daemon"
	portalcli "prlagent/cmd/prlportal/cli"
)

// With the race detector, scripts use copies of this test binary, which has it,
// as the daemon and the portal. The tools of the simulated Mac and the local
// command line, which start thousands of times, are the ones that ship: they do
// one thing at a time. Programs with it end with
// syscall.Exit, because os.Exit waits a second in them.
func init() {
	roles = map[string]func(){
		"prlportal": func() { syscall.Exit(portalcli.Main()) },
		"prlagentd": func() { syscall.Exit(daemon.Main()) },
	}
}
