package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"prlagent/agent/protocol"
	"prlagent/platform/plist"
	"prlagent/platform/safefile"
)

// maxFile is the largest configuration that is read, in bytes.
const maxFile = 1 << 20

// Paths says where the files are, as paths on this disk: under --root they
// carry its prefix already.
type Paths struct {
	Managed    string // the MDM's file
	Local      string // root's config.plist
	LocalOwner uint32 // uid that both files must belong to: 0, or who plays root under --root
	Root       bool   // started with --root: Timing is honored
}

// configFiles are the two files as they were read.
type configFiles struct {
	managed, local configFile
}

// readFiles reads both files. A missing file is no problem, an unreadable one is.
func readFiles(paths Paths, decoded decodedFiles) configFiles {
	return configFiles{
		managed: readFile(paths.Managed, paths.LocalOwner, SourceManaged, decoded),
		local:   readFile(paths.Local, paths.LocalOwner, SourceLocal, decoded),
	}
}

// decodedFiles are the files as they were decoded last, but for one that is missing since.
// They are read each minute, and are the same for months. nil keeps nothing.
type decodedFiles map[Source]decodedFile

// decodedFile is what the bytes of a file say.
type decodedFile struct {
	data []byte
	file configFile
}

// decode gives what a file says, whose values nobody may change.
func (d decodedFiles) decode(data []byte, source Source) (configFile, error) {
	if last, is := d[source]; is && bytes.Equal(last.data, data) {
		return last.file, nil
	}
	values, err := plist.DecodeDict(data)
	if err != nil {
		return configFile{}, err
	}
	file := configFile{values: values, odd: nameProblems(values, source.fileName())}
	maps.DeleteFunc(values, func(name string, _ any) bool { return isMetadata(name) })
	if d != nil {
		d[source] = decodedFile{data, file}
	}
	return file, nil
}

// trustValues is what the trust keys come from.
func (f configFiles) trustValues() (map[string]any, Source) { return trustSource(f.managed, f.local) }

// fileOf is the file that a source means.
func (f configFiles) fileOf(source Source) configFile {
	if source == SourceManaged {
		return f.managed
	}
	return f.local
}

// isHidden reports whether it cannot be known what a source's file says, or
// whether a profile stands before it.
func (f configFiles) isHidden(source Source) bool {
	return f.managed.isHidden() || f.fileOf(source).isHidden()
}

// withValues puts other values in the place of a source's file.
func (f configFiles) withValues(source Source, values map[string]any) configFiles {
	switch {
	case values == nil:
	case source == SourceManaged:
		f.managed = configFile{values: values}
	case source == SourceLocal:
		f.local = configFile{values: values}
	}
	return f
}

// buildConfig makes the configuration that the files add up to.
func (f configFiles) buildConfig(paths Paths) *Config {
	managed, local := f.managed, f.local
	c := defaultConfig()
	for _, read := range []configFile{managed, local} {
		if read.problem != nil {
			c.Problems = append(c.Problems, *read.problem)
		}
		c.Problems = append(c.Problems, read.odd...)
	}
	trust, source := trustSource(managed, local)
	c.Source = source
	for i := range keyTable {
		key := &keyTable[i]
		if key.name == timingKey && !paths.Root {
			continue
		}
		origin := trust
		if !key.trusted {
			origin = firstWith(key.name, managed, local)
		}
		c.takeKey(key, origin)
	}
	c.noteIgnored(source, local)
	c.fillDependent(trust)
	return c
}

// configFile is what was found at one path.
type configFile struct {
	values  map[string]any // nil if the file is missing, or unreadable and never read
	missing bool
	problem *Problem  // why it is unreadable
	odd     []Problem // names in it that are not read
}

func (f configFile) isHidden() bool { return f.problem != nil && f.values == nil }

// readFile reads one property list. Root's config.plist must be closed to all
// but its owner: it may hold the enrollment secret, and 0600 is how root says
// that nobody else wrote it. Neither is believed in a folder that others can
// change or exchange (H53).
func readFile(path string, owner uint32, source Source, decoded decodedFiles) configFile {
	data, err := readTrusted(path, owner, source)
	if errors.Is(err, fs.ErrNotExist) {
		delete(decoded, source)
		return configFile{missing: true}
	}
	if err != nil {
		return unreadableFile(path, err)
	}
	file, err := decoded.decode(data, source)
	if err != nil {
		return unreadableFile(path, err)
	}
	return file
}

