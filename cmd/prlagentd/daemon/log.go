package daemon

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/rs/zerolog"
	"gopkg.in/natefinch/lumberjack.v2"
)

// The log keeps itself small: five files of ten megabytes.
const (
	logMegabytes = 10
	logFiles     = 5
)

// fileLog is the rotated log file.
type fileLog struct {
	zerolog.Logger
	file *lumberjack.Logger
}

// openLog opens the log in a folder that anybody may list; the file itself is
// for root (facts/macos.md 11).
func openLog(path, level string) (*fileLog, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make log folder: %w", err)
	}
	parsed := zerolog.InfoLevel
	if level != "" {
		var err error
		if parsed, err = zerolog.ParseLevel(level); err != nil {
			return nil, &refusal{exitUsage, "--log-level must be debug, info, warn or error"}
		}
	}
	zerolog.SetGlobalLevel(parsed) // until the configuration is read
	file := &lumberjack.Logger{Filename: path, MaxSize: logMegabytes, MaxBackups: logFiles, Compress: true}
	return &fileLog{Logger: zerolog.New(file).With().Timestamp().Logger(), file: file}, nil
}

// Close closes the file.
func (l *fileLog) Close() { _ = l.file.Close() }
