package trigger

import (
	"time"

	"prlagent/agent/protocol"
)

// Step is the loop's core: what follows from an event. It has no clock, no I/O
// and no memory but its arguments; random, in [0, 1), is for the jitter.
func Step(now time.Time, random float64, state State, what Event) (State, []Action) {
	slept := state.wasMissed(now, state.Seen) && !state.Reports.ReportAt.After(state.Seen) // else it waited for its splay
	state.onClock(now)
	var next []Action
	switch what := what.(type) {
	case SourceEvent:
		state.onEvent(now, random, &what)
	case Configured:
		state.onConfigured(now, random, &what)
	case LookDone:
		next = append(next, state.onLookDone(now, what))
	case ExchangeDone:
		state.onExchangeDone(now, random, &what)
	case HealthChanged:
		state.onHealthChanged(now, random, what.PortalBehind)
	case Converged:
		state.onConverged(now, &what)
	case Tick:
	}
	state.onTime(now, random, slept)
	if state.beginLook(now) {
		next = append(next, StartLook{})
	}
	return state, next
}

// onEvent takes in what a source said. A state is news by what is believed of
// the virtual machine; what has no reason yet is a hint, and the look will tell.
func (s *State) onEvent(now time.Time, random float64, what *SourceEvent) {
	switch {
	case what.State != "":
		s.onVMState(now, what)
	case what.Reason == "":
		s.onHint(now, what.UID)
	case what.Reason == NetworkUp:
		s.onNetworkUp(now, random)
	case what.Reason == Wake:
		s.onWake(now, random)
	case what.Reason == AgentStart:
		s.onAgentStart(now, random)
	default:
		s.addReason(now, s.withSplay(now, random, what.Reason), what.Reason, what.VMID)
	}
}

func (s *State) onHint(now time.Time, uid uint32) { s.Looks.onHint(now, uid, s.Timing.Debounce) }

// onVMState takes in that a virtual machine is in a state.
func (s *State) onVMState(now time.Time, what *SourceEvent) {
	reason, sure := s.Beliefs.OnVMState(now, what.UID, what.VMID, what.State)
	switch {
	case !sure:
		s.onHint(now, what.UID)
	case reason != "":
		s.addReason(now, now, reason, what.VMID)
	}
}

// addReason adds a reason that wants to be told at a time. The look follows it
// after its debounce, whatever the exchange waits for (H46). What waits already
// keeps its place.
func (s *State) addReason(now, tell time.Time, reason Reason, vmID string) {
	look := now
	if reason.Kind().Settle {
		look = now.Add(s.Timing.Debounce)
	}
	if waits := s.Reports.All(); waits.Empty() || tell.Before(s.Reports.ReportAt) && !waits.Has(reason) {
		s.Reports.ReportAt = tell
	}
	s.Reports.Waiting = s.Reports.Waiting.Add(now, reason, vmID)
	s.Looks.At = soonest(s.Looks.At, look)
	s.Limits.NoRetry = false // the portal may like a report with something new in it
}

// withSplay is when a reason wants to be told: at once, or within the splay of
// its kind after the debounce, which would gather everybody who drew less.
func (s *State) withSplay(now time.Time, random float64, reason Reason) time.Time {
	kind := reason.Kind()
	if kind.Splay == nil || s.isFirstStart(reason) {
		return now
	}
	if kind.Settle {
		now = now.Add(s.Timing.Debounce)
	}
	return now.Add(s.drawSplay(random, kind.Splay))
}

// drawSplay draws this Mac's wait, of the longest of a kind; how long a common one
// is, the portal may say.
func (s *State) drawSplay(random float64, of func(*protocol.Timing) time.Duration) time.Duration {
	timing := s.Timing
	if s.Limits.Splay > 0 {
		timing.Splay = s.Limits.Splay
	}
	s.Reports.drawSplay(random)
	return shareOf(of(&timing), s.Reports.SplayDraw)
}

// isFirstStart reports whether the agent starts on a Mac that never checked in:
// somebody is waiting for it. Any other start may be one of many, as after a
// power cut.
func (s *State) isFirstStart(reason Reason) bool {
	return reason == AgentStart && s.Limits.LastSuccess.IsZero()
}

