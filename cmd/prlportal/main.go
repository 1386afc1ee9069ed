// Command prlportal is the reference management portal: what Macs with
// prlagentd enroll with and report to. See package cli.
package main

import (
	"os"

	"prlagent/cmd/prlportal/cli"
)

func main() { os.Exit(cli.Main()) }
