package platform

import (
	"context"
	"fmt"
	"time"

	"prlagent/platform/safefile"
	"prlagent/platform/tool"
)

// Limits of calls into the kernel that a dead mount can hold, as one in the place
// of the vendor's application: their caller goes on, and their thread is lost
// until the mount lives again.
const (
	fileCallLimit = 5 * time.Second // a call is waited for
	maxFileCalls  = 16              // at the same time; the next waits its turn
)

// fileCalls are the calls that are under way.
type fileCalls struct {
	slots chan struct{}
}

func newFileCalls() fileCalls { return fileCalls{slots: make(chan struct{}, maxFileCalls)} }

// callInTime makes a call about a Mac path. One that does not return in its time
// is a *tool.Error with the code tool_timeout.
func callInTime[T any](ctx context.Context, calls fileCalls, macPath string, do func() (T, error)) (value T, err error) {
	got, err := calls.inTime(ctx, macPath, func() (any, error) { return do() })
	value, _ = got.(T)
	return value, err
}

// inTime is callInTime whatever the call gives: a program has it once.
func (c fileCalls) inTime(ctx context.Context, macPath string, do func() (any, error)) (any, error) {
	type outcome struct {
		value any
		err   error
	}
	timer := time.NewTimer(fileCallLimit)
	defer timer.Stop()
	ended := make(chan outcome, 1)
	slots := c.slots
	for {
		select {
		case slots <- struct{}{}:
			slots = nil
			go func() {
				value, err := do()
				<-c.slots
				ended <- outcome{value, err}
			}()
		case got := <-ended:
			return got.value, got.err
		case <-ctx.Done():
			return nil, fmt.Errorf("look at %s: %w", macPath, ctx.Err())
		case <-timer.C:
			return nil, &tool.Error{Code: tool.CodeTimeout, Path: macPath, Err: fmt.Errorf("the file system did not answer in %s", fileCallLimit)}
		}
	}
}

// ReadFile is safefile.ReadFile of a Mac path that nobody but root and the
// Mac's administrators can change. A file system that does not answer is a
// *tool.Error with the code tool_timeout.
func (m *Machine) ReadFile(ctx context.Context, macPath string, max int64) ([]byte, error) {
	return callInTime(ctx, m.calls, macPath, func() ([]byte, error) { return safefile.ReadFile(m.Path(macPath), max) })
}
