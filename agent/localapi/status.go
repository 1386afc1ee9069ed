// Package localapi is how a person or a program on the Mac asks the daemon:
// HTTP with JSON over a unix socket, a client for it, and the snapshot files
// that answer while the daemon is down.
//
// Who may see what is decided once per connection from the peer's credentials
// (H16): anyone reads health and their own virtual machines; root and members
// of the admin group see everything and may act.
//
//	GET  /v1/status                 Status
//	GET  /v1/vms                    Inventory
//	GET  /v1/policy                 Policy
//	GET  /v1/events?since=N         EventList
//	GET  /v1/events?follow=1        Event per line until the client leaves
//	POST /v1/checkin {"wait":true}  CheckinResult (root and admin)
//	POST /v1/byhand HandRequest     HandResult (root and admin)
//	GET  /v1/report                 SentReport (root and admin)
//	GET  /v1/placed                 Placed (root and admin)
package localapi

import (
	"cmp"
	"time"

	"prlagent/agent/protocol"
)

// Schema is the version of every JSON document of this package; it rises when
// a field changes its meaning or goes away.
const Schema = 1

// Status is what the daemon is doing and why. What a stranger may not see is
// left out of their answer, see ForEveryone.
type Status struct {
	Schema        int                   `json:"schema"`
	At            time.Time             `json:"at"`
	ValidUntil    time.Time             `json:"valid_until,omitzero"` // until then a snapshot of a daemon that runs is current (H70)
	Daemon        Daemon                `json:"daemon"`
	Health        Health                `json:"health"`
	Config        ConfigStatus          `json:"configuration"`
	Portal        PortalStatus          `json:"portal"`
	Policy        protocol.PolicyReport `json:"policy"`
	PolicyInForce InForce               `json:"policy_in_force"`
	Drifts        int                   `json:"drifts"`     // how often settings of the policy were found changed
	Violations    int                   `json:"violations"` // of its security controls, that there are now
	// LocksReleased: the agent only plans because of a person; nil: it does not.
	LocksReleased *LocksReleased      `json:"locks_released,omitempty"`
	Store         StoreStatus         `json:"store"`
	Host          protocol.Host       `json:"host"`
	Product       protocol.Product    `json:"product"`
	Licensing     *LicensingProfile   `json:"licensing_profile,omitempty"` // nil: there is none
	Counts        Counts              `json:"counts"`
	Schedule      Schedule            `json:"schedule"`
	Users         []protocol.UserLook `json:"users,omitempty"`
	Doing         []Activity          `json:"doing,omitempty"` // what runs at this moment
	Streams       []StreamStatus      `json:"event_streams,omitempty"`
	Pass          *Pass               `json:"last_pass,omitempty"`
	ToolRuns      map[string]uint64   `json:"tool_runs,omitempty"`  // since the daemon's start, by program
	Holds         *Holds              `json:"holds,omitempty"`      // nil: there never was a list of holds
	Commands      *CommandStatus      `json:"commands,omitempty"`   // nil: this Mac trusts no key for commands, and has none
	Restricted    bool                `json:"restricted,omitempty"` // some parts are for admins only and were left out
}

// LicensingProfile is the vendor's profile, without its key and without whose it is
// (CFP-12).
type LicensingProfile struct {
	Activation string `json:"activation"` // "License Key", "SSO", or "unknown" for any other word
	HasKey     bool   `json:"has_key"`
	Count      int    `json:"count"` // the Mac's and those of its users
}

// Daemon is the program that answers.
type Daemon struct {
	Version   string    `json:"version"`
	Revision  string    `json:"revision,omitempty"`
	PID       int       `json:"pid,omitempty"`
	StartedAt time.Time `json:"started_at,omitzero"`
	Running   bool      `json:"running"`         // false in a snapshot after a stop, and in one that the client read
	State     string    `json:"state,omitempty"` // then: NotRunning or NotAnswering
}

// Health words (DESIGN 4): one of them is Health.State, wherever health is shown.
const (
	Healthy      = protocol.Healthy
	Degraded     = protocol.Degraded
	Unhealthy    = protocol.Unhealthy
	NotRunning   = "not_running"   // the daemon is not there
	NotAnswering = "not_answering" // it is there, and gives no answer
	NotInstalled = "not_installed" // there never was one on this Mac, or it was taken away
	Stale        = "stale"         // it is not there, and its snapshot has expired
)

// Health is the sum of all conditions that need a person or explain a state.
type Health struct {
	State      string      `json:"state"`          // one of the health words
	Last       string      `json:"last,omitempty"` // what a daemon that does not answer any more said of itself
	Conditions []Condition `json:"conditions"`
}

// unansweredStates are the words for a daemon that gives no answer, by the code
// of a Client's error.
var unansweredStates = []struct {
	code protocol.Code
	word string
}{
	{protocol.CodeDaemonNotRunning, NotRunning}, {protocol.CodeDaemonSilent, NotAnswering}, {protocol.CodeDaemonMissing, NotInstalled},
}

