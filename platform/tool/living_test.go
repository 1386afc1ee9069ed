package tool

import (
	"context"
	"sync"
	"testing"
	"time"
)

// lifeLog notes what lives.
type lifeLog struct {
	mu     sync.Mutex
	living map[int]bool
	began  chan int
}

func (l *lifeLog) Began(pid int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.living[pid] = true
	l.began <- pid
}

func (l *lifeLog) Ended(pid int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.living, pid)
}

func (l *lifeLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.living)
}

// Whatever runs is told of while it lives, and is gone after KillAll, in both
// ways to start it.
func TestNothingOutlivesTheDaemon(t *testing.T) {
	t.Parallel()
	for name, run := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &lifeLog{living: make(map[int]bool), began: make(chan int, 8)}
			runner := &Runner{Children: log, Grace: time.Minute} // nothing but KillAll ends it in time
			if _, err := run(runner, t.Context(), &Command{Path: testBinary(t), Args: []string{"say"}}); err != nil || log.count() != 0 {
				t.Errorf("one that ended: %v, %d live", err, log.count())
			}
			<-log.began
			ended := make(chan error, 2)
			for range 2 {
				go func() {
					_, err := run(runner, context.Background(), &Command{Path: testBinary(t), Args: []string{"sleep"}})
					ended <- err
				}()
				<-log.began
			}
			if log.count() != 2 {
				t.Errorf("%d live, want 2", log.count())
			}
			for log.count() > 0 { // onBegan tells before it can be killed
				runner.KillAll()
				select {
				case err := <-ended:
					requireCode(t, err, CodeFailed)
				case <-time.After(10 * time.Second):
					t.Fatal("it outlives KillAll")
				}
			}
			runner.KillAll() // nobody
		})
	}
}
