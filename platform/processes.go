package platform

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"time"
)

// Process is one running program.
type Process struct {
	PID     int
	UID     uint32    // effective; below a root the account that plays all users
	Name    string    // at most 16 bytes on a Mac, 15 on Linux
	Path    string    // Mac path of the program; only for vendor processes, "" when not readable
	Started time.Time // with PID it names a process for good
	Args    []string  // argv without argv[0]; only where Path is known
}

// vendorPrefix begins the names of all processes of Parallels Desktop:
// prl_client_app, prl_disp_service, prl_vm_app, prl_naptd (facts/macos.md 3.2).
const vendorPrefix = "prl_"

func isVendorName(name string) bool { return strings.HasPrefix(name, vendorPrefix) }

// maxProcessArgs caps argv: a process names any number it likes.
const maxProcessArgs = 4096

// parseProcessArgs reads the kernel's kern.procargs2: the number of arguments as
// 32 bits in the machine's byte order, the program's path, padding of zero
// bytes, then argv and the environment, each closed by a zero byte
// (facts/macos.md 3.2). argv[0] is left out, and so is the environment.
func parseProcessArgs(data []byte) (path string, args []string, err error) {
	if len(data) < 4 {
		return "", nil, errors.New("process arguments are too short")
	}
	count := binary.NativeEndian.Uint32(data)
	if count > maxProcessArgs {
		return "", nil, errors.New("too many process arguments")
	}
	program, rest, found := bytes.Cut(data[4:], []byte{0})
	if !found {
		return "", nil, errors.New("process arguments are cut short")
	}
	rest = bytes.TrimLeft(rest, "\x00")
	for index := range count {
		argument, next, found := bytes.Cut(rest, []byte{0})
		if !found {
			return "", nil, errors.New("process arguments are cut short")
		}
		if index > 0 {
			args = append(args, string(argument))
		}
		rest = next
	}
	return string(program), args, nil
}
