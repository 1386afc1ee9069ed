package platform

import "golang.org/x/sys/unix"

func identifyProcess(pid int) (processIdentity, error) {
	record, err := readProcess(pid)
	return processIdentity{record.instance.started, record.ended}, err
}

// bootID names the time since the last start of the Mac (facts/macos.md 2.4).
func bootID() (string, error) { return unix.Sysctl("kern.bootsessionuuid") }
