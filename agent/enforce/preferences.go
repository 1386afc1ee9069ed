package enforce

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/platform/plist"
)

// PreferenceTool is the preferences of the application of one user.
type PreferenceTool interface {
	// Export gives the whole domain, as platform/plist decodes it.
	Export(context.Context) (map[string]any, error)
	// Write writes one key; what it says is a hint.
	Write(ctx context.Context, key string, value any) error
}

// Account is an account of the Mac as a look saw it.
type Account struct {
	Owner
	// File is another text after each change of the file behind the account's
	// preferences, which cfprefsd writes some time after a change.
	File string
	Runs []string // of the application that go on, see policy.Account
	// RetryNow: somebody asked, so that the preferences are read again, and what
	// failed is tried again.
	RetryNow bool
}

// readAgain is how long a reading of preferences is good for, if nothing says that
// they have changed: the safety net.
const readAgain = 24 * time.Hour

// Events about preferences, beside those of settings.
const (
	eventMoved         = "preferences_moved"      // others changed other keys while some were written
	eventUpdatedAnyway = "updated_against_policy" // see conformance UPD-03
)

// reading is what was exported of an account's preferences, and how the Mac was
// then.
type reading struct {
	at     time.Time
	domain map[string]any // of the catalogue's keys
	unread protocol.Code  // why there is none; empty if there is
	file   string
	runs   []string
}

// isOld reports whether the account's preferences have to be read again.
func (r *reading) isOld(account *Account, now time.Time) bool {
	age := now.Sub(r.at).Abs()
	return account.RetryNow || r.file != account.File || !slices.Equal(r.runs, account.Runs) ||
		age >= readAgain || r.unread != "" && age >= readFailedAgain
}

// readFailedAgain is when preferences that could not be read are asked for again.
const readFailedAgain = time.Hour

// preferenceWork is one account whose preferences are to be read, and perhaps
// written.
type preferenceWork struct {
	account *Account
	forced  map[policy.ManagedKey]any
	desired policy.Desired
	facts   *policy.ProductFacts
}

// planPreferences plans for the preferences of each account, by what was exported of
// them last. Whose have to be read again, or written, is planned.work. Of an account
// at which that goes on stands what was planned before. The caller holds the lock.
func (e *Enforcer) planPreferences(desired policy.Desired, s *Situation, planned *Planned, result *policy.Result) {
	planned.Accounts = make(map[uint32]*Account, len(s.Accounts))
	facts := &policy.ProductFacts{Now: planned.At, Version: s.Version, Edition: s.Edition, Closed: s.Closed}
	reads := desired.Document != nil && !desired.Released && desired.Document.ReadsPreferences()
	for i := range s.Accounts {
		account := &s.Accounts[i]
		uid := account.User.UID
		planned.Accounts[uid] = account
		key, isAtWork := policy.AccountKey(uid), e.preferenceTasks.Pending(uid)
		account.RetryNow = e.takeRetry(planned, key, account.RetryNow, isAtWork)
		if isAtWork {
			planned.PreferenceSteps = append(planned.PreferenceSteps, e.standingPreferences(uid)...)
			continue
		}
		work := &preferenceWork{account: account, forced: s.forced[uid], desired: desired, facts: facts}
		last, seen := e.readings[uid], e.lastSeen(work)
		plan := policy.PlanPreferences(desired, facts, seen, e.memory[key])
		if plan.Memory != nil {
			result.Memory[key] = *plan.Memory
		}
		e.remindOfPreferences(plan, account, planned, result, s.NotifyUsers)
		planned.judged = append(planned.judged, key)
		result.Verdicts = append(result.Verdicts, plan.Verdicts...)
		planned.PreferenceSteps = append(append(planned.PreferenceSteps, plan.Steps...), plan.WouldDo...)
		if len(plan.Steps) > 0 {
			planned.aboutToSet = append(planned.aboutToSet, key)
		}
		if reads && facts.Closed == "" && (last == nil || last.isOld(account, planned.At) || len(plan.Steps) > 0) {
			planned.work = append(planned.work, work)
		}
	}
}

// seen is the account with this domain.
func (w *preferenceWork) seen(domain map[string]any, unread protocol.Code) *policy.Account {
	return &policy.Account{
		UID: w.account.User.UID, Domain: domain, Unread: unread, Forced: w.forced, Runs: w.account.Runs, RetryNow: w.account.RetryNow,
	}
}

// lastSeen is the account with what was exported of its preferences last. The caller
// holds the lock.
func (e *Enforcer) lastSeen(w *preferenceWork) *policy.Account {
	last := e.readings[w.account.User.UID]
	if last == nil {
		return w.seen(nil, protocol.CodeNotLookedYet)
	}
	return w.seen(last.domain, last.unread)
}

