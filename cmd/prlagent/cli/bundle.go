package cli

import (
	"archive/zip"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/platform/safefile"
	"prlagent/platform/text"
)

// supportFolder is where root's bundles are made: nobody else can put a link in
// their place (H53).
const supportFolder = localapi.SupportFolder + "/support"

func (p *program) bundleCommand() *cobra.Command {
	var list bool
	command := &cobra.Command{
		Use:   "support-bundle [FILE]",
		Short: "Put what a supporter needs into one zip file",
		Long: `Put into one zip file what somebody needs who is to find out what is wrong: ` + bundleWords() + `.
It says what is inside before it writes. Secrets are hidden: those that this Mac
has (enrollment secret, password of the proxy, token and key of the device, license
keys), and what looks like one. Names of people and of virtual machines are in it.

It works while the daemon is down. As root more is to be had (the log, the
configuration of config.plist), and only then are all secrets known. FILE must be
new, in a folder that nobody else can write in; without it root's is made in
` + supportFolder + `,
and everybody else's in the current folder.

Exit codes: 0 written, 1 it could not be, 2 the command line makes no sense.`,
		Example: "  sudo prlagent support-bundle\n  prlagent support-bundle --list\n  sudo prlagent support-bundle /var/root/mac.zip",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, given []string) error {
			file := ""
			if len(given) > 0 {
				file = given[0]
			}
			return exitOrNil(p.runBundle(cmd.Context(), file, list))
		},
	}
	command.Flags().BoolVar(&list, "list", false, "say what would be inside, and write nothing")
	return command
}

// bundleReport is the document of support-bundle --json.
type bundleReport struct {
	Schema  int           `json:"schema"`
	File    string        `json:"file,omitempty"` // empty: nothing was written
	Bytes   int64         `json:"bytes"`
	Entries []bundleEntry `json:"entries"`
}

// bundleEntry is one file of a bundle.
type bundleEntry struct {
	Name    string `json:"name"`
	Title   string `json:"title"`
	Bytes   int    `json:"bytes"`
	Missing string `json:"missing,omitempty"` // why it is not inside
}

// bundleFile is an entry with its content.
type bundleFile struct {
	bundleEntry
	content []byte
}

func (p *program) runBundle(ctx context.Context, file string, list bool) error {
	place := bundlePlace{}
	if !list { // before the work
		var err error
		if place, err = p.openBundlePlace(file); err != nil {
			return placeExit(err)
		}
		defer place.folder.Close()
	}
	files := p.collectBundle(ctx)
	report := bundleReport{Schema: localapi.Schema}
	for _, one := range files {
		report.Entries = append(report.Entries, one.bundleEntry)
	}
	if !p.json {
		if _, err := fmt.Fprint(p.stdout, bundlePage(p.newView(), cleanDocument(report.Entries))); err != nil {
			return err
		}
	}
	if !list {
		path, size, err := place.write(files, p.now())
		if err != nil {
			return placeExit(err)
		}
		report.File, report.Bytes = path, size
	}
	if p.json {
		return p.printJSON(report)
	}
	if list {
		return nil
	}
	_, err := fmt.Fprintf(p.stdout, "\nWritten: %s, %d bytes, for you alone. Look into it before you give it away.\n", text.DisplayValue(report.File), report.Bytes)
	return err
}

func bundlePage(v outputView, entries []bundleEntry) string {
	inside := styledTable{heads: []string{"FILE", "BYTES", "WHAT"}, drop: []int{1}}
	var missing strings.Builder
	for _, entry := range entries {
		if entry.Missing != "" {
			fmt.Fprintf(&missing, "%s %s: %s\n", v.paint(styleYellow, "!"), entry.Title, entry.Missing)
			continue
		}
		inside.rows = append(inside.rows, []tableCell{{entry.Name, ""}, {fmt.Sprint(entry.Bytes), ""}, {entry.Title, ""}})
	}
	page := "Inside, with secrets hidden:\n\n" + inside.render(v, "")
	if missing.Len() > 0 {
		page += "\nNot to be had:\n" + missing.String()
	}
	return page
}

// placeRemedy is what to do where no bundle can be made.
const placeRemedy = "Name a new file in a folder of yours that nobody else can write in; without FILE, root's is made in " + supportFolder + "."

// placeExit says why there is no bundle. The remedies of the codes are for the
// agent's own folders: nobody should give root a folder of a user's.
func placeExit(err error) error {
	code := cmp.Or(protocol.CodeOf(err), protocol.CodeInternal)
	return &exitError{code: exitDegraded, words: &localapi.ErrorBody{Code: code, Text: err.Error(), Remedy: placeRemedy}}
}

// bundlePlace is where a bundle is made.
type bundlePlace struct {
	folder *safefile.Folder
	name   string
}

// write makes a new file that nobody else can read; it follows no link and
// replaces nothing.
func (b bundlePlace) write(files []bundleFile, now time.Time) (path string, size int64, err error) {
	out, err := b.folder.OpenFile(b.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", 0, fmt.Errorf("make bundle: %w", err)
	}
	counted := &countingWriter{out: out}
	err = errors.Join(out.Chmod(0o600), writeZip(counted, files, now), out.Close())
	if err != nil {
		return "", 0, errors.Join(fmt.Errorf("write bundle: %w", err), b.folder.Remove(b.name))
	}
	return out.Name(), counted.count, nil
}

// openBundlePlace opens the folder of the file to be.
func (p *program) openBundlePlace(file string) (bundlePlace, error) {
	path, err := p.bundlePath(file)
	if err != nil {
		return bundlePlace{}, fmt.Errorf("make bundle: %w", err)
	}
	open := safefile.OpenFolder
	if file == "" && p.hasSupportFolder() {
		open = func(path string) (*safefile.Folder, error) { return safefile.MakeFolder(path, 0o700) }
	}
	folder, err := open(filepath.Dir(path))
	if err == nil {
		_, err = folder.Lstat(filepath.Base(path))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return bundlePlace{folder, filepath.Base(path)}, nil
		case err == nil:
			err = fmt.Errorf("%s: %w", path, fs.ErrExist)
		}
		err = errors.Join(err, folder.Close())
	}
	return bundlePlace{}, fmt.Errorf("make bundle: %w", err)
}

// hasSupportFolder reports whether bundles of this user are made there.
func (p *program) hasSupportFolder() bool { return p.root != "" || os.Geteuid() == 0 }

// bundlePath is the path of the file to be.
func (p *program) bundlePath(file string) (string, error) {
	name := "prlagent-support-" + p.now().UTC().Format("20060102-150405") + ".zip"
	switch {
	case file != "":
		return filepath.Abs(file)
	case p.hasSupportFolder():
		return filepath.Join(p.root, supportFolder, name), nil
	}
	return filepath.Abs(name)
}

func writeZip(out io.Writer, files []bundleFile, now time.Time) error {
	archive := zip.NewWriter(out)
	for _, entry := range files {
		if entry.Missing != "" {
			continue
		}
		file, err := archive.CreateHeader(&zip.FileHeader{Name: entry.Name, Method: zip.Deflate, Modified: now})
		if err != nil {
			return err
		}
		if _, err := file.Write(entry.content); err != nil {
			return err
		}
	}
	return archive.Close()
}

type countingWriter struct {
	out   io.Writer
	count int64
}

// Write counts what was written.
func (w *countingWriter) Write(data []byte) (int, error) {
	n, err := w.out.Write(data)
	w.count += int64(n)
	return n, err
}
