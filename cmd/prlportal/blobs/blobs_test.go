package blobs_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/blobs"
)

var now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func sumOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func put(t *testing.T, folder *blobs.Folder, device, command string, content []byte, at time.Time) error {
	t.Helper()
	_, err := folder.Put(device, command, sumOf(content), bytes.NewReader(content), int64(len(content)), at)
	return err
}

// files are the names below a folder.
func files(t *testing.T, path string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return names
}

func TestABlobIsKeptForItsCommand(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "blobs")
	folder := blobs.New(path)
	content := []byte("bundle")
	for range 2 { // a repeat is taken again
		if err := put(t, folder, "d1", "c1", content, now); err != nil {
			t.Fatal(err)
		}
	}
	found, err := folder.Find("d1", "c1", now)
	if want := (blobs.Blob{SHA256: sumOf(content), Size: 6, At: now}); err != nil || found != want {
		t.Fatalf("%v, %+v", err, found)
	}
	file, _, err := folder.Open("d1", "c1", now)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if data, err := io.ReadAll(file); err != nil || !bytes.Equal(data, content) {
		t.Errorf("%v, %q", err, data)
	}
	for _, name := range files(t, path) {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has the mode %v (%v)", name, info.Mode(), err)
		}
	}
	if info, err := os.Stat(filepath.Join(path, "d1")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder has the mode %v (%v)", info.Mode(), err)
	}
	for _, other := range [][2]string{{"d1", "c2"}, {"d2", "c1"}, {"..", "c1"}, {"", ""}} {
		if _, err := folder.Find(other[0], other[1], now); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v: %v", other, err)
		}
	}
	if err := put(t, folder, "d1", "c1", []byte("second"), now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if found, err := folder.Find("d1", "c1", now); err != nil || found.SHA256 != sumOf([]byte("second")) || len(files(t, path)) != 1 {
		t.Errorf("%v, %+v, %v", err, found, files(t, path))
	}
}

// What is not what it is called, breaks off, or would land elsewhere leaves nothing.
func TestHostileBlobsLeaveNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "blobs")
	folder := blobs.New(path)
	good := []byte("bundle")
	for name, test := range map[string]struct {
		device, command, sum string
		content              io.Reader
		size                 int64
		want                 error
	}{
		"other content":      {"d1", "c1", sumOf([]byte("x")), bytes.NewReader(good), 6, blobs.ErrDigest},
		"cut off":            {"d1", "c1", sumOf(good), bytes.NewReader(good[:3]), 6, blobs.ErrDigest},
		"longer than said":   {"d1", "c1", sumOf(good), strings.NewReader("bundle and more"), 6, blobs.ErrDigest},
		"larger than any":    {"d1", "c1", sumOf(good), bytes.NewReader(good), protocol.MaxBlob + 1, blobs.ErrLarge},
		"of no size":         {"d1", "c1", sumOf(good), bytes.NewReader(good), -1, blobs.ErrLarge},
		"a path as device":   {"../d1", "c1", sumOf(good), bytes.NewReader(good), 6, blobs.ErrName},
		"a path as command":  {"d1", "../../c1", sumOf(good), bytes.NewReader(good), 6, blobs.ErrName},
		"a path as sum":      {"d1", "c1", "../" + sumOf(good)[3:], bytes.NewReader(good), 6, blobs.ErrName},
		"a sum in capitals":  {"d1", "c1", strings.ToUpper(sumOf(good)), bytes.NewReader(good), 6, blobs.ErrName},
		"a reader that ends": {"d1", "c1", sumOf(good), io.MultiReader(bytes.NewReader(good[:2]), brokenReader{}), 6, errBroken},
	} {
		if _, err := folder.Put(test.device, test.command, test.sum, test.content, test.size, now); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
		if left := files(t, path); len(left) > 0 {
			t.Errorf("%s: %v", name, left)
		}
	}
}

var errBroken = errors.New("the line broke")

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errBroken }

// A device makes room by its own oldest; all together have a quota that none can make
// another pay for; what is old goes.
func TestBlobsHaveQuotasAndAnEnd(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "blobs")
	folder := blobs.Limited(path, 3*protocol.MaxBlob+100)
	if err := put(t, folder, "other", "c0", []byte("small"), now); err != nil {
		t.Fatal(err)
	}
	big := make([]byte, protocol.MaxBlob) // sparse enough: zeros
	for i, command := range []string{"c1", "c2", "c3", "c4"} {
		if err := put(t, folder, "d1", command, big, now.Add(time.Duration(i)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := folder.Find("d1", "c1", now); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the oldest is still there: %v", err)
	}
	for _, kept := range [][2]string{{"d1", "c2"}, {"d1", "c4"}, {"other", "c0"}} {
		if _, err := folder.Find(kept[0], kept[1], now); err != nil {
			t.Errorf("%v: %v", kept, err)
		}
	}
	if err := put(t, folder, "d2", "c5", make([]byte, 101), now); !errors.Is(err, blobs.ErrFull) {
		t.Errorf("over the quota of all: %v", err)
	}
	if err := put(t, folder, "d2", "c5", make([]byte, 90), now); err != nil {
		t.Errorf("within the quota of all, after one that was refused: %v", err)
	}
	later := now.Add(blobs.MaxAge)
	if _, err := folder.Find("other", "c0", later); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an old one is still found: %v", err)
	}
	broken := filepath.Join(path, "d2", ".new-1")
	if err := os.WriteFile(broken, big[:5], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := folder.Prune(later.Add(time.Hour)); err != nil || len(files(t, path)) != 0 {
		t.Errorf("%v, left are %v", err, files(t, path))
	}
}

// Two uploads that are under way count both, though neither is there yet.
func TestUploadsUnderWayCount(t *testing.T) {
	t.Parallel()
	folder := blobs.Limited(filepath.Join(t.TempDir(), "blobs"), 10)
	content := []byte("123456")
	nested := readerFunc(func([]byte) (int, error) {
		if err := put(t, folder, "d2", "c2", content, now); !errors.Is(err, blobs.ErrFull) {
			t.Errorf("the second one: %v", err)
		}
		return 0, io.EOF
	})
	if _, err := folder.Put("d1", "c1", sumOf(content), io.MultiReader(bytes.NewReader(content), nested), 6, now); err != nil {
		t.Fatal(err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(buffer []byte) (int, error) { return f(buffer) }
