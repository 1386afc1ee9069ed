package platform

import (
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Space is what a folder takes of its volume with all that is in it, and what is free
// there for its user, in bytes. Nothing is known where both are zero.
type Space struct {
	// Used is what is allocated, so that a sparse file counts for what it has. Of a
	// folder with very many files it is what the first of them take.
	Used uint64
	// Free leaves out what macOS could purge (facts/macos.md 8).
	Free uint64
}

// maxSpaceFiles is how many files of a folder are looked at: the bundle of a virtual
// machine has some dozens.
const maxSpaceFiles = 4096

// allocationUnit is what st_blocks counts (stat(2)).
const allocationUnit = 512

// spaceOf looks at every file in a folder, and follows no link.
func spaceOf(folder string) (space Space) {
	var volume unix.Statfs_t
	if unix.Statfs(folder, &volume) != nil {
		return Space{}
	}
	space.Free = uint64(volume.Bavail) * uint64(volume.Bsize)
	files := 0
	_ = filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if files++; files > maxSpaceFiles {
			return fs.SkipAll
		}
		var stat unix.Stat_t
		if err == nil && unix.Lstat(path, &stat) == nil {
			space.Used += uint64(stat.Blocks) * allocationUnit
		}
		return nil // what cannot be read takes nothing that is known
	})
	return space
}
