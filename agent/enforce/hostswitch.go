package enforce

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// HostTool is prlsrvctl for the Mac as a whole.
type HostTool interface {
	ServerInfo(ctx context.Context) (prlctl.ServerInfo, error)
	// SetHost runs one `prlsrvctl set`; what it says is a hint.
	SetHost(ctx context.Context, args ...string) error
}

// hostUID stands for the Mac in what goes on one at a time for each account. No
// account of a person has it.
const hostUID = 0

// hostKey stands for the Mac among the keys of machines and accounts.
var hostKey = policy.AccountKey(hostUID)

// turn is a lock that a test's bubble can wait for.
type turn chan struct{}

// Lock waits for the turn.
func (t turn) Lock() { t <- struct{}{} }

// Unlock gives it to the next one.
func (t turn) Unlock() { <-t }

// errNoHostOwner is that no account is there as which the host could be asked: the
// vendor's tools never run as root (H13).
var errNoHostOwner = &prlctl.Error{Code: string(protocol.CodeUserSession)}

const (
	// hostInfoLasts is how long what the host shows need not be read again, while
	// nobody asks for it.
	hostInfoLasts = 5 * time.Minute
	// hostInfoFresh is how long a switch may be set by what the host showed.
	hostInfoFresh = 5 * time.Second
	// hostAttempts is how often a switch is set in one go: another writer of the same
	// list may have made ours undone (facts/acting.md 1).
	hostAttempts = 3
)

// shownHost is what the host showed last.
type shownHost struct {
	info *prlctl.ServerInfo // nil: it could not be read
	code protocol.Code      // why not
	at   time.Time          // zero: it was never asked
}

// LookAtHost reads what the host shows of its switches, if a plan for the
// situation has to know that, and it was not read a short time ago.
func (e *Enforcer) LookAtHost(ctx context.Context, s *Situation) {
	e.mu.Lock()
	e.parse(&s.Content)
	e.noteHostOwner(s)
	desired := e.desired(s)
	needs := desired.NeedsHost(e.controls) && e.options.Host != nil && s.Closed == ""
	isKnown := e.shown.info != nil && e.now().Sub(e.shown.at).Abs() < hostInfoLasts && !s.Host.RetryNow &&
		(e.controls.LateUntil(e.shown.at).IsZero() || e.tasks.Pending(hostUID)) // what is at work looks by itself
	e.mu.Unlock()
	if !needs || isKnown {
		return
	}
	e.hostTurn.Lock()
	defer e.hostTurn.Unlock()
	_, _ = e.readHost(ctx) // the plan says what it means
}

// noteHostOwner takes over as which account the host's switches are read and set; while
// nobody is there it stays who it was. The caller holds the lock.
func (e *Enforcer) noteHostOwner(s *Situation) {
	if s.HostOwner != nil {
		e.hostOwner = *s.HostOwner
	}
}

