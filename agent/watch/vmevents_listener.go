package watch

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// streamListener has the stream of one followed user, and looks into the doubts
// that come of it.
type streamListener struct {
	source  *VMEvents
	account *followedAccount
	tell    func(Hint)
	stop    context.CancelFunc
	ended   chan struct{}
}

func (v *VMEvents) startListener(ctx context.Context, user *followedAccount, tell func(Hint), running *sync.WaitGroup) *streamListener {
	ctx, stop := context.WithCancel(ctx)
	l := &streamListener{source: v, account: user, tell: tell, stop: stop, ended: make(chan struct{})}
	running.Go(func() {
		defer stop()
		var parts sync.WaitGroup
		parts.Go(func() { l.keepStream(ctx) })
		parts.Go(func() { l.keepQuiet(ctx) })
		parts.Wait()
		close(l.ended)
		v.wakeWatch()
	})
	return l
}

func (l *streamListener) hasEnded() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// keepStream starts the stream whenever the service is up and the pace allows
// it, until ctx is done.
func (l *streamListener) keepStream(ctx context.Context) {
	for ctx.Err() == nil {
		now := l.source.current()
		if !now.up {
			awaitAny(ctx, now.turned, nil)
			continue
		}
		if !l.awaitTurn(ctx, now) {
			continue
		}
		l.account.onStreamStart(time.Now())
		err := l.runStream(ctx, now.turned)
		switch {
		case ctx.Err() != nil || isClosed(now.turned):
			l.account.onStreamInterrupted()
		case unknownCommand(err):
			l.log(err, 0)
			l.account.onStreamInterrupted()
			awaitAny(ctx, now.turned, now.company)
		default:
			l.log(err, l.account.onStreamFailed(time.Now(), rand.Float64()))
		}
	}
}

// awaitTurn waits until the pace allows a start, and reports whether the service
// was up all the time. When it was not, the failures were of its own.
func (l *streamListener) awaitTurn(ctx context.Context, now conditions) bool {
	timer := time.NewTimer(l.account.untilTurn(time.Now()))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-now.turned:
		l.account.onStreamInterrupted()
		return false
	case <-timer.C:
		return !isClosed(now.turned) && ctx.Err() == nil
	}
}

// unknownCommand reports whether this version of the product has no stream of
// events (facts/prlctl.md 3): no sooner than the product is another one is it
// worth asking again. The slow poll does until then.
func unknownCommand(err error) bool {
	return protocol.CodeOf(err) == protocol.CodeUnrecognized
}

func (l *streamListener) log(err error, wait time.Duration) {
	line := l.source.options.Log.Warn().Err(err).Uint32("uid", l.account.uid)
	if wait > 0 {
		line = line.Dur("retry_in", wait)
	}
	line.Msg("no stream of events")
}

// awaitAny waits for one of the two channels, or for ctx.
func awaitAny(ctx context.Context, one, other <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-one:
	case <-other:
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// When a stream that was started is taken to be subscribed. Nothing says so but
// its first event.
const (
	subscribedSoon = 2 * time.Second
	subscribedLate = 30 * time.Second // on a Mac that is busy with its own start
)

// runStream runs one stream to its end, or until the service is down. What
// happened while there was none is found by a look at the user, which has to
// begin after the tool has subscribed: then what comes before is seen by the
// look, and what comes later is told. So a look is asked for twice: soon, when
// it does for nearly every Mac, and with the first event, which proves that the
// tool is subscribed, or late where no event comes. The first event alone does
// for both if it is sooner. A stream that ends before needs none: the next
// one's does.
func (l *streamListener) runStream(ctx context.Context, down <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	subscribed := make(chan struct{})
	heard := sync.OnceFunc(func() { close(subscribed) })
	ended := make(chan struct{})
	var err error
	user, session := l.account.identity()
	go func() {
		defer close(ended)
		err = l.source.options.Monitor(ctx, user, session, func(event prlctl.Event) {
			if event.Name != "" {
				heard()
			}
			if hint, told := l.account.onEvent(time.Now(), event); told {
				l.tell(hint)
			}
		})
	}()
	l.askForLooks(subscribed, ended, down)
	cancel() // unless it has ended, the service is down
	<-ended
	return err
}

// askForLooks does so until the stream has ended, or the service is down.
func (l *streamListener) askForLooks(subscribed, ended, down <-chan struct{}) {
	soon, late := time.NewTimer(subscribedSoon), time.NewTimer(subscribedLate)
	defer soon.Stop()
	defer late.Stop()
	for {
		select {
		case <-ended:
			return
		case <-down:
			return
		case <-soon.C:
		case <-late.C:
			subscribed = nil
		case <-subscribed:
			subscribed = nil
			soon.Stop()
			late.Stop()
		}
		l.tell(Hint{UID: l.account.uid})
	}
}

// keepQuiet does what the account has due, until ctx is done: it reads the files
// of machines in doubt, and tells of floods. The reader of the stream never
// waits for it.
func (l *streamListener) keepQuiet(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.account.wake:
		case <-timer.C:
		}
		duty := l.account.workDue(time.Now())
		if duty.look {
			l.tell(Hint{UID: l.account.uid})
		}
		if len(duty.doubts) > 0 {
			l.lookInto(ctx, duty)
		}
		if duty.next > 0 {
			timer.Reset(duty.next)
		}
	}
}

// lookInto has the configurations of the machines digested in one go, and hints at
// those that are not as they were read before. One that has no known file, or
// cannot be read, is as before when it was so before.
func (l *streamListener) lookInto(ctx context.Context, duty dueWork) {
	user, _ := l.account.identity()
	paths, at := l.account.configs(duty.doubts)
	var digests [][32]byte
	if len(paths) > 0 {
		digests = l.source.options.Digests(ctx, user, paths)
	}
	if ctx.Err() != nil {
		return
	}
	for _, vmID := range duty.doubts {
		var digest [32]byte
		if i, known := at[vmID]; known && i < len(digests) {
			digest = digests[i]
		}
		if l.account.isNewDigest(vmID, digest, duty.changes) {
			l.tell(Hint{UID: l.account.uid, VMID: vmID})
		}
	}
}
