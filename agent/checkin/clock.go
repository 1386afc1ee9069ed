package checkin

import (
	"context"
	"fmt"
	"time"

	"prlagent/agent/protocol"
	"prlagent/store"
)

// Limits of what a server's time is worth (H07, protocol.md 2.13).
const (
	maxAhead = 24 * time.Hour  // beyond the wall clock, more is not believed
	maxSkew  = 5 * time.Minute // either way, more is reported
)

// trustedTime is the least that the time of day can be: the highest server time
// that was believed, and what has passed since by a clock that nobody can set.
// Setting this Mac's clock does not move it, and it never goes back, also not
// across restarts, unless enough speaks against it. It lags by the time that the other clock did not run.
type trustedTime struct {
	Time    time.Time     `json:"time,omitzero"` // zero = no server time was believed yet
	Reading time.Duration `json:"reading"`       // of the other clock at Time
	Doubt   timeDoubt     `json:"doubt,omitzero"`
}

// A trusted time that is ahead, because a portal lied while this Mac's clock was
// wrong, is dropped when as many answers in a row contradict it, each so long
// after the one before, and each in agreement with the wall clock and with the
// time that has passed in between (H65).
const (
	doubtQuorum   = 3
	doubtInterval = time.Hour
)

// timeDoubt is what speaks against the trusted time.
type timeDoubt struct {
	Answers int           `json:"answers"` // that contradicted it
	Server  time.Time     `json:"server"`  // time of the last of them
	Reading time.Duration `json:"reading"` // of the other clock then
}

// with is the doubt after another answer that contradicts the trusted time. The
// other clock stands still while the Mac sleeps, so more may have passed.
func (d *timeDoubt) with(server time.Time, reading time.Duration) timeDoubt {
	first := timeDoubt{Answers: 1, Server: server, Reading: reading}
	passed := reading - d.Reading
	if passed < 0 { // it began anew
		passed = max(reading, 0)
	}
	unexplained := server.Sub(d.Server) - passed
	switch {
	case d.Answers == 0 || unexplained < -maxSkew || unexplained > maxAhead:
		return first
	case passed < doubtInterval:
		return *d
	}
	first.Answers += d.Answers
	return first
}

// at is the trusted time at a reading of the other clock; zero if there is none.
// A reading below the one of before means that the clock began anew: then at
// least the reading itself has passed.
func (t *trustedTime) at(reading time.Duration) time.Time {
	if t.Time.IsZero() {
		return t.Time
	}
	passed := reading - t.Reading
	if passed < 0 {
		passed = max(reading, 0)
	}
	return t.Time.Add(passed)
}

// note takes a server's time in, which is a hint with a cap: it counts unless it
// is more than a day beyond the wall clock, and it never moves the trusted time
// back, unless it is doubted (timeDoubt). The code says what a person should know:
// server_time_refused, clock_skew, trusted_time_reset or nothing.
func (t *trustedTime) note(server, wall time.Time, reading time.Duration) (*trustedTime, protocol.Code) {
	now := &trustedTime{Time: t.at(reading), Reading: reading, Doubt: t.Doubt}
	if server.IsZero() {
		return now, ""
	}
	ahead := server.Sub(wall)
	if ahead > maxAhead {
		return now, protocol.CodeServerTimeRefused
	}
	contradicted := now.Time.Sub(server) > maxSkew
	if server.After(now.Time) {
		now.Time = server.UTC()
	}
	now.Doubt = timeDoubt{}
	if ahead.Abs() > maxSkew {
		return now, protocol.CodeClockSkew
	}
	if !contradicted {
		return now, ""
	}
	if now.Doubt = t.Doubt.with(server, reading); now.Doubt.Answers < doubtQuorum {
		return now, ""
	}
	return &trustedTime{Time: server.UTC(), Reading: reading}, protocol.CodeTrustedTimeReset
}

// clockRecord is the trusted time, and what was reported about the clocks. The
// time is embedded for the form in which it is stored.
type clockRecord struct {
	trustedTime
	Reported protocol.Code `json:"told,omitempty"`
}

var clockRecords = store.Collection[*clockRecord]{Name: "checkin_clock"}

