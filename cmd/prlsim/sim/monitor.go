package sim

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// monitorPoll is how often a stream polls by itself; changes wake it at once.
const monitorPoll = 300 * time.Millisecond

// stdioBuffer is what the tool gathers before it writes to anything but a
// terminal (facts/prlctl.md 3).
const stdioBuffer = 4 << 10

// eventStream is one `prlctl monitor-events` (facts/prlctl.md 3): the events
// of the VMs that the caller's account sees, from its start on.
type eventStream struct {
	in            *invocation
	out           *bufio.Writer
	terminal      bool // each line at once
	json          bool
	state         watchedFile
	offset        int64 // in the record of events, up to where all is written
	eventCount    int
	serviceStarts int  // of the service, when the stream began
	silent        bool // it has lost the service and does not show it
}

// streamEnd is why a stream is over, with its exit code.
type streamEnd struct {
	code int
	text string
}

func (e streamEnd) Error() string { return e.text }

// monitorEvents plays `monitor-events [--json]`.
func monitorEvents(in *invocation, arguments []string) int {
	if !slices.ContainsFunc(in.state.availableActions(), func(a actionRow) bool { return a.name == "monitor-events" }) {
		return in.failf(exitRefused, "Unrecognized option: monitor-events")
	}
	asJSON := len(arguments) > 0 && arguments[0] == "--json"
	if asJSON {
		arguments = arguments[1:]
	}
	if len(arguments) > 0 {
		return in.failf(exitRefused, "Unrecognized option: %s", arguments[0])
	}
	if code, refused := in.printEditionGate(); refused {
		return code
	}
	s, err := newStream(in, asJSON)
	if err != nil {
		return in.failf(1, "prlctl: %v", err)
	}
	pipe, err := in.mac.createWakePipe()
	if err != nil {
		return in.failf(1, "prlctl: %v", err)
	}
	defer pipe.close()
	if err := pipe.publish(waitingProcess{User: in.caller, PID: os.Getpid()}); err != nil {
		return in.failf(1, "prlctl: %v", err)
	}
	return s.run(pipe)
}

// newStream begins at the end of what is recorded.
func newStream(in *invocation, asJSON bool) (*eventStream, error) {
	s := &eventStream{
		in: in, out: bufio.NewWriterSize(in.stdout, stdioBuffer), terminal: isTerminal(in.stdout),
		json: asJSON, serviceStarts: in.state.Service.Starts, state: watchedFile{path: in.mac.markerPath("state.json")},
	}
	var err error
	s.offset, err = s.recordSize()
	return s, err
}

func (s *eventStream) run(pipe *wakePipe) int {
	output := fileDescriptor(s.in.stdout)
	for {
		var end streamEnd
		switch err := s.poll(); {
		case errors.As(err, &end):
			_ = s.out.Flush() // as the end of a program that uses stdio does
			if end.text != "" {
				return s.in.failf(end.code, "%s", end.text)
			}
			return end.code
		case err != nil: // the Mac is gone, or the terminal is
			return 1
		}
		if pipe.wait(monitorPoll, output) {
			return 1
		}
	}
}

// poll writes what has happened and ends with an error when the stream is over.
func (s *eventStream) poll() error {
	changed, err := s.state.hasChanged()
	if err != nil {
		return err
	}
	if changed {
		if s.in.state, err = s.in.mac.Load(); err != nil {
			return err
		}
	}
	if err := s.writeNewEvents(); err != nil {
		return err
	}
	if s.silent || !s.in.isServiceUnreachable() && s.in.state.Service.Starts == s.serviceStarts {
		return nil
	}
	return s.onServiceGone()
}

// onServiceGone plays the end of the dispatcher. That the stream ends then is
// inferred, how it ends is unknown (facts/prlctl.md 3).
func (s *eventStream) onServiceGone() error {
	switch s.in.state.assumedValue("monitor_end") {
	case "0":
		return streamEnd{}
	case "silent":
		s.silent = true
		return nil
	}
	return streamEnd{exitRefused, "The connection with the Parallels Service has been lost."} // invented
}

func (s *eventStream) recordSize() (int64, error) {
	info, err := os.Stat(s.in.mac.markerPath("events"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// writeNewEvents writes the events that were recorded since the last poll.
func (s *eventStream) writeNewEvents() error {
	size, err := s.recordSize()
	if err != nil || size <= s.offset {
		return err
	}
	file, err := os.Open(s.in.mac.markerPath("events"))
	if err != nil {
		return err
	}
	defer file.Close()
	records, err := io.ReadAll(io.NewSectionReader(file, s.offset, size-s.offset))
	if err != nil {
		return err
	}
	for {
		line, rest, whole := bytes.Cut(records, []byte{'\n'})
		if !whole {
			return nil
		}
		at := s.offset
		s.offset += int64(len(line)) + 1
		records = rest
		var event eventRecord
		if err := json.Unmarshal(line, &event); err != nil {
			return fmt.Errorf("decode event: %w", err)
		}
		if !slices.Contains(event.Users, s.in.caller) || s.silent {
			continue
		}
		if err := s.writeEvent(event, at); err != nil {
			return err
		}
	}
}

// writeEvent writes one event, with the faults that are switched on. Its place in
// the record seeds what is random about them.
func (s *eventStream) writeEvent(event eventRecord, at int64) error {
	random := s.randomOf(at)
	if s.in.state.hasFault("monitor_hangs", s.in.caller) || s.dropsEvent(random) {
		return nil
	}
	line := s.formatText(event)
	if s.json {
		var err error
		if line, err = s.formatJSON(event); err != nil {
			return err
		}
	}
	if s.in.state.hasFault("monitor_noise", s.in.caller) {
		line = append(noiseLine(random), line...)
	}
	if _, err := s.out.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	if s.terminal {
		if err := s.out.Flush(); err != nil {
			return fmt.Errorf("write event: %w", err)
		}
	}
	s.eventCount++
	return s.dieAsFaulted(random)
}

// printedEvent is an event as the tool prints it (facts/prlctl.md 3).
type printedEvent struct {
	Timestamp  string       `json:"Timestamp"`
	VM         string       `json:"VM ID"`
	Name       string       `json:"Event name"`
	Additional *printedInfo `json:"Additional info,omitempty"`
}

type printedInfo struct {
	State string `json:"Vm state name"`
}

func (s *eventStream) formatJSON(event eventRecord) ([]byte, error) {
	printed := printedEvent{Timestamp: event.Timestamp, VM: s.in.state.idCase(event.VM), Name: event.Name}
	if event.State != "" {
		printed.Additional = &printedInfo{event.State}
	}
	return json.Marshal(printed)
}

// formatText is the form without --json, which has not been seen.
func (s *eventStream) formatText(event eventRecord) []byte {
	line := fmt.Appendf(nil, "%s {%s} %s", event.Timestamp, s.in.state.idCase(event.VM), event.Name)
	if event.State != "" {
		line = append(line, " "+event.State...)
	}
	return line
}

// fileDescriptor is the file descriptor of a stream, or -1.
func fileDescriptor(stream any) int {
	if file, ok := stream.(interface{ Fd() uintptr }); ok {
		return int(file.Fd())
	}
	return -1
}

func isTerminal(stream any) bool {
	_, err := unix.IoctlGetWinsize(fileDescriptor(stream), unix.TIOCGWINSZ)
	return err == nil
}
