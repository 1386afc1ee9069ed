package store

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"syscall"

	bolterrors "go.etcd.io/bbolt/errors"

	"prlagent/platform/safefile"
)

// codedError is a kind of failure with a stable code. It is always wrapped;
// compare with errors.Is.
type codedError struct {
	code string
	text string
}

func (e *codedError) Error() string { return e.text }

// ErrorCode returns the stable code a person or the portal sees.
func (e *codedError) ErrorCode() string { return e.code }

// The kinds of failure. Only ErrDamaged says anything about the content of the
// database; all others leave every file as it was (hardening H50).
var (
	// ErrLocked (already_running): another process holds the lock file or the
	// database file, and did not let go within Options.LockWait.
	ErrLocked error = &codedError{"already_running", "another process uses the state database"}
	// ErrDamaged (store_damaged): the content is not what was committed.
	ErrDamaged error = &codedError{"store_damaged", "the state database is damaged"}
	// ErrNewer (store_newer): a newer version of this program has written the
	// database, in a format that this one does not read. Its content is good, and
	// stays for the version that reads it.
	ErrNewer error = &codedError{"store_newer", "a newer version has written the state database"}
	// ErrFull (store_full): no space, no quota, or a size limit (Options.MaxSize,
	// RLIMIT_FSIZE) is reached.
	ErrFull error = &codedError{"store_full", "no space for the state database"}
	// ErrDenied (store_denied): missing permission, a read-only volume, or a
	// folder or file that must not be trusted (symbolic link, wrong owner, group
	// or world writable).
	ErrDenied error = &codedError{"store_denied", "access to the state database is denied"}
	// ErrIO (store_io): every other failure of the system, above all EIO. It may
	// pass, and replacing a file on a failing disk helps nobody.
	ErrIO error = &codedError{"store_io", "the state database cannot be read or written"}
)

// Failed reports whether err is a failure of the database, one of the kinds
// above, and not an error of other origin such as the caller's own.
func Failed(err error) bool {
	var kind *codedError
	return errors.As(err, &kind)
}

// errnoKinds says which kind of failure an error number of the system is. What
// is not listed is ErrIO.
var errnoKinds = []struct {
	errno syscall.Errno
	kind  *error
}{
	{syscall.ENOSPC, &ErrFull},
	{syscall.EDQUOT, &ErrFull},
	{syscall.EFBIG, &ErrFull},
	{syscall.EACCES, &ErrDenied},
	{syscall.EPERM, &ErrDenied},
	{syscall.EROFS, &ErrDenied},
	{syscall.ELOOP, &ErrDenied},  // a link where none may be
	{syscall.EISDIR, &ErrDenied}, // a folder in place of the file
}

// causeKinds says which kind of failure an error of bbolt or safefile is.
var causeKinds = []struct{ cause, kind *error }{
	{&safefile.ErrUnsafeDirectory, &ErrDenied},
	{&safefile.ErrSymlink, &ErrDenied},
	{&safefile.ErrNotRegular, &ErrDenied},
	{&bolterrors.ErrTimeout, &ErrLocked},
	{&bolterrors.ErrMaxSizeReached, &ErrFull},
	{&bolterrors.ErrInvalid, &ErrDamaged},
	{&bolterrors.ErrChecksum, &ErrDamaged},
	{&bolterrors.ErrVersionMismatch, &ErrDamaged},
}

// withKind wraps err with the kind of failure it is; an error that has a code
// already is left alone.
func withKind(err error) error {
	if err == nil || Failed(err) {
		return err
	}
	return fmt.Errorf("%w: %w", kindOf(err), err)
}

func kindOf(err error) error {
	for _, row := range causeKinds {
		if errors.Is(err, *row.cause) {
			return *row.kind
		}
	}
	for _, row := range errnoKinds {
		// bbolt's DB.grow formats the system's error with %s, which hides it
		// from errors.Is: the text has to do.
		if errors.Is(err, row.errno) || strings.HasSuffix(err.Error(), row.errno.Error()) {
			return *row.kind
		}
	}
	return ErrIO
}

func damagedError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

func deniedError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDenied, fmt.Sprintf(format, args...))
}

// panicError is what a recovered panic becomes.
type panicError struct{ reason any }

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.reason) }

func (e *panicError) Unwrap() error { return ErrDamaged }

// runGuarded runs work and turns a panic, also one from a fault in the memory
// mapping, into an error that is ErrDamaged. SetPanicOnFault holds for the
// calling goroutine only, so work must not leave it.
func runGuarded(work func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if reason := recover(); reason != nil {
			err = &panicError{reason: reason}
		}
	}()
	return work()
}

func isPanic(err error) bool {
	var caught *panicError
	return errors.As(err, &caught)
}
