package platform

func identifyProcess(pid int) (processIdentity, error) {
	record, err := readProcess(pid)
	return processIdentity{record.instance.started, record.ended}, err
}
