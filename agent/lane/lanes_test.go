package lane

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"prlagent/platform/tool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// errKilled is what a run that was killed at its limit returns.
var errKilled = fmt.Errorf("list: %w", &tool.Error{Code: tool.CodeTimeout})

func wantEqual[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// counter counts runs that go on at once.
type counter struct {
	t     testing.TB
	lanes *Lanes
	limit time.Duration

	group   sync.WaitGroup
	mu      sync.Mutex
	running map[uint32]int
	most    int
}

// run makes a run for the user that takes a while, and ends with err.
func (c *counter) run(uid uint32, takes time.Duration, err error) {
	c.group.Go(func() {
		_ = c.lanes.Run(c.t.Context(), uid, c.limit, func() error {
			c.begin(uid)
			time.Sleep(takes)
			c.end(uid)
			return err
		})
	})
}

func (c *counter) begin(uid uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running[uid]++
	total := 0
	for _, count := range c.running {
		total += count
	}
	c.most = max(c.most, total)
	if c.running[uid] > 1 {
		c.t.Errorf("two runs of %d", uid)
	}
}

func (c *counter) end(uid uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running[uid]--
}

// waited is how long a run of the user waits for its turn.
func (c *counter) waited(uid uint32) time.Duration {
	c.t.Helper()
	began := time.Now()
	wantEqual(c.t, "run", c.lanes.Run(c.t.Context(), uid, c.limit, func() error { return nil }), nil)
	return time.Since(began)
}

func TestH12_Slots(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const limit = 10 * time.Second
		l := New()
		c := &counter{t: t, lanes: l, limit: limit, running: make(map[uint32]int)}
		for i := range 30 {
			c.run(uint32(501+i%3), time.Second, nil)
		}
		c.group.Wait()
		wantEqual(t, "most at once", c.most, 2)

		// Two who hang hold both slots no longer than that.
		c.run(601, time.Minute, errKilled)
		c.run(602, time.Minute, errKilled)
		synctest.Wait()
		wantEqual(t, "wait of another", c.waited(501), limit)
		c.group.Wait()
		for _, uid := range []uint32{601, 602} {
			wantEqual(t, "hanging", l.Hanging(uid), true)
		}

		// From then on they share one: the other is free at any time.
		c.run(601, time.Second, nil)
		c.run(602, time.Second, nil)
		synctest.Wait()
		wantEqual(t, "wait of another", c.waited(501), 0)
		c.group.Wait()
		wantEqual(t, "fine again", l.Hanging(601) || l.Hanging(602), false)

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		l.common <- struct{}{}
		l.reserved <- struct{}{}
		if err := l.Run(ctx, 501, limit, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// Many runs for one user, of whatever kinds of work, cost another user's run
// nothing; among users who all have many, each run waits for one of every other.
func TestH12_FairShares(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		busy []uint32 // users with thirty runs of a second each
		most time.Duration
	}{
		"one user has many":   {[]uint32{501}, 0},
		"two users have many": {[]uint32{501, 502}, time.Second},
		"four users":          {[]uint32{501, 502, 503, 504}, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &counter{t: t, lanes: New(), limit: time.Minute, running: make(map[uint32]int)}
				for _, uid := range test.busy {
					for range 30 {
						c.run(uid, time.Second, nil)
					}
				}
				synctest.Wait()
				if waited := c.waited(600); waited > test.most {
					t.Errorf("another user's run waited %v, want at most %v", waited, test.most)
				}
				c.group.Wait()
			})
		})
	}
}

// A run that hangs keeps its user's turn: a user's runs never overlap, however
// long one takes.
func TestH12_ARunThatHangsKeepsTheTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &counter{t: t, lanes: New(), limit: time.Second, running: make(map[uint32]int)}
		c.run(501, time.Minute, nil)
		time.Sleep(2 * time.Second)
		wantEqual(t, "hanging, while it goes on", c.lanes.Hanging(501), true)
		wantEqual(t, "wait of the same user", c.waited(501), 58*time.Second)
		wantEqual(t, "hanging, once it has ended well", c.lanes.Hanging(501), false)
	})
}

func TestH12_Patience(t *testing.T) {
	t.Parallel()
	l := New()
	const whole = 80 * time.Second
	wantEqual(t, "with one who answers", l.Patience(501, whole), whole)
	_ = l.Run(t.Context(), 501, time.Minute, func() error { return errKilled })
	wantEqual(t, "with one who hangs", l.Patience(501, whole), 8*time.Second)
	wantEqual(t, "with another", l.Patience(502, whole), whole)
	wantEqual(t, "with a run", RunLimit(whole), 10*time.Second)
	_ = l.Run(t.Context(), 501, time.Minute, func() error { return errors.New("failed") })
	wantEqual(t, "with one who answers again", l.Patience(501, whole), whole)
}
