package agent

import (
	"maps"
	"time"

	"prlagent/agent/protocol"
	"prlagent/agent/trigger"
)

// loopState is everything that the loop decides by. It is a value: step takes
// one and gives another, so that the loop can be tested and simulated without
// a clock or a machine.
type loopState struct {
	Timing   trigger.Timing
	DeviceID string // spreads the fleet; empty before the first enrollment
	Portal   bool   // there is a portal to check in with
	Origin   string // which one

	Seen    time.Time // when step was called last
	Phase   phase
	Beliefs trigger.Beliefs

	Waiting   trigger.Set // reasons that no look has answered
	Heard     bool        // the pass that runs began with such reasons
	LookAt    time.Time   // when the next look is due; zero = nothing calls for one
	Hinted    hints       // accounts whose hints the next look answers
	Asked     hints       // those whose hints the look of this pass answers
	Fruitless hints       // looks in a row in which an account's hints proved empty
	NetAt     time.Time   // when the next look is due although nothing was heard

	Untold bool        // the portal does not have what the last look saw
	Lot    float64     // of this Mac in [0, 1), for every splay of what waits; zero = not drawn
	Owed   trigger.Set // reasons that were looked at and that no check-in has carried
	OweAt  time.Time   // when they want to go, before any throttle; zero = at once
	InPass trigger.Set // reasons of the pass that runs
	Urgent bool        // one of them is a wish that nothing throttles

	Bucket       trigger.Bucket
	LastExchange time.Time // start of the last exchange
	LastSuccess  time.Time // end of the last one that went well
	Failures     int       // exchanges that failed, in a row
	FailingSince time.Time // end of the first of them
	NoRetry      bool      // the last failure is one that no repetition mends: the next reason will tell
	RetryAt      time.Time // no exchange before it, unless a person asks
	NotBefore    time.Time // nor before this, which the portal has asked for (Retry-After)
	Splay        time.Duration
	DailyAt      time.Time
	CadenceAt    time.Time     // zero = the portal did not name an interval
	Interval     time.Duration // the portal's interval
}

// phase is where the loop is in a pass.
type phase int

const (
	idle       phase = iota
	looking          // the Mac is looked at
	concluding       // the look is over; exchange, converge and report follow
)

// hints counts by account (uid); 0 stands for everybody. It is never changed
// in place.
type hints map[uint32]int

func (h hints) with(uid uint32, count int) hints {
	changed := maps.Clone(h)
	if changed == nil {
		changed = hints{}
	}
	changed[uid] = count
	return changed
}

// event is what the loop is told. Every event carries the wall-clock time at
// which step sees it.
type event interface{ isEvent() }

// tick says that time has passed.
type tick struct{}

// happened says: look again, because.
type happened struct {
	Reason  trigger.Reason // empty: let the look, or what is believed, say why
	UID     uint32         // the account that it was heard from; 0 = none
	Account string         // its name
	VMID    string
	State   string // that the VM is in now, in prlctl's word
}

// configured says what the configuration is now.
type configured struct {
	Portal   bool
	Origin   string // of the portal
	DeviceID string
	Timing   trigger.Timing
	Because  []trigger.Reason // reasons to look that came with it
}

// looked is the outcome of a look.
type looked struct {
	Picture *trigger.Picture // nil: it failed
	Untold  bool             // the portal does not have what it saw
}

// passEnded is the outcome of a pass.
type passEnded struct {
	Exchanged  bool          // an exchange was tried
	Code       protocol.Code // why it failed; empty = it did not
	NoRetry    bool          // the failure is one that no repetition mends
	Left       trigger.Set   // reasons that no stored report has, if an exchange was tried
	RetryAfter time.Duration // the portal's floor under the next attempt
	Interval   time.Duration // the portal's wish for the next quiet check-in; zero = none
	Splay      time.Duration // the portal's wish for what is common; zero = none
	DeviceID   string
}

