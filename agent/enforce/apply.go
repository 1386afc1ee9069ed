package enforce

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"strings"
	"time"

	"prlagent/agent/lane"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
)

// Limits of carrying settings out.
const (
	// applyLimit bounds what is done for one account in one go; what is left is
	// planned anew.
	applyLimit = 5 * time.Minute
	// hangsAfter is when a run gives its slot to others.
	hangsAfter = 10 * time.Second
	// config.pvs is written later than the tool ends: so long it is asked, and so
	// often.
	fileLimit = 10 * time.Second
	filePoll  = time.Second
)

// Applied is what became of the steps for one account.
type Applied struct {
	UID    uint32
	Begun  int // steps that were begun
	Proven int // of these, those that a look afterwards shows
	Wrote  []Written
	Events []protocol.Event
}

// Written is a machine whose configuration is another one, by our own hand.
type Written struct {
	Key    protocol.VMKey
	Before string // hash of the configuration that was planned from
	After  string // as it was seen after the last step
}

// Apply begins to carry a plan's steps out, each account's in its lane, and does
// not wait. Options.Posted tells when there is an outcome to Take. For an account
// whose last outcome was not taken nothing is begun: what it needs is planned
// again.
func (e *Enforcer) Apply(ctx context.Context, planned *Planned) {
	e.mu.Lock()
	isEnded := planned.Enforce && e.isEnded()
	e.mu.Unlock()
	if isEnded {
		return
	}
	e.tell(ctx, planned)
	e.tellOfPreferences(ctx, planned)
	e.applyPreferences(ctx, planned)
	e.warn(ctx, planned)
	if len(planned.HostSteps) > 0 {
		e.start(planned, hostUID, func() *Applied { return e.applyHost(ctx, planned) })
	}
	var owners []*ownersWork
	of := func(uid uint32) *ownersWork {
		for _, owner := range owners {
			if owner.uid == uid {
				return owner
			}
		}
		owners = append(owners, &ownersWork{uid: uid})
		return owners[len(owners)-1]
	}
	for i := range planned.Steps {
		theirs := of(planned.Steps[i].VM.UID)
		theirs.steps = append(theirs.steps, &planned.Steps[i])
	}
	for _, v := range planned.Suspends {
		theirs := of(v.VM.UID)
		theirs.suspends = append(theirs.suspends, v)
	}
	for _, work := range owners {
		e.start(planned, work.uid, func() *Applied {
			a := e.newApplication(planned, work.uid)
			a.run(ctx, work.steps)
			a.suspend(ctx, work.suspends)
			return a.end()
		})
	}
}

// isEnded reports whether a person, or the mode, has ended that anything is enforced. The
// caller holds the lock.
func (e *Enforcer) isEnded() bool { return e.released != nil || e.monitors }

// start begins what a plan wants for one account, or for the host, unless something
// else was carried out there since: then there is an outcome without steps, and with
// each outcome another plan.
func (e *Enforcer) start(planned *Planned, uid uint32, work func() *Applied) {
	isStarted := e.tasks.Start(uid, func() *Applied {
		outcome, isOutdated := &Applied{UID: uid}, e.isOutdated(planned, uid)
		if !isOutdated {
			outcome = work()
		}
		if isOutdated || e.isVoid(planned) {
			e.keepRetries(planned, uid, false)
		}
		return outcome
	})
	if !isStarted {
		e.keepRetries(planned, uid, false)
	}
}

// ownersWork is what is done for the machines of one account.
type ownersWork struct {
	uid      uint32
	steps    []*policy.Step
	suspends []*policy.Violation
}

func (e *Enforcer) newApplication(planned *Planned, uid uint32) *application {
	return &application{enforcer: e, planned: planned, outcome: Applied{UID: uid}, changed: make(map[protocol.VMKey]*sight), seen: make(map[protocol.VMKey]*sight)}
}

// end notes that looks from now on see what was done.
func (a *application) end() *Applied {
	for _, key := range inOrder(maps.Keys(a.changed)) {
		a.outcome.Wrote = append(a.outcome.Wrote, Written{Key: key, Before: a.planned.Machines[key].ConfigHash, After: a.changed[key].vm.ConfigHash()})
	}
	a.enforcer.noteEnd(a.outcome.UID)
	return &a.outcome
}

