package platform

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// volumeReply is what the kernel answers for ATTR_VOL_UUID alone: the length of
// the whole, and a uuid_t (getattrlist(2)).
const volumeReply = 4 + 16

// VolumeID is the UUID of the volume that a file lies on, which every boot finds
// as it is; empty where the volume has none. The kernel answers for the volume
// of any file on it (xnu, bsd/vfs/vfs_attrlist.c); not tried on a Mac.
func VolumeID(path string) string {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return ""
	}
	wanted := unix.Attrlist{Bitmapcount: unix.ATTR_BIT_MAP_COUNT, Volattr: unix.ATTR_VOL_INFO | unix.ATTR_VOL_UUID}
	var reply [volumeReply]byte
	//lint:ignore SA1019 the library has no wrapper for getattrlist; the call goes through libSystem's syscall
	_, _, failed := unix.Syscall6(unix.SYS_GETATTRLIST,
		uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(&wanted)),
		uintptr(unsafe.Pointer(&reply[0])), uintptr(len(reply)), unix.FSOPT_NOFOLLOW, 0)
	runtime.KeepAlive(name)
	if failed != 0 || binary.NativeEndian.Uint32(reply[:4]) != volumeReply {
		return ""
	}
	id := reply[4:]
	if [16]byte(id) == ([16]byte{}) {
		return ""
	}
	return fmt.Sprintf("%X-%X-%X-%X-%X", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