func (tick) isEvent()       {}
func (happened) isEvent()   {}
func (configured) isEvent() {}
func (looked) isEvent()     {}
func (passEnded) isEvent()  {}

// action is what the loop does next.
type action interface{ isAction() }

// startLook begins a pass.
type startLook struct{}

// conclude goes on with a pass whose look is over; with Exchange it checks in.
type conclude struct {
	Triggers trigger.Set
	Exchange bool
}

func (startLook) isAction() {}
func (conclude) isAction()  {}

// step is the loop's core: what follows from an event. It has no clock, no I/O
// and no memory but its arguments; luck, in [0, 1), is for the jitter.
func step(now time.Time, luck float64, state loopState, what event) (loopState, []action) {
	slept := state.wasMissed(now, state.Seen) && !state.OweAt.After(state.Seen) // else it waited for its splay
	state = state.follow(now)
	var next []action
	switch what := what.(type) {
	case happened:
		state = state.hear(now, luck, what)
	case configured:
		state = state.configure(now, luck, what)
	case looked:
		state, next = state.see(now, what)
	case passEnded:
		state = state.finish(now, luck, what)
	case tick:
	}
	state = state.schedule(now, luck, slept)
	state, begun := state.begin(now)
	return state, append(next, begun...)
}

func (s loopState) running() bool { return s.Phase != idle }

// follow takes everything that was planned along with a clock that was set
// back: what was a minute away stays a minute away, and what happened a minute
// ago stays a minute old. A clock that was set forward only makes things due.
func (s loopState) follow(now time.Time) loopState {
	back := s.Seen.Sub(now)
	if s.Seen = now; back <= 0 {
		return s
	}
	s.Beliefs = s.Beliefs.OnAnotherClock()
	for _, at := range []*time.Time{
		&s.LookAt, &s.NetAt, &s.OweAt, &s.Bucket.At, &s.LastExchange, &s.LastSuccess, &s.FailingSince, &s.RetryAt, &s.NotBefore, &s.DailyAt, &s.CadenceAt,
	} {
		if !at.IsZero() {
			*at = at.Add(-back)
		}
	}
	return s
}

// hear takes in what a source said. A state is news by what is believed of the
// virtual machine; what has no reason yet is a hint, and the look will tell.
func (s loopState) hear(now time.Time, luck float64, what happened) loopState {
	if what.State != "" {
		return s.hearState(now, what)
	}
	switch what.Reason {
	case "":
		return s.hint(now, what.UID)
	case trigger.NetworkUp:
		return s.hearNetwork(now, luck)
	case trigger.Wake:
		return s.hearWake(now, luck)
	case trigger.AgentStart:
		return s.start(now, luck)
	}
	s, tell := s.splayed(now, luck, what.Reason)
	return s.because(now, tell, what.Reason, what.VMID)
}

// hearState takes in that a virtual machine is in a state.
func (s loopState) hearState(now time.Time, what happened) loopState {
	beliefs, reason, sure := s.Beliefs.Hear(now, what.Account, what.VMID, what.State)
	s.Beliefs = beliefs
	switch {
	case !sure:
		return s.hint(now, what.UID)
	case reason == "":
		return s
	}
	return s.because(now, now, reason, what.VMID)
}

// because adds a reason that wants to be told at a time. The look follows it
// after its debounce, whatever the exchange waits for (H46). What waits already
// keeps its place.
func (s loopState) because(now, tell time.Time, reason trigger.Reason, vmID string) loopState {
	look := now
	if trigger.Kinds[reason].Settle {
		look = now.Add(s.Timing.Debounce)
	}
	if waits := s.waiting(); waits.Empty() || tell.Before(s.OweAt) && !waits.Has(reason) {
		s.OweAt = tell
	}
	s.Waiting = s.Waiting.Add(now, reason, vmID)
	s.LookAt = soonest(s.LookAt, look)
	s.NoRetry = false // the portal may like a report with something new in it
	return s
}