// Begun are the accounts with an outcome to Take, now or later.
func (e *Enforcer) Begun() []uint32 { return e.tasks.Begun() }

// Take takes what became of an account's steps, if they have ended.
func (e *Enforcer) Take(uid uint32) (*Applied, bool) { return e.tasks.Take(uid) }

// application is the steps of one account being carried out.
type application struct {
	enforcer *Enforcer
	planned  *Planned
	outcome  Applied
	changed  map[protocol.VMKey]*sight // machines as they were seen after their last step
	seen     map[protocol.VMKey]*sight
	hung     bool          // not even a look at a machine ended in its time
	hand     policy.Memory // what a person does by hand starts from and leaves; nil: the policy is carried out
}

// run carries the steps out in their order. One that failed does not end the
// others of its machine, but for one that stops them.
func (a *application) run(ctx context.Context, steps []*policy.Step) {
	ctx, cancel := context.WithTimeout(ctx, applyLimit)
	defer cancel()
	stopped := make(map[protocol.VMKey]bool)
	for _, step := range steps {
		if ctx.Err() != nil || a.hung {
			break
		}
		if stopped[step.VM] {
			continue
		}
		if proven := a.isStillDue(ctx, step) && a.carryOut(ctx, step); !proven && step.StopsOthers {
			stopped[step.VM] = true
		}
	}
}

// carryOut makes one step: the intent is kept before the effect, and what a look
// afterwards shows behind it. It reports whether that is what is wanted.
func (a *application) carryOut(ctx context.Context, step *policy.Step) (proven bool) {
	e := a.enforcer
	begin := func(m policy.VMMemory) policy.VMMemory { return m.Begin(step, e.now()) }
	if err := a.changeMemory(step, false, begin); err != nil {
		e.options.Log.Error().Err(err).Msg("a setting is not written, because the intent cannot be kept")
		return false
	}
	began, said := a.set(ctx, step)
	if !began {
		return false
	}
	a.outcome.Begun++
	proven, lookError := a.prove(ctx, step)
	if ctx.Err() != nil && !proven {
		return false // nobody knows how it ended: the next plan looks
	}
	missing := prlctl.IsNotApplicable(said) && (!proven || step.IsUnread())
	outcome := policy.Outcome{Proven: proven && !missing, NotApplicable: missing}
	if !outcome.Proven {
		outcome.Code = cmp.Or(protocol.CodeOf(said), protocol.CodeOf(lookError))
	}
	a.conclude(step, outcome, said)
	return proven
}

// conclude tells and keeps how a step ended.
func (a *application) conclude(step *policy.Step, outcome policy.Outcome, said error) {
	e := a.enforcer
	a.note(step, outcome, said)
	err := a.changeMemory(step, outcome.Proven, func(m policy.VMMemory) policy.VMMemory {
		return m.End(step, outcome, policy.VersionKey(a.planned.version, a.planned.system), e.now())
	})
	if err != nil {
		e.options.Log.Error().Err(err).Msg("keep what became of a setting") // the next plan looks
	}
}

// set runs the tool when it is the account's turn. began is false where it did
// not come to that.
func (a *application) set(ctx context.Context, step *policy.Step) (began bool, said error) {
	owner := a.planned.Machines[step.VM].Owner
	err := a.enforcer.options.Lanes.Run(ctx, step.VM.UID, hangsAfter, func() error {
		began = true
		said = a.enforcer.options.Tool(owner.User, owner.Session).Set(ctx, step.VM.ID, step.Args...)
		return said
	})
	if err != nil {
		a.enforcer.options.Log.Warn().Err(err).Str("vm", step.VM.String()).Str("setting", step.Setting).Msg("set")
	}
	return began, said
}

// prove looks at the machine until it shows what the step wants: once, or for ten
// seconds where only config.pvs shows it.
func (a *application) prove(ctx context.Context, step *policy.Step) (proven bool, err error) {
	for waited := time.Duration(0); ; waited += filePoll {
		proven, err = a.look(ctx, step)
		if proven || !step.InFile || waited >= fileLimit || ctx.Err() != nil || a.hung {
			return proven, err
		}
		select {
		case <-time.After(filePoll):
		case <-ctx.Done():
		}
	}
}

