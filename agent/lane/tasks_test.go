package lane

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// A task outlives who began it, and its outcome is taken once.
func TestTaskOutlivesTheAsker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tasks := NewTasks[string](nil)
		slow := func() string { time.Sleep(time.Minute); return "late" }
		wantEqual(t, "started", tasks.Start(501, slow), true)
		_, ended := tasks.Wait(t.Context(), 501, time.After(time.Second))
		wantEqual(t, "ended within a second", ended, false)
		wantEqual(t, "another while it runs", tasks.Start(501, slow), false)
		_, ended = tasks.Take(501)
		wantEqual(t, "there", ended, false)

		time.Sleep(2 * time.Minute)
		wantEqual(t, "another before the outcome is taken", tasks.Start(501, slow), false)
		wantEqual(t, "pending", tasks.Pending(501), true)
		outcome, ended := tasks.Take(501)
		wantEqual(t, "ended", ended, true)
		wantEqual(t, "outcome", outcome, "late")
		wantEqual(t, "pending, once taken", tasks.Pending(501), false)
		_, ended = tasks.Wait(t.Context(), 501, nil)
		wantEqual(t, "taken twice", ended, false)
		wantEqual(t, "another", tasks.Start(501, func() string { return "next" }), true)
		outcome, _ = tasks.Wait(t.Context(), 501, time.After(time.Second))
		wantEqual(t, "outcome", outcome, "next")
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tasks := NewTasks[string](nil)
		ctx, cancel := context.WithCancel(t.Context())
		tasks.Start(501, func() string { <-ctx.Done(); time.Sleep(time.Second); return "" })
		time.AfterFunc(time.Minute, cancel)
		began := time.Now()
		_, ended := tasks.Wait(ctx, 501, nil)
		wantEqual(t, "ended", ended, false)
		wantEqual(t, "waited", time.Since(began), time.Minute)
		tasks.Close()
		wantEqual(t, "waited with Close", time.Since(began), time.Minute+time.Second)
	})
}

// The outcome is there when its owner hears of it.
func TestOutcomeIsPosted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got []string
		var tasks *Tasks[string]
		tasks = NewTasks[string](func(uid uint32) {
			outcome, ended := tasks.Take(uid)
			wantEqual(t, "ended", ended, true)
			got = append(got, fmt.Sprint(uid, " ", outcome))
			if len(got) == 1 { // who hears of one may start the next
				wantEqual(t, "next", tasks.Start(uid, func() string { return "twice" }), true)
			}
		})
		tasks.Start(501, func() string { return "once" })
		tasks.Close()
		wantEqual(t, "posted", len(got), 2)
		wantEqual(t, "first", got[0], "501 once")
		wantEqual(t, "second", got[1], "501 twice")
	})
}

// Changes and looks of one user take turns run by run; whatever hangs there,
// another user's do not wait for it.
func TestH12_KindsOfWorkShareALane(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lanes := New()
		looks, changes := NewTasks[time.Time](nil), NewTasks[time.Time](nil)
		runs := func(uid uint32, count int, takes time.Duration, err error) func() time.Time {
			return func() time.Time {
				for range count {
					_ = lanes.Run(t.Context(), uid, 10*time.Second, func() error { time.Sleep(takes); return err })
				}
				return time.Now()
			}
		}
		began := time.Now()
		looks.Start(501, runs(501, 3, time.Second, nil))
		changes.Start(501, runs(501, 20, time.Second, nil))
		changes.Start(502, runs(502, 1, time.Minute, errKilled)) // hangs
		look, _ := looks.Wait(t.Context(), 501, nil)
		wantEqual(t, "alice's look, beside her changes", look.Sub(began) <= 6*time.Second, true)
		change, _ := changes.Wait(t.Context(), 501, nil)
		wantEqual(t, "alice's changes, beside bob who hangs", change.Sub(began), 23*time.Second)
		looks.Start(502, runs(502, 1, time.Second, nil))
		looks.Start(503, runs(503, 1, time.Second, nil))
		began = time.Now()
		look, _ = looks.Wait(t.Context(), 503, nil)
		wantEqual(t, "carol's look, beside bob who hangs", look.Sub(began), time.Second)
		look, _ = looks.Wait(t.Context(), 502, nil)
		wantEqual(t, "bob's own look, which waits for his change", look.Sub(began) > 30*time.Second, true)
		changes.Close()
	})
}
