// Package trigger knows why the agent looks and checks in, and when: the
// table of reasons, the set that coalesces them, the daily phase, the bucket,
// the backoff, and the step of the loop. Everything here is pure: time and
// chance come in as arguments, and nothing does I/O.
//
// Events are hints that say "look again, because". What was missed is found at
// the next look, so the worst that a lost event costs is time.
package trigger

import (
	"slices"
	"time"

	"prlagent/agent/protocol"
)

// Reason is a word of `triggers[].reason` in a check-in.
type Reason string

// The guide's reasons (Policies → When New Policy Applies), and ours.
const (
	AppLaunch       Reason = "app_launch"
	Activation      Reason = "activation"
	Reactivation    Reason = "reactivation"
	VMCreated       Reason = "vm_created"
	VMStarted       Reason = "vm_started"
	VMSuspended     Reason = "vm_suspended"
	VMResumed       Reason = "vm_resumed"
	VMShutdown      Reason = "vm_shutdown"
	VMConfigChanged Reason = "vm_config_changed"
	NetworkUp       Reason = "network_up"
	Daily           Reason = "daily"

	AgentStart     Reason = "agent_start"
	Wake           Reason = "wake"
	Manual         Reason = "manual"
	CommandResult  Reason = "command_result"
	ProfileChanged Reason = "profile_changed"
	VMRemoved      Reason = "vm_removed"
	Cadence        Reason = "cadence" // the portal's own interval, see CheckinReply.NextCheckin
)

// Kind says how a reason is treated (protocol.md 2.11).
type Kind struct {
	Settle bool // the look waits for the debounce: more may follow
	Urgent bool // the exchange passes the minimum gap, the bucket, a splay and a backoff
	Recurs bool // comes again by itself after a restart, so that nobody must keep it
	// Splay is the longest random wait of the exchange, for what happens to many
	// Macs at once; nil = none. The look does not wait for it (H46).
	Splay func(*protocol.Timing) time.Duration
}

func commonSplay(timing *protocol.Timing) time.Duration { return timing.Splay }
func wakeSplay(timing *protocol.Timing) time.Duration   { return timing.WakeSplay }

// kinds is the table of reasons.
var kinds = []struct {
	Reason
	Kind
}{
	{AppLaunch, Kind{Settle: true}},
	{Activation, Kind{}},
	{Reactivation, Kind{}},
	{VMCreated, Kind{}},
	{VMStarted, Kind{Settle: true}},
	{VMSuspended, Kind{Settle: true}},
	{VMResumed, Kind{Settle: true}},
	{VMShutdown, Kind{Settle: true}},
	{VMConfigChanged, Kind{}},
	{NetworkUp, Kind{Settle: true, Splay: commonSplay}},
	{Daily, Kind{Recurs: true}},

	{AgentStart, Kind{Recurs: true, Splay: commonSplay}},
	{Wake, Kind{Settle: true, Splay: wakeSplay}},
	{Manual, Kind{Urgent: true, Recurs: true}},        // who asked learns that it was lost, and asks again
	{CommandResult, Kind{Urgent: true, Recurs: true}}, // results are in the journal until the portal has them
	{ProfileChanged, Kind{}},
	{VMRemoved, Kind{}},
	{Cadence, Kind{Recurs: true}},
}

// unknownKind is that of a word which is no reason of this version.
var unknownKind Kind

// Kind is how the reason is treated.
func (r Reason) Kind() *Kind {
	for i := range kinds {
		if kinds[i].Reason == r {
			return &kinds[i].Kind
		}
	}
	return &unknownKind
}

// Recurs reports whether the reason comes again by itself after a restart.
func (r Reason) Recurs() bool { return r.Kind().Recurs }

// Set is a number of reasons, coalesced: one entry for each reason and VM,
// with how often and when. The zero Set is empty. A Set is a value: Add and
// Merge return another and leave theirs alone.
type Set struct {
	entries []protocol.Trigger
}

// Add returns the set with one more occurrence.
func (s Set) Add(at time.Time, reason Reason, vmID string) Set {
	return s.Merge(SetOf([]protocol.Trigger{{Reason: string(reason), Count: 1, FirstAt: at.UTC(), LastAt: at.UTC(), VMID: vmID}}))
}

// SetOf makes a set of triggers as they stand in a check-in.
func SetOf(triggers []protocol.Trigger) Set {
	return Set{entries: slices.Clone(triggers)}
}

// Merge returns the set of both sets' reasons, in the order they first came.
func (s Set) Merge(other Set) Set {
	return Set{entries: protocol.CoalesceTriggers(s.entries, other.entries)}
}

// Limited is the set with at most that many entries, see protocol.LimitTriggers.
func (s Set) Limited(most int) Set { return Set{entries: protocol.LimitTriggers(s.entries, most)} }

// Split gives the reasons that are chosen, and the rest.
func (s Set) Split(chosen func(Reason) bool) (these, rest Set) {
	for i := range s.entries {
		into := &rest
		if chosen(Reason(s.entries[i].Reason)) {
			into = &these
		}
		into.entries = append(into.entries, s.entries[i])
	}
	return these, rest
}

// Empty reports whether there is no reason.
func (s Set) Empty() bool { return len(s.entries) == 0 }

// Has reports whether the reason is among the set's.
func (s Set) Has(reason Reason) bool {
	for i := range s.entries {
		if s.entries[i].Reason == string(reason) {
			return true
		}
	}
	return false
}

// Urgent reports whether a reason of the set passes the throttle.
func (s Set) Urgent() bool {
	for i := range s.entries {
		if Reason(s.entries[i].Reason).Kind().Urgent {
			return true
		}
	}
	return false
}

// Triggers is the set as it stands in a check-in.
func (s Set) Triggers() []protocol.Trigger { return slices.Clone(s.entries) }

// Durable is the set without the reasons that come again by themselves: nobody
// has to keep those over a restart.
func (s Set) Durable() Set {
	_, durable := s.Split(Reason.Recurs)
	return durable
}