// look reads the machine anew.
func (a *application) look(ctx context.Context, step *policy.Step) (proven bool, err error) {
	machine := a.planned.Machines[step.VM]
	vm, err := a.get(ctx, machine)
	if err != nil {
		return false, err
	}
	a.changed[step.VM] = a.seen[step.VM]
	if !step.InFile {
		return step.Proven(vm, nil), nil
	}
	config, err := a.readConfig(ctx, machine.Owner.User, step.VM.UID, cmp.Or(vm.Bundle(), machine.Bundle))
	return err == nil && step.Proven(vm, config), err
}

// get asks for the machine's description.
func (a *application) get(ctx context.Context, machine *Machine) (*prlctl.VM, error) {
	var vm prlctl.VM
	key, options := machine.Facts.Key, &a.enforcer.options
	err := options.Lanes.Run(ctx, key.UID, hangsAfter, func() (err error) {
		vm, err = options.Tool(machine.Owner.User, machine.Owner.Session).Get(ctx, key.ID)
		return err
	})
	a.hung = lane.IsHang(err)
	if err == nil {
		a.seen[key] = &sight{&vm, time.Now()}
	}
	return &vm, err
}

var errNoBundle = errors.New("where the machine is was not told")

// readConfig reads config.pvs as its owner.
func (a *application) readConfig(ctx context.Context, user platform.User, uid uint32, bundle string) (*prlctl.ConfigPVS, error) {
	if bundle == "" {
		return nil, errNoBundle
	}
	var answers []platform.FileAnswer
	err := a.enforcer.options.Lanes.Run(ctx, uid, hangsAfter, func() (err error) {
		answers, err = a.enforcer.options.Files.LookAtFiles(ctx, user, []platform.FileQuestion{
			{Path: bundle + "/config.pvs", Reader: prlctl.ConfigReader},
		})
		return err
	})
	if err == nil {
		err = answers[0].Err
	}
	if err != nil {
		return nil, err
	}
	config, err := prlctl.DecodeConfigPVS(answers[0].Fields)
	return config, err
}

// note tells what became of a step, and keeps a flag that this version does not
// have. What its help shows and one machine refuses may be that machine's guest.
func (a *application) note(step *policy.Step, outcome policy.Outcome, said error) {
	if outcome.Proven {
		a.outcome.Proven++
	}
	a.planned.tellOfStep(&a.outcome.Events, step, outcome, a.memoryOf(step.VM).Setting(step.Setting))
	flag, _, _ := strings.Cut(step.Target, " ")
	isMissing := outcome.Code == protocol.CodeUnrecognized && a.planned.capabilities.Flag(flag).Support != prlctl.Supported
	if !isMissing || a.planned.version.IsZero() || a.enforcer.options.Refuse == nil {
		return
	}
	if err := a.enforcer.options.Refuse(a.planned.version, flag); err != nil {
		a.enforcer.options.Log.Error().Err(errors.Join(err, said)).Msg("keep that a flag is not there")
	}
}

// memoryOf is what is remembered of a machine, or of what is done by hand with it.
func (a *application) memoryOf(key protocol.VMKey) policy.VMMemory {
	if a.hand != nil {
		return a.hand[key]
	}
	return a.enforcer.recall(key)
}

// recall is what is remembered of a machine.
func (e *Enforcer) recall(key protocol.VMKey) policy.VMMemory {
	e.mu.Lock()
	memory := e.memory[key]
	e.mu.Unlock()
	return memory
}

// changeMemory changes what is remembered of the step's machine. Of what is done
// by hand only locks are remembered for longer than that takes.
func (a *application) changeMemory(step *policy.Step, proven bool, change func(policy.VMMemory) policy.VMMemory) error {
	if a.hand == nil {
		return a.enforcer.changeMemory(step.VM, change)
	}
	a.hand[step.VM] = change(a.hand[step.VM])
	if setting := policy.Find(step.Setting); !setting.Lock {
		return nil
	}
	return a.enforcer.changeMemory(step.VM, func(m policy.VMMemory) policy.VMMemory {
		return m.AfterHand(a.hand[step.VM], step, proven, a.enforcer.now())
	})
}

// changeMemory changes what is remembered of one machine, in the store first.
func (e *Enforcer) changeMemory(key protocol.VMKey, change func(policy.VMMemory) policy.VMMemory) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.remember(policy.Memory{key: change(e.memory[key])}, nil, nil)
}

func (e *Enforcer) now() time.Time { return e.options.Now().UTC().Truncate(time.Second) }
