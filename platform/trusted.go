package platform

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"prlagent/platform/tool"
)

// CodeToolsUntrusted is the code of a program whose signature is not the
// vendor's (H10).
const CodeToolsUntrusted = "tools_untrusted"

// vendorRequirement: signed under Apple's root by the vendor's team.
const vendorRequirement = `anchor apple generic and certificate leaf[subject.OU] = "4C6364ACXT"`

// fileState identifies the file that was looked at, as it was then. The time
// of the last change of its metadata is in it because, unlike the time of its
// content, no user can set it.
type fileState struct {
	device, inode, size uint64
	modified, changed   unix.Timespec
}

// Trusted returns nil for a program file that carries the vendor's signature,
// as codesign verifies it (H10). A good answer holds until the file's device,
// inode, size or times change; a bad one is asked for again each time.
//
// A program that is not there is a *tool.Error with the code tool_missing; a
// wrong signature, a symbolic link, and a file that changes during the check
// are tools_untrusted. Other errors mean that nobody knows.
func (m *Machine) Trusted(ctx context.Context, macPath string) error {
	before, err := m.programFile(macPath)
	if err != nil {
		return err
	}
	if m.wasTrusted(macPath, before) {
		return nil
	}
	result, err := m.tools.Run(ctx, tool.Command{
		Path: "/usr/bin/codesign",
		Args: []string{"--verify", "-R=" + vendorRequirement, macPath},
	})
	if err != nil {
		return fmt.Errorf("verify signature: %w", err)
	}
	if result.ExitCode != 0 {
		return untrustedError(macPath, fmt.Errorf("codesign refused it with exit code %d", result.ExitCode))
	}
	after, err := m.programFile(macPath)
	if err != nil {
		return err
	}
	if after != before {
		return untrustedError(macPath, errors.New("it changed while it was verified"))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trusted[macPath] = after
	return nil
}

func (m *Machine) wasTrusted(macPath string, now fileState) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	then, known := m.trusted[macPath]
	return known && then == now
}

func (m *Machine) programFile(macPath string) (fileState, error) {
	var stat unix.Stat_t
	err := unix.Lstat(m.Path(macPath), &stat)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return fileState{}, &tool.Error{Code: tool.CodeMissing, Path: macPath, Err: err}
	}
	if err != nil {
		return fileState{}, fmt.Errorf("look at %s: %w", macPath, err)
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return fileState{}, untrustedError(macPath, errors.New("not a regular file"))
	}
	return fileState{uint64(stat.Dev), stat.Ino, uint64(stat.Size), stat.Mtim, stat.Ctim}, nil
}

func untrustedError(macPath string, err error) error {
	return &tool.Error{Code: CodeToolsUntrusted, Path: macPath, Err: err}
}
