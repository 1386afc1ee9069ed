package command

import (
	"context"
	"time"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// Limits of bringing a machine to a stop.
const (
	graceToStop = time.Minute     // of a guest that is told to shut down
	settleIn    = 2 * time.Minute // of a machine that is between two states
)

// waitTimer is for how long something is waited for, whatever is done to the Mac's clock:
// between two looks there is a pause, and a look itself can take longer than that.
type waitTimer struct {
	began  time.Time // with its monotonic reading
	paused time.Duration
}

func startTimer() *waitTimer { return &waitTimer{began: time.Now()} }

func (t *waitTimer) passed() time.Duration { return max(t.paused, time.Since(t.began)) }

// stopping brings a machine to a stop, by force in the end.
type stopping struct {
	mac     *Mac
	account *Account
	id      string
}

// state is the machine's state. One that looks stopped and has a process runs: from
// outside of a session the tool is known to say so (facts/prlctl.md 5.4).
func (s *stopping) state(ctx context.Context) (prlctl.State, error) {
	vm, err := s.mac.get(ctx, s.account, s.id)
	if err != nil {
		return "", err
	}
	state := stateOf(vm)
	if state != prlctl.StateStopped {
		return state, nil
	}
	processes, err := s.mac.vmProcesses(ctx, s.id)
	if err != nil {
		return "", err
	}
	if len(processes) > 0 {
		return prlctl.StateRunning, nil
	}
	return state, nil
}

// run gives a running guest a minute to shut down, ends it then, and drops what a
// suspended one has in its memory.
func (s *stopping) run(ctx context.Context) error {
	graceEnds := time.Duration(0)
	return s.wait(ctx, settleIn+graceToStop, func(state prlctl.State, passed time.Duration) error {
		switch {
		case state == prlctl.StateSuspended:
			s.do(ctx, VMTool.DropState)
		case state == prlctl.StateRunning && graceEnds == 0:
			graceEnds = passed + graceToStop
			s.askToStop(ctx)
		case state == prlctl.StatePaused, state == prlctl.StateRunning && passed >= graceEnds:
			s.do(ctx, VMTool.Kill)
		}
		return nil
	})
}

// kill ends the machine, and waits until it is stopped.
func (s *stopping) kill(ctx context.Context) error {
	s.do(ctx, VMTool.Kill)
	return s.wait(ctx, settleIn, func(prlctl.State, time.Duration) error { return nil })
}

// wait looks at the machine until it is stopped, and has done meanwhile what its state
// calls for. An error of that ends it.
func (s *stopping) wait(ctx context.Context, limit time.Duration, act func(state prlctl.State, passed time.Duration) error) error {
	for began := startTimer(); began.passed() < limit && ctx.Err() == nil; began.paused += lookEvery {
		state, err := s.state(ctx)
		if err != nil || state == prlctl.StateStopped {
			return err
		}
		if err := act(state, began.passed()); err != nil {
			return err
		}
		s.mac.Pause(ctx, lookEvery)
	}
	return newCodeError(protocol.CodeVMBusy, "It does not stop.")
}

// askToStop asks the guest to shut down.
func (s *stopping) askToStop(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, graceToStop)
	defer cancel()
	s.do(limited, VMTool.Stop)
}

// do runs one verb; the state that is read next says what became of it.
func (s *stopping) do(ctx context.Context, verb func(VMTool, context.Context, string) error) {
	err := s.mac.inLane(ctx, s.account, func(tool VMTool) error { return verb(tool, ctx, s.id) })
	if err != nil {
		s.mac.Log.Debug().Err(err).Str("vm", s.id).Msg("stop a machine")
	}
}
