package localapi

import "golang.org/x/sys/unix"

// maxSocketPath is the size of sun_path, its closing zero included.
const maxSocketPath = 108

// adminGroupID is empty: no group plays the Mac's admin group here, only the
// owner of the simulated Mac and root are admins.
const adminGroupID = ""

// adminGroupNumber is none: files for administrators keep their group.
const adminGroupNumber = -1

// peerCredentials reads SO_PEERCRED.
func peerCredentials(descriptor int) (Peer, error) {
	found, err := unix.GetsockoptUcred(descriptor, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Peer{}, err
	}
	return Peer{UID: found.Uid, PID: int(found.Pid)}, nil
}
