package command

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/store"
)

// realHistories is how many histories drive the real journal, intent file and
// runner; the long run is done once, by hand.
var realHistories = flag.Int("command.histories", 100, "histories that drive the real parts")

// realSide is the real journal, intent file and Runner, with the executors of the
// world. Syncs of the intent file are counted and not paid; the store's are paid
// where the folder is on a disk.
type realSide struct {
	t      *testing.T
	folder string
	w      *world
	store  *store.Store
	runner *Runner
	ended  chan struct{}
	known  string // epoch
	synced int64  // bytes of the intent file that a crash leaves
	inode  uint64 // of the intent file as it was flushed last
	named  bool   // the folder was flushed since the file is there
	before []byte // the database before the last commit
}

func (s *realSide) start(w *world) {
	s.w = w
	state, _, err := store.Open(context.Background(), filepath.Join(s.folder, "state"), store.Options{Log: zerolog.Nop(), Collections: Collections()})
	if err != nil {
		s.t.Fatal(err)
	}
	s.store, s.known = state, state.Epoch()
	w.opened()
	executors := map[string]Executor{}
	for _, row := range protocol.CommandTypes {
		executors[row.Type] = modelExecutor{w}
	}
	s.runner, err = New(Options{
		Store: state, Commit: s.commit, Folder: s.folder, Executors: executors, Log: zerolog.Nop(), SyncIntents: s.sync, Sign: w.sign,
		Circumstances: func() *Circumstances {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.circumstances()
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.runner.engine.verify = w.open
	s.ended = make(chan struct{})
	go func() {
		defer close(s.ended)
		s.runner.Run(w.ctx)
	}()
	synctest.Wait()
}

// commit is a commit of the store, before and after which the agent may crash.
func (s *realSide) commit(change func(*store.Tx) error, _ ...protocol.Event) error {
	if err := s.mayWrite(); err != nil {
		return err
	}
	s.before, _ = os.ReadFile(s.database())
	if err := s.store.Update(change); err != nil {
		return err
	}
	return s.point()
}

// sync is a flush of the intent file, or of its folder. What a crash comes before is lost,
// or torn.
func (s *realSide) sync(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	failed := s.w.mayWriteIntent()
	switch {
	case info.IsDir():
		s.named = failed == nil
		return failed
	case failed != nil:
		torn := s.synced
		if s.w.now.Unix()%2 == 0 {
			torn += (info.Size() - s.synced) / 2
			s.w.torn = true
		}
		_ = file.Truncate(torn)
		s.synced, s.inode = torn, inodeOf(info)
		return failed
	}
	s.synced, s.inode = info.Size(), inodeOf(info)
	return s.w.point()
}

func inodeOf(info os.FileInfo) uint64 { return info.Sys().(*syscall.Stat_t).Ino }

// loseUnsynced takes from the intent file what was written and never flushed. One that
// was written anew was flushed before it got its name.
func (s *realSide) loseUnsynced() {
	path := filepath.Join(s.folder, IntentFile)
	info, err := os.Stat(path)
	switch {
	case err != nil:
		s.inode, s.synced, s.named = 0, 0, false
	case s.w.mac.down && !s.named:
		_ = os.Remove(path)
		s.inode, s.synced = 0, 0
	case !s.w.mac.down, s.inode != 0 && s.inode != inodeOf(info):
		s.inode, s.synced = inodeOf(info), info.Size()
	case s.inode == 0:
		_ = os.Remove(path)
		s.named = false
	default:
		_ = os.Truncate(path, s.synced)
	}
}

func (s *realSide) mayWrite() error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return s.w.mayWrite()
}

func (s *realSide) point() error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return s.w.point()
}

func (s *realSide) stop() {
	s.w.cancel()
	<-s.ended
	if err := s.store.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.loseUnsynced()
}

func (s *realSide) take(cancel []string, orders []protocol.Envelope) {
	s.runner.Take(cancel, orders)
	synctest.Wait()
}

func (s *realSide) work() {
	for range 3 {
		s.runner.Look()
		synctest.Wait()
		if info, err := os.Stat(filepath.Join(s.folder, IntentFile)); err == nil && s.inode != 0 && s.inode != inodeOf(info) {
			s.noteRewritten(info)
		}
	}
}

func (s *realSide) report() ([]protocol.OpenCommand, []protocol.Result) { return s.runner.Report() }

// settle reports whether the commit was made, also where the agent crashes after it.
func (s *realSide) settle(ids []string) (kept bool) {
	err := s.commit(func(tx *store.Tx) error {
		err := s.runner.Settle(tx, ids)
		kept = err == nil
		return err
	})
	if err == nil {
		s.runner.Settled(ids)
	}
	return kept
}

func (s *realSide) prune(now time.Time) {
	before, _ := os.Stat(filepath.Join(s.folder, IntentFile))
	_ = s.runner.prune(now)
	after, err := os.Stat(filepath.Join(s.folder, IntentFile))
	if err == nil && (before == nil || !os.SameFile(before, after)) {
		s.noteRewritten(after)
	}
}

// noteRewritten notes that the intent file was written anew, and flushed with its name.
func (s *realSide) noteRewritten(info os.FileInfo) {
	if !s.w.mac.down {
		s.synced, s.inode, s.named = info.Size(), inodeOf(info), true
	}
}

func (s *realSide) onDisk(id string) (r Record, found bool) {
	err := s.store.View(func(tx *store.Tx) (err error) {
		if found, err = openRecords.Get(tx, id, &r); !found && err == nil {
			if found, err = endedRecords.Get(tx, id, &r); found && !r.hasEnded() {
				s.t.Errorf("%s is settled, and has no result", id)
			}
		}
		return err
	})
	if err != nil {
		s.t.Error(err)
	}
	return r, found
}

// lastOnDisk reads the file as another daemon would after a crash.
func (s *realSide) lastOnDisk(id string) int {
	path := filepath.Join(s.folder, IntentFile)
	content, err := os.ReadFile(path)
	info, missing := os.Stat(path)
	switch {
	case err != nil || missing != nil || !s.named || s.inode == 0:
		return 0
	case s.inode == inodeOf(info):
		content = content[:min(len(content), int(s.synced))]
	}
	left := filepath.Join(s.folder, "left")
	if err := os.WriteFile(left, content, 0o600); err != nil {
		s.t.Error(err)
	}
	last, _ := OpenIntents(left, func(*os.File) error { return nil }, s.w.now).written(id, time.Time{})
	return last
}

func (s *realSide) epoch() string { return s.known }
func (s *realSide) backUp()       { _ = s.store.Backup() }

// restore damages the database, so that the next daemon restores its backup.
func (s *realSide) restore() {
	s.before = nil
	s.overwrite([]byte("damaged"))
}

func (s *realSide) forget() {
	if s.before != nil {
		s.overwrite(s.before)
	}
}

func (s *realSide) database() string { return filepath.Join(s.folder, "state", "state.db") }

func (s *realSide) overwrite(database []byte) {
	if err := os.WriteFile(s.database(), database, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *realSide) wipe() {
	_ = os.RemoveAll(filepath.Join(s.folder, "state"))
	_ = os.Remove(filepath.Join(s.folder, IntentFile))
	s.synced, s.inode, s.named, s.before = 0, 0, false, nil
}

// testFolder is a folder in memory where the system has one, of the rights that the
// agent's folder has.
func testFolder(t testing.TB) string {
	t.Helper()
	folder, err := os.MkdirTemp("/dev/shm", "command")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

// The real journal, intent file and runner, and the real portal, go through histories
// as the model does.
func TestH22_H23_H30_CMD12_PROTOCOL10_RealParts(t *testing.T) {
	t.Parallel()
	shared, happened, failures, played := newTestSite(t), counts{}, 0, *realHistories
	if testing.Short() {
		played = min(played, 20)
	}
	for seed := range uint64(played) {
		folder := testFolder(t)
		synctest.Test(t, func(t *testing.T) {
			side, portal := &realSide{t: t, folder: filepath.Join(folder, "mac")}, &realPortal{t: t, folder: folder, site: shared}
			if err := os.Mkdir(side.folder, 0o700); err != nil {
				t.Fatal(err)
			}
			happened.add(playHistory(side, portal, randomHistory(seed), func(format string, args ...any) {
				if failures == 0 {
					t.Logf("history %d: %+v", seed, randomHistory(seed))
				}
				failures++
				t.Errorf(format, args...)
			}))
		})
		_ = os.RemoveAll(folder)
	}
	t.Logf("%v", happened)
	if happened["effects"] < played/2 {
		t.Errorf("only %d effects: the histories do nothing", happened["effects"])
	}
}
