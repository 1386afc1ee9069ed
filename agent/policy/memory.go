package policy

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// Memory is what is remembered between two plans, by machine. Plan never
// changes it; what it gives back replaces the entries of some machines.
type Memory map[protocol.VMKey]VMMemory

// VMMemory is what is remembered of one machine: its settings by their names. It
// is a plain value that is kept as JSON. An empty one is not kept. Nothing in it is
// ever changed: what changes is another memory.
type VMMemory struct {
	Settings map[string]*SettingMemory `json:"settings,omitempty"`
	// ToldAt is when the owner was told last that the machine has to be suspended
	// or shut down.
	ToldAt time.Time `json:"told_at,omitzero"`
}

// SettingMemory is what is remembered of one setting of one machine.
type SettingMemory struct {
	Path    string        `json:"path"`
	Value   Value         `json:"value"` // what the policy wanted
	Verdict string        `json:"verdict"`
	Code    protocol.Code `json:"code,omitempty"`
	Since   time.Time     `json:"since"` // verdict and code are the same
	// WaitingSince is when the value was deferred first, under whatever code;
	// zero while it is not.
	WaitingSince time.Time `json:"waiting_since,omitzero"`
	// SeenAtRest: while it was deferred the machine was suspended or shut down,
	// so that what would have interrupted somebody may be set.
	SeenAtRest bool `json:"seen_at_rest,omitempty"`
	// Established: all of the value that can be had was in place once, under
	// enforcement. What somebody changes then is put back at once.
	Established bool `json:"established,omitempty"`
	// ByHand: a person had the agent place the lock, and no policy wants it.
	ByHand bool         `json:"by_hand,omitempty"`
	Calls  []CallMemory `json:"calls,omitempty"` // at most one of each target
}

// CallMemory is what is remembered of one flag, or of one network adapter.
type CallMemory struct {
	Target    string    `json:"target"`          // as Step.Target
	Word      string    `json:"word,omitempty"`  // what we wrote last
	Prior     string    `json:"prior,omitempty"` // what was shown before we wrote first
	WrittenAt time.Time `json:"written_at,omitzero"`
	// EarlierAt is when a call before that began, of a lock or a switch, of which nobody
	// has seen how it ended: it may come behind the last one (LateFor). Lifts: the last call
	// was to lift it.
	EarlierAt time.Time `json:"earlier_at,omitzero"`
	Lifts     bool      `json:"lifts,omitempty"`
	// Runs are those of the application that went on while a preference was written,
	// and take no notice of it.
	Runs []string `json:"runs,omitempty"`

	Wanted string `json:"wanted,omitempty"` // the word that was seen in place, by us or from the start
	Holds  bool   `json:"holds,omitempty"`  // it still was when it was seen last

	Drifts     int         `json:"drifts,omitempty"`      // how often it was found changed after it was in place
	LastDrifts []time.Time `json:"last_drifts,omitempty"` // the last three
	Contended  bool        `json:"contended,omitempty"`   // see H41

	Failures int           `json:"failures,omitempty"` // in a row
	FailedAt time.Time     `json:"failed_at,omitzero"`
	Code     protocol.Code `json:"code,omitempty"` // of the last failure or refusal
	// Refused is the VersionKey of the product that does not have the flag, or not
	// for this guest; another version is asked again.
	Refused string `json:"refused,omitempty"`
	// Stuck is the VersionKey of the product that did not lift a lock of ours, and
	// Lifted of the one that did.
	Stuck  string `json:"stuck,omitempty"`
	Lifted string `json:"lifted,omitempty"`
}

// unknownVersion stands for a version of the product that is not known.
const unknownVersion = "unknown"

// VersionKey is what a refusal is remembered by: with another version of the
// product, or of macOS, what was refused is asked for again.
func VersionKey(product prlctl.Version, system string) string {
	key := cmp.Or(product.String(), unknownVersion)
	if system != "" {
		key += " on macOS " + system
	}
	return key
}

// Timing of retries (H41).
const (
	contentionDrifts = 3         // so many drifts
	contentionWindow = time.Hour // within
	slowRetry        = time.Hour
	calmAfter        = 2 * time.Hour // without a drift, a contended value is no more so
	firstRetries     = 2             // failures in a row before retries slow down
	passingRetry     = 5 * time.Minute
)

// LateFor is how long after it began a call may still take effect where the tool, or the
// agent, was killed: the product's service, which the tool asks, may go on. That it does,
// and for how long, is assumed: no facts page says so.
const LateFor = 30 * time.Second

