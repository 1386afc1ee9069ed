package webhook

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
)

const failed = "policy_setting_failed"

// SEC-25: what is sent is signed as the specification has it, and anew at each attempt;
// while a secret is replaced with both, and with the present one alone afterwards.
func TestSEC25_MessagesAreSigned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, r := newBench(t, "https://hooks.example/x"), &receiver{}
		b.play(t, r)
		defer b.run(t)()
		check := func(name string, wants map[string]int, all int) {
			t.Helper()
			b.happen(t, "a", failed, int(b.saved["a"])+1, 1)
			synctest.Wait()
			sent := r.all()
			last := sent[len(sent)-1]
			for secret, want := range wants {
				fitting, count, err := verify(secret, last.header, last.body, time.Now())
				if err != nil || fitting != want || count != all {
					t.Errorf("%s: %d of %d signatures fit, %v; want %d of %d", name, fitting, count, err, want, all)
				}
			}
		}
		first := b.secrets(t)[0]
		check("with the first secret", map[string]int{first: 1, "whsec_" + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA": 0}, 1)
		hook, err := site.LoadWebhook(b.folder)
		if err := errors.Join(err, hook.Rotate(site.NewWebhookSecret(), time.Hour, time.Now()), hook.Save(b.folder)); err != nil {
			t.Fatal(err)
		}
		second := b.secrets(t)[0]
		check("with both", map[string]int{first: 1, second: 1}, 2)
		if err := hook.Rotate(site.NewWebhookSecret(), time.Hour, time.Now()); !errors.Is(err, site.ErrWebhookRotated) {
			t.Errorf("another rotation within the overlap: %v", err)
		}
		time.Sleep(time.Hour)
		check("with the second one alone", map[string]int{first: 0, second: 1}, 1)
	})
}

// SEC-25: a receiver that fails is tried again with growing waits for a day, by requests
// of the same id and body and of a new time; then the message is dropped and counted.
func TestSEC25_RetriesLastForADay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, r := newBench(t, "https://hooks.example/x"), &receiver{answer: func(received) (int, http.Header) { return http.StatusInternalServerError, nil }}
		b.play(t, r)
		defer b.run(t)()
		b.happen(t, "a", failed, 1, 3)
		began := time.Now()
		time.Sleep(30 * time.Minute)
		if status := b.status(t); status.Queued != 3 || status.Condition != nil || status.LastError == "" || status.Failures == 0 || !status.RetryAt.After(time.Now()) {
			t.Errorf("after half an hour: %+v", status)
		}
		time.Sleep(time.Hour)
		if status := b.status(t); status.Condition == nil || status.Condition.Code != "webhook_undelivered" {
			t.Errorf("after an hour and a half: %+v", status)
		}
		time.Sleep(22*time.Hour + 29*time.Minute)
		if status := b.status(t); status.Queued != 3 {
			t.Errorf("before the day is over: %+v", status)
		}
		time.Sleep(time.Hour)
		if status := b.status(t); status.Queued != 0 || status.Dropped.Expired != 3 || status.Condition != nil {
			t.Errorf("after a day: %+v", status)
		}
		sent := r.all()
		if len(sent) < 40 || len(sent) > 80 {
			t.Errorf("%d attempts in a day", len(sent))
		}
		for i, one := range sent {
			if one.ID != sent[0].ID || string(one.body) != string(sent[0].body) {
				t.Fatalf("attempt %d is of another message: those of a device wait for the first one", i)
			}
			if fitting, _, err := verify(b.secrets(t)[0], one.header, one.body, one.at); err != nil || fitting != 1 {
				t.Errorf("attempt %d: %d signatures fit, %v", i, fitting, err)
			}
			if i > 0 && i < 8 && one.at.Sub(sent[i-1].at) < firstWait<<(i-1) {
				t.Errorf("attempt %d came %v after the one before", i, one.at.Sub(sent[i-1].at))
			}
			if i > 0 && one.at.Sub(sent[i-1].at) > maxMessageWait*13/10 {
				t.Errorf("attempt %d came %v after the one before", i, one.at.Sub(sent[i-1].at))
			}
		}
		if sent[len(sent)-1].at.Sub(began) < 23*time.Hour {
			t.Errorf("the last attempt was after %v", sent[len(sent)-1].at.Sub(began))
		}
	})
}