// updateSource is who decides on the updates of the Mac, by what is known of its
// accounts. The caller holds the lock.
func (e *Enforcer) updateSource(s *Situation) policy.UpdateSource {
	if e.parsed.document == nil {
		return policy.UpdateSource{}
	}
	accounts := make([]*policy.Account, len(s.Accounts))
	for i := range s.Accounts {
		account := &s.Accounts[i]
		accounts[i] = e.lastSeen(&preferenceWork{account: account, forced: s.forced[account.User.UID]})
	}
	return e.parsed.document.UpdateSource(accounts)
}

// readForced reads what MDM profiles force for each account.
func (e *Enforcer) readForced(s *Situation) {
	e.Adopt(&s.Content)
	if e.options.Forced == nil || !e.NeedsPreferences() {
		return
	}
	users := make([]platform.User, len(s.Accounts))
	for i := range s.Accounts {
		users[i] = s.Accounts[i].User
	}
	s.forced = e.options.Forced(users)
}

// NeedsPreferences reports whether a plan for the policy in force needs to know the
// preferences of the accounts, and what MDM profiles force of them.
func (e *Enforcer) NeedsPreferences() bool {
	document := e.document()
	return document != nil && document.ReadsPreferences()
}

// applyPreferences begins to read, and to write, the preferences of a plan, each
// account's in its lane, and does not wait.
func (e *Enforcer) applyPreferences(ctx context.Context, planned *Planned) {
	for i := range planned.work {
		p := &preferencePass{enforcer: e, planned: planned, preferenceWork: *planned.work[i]}
		e.preferenceTasks.Start(p.account.User.UID, func() *preferencePass {
			if p.run(ctx); e.isVoid(planned) {
				e.keepRetries(planned, p.account.User.UID, true)
			}
			return p
		})
	}
}

// TakePreferences takes what a person may want to know of the preferences that were
// read or written since it was called last, and reports whether there were any: only
// another plan tells how they are now.
func (e *Enforcer) TakePreferences() (events []protocol.Event, any bool) {
	for _, uid := range e.preferenceTasks.Begun() {
		if done, ended := e.preferenceTasks.Take(uid); ended {
			events, any = append(events, done.events...), true
		}
	}
	return events, any
}

// preferencePass reads the preferences of one account, and writes what is not as it
// is wanted.
type preferencePass struct {
	preferenceWork
	enforcer *Enforcer
	planned  *Planned
	events   []protocol.Event
}

func (p *preferencePass) key() protocol.VMKey { return policy.AccountKey(p.account.User.UID) }

func (p *preferencePass) run(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, applyLimit)
	defer cancel()
	domain, err := p.export(ctx)
	if ctx.Err() != nil {
		return // nobody knows: the next plan reads again
	}
	if err == nil {
		domain, err = p.converge(ctx, domain)
	}
	read := &reading{at: p.enforcer.now(), file: p.account.File, runs: p.account.Runs, domain: ofCatalogue(domain)}
	if err != nil {
		p.enforcer.options.Log.Warn().Err(err).Uint32("uid", p.account.User.UID).Msg("read preferences")
		read.unread = cmp.Or(protocol.CodeOf(err), protocol.CodeToolFailed)
	}
	p.enforcer.mu.Lock()
	defer p.enforcer.mu.Unlock()
	p.enforcer.readings[p.account.User.UID] = read
}

// ofCatalogue is what of a domain has to be kept: the rest is a user's, and may be
// large.
func ofCatalogue(domain map[string]any) map[string]any {
	kept := make(map[string]any)
	for i := range policy.Preferences {
		if value, has := domain[policy.Preferences[i].Key]; has {
			kept[policy.Preferences[i].Key] = shortened(value)
		}
	}
	return kept
}

// maxKeptText is more than any value of a policy has, in bytes.
const maxKeptText = 8 << 10

// shortened is a value that is no less another one than the policy's, and takes little
// memory.
func shortened(value any) any {
	switch value := value.(type) {
	case string:
		return strings.Clone(value[:min(len(value), maxKeptText)])
	case []byte:
		return []byte{}
	case []any:
		return []any{}
	case map[string]any:
		return map[string]any{}
	}
	return value
}

// converge plans anew by what was just read, and carries that out. It gives the
// domain as it is then.
func (p *preferencePass) converge(ctx context.Context, before map[string]any) (after map[string]any, err error) {
	e := p.enforcer
	if e.isVoid(p.planned) { // the next plan goes on from what was read
		return before, nil
	}
	facts := *p.facts // which all accounts share
	facts.Now = e.now()
	was := e.recall(p.key())
	plan := policy.PlanPreferences(p.desired, &facts, p.seen(before, ""), was)
	if plan.Memory != nil {
		if err := e.changeMemory(p.key(), func(policy.VMMemory) policy.VMMemory { return *plan.Memory }); err != nil {
			return before, &notKept{err}
		}
		for i := range plan.Verdicts {
			p.planned.tellOfDrift(&p.events, &plan.Verdicts[i], was, *plan.Memory)
		}
	}
	if len(plan.Steps) == 0 {
		return before, nil
	}
	return p.write(ctx, before, plan.Steps)
}

