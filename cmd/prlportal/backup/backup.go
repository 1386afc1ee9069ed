// Package backup writes a portal's folder into one file while the portal serves,
// and makes a folder of it again. The file has what a portal needs and nothing
// else: its configuration, TLS keys, admins and webhook, the content, the audit log and
// the database. Signing keys are not in a portal's folder, and so not in it.
package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"prlagent/cmd/prlportal/site"
)

// Format is the version of the format of a file.
const Format = 1

// Names of a file's own entries, the first one and the last one. A file without
// the last one broke off.
const (
	manifestName = "manifest.json"
	sumsName     = "sums.json"
)

// Manifest says what a file is a backup of.
type Manifest struct {
	Format  int       `json:"format"`
	SiteID  string    `json:"site_id"`
	Name    string    `json:"name"`
	URL     string    `json:"url"`
	Version string    `json:"version"` // of the portal
	MadeAt  time.Time `json:"made_at"`
}

// Snapshot writes a database as it is at one time, while it is in use.
type Snapshot interface {
	WriteSnapshot(ctx context.Context, w io.Writer) error
}

// Source is a portal's folder.
type Source struct {
	Folder   string
	Content  *os.Root
	Database Snapshot
}

// smallFiles are the files beside the database, in the order in which they are
// read. Those that are not there are left out.
var smallFiles = []string{site.ConfigFile, site.AdminsFile, site.CertificateFile, site.TLSKeyFile, site.NextCertificateFile,
	site.WebhookFile, site.WebhookSecretFile, site.IgnoreFile}

// Write writes the backup. The database comes before the audit log, which has
// every decision before the database has it, and heads before the policies that
// they name, so that the parts fit whatever changes in between.
func (s Source) Write(ctx context.Context, w io.Writer, about Manifest) error {
	compressed := gzip.NewWriter(w)
	archive := &writer{tar: tar.NewWriter(compressed), sums: make(map[string]string), at: about.MadeAt}
	about.Format = Format
	steps := []func() error{
		func() error { return archive.addJSON(manifestName, about) },
		archive.tar.Flush, compressed.Flush, // who waits sees that it has begun: a large database takes a while
		func() error { return s.writeDatabase(ctx, archive) },
		func() error { return s.writeSmallFiles(archive) },
		func() error { return s.writeContent(ctx, archive) },
		func() error { return archive.addFile(s.Folder, site.AuditFile) },
		func() error { return archive.addJSON(sumsName, archive.sums) },
		archive.tar.Close, compressed.Close,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("write backup: %w", err)
		}
	}
	return nil
}

// writeDatabase copies the database to a file without a name first: whoever takes
// the backup slowly would hold up every check-in otherwise.
func (s Source) writeDatabase(ctx context.Context, archive *writer) error {
	copied, err := os.CreateTemp(s.Folder, ".backup-*")
	if err != nil {
		return err
	}
	defer copied.Close()
	if err := os.Remove(copied.Name()); err != nil {
		return err
	}
	if err := s.Database.WriteSnapshot(ctx, copied); err != nil {
		return err
	}
	return archive.add(site.DatabaseFile, copied)
}

func (s Source) writeSmallFiles(archive *writer) error {
	for _, name := range smallFiles {
		if err := archive.addFile(s.Folder, name); err != nil {
			return err
		}
	}
	return nil
}

func (s Source) writeContent(ctx context.Context, archive *writer) error {
	return fs.WalkDir(s.Content.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		file, err := s.Content.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		return archive.add(path.Join(site.ContentFolder, name), file)
	})
}

// writer adds files and remembers their sums.
type writer struct {
	tar  *tar.Writer
	sums map[string]string
	at   time.Time
}

// addFile adds a file of the folder, if it is there.
func (w *writer) addFile(folder, name string) error {
	file, err := os.Open(filepath.Join(folder, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	return w.add(name, file)
}

// add adds as much of the file as it has now.
func (w *writer) add(name string, file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	return w.addContent(name, io.NewSectionReader(file, 0, info.Size()), info.Size())
}

func (w *writer) addContent(name string, content io.Reader, size int64) error {
	if err := w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: w.at.Truncate(time.Second)}); err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(w.tar, sum), content); err != nil {
		return err
	}
	w.sums[name] = hex.EncodeToString(sum.Sum(nil))
	return nil
}

func (w *writer) addJSON(name string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	return w.addContent(name, bytes.NewReader(data), int64(len(data)))
}
