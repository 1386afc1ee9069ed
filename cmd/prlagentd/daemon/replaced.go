package daemon

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"prlagent/agent"
)

// replacementPoll is how often the daemon looks whether its program was replaced.
const replacementPoll = time.Minute

// replacedError is why a daemon ends whose program was replaced: launchd starts the new
// one. It is an orderly end.
type replacedError struct{}

func (replacedError) Error() string { return "its program was replaced by another one" }

// Is reports whether target is that of an orderly end.
func (replacedError) Is(target error) bool { return target == context.Canceled }

// endWhenReplaced ends the daemon that launchd started from the installed program once
// there is another one: an installer that was ended before its last script has put it
// there and started nothing.
func endWhenReplaced(ctx context.Context, root string, end context.CancelCauseFunc) {
	program := filepath.Join(root, agent.Program)
	if executable, err := os.Executable(); err != nil || executable != program {
		return
	}
	if awaitReplacement(ctx, program) {
		end(replacedError{})
	}
}

// awaitReplacement waits until there is another program at a path than now, one that
// root can run and that two looks in a row have found; false if ctx ends before.
func awaitReplacement(ctx context.Context, program string) bool {
	first, err := os.Lstat(program)
	if err != nil {
		return false
	}
	ticker := time.NewTicker(replacementPoll)
	defer ticker.Stop()
	for last := first; ; {
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
		found, err := os.Lstat(program)
		if err != nil {
			continue
		}
		if !isSameProgram(found, first) && isSameProgram(found, last) && isProgram(found) {
			return true
		}
		last = found
	}
}

// isSameProgram reports whether nothing was written between two looks. Other names of a
// file, and its mode, change nothing.
func isSameProgram(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// isProgram reports whether launchd can start the file, and root may: nobody else could
// have written it.
func isProgram(info fs.FileInfo) bool {
	owner, known := info.Sys().(*syscall.Stat_t)
	return info.Mode().IsRegular() && info.Size() > 0 && info.Mode()&0o100 != 0 && info.Mode()&0o022 == 0 &&
		known && (owner.Uid == 0 || int(owner.Uid) == os.Geteuid())
}
