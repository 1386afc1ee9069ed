package trigger

import (
	"time"

	"prlagent/agent/protocol"
)

// Event is what the loop is told. Every event carries the wall-clock time at
// which Step sees it.
type Event interface{ isEvent() }

// Tick says that time has passed.
type Tick struct{}

// SourceEvent says: look again, because.
type SourceEvent struct {
	Reason Reason // empty: let the look, or what is believed, say why
	UID    uint32 // the account that it was heard from; 0 = none
	VMID   string
	State  string // that the VM is in now: a State word of a row, or Transient; empty = it names none
}

// Configured says what the configuration is now.
type Configured struct {
	Portal   bool
	Origin   string // of the portal
	DeviceID string
	Timing   protocol.Timing
	Reasons  []Reason // to look, that came with it
}

// LookDone is the outcome of a look.
type LookDone struct {
	Picture      *Picture // nil: it failed
	PortalBehind bool     // the portal does not have what it saw
}

// ExchangeDone is the outcome of an exchange.
type ExchangeDone struct {
	Origin       string        // of the portal that it was with
	Code         protocol.Code // why it failed; empty = it did not
	NoRetry      bool          // the failure is one that no repetition mends
	Left         Set           // reasons that no stored report has
	RetryAfter   time.Duration // the portal's floor under the next attempt
	Interval     time.Duration // the portal's wish for the next quiet check-in; zero = none
	Splay        time.Duration // the portal's wish for what is common; zero = none
	DeviceID     string
	PortalBehind bool // the portal does not have what the newest look saw
}

// HealthChanged says that the word of health, or the codes of its conditions, are
// others than before, without a look that says so.
type HealthChanged struct {
	PortalBehind bool // the portal does not have it
}

// Converged says what became of the policy since the last look.
type Converged struct {
	PortalBehind bool // the portal does not have what is told of it now
	// Look: settings were written, or could not be: only a look tells how it is now.
	Look bool
	// Idle: nothing was written, as where that cannot be kept, or the tools do not
	// answer: another plan would come to the same, so that the look is as after a hint.
	Idle bool
	UID  uint32    // the account whose machines these are
	Own  []OwnHand // what the agent has changed itself, which is no news
}

// OwnHand is a configuration that the agent has changed: the hash that it had,
// and has.
type OwnHand struct {
	Key           protocol.VMKey
	Before, After string
}

func (Tick) isEvent()          {}
func (SourceEvent) isEvent()   {}
func (Configured) isEvent()    {}
func (LookDone) isEvent()      {}
func (ExchangeDone) isEvent()  {}
func (HealthChanged) isEvent() {}
func (Converged) isEvent()     {}

// Action is what the loop does next.
type Action interface{ isAction() }

// StartLook begins a look; it never waits for an exchange (H59).
type StartLook struct{}

// Conclude ends a look: with Exchange it goes on to check in with what the look
// saw, else its reasons wait. One exchange runs at a time.
type Conclude struct {
	Triggers Set
	Exchange bool
}

func (StartLook) isAction() {}
func (Conclude) isAction()  {}