// SEC-25: those of a device arrive in their order, whatever fails in between, and a
// message that the receiver refuses holds up those of no other device for long.
func TestSEC25_OrderOfADevice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, r := newBench(t, "https://hooks.example/x"), &receiver{}
		attempts := 0
		r.answer = func(one received) (int, http.Header) {
			switch attempts++; {
			case one.Data.DeviceID == "poison" && one.Data.Detail["n"] == "1":
				return http.StatusUnprocessableEntity, nil
			case attempts%3 == 0:
				return http.StatusServiceUnavailable, nil
			case attempts%7 == 0:
				return 0, nil
			}
			return http.StatusOK, nil
		}
		b.play(t, r)
		defer b.run(t)()
		b.happen(t, "poison", failed, 1, 2)
		for i := range 20 {
			b.happen(t, "a", failed, i+1, 1)
			b.happen(t, "b", failed, i+1, 1)
		}
		time.Sleep(time.Hour)
		if status := b.status(t); status.Queued != 2 || status.Sent != 40 {
			t.Fatalf("after an hour: %+v", status)
		}
		newest := make(map[string]int)
		for _, one := range r.all() {
			n, _ := strconv.Atoi(one.Data.Detail["n"])
			if device := one.Data.DeviceID; n < newest[device] || n > newest[device]+1 {
				t.Errorf("of %s, %d came after %d", device, n, newest[device])
			}
			newest[one.Data.DeviceID] = n
		}
		time.Sleep(24 * time.Hour)
		if status := b.status(t); status.Queued != 0 || status.Sent != 41 || status.Dropped.Expired != 1 {
			t.Errorf("after a day: %+v", status)
		}
	})
}

// SEC-25: a receiver that says when to come again is left alone until then, and one that
// does not work is asked for one message at a time, however many devices wait.
func TestSEC25_AReceiverInTroubleIsLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, r := newBench(t, "https://hooks.example/x"), &receiver{}
		r.answer = func(received) (int, http.Header) {
			return http.StatusTooManyRequests, http.Header{"Retry-After": {"1800"}}
		}
		b.play(t, r)
		defer b.run(t)()
		for i := range 500 {
			b.happen(t, "d"+strconv.Itoa(i), failed, 1, 1)
		}
		time.Sleep(29 * time.Minute)
		if got := len(r.all()); got != 1 {
			t.Errorf("%d requests within the time that it asked for", got)
		}
		r.mutex.Lock()
		r.answer = func(received) (int, http.Header) { return http.StatusBadGateway, nil }
		r.mutex.Unlock()
		time.Sleep(time.Hour)
		if got := len(r.all()); got > 70 {
			t.Errorf("%d requests in an hour and a half", got)
		}
		r.mutex.Lock()
		r.answer = nil
		r.mutex.Unlock()
		time.Sleep(40 * time.Minute)
		if status := b.status(t); status.Queued != 0 || status.Sent != 500 {
			t.Errorf("after it works again: %+v", status)
		}
	})
}

// SEC-25: 410 Gone ends the sending, over a restart too; what waits is kept for as long
// as anything, and sent once somebody sets the webhook again.
func TestSEC25_GoneEndsTheSending(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, r := newBench(t, "https://hooks.example/x"), &receiver{answer: func(received) (int, http.Header) { return http.StatusGone, nil }}
		b.play(t, r)
		end := b.run(t)
		b.happen(t, "a", failed, 1, 1)
		time.Sleep(time.Hour)
		end()
		b.restart()
		b.play(t, r)
		defer b.run(t)()
		b.happen(t, "a", failed, 2, 1)
		time.Sleep(time.Hour)
		if status := b.status(t); len(r.all()) != 1 || status.Condition == nil || status.Condition.Code != "webhook_gone" || status.Queued != 2 {
			t.Errorf("%d requests, %+v", len(r.all()), status)
		}
		r.mutex.Lock()
		r.answer = nil
		r.mutex.Unlock()
		b.set(t, "https://hooks.example/x")
		time.Sleep(10 * time.Second)
		if status := b.status(t); status.Sent != 2 || status.Condition != nil {
			t.Errorf("after it was set again: %+v", status)
		}
	})
}

