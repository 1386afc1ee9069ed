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
//
// The other tests of this package would prove nothing more with it than without it: they
// start the programs as they ship, or read what is in the tree. The parts that they call
// have tests of their own with it.
func init() {
	racedTests = "^(TestScripts|TestCMD_01_H25_TheSimulatedMacDeletes|TestEvilAnswers)$"
	roles = map[string]func(){
		"prlportal": func() { syscall.Exit(portalcli.Main()) },
		"prlagentd": func() { syscall.Exit(daemon.Main()) },
	}
}
