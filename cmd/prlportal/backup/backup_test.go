package backup_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"prlagent/cmd/prlportal/backup"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
)

var madeAt = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// newFolder is a portal's folder with two devices in its database, and its backup.
func newFolder(t *testing.T) (folder string, saved []byte) {
	t.Helper()
	dir := t.TempDir()
	config, err := (site.Options{Name: "Example Org", Hosts: []string{"portal.example"}, PrimaryGroup: "default", Now: madeAt}).Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	folder = filepath.Join(dir, site.PortalFolder)
	database, err := storage.OpenBolt(filepath.Join(folder, site.DatabaseFile))
	if err != nil {
		t.Fatal(err)
	}
	defer database.Close()
	for _, id := range []string{"a", "b"} {
		if err := database.Save(t.Context(), storage.Change{Device: storage.Device{ID: id, Serial: id, HardwareUUID: id}}); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.OpenRoot(filepath.Join(folder, site.ContentFolder))
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	var written bytes.Buffer
	source := backup.Source{Folder: folder, Content: content, Database: database}
	if err := source.Write(t.Context(), &written, backup.Manifest{SiteID: config.SiteID, Name: "Example Org", MadeAt: madeAt}); err != nil {
		t.Fatal(err)
	}
	return folder, written.Bytes()
}

func write(t *testing.T, content []byte) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "portal.backup")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestABackupMakesTheFolderAgain(t *testing.T) {
	t.Parallel()
	folder, saved := newFolder(t)
	config, err := site.LoadConfig(folder)
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, saved)
	found, err := backup.Check(t.Context(), path)
	if err != nil || found.Devices != 2 || found.Content != 3 || found.SiteID != config.SiteID {
		t.Fatalf("found %+v, %v", found, err)
	}
	restored := filepath.Join(t.TempDir(), "new", "portal")
	if _, err := backup.Restore(t.Context(), path, restored); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{site.ConfigFile, site.AdminsFile, site.CertificateFile, site.TLSKeyFile, filepath.Join(site.ContentFolder, site.HeadPath("default")), ".gitignore"} {
		before, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		after, err := os.ReadFile(filepath.Join(restored, name))
		if err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s is another one: %v", name, err)
		}
		if info, err := os.Stat(filepath.Join(restored, name)); err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	if left, err := filepath.Glob(filepath.Join(folder, ".backup-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := backup.Restore(t.Context(), path, restored); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("restored over it: %v", err)
	}
}

