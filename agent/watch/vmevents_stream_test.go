package watch

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/platform"
	"prlagent/prlctl"
)

// waits are the times between the starts of a user's streams.
func (m *bench) waits(uid uint32) (waits []time.Duration) {
	synctest.Wait()
	m.guard.Lock()
	defer m.guard.Unlock()
	for i := 1; i < len(m.starts[uid]); i++ {
		waits = append(waits, m.starts[uid][i].Sub(m.starts[uid][i-1]))
	}
	return waits
}

func TestTRG_05_EndedStreamStartsAgainLaterEachTime(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		m.refuse = &prlctl.Error{Code: prlctl.CodeServiceDown}
		m.SetUsers([]Followed{followed(alice)})
		time.Sleep(10 * time.Minute)
		waits := m.waits(alice)
		if len(waits) < 12 {
			m.t.Errorf("only %d starts", len(waits))
		}
		for i, wait := range waits {
			most := min(time.Second<<i, time.Minute)
			if wait < most/2 || wait > most {
				m.t.Errorf("wait %d is %v, want %v to %v", i, wait, most/2, most)
			}
		}
		m.wants("streams that never lived", nil)
	})
}

func TestTRG_05_StreamThatLivedStartsAgainSoon(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		m.refuse = errKilled
		m.SetUsers([]Followed{followed(alice)})
		time.Sleep(10 * time.Minute)
		m.guard.Lock()
		m.refuse = nil
		m.guard.Unlock()
		time.Sleep(time.Minute + 61*time.Second) // it started and lived longer than the longest wait
		starts := m.started(alice)
		m.stream(alice).end <- errKilled
		time.Sleep(time.Second)
		if got := m.started(alice) - starts; got != 1 {
			m.t.Errorf("%d starts within a second", got)
		}
	})
}

func TestTRG_05_ServiceDownForAnHourAndBack(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		m.settled(followed(alice), followed(bob))
		m.SetService(true) // as before
		if m.started(alice) != 1 {
			m.t.Error("a service that is still up started another stream")
		}
		m.SetService(false)
		if m.streaming(alice) || m.streaming(bob) {
			m.t.Error("a stream outlives its service")
		}
		before := m.started(alice)
		m.SetUsers([]Followed{followed(alice, first), followed(bob)})
		time.Sleep(time.Hour)
		m.SetService(false) // once more says nothing
		if m.started(alice) != before {
			m.t.Error("a stream was started while the service is down")
		}
		m.wants("while down", nil)
		m.SetService(true)
		if m.started(alice) != before+1 || !m.streaming(bob) {
			m.t.Error("no stream was started when the service came back")
		}
		time.Sleep(subscribedSoon)
		if hints := m.hints(); len(hints) != 2 {
			m.t.Errorf("want a look at both users, got %v", hints)
		}
	})
}

// A wait that grew while the service was failing ends with the failure, but a
// service that flaps starts no stream more often than the shortest wait.
func TestTRG_05_ServiceThatComesBackEndsTheWait(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		m.refuse = &prlctl.Error{Code: prlctl.CodeServiceDown}
		m.SetUsers([]Followed{followed(alice)})
		time.Sleep(10 * time.Minute)
		before := m.started(alice)
		m.SetService(false)
		time.Sleep(2 * time.Second)
		m.SetService(true)
		if m.started(alice) != before+1 {
			m.t.Error("no start with the service")
		}
		before = m.started(alice)
		for range 1000 {
			m.SetService(false)
			time.Sleep(5 * time.Millisecond)
			m.SetService(true)
			time.Sleep(5 * time.Millisecond)
		}
		if got := m.started(alice) - before; got > 11 {
			m.t.Errorf("%d starts in 10 s of flapping", got)
		}
	})
}

// A stream that ends with its service has not failed, and what failed before it
// was the service: the next failure is the first.
func TestTRG_05_AServiceThatEndsForgivesItsStreams(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		m.refuse = errKilled
		m.SetUsers([]Followed{followed(alice)})
		time.Sleep(10 * time.Minute)
		m.guard.Lock()
		m.refuse = nil
		m.guard.Unlock()
		for !m.streaming(alice) {
			time.Sleep(time.Second)
		}
		m.SetService(false)
		synctest.Wait()
		m.SetService(true)
		time.Sleep(2 * time.Second) // the shortest wait
		starts := m.started(alice)
		m.stream(alice).end <- errKilled
		time.Sleep(time.Second)
		if got := m.started(alice) - starts; got != 1 {
			m.t.Errorf("%d starts within a second", got)
		}
	})
}