// onNetworkUp takes in that the network is there (again). It is a reason only
// for a Mac that has not been heard of for a while; one that could not be heard
// tries again. The splay holds in both cases: the network of many came back.
func (s *State) onNetworkUp(now time.Time, random float64) {
	limits := &s.Limits
	if limits.Failures == 0 && !limits.LastSuccess.IsZero() && now.Sub(limits.LastSuccess) < s.Timing.NetworkQuiet {
		return
	}
	if limits.Failures > 0 && !s.Reports.All().Has(NetworkUp) {
		s.retryOnNetwork(now, random)
	}
	s.addReason(now, s.withSplay(now, random, NetworkUp), NetworkUp, "")
}

// onWake takes in that the Mac slept. Nobody told what happened meanwhile, so it
// is looked at; it is a reason to check in if a check-in was missed.
func (s *State) onWake(now time.Time, random float64) {
	if waits := s.Reports.All(); waits.Has(Daily) || waits.Has(Cadence) {
		s.addReason(now, s.withSplay(now, random, Wake), Wake, "")
	}
	s.Looks.ask(now.Add(s.Timing.Debounce))
}

// onAgentStart takes in that the daemon starts. Many Macs may start at once, as
// after a power cut: whatever was unreported before waits for the splay too, and
// so does what the first look finds.
func (s *State) onAgentStart(now time.Time, random float64) {
	tell := s.withSplay(now, random, AgentStart)
	waits := s.Reports.ReportAt
	s.addReason(now, tell, AgentStart, "")
	if s.Reports.ReportAt = tell; waits.After(now) && waits.Before(tell) {
		s.Reports.ReportAt = waits // the splay of the start before is not over
	}
}

// onConfigured takes in the configuration. What another portal has refused or
// asked for does not bind this one.
func (s *State) onConfigured(now time.Time, random float64, what *Configured) {
	if s.Origin != "" && what.Origin != "" && s.Origin != what.Origin {
		s.Limits.onAnotherPortal()
		s.Calendar = Calendar{DailyAt: s.Calendar.DailyAt}
	}
	if what.Origin != "" {
		s.Origin = what.Origin
	}
	s.Timing, s.DeviceID, s.Portal = what.Timing, what.DeviceID, what.Portal
	if s.Calendar.DailyAt.IsZero() {
		s.Calendar.DailyAt = DailyAt(now, s.DeviceID, s.Timing.Daily)
	}
	for _, reason := range what.Reasons {
		s.onEvent(now, random, &SourceEvent{Reason: reason})
	}
}

// onLookDone takes in what a look saw, and decides whether to check in with it.
// While an exchange runs, what is new waits for its end; the look itself is
// there for everybody to see.
func (s *State) onLookDone(now time.Time, what LookDone) Conclude {
	s.Looks.Running = false
	s.Looks.SafetyLookAt = now.Add(s.Timing.SafetyNet)
	s.Reports.PortalBehind = what.PortalBehind
	if what.Picture == nil {
		return s.onLookFailed(now)
	}
	s.takeAlong()
	s.learnFrom(now, what.Picture)
	end := Conclude{Triggers: s.Reports.InLook}
	at, owes := s.exchangeAt(now, s.Reports.InLook)
	end.Exchange = s.Portal && !s.Limits.Running && (s.Reports.Urgent || owes && !now.Before(at))
	if !end.Exchange {
		s.keepReasons()
		return end
	}
	s.Limits.onStart(now, &s.Timing)
	s.Reports.giveToExchange()
	return end
}

// onLookFailed goes on after a look that failed: there is nothing to tell, and
// no use in looking again at once.
func (s *State) onLookFailed(now time.Time) Conclude {
	end := Conclude{Triggers: s.Reports.InLook}
	again := now.Add(max(s.Timing.MinimumGap, s.Timing.Debounce, time.Second))
	s.Reports.ReportAt = latest(s.Reports.ReportAt, again)
	s.keepReasons()
	return end
}

// keepReasons leaves the reasons of a look for a later exchange. Without a
// portal nobody will ever ask what happened when.
func (s *State) keepReasons() {
	s.Reports.keepForLater(s.Limits.Running)
	if !s.Portal {
		s.Reports.Unreported, s.Reports.UrgentNext = Set{}, false
	}
	s.Reports.resetWhenEmpty()
}

// takeAlong takes what came during a look and needs none of its own.
func (s *State) takeAlong() {
	s.Reports.takeAlong()
	if s.Reports.Waiting.Empty() && len(s.Looks.HintsNext) == 0 && !s.Looks.AskedNext {
		s.Looks.At = time.Time{}
	}
}

