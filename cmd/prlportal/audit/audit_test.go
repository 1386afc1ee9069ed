package audit_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/portaltest/hostile"
)

func TestH55_TheAuditLogIsOnlyAddedTo(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(path, []byte(`{"action":"approve"}`+"\n"+`{"action":"rej`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, reason := range []string{"first", "second\nline"} {
		log, err := audit.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := log.Append(audit.Entry{Action: audit.ActionRetire, Reason: reason}); err != nil {
			t.Fatal(err)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	if len(lines) != 4 || lines[0] != `{"action":"approve"}` || lines[1] != `{"action":"rej` ||
		!strings.Contains(lines[2], `"first"`) || !strings.Contains(lines[3], `"second\nline"`) {
		t.Errorf("lines are %q", lines)
	}
}

// A decision is kept only once its line is on the disk: what cannot be flushed is an error.
func TestH30_ALineThatIsNotOnTheDiskIsAnError(t *testing.T) {
	t.Parallel()
	flushed, folders, full := int64(0), 0, error(nil)
	log, err := audit.OpenWithFlush(filepath.Join(t.TempDir(), "audit.log"), func(file *os.File) error {
		info, err := file.Stat()
		switch {
		case err == nil && info.IsDir():
			folders++
		case err == nil && full == nil:
			flushed = info.Size()
		}
		return errors.Join(err, full)
	})
	if err != nil || folders != 1 {
		t.Fatalf("%d folders are flushed, %v", folders, err)
	}
	defer log.Close()
	if err := log.Append(audit.Entry{Action: audit.ActionRetire}); err != nil || flushed == 0 {
		t.Errorf("%d bytes are flushed, %v", flushed, err)
	}
	full = errors.New("no space left on device")
	if err := log.Append(audit.Entry{Action: audit.ActionRetire}); !errors.Is(err, full) {
		t.Errorf("the failure is not told: %v", err)
	}
}

func TestH55_TheAuditLogIsNoLink(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := os.Symlink(filepath.Join(folder, "elsewhere"), filepath.Join(folder, "audit.log")); err != nil {
		t.Fatal(err)
	}
	if log, err := audit.Open(filepath.Join(folder, "audit.log")); err == nil {
		t.Error("a link was followed")
		log.Close()
	}
}

// H30: whoever changes, takes out or puts in a line is seen, and with a line that is
// known from elsewhere also who takes away the end. What an older portal wrote, and what
// a crash cut off, is no break, and is held by the lines after it.
func TestH30_TheAuditLogIsAChain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(path, []byte(`{"action":"approve"}`+"\n"+`{"action":"rej`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, reason := range []string{"one", "two", "three"} {
		log, err := audit.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := log.Append(audit.Entry{Action: audit.ActionCommand, Reason: reason}); err != nil {
				t.Fatal(err)
			}
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found, err := audit.VerifyFile(path, audit.Mark{}, nil)
	if err != nil || found.Lines != 8 || found.Chained != 6 || found.Cut != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	lines := strings.SplitAfter(string(whole), "\n")
	for name, changed := range map[string]string{
		"a line was changed":         strings.Replace(string(whole), `"one"`, `"on3"`, 1),
		"an old line was changed":    strings.Replace(string(whole), `approve`, `approvd`, 1),
		"a line was taken out":       strings.Join(append(append([]string{}, lines[:4]...), lines[5:]...), ""),
		"a line was put in":          strings.Join(append(append(append([]string{}, lines[:4]...), "{\"action\":\"retire\"}\n"), lines[4:]...), ""),
		"two lines changed places":   strings.Join(append(append([]string{}, lines[:3]...), lines[4], lines[3], lines[5], lines[6], lines[7]), ""),
		"a line lost its hash":       strings.Replace(string(whole), `"n":4,`, ``, 1),
		"the end was taken away":     strings.Join(lines[:7], ""),
		"the last line was replaced": strings.Replace(string(whole), `"three"`, `"3"`, -1),
	} {
		if _, err := audit.Verify(strings.NewReader(changed), found.Last, nil); !errors.Is(err, audit.ErrBroken) {
			t.Errorf("%s: %v", name, err)
		}
		_, err := audit.Verify(strings.NewReader(changed), audit.Mark{}, nil)
		if isSeen := errors.Is(err, audit.ErrBroken); isSeen != (name != "the end was taken away") {
			t.Errorf("%s, and nothing of it is known: %v", name, err)
		}
	}
}

// Two processes that add lines, and a line of which a crash left a part, break no chain: what
// the file has counts, and not what a process remembers of it.
func TestH30_TwoWhoAppendKeepTheChain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	var logs [2]*audit.Log
	for i := range logs {
		log, err := audit.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		logs[i] = log
	}
	var group sync.WaitGroup
	for _, log := range logs {
		group.Go(func() {
			for range 20 {
				if err := log.Append(audit.Entry{Action: audit.ActionCommand}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	torn, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = torn.WriteString(`{"n":41,"cha`)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer torn.Close()
	if err := logs[0].Append(audit.Entry{Action: audit.ActionBackup}); err != nil {
		t.Fatal(err)
	}
	found, err := audit.VerifyFile(path, audit.Mark{}, nil)
	if err != nil || found.Lines != 42 || found.Chained != 41 || found.Cut != 1 {
		t.Errorf("%+v, %v", found, err)
	}
	if logs[0].Mark() != found.Last {
		t.Errorf("mark is %+v, the file's %+v", logs[0].Mark(), found.Last)
	}
}

// An entry that nobody could read again is not written.
func TestH30_NoEntryIsTooLongToBeRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	log, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if err := log.Append(audit.Entry{Action: audit.ActionPublish, Reason: strings.Repeat("x", 1<<20)}); err == nil {
		t.Error("it was written")
	}
	if found, err := audit.VerifyFile(path, audit.Mark{}, nil); err != nil || found.Lines != 0 {
		t.Errorf("%+v, %v", found, err)
	}
}

// H15: the record has names that users gave; who looks at it sees them, and is not steered.
func TestH15_NoEntrySteersTheTerminal(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	log, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for _, evil := range hostile.Texts {
		if err := log.Append(audit.Entry{Action: audit.ActionCommand, Command: &audit.Command{Target: protocol.CommandTarget{VMName: evil.Text}}}); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	hostile.WantSafeLog(t, data, len(hostile.Texts))
	if found, err := audit.VerifyFile(path, audit.Mark{}, nil); err != nil || found.Chained != uint64(len(hostile.Texts)) {
		t.Errorf("%+v, %v", found, err)
	}
}