func TestOldProductIsAskedAgainOnlyWhenSomethingChanged(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		m.refuse = fmt.Errorf("follow: %w", &prlctl.Error{Code: prlctl.CodeUnrecognizedOption, ExitCode: 255})
		m.SetUsers([]Followed{followed(alice)})
		time.Sleep(24 * time.Hour)
		m.SetUsers([]Followed{followed(alice, first)})
		if got := m.started(alice); got != 1 {
			m.t.Fatalf("%d starts in a day", got)
		}
		m.SetService(false)
		time.Sleep(time.Hour)
		m.SetService(true)
		if got := m.started(alice); got != 2 {
			m.t.Errorf("%d starts after the service was started again", got)
		}
		time.Sleep(time.Hour)
		m.SetUsers([]Followed{followed(alice), followed(bob)})
		time.Sleep(24 * time.Hour)
		if alices, bobs := m.started(alice), m.started(bob); alices != 3 || bobs != 1 {
			m.t.Errorf("%d and %d starts after the users changed", alices, bobs)
		}
		m.wants("no stream, no hint", nil)
	})
}

func TestUsersAppearAndVanish(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		m.settled(followed(alice, first))
		loggedIn := followed(alice, first, other)
		loggedIn.Session = true
		m.SetUsers([]Followed{loggedIn, followed(bob)})
		if m.started(alice) != 1 || m.started(bob) != 1 {
			m.t.Error("want one start for each")
		}
		m.SetUsers([]Followed{followed(bob)})
		if m.streaming(alice) || !m.streaming(bob) {
			m.t.Error("want bob's stream only")
		}
		time.Sleep(time.Minute)
		m.SetUsers([]Followed{loggedIn, followed(bob)})
		if m.started(alice) != 2 || !m.stream(alice).session || m.started(bob) != 1 {
			m.t.Error("want a new stream for alice, within her session")
		}
		m.SetUsers(nil)
		time.Sleep(time.Hour)
		m.SetUsers(nil)
		if streams, _ := m.running(); streams != 0 || len(m.accounts) != 0 {
			m.t.Errorf("%d streams, %d accounts are left", streams, len(m.accounts))
		}
	})
}

// A user who comes and goes has no more streams than one whose stream fails.
func TestUserWhoFlapsStartsNoStorm(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		for range 1000 {
			m.SetUsers([]Followed{followed(alice)})
			time.Sleep(5 * time.Millisecond)
			m.SetUsers(nil)
			time.Sleep(5 * time.Millisecond)
		}
		if got := m.started(alice); got > 11 {
			m.t.Errorf("%d starts in 10 s", got)
		}
	})
}

func TestH12_AtMost32Streams(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		var users []Followed
		for uid := range uint32(100) {
			users = append(users, followed(600+uid, vmIDs(int(uid))...))
		}
		users[3].Session = true
		m.settled(users...)
		if streams, _ := m.running(); streams != maxStreams || !m.streaming(603) || !m.streaming(699) || !m.streaming(669) || m.streaming(668) {
			m.t.Errorf("%d streams, not of who is logged in and of those with most machines", streams)
		}
		users[0].Configs = followed(600, vmIDs(500)...).Configs
		m.settled(users...)
		if m.streaming(600) || m.started(669) != 1 {
			m.t.Error("more machines took a stream from somebody who has one")
		}
		users[0].Session = true
		m.settled(append(users, users...)...)
		if streams, _ := m.running(); streams != maxStreams || !m.streaming(600) || m.streaming(669) {
			m.t.Error("who is logged in has no stream, or there are too many")
		}
	})
}

// Who is beyond the limit is named, and a second name of an account that has a
// stream is not.
func TestINV_02_H12_WhoIsBeyondTheLimitOfStreams(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		var users []Followed
		for uid := range uint32(maxStreams) {
			users = append(users, followed(600+uid))
		}
		if beyond := m.SetUsers(append(users, users...)); len(beyond) != 0 {
			m.t.Errorf("two names each: %v", beyond)
		}
		m.settled(users...)
		if beyond := m.SetUsers(append(users, followed(801), followed(800), followed(800))); !slices.Equal(beyond, []uint32{800, 801}) {
			m.t.Errorf("two more: %v", beyond)
		}
		m.settled()
	})
}

// Streams are killed at random 10,000 times: nothing leaks, no user has two at
// once, and none is started before its wait is over.
func TestH12_TenThousandKilledStreams(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		random := rand.New(rand.NewPCG(4, 10))
		m.settled(followed(alice), followed(bob))
		for killed := 0; killed < 10_000; {
			for _, uid := range []uint32{alice, bob} {
				if m.streaming(uid) {
					m.stream(uid).end <- errKilled
					killed++
				}
			}
			if streams, _ := m.running(); streams > 2 {
				m.t.Fatalf("%d streams of two users", streams)
			}
			time.Sleep(time.Duration(random.Int64N(int64(100 * time.Second))))
			m.hints()
		}
		m.stop()
		for _, uid := range []uint32{alice, bob} {
			m.neverTooSoon(uid)
		}
	})
}

// neverTooSoon holds each start against the rule, worked out from the lives of
// the streams before.
func (m *bench) neverTooSoon(uid uint32) {
	starts, ends := m.starts[uid], m.ends[uid]
	if len(starts) < 4000 || len(ends) != len(starts) {
		m.t.Errorf("user %d: %d starts and %d ends", uid, len(starts), len(ends))
	}
	failures := 0
	for i := 1; i < len(starts); i++ {
		if ends[i-1].Sub(starts[i-1]) > time.Minute {
			failures = 0
		}
		failures++
		least := min(time.Second<<min(failures-1, 10), time.Minute) / 2
		if waited := starts[i].Sub(ends[i-1]); waited < least || waited > 2*least {
			m.t.Fatalf("user %d: start %d after %v, want %v to %v", uid, i, waited, least, 2*least)
		}
	}
}

