package prlctl

import (
	"bytes"
	"context"
	"errors"
	"time"

	"prlagent/platform/tool"
)

// Follow runs one program on a terminal as one macOS user, until it ends or ctx
// is done, and hands each line over from one goroutine. cut: the line was longer
// than Command.MaxOutput. The text is valid during the call only.
type Follow = func(ctx context.Context, c *tool.Command, line func(text []byte, cut bool)) (tool.Result, error)

// Monitor hands over the events of the one user that follow runs the tool as,
// in their order, from one goroutine, until the stream ends. It never ends well:
// the error is an *Error that says why it did, service_down and
// unrecognized_option (the command came with a later version of the product)
// among its codes, or tool_failed with ctx's error when ctx is done.
//
// Nothing says from when on the tool is subscribed. Its dispatcher waits for
// whoever reads slowly, so handle must not block. A line that cannot be read
// (cut, no JSON, a repeated key) is handed over as the zero Event.
func Monitor(ctx context.Context, follow Follow, handle func(Event)) error {
	monitor := eventMonitor{handle: handle, readBudget: maxEventBytes, refilledAt: time.Now()}
	result, err := follow(ctx, &tool.Command{
		Path:      Prlctl,
		Args:      []string{"monitor-events", "--json"},
		MaxOutput: maxEventLine,
	}, monitor.onLine)
	if err != nil {
		return runError(err)
	}
	return monitor.endError(result)
}

// How many bytes of lines are read as JSON: so many each step of time, and so
// many at once. What exceeds it, a thousand times what a busy user causes, is handed
// over unread, so that a flood costs little more than to take it in (H12).
const (
	bytesEachStep = 16 << 10
	refillStep    = 10 * time.Millisecond
	maxEventBytes = 4 << 20
)

// eventMonitor is one stream under way.
type eventMonitor struct {
	handle   func(Event)
	messages []byte // what was no event since the last event: why the tool ends
	sawEvent bool   // there was one

	readBudget int // bytes
	refilledAt time.Time
}

func (m *eventMonitor) onLine(text []byte, cut bool) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 && !cut {
		return
	}
	if cut || !m.mayRead(len(text)) {
		m.handle(Event{})
		return
	}
	event, err := parseEvent(text)
	if err != nil {
		m.keepMessage(text)
	} else {
		m.messages, m.sawEvent = m.messages[:0], true
	}
	m.handle(event)
}

// mayRead takes a line's bytes from what may be read.
func (m *eventMonitor) mayRead(size int) bool {
	if size > m.readBudget {
		m.refillBudget(time.Now())
	}
	if size > m.readBudget {
		return false
	}
	m.readBudget -= size
	return true
}

// refillBudget adds what time has earned, in steps that are worth some bytes.
func (m *eventMonitor) refillBudget(now time.Time) {
	earned := now.Sub(m.refilledAt) / refillStep * bytesEachStep
	if earned == 0 {
		return
	}
	m.readBudget = int(min(maxEventBytes, time.Duration(m.readBudget)+earned))
	m.refilledAt = now
}

// keepMessage notes what the tool said beside events.
func (m *eventMonitor) keepMessage(text []byte) {
	words := wordsBefore(text)
	if len(m.messages)+len(words) < maxMessage {
		m.messages = append(append(m.messages, words...), '\n')
	}
}

// endError says why the stream is over. On a terminal the tool's two outputs are
// one. An end that is none of the known ones is tool_failed, also with exit 0.
// A tool that has told an event knows the command, whatever its last words.
func (m *eventMonitor) endError(result tool.Result) error {
	known, ok := knownFailure(&tool.Result{Stderr: m.messages, ExitCode: result.ExitCode})
	if ok && !(m.sawEvent && known.Code == CodeUnrecognizedOption) {
		return known
	}
	return &Error{Code: CodeToolFailed, ExitCode: result.ExitCode, Text: firstLine(m.messages), Err: errStreamEnded}
}

var errStreamEnded = errors.New("the stream of events ended")