// UnansweredState is the health word of a Mac whose daemon a Client got no answer
// from, by the error; empty if it answered.
func UnansweredState(err error) string {
	code := protocol.CodeOf(err)
	for _, state := range unansweredStates {
		if state.code == code {
			return state.word
		}
	}
	return ""
}

// UnansweredCode is the code of such a word.
func UnansweredCode(word string) protocol.Code {
	for _, state := range unansweredStates {
		if state.word == word {
			return state.code
		}
	}
	return ""
}

// Unanswered is a snapshot as it counts once its daemon does not answer: state is
// NotRunning, NotAnswering or NotInstalled, and the one word of its health (H70).
func (s Status) Unanswered(state string) Status {
	if s.Health.State != state {
		s.Health.Last = cmp.Or(s.Health.Last, s.Health.State)
	}
	s.Daemon.Running, s.Daemon.State, s.Health.State = false, state, state
	s.Doing, s.ValidUntil, s.Schedule = nil, time.Time{}, Schedule{}
	s.Portal.NextAttemptAt, s.Portal.NextReason = time.Time{}, "" // nobody makes it
	return s
}

// UnansweredAt is the same at a time: the snapshot of a daemon that does not run is
// Stale once it does not count any more (DESIGN 4). It then keeps its ValidUntil.
func (s Status) UnansweredAt(state string, now time.Time) Status {
	answer := s.Unanswered(state)
	if state == NotRunning && !s.ValidUntil.IsZero() && now.After(s.ValidUntil) {
		answer.Health.State, answer.ValidUntil = Stale, s.ValidUntil
	}
	return answer
}

// Condition is one code that is true now.
type Condition struct {
	Code     protocol.Code     `json:"code"`
	Severity protocol.Severity `json:"severity"`
	Text     string            `json:"text"`
	Remedy   string            `json:"remedy,omitempty"`
	Count    int               `json:"count,omitempty"`   // how many users, keys or folders it is true of; 0 = it is of the Mac
	Subject  string            `json:"subject,omitempty"` // their names; admins only
	Detail   string            `json:"detail,omitempty"`  // says more; admins only
	Since    time.Time         `json:"since,omitzero"`
	Pending  bool              `json:"pending,omitempty"` // may pass by itself: true, and no reason for alarm yet
}

// ConfigStatus says where the configuration comes from.
type ConfigStatus struct {
	Source         string          `json:"source"` // managed, local or none
	LocallyManaged bool            `json:"locally_managed"`
	Mode           string          `json:"mode"` // monitor or enforce
	Problems       []ConfigProblem `json:"problems,omitempty"`
}

// ConfigProblem is one key that could not be used.
type ConfigProblem struct {
	Key  string        `json:"key"`
	Code protocol.Code `json:"code"`
	Text string        `json:"text"`
}

// PortalStatus is how the exchange with the portal goes.
type PortalStatus struct {
	URL           string         `json:"url,omitempty"`
	Enrollment    string         `json:"enrollment"` // one of the Enrollment words of package checkin
	DeviceID      string         `json:"device_id,omitempty"`
	KeyID         string         `json:"key_id,omitempty"` // of the device key; no secret
	Group         protocol.Group `json:"group,omitzero"`
	LastAttemptAt time.Time      `json:"last_attempt_at,omitzero"`
	LastSuccessAt time.Time      `json:"last_success_at,omitzero"`
	NextAttemptAt time.Time      `json:"next_attempt_at,omitzero"`
	NextReason    string         `json:"next_reason,omitempty"`
	LastCode      protocol.Code  `json:"last_code,omitempty"` // why the last attempt failed; empty = it did not
	LastDetail    string         `json:"last_detail,omitempty"`
	Failures      int            `json:"failures"` // in a row
	Sequence      uint64         `json:"sequence"`
}

// StoreStatus is how the state database was opened.
type StoreStatus struct {
	Outcome string `json:"outcome"`
	Reason  string `json:"reason,omitempty"`
	BadFile string `json:"bad_file,omitempty"`
	Epoch   string `json:"epoch"`
	Commits uint64 `json:"commits"` // since the daemon's start

	BackedUpAt time.Time `json:"backed_up_at,omitzero"` // last backup by this daemon
}

// Counts are the numbers a stranger may see.
type Counts struct {
	Users       int `json:"users"`
	UsersFailed int `json:"users_failed"`
	VMs         int `json:"vms"`
	Running     int `json:"running"`
	Stale       int `json:"stale"`
}

// Schedule is when the agent looks again by itself.
type Schedule struct {
	DailyAt   time.Time `json:"daily_at,omitzero"`
	CheckinAt time.Time `json:"checkin_at,omitzero"`
	Because   string    `json:"because,omitempty"`
}

// Pass is one turn of the loop, step by step.
type Pass struct {
	Number     uint64             `json:"number"`
	StartedAt  time.Time          `json:"started_at"`
	EndedAt    time.Time          `json:"ended_at,omitzero"`
	Triggers   []protocol.Trigger `json:"triggers"`
	Steps      []Step             `json:"steps"`
	Requests   int                `json:"requests"`
	SentBytes  int                `json:"sent_bytes"`
	ToolRuns   int                `json:"tool_runs"`
	CommitsNow int                `json:"commits"`
}

