package platform

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
)

// VMArguments are the two arguments of a virtual machine's process that are
// kept. Each is empty where the process does not have it, or has it twice, which
// has two readings.
type VMArguments struct {
	VMID        string // behind --uuid
	DirectoryID string // behind --dir-uuid
}

const (
	// maxArguments caps what is looked at of one process's arguments, in bytes.
	maxArguments = 4 << 10
	// maxIDArgument is longer than any id.
	maxIDArgument = 64
)

// The arguments of a virtual machine's process (facts/captures.md 4.3).
const (
	machineFlag   = "--uuid"
	directoryFlag = "--dir-uuid"
)

// valueFlags are the arguments that have a value behind them, which is not
// looked at for flags: a name may be "--uuid".
var valueFlags = []string{"--vm-name", machineFlag, directoryFlag, "--log-dir"}

// parseVMArguments reads an argument vector, argv[0] included, of strings that
// are closed by a zero byte each. An argument that the cap cuts is none.
func parseVMArguments(argv []byte) VMArguments {
	words := bytes.Split(argv[:min(len(argv), maxArguments)], []byte{0})
	words = words[:len(words)-1] // what is behind the last zero byte
	var machines, directories []string
	for at := 1; at+1 < len(words); at++ {
		if !slices.Contains(valueFlags, string(words[at])) {
			continue
		}
		value := string(words[at+1][:min(len(words[at+1]), maxIDArgument+1)])
		switch string(words[at]) {
		case machineFlag:
			machines = append(machines, value)
		case directoryFlag:
			directories = append(directories, value)
		}
		at++
	}
	return VMArguments{VMID: onlyID(machines), DirectoryID: onlyID(directories)}
}

func onlyID(values []string) string {
	if len(values) != 1 || len(values[0]) > maxIDArgument {
		return ""
	}
	return values[0]
}

var errArgumentsCut = errors.New("process arguments are cut short")

// parseProcessArgs reads the kernel's kern.procargs2: the number of arguments as
// 32 bits in the machine's byte order, the program's path, padding of zero
// bytes, then argv and the environment, each closed by a zero byte
// (facts/macos.md 3.2). The environment is left out; of arguments that go on
// beyond the cap, what is beyond.
//
// All of it lies in the process's own memory: the path is the one that execve
// was called with, which need be neither absolute nor free of links, and the
// process can write another over it (xnu, bsd/kern/kern_sysctl.c).
func parseProcessArgs(data []byte) (path string, argv []byte, err error) {
	if len(data) < 4 {
		return "", nil, errArgumentsCut
	}
	count := binary.NativeEndian.Uint32(data)
	program, rest, found := bytes.Cut(data[4:], []byte{0})
	if !found {
		return "", nil, errArgumentsCut
	}
	rest = bytes.TrimLeft(rest, "\x00")
	capped := rest[:min(len(rest), maxArguments)]
	end := 0
	for range count {
		size := bytes.IndexByte(capped[end:], 0)
		if size < 0 {
			if len(rest) > len(capped) {
				return string(program), capped[:end], nil
			}
			return "", nil, errArgumentsCut
		}
		end += size + 1
	}
	return string(program), capped[:end], nil
}
