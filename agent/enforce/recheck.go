package enforce

import (
	"cmp"
	"context"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// freshFor is how long what was seen of a machine is taken to be so.
const freshFor = time.Second

// sight is a machine as it was seen while steps were carried out.
type sight struct {
	vm *prlctl.VM
	at time.Time
}

// isStillDue reports whether a step that was planned is to be carried out now. It
// is not if something else is wanted since, or if its machine is in a state in
// which it could not be planned: then it is deferred. That costs a look only where
// the step needs the machine shut down, or unused, and none was made just now.
func (a *application) isStillDue(ctx context.Context, step *policy.Step) bool {
	code, superseded := a.enforcer.whyNotNow(a, step)
	if superseded {
		return false
	}
	if code == "" && step.IfRunning != "" {
		machine := a.planned.Machines[step.VM]
		if seen := a.seen[step.VM]; seen == nil || time.Since(seen.at) > freshFor {
			if _, err := a.get(ctx, machine); err != nil {
				if ctx.Err() == nil {
					a.conclude(step, policy.Outcome{Code: protocol.CodeOf(err)}, err)
				}
				return false
			}
		}
		facts := machine.Facts // as planned, but for what was seen now
		facts.VM = *a.seen[step.VM].vm
		code = step.WhyNot(&facts)
	}
	if code != "" {
		a.deferStep(step, code)
	}
	return code == ""
}

// whyNotNow is why a step is not to be carried out by the newest plan: its look
// saw the machine in another state, or something else is wanted.
func (e *Enforcer) whyNotNow(a *application, step *policy.Step) (code protocol.Code, superseded bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.isSuperseded(a.planned):
		return "", true
	case a.planned.byHand, e.planned == a.planned:
		return "", false
	}
	machine := e.planned.Machines[step.VM]
	if machine == nil {
		return "", true // it is not there any more
	}
	return step.WhyNot(&machine.Facts), false
}

// isVoid reports whether something else is wanted since a plan was made.
func (e *Enforcer) isVoid(planned *Planned) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.isSuperseded(planned)
}

// isSuperseded is isVoid for a caller that holds the lock. What a person does by hand is
// planned just before, and by itself.
func (e *Enforcer) isSuperseded(planned *Planned) bool {
	newest := e.planned
	switch {
	case planned.byHand:
		return false
	case newest == nil, e.parsed.document != planned.Document:
		return true
	}
	return newest.Document != planned.Document || newest.Enforce != planned.Enforce || planned.Enforce && e.isEnded()
}

// isOutdated reports whether something was carried out for an account, or for the
// host, since a plan was made, which does not know of it then.
func (e *Enforcer) isOutdated(planned *Planned, uid uint32) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.endedAt[uid] > planned.mark
}

// takeRetry reports whether somebody asked to try again what failed of a machine, an
// account or the host. What is at work is not planned for: for that it is kept for the
// plan behind that work, and so it is where the plan is void. The caller holds the lock.
func (e *Enforcer) takeRetry(planned *Planned, key protocol.VMKey, isAsked, isAtWork bool) bool {
	isAsked = isAsked || e.retries[key]
	delete(e.retries, key)
	switch {
	case isAsked && isAtWork:
		e.retries[key] = true
	case isAsked:
		planned.retries = append(planned.retries, key)
	}
	return isAsked
}

// keepRetries keeps what a plan was to try again for the machines of an account, for its
// preferences, or for the host, for the next one.
func (e *Enforcer) keepRetries(planned *Planned, uid uint32, ofPreferences bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, key := range planned.retries {
		if key.UID == uid && isAccount(key) == ofPreferences {
			e.retries[key] = true
		}
	}
}

// noteEnd notes that looks and plans from now on know what was done for an account, or
// for the host.
func (e *Enforcer) noteEnd(uid uint32) {
	e.mu.Lock()
	e.ends++
	e.endedAt[uid] = e.ends
	e.mu.Unlock()
}

// deferStep tells and keeps that a step waits for its machine. The next plan, for
// which there is a look once the account's steps have ended, goes on from there.
func (a *application) deferStep(step *policy.Step, code protocol.Code) {
	e := a.enforcer
	err := a.changeMemory(step, false, func(m policy.VMMemory) policy.VMMemory { return m.Defer(step, code, e.now()) })
	if err != nil {
		e.options.Log.Error().Err(err).Msg("keep that a setting waits") // the next plan finds it again
	}
	if a.hand != nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	memory := e.memory[step.VM].Setting(step.Setting)
	for i, verdict := range e.verdicts[step.VM] {
		if verdict.Setting == step.Setting {
			waits := *verdict // who has taken a View may still read the other
			waits.Verdict, waits.Code, waits.Since = memory.Verdict, memory.Code, memory.Since
			waits.Wait = &policy.Wait{Since: cmp.Or(memory.WaitingSince, memory.Since)}
			e.verdicts[step.VM][i] = &waits
		}
	}
}
