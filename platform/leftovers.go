package platform

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"prlagent/platform/safefile"
)

// ChildRecord keeps in a file which programs we have started and not seen the
// end of. On a Mac nothing ends them with a daemon that is killed hard: launchd
// ends what is in the daemon's own process group, and each program leads one of
// its own. EndLeftovers does it at the next start. What is started in the moment
// of the kill, before it is written down, ends by itself.
//
// It is a tool.Children, and safe for concurrent use.
type ChildRecord struct {
	mu   sync.Mutex
	file *os.File
	now  recordedChildren
}

// recordedChildren is the content of the file.
type recordedChildren struct {
	Boot     string                `json:"boot"`
	Children map[int]recordedChild `json:"children"` // by process id
}

// recordedChild is what tells a process from another that has its id later.
type recordedChild struct {
	Started int64 `json:"started"` // in the kernel's own unit
}

// maxRecord caps the file, in bytes.
const maxRecord = 64 << 10

// OpenChildRecord begins a record at a path on this disk, in a folder that is
// ours alone. What it held is forgotten: see EndLeftovers before.
func OpenChildRecord(path string) (*ChildRecord, error) {
	boot, _, err := AwakeTime()
	if err != nil {
		return nil, fmt.Errorf("open record of children: %w", err)
	}
	folder, err := safefile.OpenFolder(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("open record of children: %w", err)
	}
	defer folder.Close()
	file, err := folder.OpenFile(filepath.Base(path), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open record of children: %w", err)
	}
	r := &ChildRecord{file: file, now: recordedChildren{Boot: boot, Children: make(map[int]recordedChild)}}
	return r, r.write()
}

// Close closes the file.
func (r *ChildRecord) Close() error { return r.file.Close() }

// Began notes a program that leads a process group of its own.
func (r *ChildRecord) Began(pid int) {
	if identity, err := identifyProcess(pid); err == nil {
		r.change(func(children map[int]recordedChild) { children[pid] = recordedChild{identity.started} })
	}
}

// Ended forgets a program.
func (r *ChildRecord) Ended(pid int) {
	r.change(func(children map[int]recordedChild) { delete(children, pid) })
}

// change writes the record anew. One that cannot be written is as good as none:
// the programs end by themselves.
func (r *ChildRecord) change(how func(map[int]recordedChild)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	how(r.now.Children)
	_ = r.write()
}

// write replaces the content in place. A kill in between leaves the old end
// behind a whole new value, and it is read up to there; nothing is synced,
// because no process outlives a crash of the Mac.
func (r *ChildRecord) write() error {
	data, err := json.Marshal(r.now)
	if err != nil {
		return err
	}
	data = append(data, '\n')
	_, err = r.file.WriteAt(data, 0)
	return errors.Join(err, r.file.Truncate(int64(len(data))))
}

// EndLeftovers kills what a daemon that was killed hard left running, with all
// that is in its process groups, and gives the ids. A process is ours if it has
// the id, the start time and the boot that were written down: never by its name,
// nor by its program, which sudo and launchctl exchange for another in place.
// Nobody else may write the file, and no other daemon run.
func EndLeftovers(path string) (ended []int, err error) {
	data, err := safefile.ReadTrustedFile(path, uint32(os.Geteuid()), maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read record of children: %w", err)
	}
	left, err := parseChildRecord(data)
	if err != nil {
		return nil, fmt.Errorf("read record of children: %w", err)
	}
	boot, _, err := AwakeTime()
	if err != nil || boot != left.Boot {
		return nil, err
	}
	for pid, child := range left.Children {
		identity, err := identifyProcess(pid)
		if err != nil || identity.ended || identity.started != child.Started {
			continue
		}
		if syscall.Kill(-pid, syscall.SIGKILL) == nil {
			ended = append(ended, pid)
		}
	}
	return ended, nil
}

// parseChildRecord reads the first value of the file; every id in it is one that
// a process of ours can have.
func parseChildRecord(data []byte) (recordedChildren, error) {
	var left recordedChildren
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&left); err != nil {
		return recordedChildren{}, fmt.Errorf("parse: %w", err)
	}
	for pid := range left.Children {
		if pid <= 1 || pid == os.Getpid() || pid > 1<<30 {
			return recordedChildren{}, errors.New("an id that no program of ours has")
		}
	}
	return left, nil
}

// processIdentity is what tells a process from others.
type processIdentity struct {
	started int64 // in the kernel's own unit
	ended   bool  // and nobody has waited for it
}
