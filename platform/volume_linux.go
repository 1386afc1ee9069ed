package platform

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// lastingIDs are the file systems whose f_fsid is made of what is written on the
// disk. Others make it of the device's number, or anew at each mount (statfs(2)).
var lastingIDs = map[int64]bool{unix.EXT4_SUPER_MAGIC: true, unix.BTRFS_SUPER_MAGIC: true}

// VolumeID is the id of the file system that a file lies on, if it outlives a
// reboot; else empty.
func VolumeID(path string) string {
	var stat unix.Statfs_t
	if unix.Statfs(path, &stat) != nil || !lastingIDs[int64(stat.Type)] || stat.Fsid == (unix.Fsid{}) {
		return ""
	}
	return fmt.Sprintf("%08x%08x", uint32(stat.Fsid.Val[0]), uint32(stat.Fsid.Val[1]))
}
