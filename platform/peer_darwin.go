package platform

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// PeerOf asks the kernel who is at the other end of a connected unix socket. The
// id of the process is that of the last one that used the other end.
func PeerOf(descriptor int) (Peer, error) {
	found, err := unix.GetsockoptXucred(descriptor, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return Peer{}, err
	}
	uid, err := parseCredentials(unsafe.Slice((*byte)(unsafe.Pointer(found)), unsafe.Sizeof(*found)))
	if err != nil {
		return Peer{}, err
	}
	pid, err := unix.GetsockoptInt(descriptor, unix.SOL_LOCAL, unix.LOCAL_PEERPID)
	if err != nil {
		pid = 0
	}
	return Peer{UID: uid, PID: pid}, nil
}