// A stream that dies as soon as it has started is started as often as the rule
// says: in a day at most 24 h / (RetryCap/2), and the few of the beginning.
func TestH12_StartsAreCounted(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		m.refuse = errKilled
		m.SetUsers([]Followed{followed(alice)})
		time.Sleep(24 * time.Hour)
		starts := m.started(alice)
		m.t.Logf("%d starts in 24 h", starts)
		if starts > 7+2*24*60 || starts < 24*60 {
			m.t.Errorf("%d starts", starts)
		}
	})
}

// A flood from one user gives bounded hints, in number and in time, and takes
// nothing from anybody else. What it costs the reader is in BenchmarkFlood.
func TestH12_FloodOfEvents(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		m.settled(followed(alice, first), followed(bob, other))
		stream, began := m.stream(alice), time.Now()
		for second := range 65 {
			for i := range 4000 {
				stream.handle(prlctl.Event{VMID: fmt.Sprintf("%08x-0000-4000-8000-%012x", second, i), Name: "vm_added"})
				if i%40 == 0 {
					time.Sleep(10 * time.Millisecond)
				}
			}
			m.stream(bob).handle(prlctl.Event{VMID: other, Name: "vm_added"})
		}
		lasted := time.Since(began)
		var looks, events, bobs int
		for _, hint := range m.hints() {
			switch {
			case hint.UID == bob:
				bobs++
			case hint.VMID == "":
				looks++
			default:
				events++
			}
		}
		if most := floodBurst + int(lasted/floodEvery); events > most {
			m.t.Errorf("%d events became hints, want at most %d", events, most)
		}
		if looks != 2 || bobs != 65 {
			m.t.Errorf("%d looks in a flood of %v, %d of 65 events of another user", looks, lasted, bobs)
		}
		time.Sleep(time.Minute)
		m.wants("when it is over", []Hint{{UID: alice}})
		stream.handle(prlctl.Event{VMID: first, Name: "vm_added"})
		m.wants("afterwards", []Hint{{UID: alice, VMID: first}})
	})
}

func TestH12_ShortFloodIsToldWhenItIsOver(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		m.settled(followed(alice))
		flood := func() {
			for range floodBurst + 1 {
				m.stream(alice).handle(prlctl.Event{VMID: first, Name: "vm_added"})
			}
			if hints := m.hints(); len(hints) != floodBurst {
				m.t.Errorf("%d hints of a flood of %d", len(hints), floodBurst+1)
			}
		}
		flood()
		time.Sleep(floodOver)
		m.wants("over", []Hint{{UID: alice}})
		time.Sleep(6 * time.Second) // the bucket is full again
		flood()
		time.Sleep(floodTold - 8*time.Second)
		m.wants("too soon for another look", nil)
		time.Sleep(8 * time.Second)
		m.wants("the next look", []Hint{{UID: alice}})
		time.Sleep(time.Hour)
		m.wants("then", nil)
	})
}

// A stream whose end takes its time has no other beside it when its user
// returns, and Watch does not end before it.
func TestStreamThatEndsSlowly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var open atomic.Int64
		source := NewVMEvents(VMEventsOptions{
			Monitor: func(ctx context.Context, _ platform.User, _ bool, _ func(prlctl.Event)) error {
				open.Add(1)
				defer open.Add(-1)
				<-ctx.Done()
				time.Sleep(10 * time.Second) // SIGTERM, grace, SIGKILL
				return ctx.Err()
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if err := source.Watch(ctx, func(Hint) {}); err != nil {
				t.Error(err)
			}
		}()
		source.SetService(true)
		var seen []int64
		for _, users := range [][]Followed{{followed(alice)}, nil, {followed(alice)}} {
			source.SetUsers(users)
			time.Sleep(time.Second)
			seen = append(seen, open.Load())
		}
		time.Sleep(time.Minute)
		source.SetService(false)
		source.SetService(true)
		time.Sleep(5 * time.Second)
		seen = append(seen, open.Load())
		time.Sleep(time.Minute)
		cancel()
		time.Sleep(time.Second)
		seen = append(seen, open.Load())
		<-ended
		if diff := cmp.Diff([]int64{1, 1, 1, 1, 1, 0}, append(seen, open.Load())); diff != "" {
			t.Errorf("open streams (-want +got):\n%s", diff)
		}
	})
}

// BenchmarkFlood is what one event too many costs the reader of a stream.
func BenchmarkFlood(b *testing.B) {
	a := newAccount(alice, VMEventsOptions{})
	event := prlctl.Event{VMID: first, Name: "vm_added"}
	for b.Loop() {
		a.onEvent(time.Now(), event)
	}
}
