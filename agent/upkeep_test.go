package agent

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The program is told once that nothing goes on, and again when something does: it then
// gives memory back, and takes some.
func TestIdleAndBusyAreToldOnceEach(t *testing.T) {
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
		expect := func(when string, want ...bool) {
			t.Helper()
			synctest.Wait()
			mutex.Lock()
			defer mutex.Unlock()
			if !slices.Equal(told, want) {
				t.Errorf("%s: told %v, want %v", when, told, want)
			}
		}
		expect("right after the start")
		time.Sleep(2 * time.Minute)
		expect("a while after the first pass", true)
		time.Sleep(5 * time.Minute)
		expect("minutes later, before the next look", true)
		d.ask(t)
		expect("right after a check-in", true, false)
		time.Sleep(2 * time.Minute)
		expect("a while after it", true, false, true)
	})
}