// splayed is when a reason wants to be told: at once, or within the splay of its
// kind after the debounce, which would gather everybody who drew less. One lot
// is for all that waits: the earliest of several draws is no fair one.
func (s loopState) splayed(now time.Time, luck float64, reason trigger.Reason) (loopState, time.Time) {
	kind := trigger.Kinds[reason]
	if kind.Splay == nil || s.firstStart(reason) {
		return s, now
	}
	if kind.Settle {
		now = now.Add(s.Timing.Debounce)
	}
	s = s.draw(luck)
	return s, now.Add(part(s.splay(kind), s.Lot))
}

// draw draws the lot, if there is none.
func (s loopState) draw(luck float64) loopState {
	if s.Lot == 0 {
		s.Lot = luck
	}
	return s
}

func part(whole time.Duration, luck float64) time.Duration {
	return time.Duration(float64(whole) * luck)
}

// firstStart says that the agent starts on a Mac that never checked in: somebody
// is waiting for it. Any other start may be one of many, as after a power cut.
func (s loopState) firstStart(reason trigger.Reason) bool {
	return reason == trigger.AgentStart && s.LastSuccess.IsZero()
}

// waiting are the reasons that no report has.
func (s loopState) waiting() trigger.Set { return s.InPass.Merge(s.Owed).Merge(s.Waiting) }

// splay is the longest random wait for a kind of reason; the portal knows how
// large the fleet is.
func (s loopState) splay(kind trigger.Kind) time.Duration {
	timing := s.Timing
	if s.Splay > 0 {
		timing.Splay = s.Splay
	}
	return kind.Splay(timing)
}

// patientAfter is how many doublings the wait after fruitless hints may reach:
// two minutes with the debounce of protocol.md 2.11.
const patientAfter = 3

// hint asks for a look. An account whose hints proved empty waits longer each
// time: what its tools say then has no meaning, as an echo of our own reading
// would, and must not keep the agent busy.
func (s loopState) hint(now time.Time, uid uint32) loopState {
	wait := s.Timing.Debounce << min(s.Fruitless[uid], patientAfter)
	s.Hinted = s.Hinted.with(uid, 1)
	s.LookAt = soonest(s.LookAt, now.Add(wait))
	return s
}

// hearNetwork takes in that the network is there (again). It is a reason only
// for a Mac that has not been heard of for a while; one that could not be heard
// tries again. The splay holds in both cases: the network of many came back.
func (s loopState) hearNetwork(now time.Time, luck float64) loopState {
	if s.Failures == 0 && !s.LastSuccess.IsZero() && now.Sub(s.LastSuccess) < s.Timing.FreshFor {
		return s
	}
	s, tell := s.splayed(now, luck, trigger.NetworkUp)
	if s.Failures > 0 && !s.waiting().Has(trigger.NetworkUp) {
		s.RetryAt = soonest(s.RetryAt, tell)
		s.Bucket = s.Bucket.WithOne(now, s.Timing.BucketSize, s.Timing.BucketEvery) // failures have emptied it
	}
	return s.because(now, tell, trigger.NetworkUp, "")
}

// hearWake takes in that the Mac slept. Nobody told what happened meanwhile, so
// it is looked at; it is a reason to check in if a check-in was missed.
func (s loopState) hearWake(now time.Time, luck float64) loopState {
	waits := s.waiting()
	if waits.Has(trigger.Daily) || waits.Has(trigger.Cadence) {
		s, tell := s.splayed(now, luck, trigger.Wake)
		return s.because(now, tell, trigger.Wake, "")
	}
	s.LookAt = soonest(s.LookAt, now.Add(s.Timing.Debounce))
	return s
}

