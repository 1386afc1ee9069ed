package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/rs/zerolog"
	"gopkg.in/natefinch/lumberjack.v2"

	"prlagent/platform/text"
)

// The log keeps itself small: five files of ten megabytes.
const (
	logMegabytes = 10
	logFiles     = 5
)

// fileLog is the rotated log file.
type fileLog struct {
	logger zerolog.Logger
	file   *logFile
}

// openLog opens the log in a folder that anybody may list; the file itself is
// for root (facts/macos.md 11). Whatever a line of it has of others' names and
// errors can neither steer a terminal nor fill the disk (H15).
func openLog(path, level string) (*fileLog, error) {
	if err := makeLogFolder(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("make log folder: %w", err)
	}
	parsed := zerolog.InfoLevel
	if level != "" {
		var err error
		if parsed, err = zerolog.ParseLevel(level); err != nil {
			return nil, &exitError{exitUsage, "--log-level must be debug, info, warn or error"}
		}
	}
	zerolog.SetGlobalLevel(parsed) // until the configuration is read
	file := &logFile{rotated: &lumberjack.Logger{Filename: path, MaxSize: logMegabytes, MaxBackups: logFiles, Compress: true}}
	return &fileLog{logger: zerolog.New(text.LogWriter{Out: file}).With().Timestamp().Logger(), file: file}, nil
}

// Close closes the file.
func (l *fileLog) Close() { _ = l.file.Close() }

// logFile is the rotated file, which writes where a reader looks: a file that
// was deleted or replaced since the last record is made anew (H53).
type logFile struct {
	mutex   sync.Mutex
	rotated *lumberjack.Logger
	open    bool
	written fs.FileInfo // the file after the last record; nil = it was gone by then
}

// Write writes one record.
func (f *logFile) Write(record []byte) (int, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	path := f.rotated.Filename
	if found, err := os.Lstat(path); f.open && (err != nil || f.written == nil || !os.SameFile(found, f.written)) {
		if err := f.reopen(found); err != nil {
			return 0, err
		}
	}
	n, err := f.rotated.Write(record)
	f.open = true
	f.written, _ = os.Lstat(path)
	return n, err
}

// reopen lets the next write open the path anew. What stands there and is no
// file is no log, and may lead elsewhere.
func (f *logFile) reopen(found fs.FileInfo) error {
	path := f.rotated.Filename
	if found != nil && !found.Mode().IsRegular() {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove what is no log: %w", err)
		}
	}
	if err := makeLogFolder(filepath.Dir(path)); err != nil {
		return fmt.Errorf("make log folder: %w", err)
	}
	return f.rotated.Close()
}

// Close closes the file.
func (f *logFile) Close() error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.open = false
	return f.rotated.Close()
}

// makeLogFolder sets the mode of a folder that it makes: under the job's umask
// of 077 nobody but root could list it. One that is there keeps its own.
func makeLogFolder(folder string) error {
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(folder, 0o755); errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	return os.Chmod(folder, 0o755)
}
