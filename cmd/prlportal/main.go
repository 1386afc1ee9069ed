// Command prlportal is the reference management portal: what Macs with
// prlagentd enroll with and report to. See package portal.
package main

import (
	"os"

	"prlagent/cmd/prlportal/portal"
)

func main() { os.Exit(portal.Main()) }