// write writes the steps, and reads once what became of them.
func (p *preferencePass) write(ctx context.Context, before map[string]any, steps []policy.PreferenceStep) (after map[string]any, err error) {
	said := make([]error, len(steps))
	written, kept := 0, error(nil)
	for i := range steps {
		if p.enforcer.isVoid(p.planned) {
			break
		}
		if kept = p.enforcer.changeMemory(p.key(), func(m policy.VMMemory) policy.VMMemory { return m.BeginPreference(&steps[i], p.enforcer.now()) }); kept != nil {
			kept = &notKept{kept}
			break
		}
		said[i] = p.inLane(ctx, func(tool PreferenceTool) error { return tool.Write(ctx, steps[i].Key, steps[i].Write) })
		if written++; ctx.Err() != nil {
			return before, nil
		}
	}
	if steps = steps[:written]; written == 0 {
		return before, kept
	}
	after, err = p.export(ctx)
	if ctx.Err() != nil {
		return before, nil
	}
	for i := range steps {
		p.conclude(&steps[i], err == nil && steps[i].Proven(after), cmp.Or(said[i], err))
	}
	if err == nil {
		p.noteMoved(before, after, steps)
	}
	return after, cmp.Or(err, kept)
}

// notKept is that preferences are not written, because what is done could not be kept.
// They are left alone for a while then: only a plan would come of it, without end.
type notKept struct{ err error }

// Error says so.
func (n *notKept) Error() string { return "keep what is done with preferences: " + n.err.Error() }

// ErrorCode is that of the reason.
func (n *notKept) ErrorCode() string {
	return string(cmp.Or(protocol.CodeOf(n.err), protocol.CodeInternal))
}

// conclude keeps what became of a step, and tells it.
func (p *preferencePass) conclude(step *policy.PreferenceStep, proven bool, said error) {
	e, code := p.enforcer, protocol.Code("")
	if !proven {
		code = cmp.Or(protocol.CodeOf(said), protocol.CodePreferenceLost)
	}
	call := e.recall(p.key()).Setting(step.Setting).Call(step.Key)
	data := []string{"setting", step.Setting, "target", step.Key, "value", step.Word, "from", step.Prior}
	kind := eventSet
	switch {
	case proven && call.Drifts > 0 && !call.Holds:
		kind = eventRestored
	case !proven:
		kind = eventFailed
	}
	if proven || call.Failures == 0 {
		p.planned.tell(&p.events, p.key(), kind, code, data...)
	}
	err := e.changeMemory(p.key(), func(m policy.VMMemory) policy.VMMemory { return m.EndPreference(step, proven, code, e.now()) })
	if err != nil {
		e.options.Log.Error().Err(err).Msg("keep what became of a preference") // the next plan reads again
	}
}

// noteMoved tells how many other keys are not as they were before our own were
// written. Only others can have changed them: each of our calls names one key. Which
// ones is the user's own matter.
func (p *preferencePass) noteMoved(before, after map[string]any, steps []policy.PreferenceStep) {
	keys := otherChanges(before, after, steps)
	if len(keys) == 0 {
		return
	}
	p.planned.tell(&p.events, p.key(), eventMoved, protocol.CodePreferencesMoved, "keys", strconv.Itoa(len(keys)))
}

// otherChanges are the keys, but for those of the steps, that two readings of a
// domain do not have alike, in order.
func otherChanges(before, after map[string]any, steps []policy.PreferenceStep) (keys []string) {
	isOurs := func(key string) bool {
		for i := range steps {
			if steps[i].Key == key {
				return true
			}
		}
		return false
	}
	for key, value := range before {
		if now, has := after[key]; !isOurs(key) && !(has && plist.Equal(value, now)) {
			keys = append(keys, key)
		}
	}
	for key := range after {
		if _, had := before[key]; !had && !isOurs(key) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func (p *preferencePass) export(ctx context.Context) (domain map[string]any, err error) {
	err = p.inLane(ctx, func(tool PreferenceTool) (err error) {
		domain, err = tool.Export(ctx)
		return err
	})
	return domain, err
}

// inLane runs the tool when it is the account's turn.
func (p *preferencePass) inLane(ctx context.Context, call func(PreferenceTool) error) error {
	options, user := &p.enforcer.options, p.account.User
	return options.Lanes.Run(ctx, user.UID, hangsAfter, func() error { return call(options.Preferences(user, p.account.Session)) })
}

// userOf is what an account of the plan is called; empty if it is not there.
func (p *Planned) userOf(uid uint32) string {
	if account := p.Accounts[uid]; account != nil {
		return account.User.Name
	}
	return ""
}

// isAccount reports whether what is remembered under the key is about an account.
func isAccount(key protocol.VMKey) bool { return key.ID == "" && key.UID != 0 }

var _ PreferenceTool = platform.Preferences{}
