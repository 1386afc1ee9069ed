// Command prlagent shows what the agent on this Mac does and why.
package main

import (
	"os"

	"prlagent/cmd/prlagent/cli"
)

func main() { os.Exit(cli.Main()) }
