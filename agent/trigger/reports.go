package trigger

import (
	"time"
)

// Reports is what the portal does not know yet. A reason waits for a look, is
// looked at, is unreported until an exchange takes it, and is then the outbox's.
type Reports struct {
	Waiting    Set       `json:"-"` // no look has answered them
	InLook     Set       `json:"-"` // of the look that runs
	Unreported Set       `json:"-"` // looked at, and no exchange has taken them
	Carried    Set       `json:"-"` // by the exchange that runs
	ReportAt   time.Time `json:"report_at,omitzero"`
	// PortalBehind: the portal does not have what the last look saw.
	PortalBehind bool `json:"-"`
	// SplayDraw is this Mac's in [0, 1), for every splay of what waits: the
	// earliest of several draws is no fair one. Zero = not drawn.
	SplayDraw  float64 `json:"-"`
	Urgent     bool    `json:"-"` // the look that runs has a wish that nothing throttles
	UrgentNext bool    `json:"-"` // so had one that an exchange kept from checking in
	HadReason  bool    `json:"-"` // the look that runs began with reasons
}

// All are the reasons that no report has.
func (r *Reports) All() Set { return r.Carried.Merge(r.Idle()) }

// Idle are the reasons that no exchange carries.
func (r *Reports) Idle() Set { return r.InLook.Merge(r.Unreported).Merge(r.Waiting) }

// onLookStart begins a look, which takes every reason so far.
func (r *Reports) onLookStart() {
	r.Urgent, r.HadReason = r.UrgentNext || r.Waiting.Urgent(), !r.Waiting.Empty()
	r.InLook = r.Unreported.Merge(r.Waiting)
	r.Unreported, r.Waiting, r.UrgentNext = Set{}, Set{}, false
}

// takeAlong puts into the look what came during it and asks for no look of its
// own: that the agent started, that the network is there, that a check is due.
func (r *Reports) takeAlong() {
	along, rest := r.Waiting.Split(needsNoLook)
	r.InLook, r.Waiting = r.InLook.Merge(along), rest
}

// needsNoLook reports whether a reason is about the agent and its portal, not
// about what there is to see: any check-in answers it.
func needsNoLook(reason Reason) bool {
	kind := reason.Kind()
	return !kind.Urgent && (kind.Recurs || kind.Splay != nil)
}

// giveToExchange gives what was looked at to an exchange that begins.
func (r *Reports) giveToExchange() {
	r.Carried, r.InLook, r.Urgent = r.InLook, Set{}, false
}

// keepForLater leaves what was looked at for a later exchange. A wish that only
// the exchange which runs has kept waiting stays one.
func (r *Reports) keepForLater(exchanging bool) {
	r.UrgentNext = r.UrgentNext || exchanging && r.Urgent
	r.Unreported, r.InLook, r.Urgent = r.InLook.Merge(r.Unreported), Set{}, false
}

// onExchangeDone takes an exchange in that left some reasons in no stored report.
// One that went well has answered what needs no look. Without a portal nobody will
// ever ask.
func (r *Reports) onExchangeDone(left Set, well, portal bool) {
	if well {
		_, r.Waiting = r.Waiting.Split(needsNoLook)
		_, r.Unreported = r.Unreported.Split(needsNoLook)
		_, r.InLook = r.InLook.Split(needsNoLook) // of a look that began beside the exchange
	}
	r.Unreported, r.Carried = left.Merge(r.Unreported), Set{}
	if !portal {
		r.Unreported = Set{}
	}
	r.resetWhenEmpty()
}

// resetWhenEmpty begins anew once nothing waits any more: the next reason draws
// anew, and is told when it wants to be.
func (r *Reports) resetWhenEmpty() {
	if r.InLook.Empty() && r.Unreported.Empty() && r.Waiting.Empty() {
		r.ReportAt, r.SplayDraw = time.Time{}, 0
	}
}

// drawSplay draws this Mac's place in every splay, if it has none.
func (r *Reports) drawSplay(random float64) {
	if r.SplayDraw == 0 {
		r.SplayDraw = random
	}
}
