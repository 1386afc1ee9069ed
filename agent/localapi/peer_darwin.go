package localapi

import "golang.org/x/sys/unix"

// maxSocketPath is the size of sun_path, its closing zero included
// (facts/macos.md 14).
const maxSocketPath = 104

// adminGroupID is the gid of the group admin.
const adminGroupID = "80"

// adminGroupNumber owns files that administrators may read.
const adminGroupNumber = 80

// peerCredentials reads LOCAL_PEERCRED and LOCAL_PEERPID.
func peerCredentials(descriptor int) (Peer, error) {
	found, err := unix.GetsockoptXucred(descriptor, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return Peer{}, err
	}
	pid, err := unix.GetsockoptInt(descriptor, unix.SOL_LOCAL, unix.LOCAL_PEERPID)
	if err != nil {
		pid = 0
	}
	return Peer{UID: found.Uid, PID: pid}, nil
}
