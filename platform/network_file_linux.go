package platform

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// watchFile opens the notifications about a file, which need not be there, from
// the folder that it is in.
func watchFile(path string) (networkWatch, error) {
	descriptor, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("open inotify: %w", err)
	}
	queue, err := pollableFile(descriptor, "inotify")
	if err != nil {
		return nil, err
	}
	const events = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE
	if _, err := unix.InotifyAddWatch(descriptor, filepath.Dir(path), events|unix.IN_ONLYDIR); err != nil {
		queue.Close()
		return nil, &os.PathError{Op: "watch", Path: filepath.Dir(path), Err: err}
	}
	return func(ctx context.Context, tell func()) error {
		buffer := make([]byte, 4<<10)
		return readUntilDone(ctx, queue, func(descriptor int) error {
			length, err := unix.Read(descriptor, buffer)
			if err != nil {
				return err
			}
			named, err := inotifyNames(buffer[:length], filepath.Base(path))
			if named {
				tell()
			}
			return err
		})
	}, nil
}

// inotifyNames reports whether events (inotify(7): watch, mask, cookie, length,
// name) are about the name, or so many that some were lost. It is an error when
// the folder is gone.
func inotifyNames(data []byte, name string) (bool, error) {
	named := false
	for len(data) >= unix.SizeofInotifyEvent {
		mask, length := binary.NativeEndian.Uint32(data[4:]), binary.NativeEndian.Uint32(data[12:])
		data = data[unix.SizeofInotifyEvent:]
		if mask&unix.IN_IGNORED != 0 {
			return named, errors.New("watched folder is gone")
		}
		length = min(length, uint32(len(data)))
		named = named || mask&unix.IN_Q_OVERFLOW != 0 || strings.TrimRight(string(data[:length]), "\x00") == name
		data = data[length:]
	}
	return named, nil
}
