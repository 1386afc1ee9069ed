package platform

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"prlagent/platform/safefile"
	"prlagent/platform/tool"
)

var errReplaceable = errors.New("somebody else could have replaced it")

// CommandLine is our own program for people, beside the daemon's.
const CommandLine = "/Library/Application Support/prlagent/bin/prlagent"

// RunCommandLine runs our own command line as who we are. One that somebody else could
// have put there is tool_refused, as a helper is.
func (m *Machine) RunCommandLine(ctx context.Context, c *tool.Command) (tool.Result, error) {
	ours := *c // the caller's stays as it is
	ours.Path = CommandLine
	if err := m.CheckRootOwned(CommandLine); err != nil {
		return tool.Result{ExitCode: -1}, &tool.Error{Code: tool.CodeRefused, Path: CommandLine, Err: err}
	}
	return m.tools.Run(ctx, &ours)
}

// CheckRootOwned returns nil if nobody but root, or who plays root, can have put a
// program where it is: otherwise one user's program would run as another user. It
// must be a file of ours or root's and no link, not writable by others, in a folder
// that is nobody else's either (safefile.OpenFolder). One that is not there is
// fs.ErrNotExist.
func (m *Machine) CheckRootOwned(macPath string) error {
	path := m.Path(macPath)
	folder, err := safefile.OpenFolder(filepath.Dir(path))
	if errors.Is(err, safefile.ErrUnsafeDirectory) {
		return fmt.Errorf("a folder above the program: %w", errReplaceable)
	}
	if err != nil {
		return withoutPath(err)
	}
	defer folder.Close()
	program, err := folder.Lstat(filepath.Base(path))
	if err != nil {
		return withoutPath(err)
	}
	if !program.Regular || !isOurs(program.UID) || program.Mode&0o002 != 0 || program.UID == 0 && program.Mode&0o020 != 0 {
		return fmt.Errorf("the program: %w", errReplaceable)
	}
	return nil
}

func isOurs(uid uint32) bool { return uid == 0 || uid == uint32(os.Geteuid()) }

// withoutPath keeps a path of this disk out of what the portal may see.
func withoutPath(err error) error {
	var failed *fs.PathError
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}
