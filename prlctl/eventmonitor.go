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
type Follow = func(ctx context.Context, c tool.Command, line func(text []byte, cut bool)) (tool.Result, error)

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
	monitor := monitoring{handle: handle, readable: maxEventBytes, filled: time.Now()}
	result, err := follow(ctx, tool.Command{
		Path:      Prlctl,
		Args:      []string{"monitor-events", "--json"},
		MaxOutput: MaxEvent,
	}, monitor.line)
	if err != nil {
		return runError(err)
	}
	return monitor.ended(result)
}

// How many bytes of lines are read as JSON: so many each step of time, and so
// many at once. What exceeds it, a thousand times what a busy user causes, is handed
// over unread, so that a flood costs little more than to take it in (H12).
const (
	bytesEachStep = 16 << 10
	refillStep    = 10 * time.Millisecond
	maxEventBytes = 4 << 20
)

// monitoring is one stream under way.
type monitoring struct {
	handle func(Event)
	said   []byte // what was no event since the last event: why the tool ends
	events bool   // there was one

	readable int // bytes
	filled   time.Time
}

func (m *monitoring) line(text []byte, cut bool) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 && !cut {
		return
	}
	if cut || !m.mayRead(len(text)) {
		m.handle(Event{})
		return
	}
	event, err := ParseEvent(text)
	if err != nil {
		m.keep(text)
	} else {
		m.said, m.events = m.said[:0], true
	}
	m.handle(event)
}

// mayRead takes a line's bytes from what may be read.
func (m *monitoring) mayRead(size int) bool {
	if size > m.readable {
		m.refill(time.Now())
	}
	if size > m.readable {
		return false
	}
	m.readable -= size
	return true
}

// refill adds what time has earned, in steps that are worth some bytes.
func (m *monitoring) refill(now time.Time) {
	earned := now.Sub(m.filled) / refillStep * bytesEachStep
	if earned == 0 {
		return
	}
	m.readable = int(min(maxEventBytes, time.Duration(m.readable)+earned))
	m.filled = now
}

// keep notes what the tool said beside events.
func (m *monitoring) keep(text []byte) {
	words, _ := splitJSON(text)
	if len(m.said)+len(words) < maxMessage {
		m.said = append(append(m.said, words...), '\n')
	}
}

// ended says why the stream is over. On a terminal the tool's two outputs are
// one. An end that is none of the known ones is tool_failed, also with exit 0.
// A tool that has told an event knows the command, whatever its last words.
func (m *monitoring) ended(result tool.Result) error {
	known, ok := knownFailure(tool.Result{Stderr: m.said, ExitCode: result.ExitCode})
	if ok && !(m.events && known.Code == CodeUnrecognizedOption) {
		return known
	}
	return &Error{Code: CodeToolFailed, ExitCode: result.ExitCode, Text: firstLine(m.said), Err: errStreamEnded}
}

var errStreamEnded = errors.New("the stream of events ended")
