// Package platform is this machine: its users and their sessions, its processes,
// its facts, its files, and how to run a program as one of its users.
//
// Every path that goes in or out is the Mac's absolute path. Only the edge that
// opens a file or starts a program adds the root, the folder of a simulated Mac.
package platform

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"prlagent/platform/tool"
)

// Runner runs one program. *tool.Runner is one, and so is what Machine.As
// returns.
type Runner interface {
	Run(context.Context, *tool.Command) (tool.Result, error)
}

// Tools are the ways to start programs. *tool.Runner has both.
type Tools interface {
	Runner
	// Follow hands over each line that the program prints, for as long as it lives.
	Follow(ctx context.Context, c *tool.Command, line func(text []byte, cut bool)) (tool.Result, error)
}

// Machine is this Mac, or a simulated one below a root. It is safe for
// concurrent use.
type Machine struct {
	// ToolChanged is told of each run of a vendor's program that does not count
	// because the program was exchanged (H58); nil is nobody. It is set before
	// the first run, must not block, and may be called at the same time.
	ToolChanged func(macPath string)

	root      string
	tools     Tools
	processes processTable
	calls     fileCalls
	lstat     func(path string, stat *unix.Stat_t) error

	mu      sync.Mutex
	fixed   *fixedFacts             // read once: they never change while we run
	trusted map[string]programState // by Mac path: the program as it was when its signature was verified
}

// New returns the machine whose root volume is the folder root, an absolute path;
// "" is the real one. The tools start programs with the same root.
func New(root string, tools Tools) *Machine {
	return &Machine{root: root, tools: tools, calls: newFileCalls(), lstat: unix.Lstat, trusted: make(map[string]programState)}
}

// Path gives the place of a Mac path on this disk. It never leads out of the
// root.
func (m *Machine) Path(macPath string) string {
	return filepath.Join(m.root, filepath.Clean("/"+macPath))
}

// Owner is the uid of who plays root: 0, or below a root whose folder that is.
func (m *Machine) Owner() (uint32, error) {
	if m.root == "" {
		return 0, nil
	}
	var stat unix.Stat_t
	if err := unix.Stat(m.root, &stat); err != nil {
		return 0, fmt.Errorf("look at root: %w", err)
	}
	return stat.Uid, nil
}

// FreeSpace gives the bytes that an ordinary process can still write on the
// volume that holds macPath. Purgeable space does not count (facts/macos.md 8).
func (m *Machine) FreeSpace(macPath string) (uint64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(m.Path(macPath), &stat); err != nil {
		return 0, fmt.Errorf("read free space of %s: %w", macPath, err)
	}
	return stat.Bavail * uint64(stat.Bsize), nil
}

// runQuery runs a query and gives what it printed. An exit code other than 0 is a
// tool.Error with the code tool_failed.
func (m *Machine) runQuery(ctx context.Context, c *tool.Command) ([]byte, error) {
	result, err := m.tools.Run(ctx, c)
	if err != nil {
		return nil, err
	}
	if result.ExitCode != 0 {
		return nil, &tool.Error{Code: tool.CodeFailed, Path: c.Path, Err: fmt.Errorf("exit code %d", result.ExitCode)}
	}
	return result.Stdout, nil
}
