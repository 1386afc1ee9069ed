package cli

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"prlagent/agent/localapi"
	"prlagent/launchd"
	"prlagent/platform/safefile"
)

// maxUnpacked bounds what one rotated log is believed to hold, in bytes: it is
// rotated at ten megabytes.
const maxUnpacked = 64 << 20

// logFiles is the folder of the daemon's log: logs/prlagentd.log, and the rotated
// ones, prlagentd.log.N.gz, of which the first is the newest.
type logFiles struct{ folder *safefile.Folder }

// openLogs opens the folder of the Mac in the folder root. The files are for root.
func openLogs(root string) (logFiles, error) {
	folder, err := safefile.OpenFolder(filepath.Join(root, localapi.LogFolder))
	if err != nil {
		return logFiles{}, fmt.Errorf("open logs: %w", err)
	}
	return logFiles{folder}, nil
}

func (f logFiles) close() { _ = f.folder.Close() }

var logName = filepath.Base(localapi.LogFile)

// names are the files of the log, the oldest first.
func (f logFiles) names() ([]string, error) {
	all, err := f.folder.Names()
	if err != nil {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	numbers := make(map[string]int)
	for _, name := range all {
		if number, is := rotatedNumber(name); is {
			numbers[name] = number
		}
	}
	names := slices.SortedFunc(maps.Keys(numbers), func(a, b string) int { return numbers[b] - numbers[a] })
	if len(names) == 0 {
		return nil, fmt.Errorf("find log: %w", fs.ErrNotExist)
	}
	return names, nil
}

// rotatedNumber is 0 for the log that is written, and counts those before it.
func rotatedNumber(name string) (number int, is bool) {
	rest, is := strings.CutPrefix(name, logName)
	if !is || rest == "" {
		return 0, is
	}
	rest, dotted := strings.CutPrefix(strings.TrimSuffix(rest, ".gz"), ".")
	number, err := strconv.Atoi(rest)
	return number, dotted && err == nil && number > 0
}

// open gives the content of one file, unpacked.
func (f logFiles) open(name string) (io.ReadCloser, time.Time, error) {
	file, err := f.folder.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("open log: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return nil, time.Time{}, errors.Join(err, file.Close())
	}
	if !strings.HasSuffix(name, ".gz") {
		return file, info.ModTime(), nil
	}
	unpacked, err := gzip.NewReader(file)
	if err != nil {
		return nil, time.Time{}, errors.Join(fmt.Errorf("unpack %s: %w", name, err), file.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(unpacked, maxUnpacked), file}, info.ModTime(), nil
}

// damagedLogs are files of a log that cannot be read, or not to their end. The
// others were read.
type damagedLogs struct{ files []error }

// Error names every file.
func (d *damagedLogs) Error() string {
	words := make([]string, 0, len(d.files))
	for _, file := range d.files {
		words = append(words, file.Error())
	}
	return strings.Join(words, "; ")
}

// Unwrap gives what is wrong with each file.
func (d *damagedLogs) Unwrap() []error { return d.files }

// add notes that a file could not be read. One that is gone was rotated meanwhile.
func (d *damagedLogs) add(err error) {
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.files = append(d.files, err)
	}
}

// orNil is d if there is any damage.
func (d *damagedLogs) orNil() error {
	if len(d.files) == 0 {
		return nil
	}
	return d
}

// read gives each line that is not older than since, in order. A line without a
// time, as of a crash, is as old as the one before it. What cannot be read is told
// at the end, as damagedLogs.
func (f logFiles) read(since time.Time, each func(logLine) error) error {
	names, err := f.names()
	if err != nil {
		return err
	}
	damaged := &damagedLogs{}
	for _, name := range names {
		var before time.Time
		var stopped error
		damage := f.readFile(name, since, func(raw []byte) error {
			line := parseLogLine(raw)
			if !line.Time.IsZero() {
				before = line.Time
			}
			if !before.Before(since) {
				stopped = each(line)
			}
			return stopped
		})
		if stopped != nil {
			return stopped
		}
		damaged.add(damage)
	}
	return damaged.orNil()
}

// readFile gives each line of a file that was written to since then.
func (f logFiles) readFile(name string, since time.Time, each func([]byte) error) error {
	content, changed, err := f.open(name)
	if err != nil {
		return err
	}
	defer content.Close()
	if changed.Before(since) {
		return nil
	}
	if err := eachLine(content, each); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// last gives the last lines, the oldest first, and with them what could not be
// read, as damagedLogs.
func (f logFiles) last(count int) ([]logLine, error) {
	names, err := f.names()
	if err != nil {
		return nil, err
	}
	var found []logLine
	damaged := &damagedLogs{}
	for _, name := range slices.Backward(names) {
		var lines []logLine
		damaged.add(f.readFile(name, time.Time{}, func(raw []byte) error {
			if lines = append(lines, logLine{Raw: bytes.Clone(raw)}); len(lines) > 2*count {
				lines = slices.Clone(lines[len(lines)-count:])
			}
			return nil
		}))
		found = append(lines, found...)
		if len(found) >= count {
			break
		}
	}
	found = found[max(0, len(found)-count):]
	for i := range found {
		found[i] = parseLogLine(found[i].Raw)
	}
	return found, damaged.orNil()
}

// panicSize is the size of what launchd keeps of the daemon's standard error.
func (f logFiles) panicSize() int64 {
	entry, err := f.folder.Lstat(filepath.Base(launchd.AgentJob().StandardErrorPath))
	if err != nil {
		return 0
	}
	return entry.Size
}

// logLine is one record of the log.
type logLine struct {
	Time    time.Time
	Level   string
	Message string
	Fields  map[string]any // the others
	Raw     []byte
}

// parseLogLine reads a record; what is none is its own message.
func parseLogLine(raw []byte) logLine {
	line := logLine{Raw: bytes.Clone(raw)}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&line.Fields); err != nil || line.Fields == nil || decoder.More() {
		return logLine{Raw: line.Raw, Message: string(raw)}
	}
	line.Level, _ = line.Fields["level"].(string)
	line.Message, _ = line.Fields["message"].(string)
	at, _ := line.Fields["time"].(string)
	line.Time, _ = time.Parse(time.RFC3339, at) // zero for what has none
	for _, name := range []string{"level", "message", "time"} {
		delete(line.Fields, name)
	}
	return line
}

func (l logLine) isError() bool {
	return l.Level == "error" || l.Level == "fatal" || l.Level == "panic"
}

// words are the record without its time and level.
func (l logLine) words() string {
	words := []string{l.Message}
	for _, name := range slices.Sorted(maps.Keys(l.Fields)) {
		value := l.Fields[name]
		if value == "" {
			continue
		}
		if nested, is := value.(map[string]any); is {
			encoded, _ := json.Marshal(nested) // it came from JSON
			value = string(encoded)
		}
		words = append(words, fmt.Sprintf("%s=%v", name, value))
	}
	return joinParts("  ", words...)
}