// start takes in that the daemon starts. Many Macs may start at once, as after
// a power cut: whatever was owed before waits for the splay too, and so does
// what the first look finds.
func (s loopState) start(now time.Time, luck float64) loopState {
	s, tell := s.splayed(now, luck, trigger.AgentStart)
	waits := s.OweAt
	s = s.because(now, tell, trigger.AgentStart, "")
	if s.OweAt = tell; waits.After(now) && waits.Before(tell) {
		s.OweAt = waits // the splay of the start before is not over
	}
	return s
}

// configure takes in the configuration. What another portal has refused or
// asked for does not bind this one.
func (s loopState) configure(now time.Time, luck float64, what configured) loopState {
	if s.Origin != "" && what.Origin != "" && s.Origin != what.Origin {
		s.Failures, s.FailingSince, s.NoRetry, s.RetryAt, s.NotBefore = 0, time.Time{}, false, time.Time{}, time.Time{}
		s.Interval, s.CadenceAt, s.Splay, s.LastSuccess = 0, time.Time{}, 0, time.Time{}
	}
	if what.Origin != "" {
		s.Origin = what.Origin
	}
	s.Timing, s.DeviceID, s.Portal = what.Timing, what.DeviceID, what.Portal
	if s.DailyAt.IsZero() {
		s.DailyAt = trigger.DailyAt(now, s.DeviceID, s.Timing.Daily)
	}
	for _, reason := range what.Because {
		s = s.hear(now, luck, happened{Reason: reason})
	}
	return s
}

// see takes in what a look saw, and decides whether the pass checks in.
func (s loopState) see(now time.Time, what looked) (loopState, []action) {
	s.Phase, s.Untold = concluding, what.Untold
	s.NetAt = now.Add(s.Timing.SafetyNet)
	if what.Picture == nil {
		return s.blind(now)
	}
	s = s.takeAlong().learn(now, *what.Picture)
	s.InPass = s.InPass.Limited(protocol.MaxTriggers)
	exchangeAt, owes := s.exchangeAt(now, s.InPass)
	exchange := s.Portal && (s.Urgent || owes && !now.Before(exchangeAt))
	if exchange {
		s.Bucket, _, _ = s.Bucket.Take(now, s.Timing.BucketSize, s.Timing.BucketEvery)
		s.LastExchange = now
	}
	return s, []action{conclude{Triggers: s.InPass, Exchange: exchange}}
}

// blind goes on after a look that failed: there is nothing to tell, and no use
// in looking again at once.
func (s loopState) blind(now time.Time) (loopState, []action) {
	s.OweAt = latest(s.OweAt, now.Add(max(s.Timing.MinimumGap, s.Timing.Debounce, time.Second)))
	return s, []action{conclude{Triggers: s.InPass}}
}

// takeAlong puts into the pass what was heard during its look and asks for no
// look of its own: that the agent started, that the network is there, that a
// check is due.
func (s loopState) takeAlong() loopState {
	along, rest := s.Waiting.Split(needsNoLook)
	s.InPass, s.Waiting = s.InPass.Merge(along), rest
	if rest.Empty() && len(s.Hinted) == 0 {
		s.LookAt = time.Time{}
	}
	return s
}

// needsNoLook says that a reason is about the agent and its portal, not about
// what there is to see: any check-in answers it.
func needsNoLook(reason trigger.Reason) bool {
	kind := trigger.Kinds[reason]
	return !kind.Urgent && (kind.Recurs || kind.Splay != nil)
}

// learn makes reasons of what is new in a picture. What somebody hinted at is
// told at once; what is found beside a reason that waits for its splay waits
// with it: it may have the same common cause.
func (s loopState) learn(now time.Time, picture trigger.Picture) loopState {
	beliefs, news := s.Beliefs.See(picture)
	s.Beliefs = beliefs
	s = s.judgeHints(len(news) > 0 || s.Heard)
	if len(news) > 0 && (s.InPass.Empty() || len(s.Asked) > 0) {
		s.OweAt = now
	}
	for _, found := range news {
		s.InPass, s.NoRetry = s.InPass.Add(now, found.Reason, found.VMID), false
	}
	return s
}

