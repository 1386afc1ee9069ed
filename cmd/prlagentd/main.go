// Command prlagentd is the daemon that launchd keeps running.
package main

import (
	"os"

	"prlagent/cmd/prlagentd/daemon"
)

func main() { os.Exit(daemon.Main()) }
