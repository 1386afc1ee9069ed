package platform

// ProcessName is what the kernel calls the process with an id: the last part of
// its program's path, at most 15 bytes. Everybody may ask, of every process.
func ProcessName(pid int) (string, error) {
	record, err := readProcess(pid)
	return record.instance.name, err
}
