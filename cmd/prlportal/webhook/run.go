package webhook

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
)

// How often what failed is tried again. A receiver that does not work is asked for
// one message at most once in maxEndpointWait, whatever waits; a message that it
// refuses while it takes others waits for longer, and those of its device with it.
const (
	firstWait       = 5 * time.Second
	maxMessageWait  = 30 * time.Minute
	maxEndpointWait = time.Minute
	jitter          = 0.2 // of a wait, added to it
	maxAge          = 24 * time.Hour
	fewestAttempts  = 3 // of a message that waited for a day behind others
)

// longestPause is how long files, devices and messages are not looked at.
const longestPause = 5 * time.Second

// endpoint is how the receiver does.
type endpoint struct {
	failures  int       // in a row
	since     time.Time // when it worked no more; zero: it works, whatever it refuses
	lastAt    time.Time // of the last failure that there ever was
	problem   string    // of it
	waitUntil time.Time // nothing is sent before
	nextAt    time.Time // when something is sent again, as it looks
}

// retry is a message that failed.
type retry struct {
	number   uint64
	attempts int
	at       time.Time // when it is tried again
}

// Run sends what waits until ctx ends. What is under way then is sent again by the
// next one.
func (s *Sender) Run(ctx context.Context) {
	s.started = s.parts.Now()
	if state, err := s.parts.Queue.OutgoingState(ctx); err == nil {
		s.goneAt = state.GoneAt
	}
	for ctx.Err() == nil {
		pause := time.NewTimer(s.work(ctx))
		select {
		case <-ctx.Done():
		case <-s.woken:
		case <-pause.C:
		}
		pause.Stop()
	}
	s.client.CloseIdleConnections()
}

// work does all that is due, and says how long there is nothing to do.
func (s *Sender) work(ctx context.Context) time.Duration {
	for ctx.Err() == nil {
		hook, err := s.webhook()
		if errors.Is(err, site.ErrNoWebhook) {
			s.clear(ctx)
		}
		if err != nil {
			return longestPause
		}
		isGone := !s.goneAt.IsZero() && !hook.SetAt.After(s.goneAt)
		s.lookAround(ctx, isGone)
		if isGone {
			return longestPause
		}
		message, wait := s.next(ctx)
		if wait > 0 {
			return min(wait, longestPause)
		}
		s.deliver(ctx, hook, message)
	}
	return longestPause
}

// next is a message that is due, of the device behind the one of the last attempt; or
// how long none is.
func (s *Sender) next(ctx context.Context) (due storage.Outgoing, wait time.Duration) {
	now := s.parts.Now()
	if until := s.endpoint().waitUntil; now.Before(until) {
		return due, until.Sub(now)
	}
	wait = maxAge // as good as none
	for after, turned := s.last, s.last == ""; ; {
		message, err := s.parts.Queue.NextOutgoing(ctx, after)
		if err == nil && !(turned && s.last != "" && message.DeviceID > s.last) {
			known := s.retries[message.DeviceID]
			if known.number != message.Number || !now.Before(known.at) {
				return message, 0
			}
			wait, after = min(wait, known.at.Sub(now)), message.DeviceID
			continue
		}
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			s.parts.Log.Error().Err(err).Msg("read messages of the webhook")
			return due, longestPause
		}
		if turned {
			s.noteNext(now.Add(wait))
			return due, wait
		}
		after, turned = "", true
	}
}

// deliver sends a message and notes what became of it.
func (s *Sender) deliver(ctx context.Context, hook site.Webhook, message storage.Outgoing) {
	now := s.parts.Now()
	got := send(ctx, s.client, hook, message, now)
	if ctx.Err() != nil && !got.isTaken() {
		return // nobody knows whether it was taken
	}
	s.last = message.DeviceID
	log := s.parts.Log.With().Str("message", message.ID).Str("type", message.Type).Str("device", message.DeviceID).Logger()
	now = s.parts.Now()
	switch {
	case got.isTaken():
		if !s.settle(ctx, message, storage.SentOutgoing) {
			s.noteFailure(now, outcome{problem: "the database did not keep that it was taken"})
			return
		}
		delete(s.retries, message.DeviceID)
		s.noteSuccess()
		log.Debug().Msg("webhook taken")
	case got.isGone():
		s.noteFailure(now, got)
		if s.settle(ctx, message, storage.GoneOutgoing) {
			s.goneAt = now
		}
		log.Warn().Msg("the webhook's receiver wants no messages any more (410 Gone); 'prlportal webhook set' begins again")
	default:
		s.noteRetry(message, now)
		s.noteFailure(now, got)
		log.Info().Int("status", got.status).Str("problem", got.problem).Msg("webhook not taken")
		if now.Sub(message.At) >= maxAge && s.retries[message.DeviceID].attempts >= fewestAttempts {
			s.expire(ctx, message)
		}
		s.expireSilent(ctx, now)
	}
}

