package platform

import "golang.org/x/sys/unix"

// PeerOf asks the kernel who is at the other end of a connected unix socket; one
// that is not connected has an owner that nobody is.
func PeerOf(descriptor int) (Peer, error) {
	found, err := unix.GetsockoptUcred(descriptor, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Peer{}, err
	}
	return Peer{UID: found.Uid, PID: int(found.Pid)}, nil
}
