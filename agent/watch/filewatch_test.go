package watch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"prlagent/agent/trigger"
)

// scriptedFolder stands in for fsnotify: a test says what events there are,
// as kqueue would (facts/macos.md 4).
type scriptedFolder struct {
	mu      sync.Mutex
	events  chan fsnotify.Event
	errors  chan error
	refuse  error // opening fails
	opened  int   // in all
	holding int   // now
}

func (s *scriptedFolder) open(string) (folderEvents, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return folderEvents{}, s.refuse
	}
	s.opened++
	s.holding++
	s.events, s.errors = make(chan fsnotify.Event), make(chan error)
	return folderEvents{s.events, s.errors, s.close}, nil
}

func (s *scriptedFolder) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holding--
	return nil
}

func (s *scriptedFolder) channels() (chan fsnotify.Event, chan error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.events, s.errors
}

func (s *scriptedFolder) counts() (opened, holding int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened, s.holding
}

func (s *scriptedFolder) setRefuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = err
}

// scene is a watched file on a real disk with scripted events.
type scene struct {
	t      *testing.T
	dir    string
	file   string
	folder *scriptedFolder
	told   *heard
	log    bytes.Buffer
}

const (
	sceneSettle   = time.Second
	sceneBackstop = 30 * time.Second
)

var profileChanged = Hint{Reason: trigger.ProfileChanged}

// inScene runs a test in a bubble, with the watch on a file that prepare made,
// or did not. Files need real folders, which outlive the bubble.
func inScene(t *testing.T, prepare, act func(*scene)) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "Managed Preferences")
	synctest.Test(t, func(t *testing.T) {
		s := &scene{t: t, dir: dir, file: filepath.Join(dir, "org.prlagent.agent.plist"), folder: &scriptedFolder{}}
		prepare(s)
		watch := FileWatch{Path: s.file, Hint: profileChanged, Settle: sceneSettle, Backstop: sceneBackstop, Log: zerolog.New(&s.log), open: s.folder.open}
		ctx, stop := context.WithCancel(t.Context())
		var told heard
		s.told = &told
		ended := make(chan error, 1)
		go func() { ended <- watch.Watch(ctx, told.tell) }()
		synctest.Wait()
		act(s)
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the watch ended with %v", err)
		}
		if _, holding := s.folder.counts(); holding != 0 {
			t.Errorf("%d watchers are left open", holding)
		}
	})
}

func withFile(s *scene) { s.mkdir(); s.write("one") }

func (s *scene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) mkdir()            { s.t.Helper(); s.must(os.Mkdir(s.dir, 0o700)) }
func (s *scene) write(text string) { s.t.Helper(); s.must(os.WriteFile(s.file, []byte(text), 0o600)) }

func (s *scene) replace(text string) { s.t.Helper(); saveAtomically(s.t, s.file, text) }

