package command

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"prlagent/agent/protocol"
)

// slowUser is the executor of machines of one user, whose tools run one at a time and
// take their time, as on a Mac at its limit.
type slowUser struct {
	turn     chan struct{}
	overtime chan string // commands whose time was over before their turn
}

func (u slowUser) run(ctx context.Context, job *Job, turns int) error {
	for range turns {
		select {
		case u.turn <- struct{}{}:
		case <-ctx.Done():
			u.overtime <- job.Command.CommandID
			return ctx.Err()
		}
		time.Sleep(2 * time.Second)
		<-u.turn
	}
	return nil
}

func (u slowUser) Prepare(ctx context.Context, job *Job) (*Readiness, error) {
	return &Readiness{}, u.run(ctx, job, 5)
}
func (u slowUser) Act(ctx context.Context, job *Job) error { return u.run(ctx, job, 3) }
func (u slowUser) Verify(ctx context.Context, job *Job) (*Outcome, error) {
	return &Outcome{State: protocol.CommandSucceeded, Code: protocol.CodeCommandDone}, u.run(ctx, job, 4)
}

// A long queue on a slow Mac goes on: no command's time is over because of the others'.
// What hangs keeps its place for a while only, and nobody else's.
func TestH23_LongQueueOnASlowMac(t *testing.T) {
	const length = 60
	inBubble(t, func(b *bench) {
		slow := slowUser{make(chan struct{}, 1), make(chan string, 10*length)}
		b.mu.Lock()
		b.now.Trust.Limit = length
		b.mu.Unlock()
		b.runner.engine.executors["vm.delete"] = slow
		hung := make(chan struct{})
		var orders []protocol.Command
		want := map[string]string{}
		for n := range 2 * maxWorking { // half of them are another user's
			id := fmt.Sprintf("hung-%02d", n)
			b.holds[id] = hung
			order := commandOf(id, "vm.restart", id)
			if n%2 == 1 {
				order.Target.UID = bobUID
			}
			orders = append(orders, order)
			want[id] = "succeeded command_done"
		}
		for n := range length {
			id := fmt.Sprintf("delete-%02d", n)
			orders = append(orders, commandOf(id, "vm.delete", id))
			want[id] = "succeeded command_done"
		}
		for len(orders) > 0 {
			count := min(len(orders), protocol.MaxCommandReply)
			b.give(orders[:count]...)
			orders = orders[count:]
		}
		time.Sleep(leavesAfter + length*12*2*time.Second)
		select {
		case id := <-slow.overtime:
			b.t.Error(errors.New(id + ": its time was over before its turn"))
		default:
		}
		close(hung)
		time.Sleep(time.Second)
		b.want(want)
	})
}