// LateUntil is until when a call that began then may still take effect, if nobody has seen
// that; zero: it may not any more.
func LateUntil(began, now time.Time) time.Time {
	if now.Sub(began).Abs() >= LateFor {
		return time.Time{}
	}
	return began.Add(LateFor)
}

// Outcome is how a step ended.
type Outcome struct {
	Proven bool // Step.Proven said so of a look after it
	// Code is what the tool's answer meant; empty where it said nothing.
	Code protocol.Code
	// NotApplicable: the tool said that this version, or this guest, has no such
	// flag (prlctl.IsNotApplicable).
	NotApplicable bool
}

// Begin is the memory to keep before a step is carried out: what will be
// written, and what was there before.
func (m VMMemory) Begin(step *Step, now time.Time) VMMemory {
	m, call := m.change(step)
	if setting := Find(step.Setting); setting != nil && setting.Lock {
		call.beginLock(step.Unlocks, step.Word, step.Prior, now)
	} else {
		call.begin(step.Word, step.Prior, now)
	}
	return m
}

// End is the memory to keep after a step was carried out and looked at, with the
// versions of this VersionKey.
func (m VMMemory) End(step *Step, outcome Outcome, version string, now time.Time) VMMemory {
	version = cmp.Or(version, unknownVersion)
	m, call := m.change(step)
	switch {
	case outcome.Proven:
		call.proved(step.word.Set[0])
	case outcome.NotApplicable && !step.Unlocks: // what was placed by a flag is not lifted without it
		call.Refused, call.Code = version, outcome.Code
	default:
		call.failed(cmp.Or(outcome.Code, protocol.CodeNotVerified), now)
	}
	switch {
	case step.Unlocks && outcome.Proven:
		call.Stuck, call.Lifted = "", version
	case step.Unlocks && !Passes(call.Code):
		call.Stuck = version
	}
	return m
}

// Defer is the memory to keep where a step that was planned is not carried out,
// because its machine is in another state by now. What it has waited already
// stands; else the next plan dates the wait, by what it knows of the last start.
func (m VMMemory) Defer(step *Step, code protocol.Code, now time.Time) VMMemory {
	setting := *m.Setting(step.Setting)
	if setting.Verdict != protocol.VerdictDeferred || setting.Code != code {
		setting.Verdict, setting.Code, setting.Since = protocol.VerdictDeferred, code, now.UTC()
	}
	setting.Path, setting.Value, setting.WaitingSince = step.Path, step.Value, step.waited
	return m.with(step.Setting, &setting)
}

// Told is the memory to keep once the machine's owner was told.
func (m VMMemory) Told(now time.Time) VMMemory {
	m.ToldAt = now.UTC()
	return m
}

// IsEmpty reports whether there is nothing to keep.
func (m VMMemory) IsEmpty() bool { return len(m.Settings) == 0 }

// Setting is what is remembered of a setting, not to be changed; empty if nothing is.
func (m VMMemory) Setting(name string) *SettingMemory {
	if setting := m.Settings[name]; setting != nil {
		return setting
	}
	return &nothing
}

// nothing is what is remembered of a setting of which nothing is.
var nothing SettingMemory

// change is a copy of the memory, and what it remembers of the step's target, to be
// changed.
func (m VMMemory) change(step *Step) (VMMemory, *CallMemory) {
	setting := *m.Setting(step.Setting)
	setting.Path, setting.Value = step.Path, step.Value
	call := setting.change(step.Target)
	return m.with(step.Setting, &setting), call
}

// with is a copy of the memory with this of a setting.
func (m VMMemory) with(name string, setting *SettingMemory) VMMemory {
	settings := make(map[string]*SettingMemory, len(m.Settings)+1)
	maps.Copy(settings, m.Settings)
	settings[name] = setting
	m.Settings = settings
	return m
}

// change is what is remembered of a target, to be changed at once. It changes nothing
// that others may hold.
func (s *SettingMemory) change(target string) *CallMemory {
	s.Calls = append([]CallMemory(nil), s.Calls...)
	call := s.find(target)
	if call == nil {
		s.Calls = append(s.Calls, CallMemory{Target: target})
		call = &s.Calls[len(s.Calls)-1]
	}
	call.LastDrifts = slices.Clone(call.LastDrifts)
	return call
}

// find is what is remembered of a target, not to be changed; nil if nothing is.
func (s *SettingMemory) find(target string) *CallMemory {
	for i := range s.Calls {
		if s.Calls[i].Target == target {
			return &s.Calls[i]
		}
	}
	return nil
}