// SEC-25: also while the receiver wants none any more a message waits for a day and no
// longer, also over a restart; what is younger is sent once the webhook is set again.
func TestSEC25_NothingWaitsForLongerThanADayWhileGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, r := newBench(t, "https://hooks.example/x"), &receiver{answer: func(received) (int, http.Header) { return http.StatusGone, nil }}
		b.play(t, r)
		end := b.run(t)
		b.happen(t, "a", failed, 1, 2)
		b.happen(t, "b", failed, 1, 1)
		time.Sleep(20 * time.Hour)
		b.happen(t, "a", failed, 3, 1)
		time.Sleep(3 * time.Hour)
		if status := b.status(t); status.Queued != 4 || status.Dropped.Expired != 0 {
			t.Errorf("before the day is over: %+v", status)
		}
		end()
		time.Sleep(time.Hour)
		b.restart()
		b.play(t, r)
		defer b.run(t)()
		time.Sleep(2 * time.Minute)
		if status := b.status(t); status.Queued != 1 || status.Dropped.Expired != 3 || len(r.all()) != 1 {
			t.Errorf("after a day: %+v, %d requests", status, len(r.all()))
		}
		r.mutex.Lock()
		r.answer = nil
		r.mutex.Unlock()
		b.set(t, "https://hooks.example/x")
		time.Sleep(10 * time.Second)
		if sent := r.all(); len(sent) != 2 || sent[1].Data.Detail["n"] != "3" {
			t.Errorf("once it was set again %d were sent: %+v", len(sent), sent)
		}
	})
}

// SEC-25: a device that tells of very much has its share of what may wait and no more:
// the others' messages are taken in, and are not behind all of its own.
func TestSEC25_ADeviceHasItsShareOfTheQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, r := newBench(t, "https://hooks.example/x"), &receiver{}
		b.play(t, r)
		b.happen(t, "a", failed, 1, storage.MaxOutgoing)
		b.happen(t, "a", failed, storage.MaxOutgoing+1, storage.MaxOutgoing)
		status := b.status(t)
		if status.Queued*100 > storage.MaxOutgoing || status.Queued+status.Dropped.Full != 2*storage.MaxOutgoing {
			t.Errorf("of one device: %+v", status)
		}
		for _, device := range []string{"b", "c"} {
			b.happen(t, device, failed, 1, 1)
		}
		if got := b.status(t).Queued; got != status.Queued+2 {
			t.Errorf("%d wait, of the others %d", got, got-status.Queued)
		}
		defer b.run(t)()
		time.Sleep(time.Second)
		sent := r.all()
		if len(sent) != status.Queued+2 || sent[1].Data.DeviceID != "b" || sent[2].Data.DeviceID != "c" {
			t.Errorf("%d were sent", len(sent))
		}
	})
}

// failingQueue forgets what became of messages, as a kill right after the receiver took
// one does.
type failingQueue struct {
	store
	broken bool
}

var errKilled = errors.New("killed")

func (q *failingQueue) Settle(ctx context.Context, settled storage.Settlement) error {
	if q.broken {
		return errKilled
	}
	return q.store.Settle(ctx, settled)
}

// SEC-25: at least once: a portal that was killed after the receiver took a message, and
// before it noted that, sends it again with the same id, and before those behind it.
func TestSEC25_AtLeastOnceAfterAKill(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, r := newBench(t, "https://hooks.example/x"), &receiver{}
		queue := &failingQueue{b.store, true}
		b.store = queue
		b.restart()
		b.play(t, r)
		end := b.run(t)
		b.happen(t, "a", failed, 1, 2)
		synctest.Wait()
		if sent := r.all(); len(sent) != 1 {
			t.Fatalf("%d were sent", len(sent))
		}
		end() // as if by the kill
		queue.broken = false
		b.restart()
		b.play(t, r)
		defer b.run(t)()
		time.Sleep(time.Second)
		sent := r.all()
		if len(sent) != 3 || sent[1].ID != sent[0].ID || string(sent[1].body) != string(sent[0].body) || sent[2].Data.Detail["n"] != "2" {
			t.Errorf("after the kill %d were sent: %+v", len(sent), sent)
		}
		if status := b.status(t); status.Sent != 2 || status.Queued != 0 {
			t.Errorf("%+v", status)
		}
	})
}

