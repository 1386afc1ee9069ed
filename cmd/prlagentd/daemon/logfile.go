package daemon

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"prlagent/platform/safefile"
)

// rotatedFile is a log that keeps itself small: at maxSize the file becomes
// NAME.1.gz, what was NAME.1.gz becomes NAME.2.gz, and of those at most kept
// stay. It writes where a reader looks: a file, or a folder, that was deleted or
// replaced since the last record is made anew (H53). No link is followed, and
// nothing is written into a folder that others can change.
type rotatedFile struct {
	path    string // on this disk
	maxSize int64  // bytes
	kept    int    // rotated files

	mutex   sync.Mutex
	folder  *safefile.Folder // nil = not opened yet
	file    *os.File         // nil = none is open
	written safefile.Entry   // what file is
	size    int64
	ragged  bool // the last record is not whole: the disk was full

	packing sync.WaitGroup // the last rotated file is being compressed
}

// Write writes one record, on a line of its own.
func (f *rotatedFile) Write(record []byte) (int, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if err := f.prepare(int64(len(record))); err != nil {
		return 0, err
	}
	if f.ragged {
		n, err := f.file.Write([]byte("\n"))
		f.size += int64(n)
		if err != nil {
			return 0, fmt.Errorf("write log: %w", err)
		}
		f.ragged = false
	}
	n, err := f.file.Write(record)
	f.size += int64(n)
	if err != nil {
		f.ragged = n > 0
		return n, fmt.Errorf("write log: %w", err)
	}
	return n, nil
}

// Close closes the file.
func (f *rotatedFile) Close() error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.packing.Wait()
	err := f.closeFile()
	if f.folder != nil {
		err = errors.Join(err, f.folder.Close())
		f.folder = nil
	}
	return err
}

func (f *rotatedFile) closeFile() error {
	if f.file == nil {
		return nil
	}
	file := f.file
	f.file = nil
	return file.Close()
}

// prepare leaves the right file open, with room for a record.
func (f *rotatedFile) prepare(length int64) error {
	if err := f.findFolder(); err != nil {
		return err
	}
	if err := f.findFile(); err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	if f.size == 0 || f.size+length <= f.maxSize {
		return nil
	}
	if err := f.rotate(); err != nil {
		return fmt.Errorf("rotate log: %w", err)
	}
	return nil
}

// findFolder opens the log's folder again where its path does not lead there any
// more. Where it now leads through a folder that others can change, they have
// exchanged it: the log stays in the one that was looked at.
func (f *rotatedFile) findFolder() error {
	if f.folder != nil && f.folder.LeadsHere() {
		return nil
	}
	found, err := safefile.MakeFolder(filepath.Dir(f.path), 0o755)
	if f.folder != nil && errors.Is(err, safefile.ErrUnsafeDirectory) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open log folder: %w", err)
	}
	f.packing.Wait()
	if f.folder != nil {
		_ = errors.Join(f.closeFile(), f.folder.Close()) // it is of no more use either way
	}
	f.folder = found
	return nil
}

// findFile opens the log's file again where it is not the one that was written
// to. What stands there and is no file of ours with this one name is no log, and
// may lead elsewhere.
func (f *rotatedFile) findFile() error {
	found, err := f.folder.Lstat(f.name())
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case err == nil && f.file != nil && found.IsSameFile(f.written):
		return nil
	case err == nil && !isLog(found):
		if err := f.folder.Remove(f.name()); err != nil {
			return fmt.Errorf("remove what is no log: %w", err)
		}
	}
	_ = f.closeFile()
	return f.openFile()
}

func isLog(entry safefile.Entry) bool {
	return entry.Regular && entry.Links == 1 && entry.UID == uint32(os.Geteuid())
}

func (f *rotatedFile) openFile() error {
	file, err := f.folder.OpenFile(f.name(), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	written, err := safefile.EntryOf(file)
	if err != nil {
		return errors.Join(err, file.Close())
	}
	last := []byte{'\n'}
	if written.Size > 0 {
		_, err = file.ReadAt(last, written.Size-1)
	}
	f.file, f.written, f.size, f.ragged = file, written, written.Size, err != nil || last[0] != '\n'
	return nil
}

func (f *rotatedFile) name() string { return filepath.Base(f.path) }

const packedSuffix = ".gz"

// rotated is the name of a rotated file; the first is the newest.
func (f *rotatedFile) rotated(number int) string { return f.name() + "." + strconv.Itoa(number) }

// rotate moves the file to the first of the rotated ones, each of which moves on,
// and begins a new one. A rotated file is not compressed where that was cut off.
func (f *rotatedFile) rotate() error {
	f.packing.Wait()
	for number := f.kept; number > 0; number-- {
		for _, suffix := range []string{"", packedSuffix} {
			err := f.moveOn(number, suffix)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	if err := f.folder.Rename(f.name(), f.rotated(1)); err != nil {
		return err
	}
	_ = f.closeFile()
	folder, name := f.folder, f.rotated(1)
	f.packing.Go(func() { _ = packFile(folder, name) })
	return f.openFile()
}

func (f *rotatedFile) moveOn(number int, suffix string) error {
	if number == f.kept {
		return f.folder.Remove(f.rotated(number) + suffix)
	}
	return f.folder.Rename(f.rotated(number)+suffix, f.rotated(number+1)+suffix)
}

// packFile puts a compressed file in the place of another.
func packFile(folder *safefile.Folder, name string) error {
	from, err := folder.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer from.Close()
	packed := name + packedSuffix
	to, err := folder.OpenFile(packed, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	pack := gzip.NewWriter(to)
	_, err = io.Copy(pack, from)
	if err = errors.Join(err, pack.Close(), to.Close()); err != nil {
		return errors.Join(err, folder.Remove(packed)) // the file stays as it is
	}
	return folder.Remove(name)
}
