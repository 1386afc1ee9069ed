package watch

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/rs/zerolog"
)

// FileWatch tells when a file became another: it appeared, was replaced,
// written to or removed. It never opens the file, and follows no link in its
// place.
//
// Events of the folder are only a hint to look at the file; the file's
// identity decides: device, inode, size and time of change. What the
// events miss (facts/macos.md 4) is found by the backstop, and so is a folder
// that does not exist yet, was replaced, or is too big to be watched.
type FileWatch struct {
	Path     string        // on this disk
	Hint     Hint          // what to tell
	Backstop time.Duration // between two looks without an event; 30 s on a Mac
	Settle   time.Duration // without an event before the file is looked at
	Log      zerolog.Logger

	open func(folder string) (folderEvents, error) // nil: fsnotify
}

// Watch tells one hint for each burst of changes, until ctx is done. It returns
// nil: while no events are to be had, the backstop goes on. The file as it is
// at the start is no news.
func (f FileWatch) Watch(ctx context.Context, tell func(Hint)) error {
	if f.open == nil {
		f.open = openFolderEvents
	}
	folder := watchedFolder{path: filepath.Dir(f.Path), open: f.open, log: f.Log}
	defer folder.close()
	burst := newQuiet(f.Settle)
	defer burst.stopTimer()
	backstop := time.NewTicker(f.Backstop)
	defer backstop.Stop()

	known := fileIdentity(f.Path, nil)
	for {
		if !burst.isActive() {
			folder.arm()
			if now := fileIdentity(f.Path, known); !sameIdentity(known, now) {
				known = now
				tell(f.Hint)
			}
		}
		f.waitForChange(ctx, &folder, burst, backstop.C)
		if ctx.Err() != nil {
			return nil
		}
	}
}

// waitForChange waits for a reason to look at the file, or for more of a burst.
func (f FileWatch) waitForChange(ctx context.Context, folder *watchedFolder, burst *burstTimer, backstop <-chan time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-backstop:
			return
		case <-burst.C:
			burst.endBurst()
			return
		case event, open := <-folder.events.Events:
			if folder.about(event, open, filepath.Base(f.Path)) {
				burst.onEvent()
			}
		case err := <-folder.events.Errors:
			folder.failed(err)
			burst.onEvent()
		}
	}
}

// fileIdentity is the file as it is now: nil if there is none, and known if
// that cannot be said.
func fileIdentity(path string, known fs.FileInfo) fs.FileInfo {
	now, err := os.Lstat(path)
	switch {
	case err == nil:
		return now
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return known
}

func sameIdentity(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// folderEvents is what a watcher says of one folder.
type folderEvents struct {
	Events <-chan fsnotify.Event
	Errors <-chan error
	Close  func() error
}

func openFolderEvents(folder string) (folderEvents, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return folderEvents{}, err
	}
	if err := watcher.Add(folder); err != nil {
		return folderEvents{}, errors.Join(err, watcher.Close())
	}
	return folderEvents{watcher.Events, watcher.Errors, watcher.Close}, nil
}

// maxWatched is how many entries a folder may have to be watched: on a Mac each
// of them costs a file descriptor (facts/macos.md 4).
const maxWatched = 256

// watchedFolder keeps a watch on what is at a path now, whatever happens to the
// folder that was there before. A watch is never mended but made anew: after a
// rename or a removal, also of the file alone, a Mac's is no longer whole, and
// adding a folder again does nothing (facts/macos.md 4).
type watchedFolder struct {
	path string
	open func(folder string) (folderEvents, error)
	log  zerolog.Logger

	events  folderEvents // zero: none
	watched fs.FileInfo  // the folder that is watched; nil = none
	stale   bool         // the watch is not whole any more
	failing bool
}

// arm watches the folder if it is not watched already. Any problem is left to
// the next try: the backstop does the work meanwhile.
func (w *watchedFolder) arm() {
	folder, err := os.Stat(w.path)
	if err != nil || !folder.IsDir() {
		w.close()
		return
	}
	if w.watched != nil && !w.stale && os.SameFile(w.watched, folder) {
		return
	}
	w.close()
	events, err := w.openSmall()
	if err != nil {
		if !w.failing {
			w.log.Warn().Err(err).Str("folder", w.path).Msg("no events of a folder; its file is looked at from time to time")
		}
		w.failing = true
		return
	}
	w.events, w.watched, w.failing = events, folder, false
}

func (w *watchedFolder) openSmall() (folderEvents, error) {
	if err := smallFolder(w.path); err != nil {
		return folderEvents{}, err
	}
	return w.open(w.path)
}

// about reports whether an event can mean that the file is another. Changes of
// rights alone are frequent and never do (facts/macos.md 4).
func (w *watchedFolder) about(event fsnotify.Event, open bool, file string) bool {
	if !open {
		w.close()
		return true
	}
	if event.Op == fsnotify.Chmod || event.Name != w.path && !strings.EqualFold(filepath.Base(event.Name), file) {
		return false
	}
	w.stale = w.stale || event.Has(fsnotify.Remove) || event.Has(fsnotify.Rename)
	return true
}

// failed takes an error of the watcher: events may have been lost.
func (w *watchedFolder) failed(err error) {
	w.log.Warn().Err(err).Str("folder", w.path).Msg("events of a folder were lost")
	w.close()
}

// close gives the watch and its descriptors up.
func (w *watchedFolder) close() {
	if w.watched != nil {
		_ = w.events.Close() // it is of no more use either way
	}
	w.events, w.watched, w.stale = folderEvents{}, nil, false
}

var errBigFolder = errors.New("the folder has too many entries to be watched")

// smallFolder fails for a folder with more entries than maxWatched.
func smallFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	if names, _ := folder.Readdirnames(maxWatched + 1); len(names) > maxWatched {
		return errBigFolder
	}
	return nil
}