// SEC-25: a clock that jumps drops nothing untried, and each attempt has the time that
// the clock has then.
func TestSEC25_AClockThatJumps(t *testing.T) {
	t.Parallel()
	for name, jump := range map[string]time.Duration{"ahead": 48 * time.Hour, "back": -48 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, r := newBench(t, "https://hooks.example/x"), &receiver{answer: func(received) (int, http.Header) { return 0, nil }}
				var ahead time.Duration
				b.now = func() time.Time { return time.Now().Add(ahead) }
				b.play(t, r)
				end := b.run(t)
				b.happen(t, "a", failed, 1, 5)
				b.happen(t, "b", failed, 1, 5)
				time.Sleep(10 * time.Minute)
				end()
				ahead = jump
				failures := 0
				r.mutex.Lock()
				r.answer = func(received) (int, http.Header) {
					if failures++; failures < fewestAttempts {
						return http.StatusServiceUnavailable, nil
					}
					return http.StatusOK, nil
				}
				r.mutex.Unlock()
				b.restart() // a sleeping machine, or a person who sets the clock
				b.play(t, r)
				defer b.run(t)()
				time.Sleep(time.Hour)
				if status := b.status(t); status.Sent != 10 || status.Dropped.Expired != 0 {
					t.Errorf("%+v", status)
				}
				sent := r.all()
				if fitting, _, err := verify(b.secrets(t)[0], sent[len(sent)-1].header, sent[len(sent)-1].body, sent[len(sent)-1].at.Add(jump)); err != nil || fitting != 1 {
					t.Errorf("%d signatures fit: %v", fitting, err)
				}
			})
		})
	}
}

// SEC-25: a Mac that is not heard of is told of once, and again after it was there in
// between; not while those that could not reach a portal that was away come back.
func TestSEC25_StaleMacs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, r := newBench(t, "https://hooks.example/x"), &receiver{}
		b.fresh = 2 * time.Hour
		b.restart()
		b.play(t, r)
		checkin := func(id string) {
			t.Helper()
			device, err := b.store.Device(t.Context(), storage.ByID(id))
			if err != nil {
				device = storage.Device{ID: id, Serial: "C02" + id, HardwareUUID: id, EnrolledAt: time.Now()}
			}
			device.LastCheckinAt = time.Now()
			if err := b.sender.parts.Fleet.Save(t.Context(), storage.Change{Device: device}); err != nil {
				t.Fatal(err)
			}
		}
		checkin("away")
		checkin("there")
		retired := storage.Device{ID: "retired", Serial: "X", HardwareUUID: "X", EnrolledAt: time.Now(), RetiredAt: time.Now()}
		if err := b.store.Save(t.Context(), storage.Change{Device: retired}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour) // the portal is off
		end := b.run(t)
		time.Sleep(time.Hour)
		if sent := r.all(); len(sent) != 0 {
			t.Fatalf("right after its start the portal tells %+v", sent)
		}
		checkin("there")
		time.Sleep(10 * time.Minute)
		end()
		b.restart()
		b.play(t, r)
		defer b.run(t)()
		for range 3 {
			time.Sleep(time.Hour)
			checkin("there")
		}
		if sent := r.all(); len(sent) != 1 || sent[0].Type != "device.stale" || sent[0].Data.DeviceID != "away" || sent[0].Data.Detail["last_heard_at"] == "" {
			t.Fatalf("%d were told: %+v", len(sent), sent)
		}
		checkin("away")
		time.Sleep(3 * time.Hour)
		if sent := r.all(); len(sent) < 2 || sent[1].ID == sent[0].ID {
			t.Errorf("after it was there in between: %+v", sent)
		}
	})
}

// SEC-25: where the webhook is disabled what waits is dropped, and counted.
func TestSEC25_Disabled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, r := newBench(t, "https://hooks.example/x"), &receiver{answer: func(received) (int, http.Header) { return 0, nil }}
		b.play(t, r)
		defer b.run(t)()
		b.happen(t, "a", failed, 1, 5)
		time.Sleep(time.Minute)
		if err := site.RemoveWebhook(b.folder); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if status := b.status(t); status.Configured || status.Queued != 0 || status.Dropped.Cleared != 5 {
			t.Errorf("%+v", status)
		}
	})
}
