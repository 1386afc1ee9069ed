package checkin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/protocol"
)

// halting gives the first part of an answer at once, holds it until the client
// hangs up, and then ends it: in good order, or as the error says.
type halting struct {
	first string
	end   error
}

func (h halting) RoundTrip(request *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Request: request, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(io.MultiReader(strings.NewReader(h.first), held{request.Context(), h.end}))}, nil
}

type held struct {
	ctx context.Context
	end error
}

func (h held) Read([]byte) (int, error) {
	<-h.ctx.Done()
	return 0, h.end
}

// An answer that ends because its time is over, or because the agent stops, is
// no answer, also where what came of it by then looks whole.
func TestAnAnswerThatIsCutOffIsNoAnswer(t *testing.T) {
	t.Parallel()
	for first, text := range map[string]string{"half": "{", "whole": `{"inventory":"ok","group":{"id":"staff","source":"primary"}}`} {
		for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, errors.New("use of closed connection")} {
			answers := halting{text, end}
			t.Run(fmt.Sprintf("by its limit, %s, %v", first, end), func(t *testing.T) {
				t.Parallel()
				answers.expect(t, protocol.CodePortalTimeout, requestLimit, func(*atomic.Int64, context.CancelFunc) {})
			})
			t.Run(fmt.Sprintf("by the clock on the wall, %s, %v", first, end), func(t *testing.T) {
				t.Parallel()
				answers.expect(t, protocol.CodePortalTimeout, 10*time.Second+wallTick, func(slept *atomic.Int64, _ context.CancelFunc) {
					time.AfterFunc(10*time.Second, func() { slept.Store(int64(8 * time.Hour)) })
				})
			})
			t.Run(fmt.Sprintf("by a stop, %s, %v", first, end), func(t *testing.T) {
				t.Parallel()
				answers.expect(t, protocol.CodePortalUnreachable, 10*time.Second, func(_ *atomic.Int64, stop context.CancelFunc) {
					time.AfterFunc(10*time.Second, stop)
				})
			})
		}
	}
}

// expect holds a check-in that gets such an answer against its code and its
// longest time. The report still waits for its acknowledgement.
func (h halting) expect(t *testing.T, code protocol.Code, within time.Duration, arrange func(slept *atomic.Int64, stop context.CancelFunc)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.do("agent_start")
		var slept atomic.Int64
		b.options.Now = func() time.Time { return time.Now().Add(time.Duration(slept.Load())) }
		b.options.Transport = h
		b.configure()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		arrange(&slept, stop)
		began := time.Now()
		outcome, err := b.client.Do(ctx, &b.report, Extra{})
		if took := time.Since(began); err == nil || outcome.Code != code || took > within {
			t.Errorf("%v, code %q after %s; want %q within %s", err, outcome.Code, took, code, within)
		}
		if !b.client.State().Unanswered {
			t.Error("the report counts as acknowledged")
		}
	})
}

// What is too large is reported as that, however long it took.
func TestAnEndlessAnswerIsTooLargeAlsoAtItsLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.do("agent_start")
		b.options.Transport = slow{}
		b.configure()
		b.fails(protocol.CodePortalReplyTooLarge)
	})
}

// slow gives more than any answer may have, all of it at the moment when the
// time is over.
type slow struct{}

func (slow) RoundTrip(request *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Request: request, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(atLast{request.Context()})}, nil
}

type atLast struct{ ctx context.Context }

func (a atLast) Read(data []byte) (int, error) {
	<-a.ctx.Done()
	for i := range data {
		data[i] = ' '
	}
	return len(data), nil
}
