package agent

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The program is told that nothing goes on, again and again while that lasts, and once
// when something does: it gives memory back each time that it is worth it.
func TestIdleAndBusyAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mutex sync.Mutex
		var told []bool
		d := newDaemon(t, settings(t))
		d.parts.onIdle = func(idle bool) {
			mutex.Lock()
			defer mutex.Unlock()
			told = append(told, idle)
		}
		defer d.run(t)()
		expect := func(when string, atLeast int, want ...bool) {
			t.Helper()
			synctest.Wait()
			mutex.Lock()
			defer mutex.Unlock()
			if !slices.Equal(slices.Compact(slices.Clone(told)), want) || len(told) < atLeast {
				t.Errorf("%s: told %v, want %v and again, %d times in all", when, told, want, atLeast)
			}
			told = nil
		}
		expect("right after the start", 0)
		time.Sleep(2 * time.Minute)
		expect("a while after the first pass", 1, true)
		time.Sleep(5 * time.Minute)
		expect("minutes later, before the next look", 5, true)
		d.ask(t)
		expect("right after a check-in", 1, false)
		time.Sleep(2 * time.Minute)
		expect("a while after it", 1, true)
	})
}
