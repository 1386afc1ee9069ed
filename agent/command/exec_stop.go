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
	asked, graceLeft := false, graceToStop
	for left := settleIn + graceToStop; left > 0 && ctx.Err() == nil; left -= lookEvery {
		state, err := s.state(ctx)
		switch {
		case err != nil:
			return err
		case state == prlctl.StateStopped:
			return nil
		case state == prlctl.StateSuspended:
			s.do(ctx, VMTool.DropState)
		case state == prlctl.StatePaused, state == prlctl.StateRunning && graceLeft <= 0:
			s.do(ctx, VMTool.Kill)
		case state == prlctl.StateRunning && !asked:
			asked = true
			graceLeft -= s.askToStop(ctx)
		case state == prlctl.StateRunning:
			graceLeft -= lookEvery
		}
		s.mac.Pause(ctx, lookEvery)
	}
	return &codeError{code: protocol.CodeVMBusy, text: "It does not stop."}
}

// kill ends the machine, and waits until it is stopped.
func (s *stopping) kill(ctx context.Context) error {
	s.do(ctx, VMTool.Kill)
	for left := settleIn; left > 0 && ctx.Err() == nil; left -= lookEvery {
		if state, err := s.state(ctx); err != nil || state == prlctl.StateStopped {
			return err
		}
		s.mac.Pause(ctx, lookEvery)
	}
	return &codeError{code: protocol.CodeVMBusy, text: "It does not stop."}
}

// askToStop asks the guest to shut down, and gives how long that took.
func (s *stopping) askToStop(ctx context.Context) time.Duration {
	began := s.mac.Now()
	limited, cancel := context.WithTimeout(ctx, graceToStop)
	defer cancel()
	s.do(limited, VMTool.Stop)
	return max(s.mac.Now().Sub(began), 0)
}

// do runs one verb; the state that is read next says what became of it.
func (s *stopping) do(ctx context.Context, verb func(VMTool, context.Context, string) error) {
	err := s.mac.inLane(ctx, s.account, func(tool VMTool) error { return verb(tool, ctx, s.id) })
	if err != nil {
		s.mac.Log.Debug().Err(err).Str("vm", s.id).Msg("stop a machine")
	}
}
