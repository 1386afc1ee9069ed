package platform

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"prlagent/platform/tool"
)

// Codes of the vendor's programs that are not run, or not believed.
const (
	CodeToolsUntrusted = "tools_untrusted" // the signature is not the vendor's (H10)
	CodeToolsChanged   = "tools_changed"   // exchanged between the check and the end of a run, which does not count (H58)
)

// What a signature must be: under Apple's root, with a Developer ID of the
// vendor's team, and for the application also under its identifier. The vendor
// names all four for the application (facts/acting.md 4). By which identifiers
// its command line tools are signed is not known, so that a tool is told from
// another one of the vendor's by its place in the application only.
const (
	vendorRequirement = `anchor apple generic` +
		` and certificate 1[field.1.2.840.113635.100.6.2.6] exists` +
		` and certificate leaf[field.1.2.840.113635.100.6.1.13] exists` +
		` and certificate leaf[subject.OU] = "4C6364ACXT"`
	// ApplicationRequirement is also what a privacy profile for the application says.
	ApplicationRequirement = `identifier "com.parallels.desktop.console" and ` + vendorRequirement
)

// fileState identifies a file or folder that was looked at, as it was then. The
// time of the last change of its metadata is in it because, unlike the time of
// its content, no user can set it.
type fileState struct {
	device, inode, size uint64
	modified, changed   unix.Timespec
}

// maxDepth is how many folders deep in the application a program lies at most.
const maxDepth = 8

// programState is what a program file is, and what each folder from that of the
// application down to it is. An exchange of a folder changes its parent, so
// that it shows also after a change back. Of what holds the application, where
// others are installed all the time, only the folder and the time of its
// content count.
type programState [maxDepth + 2]fileState

// Trusted returns nil for a program file that carries the vendor's signature,
// and lies in an application that does, as codesign verifies them (H10). A good
// answer holds until device, inode, size or times of either change; a bad one is
// asked for again each time.
//
// A program that is not there is a *tool.Error with the code tool_missing; a
// wrong signature, a symbolic link, and a file that changes during the check
// are tools_untrusted. Other errors mean that nobody knows.
func (m *Machine) Trusted(ctx context.Context, macPath string) error {
	_, err := m.trustedState(ctx, macPath)
	return err
}

// TrustedApplication returns nil for an application that meets
// ApplicationRequirement. Errors are those of Trusted.
func (m *Machine) TrustedApplication(ctx context.Context) error {
	_, err := m.verify(ctx, VendorBundle, false, "--verify", "--ignore-resources", "-R="+ApplicationRequirement, VendorBundle)
	return err
}

// trustedState gives the state in which the program is trusted.
func (m *Machine) trustedState(ctx context.Context, macPath string) (programState, error) {
	if err := m.TrustedApplication(ctx); err != nil {
		return programState{}, err
	}
	return m.verify(ctx, macPath, true, "--verify", "-R="+vendorRequirement, macPath)
}

// verify asks codesign about a program, or the application, unless it is as it
// was when it was good, and gives how it is. The contents of all the
// application's files, which are a gigabyte, are not looked at.
func (m *Machine) verify(ctx context.Context, macPath string, isProgram bool, args ...string) (programState, error) {
	before, err := m.programState(ctx, macPath, isProgram)
	if err != nil || m.wasTrusted(macPath, before) {
		return before, err
	}
	result, err := m.tools.Run(ctx, &tool.Command{Path: "/usr/bin/codesign", Args: args})
	if err != nil {
		return programState{}, fmt.Errorf("verify signature: %w", err)
	}
	if result.ExitCode != 0 {
		return programState{}, untrustedError(macPath, fmt.Errorf("codesign refused it with exit code %d", result.ExitCode))
	}
	after, err := m.programState(ctx, macPath, isProgram)
	if err != nil {
		return programState{}, err
	}
	if after != before {
		return programState{}, untrustedError(macPath, errors.New("it changed while it was verified"))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trusted[macPath] = after
	return after, nil
}

func (m *Machine) wasTrusted(macPath string, now programState) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	then, known := m.trusted[macPath]
	return known && then == now
}

// pinTrusted ties the check of one of the vendor's programs to its use: it must
// be right before the start what codesign verified, and check reports whether it
// still is: else nothing that it said counts. What is left to who can exchange
// it is to do so twice between two looks and let nothing of a programState show.
func (m *Machine) pinTrusted(ctx context.Context, macPath string) (check func() error, err error) {
	if !isInside(macPath, VendorBundle) {
		return func() error { return nil }, nil
	}
	before, err := m.trustedState(ctx, macPath)
	if err != nil {
		return nil, err
	}
	check = func() error {
		now, err := m.programState(context.WithoutCancel(ctx), macPath, true)
		if err == nil && now == before {
			return nil
		}
		if m.ToolChanged != nil {
			m.ToolChanged(macPath)
		}
		return &tool.Error{Code: CodeToolsChanged, Path: macPath, Err: errors.New("it was exchanged while it was used")}
	}
	return check, nil
}

// programState looks at a program, or another file of the application.
func (m *Machine) programState(ctx context.Context, macPath string, isProgram bool) (programState, error) {
	return callInTime(ctx, m.calls, macPath, func() (programState, error) { return m.lookAtProgram(macPath, isProgram) })
}

func (m *Machine) lookAtProgram(macPath string, isProgram bool) (state programState, err error) {
	chain := programChain(macPath)
	if len(chain) > len(state) {
		return programState{}, untrustedError(macPath, errors.New("it lies too deep"))
	}
	for i, path := range chain {
		var stat unix.Stat_t
		err := m.lstat(m.Path(path), &stat)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			return programState{}, &tool.Error{Code: tool.CodeMissing, Path: macPath, Err: err}
		}
		if err != nil {
			return programState{}, fmt.Errorf("look at %s: %w", path, err)
		}
		if isProgram && path == macPath && stat.Mode&unix.S_IFMT != unix.S_IFREG {
			return programState{}, untrustedError(macPath, errors.New("not a regular file"))
		}
		state[i] = fileState{uint64(stat.Dev), stat.Ino, uint64(stat.Size), stat.Mtim, stat.Ctim}
		if path == filepath.Dir(VendorBundle) {
			state[i].size, state[i].changed = 0, unix.Timespec{}
		}
	}
	return state, nil
}

// programChain is the program and, where it lies in the application, every folder
// from that which holds the application down to it.
func programChain(macPath string) []string {
	if macPath != VendorBundle && !isInside(macPath, VendorBundle) {
		return []string{macPath}
	}
	chain := []string{filepath.Dir(VendorBundle), VendorBundle}
	path := VendorBundle
	for name := range strings.SplitSeq(strings.Trim(strings.TrimPrefix(macPath, VendorBundle), "/"), "/") {
		if name != "" {
			path += "/" + name
			chain = append(chain, path)
		}
	}
	return chain
}

func untrustedError(macPath string, err error) error {
	return &tool.Error{Code: CodeToolsUntrusted, Path: macPath, Err: err}
}
