package platform

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pollableFile hands a descriptor that does not block to Go's poller (kqueue on a
// Mac, epoll on Linux), so that reading from it holds no thread, costs nothing
// while nothing comes, and ends when a deadline says so. A route socket is a
// socket like any other to kqueue; where the poller refuses a descriptor it is an
// error here and not a read that never ends. After an error it is closed.
func pollableFile(descriptor int, name string) (*os.File, error) {
	if err := unix.SetNonblock(descriptor, true); err != nil {
		unix.Close(descriptor)
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	file := os.NewFile(uintptr(descriptor), name)
	if err := file.SetReadDeadline(time.Time{}); err != nil {
		file.Close()
		return nil, fmt.Errorf("wait for %s: %w", name, err)
	}
	return file, nil
}

// readUntilDone calls receive for all that can be read until ctx is done, which
// is no error, and closes the file. receive reads once; unix.EAGAIN from it means
// that there is nothing to read now.
func readUntilDone(ctx context.Context, file *os.File, receive func(descriptor int) error) error {
	defer file.Close()
	defer context.AfterFunc(ctx, func() { _ = file.SetReadDeadline(time.Unix(1, 0)) })()
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	for {
		var failed error
		err := raw.Read(func(descriptor uintptr) bool {
			failed = receive(int(descriptor))
			return !errors.Is(failed, unix.EAGAIN)
		})
		if ctx.Err() != nil {
			return nil
		}
		if err := errors.Join(err, failed); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("read %s: %w", file.Name(), err)
		}
	}
}
