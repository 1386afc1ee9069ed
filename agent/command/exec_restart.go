package command

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
)

// Restart restarts guests (vm.restart).
//
// The tool's uptime is a total that survives restarts, and says nothing. A restart was
// seen if the machine's events told of a running state after the command was begun; or,
// where the guest hung and its machine was ended and started, if another process runs it
// than before. Everything else is outcome_unknown, and is not tried again (H26).
type Restart struct {
	Mac *Mac
	// RanAt is when the events of a machine told last that it is running, by this Mac's
	// clock; zero if they did not. What is to come by that clock, which was set back since,
	// it forgets.
	RanAt func(protocol.VMKey) time.Time
	// IsHeld reports whether a hold keeps the machine suspended: what is to be kept from
	// running is not started by ourselves.
	IsHeld func(protocol.VMKey) bool
}

// restartIntent is what is on record before a guest is restarted.
type restartIntent struct {
	Processes []vmRun `json:"processes"` // that run the machine
}

// isOtherIn reports whether one of the processes is not on record.
func (i *restartIntent) isOtherIn(processes []platform.Process) bool {
	for n := range processes {
		process, known := &processes[n], false
		for _, old := range i.Processes {
			known = known || old.PID == process.PID && old.Started.Equal(process.Started)
		}
		if !known {
			return true
		}
	}
	return false
}

// vmRun is one process, for good.
type vmRun struct {
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
}

func vmRuns(processes []platform.Process) (runs []vmRun) {
	for i := range processes {
		runs = append(runs, vmRun{processes[i].PID, processes[i].Started})
	}
	return runs
}

// Prepare only reads.
func (r *Restart) Prepare(ctx context.Context, job *Job) (*Readiness, error) {
	r.sawEvent(job) // an event with a time that is to come is forgotten before the command begins
	leave, err := r.Mac.takeLook(ctx, job)
	if err != nil {
		return nil, err
	}
	defer leave()
	return r.prepare(ctx, job)
}

func (r *Restart) prepare(ctx context.Context, job *Job) (*Readiness, error) {
	target := &job.Command.Target
	account, vm, ready, err := r.Mac.targetOf(ctx, target)
	if err != nil || ready != nil {
		return ready, err
	}
	ready, err = r.Mac.checkTarget(ctx, account, vm, target)
	if err != nil || ready != nil {
		return ready, err
	}
	if r.IsHeld(target.VM()) {
		return failedAtOnce(protocol.CodeRestartHeld, ""), nil
	}
	processes, err := r.Mac.vmProcesses(ctx, target.VMID)
	if err != nil {
		return nil, err
	}
	state := stateOf(vm)
	switch {
	case state == prlctl.StateRunning, state == prlctl.StateStopped && len(processes) > 0:
	case slices.Contains([]prlctl.State{prlctl.StateStopped, prlctl.StateSuspended, prlctl.StatePaused, prlctl.StateInvalid}, state):
		return failedAtOnce(protocol.CodeVMNotRunning, "It is "+string(state)+"."), nil
	default:
		return deferredAs(protocol.CodeVMBusy, "", r.Mac.Now().Add(deleteAgain)), nil
	}
	intent, err := json.Marshal(restartIntent{Processes: vmRuns(processes)})
	if err != nil {
		return nil, fmt.Errorf("make intent: %w", err)
	}
	return &Readiness{Intent: intent}, nil
}

// restartSeenIn is how long an event of a restart is waited for.
const restartSeenIn = 30 * time.Second

// Act asks the guest to restart. Where the tool says that this did not work, and only if
// that is signed, the machine is ended and started.
func (r *Restart) Act(ctx context.Context, job *Job) error {
	var params protocol.RestartParams
	if err := job.Command.DecodeParams(&params); err != nil {
		return err
	}
	account, err := r.Mac.account(ctx, job.Command.Target.UID)
	if err != nil || account == nil {
		return fmt.Errorf("find the owner: %w", err)
	}
	id := job.Command.Target.VMID
	err = r.unlessHeld(ctx, account, id, VMTool.Restart)
	for began := startTimer(); began.passed() < restartSeenIn && ctx.Err() == nil; began.paused += lookEvery {
		if r.sawEvent(job) {
			return err
		}
		r.Mac.Pause(ctx, lookEvery)
	}
	switch {
	case err == nil || !params.Force:
		return err
	case r.IsHeld(job.Command.Target.VM()):
		return newCodeError(protocol.CodeRestartHeld, "")
	}
	s := stopping{mac: r.Mac, account: account, id: id}
	if err := s.kill(ctx); err != nil {
		return err
	}
	return r.unlessHeld(ctx, account, id, VMTool.Start)
}

