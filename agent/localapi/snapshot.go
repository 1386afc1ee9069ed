package localapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform/plist"
	"prlagent/platform/safefile"
	"prlagent/platform/text"
)

const maxSnapshot = 4 << 20 // bytes

// ReadSnapshot reads the status.json that the daemon left. Its Daemon.Running
// is false; who shows it says by Unanswered how the daemon is now. At is when the
// file last changed in anything but its time, which may be long before the daemon
// went away. A missing file is fs.ErrNotExist; what is no status of this version is
// an error.
func ReadSnapshot(path string) (Status, error) {
	data, err := safefile.ReadFile(path, maxSnapshot)
	if err != nil {
		return Status{}, fmt.Errorf("read snapshot: %w", err)
	}
	var status Status
	if err := protocol.Decode(data, maxSnapshot, &status); err != nil {
		return Status{}, fmt.Errorf("read snapshot: %w", err)
	}
	if err := status.checkSnapshot(); err != nil {
		return Status{}, fmt.Errorf("read snapshot: %w", err)
	}
	status.Daemon.Running = false
	return status, nil
}

// checkSnapshot refuses a document that no daemon of this version writes: what it
// does not say would count as zero, or as nothing.
func (s *Status) checkSnapshot() error {
	switch {
	case s.Schema != Schema:
		return fmt.Errorf("it has the schema %d, not %d", s.Schema, Schema)
	case s.At.IsZero() || s.Health.State == "":
		return errors.New("it is not a status")
	}
	return nil
}

// CheckSnapshots reads the files that everybody may read in the folder of the
// snapshots, and says which of them is not what the daemon writes. A missing file
// is fs.ErrNotExist.
func CheckSnapshots(folder string) error {
	if _, err := ReadSnapshot(filepath.Join(folder, StatusJSON)); err != nil {
		return fmt.Errorf("%s: %w", StatusJSON, err)
	}
	data, err := safefile.ReadFile(filepath.Join(folder, StatusPlist), maxSnapshot)
	if err == nil {
		_, err = plist.DecodeDict(data)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", StatusPlist, err)
	}
	return nil
}

// WriteSnapshots writes the files that answer while the daemon is down
// (DESIGN 4, H16): status.json and status.plist, which everybody may read and
// which hold Status.ForEveryone only, and inventory.plist with the rows for
// root and the admin group. A file whose content would differ in nothing but
// the document's time is not touched. The folder must exist and be one in
// which only the daemon's user can write.
//
// In the JSON, what would steer a terminal is written in JSON's own escapes
// (H15). Names in the property lists are those of the JSON. Points in time are
// dates there, empty values are left out, and text is shown by
// text.Display, because XML cannot carry control characters.
func WriteSnapshots(folder string, status *Status, inventory *Inventory) error {
	public := status.ForEveryone()
	public.Doing = nil // over before anybody reads it
	asJSON, err := text.EncodeJSON(public, "", "  ")
	if err != nil {
		return fmt.Errorf("encode snapshot: %w", err)
	}
	opened, err := safefile.OpenFolder(folder)
	if err != nil {
		return wrapWrite(err)
	}
	defer opened.Close()
	return errors.Join(
		replaceSnapshot(opened, &snapshotFile{StatusJSON, 0o644, append(asJSON, '\n'), jsonTime, nil}),
		writePlist(opened, StatusPlist, 0o644, public),
		writePlist(opened, InventoryPlist, 0o640, inventory),
	)
}

func writePlist(folder *safefile.Folder, name string, mode fs.FileMode, document any) error {
	dictionary, err := plistTree(document)
	if err != nil {
		return err
	}
	draft, err := plist.DraftXML(dictionary)
	if err != nil {
		return fmt.Errorf("encode snapshot: %w", err)
	}
	return replaceSnapshot(folder, &snapshotFile{name, mode, draft.Data, plistTime, draft.Check})
}

// snapshotFile is one file to be: its name, who may read it, what is in it, what stands
// before the time of the document there, and what proves that it can be read.
type snapshotFile struct {
	name  string
	mode  fs.FileMode
	data  []byte
	time  string
	check func() error // nil: it needs no proof
}

