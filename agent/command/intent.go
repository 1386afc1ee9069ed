package command

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform/safefile"
)

// IntentFile is the name of the intent file in the state folder.
const IntentFile = "intents"

// maxIntents is the largest intent file that is read, in bytes. A line has about 100.
const maxIntents = 8 << 20

// intent is one line of the intent file: an attempt that was begun.
type intent struct {
	ID      string
	Type    string
	Attempt int
	At      time.Time // by the trusted time
	Until   time.Time // it may be forgotten then
}

// Intents is the append-only file of what was begun (H22). It lies outside of the
// database, so that no restore of that takes it back: an id that it has is never
// acted on again but by a journal that knows of the attempt. It is small, and is
// in memory as a whole. Safe for concurrent use.
//
// A line is text: id, type, attempt, two times in seconds, and a checksum. One
// that was cut off or damaged may have been any that fits it: it counts for every
// id that it can be of, among the commands that were signed before the damage was
// noticed.
type Intents struct {
	path string
	sync func(*os.File) error

	mu      sync.Mutex
	broken  error // why the file cannot be used
	lines   []intent
	doubts  []doubt
	pruned  time.Time // commands that had expired by then may be forgotten
	midline bool      // the file does not end with a whole line
	named   bool      // the folder was flushed since: a file that is there may have a name that a crash takes
}

// doubt is a damaged line.
type doubt struct {
	raw     string
	noticed time.Time // zero: not noted in the file yet
}

// Words of the lines that are no attempts.
const (
	noticedWord = "!noticed"
	prunedWord  = "!pruned"
)

// OpenIntents reads the intent file at a path; a missing one is empty. One that
// cannot be read is no error here: nothing that changes anything is begun then, and
// Reopen tries again. sync flushes the file to the disk; nil is the real flush.
func OpenIntents(path string, sync func(*os.File) error, now time.Time) *Intents {
	if sync == nil {
		sync = (*os.File).Sync
	}
	f := &Intents{path: path, sync: sync}
	f.Reopen(now)
	return f
}

// Reopen reads the file anew if it could not be used.
func (f *Intents) Reopen(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil || f.lines == nil {
		f.broken = f.load(now)
	}
}

func (f *Intents) load(now time.Time) error {
	data, err := safefile.ReadTrustedFile(f.path, uint32(os.Geteuid()), maxIntents)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read intents: %w", err)
	}
	f.lines, f.doubts, f.pruned = []intent{}, nil, time.Time{}
	f.midline = len(data) > 0 && data[len(data)-1] != '\n'
	for raw := range bytes.SplitSeq(data, []byte("\n")) {
		f.take(string(raw))
	}
	for i := range f.doubts {
		if f.doubts[i].noticed.IsZero() {
			return f.noteDoubts(now)
		}
	}
	return nil
}

// take takes one line in.
func (f *Intents) take(raw string) {
	if raw == "" {
		return
	}
	fields, whole := checkedFields(raw)
	switch {
	case whole && len(fields) == 2 && fields[0] == noticedWord:
		for i := range f.doubts {
			if f.doubts[i].noticed.IsZero() {
				f.doubts[i].noticed = unixTime(fields[1])
			}
		}
		return
	case whole && len(fields) == 2 && fields[0] == prunedWord:
		f.pruned = unixTime(fields[1])
		return
	case whole && len(fields) == 5:
		if attempt, err := strconv.Atoi(fields[2]); err == nil {
			f.lines = append(f.lines, intent{fields[0], fields[1], attempt, unixTime(fields[3]), unixTime(fields[4])})
			return
		}
	}
	f.doubts = append(f.doubts, doubt{raw: raw})
}

// noteDoubts writes down when damage was noticed: what is signed later is not
// doubted for it.
func (f *Intents) noteDoubts(now time.Time) error {
	if err := f.write(checkedLine(noticedWord, unixText(now))); err != nil {
		return err
	}
	f.take(strings.TrimSuffix(checkedLine(noticedWord, unixText(now)), "\n"))
	return nil
}

// Append keeps an attempt before it begins. It returns once the line is on the disk.
func (f *Intents) append(begun *intent) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return f.broken
	}
	// In memory it is there whether or not the write succeeds: it may be on the disk.
	f.lines = append(f.lines, *begun)
	return f.write(begun.text())
}

func (i *intent) text() string {
	return checkedLine(i.ID, i.Type, strconv.Itoa(i.Attempt), unixText(i.At), unixText(i.Until))
}

// write appends a line and flushes it. After an error nobody knows what of it is
// on the disk, so the file is read again before it is used.
func (f *Intents) write(line string) (err error) {
	defer func() {
		if err != nil {
			f.broken = err
		}
	}()
	folder, err := safefile.OpenFolder(filepath.Dir(f.path))
	if err != nil {
		return fmt.Errorf("write intent: %w", err)
	}
	defer folder.Close()
	name := filepath.Base(f.path)
	_, missing := folder.Lstat(name)
	file, err := folder.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("write intent: %w", err)
	}
	if f.midline {
		line = "\n" + line
	}
	f.midline = true
	_, err = file.WriteString(line)
	if err == nil {
		err = f.sync(file)
	}
	if err == nil && (missing != nil || !f.named) {
		err = folder.SyncWith(f.sync)
		f.named = err == nil
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("write intent: %w", err)
	}
	f.midline = false
	return nil
}

