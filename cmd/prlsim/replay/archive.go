// Package replay is `prlsim replay`: it feeds what launchd/first-mac.sh captured
// on a real Mac through the client of the tools (package prlctl), and tells what
// the client cannot read, and what differs from the facts and from the simulated
// Mac.
//
// An archive comes from anybody. It is read in memory and capped, nothing of it
// is written to disk, and nothing in it decides what is run.
package replay

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"prlagent/platform/text"
)

// Caps of an archive. The script keeps 2 MiB of an output, which placeholders can
// make some times longer, and some 200 files.
const (
	maxArchive  = 64 << 20  // bytes of the file
	maxUnpacked = 128 << 20 // bytes of all that is in it
	maxFile     = 16 << 20  // bytes of one file
	maxManifest = 2 << 20   // a list in it takes many times its bytes in memory
	maxFiles    = 2000
)

const (
	archiveFolder = "first-mac/"
	manifestName  = "manifest.json"
	formatVersion = 1
)

// errBroken marks an archive that cannot be read.
var errBroken = errors.New("not an archive of first-mac.sh")

// capture is an archive that was read.
type capture struct {
	manifest
	files map[string][]byte // by their name in the archive's folder
}

// manifest is manifest.json, which first-mac.sh writes.
type manifest struct {
	Format    int      `json:"format"`
	Written   string   `json:"written"` // RFC 3339, UTC
	System    string   `json:"system"`  // what uname says
	Simulated bool     `json:"simulated"`
	Skipped   []string `json:"skipped"`  // steps that the person left out
	Withheld  []string `json:"withheld"` // files that the script emptied, because a name was left in them
	Entries   []entry  `json:"entries"`
}

// entry is one command that the script ran, or one file that it read.
type entry struct {
	Step      string         `json:"step"`
	Question  string         `json:"question"` // the fact that it is to answer
	Command   []string       `json:"command"`  // the tool's base name and its arguments; read PATH for a file
	Stdout    string         `json:"stdout"`   // name of a file in the archive
	Stderr    string         `json:"stderr"`
	Exit      *int           `json:"exit"`  // nil: it did not end by itself
	Ended     string         `json:"ended"` // exit, killed or stopped; link, missing or refused for a file
	Seconds   float64        `json:"seconds"`
	Truncated bool           `json:"truncated"`
	Replaced  map[string]int `json:"replaced"` // how many names of each kind
}

// Ways in which an entry ended.
const (
	endedExit    = "exit"
	endedKilled  = "killed"  // it hung
	endedMissing = "missing" // there is no such file
)

// openArchive reads the archive at a path.
func openArchive(path string) (capture, error) {
	info, err := os.Stat(path) // a pipe would wait for its writer when it is opened
	if err != nil {
		return capture{}, fmt.Errorf("open archive: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxArchive {
		return capture{}, fmt.Errorf("%w: no plain file, or more than %d MiB", errBroken, maxArchive>>20)
	}
	file, err := os.Open(path)
	if err != nil {
		return capture{}, fmt.Errorf("open archive: %w", err)
	}
	defer file.Close()
	return readArchive(file)
}

// readArchive reads a gzip-compressed tar.
func readArchive(from io.Reader) (capture, error) {
	unpacked, err := gzip.NewReader(from)
	if err != nil {
		return capture{}, fmt.Errorf("%w: %w", errBroken, err)
	}
	files, err := readFiles(unpacked)
	if err != nil {
		return capture{}, fmt.Errorf("%w: %w", errBroken, err)
	}
	read := capture{files: files}
	if len(files[manifestName]) > maxManifest {
		return capture{}, fmt.Errorf("%w: a manifest of more than %d MiB", errBroken, maxManifest>>20)
	}
	if err := json.Unmarshal(files[manifestName], &read.manifest); err != nil {
		return capture{}, fmt.Errorf("%w: read manifest: %w", errBroken, err)
	}
	return read, read.check()
}

// readFiles reads the files of a tar.
func readFiles(unpacked io.Reader) (map[string][]byte, error) {
	archive := tar.NewReader(io.LimitReader(unpacked, maxUnpacked))
	files, total := make(map[string][]byte), int64(0)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		name, err := checkHeader(header)
		if err != nil {
			return nil, err
		}
		if name == "" {
			continue
		}
		// A sparse file is larger than what it takes in the archive.
		if total += header.Size; total > maxUnpacked || len(files) == maxFiles {
			return nil, errors.New("too much in it")
		}
		if _, twice := files[name]; twice {
			return nil, fmt.Errorf("%q is there twice", name)
		}
		if files[name], err = io.ReadAll(io.LimitReader(archive, maxFile)); err != nil {
			return nil, err
		}
	}
}

// plainName is a file's name: no folder, no dot in front.
var plainName = text.Pattern(`^[A-Za-z0-9][A-Za-z0-9.-]{0,63}$`)

// checkHeader returns a file's name in the archive's folder, or nothing for what
// is passed over.
func checkHeader(header *tar.Header) (string, error) {
	switch header.Typeflag {
	case tar.TypeDir:
		if header.Name != archiveFolder {
			return "", fmt.Errorf("folder %q", header.Name)
		}
		return "", nil
	case tar.TypeReg:
	default:
		return "", fmt.Errorf("%q is neither a file nor a folder", header.Name)
	}
	name, inside := strings.CutPrefix(header.Name, archiveFolder)
	if !inside {
		return "", fmt.Errorf("%q is outside of %s", header.Name, archiveFolder)
	}
	if name == ".DS_Store" || strings.HasPrefix(name, "._") {
		return "", nil // left by a person who has looked at it on a Mac
	}
	if !plainName().MatchString(name) {
		return "", fmt.Errorf("%q is no name of a file here", header.Name)
	}
	if header.Size > maxFile {
		return "", fmt.Errorf("%q is too large", header.Name)
	}
	return name, nil
}

// check refuses a manifest that does not fit the files.
func (c capture) check() error {
	if c.Format != formatVersion {
		return fmt.Errorf("%w: format %d", errBroken, c.Format)
	}
	if len(c.Entries) > maxFiles {
		return fmt.Errorf("%w: too many entries", errBroken)
	}
	for _, entry := range c.Entries {
		if len(entry.Command) == 0 {
			return fmt.Errorf("%w: an entry without a command", errBroken)
		}
		for _, name := range []string{entry.Stdout, entry.Stderr} {
			if _, there := c.files[name]; !there {
				return fmt.Errorf("%w: no file %q", errBroken, name)
			}
		}
	}
	return nil
}

// find returns the first entry with the command.
func (c capture) find(command ...string) (entry, bool) {
	index := slices.IndexFunc(c.Entries, func(e entry) bool { return slices.Equal(e.Command, command) })
	if index < 0 {
		return entry{}, false
	}
	return c.Entries[index], true
}

// stdout is what an entry printed, or the content of a file.
func (c capture) stdout(e entry) []byte { return c.files[e.Stdout] }

// printed is both outputs of a command, nothing if it was not captured or the
// service was down.
func (c capture) printed(command ...string) string {
	entry, found := c.find(command...)
	if !found || c.serviceWasDown(entry) {
		return ""
	}
	return c.outputs(entry)
}

func (c capture) outputs(e entry) string {
	return string(c.files[e.Stdout]) + "\n" + string(c.files[e.Stderr])
}

// serviceWasDown reports whether a command got no answer at all (facts/prlctl.md 5).
func (c capture) serviceWasDown(e entry) bool {
	return strings.Contains(c.outputs(e), "Unable to connect to Parallels Service")
}
