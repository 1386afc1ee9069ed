package launchd

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"prlagent/platform/safefile"
)

const (
	plistMode = 0o644 // launchd refuses a file that others can write (facts/macos.md 1.2)
	maxPlist  = 1 << 20
	wheel     = 0 // the group of what root installs
)

// path is the place of a Mac path on this disk.
func (m *Manager) path(macPath string) string {
	return filepath.Join(m.Root, macPath)
}

// checkProgram says that there is nothing to start, or that root must not start it:
// others can exchange it (H53).
func (m *Manager) checkProgram() error {
	folder, err := safefile.OpenFolder(m.path(path.Dir(daemonPath)))
	if errors.Is(err, safefile.ErrUnsafeDirectory) {
		return fmt.Errorf("look at program: %w", err)
	}
	var entry safefile.Entry
	if err == nil {
		defer folder.Close()
		entry, err = folder.Lstat(path.Base(daemonPath))
	}
	if err == nil && !entry.Regular {
		err = safefile.ErrNotRegular
	}
	switch {
	case err != nil:
		return &Error{CodeProgramMissing, fmt.Errorf("look at program: %w", err)}
	case entry.Mode&0o022 != 0:
		return &Error{CodeProgramUnsafe, fmt.Errorf("its mode is %04o", entry.Mode)}
	case entry.UID != 0 && entry.UID != uint32(os.Geteuid()):
		return &Error{CodeProgramUnsafe, fmt.Errorf("it belongs to uid %d", entry.UID)}
	}
	return nil
}

// makeFolders makes the folders that the job needs: launchd starts nothing whose file
// for standard error it cannot open.
func (m *Manager) makeFolders() error {
	job := AgentJob()
	for _, macPath := range []string{job.WorkingDirectory, path.Dir(job.StandardErrorPath)} {
		folder, err := safefile.MakeFolder(m.path(macPath), 0o755)
		if err != nil {
			return fmt.Errorf("make folder of job: %w", err)
		}
		if err := folder.Close(); err != nil {
			return fmt.Errorf("make folder of job: %w", err)
		}
	}
	return nil
}

// hasFile reports whether the job's file is this one, and launchd takes it.
func (m *Manager) hasFile(data []byte) bool {
	folder, err := safefile.OpenFolder(m.path(filepath.Dir(PlistPath)))
	if err != nil {
		return false
	}
	defer folder.Close()
	name := filepath.Base(PlistPath)
	entry, err := folder.Lstat(name)
	if err != nil || !entry.Regular || entry.Mode != plistMode || entry.UID != uint32(os.Geteuid()) {
		return false
	}
	found, err := folder.ReadFile(name, maxPlist)
	return err == nil && bytes.Equal(found, data)
}

// writeFile puts the job's file in place in one step. What is there and is no file,
// such as a link, goes first: the folder is root's alone, so root has put it there.
func (m *Manager) writeFile(data []byte) error {
	folder, err := safefile.MakeFolder(m.path(filepath.Dir(PlistPath)), 0o755)
	if err != nil {
		return fmt.Errorf("open folder of job: %w", err)
	}
	defer folder.Close()
	name := filepath.Base(PlistPath)
	if entry, err := folder.Lstat(name); err == nil && !entry.Regular {
		if err := folder.Remove(name); err != nil {
			return fmt.Errorf("replace job: %w", err)
		}
	}
	group := wheel
	if m.Root != "" {
		group = -1
	}
	if err := folder.WriteFile(name, data, plistMode, group); err != nil {
		return fmt.Errorf("write job: %w", err)
	}
	return nil
}

// removeFile removes the job's file, if there is one.
func (m *Manager) removeFile() error {
	folder, err := safefile.OpenFolder(m.path(filepath.Dir(PlistPath)))
	if err == nil {
		defer folder.Close()
		err = folder.Remove(filepath.Base(PlistPath))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove job: %w", err)
	}
	return nil
}

// IsInstalled reports whether the job's file is in place as it is to be.
func (m *Manager) IsInstalled() bool {
	data, err := AgentJob().Plist()
	return err == nil && m.hasFile(data)
}