// What stands before the time of a document. No other place has it: by the indent it
// is of the outermost value, and neither format has an unescaped line break in a text.
const (
	jsonTime  = "\n  \"at\": \""
	plistTime = "\n\t\t<key>at</key>\n\t\t<date>"
)

// replaceSnapshot writes the file if it says something new. One that is not for
// everybody is for the administrators.
func replaceSnapshot(folder *safefile.Folder, file *snapshotFile) error {
	if file.isCurrent(folder) {
		return nil
	}
	if file.check != nil {
		if err := file.check(); err != nil {
			return fmt.Errorf("encode snapshot: %w", err)
		}
	}
	group := -1
	if file.mode&0o004 == 0 && os.Geteuid() == 0 {
		group = adminGroupNumber
	}
	return wrapWrite(folder.WriteFile(file.name, file.data, file.mode, group))
}

func wrapWrite(err error) error {
	if err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}

// isCurrent reports whether the file on disk has the mode and, apart from the
// time of the document, the content. Both are written by one program in one order,
// so that their bytes tell.
func (f *snapshotFile) isCurrent(folder *safefile.Folder) bool {
	entry, err := folder.Lstat(f.name)
	if err != nil || entry.Mode != f.mode {
		return false
	}
	data, err := folder.ReadFile(f.name, maxSnapshot)
	if err != nil {
		return false
	}
	before, after, readable := f.aroundTime(data)
	wantedBefore, wantedAfter, _ := f.aroundTime(f.data)
	return readable && bytes.Equal(before, wantedBefore) && bytes.Equal(after, wantedAfter)
}

// aroundTime gives what is before the time of a document and what is behind it, and
// reports whether the time is one, where there is any.
func (f *snapshotFile) aroundTime(data []byte) (before, after []byte, readable bool) {
	before, rest, there := bytes.Cut(data, []byte(f.time))
	after = bytes.TrimLeft(rest, "0123456789-:.+TZ")
	_, err := time.Parse(time.RFC3339, string(rest[:len(rest)-len(after)]))
	return before, after, !there || err == nil
}

// plistTree makes a document of this package, by its JSON form, a tree that a
// property list can hold.
func plistTree(document any) (map[string]any, error) {
	data, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("encode snapshot: %w", err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	decoder.UseNumber()
	var tree map[string]any
	if err := decoder.Decode(&tree); err != nil {
		return nil, fmt.Errorf("encode snapshot: %w", err)
	}
	return plistDictionary(tree), nil
}

func plistDictionary(dictionary map[string]any) map[string]any {
	out := make(map[string]any, len(dictionary))
	for key, value := range dictionary {
		if leaf := plistValue(key, value); leaf != nil {
			out[text.Display(key)] = leaf
		}
	}
	return out
}

// plistValue is nil for what a property list leaves out.
func plistValue(key string, value any) any {
	switch value := value.(type) {
	case map[string]any:
		return plistDictionary(value)
	case []any:
		out := make([]any, 0, len(value))
		for _, element := range value {
			if leaf := plistValue("", element); leaf != nil {
				out = append(out, leaf)
			}
		}
		return out
	case json.Number:
		return plistNumber(value)
	case string:
		if !isTimeKey(key) {
			return text.Display(value)
		}
		return plistDate(value)
	}
	return value
}

func plistNumber(number json.Number) any {
	if whole, err := number.Int64(); err == nil {
		return whole
	}
	return number.String()
}

// isTimeKey reports whether our documents hold points in time under that name.
func isTimeKey(key string) bool {
	return key == "at" || key == "since" || strings.HasSuffix(key, "_at") || strings.HasSuffix(key, "_until") || protocol.IsTime(key)
}

func plistDate(value string) any {
	at, err := time.Parse(time.RFC3339, value)
	if err != nil {
		return text.Display(value)
	}
	if at.IsZero() {
		return nil
	}
	return at.UTC()
}