// saveAtomically saves a file as most programs do: a new one is renamed over it.
func saveAtomically(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// event lets the folder's watcher say something of the file.
func (s *scene) event(op fsnotify.Op) { s.eventOf(s.file, op) }

func (s *scene) eventOf(path string, op fsnotify.Op) {
	s.t.Helper()
	events, _ := s.folder.channels()
	select {
	case events <- fsnotify.Event{Name: path, Op: op}:
	case <-time.After(time.Hour):
		s.t.Fatal("nobody listens to the watcher")
	}
}

func (s *scene) settle() { time.Sleep(sceneSettle); synctest.Wait() }

func (s *scene) backstop() { time.Sleep(sceneBackstop); synctest.Wait() }

// expect checks how often the hint was told since the last check.
func (s *scene) expect(times int) {
	s.t.Helper()
	want := slices.Repeat([]Hint{profileChanged}, times)
	if got := s.told.take(); !slices.Equal(got, want) {
		s.t.Errorf("told %v, want %d times", got, times)
	}
}

func (s *scene) expectOpened(times int) {
	s.t.Helper()
	synctest.Wait()
	if opened, _ := s.folder.counts(); opened != times {
		s.t.Errorf("the folder was watched %d times, want %d", opened, times)
	}
}

// Each row of what kqueue does, and of what it leaves out (facts/macos.md 4).
func TestFileWatch(t *testing.T) {
	t.Parallel()
	empty := func(s *scene) { s.mkdir() }
	nothing := func(*scene) {}
	cases := map[string]struct {
		prepare, act func(*scene)
	}{
		"a file at the start is no news": {withFile, func(s *scene) { s.backstop(); s.expect(0); s.expectOpened(1) }},
		"a write": {withFile, func(s *scene) {
			s.write("one two")
			s.event(fsnotify.Write)
			time.Sleep(sceneSettle - 1)
			synctest.Wait()
			s.expect(0)
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			s.expect(1)
			s.backstop()
			s.expect(0)
		}},
		"a burst of writes is one": {withFile, func(s *scene) {
			for number := range 5 {
				s.write(strings.Repeat("x", 10+number))
				s.event(fsnotify.Write)
				time.Sleep(sceneSettle / 2)
			}
			s.settle()
			s.expect(1)
		}},
		"a burst without an end": {withFile, func(s *scene) {
			for number := range 24 { // 12 s
				s.write(strings.Repeat("x", 10+number))
				s.event(fsnotify.Write)
				time.Sleep(sceneSettle / 2)
			}
			synctest.Wait()
			s.expect(2)
		}},
		"an event without a change": {withFile, func(s *scene) { s.event(fsnotify.Write); s.settle(); s.backstop(); s.expect(0) }},
		"changes of rights are ignored": {withFile, func(s *scene) {
			s.must(os.Chmod(s.file, 0o640))
			s.event(fsnotify.Chmod)
			s.settle()
			s.backstop()
			s.expect(0)
		}},
		"a change of rights starts no look": {withFile, func(s *scene) {
			s.write("one two")
			s.event(fsnotify.Chmod)
			s.settle()
			s.expect(0)
			s.backstop()
			s.expect(1)
		}},
		"other files of the folder": {withFile, func(s *scene) {
			s.write("one two")
			s.eventOf(filepath.Join(s.dir, "com.apple.screensaver.plist"), fsnotify.Write)
			s.eventOf(s.file+".new", fsnotify.Create)
			s.settle()
			s.expect(0)
		}},
		"the file appears": {empty, func(s *scene) { s.write("one"); s.event(fsnotify.Create); s.settle(); s.expect(1) }},
		"the file appears in capitals": {empty, func(s *scene) {
			s.write("one")
			s.eventOf(strings.ToUpper(s.file), fsnotify.Create)
			s.settle()
			s.expect(1)
		}},
		"the file is removed":           {withFile, func(s *scene) { s.must(os.Remove(s.file)); s.event(fsnotify.Remove); s.settle(); s.expect(1) }},
		"an atomic save with the event": {withFile, func(s *scene) { s.replace("two"); s.event(fsnotify.Create); s.settle(); s.expect(1) }},
		"remove and create is one": {withFile, func(s *scene) {
			s.must(os.Remove(s.file))
			s.event(fsnotify.Remove)
			s.replace("two")
			s.event(fsnotify.Create)
			s.settle()
			s.expect(1)
			s.expectOpened(2)
		}},
		"a save that renames away first": {withFile, func(s *scene) { // kqueue drops the file's watch and says no more
			s.must(os.Rename(s.file, s.file+"~"))
			s.event(fsnotify.Rename)
			s.write("two")
			s.settle()
			s.expect(1)
			s.expectOpened(2)
			s.write("two three")
			s.event(fsnotify.Write)
			s.settle()
			s.expect(1)
			s.expectOpened(2)
		}},
		"no event at all": {withFile, func(s *scene) { s.replace("two"); s.backstop(); s.expect(1); s.backstop(); s.expect(0) }},
		"the same size and time, another file": {withFile, func(s *scene) {
			before, err := os.Stat(s.file)
			s.must(err)
			s.must(os.WriteFile(s.file+".new", []byte("eno"), 0o600))
			s.must(os.Chtimes(s.file+".new", before.ModTime(), before.ModTime()))
			s.must(os.Rename(s.file+".new", s.file))
			s.backstop()
			s.expect(1)
		}},
		"only the size": {withFile, func(s *scene) {
			before, err := os.Stat(s.file)
			s.must(err)
			s.write("one two")
			s.must(os.Chtimes(s.file, before.ModTime(), before.ModTime()))
			s.backstop()
			s.expect(1)
		}},
		"a burst that the backstop falls into": {withFile, func(s *scene) {
			time.Sleep(sceneBackstop - sceneSettle/2)
			s.write("one two")
			s.event(fsnotify.Write)
			time.Sleep(sceneSettle - time.Nanosecond)
			synctest.Wait()
			s.expect(0)
			s.settle()
			s.expect(1)
		}},
		"only the time of change": {withFile, func(s *scene) { s.must(os.Chtimes(s.file, noon, noon)); s.backstop(); s.expect(1) }},
		"the folder appears": {nothing, func(s *scene) {
			s.expectOpened(0)
			s.backstop()
			s.expect(0)
			withFile(s)
			s.backstop()
			s.expect(1)
			s.expectOpened(1)
			s.write("one two")
			s.event(fsnotify.Write)
			s.settle()
			s.expect(1)
		}},
		"the folder is replaced": {withFile, func(s *scene) {
			s.must(os.Rename(s.dir, s.dir+" (old)"))
			withFile(s)
			s.backstop()
			s.expect(1)
			s.expectOpened(2)
		}},
		"the folder is replaced, with an event": {withFile, func(s *scene) {
			s.must(os.RemoveAll(s.dir))
			withFile(s) // it may well get the number of the old one
			s.eventOf(s.dir, fsnotify.Remove)
			s.settle()
			s.expect(1)
			s.expectOpened(2)
		}},
		"the folder is removed": {withFile, func(s *scene) {
			s.must(os.RemoveAll(s.dir))
			s.eventOf(s.dir, fsnotify.Remove)
			s.settle()
			s.expect(1)
			s.backstop()
			s.expect(0)
			s.expectOpened(1)
		}},
		"the folder is a file": {nothing, func(s *scene) { s.must(os.WriteFile(s.dir, nil, 0o600)); s.backstop(); s.expect(0); s.expectOpened(0) }},
		"a pipe in the file's place is not opened": {empty, func(s *scene) {
			s.must(syscall.Mkfifo(s.file, 0o600)) // opening it would wait for ever
			s.event(fsnotify.Create)
			s.settle()
			s.expect(1)
		}},
		"a link in the file's place is not followed": {empty, func(s *scene) {
			s.must(os.Symlink("elsewhere", s.file))
			s.backstop()
			s.expect(1)
			s.must(os.WriteFile(filepath.Join(s.dir, "elsewhere"), []byte("one"), 0o600))
			s.backstop()
			s.expect(0)
		}},
		"a change while there is no watch": {withFile, func(s *scene) {
			s.folder.setRefuse(errors.New("too many open files"))
			_, failures := s.folder.channels()
			failures <- errors.New("lost")
			s.settle()
			s.replace("two")
			s.folder.setRefuse(nil)
			s.backstop()
			s.expect(1)
			s.expectOpened(2)
		}},
		"lost events": {withFile, func(s *scene) {
			s.replace("two")
			_, failures := s.folder.channels()
			failures <- fsnotify.ErrEventOverflow
			s.settle()
			s.expect(1)
			s.expectOpened(2)
		}},
		"a watcher that ends": {withFile, func(s *scene) {
			events, _ := s.folder.channels()
			close(events)
			s.settle()
			s.expect(0)
			s.expectOpened(2)
		}},
		"a big folder is not watched": {func(s *scene) {
			withFile(s)
			for number := range maxWatched {
				s.must(os.WriteFile(filepath.Join(s.dir, fmt.Sprint(number)), nil, 0o600))
			}
		}, func(s *scene) {
			s.expectOpened(0)
			s.replace("two")
			s.backstop()
			s.expect(1)
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inScene(t, c.prepare, c.act)
		})
	}
}

// A watcher that is not to be had is asked for at each backstop and logged once.
func TestFileWatchWithoutEvents(t *testing.T) {
	t.Parallel()
	inScene(t, func(s *scene) {
		withFile(s)
		s.folder.setRefuse(errors.New("too many open files"))
	}, func(s *scene) {
		for number := range 5 {
			s.write(strings.Repeat("x", 10+number))
			s.backstop()
			s.expect(1)
		}
		if lines := strings.Count(s.log.String(), "\n"); lines != 1 {
			t.Errorf("%d lines in the log, want one:\n%s", lines, s.log.String())
		}
		s.folder.setRefuse(nil)
		s.backstop()
		s.expectOpened(1)
	})
}

// The license file of TRG-02 and TRG-03 says only "look": the look re-reads the
// license and knows whether it is an activation or a re-activation.
func TestTRG_02_TRG_03_LicenseFileHintsToLook(t *testing.T) {
	license := filepath.Join(t.TempDir(), "licenses.json")
	if err := os.WriteFile(license, []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	told := realWatch(t, license, Hint{})
	saveAtomically(t, license, `[{"name":"PDE"}]`)
	if diff := cmp.Diff(Hint{}, <-told); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// realWatch watches with the real fsnotify until the test ends. It returns when
// the watch listens. The backstop never comes.
func realWatch(t *testing.T, path string, hint Hint) <-chan Hint {
	t.Helper()
	told, listening := make(chan Hint, 100), make(chan struct{})
	var once sync.Once
	watch := FileWatch{Path: path, Hint: hint, Settle: time.Millisecond, Backstop: 24 * time.Hour, Log: zerolog.Nop(),
		open: func(folder string) (folderEvents, error) {
			events, err := openFolderEvents(folder)
			once.Do(func() { close(listening) })
			return events, err
		}}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- watch.Watch(ctx, func(hint Hint) { told <- hint }) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the watch ended with %v", err)
		}
	})
	<-listening
	return told
}
