package platform

import (
	"encoding/hex"
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// holdFlags open for what becomes of a file and not for its content.
const holdFlags = unix.O_PATH

// lastingFileID is the handle that the file system gives to a file, which no other
// file ever has (name_to_handle_at(2)); empty where it gives none.
func lastingFileID(file *os.File, _ *unix.Stat_t) string {
	handle, _, err := unix.NameToHandleAt(int(file.Fd()), "", unix.AT_EMPTY_PATH)
	if err != nil {
		return ""
	}
	return strconv.Itoa(int(handle.Type())) + ":" + hex.EncodeToString(handle.Bytes())
}

// findsFile reports whether a file of the same file system is still there. Only root
// may ask (open_by_handle_at(2)).
func (f *HeldFile) findsFile(id string) (bool, error) {
	kind, text, _ := strings.Cut(id, ":")
	number, err := strconv.ParseInt(kind, 10, 32)
	if err != nil {
		return false, err
	}
	handle, err := hex.DecodeString(text)
	if err != nil {
		return false, err
	}
	// The descriptor that the child sent is for a path only; this one is for the same
	// folder.
	near, err := unix.Openat(int(f.descriptor.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	defer unix.Close(near)
	found, err := unix.OpenByHandleAt(near, unix.NewFileHandle(int32(number), handle), unix.O_PATH|unix.O_CLOEXEC)
	switch {
	case errors.Is(err, unix.ESTALE), errors.Is(err, unix.ENOENT):
		return false, nil
	case err != nil:
		return false, err
	}
	defer unix.Close(found)
	var stat unix.Stat_t
	if err := unix.Fstat(found, &stat); err != nil {
		return false, err
	}
	return stat.Nlink > 0, nil
}

// inodeID is empty: a number alone finds no file here.
func inodeID(uint64) string { return "" }
