package store

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

var notes = Collection[*string]{Name: "notes"}

func openForTest(t *testing.T, dir string) *Store {
	t.Helper()
	s, _, err := Open(context.Background(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestStopRefusesTheUpdateThatWaits: a change fails in a way that stops the
// store, and who waited for it to end is not told that the next change was
// committed. It is let in neither before the store is stopped nor while it is.
func TestStopRefusesTheUpdateThatWaits(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fail func(*Store, *Tx) error
		code string
	}{
		"a commit that fails": {func(s *Store, tx *Tx) error {
			_ = s.db.file.Close() // from now on every write fails
			return notes.Put(tx, "early", new("x"))
		}, "store_io"},
		"a panic": {func(*Store, *Tx) error { panic("a bug") }, "store_damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			s := openForTest(t, filepath.Join(t.TempDir(), "state"))
			ran, ended, waiting := false, make(chan struct{}), make(chan error, 1)
			s.opts.Log = zerolog.New(writerFunc(func() { waitForBlockedWriter(t, ended) })) // asked before it stops
			err := s.Update(func(tx *Tx) error {
				go func() {
					defer close(ended)
					waiting <- updateOfAnother(s, func(*Tx) error { ran = true; return nil })
				}()
				waitForBlockedWriter(t, ended)
				return test.fail(s, tx)
			})
			if CodeOf(err) != test.code {
				t.Errorf("the change that fails: %v", err)
			}
			if err := <-waiting; CodeOf(err) != test.code || ran {
				t.Errorf("the update that waited: %v, was made: %v", err, ran)
			}
		})
	}
}

// updateOfAnother has a name that shows in the stacks of goroutines.
func updateOfAnother(s *Store, change func(*Tx) error) error { return s.Update(change) }

// writerFunc is called for each line of a log.
type writerFunc func()

func (f writerFunc) Write(line []byte) (int, error) { f(); return len(line), nil }

// waitForBlockedWriter returns when the updateOfAnother waits for its turn, or
// has ended: the stacks of all goroutines are what can tell.
func waitForBlockedWriter(t *testing.T, ended <-chan struct{}) {
	t.Helper()
	stacks := make([]byte, 4<<20)
	for began := time.Now(); time.Since(began) < time.Minute; runtime.Gosched() {
		select {
		case <-ended:
			return
		default:
		}
		for _, stack := range bytes.Split(stacks[:runtime.Stack(stacks, true)], []byte("\n\n")) {
			if bytes.Contains(stack, []byte("updateOfAnother(")) && bytes.Contains(stack, []byte("[sync.Mutex.Lock")) &&
				!bytes.Contains(stack, []byte("beginRWTx")) { // where bbolt lets the next one in
				return
			}
		}
	}
	t.Error("nobody waits")
}

// TestReportThatCannotBeForgottenFailsTheCommit: what was found at the last open
// must not be told for ever, so a commit that cannot drop it is none.
func TestReportThatCannotBeForgottenFailsTheCommit(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, databaseName), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openForTest(t, dir)
	err := s.Update(func(tx *Tx) error {
		tx.changed = true
		return tx.bolt.Bucket([]byte(headerBucket)).Put([]byte(headerKey), []byte("no header"))
	})
	if CodeOf(err) != "store_damaged" || s.Commits() != 0 {
		t.Errorf("got %v and %d commits", err, s.Commits())
	}
}

// TestReadPageBetweenTheMetasAndTheHighWaterMark: a page elsewhere is damage,
// also where the file has bytes that would do for one.
func TestReadPageBetweenTheMetasAndTheHighWaterMark(t *testing.T) {
	t.Parallel()
	const size, pages, highWater = 64, 8, 5
	content := make([]byte, pages*size)
	for id := range uint64(pages) {
		byteOrder.PutUint64(content[id*size:], id)
	}
	file := pageFile{reader: bytes.NewReader(content), size: int64(len(content)), pageSize: size}
	for id := range uint64(pages) {
		read, err := file.readPage(id, highWater)
		if inside := id >= 2 && id < highWater; inside && (err != nil || read.id != id) || !inside && CodeOf(err) != "store_damaged" {
			t.Errorf("page %d: %+v, %v", id, read, err)
		}
	}
}
