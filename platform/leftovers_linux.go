package platform

import (
	"os"
	"strconv"
	"strings"
)

func identifyProcess(pid int) (processIdentity, error) {
	line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return processIdentity{}, err
	}
	status, err := parseProcessStatus(line)
	return processIdentity{status.started, status.ended}, err
}

// bootID names the time since the last start of the machine.
func bootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id)), err
}
