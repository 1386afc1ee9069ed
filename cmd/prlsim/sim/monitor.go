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

// monitorPoll is how often a stream looks by itself; changes wake it at once.
const monitorPoll = 300 * time.Millisecond

// stdioBuffer is what the tool gathers before it writes to anything but a
// terminal (facts/prlctl.md 3).
const stdioBuffer = 4 << 10

// stream is one `prlctl monitor-events` (facts/prlctl.md 3): what is told to
// the caller's account from its start on.
type stream struct {
	in       *invocation
	out      *bufio.Writer
	terminal bool // each line at once
	json     bool
	state    watchedFile
	offset   int64 // in the record of events, up to where all is told
	told     int
	starts   int  // of the service, when the stream began
	mute     bool // it has lost the service and does not say so
}

// streamEnd is why a stream is over, with its exit code.
type streamEnd struct {
	code int
	text string
}

func (e streamEnd) Error() string { return e.text }

// monitorEvents plays `monitor-events [--json]`.
func monitorEvents(in *invocation, arguments []string) int {
	if !slices.ContainsFunc(in.state.actions(), func(a action) bool { return a.name == "monitor-events" }) {
		return in.fail(exitRefused, "Unrecognized option: monitor-events")
	}
	asJSON := len(arguments) > 0 && arguments[0] == "--json"
	if asJSON {
		arguments = arguments[1:]
	}
	if len(arguments) > 0 {
		return in.fail(exitRefused, "Unrecognized option: %s", arguments[0])
	}
	if code, refused := in.gated(); refused {
		return code
	}
	s, err := newStream(in, asJSON)
	if err != nil {
		return in.fail(1, "prlctl: %v", err)
	}
	bell, err := in.mac.openBell()
	if err != nil {
		return in.fail(1, "prlctl: %v", err)
	}
	defer bell.close()
	if err := bell.name(Listener{User: in.caller, PID: os.Getpid()}); err != nil {
		return in.fail(1, "prlctl: %v", err)
	}
	return s.run(bell)
}

// newStream begins at the end of what is recorded.
func newStream(in *invocation, asJSON bool) (*stream, error) {
	s := &stream{
		in: in, out: bufio.NewWriterSize(in.stdout, stdioBuffer), terminal: isTerminal(in.stdout),
		json: asJSON, starts: in.state.Service.Starts, state: watchedFile{path: in.mac.marker("state.json")},
	}
	var err error
	s.offset, err = s.sizeOfRecord()
	return s, err
}

func (s *stream) run(bell *bell) int {
	output := descriptorOf(s.in.stdout)
	for {
		var end streamEnd
		switch err := s.look(); {
		case errors.As(err, &end):
			_ = s.out.Flush() // as the end of a program that uses stdio does
			if end.text != "" {
				return s.in.fail(end.code, "%s", end.text)
			}
			return end.code
		case err != nil: // the Mac is gone, or the terminal is
			return 1
		}
		if bell.wait(monitorPoll, output) {
			return 1
		}
	}
}

// look tells what has happened and ends with an error when the stream is over.
func (s *stream) look() error {
	changed, err := s.state.changed()
	if err != nil {
		return err
	}
	if changed {
		if s.in.state, err = s.in.mac.Load(); err != nil {
			return err
		}
	}
	if err := s.tellNew(); err != nil {
		return err
	}
	if s.mute || !s.in.unreachable() && s.in.state.Service.Starts == s.starts {
		return nil
	}
	return s.loseService()
}

// loseService plays the end of the dispatcher. That the stream ends then is
// inferred, how it ends is unknown (facts/prlctl.md 3).
func (s *stream) loseService() error {
	switch s.in.state.assumption("monitor_end") {
	case "0":
		return streamEnd{}
	case "silent":
		s.mute = true
		return nil
	}
	return streamEnd{exitRefused, "The connection with the Parallels Service has been lost."} // invented
}

func (s *stream) sizeOfRecord() (int64, error) {
	info, err := os.Stat(s.in.mac.marker("events"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// tellNew tells the events that were recorded since the last look.
func (s *stream) tellNew() error {
	size, err := s.sizeOfRecord()
	if err != nil || size <= s.offset {
		return err
	}
	file, err := os.Open(s.in.mac.marker("events"))
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
		var event Event
		if err := json.Unmarshal(line, &event); err != nil {
			return fmt.Errorf("decode event: %w", err)
		}
		if !slices.Contains(event.Users, s.in.caller) || s.mute {
			continue
		}
		if err := s.tell(event, at); err != nil {
			return err
		}
	}
}

// tell writes one event, with the troubles that are switched on. The place in
// the record seeds their chances.
func (s *stream) tell(event Event, at int64) error {
	luck := s.luck(at)
	if s.in.state.hasFault("monitor_hangs", s.in.caller) || s.drops(luck) {
		return nil
	}
	line := s.textLine(event)
	if s.json {
		var err error
		if line, err = s.jsonLine(event); err != nil {
			return err
		}
	}
	if s.in.state.hasFault("monitor_noise", s.in.caller) {
		line = append(noise(luck), line...)
	}
	if _, err := s.out.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	if s.terminal {
		if err := s.out.Flush(); err != nil {
			return fmt.Errorf("write event: %w", err)
		}
	}
	s.told++
	return s.mayDie(luck)
}

// toldEvent is an event as the tool prints it (facts/prlctl.md 3).
type toldEvent struct {
	Timestamp  string          `json:"Timestamp"`
	VM         string          `json:"VM ID"`
	Name       string          `json:"Event name"`
	Additional *toldAdditional `json:"Additional info,omitempty"`
}

type toldAdditional struct {
	State string `json:"Vm state name"`
}

func (s *stream) jsonLine(event Event) ([]byte, error) {
	told := toldEvent{Timestamp: event.Timestamp, VM: s.in.state.idCase(event.VM), Name: event.Name}
	if event.State != "" {
		told.Additional = &toldAdditional{event.State}
	}
	return json.Marshal(told)
}

// textLine is the form without --json, which has not been seen.
func (s *stream) textLine(event Event) []byte {
	line := fmt.Appendf(nil, "%s {%s} %s", event.Timestamp, s.in.state.idCase(event.VM), event.Name)
	if event.State != "" {
		line = append(line, " "+event.State...)
	}
	return line
}

// descriptorOf is the file descriptor of a stream, or -1.
func descriptorOf(stream any) int {
	if file, ok := stream.(interface{ Fd() uintptr }); ok {
		return int(file.Fd())
	}
	return -1
}

func isTerminal(stream any) bool {
	_, err := unix.IoctlGetWinsize(descriptorOf(stream), unix.TIOCGWINSZ)
	return err == nil
}
