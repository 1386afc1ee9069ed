// Command prlsim is a simulated Mac with Parallels Desktop to try and test
// with. Called by the name of a Mac's tool (prlctl, sudo, dscl, …) it acts as
// that tool; called as prlsim it is the operator's console.
package main

import (
	"os"

	"prlagent/cmd/prlsim/demo"
	"prlagent/cmd/prlsim/replay"
	"prlagent/cmd/prlsim/sim"
)

func main() {
	os.Exit(sim.Main(demo.Command, replay.Command))
}
