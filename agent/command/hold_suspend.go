package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// suspension is the work on one machine that runs, or may run. It runs tools, each with
// a limit, in a goroutine of its own. Whether the machine is still to be held is asked
// before each thing that is done to it: a list, a release or the end of its time can come
// meanwhile.
type suspension struct {
	holds     *Holds
	key       protocol.VMKey
	isSeen    bool          // a process runs the machine for sure
	wasPaused bool          // because it could not be suspended
	running   []holdProcess // that run it for sure
	doubted   []doubtedProcess
	others    []uint32 // who share it, and may run it
	wall      time.Time
}

// Limits of one piece of work.
const (
	holdLookLimit    = 3 * time.Second  // for the state of one machine
	holdAccountLimit = 3 * time.Second  // for whose it is
	holdPatience     = 30 * time.Second // for a machine that is asked to suspend to begin with it
	holdSettle       = 10 * time.Second // for a state to follow on a call
)

// run finds out whether the machine runs, and suspends it if it does.
func (w *suspension) run(ctx context.Context) {
	h := w.holds
	account, err := h.account(ctx, w.key.UID)
	if err != nil || account == nil {
		h.failed(w.key, reasonOr(protocol.CodeOf(err), protocol.CodeTargetUnlisted))
		return
	}
	if runs, as := w.runs(ctx, account); runs {
		h.asked(w.key)
		h.notify(ctx, w.key, as)
		w.suspend(ctx, as)
	}
}

// runs reports whether the machine runs, and for whom. One with a process of its owner's
// does: it is asked to suspend before anything else is asked, unless it was paused.
func (w *suspension) runs(ctx context.Context, owner *Account) (bool, *Account) {
	h := w.holds
	if w.isSeen && !w.wasPaused {
		return true, owner
	}
	state, err := w.state(ctx, owner)
	switch {
	case err != nil && protocol.CodeOf(err) == protocol.CodeVMNotFound && !w.isSeen:
	case err != nil:
		h.failed(w.key, protocol.CodeOf(err))
		return false, owner
	case state == prlctl.StatePaused:
		return h.maySuspendPaused(w.key), owner
	case !isAtRest(state):
		h.noteSeenRunning(w.key, state, w.wall)
		return true, owner
	case w.isSeen:
		return true, owner // the tool is wrong, or its process is about to end
	}
	for _, uid := range w.others {
		other, err := h.account(ctx, uid)
		if err != nil || other == nil {
			continue
		}
		if state, err := w.state(ctx, other); err == nil && !isAtRest(state) && state != prlctl.StatePaused {
			h.noteSeenRunning(w.key, state, w.wall)
			return true, other
		}
	}
	h.clear(w.key, w.doubted)
	return false, owner
}

func isAtRest(state prlctl.State) bool {
	return slices.Contains([]prlctl.State{prlctl.StateSuspended, prlctl.StateStopped, prlctl.StateInvalid, "compacting", "mounted"}, state)
}

func (w *suspension) state(ctx context.Context, account *Account) (prlctl.State, error) {
	ctx, cancel := context.WithTimeout(ctx, holdLookLimit)
	defer cancel()
	vm, err := w.tool(account).Get(ctx, w.key.ID)
	if err != nil && ctx.Err() != nil {
		err = newCodeError(protocol.CodeToolTimeout, "")
	}
	return stateOf(&vm), err
}

func (w *suspension) tool(account *Account) HoldTool {
	return w.holds.options.Tool(account)
}

// Why a call is not waited for any more, beside its own error.
var (
	errStartedAgain = errors.New("it was suspended, and runs anew")
	errNotHeld      = errors.New("it is not held any more")
)

// holdCall is a call that is to end a machine's running.
type holdCall struct {
	verb     func(HoldTool, context.Context, string) error
	limit    time.Duration  // for the call
	patience time.Duration  // for a machine that shows nothing of what was asked
	ending   []prlctl.State // in which it is on its way
}

// A machine that is stopping is not being suspended: a guest that is asked to shut down
// can be used until it does, and may never.
var (
	suspendCall = holdCall{HoldTool.Suspend, prlctl.SuspendLimit + holdSettle, holdPatience, []prlctl.State{"suspending", "syncing"}}
	killCall    = holdCall{HoldTool.Kill, prlctl.KillLimit, prlctl.KillLimit, []prlctl.State{"stopping"}}
)

// suspend asks the machine to suspend, and looks until it has.
func (w *suspension) suspend(ctx context.Context, account *Account) {
	state, err := w.call(ctx, account, &suspendCall)
	if err == nil {
		w.holds.rested(w.key, w.running, false)
		return
	}
	if !w.isOver(ctx, err) {
		w.restrain(ctx, account, state, err)
	}
}

// isOver reports whether there is nothing more to do after a call that has failed.
func (w *suspension) isOver(ctx context.Context, err error) bool {
	switch {
	case ctx.Err() != nil, errors.Is(err, errNotHeld):
		return true
	case errors.Is(err, errStartedAgain):
		w.holds.startedAgain(w.key, w.wall)
		return true
	}
	return false
}