// readHost reads what the host shows, and remembers it. The caller has the host's
// turn.
func (e *Enforcer) readHost(ctx context.Context) (*prlctl.ServerInfo, error) {
	var info prlctl.ServerInfo
	err := e.runHost(ctx, func(host HostTool) (err error) {
		info, err = host.ServerInfo(ctx)
		return err
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		e.options.Log.Warn().Err(err).Msg("read the host's switches")
		e.shown = shownHost{code: protocol.CodeOf(err), at: e.now()}
		return nil, err
	}
	e.shown = shownHost{info: &info, at: e.now()}
	return &info, nil
}

// runHost makes one run of prlsrvctl, in the lane of the account that it is made as.
func (e *Enforcer) runHost(ctx context.Context, run func(HostTool) error) error {
	e.mu.Lock()
	owner := e.hostOwner
	e.mu.Unlock()
	if owner.User.UID == 0 {
		return errNoHostOwner
	}
	return e.options.Lanes.Run(ctx, owner.User.UID, hangsAfter, func() error {
		return run(e.options.Host(owner.User, owner.Session))
	})
}

// setHost sets a switch of the host until a look shows it, at most a few times: one
// after which nothing was wrong, and that does not show, was lost to another writer
// of the list. The caller has the host's turn.
func (e *Enforcer) setHost(ctx context.Context, name, word string) (proven bool, said error) {
	s := policy.FindHostSwitch(name)
	for range hostAttempts {
		said = e.runHost(ctx, func(host HostTool) error { return host.SetHost(ctx, s.Args(word)...) })
		info, err := e.readHost(ctx)
		if err == nil && s.Shown(info) == word {
			return true, said
		}
		if said != nil || err != nil || ctx.Err() != nil {
			break
		}
	}
	return false, said
}

// applyHost carries out what a plan wants of the host's switches, one call after
// the other.
func (e *Enforcer) applyHost(ctx context.Context, planned *Planned) *Applied {
	outcome := &Applied{}
	ctx, cancel := context.WithTimeout(ctx, applyLimit)
	defer cancel()
	for i := range planned.HostSteps {
		if ctx.Err() == nil && !e.isVoid(planned) {
			e.carryOutHost(ctx, &planned.HostSteps[i], planned, outcome)
		}
	}
	if outcome.Begun > 0 {
		e.noteEnd(hostUID)
	}
	return outcome
}

// carryOutHost makes one step: the intent is kept before the effect, and what the
// host shows afterwards behind it. What is lifted under a lease is left alone.
func (e *Enforcer) carryOutHost(ctx context.Context, step *policy.HostStep, planned *Planned, outcome *Applied) {
	e.hostTurn.Lock()
	defer e.hostTurn.Unlock()
	if slices.Contains(e.leased(), step.Switch) {
		return
	}
	if e.isSetMeanwhile(ctx, step) {
		return
	}
	err := e.changeControls(func(m *policy.ControlsMemory) *policy.ControlsMemory { return m.Begin(step, e.now()) })
	if err != nil {
		e.options.Log.Error().Err(err).Msg("a switch is not set, because the intent cannot be kept")
		return
	}
	outcome.Begun++
	proven, said := e.setHost(ctx, step.Switch, step.Word)
	if ctx.Err() != nil && !proven {
		return // nobody knows how it ended: the next plan looks
	}
	if proven {
		outcome.Proven++
	}
	became := policy.Outcome{Proven: proven, NotApplicable: !proven && prlctl.IsNotApplicable(said)}
	if !proven {
		became.Code = protocol.CodeOf(said)
	}
	e.tellOfSwitch(&outcome.Events, step, became, planned)
	err = e.changeControls(func(m *policy.ControlsMemory) *policy.ControlsMemory {
		return m.End(step, became, policy.VersionKey(planned.version, planned.system), e.now())
	})
	if err != nil {
		e.options.Log.Error().Err(err).Msg("keep what became of a switch") // the next plan looks
	}
}

// isSetMeanwhile reports whether somebody else has set a switch since the host was
// read: it is theirs, and the next plan says what that means. The caller has the
// host's turn.
func (e *Enforcer) isSetMeanwhile(ctx context.Context, step *policy.HostStep) bool {
	e.mu.Lock()
	isFresh := e.now().Sub(e.shown.at).Abs() < hostInfoFresh
	e.mu.Unlock()
	if isFresh {
		return false
	}
	info, err := e.readHost(ctx)
	return err == nil && step.Proven(info)
}

// changeControls changes what is remembered for the security controls, in the
// store first.
func (e *Enforcer) changeControls(change func(*policy.ControlsMemory) *policy.ControlsMemory) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.remember(nil, nil, change(e.controls))
}

// tellOfSwitch tells what a person may want to know of a step: that it is done, or that
// it failed for the first time in a row, with the command for a person where that
// is about what the agent has placed (H67).
func (e *Enforcer) tellOfSwitch(events *[]protocol.Event, step *policy.HostStep, outcome policy.Outcome, planned *Planned) {
	e.mu.Lock()
	call := e.controls.Host.Call(step.Target)
	e.mu.Unlock()
	data := []string{"control", controlsOf(step.Switch, planned.Document), "target", step.Target, "value", step.Word, "from", step.Prior}
	kind, code := eventSet, protocol.Code("")
	switch {
	case outcome.Proven && step.Restores:
		kind = eventReleased
	case outcome.Proven && call.Drifts > 0 && !call.Holds:
		kind = eventRestored
	case outcome.Proven:
	case call.Failures > 0:
		return
	default:
		kind, code = eventFailed, cmp.Or(outcome.Code, protocol.CodeNotVerified)
		if step.Restores {
			data = append(data, "command", hostCommand(step.Args))
		}
	}
	planned.tellOfMac(events, kind, code, data...)
}

// controlsOf names the controls that a switch is about: those of the document, and
// where it has none any more, all that there are.
func controlsOf(name string, document *policy.Document) string {
	var all, wanted []string
	for i := range policy.Controls {
		control := &policy.Controls[i]
		if !control.Uses(name) {
			continue
		}
		all = append(all, control.Name)
		if document != nil && document.SecurityControls.Set[control.Name] {
			wanted = append(wanted, control.Name)
		}
	}
	if len(wanted) > 0 {
		all = wanted
	}
	return strings.Join(all, ", ")
}

// hostCommand is what a person types to set a switch by hand.
func hostCommand(args []string) string { return "sudo prlsrvctl set " + strings.Join(args, " ") }

// tellOfSwitches tells which switches somebody has turned off that we had placed. The
// caller holds the lock, and has not remembered the plan yet.
func (e *Enforcer) tellOfSwitches(result *policy.Result, planned *Planned) {
	if result.Controls.Memory == nil {
		return
	}
	for i := range result.Controls.Memory.Host.Calls {
		now := &result.Controls.Memory.Host.Calls[i]
		before := e.controls.Host.Call(now.Target)
		if now.Drifts > before.Drifts {
			planned.tellOfMac(&planned.Events, eventChanged, "", "gaps", now.Target+" is off, wanted on")
		}
		if now.Contended && !before.Contended {
			planned.tellOfMac(&planned.Events, eventContended, protocol.CodeContended, "target", now.Target, "drifts", fmt.Sprint(now.Drifts))
		}
	}
}