// settle also works while the portal ends: what was taken is not to be sent again.
func (s *Sender) settle(ctx context.Context, message storage.Outgoing, outcome string) bool {
	err := s.parts.Queue.Settle(context.WithoutCancel(ctx), storage.Settlement{
		DeviceID: message.DeviceID, Number: message.Number, Outcome: outcome, At: s.parts.Now().UTC(),
	})
	if err != nil {
		s.parts.Log.Error().Err(err).Str("message", message.ID).Msg("note what became of a message of the webhook")
	}
	return err == nil
}

func (s *Sender) noteRetry(message storage.Outgoing, now time.Time) {
	attempts := 1
	if known := s.retries[message.DeviceID]; known.number == message.Number {
		attempts = known.attempts + 1
	}
	s.retries[message.DeviceID] = retry{message.Number, attempts, now.Add(waitAfter(attempts, maxMessageWait))}
}

// waitAfter doubles with each attempt, up to most.
func waitAfter(attempts int, most time.Duration) time.Duration {
	wait := most
	if attempts <= 16 {
		wait = min(firstWait<<(attempts-1), most)
	}
	return wait + time.Duration(float64(wait)*jitter*rand.Float64())
}

// expire takes out what was tried for a day, and reports whether it could.
func (s *Sender) expire(ctx context.Context, message storage.Outgoing) bool {
	isOut := s.settle(ctx, message, storage.ExpiredOutgoing)
	if isOut {
		delete(s.retries, message.DeviceID)
		s.parts.Log.Warn().Str("message", message.ID).Str("type", message.Type).Str("device", message.DeviceID).Time("since", message.At).Msg("a message of the webhook was not taken for a day and is dropped")
	}
	return isOut
}

// expireSilent takes out all that waits for a day while the receiver has taken nothing
// for as long. A clock that jumps expires nothing: each is tried once after it.
func (s *Sender) expireSilent(ctx context.Context, now time.Time) {
	if since := s.endpoint().since; !since.IsZero() && now.Sub(since) >= maxAge {
		s.expireAll(ctx, now)
	}
}

// expireAll takes out all that waits for a day.
func (s *Sender) expireAll(ctx context.Context, now time.Time) {
	for after := ""; ; {
		message, err := s.parts.Queue.NextOutgoing(ctx, after)
		if err != nil {
			return
		}
		if now.Sub(message.At) < maxAge {
			after = message.DeviceID
			continue
		}
		if !s.expire(ctx, message) {
			return
		}
	}
}

// clear takes out what waits for a webhook that there is no more.
func (s *Sender) clear(ctx context.Context) {
	clear(s.retries)
	for {
		message, err := s.parts.Queue.NextOutgoing(ctx, "")
		if err != nil || !s.settle(ctx, message, storage.ClearedOutgoing) {
			return
		}
	}
}

func (s *Sender) endpoint() endpoint {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.shown
}

func (s *Sender) noteSuccess() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.shown.failures > 0 {
		s.parts.Log.Info().Int("failures", s.shown.failures).Msg("the webhook's receiver takes messages again")
	}
	s.shown.failures, s.shown.since, s.shown.waitUntil = 0, time.Time{}, time.Time{}
}

func (s *Sender) noteFailure(now time.Time, got outcome) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.shown.failures++
	switch {
	case got.isOfMessage(): // it works, and may take others
		s.shown.since = time.Time{}
	case s.shown.since.IsZero():
		s.shown.since = now
	}
	s.shown.lastAt, s.shown.problem = now, got.problem
	s.shown.waitUntil = now.Add(max(waitAfter(s.shown.failures, maxEndpointWait), got.retryAfter))
	s.shown.nextAt = s.shown.waitUntil
}

func (s *Sender) noteNext(at time.Time) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.shown.nextAt = at
}