// judgeHints remembers whose hints proved empty. A look that nobody hinted at
// forgives everybody: it is the safety net's, after a quiet time.
func (s loopState) judgeHints(fruitful bool) loopState {
	if len(s.Asked) == 0 {
		s.Fruitless = nil
	}
	for uid := range s.Asked {
		fruitless := 0
		if !fruitful {
			fruitless = min(s.Fruitless[uid]+1, patientAfter)
		}
		s.Fruitless = s.Fruitless.with(uid, fruitless)
	}
	return s
}

// finish takes the outcome of a pass in.
func (s loopState) finish(now time.Time, luck float64, what passEnded) loopState {
	s.Phase = idle
	s.DeviceID = what.DeviceID
	s.Owed, s.InPass = s.InPass, trigger.Set{}
	if what.Exchanged {
		s.Owed = what.Left
	}
	if what.Exchanged && what.Code == "" {
		_, s.Waiting = s.Waiting.Split(needsNoLook) // this check-in has answered them
	}
	if !s.Portal {
		s.Owed = trigger.Set{} // nobody will ever ask what happened when
	}
	if s.Owed.Empty() && s.Waiting.Empty() {
		s.OweAt, s.Lot = time.Time{}, 0
	}
	if !what.Exchanged {
		return s
	}
	s.NoRetry, s.NotBefore = what.NoRetry, time.Time{}
	if what.RetryAfter > 0 {
		s.NotBefore = now.Add(what.RetryAfter)
	}
	if what.Code != "" {
		if s.Failures++; s.Failures == 1 {
			s.FailingSince = now
		}
		return s.retry(now, luck, what.RetryAfter)
	}
	s.Failures, s.RetryAt, s.LastSuccess, s.Untold = 0, time.Time{}, now, false
	s.Splay = min(what.Splay, maxSplay)
	return s.plan(now, luck, what.Interval)
}

// retry plans the next attempt after a failure. Whoever then has no token does
// not wait for the very moment of the next one: that is the same for all who
// lost the portal together.
func (s loopState) retry(now time.Time, luck float64, floor time.Duration) loopState {
	s.RetryAt = now.Add(trigger.Backoff(s.Timing, s.Failures, now.Sub(s.FailingSince), floor, luck))
	if _, token, ok := s.Bucket.Take(s.RetryAt, s.Timing.BucketSize, s.Timing.BucketEvery); !ok {
		s.RetryAt = token.Add(part(s.Timing.RetryCap/2, luck))
	}
	if s.Waiting.Has(trigger.NetworkUp) { // it came after the exchange began
		var tell time.Time
		s, tell = s.splayed(now, luck, trigger.NetworkUp)
		s.RetryAt = soonest(s.RetryAt, tell)
		s.Bucket = s.Bucket.WithOne(now, s.Timing.BucketSize, s.Timing.BucketEvery)
	}
	return s
}

// maxSplay bounds what a portal may ask for.
const maxSplay = time.Hour

// begin starts a pass if one is due and none runs. Looking is never throttled;
// the exchange is (H46).
func (s loopState) begin(now time.Time) (loopState, []action) {
	if s.running() {
		return s, nil
	}
	lookAt, _ := s.lookAt()
	exchangeAt, owes := s.exchangeAt(now, s.Owed)
	if !isDue(now, lookAt) && !(s.Portal && owes && !now.Before(exchangeAt)) {
		return s, nil
	}
	s.InPass, s.Urgent, s.Heard = s.Owed.Merge(s.Waiting), s.Waiting.Urgent(), !s.Waiting.Empty()
	s.Owed, s.Waiting, s.LookAt = trigger.Set{}, trigger.Set{}, time.Time{}
	s.Asked, s.Hinted = s.Hinted, nil
	s.Phase = looking
	return s, []action{startLook{}}
}
