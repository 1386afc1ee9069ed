package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/agent/watch"
)

// serve runs the loop and the socket until ctx is done.
func (a *agent) serve(ctx context.Context, listener net.Listener) error {
	if a.commands.failed != nil {
		return a.commands.failed
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	running.Go(func() {
		select { // who asks earlier waits: there is nothing to say yet
		case <-a.view.shown:
		case <-ctx.Done():
		}
		err := localapi.Serve(ctx, listener, localapi.Options{
			Agent: a, Events: a.eventLog, Policy: a, Hands: a, Commands: a, Reports: a, Placed: a, Log: *a.parts.log,
			Authorize: a.parts.authorize,
		})
		if err != nil {
			cancel(fmt.Errorf("serve socket: %w", err))
		}
	})
	running.Go(func() { watch.Supervise(ctx, a.parts.sources, a.hear, *a.parts.log) })
	a.keepLife(false, a.startEvents()...)
	a.commands.trusts(a.parts.loadConfig())
	running.Go(func() { a.commands.run(ctx) }) // what has begun is looked at before anything is exchanged
	err := a.loop(ctx)
	a.keepLife(true, a.stopEvent(ctx, err))
	cancel(err)
	running.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// startEvents say that the daemon began, and what it found of its state.
func (a *agent) startEvents() []protocol.Event {
	version, _ := localapi.BuildVersion()
	started := newEvent(a.started, "agent_started", "", "version", version)
	endedUnseen := a.eventLog.endedUnseen()
	if endedUnseen {
		started.Data["reason"] = "the daemon before this one did not stop by itself: it was killed or crashed, or the Mac went off"
	}
	a.noteAbsence(&started, endedUnseen)
	events := []protocol.Event{started}
	if code := storeCode(a.opened.Outcome); code != "" {
		events = append(events, newEvent(a.started, string(code), code, "reason", a.opened.Reason, "bad_file", a.opened.BadFile))
	}
	return events
}

// stopEvent says that the daemon ends, and why.
func (a *agent) stopEvent(ctx context.Context, err error) protocol.Event {
	version, _ := localapi.BuildVersion()
	reason := "it was told to"
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil && err != context.Canceled { // the cause of a signal says which
		reason = err.Error()
	}
	return newEvent(wallClock(), "agent_stopped", protocol.CodeOf(err), "version", version, "reason", reason)
}