// written is up to which attempt of a command the file has one, or may have.
func (f *Intents) written(id string, issuedAt time.Time) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	last := 0
	for i := range f.lines {
		if f.lines[i].ID == id {
			last = max(last, f.lines[i].Attempt)
		}
	}
	for i := range f.doubts {
		if damaged := &f.doubts[i]; damaged.fits(id) && !issuedAt.After(damaged.noticed.Add(clockSlack)) {
			last++
		}
	}
	return last, f.broken
}

// fits reports whether what is left of a line may have been one of the id. One that
// was cut off has its beginning; of one that was changed nothing can be trusted.
func (d *doubt) fits(id string) bool {
	fields := strings.Split(d.raw, " ")
	if !isBeginning(fields) {
		return true
	}
	if len(fields) == 1 {
		return strings.HasPrefix(id, fields[0])
	}
	return fields[0] == id
}

// isBeginning reports whether these can be the first fields of a line, the last of
// them cut off.
func isBeginning(fields []string) bool {
	isLong := len(fields) > 6 || len(fields) == 6 && len(fields[5]) >= 8
	if isLong || !protocol.ValidName(fields[0]) {
		return false
	}
	if len(fields) > 2 {
		_, known := protocol.CommandTypeOf(fields[1])
		return known
	}
	return true
}

// started are the times at which other commands of a counted type were begun since
// a time, oldest first.
func (f *Intents) started(since time.Time, except string) (at []time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return startedIn(f.lines, since, except)
}

// startedIn counts each command once, at its last attempt.
func startedIn(lines []intent, since time.Time, except string) (at []time.Time) {
	last := make(map[string]time.Time)
	for i := range lines {
		line := &lines[i]
		row, _ := protocol.CommandTypeOf(line.Type)
		if row.Counted && line.ID != except && line.At.After(since) {
			last[line.ID] = line.At
		}
	}
	for _, one := range last {
		at = append(at, one)
	}
	sort.Slice(at, func(i, j int) bool { return at[i].Before(at[j]) })
	return at
}

// prunedTo is the time up to which what had expired may be forgotten.
func (f *Intents) prunedTo() time.Time {
	f.mu.Lock()
	pruned := f.pruned
	f.mu.Unlock()
	return pruned
}

// prune forgets the lines of commands that had expired long before now, and writes
// down up to when; without must, only where there are such lines. The new file is
// whole on the disk before it replaces the old one.
func (f *Intents) prune(now time.Time, must bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return f.broken
	}
	pruned := now.Add(-protocol.CommandsKeptFor).Truncate(time.Second)
	if !pruned.After(f.pruned) {
		return nil
	}
	var text strings.Builder
	text.WriteString(checkedLine(prunedWord, unixText(pruned)))
	lines := []intent{}
	for i := range f.lines {
		if line := &f.lines[i]; line.Until.After(now) {
			lines = append(lines, *line)
			text.WriteString(line.text())
		}
	}
	var doubts []doubt
	for i := range f.doubts {
		damaged := &f.doubts[i]
		if damaged.noticed.Add(clockSlack + protocol.MaxCommandLifetime + protocol.CommandsKeptFor).After(now) {
			doubts = append(doubts, *damaged)
			text.WriteString(damaged.raw + "\n" + checkedLine(noticedWord, unixText(damaged.noticed)))
		}
	}
	if !must && len(lines) == len(f.lines) && len(doubts) == len(f.doubts) {
		return nil
	}
	folder, err := safefile.OpenFolder(filepath.Dir(f.path))
	if err != nil {
		return fmt.Errorf("prune intents: %w", err)
	}
	defer folder.Close()
	if err := folder.WriteFile(filepath.Base(f.path), []byte(text.String()), 0o600, -1); err != nil {
		return fmt.Errorf("prune intents: %w", err)
	}
	f.lines, f.doubts, f.pruned, f.midline = lines, doubts, pruned, false
	return nil
}

// checkedLine is a line with its checksum at the end.
func checkedLine(fields ...string) string {
	text := strings.Join(fields, " ")
	return text + " " + checksum(text) + "\n"
}

// checkedFields are the fields of a line, and whether its checksum is theirs.
func checkedFields(raw string) (fields []string, whole bool) {
	at := strings.LastIndexByte(raw, ' ')
	if at < 0 || checksum(raw[:at]) != raw[at+1:] {
		return nil, false
	}
	return strings.Split(raw[:at], " "), true
}

func checksum(text string) string { return fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(text))) }

func unixText(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }

func unixTime(text string) time.Time {
	seconds, _ := strconv.ParseInt(text, 10, 64)
	return time.Unix(seconds, 0).UTC()
}
