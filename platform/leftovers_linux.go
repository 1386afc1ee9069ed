package platform

import (
	"os"
	"strconv"
)

func identifyProcess(pid int) (processIdentity, error) {
	line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return processIdentity{}, err
	}
	status, err := parseProcessStatus(line)
	return processIdentity{status.started, status.ended}, err
}