func unreadableFile(path string, err error) configFile {
	reason, code := err, protocol.CodeConfigUnreadable
	var pathError *fs.PathError
	switch {
	case errors.Is(err, safefile.ErrUnsafeDirectory):
		code = protocol.CodeFolderWritable
	case errors.As(err, &pathError):
		reason = pathError.Err
	}
	return configFile{problem: &Problem{Key: path, Code: code, Text: reason.Error()}}
}

func readTrusted(path string, owner uint32, source Source) ([]byte, error) {
	folder, err := safefile.OpenFolder(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	data, err := folder.ReadOwnedFile(filepath.Base(path), owner, maxFile)
	if err == nil && source == SourceLocal {
		err = checkPrivate(folder, filepath.Base(path))
	}
	return data, err
}

// checkPrivate looks at the mode after the read. Only the owner of the folder
// could swap the file in between, and that is root.
func checkPrivate(folder *safefile.Folder, name string) error {
	entry, err := folder.Lstat(name)
	if err != nil {
		return fmt.Errorf("check mode: %w", err)
	}
	if entry.Mode&0o077 != 0 {
		return fmt.Errorf("found mode %04o, expected 0600", entry.Mode)
	}
	return nil
}

// isMetadata reports whether MDM put the key there for itself (facts/macos.md
// 5.3).
func isMetadata(name string) bool {
	return strings.HasPrefix(name, "Payload") || name == "_manualProfile"
}

// trustSource picks the one file that the trust keys come from (H05). A managed
// file that cannot be read hides whether it has any, so no other may have them.
func trustSource(managed, local configFile) (map[string]any, Source) {
	switch {
	case hasTrustKey(managed.values):
		return managed.values, SourceManaged
	case managed.isHidden():
		return nil, SourceNone
	case hasTrustKey(local.values):
		return local.values, SourceLocal
	}
	return nil, SourceNone
}

func hasTrustKey(values map[string]any) bool {
	for i := range keyTable {
		key := &keyTable[i]
		if _, present := values[key.name]; key.trusted && present {
			return true
		}
	}
	return false
}

func firstWith(name string, files ...configFile) map[string]any {
	for _, candidate := range files {
		if _, present := candidate.values[name]; present {
			return candidate.values
		}
	}
	return nil
}

// takeKey reads one key from its file into its field.
func (c *Config) takeKey(key *keyRow, origin map[string]any) {
	value, present := origin[key.name]
	if !present {
		return
	}
	for _, err := range key.parse(c, value) {
		c.Problems = append(c.Problems, Problem{Key: key.name, Code: protocol.CodeConfigInvalid, Text: err.Error()})
	}
}

// noteIgnored lists which keys of config.plist do not count because the other
// file is the source.
func (c *Config) noteIgnored(source Source, local configFile) {
	if source == SourceLocal {
		return
	}
	for i := range keyTable {
		key := &keyTable[i]
		if _, present := local.values[key.name]; key.trusted && present {
			c.Problems = append(c.Problems, Problem{Key: key.name, Code: protocol.CodeConfigMixedSource,
				Text: "in config.plist: ignored, trust keys come from the profile only"})
		}
	}
}

// fillDependent fills in what depends on more than one key. Certificates that
// were given but cannot be used must not turn into trust in the system's roots,
// so there is no portal then.
func (c *Config) fillDependent(trust map[string]any) {
	if _, given := trust["ServerCertificates"]; given && len(c.ServerCertificates) == 0 && c.ServerURL != nil {
		c.ServerURL = nil
		c.Problems = append(c.Problems, Problem{Key: "ServerCertificates", Code: protocol.CodeConfigInvalid,
			Text: "found no usable certificate, so ServerURL is not used"})
	}
	for _, kind := range slices.Sorted(maps.Keys(c.CommandThreshold)) {
		if needed := c.CommandThreshold[kind]; needed > len(c.CommandKeys) {
			c.Problems = append(c.Problems, Problem{Key: "CommandThreshold", Code: protocol.CodeConfigInvalid,
				Text: fmt.Sprintf("%s: found %d, with %d in CommandKeys; commands of this type are not run", kind, needed, len(c.CommandKeys))})
		}
	}
	switch {
	case c.ContentFolder() != "":
		if c.ServerURL == nil && c.Group == "" {
			c.Problems = append(c.Problems, Problem{Key: "Group", Code: protocol.CodeConfigInvalid,
				Text: "found nothing; without a portal only Group says whose policy of ContentURL is meant"})
		}
	case c.ServerURL == nil:
		c.ContentURL = nil
	case c.ContentURL == nil:
		c.ContentURL = c.ServerURL.JoinPath("v1", "content")
	}
}
