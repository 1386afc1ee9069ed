package checkin

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/protocol"
)

const year = 365 * 24 * time.Hour

func TestH07_ServerTimeIsAHintWithACap(t *testing.T) {
	t.Parallel()
	wall := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	known := trustedTime{Time: wall.Add(-time.Hour), Reading: time.Minute}
	cases := []struct {
		name   string
		before trustedTime
		server time.Time
		want   time.Time // after a reading of two minutes
		code   protocol.Code
	}{
		{"the first one", trustedTime{}, wall, wall, ""},
		{"no time at all", known, time.Time{}, wall.Add(-time.Hour + time.Minute), ""},
		{"the first, and none", trustedTime{}, time.Time{}, time.Time{}, ""},
		{"later", known, wall.Add(time.Second), wall.Add(time.Second), ""},
		{"earlier than trusted", known, wall.Add(-2 * time.Hour), wall.Add(-time.Hour + time.Minute), protocol.CodeClockSkew},
		{"five minutes ahead", known, wall.Add(maxSkew), wall.Add(maxSkew), ""},
		{"more than five minutes ahead", known, wall.Add(maxSkew + 1), wall.Add(maxSkew + 1), protocol.CodeClockSkew},
		{"more than five minutes behind", trustedTime{}, wall.Add(-maxSkew - 1), wall.Add(-maxSkew - 1), protocol.CodeClockSkew},
		{"a day ahead", known, wall.Add(maxAhead), wall.Add(maxAhead), protocol.CodeClockSkew},
		{"more than a day ahead", known, wall.Add(maxAhead + 1), wall.Add(-time.Hour + time.Minute), protocol.CodeServerTimeRefused},
		{"more than a day ahead, the first", trustedTime{}, wall.Add(maxAhead + 1), time.Time{}, protocol.CodeServerTimeRefused},
		{"80 years ahead", known, wall.Add(80 * year), wall.Add(-time.Hour + time.Minute), protocol.CodeServerTimeRefused},
		{"80 years behind", known, wall.Add(-80 * year), wall.Add(-time.Hour + time.Minute), protocol.CodeClockSkew},
		{"the end of the calendar", known, time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), wall.Add(-time.Hour + time.Minute), protocol.CodeServerTimeRefused},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, code := test.before.note(test.server, wall, 2*time.Minute)
			if !got.at(2*time.Minute).Equal(test.want) || code != test.code {
				t.Errorf("%s %q, want %s %q", got.at(2*time.Minute), code, test.want, test.code)
			}
			if later := got.at(time.Hour); !got.Time.IsZero() && !later.Equal(test.want.Add(58*time.Minute)) {
				t.Errorf("58 minutes later it is %s", later)
			}
		})
	}
}

// Whatever servers say, whoever sets the wall clock, however often the Mac
// starts: trusted time never goes back, and is never more than a day beyond the
// wall clock because of a server.
func TestH07_TrustedTimeNeverGoesBack(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 7))
	jumps := []time.Duration{-80 * year, -year, -48 * time.Hour, -time.Minute, 0, time.Second, time.Hour, 23 * time.Hour, 25 * time.Hour, year, 80 * year}
	anywhere := func(from time.Time) time.Time { return from.Add(jumps[random.IntN(len(jumps))]) }
	for range 500 {
		real := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
		var trusted trustedTime
		var reading time.Duration
		last := trusted.at(reading)
		for range 50 {
			switch random.IntN(4) {
			case 0: // a restart: the other clock begins anew
				reading = time.Duration(random.IntN(1000)) * time.Millisecond
			default:
				reading += time.Duration(random.IntN(int(24 * time.Hour)))
			}
			wall, server := anywhere(real), anywhere(real)
			before := trusted.at(reading)
			next, code := trusted.note(server, wall, reading)
			now := next.at(reading)
			if now.Before(last) || now.Before(before) {
				t.Fatalf("it was %s, and is %s", last, now)
			}
			if now.After(before) && server.Sub(wall) > maxAhead {
				t.Fatalf("a server that was %s ahead moved it", server.Sub(wall))
			}
			if refused := server.Sub(wall) > maxAhead; refused != (code == protocol.CodeServerTimeRefused) {
				t.Fatalf("%s ahead: %q", server.Sub(wall), code)
			}
			trusted, last = *next, now
		}
	}
}

// A clock that is set back for a year does not make a head valid that has
// expired, nor does a restart; a clock that is set forward ends none.
func TestProtocol17_AClockThatIsSetBackDoesNotRevive(t *testing.T) {
	t.Parallel()
	b := settled(t)
	reading := time.Duration(0)
	b.options.Elapsed = func() time.Duration { return reading }
	b.configure()
	b.do("daily")
	real := b.now
	b.now = real.Add(80 * year)
	b.wantPolicy(protocol.PolicyFetched, "", 5, 3)
	b.now, reading = real, 31*24*time.Hour
	b.wantPolicy(protocol.PolicyStale, protocol.CodeContentStale, 5, 3)
	for _, set := range []time.Duration{-year, -80 * year} {
		b.now = real.Add(set)
		b.wantPolicy(protocol.PolicyStale, protocol.CodeContentStale, 5, 3)
		if trusted := b.client.State().TrustedTime; !trusted.Equal(real.Add(31 * 24 * time.Hour)) {
			t.Errorf("trusted time is %s", trusted)
		}
	}
	b.portal.set(func(f *fakePortal) { f.clock = func() time.Time { return real.Add(reading) } })
	b.now = real.Add(31*24*time.Hour - time.Hour)
	b.do("daily") // the portal confirms the time
	b.now = real.Add(-year)
	reading = 0 // a restart
	b.crash()
	b.wantPolicy(protocol.PolicyStale, protocol.CodeContentStale, 5, 3)
	if !b.client.Content().InForce() {
		t.Error("an expired policy must stay in force")
	}
}