// Activity is a part of a pass that runs: a look, or an exchange beside it.
type Activity struct {
	Step      string             `json:"step"` // observe or exchange
	StartedAt time.Time          `json:"started_at"`
	GivesUpAt time.Time          `json:"gives_up_at,omitzero"` // when it ends without an outcome at the latest, as far as that is known
	Triggers  []protocol.Trigger `json:"triggers,omitempty"`
	Users     []Waiting          `json:"users,omitempty"` // whose tools have not answered yet; admins only
}

// Waiting is an account whose tools were asked.
type Waiting struct {
	Name      string    `json:"user_name"`
	UID       uint32    `json:"uid"`
	StartedAt time.Time `json:"started_at"`
	GivesUpAt time.Time `json:"gives_up_at"`
}

// Step is one part of a pass.
type Step struct {
	Name    string        `json:"name"`    // observe, exchange, converge or report
	Outcome string        `json:"outcome"` // done, failed or skipped
	Code    protocol.Code `json:"code,omitempty"`
	Detail  string        `json:"detail,omitempty"`
	Millis  int64         `json:"ms"`
}

// Outcomes of a step.
const (
	StepDone    = "done"
	StepFailed  = "failed"
	StepSkipped = "skipped"
)

// Inventory is the table as the daemon has it.
type Inventory struct {
	Schema     int            `json:"schema"`
	At         time.Time      `json:"at"` // of the last look
	Rows       []protocol.Row `json:"rows"`
	Restricted bool           `json:"restricted,omitempty"` // only the caller's own
	LeftOut    int            `json:"left_out,omitempty"`   // machines beyond what the agent keeps, that no row is for
}

// EventList is a stretch of the event ring.
type EventList struct {
	Schema int              `json:"schema"`
	Events []protocol.Event `json:"events"`
	Next   uint64           `json:"next"` // ask with since=Next for what comes later
}

// checkinRequest asks for a check-in now.
type checkinRequest struct {
	Wait bool `json:"wait"`
}

// CheckinResult answers it: at once, or when the pass has ended.
type CheckinResult struct {
	Schema   int           `json:"schema"`
	Accepted bool          `json:"accepted"`
	Waited   bool          `json:"waited"`
	Reported bool          `json:"reported"`       // the portal has the report, whatever Code says of the rest
	Code     protocol.Code `json:"code,omitempty"` // why the exchange failed; empty = it did not
	Detail   string        `json:"detail,omitempty"`
	Pass     *Pass         `json:"pass,omitempty"`
}

// ErrorBody is the body of every refusal.
type ErrorBody struct {
	Code   protocol.Code `json:"code"`
	Text   string        `json:"text"`
	Remedy string        `json:"remedy,omitempty"`
	// RetryAfterS is when to ask again, in seconds from now; 0 = it is not a
	// question of time.
	RetryAfterS int `json:"retry_after_s,omitempty"`
}

// ForEveryone is the part of a status that any user of the Mac may see, and
// what the world-readable snapshot holds: health and counts (H16).
func (s *Status) ForEveryone() *Status {
	public := &Status{
		Schema: s.Schema, At: s.At, ValidUntil: s.ValidUntil, Daemon: s.Daemon, Config: s.Config, Counts: s.Counts, Schedule: s.Schedule,
		Policy:        protocol.PolicyReport{State: s.Policy.State, Code: s.Policy.Code, Counts: s.Policy.Counts},
		PolicyInForce: InForce{Mode: s.PolicyInForce.Mode, ModeOf: s.PolicyInForce.ModeOf},
		Drifts:        s.Drifts,
		Violations:    s.Violations,

		Store:      StoreStatus{Outcome: s.Store.Outcome},
		Product:    s.Product,
		Licensing:  s.Licensing,
		Restricted: true,
	}
	public.Config.Problems = nil
	if s.LocksReleased != nil {
		public.LocksReleased = &LocksReleased{At: s.LocksReleased.At, HeadVersion: s.LocksReleased.HeadVersion}
	}
	public.Doing = append(public.Doing, s.Doing...)
	for i := range public.Doing {
		public.Doing[i].Users, public.Doing[i].Triggers = nil, nil
	}
	public.Health = Health{State: s.Health.State, Last: s.Health.Last, Conditions: append([]Condition{}, s.Health.Conditions...)}
	for i := range public.Health.Conditions {
		condition := &public.Health.Conditions[i]
		condition.Subject, condition.Detail = "", ""
	}
	if s.Holds != nil {
		public.Holds = s.Holds.forEveryone()
	}
	if s.Commands != nil {
		public.Commands = s.Commands.forEveryone()
	}
	public.Product.License = ""
	public.Portal = s.Portal
	public.Portal.LastDetail, public.Portal.DeviceID = "", ""
	return public
}
