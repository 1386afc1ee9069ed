package platform

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// holdFlags open for what becomes of a file and not for its content: such a
// descriptor keeps no volume from being unmounted (open(2)).
const holdFlags = unix.O_EVTONLY | unix.O_NONBLOCK

// lastingFileID is the inode's number, which finds a file on its volume (see
// findsFile).
func lastingFileID(_ *os.File, stat *unix.Stat_t) string { return strconv.FormatUint(stat.Ino, 10) }

// findsFile reports whether a file of the same volume is still there, by the folder of
// the kernel in which each volume's files are found by their numbers. Nothing of
// Apple's tells that a number is never given twice, and none of it was tried on a Mac:
// who asks makes sure first that a file which is there is found.
func (f *HeldFile) findsFile(id string) (bool, error) {
	number, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return false, err
	}
	var stat unix.Stat_t
	err = unix.Lstat(fmt.Sprintf("/.vol/%d/%d", int32(f.Device), number), &stat)
	switch {
	case errors.Is(err, unix.ENOENT):
		return false, nil
	case err != nil:
		return false, err
	}
	return stat.Nlink > 0, nil
}

// inodeID is the id of a file of which only the inode's number is known.
func inodeID(inode uint64) string { return strconv.FormatUint(inode, 10) }
