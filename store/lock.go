package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"prlagent/platform/safefile"
)

const (
	lockName = "state.lock"
	lockPoll = 50 * time.Millisecond
)

// openDir makes dir (its parent must exist) and refuses one in which another
// user could exchange files, or which another user could exchange (H53).
func openDir(dir string) (*safefile.Folder, error) {
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return makeDir(dir)
	}
	if err != nil {
		return nil, withKind(fmt.Errorf("inspect state folder: %w", err))
	}
	if !info.IsDir() {
		return nil, deniedError("%s is not a folder (links are not followed)", dir)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return nil, deniedError("%s has mode %04o: others may write there", dir, mode)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; int(owner) != os.Geteuid() {
		return nil, deniedError("%s belongs to uid %d, not to uid %d", dir, owner, os.Geteuid())
	}
	folder, err := safefile.OpenFolder(dir)
	if err != nil {
		return nil, withKind(fmt.Errorf("open state folder: %w", err))
	}
	return folder, nil
}

func makeDir(dir string) (*safefile.Folder, error) {
	if _, err := os.Lstat(filepath.Dir(dir)); err != nil {
		return nil, withKind(fmt.Errorf("make state folder: %w", err))
	}
	folder, err := safefile.MakeFolder(dir, 0o700)
	if err != nil {
		return nil, withKind(fmt.Errorf("make state folder: %w", err))
	}
	return folder, nil
}

// acquireLock takes the lock file of a folder, which decides who is the daemon
// before the database is touched (hardening H50). The file is never removed: a
// lock on a removed file would exclude nobody. The lock ends with release.
func acquireLock(ctx context.Context, folder *safefile.Folder, wait time.Duration) (*os.File, error) {
	file, err := folder.OpenFile(lockName, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, withKind(fmt.Errorf("open lock file: %w", err))
	}
	if err := waitForLock(ctx, file, wait); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// unlockAndClose gives back the lock of a file, if it has one, and closes it.
// To close it is not enough: the lock belongs to what was opened, and a child
// that this process has forked holds that open too until its exec.
func unlockAndClose(file *os.File) error {
	_ = syscall.Flock(int(file.Fd()), syscall.LOCK_UN) // fails if the file was closed already
	return file.Close()
}

func waitForLock(ctx context.Context, file *os.File, wait time.Duration) error {
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	poll := time.NewTicker(lockPoll)
	defer poll.Stop()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return withKind(fmt.Errorf("lock: %w", err))
		}
		if wait <= 0 {
			return fmt.Errorf("lock: %w", ErrLocked)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("lock: %w", ctx.Err())
		case <-timeout.C:
			wait = 0
		case <-poll.C:
		}
	}
}
