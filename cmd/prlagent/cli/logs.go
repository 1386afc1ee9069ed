package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/platform/safefile"
	"prlagent/platform/text"
)

// How many lines of the past logs shows where nobody says since when.
const (
	usualLogLines  = 100
	followLogLines = 10
)

// logPoll is how often a follower looks at the log.
const logPoll = 250 * time.Millisecond

func (p *program) logsCommand() *cobra.Command {
	var follow bool
	var since string
	command := &cobra.Command{
		Use:   "logs",
		Short: "Show the daemon's log, for people",
		Long: fmt.Sprintf(`Show the last %d lines of the daemon's log, or all since a time, rotated files
included, in local time. The log is for root; it is read as it is on the disk, so
that the daemon need not run. With --json each line is a document of its own.

With --follow the command shows the last ten lines (or those of --since) and goes
on until it is interrupted, also where the file is rotated.

Exit codes: 0 done, 1 the log cannot be read, 2 the command line makes no sense,
4 only root may read it.`, usualLogLines),
		Example: "  sudo prlagent logs --since 1h\n  sudo prlagent logs --follow\n  sudo prlagent logs --since 2026-11-23 --json | jq -c 'select(.level == \"error\")'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var from time.Time
			if cmd.Flags().Changed("since") {
				var err error
				if from, err = parseMoment(since, p.now(), p.zone); err != nil {
					return err
				}
			}
			return logsExit(p.runLogs(cmd.Context(), from, follow))
		},
	}
	command.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what is written next")
	command.Flags().StringVar(&since, "since", "", "from when on: 30m, 2h, 1d, 15:04, 2006-01-02 or \"2006-01-02 15:04\"")
	return command
}

// logsExit says what to do where the log is not to be had.
func logsExit(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return &exitError{code: exitRefused, words: &localapi.ErrorBody{
			Code: protocol.CodeNotAllowed, Text: "The log is for root only.", Remedy: "Run it with sudo."}}
	case errors.Is(err, fs.ErrNotExist):
		return &exitError{code: exitDegraded, words: &localapi.ErrorBody{
			Code: protocol.CodeDaemonNotRunning, Text: "There is no log at " + localapi.LogFile + ".", Remedy: "Run 'prlagent doctor' to see whether the daemon ever ran."}}
	}
	return exitOrNil(err)
}

func (p *program) runLogs(ctx context.Context, since time.Time, follow bool) error {
	logs, err := openLogs(p.root)
	if err != nil {
		return err
	}
	defer logs.close()
	follower := &logFollower{path: filepath.Join(p.root, localapi.LogFile)}
	if follow {
		defer follower.close()
		if err := follower.skipToEnd(); err != nil { // before the past is read: what is written meanwhile comes twice rather than never
			return err
		}
	}
	err = p.printPast(logs, since, follow)
	var damaged *damagedLogs
	if follow && errors.As(err, &damaged) { // what comes next can be read all the same
		fmt.Fprintf(p.stderr, "prlagent: %s\n", text.DisplayError(err))
		err = nil
	}
	if err != nil || !follow {
		return err
	}
	return p.followLog(ctx, follower)
}

func (p *program) printPast(logs logFiles, since time.Time, follow bool) error {
	if !since.IsZero() {
		return logs.read(since, p.printLogLine)
	}
	count := usualLogLines
	if follow {
		count = followLogLines
	}
	lines, damage := logs.last(count)
	for _, line := range lines {
		if err := p.printLogLine(line); err != nil {
			return err
		}
	}
	return damage
}

func (p *program) followLog(ctx context.Context, follower *logFollower) error {
	ticker := time.NewTicker(logPoll)
	defer ticker.Stop()
	for {
		if err := follower.poll(func(raw []byte) error { return p.printLogLine(parseLogLine(raw)) }); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

var levelStyles = map[string]textStyle{"error": styleRed, "fatal": styleRed, "panic": styleRed, "warn": styleYellow, "debug": styleDim}

func (p *program) printLogLine(line logLine) error {
	if p.json {
		document := make(map[string]any, len(line.Fields)+4)
		maps.Copy(document, line.Fields)
		document["schema"], document["message"] = localapi.Schema, line.Message
		if line.Level != "" {
			document["level"] = line.Level
		}
		if !line.Time.IsZero() {
			document["time"] = line.Time
		}
		return p.printLineJSON(document)
	}
	v := p.newView()
	level := line.Level
	if level == "" {
		level = "-"
	}
	_, err := fmt.Fprintf(p.stdout, "%s  %s  %s\n", v.localTime(line.Time), v.paint(levelStyles[line.Level], fmt.Sprintf("%-5s", text.DisplayValue(level))), text.DisplayValue(line.words()))
	return err
}

// logFollower reads what is written to a log, also beyond its rotation: the file
// of before is read to its end before the next one is opened.
type logFollower struct {
	path   string // on this disk
	folder *safefile.Folder
	file   *os.File
	entry  safefile.Entry
	lines  lineCutter
}

func (f *logFollower) close() {
	if f.file != nil {
		_ = f.file.Close()
	}
	if f.folder != nil {
		_ = f.folder.Close()
	}
	f.file, f.folder = nil, nil
}

// skipToEnd begins behind what is written already.
func (f *logFollower) skipToEnd() error {
	if err := f.open(); err != nil {
		return err
	}
	_, err := f.file.Seek(0, io.SeekEnd)
	return err
}

func (f *logFollower) open() error {
	if f.folder == nil || !f.folder.LeadsHere() {
		folder, err := safefile.OpenFolder(filepath.Dir(f.path))
		if err != nil {
			return err
		}
		if f.folder != nil {
			_ = f.folder.Close()
		}
		f.folder = folder
	}
	file, err := f.folder.OpenFile(filepath.Base(f.path), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	entry, err := safefile.EntryOf(file)
	if err != nil {
		return errors.Join(err, file.Close())
	}
	f.file, f.entry, f.lines = file, entry, lineCutter{}
	return nil
}

// poll gives the lines that are new.
func (f *logFollower) poll(each func([]byte) error) error {
	if f.file == nil {
		if err := f.open(); errors.Is(err, fs.ErrNotExist) {
			return nil // it is made anew with the next record
		} else if err != nil {
			return err
		}
	}
	if err := f.readNew(each); err != nil {
		return err
	}
	now, err := f.folder.Lstat(filepath.Base(f.path))
	if err == nil && now.IsSameFile(f.entry) && f.folder.LeadsHere() {
		return f.restartIfCut(now)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := f.readNew(each); err != nil { // what came before it was moved
		return err
	}
	_ = f.file.Close()
	f.file = nil
	if err == nil {
		return f.poll(each)
	}
	return nil
}

// restartIfCut begins anew where the file was emptied.
func (f *logFollower) restartIfCut(now safefile.Entry) error {
	at, err := f.file.Seek(0, io.SeekCurrent)
	if err == nil && now.Size < at {
		_, err = f.file.Seek(0, io.SeekStart)
		f.lines = lineCutter{}
	}
	return err
}

func (f *logFollower) readNew(each func([]byte) error) error { return f.lines.readLines(f.file, each) }