// unlessHeld runs a verb that has the machine run, unless it was locked since.
func (r *Restart) unlessHeld(ctx context.Context, account *Account, id string, verb func(VMTool, context.Context, string) error) error {
	return r.Mac.inLane(ctx, account, func(tool VMTool) error {
		if r.IsHeld(protocol.VMKey{ID: id, UID: account.User.UID}) {
			return newCodeError(protocol.CodeRestartHeld, "")
		}
		return verb(tool, ctx, id)
	})
}

func (r *Restart) sawEvent(job *Job) bool {
	return r.RanAt != nil && r.RanAt(job.Command.Target.VM()).After(job.BegunAt)
}

// Verify only reads. Its error is that nothing was seen yet.
func (r *Restart) Verify(ctx context.Context, job *Job) (*Outcome, error) {
	if r.sawEvent(job) && !job.BegunAt.IsZero() {
		return restarted("event"), nil
	}
	var intent restartIntent
	if len(job.Intent) == 0 || json.Unmarshal(job.Intent, &intent) != nil {
		return failedAs(protocol.CodeOutcomeUnknown, ""), nil
	}
	processes, err := r.Mac.vmProcesses(ctx, job.Command.Target.VMID)
	if err != nil {
		return nil, err
	}
	// Another process of an account with a machine of the same id would be on record.
	if intent.isOtherIn(processes) && len(processes) <= max(len(intent.Processes), 1) {
		return restarted("process"), nil
	}
	return nil, newCodeError(protocol.CodeOutcomeUnknown, "No start was seen.")
}

func restarted(how string) *Outcome {
	return &Outcome{State: protocol.CommandSucceeded, Code: protocol.CodeGuestRestarted, Observed: map[string]string{"seen": how}}
}

// targetOf finds a command's machine in its owner's list; ready is nil if it did.
func (m *Mac) targetOf(ctx context.Context, target *protocol.CommandTarget) (account *Account, vm *prlctl.VM, ready *Readiness, err error) {
	if account, err = m.account(ctx, target.UID); err != nil {
		return nil, nil, nil, err
	}
	if account == nil {
		return nil, nil, rejectedAs(protocol.CodeTargetOwner, "This Mac has no account with uid "+strconv.FormatUint(uint64(target.UID), 10)+"."), nil
	}
	vm, err = m.get(ctx, account, target.VMID)
	switch {
	case protocol.CodeOf(err) == protocol.CodeVMNotFound:
		return account, vm, failedAtOnce(protocol.CodeVMNotFound, ""), nil
	case err != nil:
		return account, vm, deferredAs(protocol.CodeTargetUnlisted, string(protocol.CodeOf(err)), time.Time{}), nil
	case vm.ID != target.VMID: // the tool takes an id in other letters, and nobody else does
		return account, vm, rejectedAs(protocol.CodeCommandInvalid, "Its id is not written as the Mac reports it."), nil
	}
	return account, vm, nil, nil
}

// isRenamed reports whether a machine is called another name than the one that was
// signed, of which a report holds no more than a part.
func isRenamed(vm *prlctl.VM, target *protocol.CommandTarget) bool {
	cut := func(name string) string { return protocol.CutText(name, protocol.MaxName) }
	return target.VMName != "" && cut(vm.Name) != cut(target.VMName)
}

// checkTarget holds a machine against what was signed (H20, H21); nil if it is that.
func (m *Mac) checkTarget(ctx context.Context, account *Account, vm *prlctl.VM, target *protocol.CommandTarget) (*Readiness, error) {
	if isRenamed(vm, target) {
		return deferredAs(protocol.CodeTargetChanged, "It has another name.", time.Time{}), nil
	}
	bundle := vm.Bundle()
	if bundle == "" || target.Bundle == (protocol.Bundle{}) {
		return nil, nil
	}
	answers, err := m.lookAtFiles(ctx, &account.User, []platform.FileQuestion{{Path: bundle}})
	if err == nil && (answers[0].Err != nil || bundleIdentity(&answers[0]).IsOther(target.Bundle)) {
		return deferredAs(protocol.CodeTargetChanged, "Its bundle is another one.", time.Time{}), nil
	}
	return nil, err
}
