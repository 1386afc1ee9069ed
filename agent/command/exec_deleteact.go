package command

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
)

// Limits of an act.
const (
	// filesGoneIn is how long the files of a machine are waited for that the tool says it
	// has deleted: what becomes visible follows its calls by some moments (facts/prlctl.md
	// 8, 9).
	filesGoneIn = 30 * time.Second
	liftFor     = 10 * time.Minute
)

// Act stops the machine, if it may not be waited for, and has it deleted by its owner's
// tool. Everything that lies in its bundle is held meanwhile, so that it is seen
// afterwards whether it is gone, wherever somebody has put it.
func (d *Deletion) Act(ctx context.Context, job *Job) error {
	var intent deleteIntent
	if err := json.Unmarshal(job.Intent, &intent); err != nil {
		return errNoIntent
	}
	account, err := d.options.Mac.account(ctx, job.Command.Target.UID)
	if err != nil || account == nil {
		return fmt.Errorf("find the owner: %w", err)
	}
	a := &deletion{Deletion: d, mac: d.options.Mac, account: account, id: job.Command.Target.VMID, intent: &intent, act: &deleteAct{}}
	d.remember(job.Command.CommandID, a.act)
	err = a.run(ctx)
	if a.held != nil {
		a.judgeFiles(&a.act.files)
		a.held.Close()
	}
	return err
}

func (d *Deletion) remember(commandID string, act *deleteAct) {
	d.mu.Lock()
	d.acts[commandID] = act
	d.mu.Unlock()
}

// Forget forgets what was seen by acts of a command that has ended.
func (d *Deletion) Forget(commandID string) {
	d.mu.Lock()
	delete(d.acts, commandID)
	d.mu.Unlock()
}

func (d *Deletion) actOf(commandID string) *deleteAct {
	d.mu.Lock()
	act := d.acts[commandID]
	d.mu.Unlock()
	return act
}

// deletion is one Act.
type deletion struct {
	*Deletion
	mac     *Mac
	account *Account
	id      string
	intent  *deleteIntent
	act     *deleteAct
	held    *platform.Held
}

func (a *deletion) run(ctx context.Context) (err error) {
	if a.held, err = a.hold(ctx, a.account, a.intent); err != nil {
		return err
	}
	keys := fileKeys(a.held)
	for _, key := range a.intent.Files {
		if !slices.Contains(keys, key) && !a.intent.Force && !a.intent.Held {
			return newCodeError(protocol.CodeTargetChanged, "A file of its bundle was taken away.")
		}
	}
	if err := a.stop(ctx); err != nil {
		return err
	}
	again, err := a.hold(ctx, a.account, a.intent) // what the stop has left, and made
	if err != nil {
		return err
	}
	a.held.Merge(again)
	return a.remove(ctx)
}

// stop stops the machine, if that is signed, and else makes sure that it is stopped.
func (a *deletion) stop(ctx context.Context) error {
	s := stopping{mac: a.mac, account: a.account, id: a.id}
	state, err := s.state(ctx)
	switch {
	case err != nil:
		return err
	case state == prlctl.StateStopped:
		return nil
	case a.intent.Held:
		return a.drop(ctx, &s)
	case !a.intent.Force:
		return newCodeError(protocol.CodeWaitsForStop, "")
	}
	if state == prlctl.StateRunning {
		a.mac.tell(ctx, a.account, deleteText)
	}
	return s.run(ctx)
}

// drop drops what a held machine has in its memory, as long as it is held: once it was let
// go of, its user may go on with it, and is waited for.
func (a *deletion) drop(ctx context.Context, s *stopping) error {
	return s.wait(ctx, settleIn, func(state prlctl.State, _ time.Duration) error {
		switch {
		case !a.isKept(protocol.VMKey{ID: a.id, UID: a.account.User.UID}):
			return newCodeError(protocol.CodeWaitsForStop, "")
		case state == prlctl.StateSuspended:
			s.do(ctx, VMTool.DropState)
		}
		return nil
	})
}

// remove has the tool delete the machine, and waits until that is to be seen. If the
// host asks for an administrator before anybody removes a machine, that is lifted
// meanwhile (SEC-10).
func (a *deletion) remove(ctx context.Context) error {
	restore, err := a.lift(ctx)
	if err != nil {
		a.act.said = protocol.CodeOf(err)
		return err
	}
	err = a.mac.inLane(ctx, a.account, func(tool VMTool) error { return tool.Delete(ctx, a.id) })
	if restored := restore(context.WithoutCancel(ctx)); restored != nil {
		a.mac.Log.Error().Err(restored).Msg("what was lifted for a deletion is put back at the next look")
	}
	a.act.said = protocol.CodeOf(err)
	for began := startTimer(); began.passed() < filesGoneIn && ctx.Err() == nil; began.paused += lookEvery {
		if left, lookError := a.held.Left(ctx); lookError != nil || len(left) == 0 || err != nil && began.paused > 0 {
			break
		}
		a.mac.Pause(ctx, lookEvery)
	}
	return err
}

func (a *deletion) lift(ctx context.Context) (restore func(context.Context) error, err error) {
	none := func(context.Context) error { return nil }
	if a.options.Lift == nil || a.options.RemovalAsksPassword == nil {
		return none, nil
	}
	before := a.countLifts(0, 0)
	asks, err := a.options.RemovalAsksPassword(ctx, a.account)
	// What another deletion has lifted meanwhile does not ask now, and will once that is over.
	isLifted := before.live > 0 || a.countLifts(0, 0) != before
	if !isLifted && (err != nil || !asks) {
		return none, nil // the tool says what it thinks of that
	}
	a.countLifts(1, 1)
	putBack, err := a.options.Lift(ctx, a.mac.Now().Add(liftFor))
	if err != nil {
		a.countLifts(-1, 0)
		return none, fmt.Errorf("lift the control of removals: %w", err)
	}
	return func(ctx context.Context) error {
		defer a.countLifts(-1, 0)
		return putBack(ctx)
	}, nil
}

// lifts are the deletions for which what keeps machines from being removed is lifted.
type lifts struct {
	live  int // now
	total int // since the start
}

func (d *Deletion) countLifts(live, total int) lifts {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lifts.live, d.lifts.total = d.lifts.live+live, d.lifts.total+total
	return d.lifts
}

// judgeFiles says what became of what is held, before it is let go of.
func (a *deletion) judgeFiles(verdict *fileVerdict) {
	verdict.whole = a.held.Whole
	left, err := a.held.Left(context.Background())
	if verdict.err = err; err != nil {
		return
	}
	verdict.known, verdict.left = true, len(left)
	for i := range left {
		if !left[i].Folder {
			verdict.keys = append(verdict.keys, fileKey(&left[i]))
		}
	}
	held := fileKeys(a.held)
	for _, key := range a.intent.Files { // gone before it was held
		verdict.whole = verdict.whole && slices.Contains(held, key)
	}
}