// learnFrom makes reasons of what is new in a picture. What somebody hinted at is
// told at once; what is found beside a reason that waits for its splay waits
// with it: it may have the same common cause.
func (s *State) learnFrom(now time.Time, picture *Picture) {
	news := s.Beliefs.OnPicture(picture)
	s.Looks.judgeHints(len(news) > 0 || s.Reports.HadReason)
	if len(news) > 0 && (s.Reports.InLook.Empty() || len(s.Looks.HintsNow) > 0) {
		s.Reports.ReportAt = now
	}
	for _, found := range news {
		s.Reports.InLook, s.Limits.NoRetry = s.Reports.InLook.Add(now, found.Reason, found.VMID), false
	}
	s.Reports.InLook = s.Reports.InLook.Limited(protocol.MaxTriggers)
}

// onExchangeDone takes the outcome of an exchange in. One with the portal of before,
// while the configuration came to name another, says nothing of that.
func (s *State) onExchangeDone(now time.Time, random float64, what *ExchangeDone) {
	s.Limits.Running, s.DeviceID = false, what.DeviceID
	came := s.Reports.Idle() // after the exchange began
	isOfBefore := what.Origin != "" && what.Origin != s.Origin
	s.Reports.onExchangeDone(what.Left, what.Code == "" && !isOfBefore, s.Portal)
	if isOfBefore {
		s.Reports.PortalBehind = what.PortalBehind
		return
	}
	s.Limits.NoRetry, s.Limits.NotBefore = what.NoRetry && came.Empty(), time.Time{}
	if what.RetryAfter > 0 {
		s.Limits.NotBefore = now.Add(what.RetryAfter)
	}
	if what.Code != "" {
		s.Limits.onFailure(now, random, what.RetryAfter, &s.Timing)
		if came.Has(NetworkUp) {
			s.retryOnNetwork(now, random)
		}
		return
	}
	s.Limits.onSuccess(now, what.Splay)
	s.Reports.PortalBehind = what.PortalBehind
	s.Plan(now, random, what.Interval)
}

// retryOnNetwork tries again within the splay where the network came up while
// an exchange failed.
func (s *State) retryOnNetwork(now time.Time, random float64) {
	s.Limits.RetryAt = soonest(s.Limits.RetryAt, s.withSplay(now, random, NetworkUp))
	s.Limits.addToken(now, &s.Timing)
}

// onHealthChanged takes in that the health is another. It is owed like what a look
// saw, behind the gap and the bucket, and within the splay: a certificate of the
// portal nears its end for every Mac at the same moment. What waits already takes
// it along; a health that is what the portal knows again is not owed any more.
func (s *State) onHealthChanged(now time.Time, random float64, portalBehind bool) {
	s.Reports.PortalBehind = portalBehind
	if !portalBehind || !s.Reports.All().Empty() {
		return
	}
	s.Limits.NoRetry = false
	s.Reports.ReportAt = latest(s.Reports.ReportAt, now.Add(s.drawSplay(random, commonSplay)))
}

// onConverged takes in what became of the policy. What the agent has changed
// itself is no reason to check in; that the portal does not know how it ended is
// owed like everything else that a look saw.
func (s *State) onConverged(now time.Time, what *Converged) {
	s.Beliefs.OnOwnHand(what.Own)
	switch {
	case what.Look && what.Idle:
		s.onHint(now, what.UID)
	case what.Look:
		s.Looks.onOwnHand(now, what.UID) // which says what the portal lacks
	default:
		s.Reports.PortalBehind = what.PortalBehind
	}
}

// beginLook reports whether a look begins: one is due, and none runs. Looking is never
// throttled, and does not wait for an exchange; the exchange is (H46), and
// follows a look.
func (s *State) beginLook(now time.Time) bool {
	if s.Looks.Running {
		return false
	}
	lookAt, _ := s.Looks.nextLook()
	exchangeAt, owes := s.exchangeAt(now, s.Reports.Unreported)
	wanted := s.Portal && !s.Limits.Running && (s.Reports.UrgentNext || owes && !now.Before(exchangeAt))
	if !isDue(now, lookAt) && !wanted {
		return false
	}
	s.Reports.onLookStart()
	s.Looks.onStart()
	return true
}