// Call is what is remembered of a target, not to be changed; all but the target is
// empty if nothing is.
func (s *SettingMemory) Call(target string) *CallMemory {
	if call := s.find(target); call != nil {
		return call
	}
	return &CallMemory{Target: target}
}

// Drifts is how often the setting was found changed after it had been in place.
func (s *SettingMemory) Drifts() int {
	total := 0
	for i := range s.Calls {
		total += s.Calls[i].Drifts
	}
	return total
}

// sameBut reports whether two memories differ in nothing but their calls.
func (s *SettingMemory) sameBut(other *SettingMemory) bool {
	return s.Path == other.Path && s.Value == other.Value && s.Verdict == other.Verdict && s.Code == other.Code &&
		s.Since.Equal(other.Since) && s.WaitingSince.Equal(other.WaitingSince) &&
		s.SeenAtRest == other.SeenAtRest && s.Established == other.Established && s.ByHand == other.ByHand
}

// forgetFailures notes that it was set, or needs not to be.
func (c *CallMemory) forgetFailures() {
	c.Failures, c.FailedAt, c.Code, c.Refused = 0, time.Time{}, "", ""
}

// begin notes that the word is about to be written, in the place of what was there.
func (c *CallMemory) begin(word, prior string, now time.Time) {
	if c.Word == "" {
		c.Prior = prior
	}
	c.WrittenAt, c.Word = now.UTC(), word
}

// proved notes that a look shows the value that is wanted.
func (c *CallMemory) proved(wanted string) {
	c.forgetFailures()
	c.Wanted, c.Holds = wanted, true
}

// failed notes that a call did not do what it should.
func (c *CallMemory) failed(code protocol.Code, now time.Time) {
	c.Failures++
	c.FailedAt, c.Code = now.UTC(), code
}

// sawInPlace notes that a look shows the word that is wanted, and reports whether that
// is not known yet. Failures are forgotten, but where this says nothing of them, and
// contention once it has been calm for long enough.
func (c *CallMemory) sawInPlace(word string, keepsFailures bool, now time.Time) bool {
	failed := (c.Failures > 0 || c.Refused != "") && !keepsFailures
	calm := c.Contended && c.isCalm(now)
	if c.Holds && c.Wanted == word && !failed && !calm {
		return false
	}
	if failed {
		c.forgetFailures()
	}
	c.Wanted, c.Holds, c.Contended = word, true, c.Contended && !calm
	return true
}

// sawDrift notes that a look does not show the word that is wanted, and reports whether
// that was in place before.
func (c *CallMemory) sawDrift(word string, now time.Time) bool {
	if !c.Holds || c.Wanted != word {
		return false
	}
	c.forgetFailures()
	c.Holds = false
	c.Drifts++
	c.LastDrifts = append(slices.Clone(c.LastDrifts), now.UTC())
	c.LastDrifts = c.LastDrifts[max(0, len(c.LastDrifts)-contentionDrifts):]
	if len(c.LastDrifts) == contentionDrifts && now.Sub(c.LastDrifts[0]).Abs() < contentionWindow {
		c.Contended = true
	}
	return true
}

// isCalm reports whether a contended value has stayed in place for long enough.
func (c *CallMemory) isCalm(now time.Time) bool {
	return len(c.LastDrifts) == 0 || now.Sub(c.LastDrifts[len(c.LastDrifts)-1]).Abs() >= calmAfter
}

// lateUntil is until when a call for what we placed may still take effect, of which nobody
// has seen that: so long it is ours. Zero: none may.
func (c *CallMemory) lateUntil(now time.Time) (until time.Time) {
	if c.Word == "" || c.Refused != "" {
		return until
	}
	if until = LateUntil(c.EarlierAt, now); !c.Holds {
		until = latest(until, LateUntil(c.WrittenAt, now))
	}
	return until
}

// beginLock notes that a lock or a switch is about to be placed, or lifted. Until it is seen
// to be so, it may be so late.
func (c *CallMemory) beginLock(lift bool, word, prior string, now time.Time) {
	if !c.Holds && !(c.Lifts && lift) { // two that lift want the same, whichever comes last
		c.EarlierAt = c.WrittenAt
	}
	if c.WrittenAt = now.UTC(); !lift {
		c.begin(word, prior, now)
	}
	c.Lifts, c.Holds = lift, false
}

// latest is the later one of two times.
func latest(one, other time.Time) time.Time {
	if other.After(one) {
		return other
	}
	return one
}

// isAhead reports whether a time is ahead of the clock by more than a clock is
// wrong: the clock was set back since.
func isAhead(at, now time.Time) bool { return at.Sub(now) > time.Hour }
