package agent

import (
	"context"
	"errors"
	"time"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/agent/trigger"
)

// question is a person's wish for a check-in on its way to the loop.
type question struct {
	refusal chan protocol.Code          // why the loop refuses; empty = it does not
	ended   chan localapi.CheckinResult // the outcome of the pass that answers
}

// Check-ins that people may ask for: a burst, and one more each interval.
const (
	personBurst = 30
	personEvery = 2 * time.Second
)

// onQuestion takes a person's question in.
func (l *loop) onQuestion(asked question) {
	var ok bool
	if l.persons, _, ok = l.persons.Take(wallClock(), personBurst, personEvery); !ok {
		asked.refusal <- protocol.CodeTooManyRequests
		return
	}
	asked.refusal <- ""
	l.waiting = append(l.waiting, asked)
	l.reconfigure(trigger.Manual)
}

// Checkin asks the loop for a check-in. With wait it returns when the pass
// that answers it has ended.
func (a *agent) Checkin(ctx context.Context, wait bool) localapi.CheckinResult {
	asked := question{refusal: make(chan protocol.Code, 1), ended: make(chan localapi.CheckinResult, 1)}
	result := localapi.CheckinResult{Schema: localapi.Schema}
	select {
	case a.questions <- asked:
		result.Code = <-asked.refusal
	case <-ctx.Done():
		result.Code = gaveUp(ctx)
	}
	result.Accepted = result.Code == ""
	if !result.Accepted || !wait {
		return result
	}
	select {
	case ended := <-asked.ended:
		return ended
	case <-ctx.Done():
		result.Code = gaveUp(ctx)
		return result
	}
}

// gaveUp is why nobody waits any more: the asker's time is over, else the
// daemon ends.
func gaveUp(ctx context.Context) protocol.Code {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return protocol.CodeCheckinTimeout
	}
	return protocol.CodeDaemonNotRunning
}
