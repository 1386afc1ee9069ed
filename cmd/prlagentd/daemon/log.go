package daemon

import (
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/rs/zerolog"

	"prlagent/platform/text"
)

// The log keeps itself small, whatever is written to it: a file of ten megabytes
// and five more, compressed.
const (
	maxLogSize  = 10 << 20 // bytes
	rotatedLogs = 5
)

// fileLog is the rotated log file.
type fileLog struct {
	logger zerolog.Logger
	file   *rotatedFile
}

// openLog opens the log in a folder that anybody may list; the file itself is
// for root (facts/macos.md 11). Whatever a line of it has of others' names and
// errors can neither steer a terminal nor fill the disk (H15).
func openLog(path, level string) (*fileLog, error) {
	parsed := zerolog.InfoLevel
	if level != "" {
		var err error
		if parsed, err = zerolog.ParseLevel(level); err != nil {
			return nil, &exitError{exitUsage, "--log-level must be debug, info, warn or error"}
		}
	}
	file := &rotatedFile{path: path, maxSize: maxLogSize, kept: rotatedLogs}
	if err := file.findFolder(); err != nil {
		return nil, err
	}
	zerolog.SetGlobalLevel(parsed) // until the configuration is read
	return &fileLog{logger: zerolog.New(text.LogWriter{Out: file}).With().Timestamp().Logger(), file: file}, nil
}

// Close closes the file.
func (l *fileLog) Close() { _ = l.file.Close() }

// tellOnce makes an error handler for zerolog that tells the first error only: a
// log that cannot be written must not fill launchd's file beside it.
func tellOnce(stderr io.Writer) func(error) {
	var once sync.Once
	return func(err error) {
		once.Do(func() { fmt.Fprintln(stderr, "prlagentd: the log cannot be written:", text.DisplayError(err)) })
	}
}

// maxPanicLog is how large the file may be that launchd keeps of our standard
// error, in bytes. launchd does not rotate it (facts/macos.md 11).
const maxPanicLog = 1 << 20

// boundPanicLog empties launchd's file for our standard error if it is too large.
// It is done through the descriptor that launchd gave us: nothing is opened by a
// path, and a file that lies elsewhere is left alone.
func boundPanicLog(stderr *os.File, path string) error {
	ours, err := stderr.Stat()
	if err != nil || !ours.Mode().IsRegular() || ours.Size() <= maxPanicLog {
		return err
	}
	there, err := os.Lstat(path)
	if err != nil || !os.SameFile(ours, there) {
		return err
	}
	if err := stderr.Truncate(0); err != nil {
		return fmt.Errorf("empty the panic log: %w", err)
	}
	_, err = stderr.Seek(0, io.SeekStart)
	return err
}