// noteServerTime is what the clocks say after an answer of the portal: its time
// was right half the round trip ago. What is new is an event.
func (e *exchange) noteServerTime(server time.Time) (*clockRecord, error) {
	var before clockRecord
	_, err := clockRecords.Load(e.client.options.Store, onlyKey, &before)
	if err != nil {
		return nil, fmt.Errorf("read trusted time: %w", err)
	}
	wall := e.client.options.Now()
	if !server.IsZero() {
		server = server.Add(e.roundTrip / 2)
	}
	trusted, code := before.trustedTime.note(server, wall, e.client.options.Elapsed())
	if code == "" {
		return &clockRecord{trustedTime: *trusted}, nil
	}
	e.outcome.Code = code
	e.outcome.Detail = "the portal's clock says " + server.UTC().Format(time.RFC3339) + ", this Mac's " + wall.UTC().Format(time.RFC3339)
	if code != before.Reported {
		e.addEvent(code, map[string]string{"detail": e.outcome.Detail})
	}
	return &clockRecord{trustedTime: *trusted, Reported: code}, nil
}

// serverTime is an answer of the portal whose time was believed, with what both of
// this Mac's clocks said then.
type serverTime struct {
	server, wall time.Time
	reading      time.Duration
}

// noteSeen remembers when the portal's time was seen, for Clock.
func (c *Client) noteSeen(server time.Time, trusted *trustedTime) {
	if server.IsZero() || server.Sub(c.options.Now()) > maxAhead {
		return
	}
	c.stateMutex.Lock()
	defer c.stateMutex.Unlock()
	c.seen = serverTime{server: trusted.Time, wall: c.options.Now().Round(0), reading: trusted.Reading}
}

// Clock is what is known of the time of day (H24). trusted is the least that it can
// be, as State shows it; it lags by the time that the Mac was asleep, and is the
// wall clock's where no server time was ever believed. likely is what it is if the
// wall clock goes right since the portal's time was seen, and never before trusted.
// proven reports whether that was seen by this client, or the wall clock is not
// behind the trusted time.
func (c *Client) Clock() (trusted, likely time.Time, proven bool) {
	wall, reading := c.options.Now().Round(0), c.options.Elapsed()
	trusted = c.trustedTime()
	if trusted.IsZero() {
		return wall, wall, false
	}
	c.stateMutex.Lock()
	seen := c.seen
	c.stateMutex.Unlock()
	likely = wall
	if !seen.server.IsZero() {
		likely = seen.server.Add(max(wall.Sub(seen.wall), reading-seen.reading))
	}
	if likely.Before(trusted) {
		likely = trusted
	}
	return trusted, likely, !seen.server.IsZero() || !wall.Before(trusted)
}

// expiryTime is what expiry is judged by: the trusted time where there is one,
// else the wall clock.
func (c *Client) expiryTime() time.Time {
	if trusted := c.trustedTime(); !trusted.IsZero() {
		return trusted
	}
	return c.options.Now()
}

// trustedTime is zero where there is none, or where the store cannot tell.
func (c *Client) trustedTime() time.Time {
	var record clockRecord
	_, _ = clockRecords.Load(c.options.Store, onlyKey, &record)
	return record.trustedTime.at(c.options.Elapsed())
}

// wallTick is how often a running request is held against the wall clock.
const wallTick = time.Second

// limitWallClock ends a context once the wall clock has moved on by limit, with
// the cause errOverTime. Timers, and so the usual limits, stand still while a
// Mac sleeps (facts/macos.md 2.4). Call stop when the work is done.
func limitWallClock(ctx context.Context, limit time.Duration, now func() time.Time) (limited context.Context, stop func()) {
	limited, cancel := context.WithCancelCause(ctx)
	deadline := now().Round(0).Add(limit)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(wallTick)
		defer tick.Stop()
		for {
			select {
			case <-limited.Done():
				return
			case <-tick.C:
				if !now().Round(0).Before(deadline) {
					cancel(errOverTime)
				}
			}
		}
	}()
	return limited, func() { cancel(nil); <-ended }
}