// restrain pauses a machine that cannot be suspended, for the reason why, so that it is
// at least not used meanwhile. Where force is signed, one that cannot be paused either is
// ended, and one that still cannot be suspended after it was paused.
func (w *suspension) restrain(ctx context.Context, account *Account, state prlctl.State, why error) {
	h := w.holds
	if isHeld, _ := h.wants(w.key); isHeld && state != prlctl.StatePaused {
		pausing, stop := context.WithTimeout(ctx, holdSettle)
		_ = w.tool(account).Pause(pausing, w.key.ID)
		stop()
		state, _ = w.state(ctx, account)
	}
	isPaused := state == prlctl.StatePaused
	isHeld, isForced := h.wants(w.key)
	switch {
	case !isHeld || ctx.Err() != nil:
	case isForced && (w.wasPaused || !isPaused):
		w.kill(ctx, account, why)
	default:
		h.unenforced(w.key, reasonOr(protocol.CodeOf(why), protocol.CodeNotVerified), isPaused)
	}
}

// kill ends the machine; why is why it could not be suspended.
func (w *suspension) kill(ctx context.Context, account *Account, why error) {
	_, err := w.call(ctx, account, &killCall)
	switch {
	case err == nil:
		w.holds.rested(w.key, w.running, true)
	case !w.isOver(ctx, err):
		w.holds.unenforced(w.key, reasonOr(protocol.CodeOf(err), protocol.CodeOf(why)), false)
	}
}

// call makes a call and looks until the machine does not run any more, which is no error;
// or until that is not to be expected, with the reason, which is the call's own if it has
// one. A call that hangs is not waited for.
func (w *suspension) call(ctx context.Context, account *Account, call *holdCall) (prlctl.State, error) {
	if isHeld, _ := w.holds.wants(w.key); !isHeld {
		return "", errNotHeld
	}
	limited, cancel := context.WithTimeout(ctx, call.limit)
	defer cancel()
	ended := make(chan error, 1)
	w.holds.running.Go(func() { ended <- call.verb(w.tool(account), limited, w.key.ID) })
	waiting := callWait{ending: call.ending, began: time.Now(), left: call.patience}
	for {
		pause := time.NewTimer(lookEvery)
		select {
		case said := <-ended:
			ended = nil
			waiting.returned(said)
		case <-pause.C:
		case <-ctx.Done():
		}
		pause.Stop()
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if isHeld, _ := w.holds.wants(w.key); !isHeld {
			return "", errNotHeld
		}
		state, err := w.state(ctx, account)
		if over, why := w.judge(ctx, &waiting, state, err); over {
			return state, why
		}
	}
}

// callWait is how it stands with a call.
type callWait struct {
	ending    []prlctl.State
	began     time.Time
	left      time.Duration // of the whole, since it began
	said      error
	isBack    bool // it has returned
	wasEnding bool // the machine was on its way
}

func (c *callWait) returned(said error) {
	c.said, c.isBack = said, true
	c.left = time.Since(c.began) + holdSettle // the state may follow the call
	if said != nil {
		c.left = 0
	}
}

// judge says whether the wait for a machine is over, by its state.
func (w *suspension) judge(ctx context.Context, c *callWait, state prlctl.State, err error) (over bool, why error) {
	switch {
	case err != nil:
		w.holds.doubts(w.key, protocol.CodeOf(err))
	case isAtRest(state) && w.hasEnded(ctx):
		return true, nil
	case slices.Contains(c.ending, state) && time.Since(c.began) < prlctl.SuspendLimit:
		c.wasEnding = true
		w.holds.confirmed(w.key)
		return false, nil
	case w.isSeen && w.hasOther() || c.wasEnding && c.isBack && c.said == nil && !isAtRest(state):
		return true, errStartedAgain
	}
	if time.Since(c.began) < c.left {
		return false, nil
	}
	return true, w.reason(c.said, err, state)
}

// reason is why a machine does not do as it is asked.
func (w *suspension) reason(said, err error, state prlctl.State) error {
	switch {
	case said != nil:
		w.holds.options.Log.Warn().Err(said).Str("vm", w.key.String()).Msg("hold a machine")
		return said
	case err != nil:
		return err
	}
	return newCodeError(protocol.CodeNotVerified, fmt.Sprintf("It is %s.", state))
}

// hasOther reports whether the machine runs anew, in another process.
func (w *suspension) hasOther() (has bool) {
	w.holds.of(w.key, func(one *hold) { has = one.hasOther(w.running) })
	return has
}

// hasEnded reports whether no process of its owner's runs the machine any more.
func (w *suspension) hasEnded(ctx context.Context) bool {
	if !w.isSeen {
		return true
	}
	processes, err := w.holds.options.Directory.Processes(ctx)
	if err != nil {
		return false
	}
	for _, process := range thatRunVMs(processes) {
		if w.holds.isOwn(w.key, process) {
			return false
		}
	}
	return true
}

// account finds an account, as the Mac says now, or as it said last where it does not
// answer.
func (h *Holds) account(ctx context.Context, uid uint32) (*Account, error) {
	ctx, cancel := context.WithTimeout(ctx, holdAccountLimit)
	defer cancel()
	found, err := accountOf(ctx, h.options.Directory, uid)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil && found != nil {
		h.accounts[uid] = found
		return found, nil
	}
	if known := h.accounts[uid]; known != nil && err != nil {
		return known, nil
	}
	return nil, err
}