func TestH07_AClock80YearsOffIsToldOnceAndPoisonsNothing(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		mac    time.Duration // off the truth
		server time.Duration
		code   protocol.Code
	}{
		{"the Mac is 80 years ahead", 80 * year, 0, protocol.CodeClockSkew},
		{"the Mac is 80 years behind", -80 * year, 0, protocol.CodeServerTimeRefused},
		{"the portal is 80 years ahead", 0, 80 * year, protocol.CodeServerTimeRefused},
		{"the portal is 80 years behind", 0, -80 * year, protocol.CodeClockSkew},
		{"the Mac is ten minutes ahead", 10 * time.Minute, 0, protocol.CodeClockSkew},
		{"the Mac is two minutes behind", -2 * time.Minute, 0, ""},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := settled(t)
			real, passed := b.now, time.Duration(0)
			b.options.Elapsed = func() time.Duration { return passed }
			b.configure()
			b.do("daily")
			before := readFile(t, b.options.IdentityPath)
			b.portal.set(func(f *fakePortal) { f.clock = func() time.Time { return real.Add(passed + test.server) } })
			for round := range 3 {
				passed += time.Hour
				b.now = real.Add(passed + test.mac)
				outcome, err := b.try("daily")
				if err != nil || outcome.Code != test.code {
					t.Fatalf("%q %v, want %q", outcome.Code, err, test.code)
				}
				told := slices.ContainsFunc(outcome.Events, func(e protocol.Event) bool { return e.Code == test.code })
				if told != (round == 0 && test.code != "") {
					t.Errorf("round %d: events %v", round, outcome.Events)
				}
				if off := b.client.State().TrustedTime.Sub(real.Add(passed)).Abs(); off > time.Second {
					t.Errorf("trusted time is %s off", off)
				}
			}
			b.wantPolicy(protocol.PolicyFetched, "", 5, 3)
			if string(before) != string(readFile(t, b.options.IdentityPath)) {
				t.Error("the identity changed")
			}
			b.now = real.Add(passed)
			b.portal.set(func(f *fakePortal) { f.clock = func() time.Time { return b.now } })
			if outcome := b.do("daily"); outcome.Code != "" {
				t.Errorf("after the clocks were set right: %s", outcome.Code)
			}
		})
	}
}

// Timers stand still while a Mac sleeps; the wall clock goes on.
func TestARequestEndsByTheWallClockAfterASleep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var slept atomic.Int64
		now := func() time.Time { return time.Now().Add(time.Duration(slept.Load())) }
		ctx, stop := limitWallClock(context.Background(), time.Hour, now)
		defer stop()
		time.Sleep(time.Minute)
		slept.Store(int64(8 * time.Hour))
		woke := time.Now()
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), errOverTime) || time.Since(woke) > wallTick {
			t.Errorf("%s after the wake: %v", time.Since(woke), context.Cause(ctx))
		}
	})
}

func TestAStopEndsTheWatchOfTheWallClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := limitWallClock(context.Background(), time.Minute, time.Now)
		time.Sleep(30 * time.Second)
		if ctx.Err() != nil {
			t.Error("it ended early")
		}
		stop() // the bubble's end shows that nothing is left running
		if errors.Is(context.Cause(ctx), errOverTime) {
			t.Error("it ended by the clock")
		}
	})
}

// drip gives one byte a second for as long as somebody reads.
type drip struct{ ctx context.Context }

func (d drip) Read(data []byte) (int, error) {
	select {
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	case <-time.After(time.Second):
		data[0] = ' '
		return 1, nil
	}
}

func (d drip) RoundTrip(request *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Request: request, Body: io.NopCloser(drip{request.Context()}),
		Header: http.Header{"Content-Type": {"application/json"}}}, nil
}

func TestAServerThatDripsCostsAMinute(t *testing.T) {
	t.Parallel()
	for name, asleep := range map[string]time.Duration{"awake": 0, "over a sleep": 8 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.do("agent_start")
				started := time.Now()
				var slept atomic.Int64
				b.options.Now = func() time.Time { return time.Now().Add(time.Duration(slept.Load())) }
				b.options.Transport = drip{}
				b.configure()
				time.AfterFunc(10*time.Second, func() { slept.Store(int64(asleep)) })
				b.fails(protocol.CodePortalTimeout)
				want := requestLimit
				if asleep > 0 {
					want = 11 * time.Second // the clock is looked at once a second
				}
				if took := time.Since(started); took > want {
					t.Errorf("it took %s awake", took)
				}
			})
		})
	}
}