// However the folder to make is written, and whatever is in the way.
func TestWhereABackupIsRestored(t *testing.T) {
	t.Parallel()
	_, saved := newFolder(t)
	path, dir := write(t, saved), t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, isFine := range map[string]bool{"new": true, "slash/": true, "deep/er//portal/": true, "empty": true, "./dot/.": true, "file": false} {
		target := dir + "/" + name
		if _, err := backup.Restore(t.Context(), path, target); (err == nil) != isFine {
			t.Errorf("%s: %v", name, err)
		}
		if !isFine {
			continue
		}
		for _, below := range site.ContentFolders {
			if info, err := os.Stat(filepath.Join(target, site.ContentFolder, below)); err != nil || !info.IsDir() {
				t.Errorf("%s: the portal lacks a folder: %v", name, err)
			}
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*", ".restore-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// What nobody writes into must not keep a person waiting.
func TestWhatIsNoFileIsNoBackup(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, t.TempDir(), "/dev/null"} {
		if _, err := backup.Check(t.Context(), path); err == nil || !strings.Contains(err.Error(), "is no file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A backup of another format, or of two sites at once, says so and nothing else.
func TestABackupOfAnotherKind(t *testing.T) {
	t.Parallel()
	_, saved := newFolder(t)
	about := func(change map[string]any, extra ...*tar.Header) []byte {
		return rewrite(t, saved, func(header *tar.Header, content []byte) []byte {
			if header.Name != "manifest.json" && header.Name != "sums.json" {
				return content
			}
			var said map[string]any
			if err := json.Unmarshal(content, &said); err != nil {
				t.Fatal(err)
			}
			if header.Name == "manifest.json" {
				maps.Copy(said, change)
			} else {
				said["manifest.json"] = change["sum"]
			}
			data, err := json.Marshal(said)
			if err != nil {
				t.Fatal(err)
			}
			if sum := sha256.Sum256(data); header.Name == "manifest.json" {
				change["sum"] = hex.EncodeToString(sum[:])
			}
			return data
		}, extra...)
	}
	if _, err := backup.Check(t.Context(), write(t, about(map[string]any{"version": "9.1"}))); err != nil {
		t.Fatalf("with another version only: %v", err)
	}
	if _, err := backup.Check(t.Context(), write(t, about(map[string]any{"site_id": "another"}))); err == nil || !strings.Contains(err.Error(), "another site") {
		t.Errorf("of another site: %v", err)
	}
	newer := &tar.Header{Typeflag: tar.TypeReg, Name: "commands.db"}
	_, err := backup.Check(t.Context(), write(t, about(map[string]any{"format": 2, "version": "9.1"}, newer)))
	if errors.Is(err, backup.ErrDamaged) || err == nil || !strings.Contains(err.Error(), "format 2") || !strings.Contains(err.Error(), "9.1") {
		t.Errorf("of another format: %v", err)
	}
}

// Wherever a backup breaks off, and whichever bit of it is another one, it is no
// backup, and restoring it leaves nothing.
func TestADamagedBackupIsFound(t *testing.T) {
	t.Parallel()
	_, saved := newFolder(t)
	refuse := func(what string, content []byte) {
		t.Helper()
		path, dir := write(t, content), t.TempDir()
		if found, err := backup.Check(t.Context(), path); err == nil {
			t.Errorf("%s: it is whole: %+v", what, found)
		}
		if _, err := backup.Restore(t.Context(), path, filepath.Join(dir, "portal")); err == nil {
			t.Errorf("%s: it is restored", what)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: left behind: %v, %v", what, left, err)
		}
	}
	for _, part := range []int{0, 1, len(saved) / 3, len(saved) / 2, len(saved) - 9, len(saved) - 1} {
		refuse("cut", saved[:part])
	}
	for _, at := range []int{len(saved) / 4, len(saved) / 2, len(saved) - 5} {
		flipped := bytes.Clone(saved)
		flipped[at] ^= 0x10
		refuse("flipped", flipped)
	}
	refuse("no backup", []byte("hello"))
}

// rewrite changes the entries of a backup; a nil content leaves an entry out.
func rewrite(t *testing.T, saved []byte, change func(header *tar.Header, content []byte) []byte, extra ...*tar.Header) []byte {
	t.Helper()
	plain, err := gzip.NewReader(bytes.NewReader(saved))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	compressed := gzip.NewWriter(&out)
	from, to := tar.NewReader(plain), tar.NewWriter(compressed)
	for {
		header, err := from.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		content, failed := io.ReadAll(from)
		if err = errors.Join(err, failed); err != nil {
			t.Fatal(err)
		}
		if content = change(header, content); content == nil {
			continue
		}
		header.Size = int64(len(content))
		if err := errors.Join(to.WriteHeader(header), second(to.Write(content))); err != nil {
			t.Fatal(err)
		}
	}
	for _, header := range extra {
		if err := to.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(to.Close(), compressed.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func second(_ int, err error) error { return err }

func TestABackupThatSomebodyChangedIsFound(t *testing.T) {
	t.Parallel()
	_, saved := newFolder(t)
	same := func(_ *tar.Header, content []byte) []byte { return content }
	for what, changed := range map[string][]byte{
		"another admin": rewrite(t, saved, func(header *tar.Header, content []byte) []byte {
			if header.Name == site.AdminsFile {
				return append(content, ' ')
			}
			return content
		}),
		"no end": rewrite(t, saved, func(header *tar.Header, content []byte) []byte {
			if header.Name == "sums.json" {
				return nil
			}
			return content
		}),
		"no database": rewrite(t, saved, func(header *tar.Header, content []byte) []byte {
			if header.Name == site.DatabaseFile {
				return nil
			}
			return content
		}),
		"a path upwards":   rewrite(t, saved, same, &tar.Header{Typeflag: tar.TypeReg, Name: "content/../../x", Mode: 0o600}),
		"an absolute path": rewrite(t, saved, same, &tar.Header{Typeflag: tar.TypeReg, Name: "/tmp/x", Mode: 0o600}),
		"a link":           rewrite(t, saved, same, &tar.Header{Typeflag: tar.TypeSymlink, Name: "content/x", Linkname: "/etc/passwd"}),
		"a signing key":    rewrite(t, saved, same, &tar.Header{Typeflag: tar.TypeReg, Name: site.PolicyKeyFile, Mode: 0o600}),
		"twice":            rewrite(t, saved, same, &tar.Header{Typeflag: tar.TypeReg, Name: site.ConfigFile, Mode: 0o600}),
	} {
		if found, err := backup.Check(t.Context(), write(t, changed)); !errors.Is(err, backup.ErrDamaged) {
			t.Errorf("%s: %+v, %v", what, found, err)
		}
	}
}

// A snapshot is of one time, whatever is saved while it is written. What is saved
// may have to wait for it, so that it is written to a file and not to a client.
func TestASnapshotIsOfOneTime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "portal.db")
	database, err := storage.OpenBolt(path)
	if err != nil {
		t.Fatal(err)
	}
	defer database.Close()
	save := func(id string) {
		if err := database.Save(t.Context(), storage.Change{Device: storage.Device{ID: id, Serial: id, HardwareUUID: id}}); err != nil {
			t.Error(err)
		}
	}
	save("a")
	copied, err := os.Create(path + ".copy")
	if err != nil {
		t.Fatal(err)
	}
	var begun, saved sync.WaitGroup
	begun.Add(1)
	once := sync.OnceFunc(begun.Done)
	saved.Go(func() {
		begun.Wait()
		for i := range 100 {
			save(fmt.Sprint("b", i))
		}
	})
	err = database.WriteSnapshot(t.Context(), writerFunc(func(part []byte) (int, error) {
		once()
		return copied.Write(part)
	}))
	if err = errors.Join(err, copied.Close()); err != nil {
		t.Fatal(err)
	}
	saved.Wait()
	again, err := storage.OpenBolt(path + ".copy")
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if ids, err := again.IDs(t.Context(), "", 1000); err != nil || len(ids) != 1 {
		t.Errorf("the copy has %v, %v", ids, err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(part []byte) (int, error) { return f(part) }
