package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"prlagent/platform/safefile"
)

// CodeOf is the code that an error of this package carries, for the tests inside
// and outside of it; empty for nil and for errors of other origin.
func CodeOf(err error) string {
	var kind *codedError
	if errors.As(err, &kind) {
		return kind.ErrorCode()
	}
	return ""
}

// TestH50_OnlyDamageIsDamage says for every failure of the system what it is.
func TestH50_OnlyDamageIsDamage(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		err  error
		code string
	}{
		{"disk full", &fs.PathError{Op: "write", Err: syscall.ENOSPC}, "store_full"},
		{"over quota", &fs.PathError{Op: "write", Err: syscall.EDQUOT}, "store_full"},
		{"file too large", &fs.PathError{Op: "write", Err: syscall.EFBIG}, "store_full"},
		{"disk full, as DB.grow words it", fmt.Errorf("file resize error: %s", syscall.ENOSPC), "store_full"},
		{"limit of bbolt", fmt.Errorf("spill: %w", bolterrors.ErrMaxSizeReached), "store_full"},
		{"no permission", &fs.PathError{Op: "open", Err: syscall.EACCES}, "store_denied"},
		{"not permitted (TCC, sandbox)", &fs.PathError{Op: "open", Err: syscall.EPERM}, "store_denied"},
		{"read-only volume", &fs.PathError{Op: "open", Err: syscall.EROFS}, "store_denied"},
		{"failing disk", &fs.PathError{Op: "read", Err: syscall.EIO}, "store_io"},
		{"no descriptors left", &fs.PathError{Op: "open", Err: syscall.EMFILE}, "store_io"},
		{"no memory for the mapping", fmt.Errorf("mmap allocate error: %s", syscall.ENOMEM), "store_io"},
		{"lock of bbolt", bolterrors.ErrTimeout, "already_running"},
		{"already classified", fmt.Errorf("open: %w", ErrLocked), "already_running"},
		{"no bbolt file", bolterrors.ErrInvalid, "store_damaged"},
		{"wrong checksum", bolterrors.ErrChecksum, "store_damaged"},
		{"panic", runGuarded(func() error { panic("page 7 already freed") }), "store_damaged"},
		{"nothing", nil, ""},
		{"the caller's own", errCaller, "store_io"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := withKind(c.err)
			if CodeOf(err) != c.code {
				t.Errorf("%v has code %q, want %q", err, CodeOf(err), c.code)
			}
			if c.err != nil && !errors.Is(err, c.err) {
				t.Errorf("%v hides its cause", err)
			}
		})
	}
}

var errCaller = errors.New("an error of the caller")

// failingReader is a disk that cannot read one page.
type failingReader struct {
	file  *os.File
	from  int64
	cause error
}

func (r failingReader) ReadAt(buffer []byte, offset int64) (int, error) {
	if offset >= r.from {
		return 0, r.cause
	}
	return r.file.ReadAt(buffer, offset)
}

// TestH50_FailingDiskIsNotDamage: whichever read fails, metas included, the
// error is the disk's.
func TestH50_FailingDiskIsNotDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	folder, path := openedFolder(t, dir), filepath.Join(dir, databaseName)
	if err := makeEmpty(folder, databaseName, &Report{Epoch: "epoch"}, &Options{}); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for from := range 4 {
		reader := failingReader{file: file, from: int64(from * os.Getpagesize()), cause: syscall.EIO}
		_, _, err := walkPages(&pageFile{reader: reader, size: info.Size()}, func(string, []byte, []byte) error { return nil })
		if CodeOf(err) != "store_io" {
			t.Errorf("reads fail from page %d: %v", from, err)
		}
	}
}

func openedFolder(t *testing.T, dir string) *safefile.Folder {
	t.Helper()
	folder, err := safefile.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = folder.Close() })
	return folder
}

// FuzzWalk patches a healthy file. The reader must return, without a panic, and
// what it accepts must be safe for bbolt to check and walk.
func FuzzWalk(f *testing.F) {
	healthy := healthyFile(f)
	f.Add(uint32(0), []byte{})
	f.Add(uint32(20), []byte{1})
	f.Add(uint32(2*os.Getpagesize()+8), []byte{0x10, 0, 0xff, 0xff, 0xff, 0xff})
	f.Add(uint32(3*os.Getpagesize()+16), []byte{0xff, 0xff, 0xff, 0x7f})
	f.Add(uint32(4*os.Getpagesize()+24), []byte{4, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, offset uint32, patch []byte) {
		content := append([]byte(nil), healthy...)
		copy(content[int(offset)%len(content):], patch)
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, databaseName), content, 0o600); err != nil {
			t.Fatal(err)
		}
		folder := openedFolder(t, dir)
		if err := verifyFile(folder, databaseName); err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("error without damage: %v", err)
			}
			return
		}
		d, err := openVerified(t.Context(), folder, databaseName, &Options{})
		if errors.Is(err, ErrDamaged) && !isPanic(err) {
			return // bbolt is stricter, about the heads of the meta pages
		}
		if err != nil {
			t.Fatalf("bbolt refuses what was verified: %v", err)
		}
		if err := d.close(false); err != nil {
			t.Error(err)
		}
	})
}

func healthyFile(f *testing.F) []byte {
	f.Helper()
	dir := filepath.Join(f.TempDir(), "state")
	s, _, err := Open(f.Context(), dir, Options{Collections: []string{"empty"}})
	if err != nil {
		f.Fatal(err)
	}
	numbers := Collection[*int]{Name: "numbers"}
	for from := 0; from < 400; from += 100 {
		err := s.Update(func(tx *Tx) error {
			for i := range 100 {
				if err := numbers.Put(tx, fmt.Sprintf("%050d", from+i), &i); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			f.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		f.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, databaseName))
	if err != nil {
		f.Fatal(err)
	}
	return content
}

// TestReaderSeesWhatBoltSees compares the reader of the file format with bbolt.
func TestReaderSeesWhatBoltSees(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "foreign.db")
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range []string{"inline", "leaf", "branches"} {
			bucket, err := tx.CreateBucket([]byte(name))
			if err != nil {
				return err
			}
			for i := range map[string]int{"inline": 3, "leaf": 40, "branches": 2000}[name] {
				key, value := fmt.Sprintf("%s %d", name, i*7919%2000), fmt.Sprintf("%0*d", i%3000, i)
				want[name+"/"+key] = value
				if err := bucket.Put([]byte(key), []byte(value)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	seen := 0
	_, intact, err := walkFile(file, func(bucket string, key, value []byte) error {
		seen++
		if got, ok := want[bucket+"/"+string(key)]; !ok || got != string(value) {
			t.Errorf("%s %q: %d bytes, want %d", bucket, key, len(value), len(got))
		}
		return nil
	})
	if err != nil || !intact || seen != len(want) {
		t.Errorf("saw %d of %d records, intact %v, %v", seen, len(want), intact, err)
	}
}
