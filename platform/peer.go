package platform

import (
	"encoding/binary"
	"errors"
)

// Peer is who is at the other end of a unix socket, as the kernel says it.
type Peer struct {
	UID uint32
	PID int // 0 where the system does not say; for the log only, it may have been reused
}

// The layout of the Mac's struct xucred, of the SDK's sys/ucred.h.
const (
	credentialsSize    = 76
	credentialsVersion = 0 // at 0, 32 bits: XUCRED_VERSION
	credentialsUID     = 4 // cr_uid, 32 bits: the effective one
)

var errCredentials = errors.New("credentials of another form")

// parseCredentials reads what LOCAL_PEERCRED gives. They are of the moment when
// the peer connected or listened, and for a socketpair of when it was made (xnu,
// bsd/kern/uipc_usrreq.c).
func parseCredentials(data []byte) (uid uint32, err error) {
	if len(data) != credentialsSize || binary.NativeEndian.Uint32(data) != credentialsVersion {
		return 0, errCredentials
	}
	return binary.NativeEndian.Uint32(data[credentialsUID:]), nil
}
