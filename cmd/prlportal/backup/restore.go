package backup

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
)

// ErrDamaged says that a file is no whole backup.
var ErrDamaged = errors.New("this is no whole backup")

// maxListed bounds the entries that are kept in memory, in bytes.
const maxListed = 16 << 20

// Summary is what a file has.
type Summary struct {
	Manifest
	Devices int
	Content int // files
}

// Restore makes the portal's folder of the file. The folder must be empty or not
// there yet; where something is wrong with the file, nothing of it is left.
func Restore(ctx context.Context, file, folder string) (Summary, error) {
	folder = filepath.Clean(folder) // a slash at its end would make it its own parent
	if err := requireEmpty(folder); err != nil {
		return Summary{}, err
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o700); err != nil {
		return Summary{}, fmt.Errorf("make folder: %w", err)
	}
	made, err := os.MkdirTemp(filepath.Dir(folder), ".restore-*")
	if err != nil {
		return Summary{}, fmt.Errorf("make folder: %w", err)
	}
	found, err := extract(ctx, file, made)
	if err == nil {
		err = site.SaveRestored(made, time.Now())
	}
	if err == nil {
		err = replaceEmpty(made, folder)
	}
	if err != nil {
		return Summary{}, errors.Join(err, os.RemoveAll(made))
	}
	return found, nil
}

// replaceEmpty gives the folder that was made its name. os.Rename replaces no
// folder, not even an empty one.
func replaceEmpty(made, folder string) error {
	if err := os.Remove(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("replace the empty folder: %w", err)
	}
	return os.Rename(made, folder)
}

// Check reads all of the file and opens the database in it, in a folder that is
// gone afterwards.
func Check(ctx context.Context, file string) (found Summary, err error) {
	made, err := os.MkdirTemp("", "prlportal-check-*")
	if err != nil {
		return Summary{}, fmt.Errorf("make folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(made)) }()
	return extract(ctx, file, made)
}

func requireEmpty(folder string) error {
	entries, err := os.ReadDir(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look into the folder: %w", err)
	case len(entries) > 0:
		return fmt.Errorf("%s is not empty; nothing was changed", folder)
	}
	return nil
}

// extract writes what is in the file below folder and compares it with its sums.
func extract(ctx context.Context, file, folder string) (Summary, error) {
	opened, err := openBackup(file)
	if err != nil {
		return Summary{}, fmt.Errorf("open backup: %w", err)
	}
	defer opened.Close()
	root, err := os.OpenRoot(folder)
	if err != nil {
		return Summary{}, fmt.Errorf("open folder: %w", err)
	}
	defer root.Close()
	reading := reader{root: root, sums: make(map[string]string)}
	if err := reading.readAll(ctx, opened); err != nil {
		return Summary{}, err
	}
	if err := reading.compare(); err != nil {
		return Summary{}, err
	}
	found := Summary{Manifest: reading.manifest}
	for name := range reading.sums {
		if strings.HasPrefix(name, site.ContentFolder+"/") {
			found.Content++
		}
	}
	for _, name := range site.ContentFolders { // a backup has files only
		if err := root.MkdirAll(filepath.Join(site.ContentFolder, name), 0o700); err != nil {
			return Summary{}, fmt.Errorf("make folder: %w", err)
		}
	}
	config, err := site.LoadConfig(folder)
	if err != nil {
		return Summary{}, err
	}
	if config.SiteID != found.SiteID {
		return Summary{}, fmt.Errorf("%w: its configuration is of another site than it says", ErrDamaged)
	}
	found.Devices, err = countDevices(ctx, folder)
	return found, err
}

// openBackup waits for no writer of what is no file.
func openBackup(path string) (*os.File, error) {
	opened, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := opened.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", path)
	}
	if err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	return opened, nil
}

// reader takes a file apart.
type reader struct {
	root     *os.Root
	sums     map[string]string // of what was read
	manifest Manifest
	wanted   map[string]string // as the file says
}

func (r *reader) readAll(ctx context.Context, file io.Reader) error {
	plain, err := gzip.NewReader(file)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	archive := tar.NewReader(plain)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, plain) // the end has the sum of all
			if err != nil {
				return fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if err := r.readEntry(header, archive); err != nil {
			return err
		}
	}
}

func (r *reader) readEntry(header *tar.Header, content io.Reader) error {
	name := header.Name
	_, twice := r.sums[name]
	switch {
	case header.Typeflag != tar.TypeReg || twice || !isOurs(name):
		return fmt.Errorf("%w: it has an entry that does not belong there, %q", ErrDamaged, name)
	case name == manifestName:
		if err := r.readJSON(name, content, &r.manifest); err != nil {
			return err
		}
		return r.checkFormat() // before what another format has is called damage
	case name == sumsName:
		return r.readJSON(name, content, &r.wanted)
	}
	return r.writeFile(name, content)
}

// isOurs reports whether a backup has an entry of that name.
func isOurs(name string) bool {
	known := append([]string{manifestName, sumsName, site.DatabaseFile, site.AuditFile}, smallFiles...)
	return slices.Contains(known, name) || strings.HasPrefix(name, site.ContentFolder+"/") && fs.ValidPath(name)
}

func (r *reader) readJSON(name string, content io.Reader, value any) error {
	data, err := io.ReadAll(io.LimitReader(content, maxListed))
	if err == nil {
		err = json.Unmarshal(data, value)
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, name, err)
	}
	sum := sha256.Sum256(data)
	r.sums[name] = hex.EncodeToString(sum[:])
	return nil
}

func (r *reader) writeFile(name string, content io.Reader) error {
	if err := r.root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	file, err := r.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(file, sum), content)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, name, err)
	}
	r.sums[name] = hex.EncodeToString(sum.Sum(nil))
	return nil
}

// compare holds what was read against the sums at the end of the file.
func (r *reader) compare() error {
	read := maps.Clone(r.sums)
	delete(read, sumsName)
	switch {
	case r.wanted == nil:
		return fmt.Errorf("%w: its end is missing", ErrDamaged)
	case !maps.Equal(read, r.wanted):
		return fmt.Errorf("%w: it does not have the sums that it names", ErrDamaged)
	}
	return r.checkFormat()
}

func (r *reader) checkFormat() error {
	if r.manifest.Format != Format {
		return fmt.Errorf("the backup has format %d, this program reads %d: restore it with the prlportal that made it (%s)", r.manifest.Format, Format, r.manifest.Version)
	}
	return nil
}

// countDevices opens the database, which reads all of it.
func countDevices(ctx context.Context, folder string) (count int, err error) {
	database, err := storage.OpenBolt(filepath.Join(folder, site.DatabaseFile))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, database.Close()) }()
	const page = 1000
	for after := ""; ; {
		ids, err := database.IDs(ctx, after, page)
		if err != nil || len(ids) == 0 {
			return count, err
		}
		count, after = count+len(ids), ids[len(ids)-1]
	}
}
