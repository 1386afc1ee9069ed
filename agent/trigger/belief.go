package trigger

import (
	"cmp"
	"slices"
	"time"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// Picture is what one look saw, as far as reasons follow from it.
type Picture struct {
	At        time.Time // when the look began: what an event said later is newer
	VMs       []protocol.VM
	Truncated bool // there are more: who is missing is not gone
	Product   protocol.Product
}

// Beliefs are what the loop holds for true between two looks: the last picture,
// corrected by the events since. Reasons are differences from it, so that an
// event and the look that follows it give one reason, a lost event gives it a
// look later, and what the agent did itself gives none. A Beliefs is a value:
// its methods return another and leave theirs alone.
type Beliefs struct {
	Known   bool          `json:"known"` // there was a picture; what is seen first is no news
	Product ProductBelief `json:"product,omitzero"`
	VMs     []VMBelief    `json:"vms,omitempty"`
}

// ProductBelief is what is held for true of the product and its license.
type ProductBelief struct {
	Version   string `json:"version,omitempty"`   // configurations compare only within one
	State     string `json:"state,omitempty"`     // one of the Product words; empty = unknown
	License   string `json:"license,omitempty"`   // masked by the tool
	Activated bool   `json:"activated,omitempty"` // it once was: from then on an activation is a re-activation
}

// VMBelief is what is held for true of one virtual machine.
type VMBelief struct {
	Key    protocol.VMKey `json:"key"`
	SeenBy []string       `json:"seen_by,omitempty"`
	State  string         `json:"state,omitempty"` // one of the State words; empty = not known
	Config string         `json:"config,omitempty"`

	stateAt time.Time // of the event that told the state; zero = a look did
}

// OnAnotherClock are the beliefs after the clock was set back: the times of
// events are forgotten, or no look would be newer for as long as it went back.
func (b Beliefs) OnAnotherClock() Beliefs {
	b.VMs = slices.Clone(b.VMs)
	for i := range b.VMs {
		b.VMs[i].stateAt = time.Time{}
	}
	return b
}

func believe(vm protocol.VM) VMBelief {
	belief := VMBelief{Key: vm.VMKey, SeenBy: vm.SeenBy, Config: vm.ConfigHash}
	if vm.State != protocol.StateUnknown {
		belief.State = vm.State
	}
	return belief
}

// settled are the states that an event is believed in: the others pass by
// themselves, and the one that they pass into is told as well.
var settled = map[prlctl.State]bool{
	prlctl.StateRunning: true, prlctl.StateSuspended: true, prlctl.StatePaused: true, prlctl.StateStopped: true,
}

// isPassing says that a state ends by itself, and that its end is told.
func isPassing(state prlctl.State) bool {
	return !settled[state] && state.Portal() != prlctl.PortalUnknown
}

// Hear takes in that an account was told a state of a virtual machine, and
// gives the reason that it is; empty if it is no news. It is not sure where
// only a look can say what the event means.
func (b Beliefs) Hear(at time.Time, account, vmID, word string) (after Beliefs, reason Reason, sure bool) {
	state := prlctl.State(word)
	place := b.find(account, vmID)
	switch {
	case place < 0:
		return b, "", false
	case isPassing(state):
		return b, "", true
	case !settled[state]:
		return b, "", false
	}
	before := b.VMs[place]
	now := before
	now.State, now.stateAt = state.Portal(), at
	b.VMs = slices.Clone(b.VMs)
	b.VMs[place] = now
	return b, passage(before.State, now.State), before.State != ""
}

// find gives the place of a virtual machine that the account lists: its own, or
// one that is shared with it. The same id can be in two accounts (H21).
func (b Beliefs) find(account, vmID string) int {
	shared := -1
	for i, vm := range b.VMs {
		switch {
		case vm.Key.ID != vmID:
		case vm.Key.Owner == account:
			return i
		case slices.Contains(vm.SeenBy, account):
			shared = i
		}
	}
	return shared
}

// passages are the reasons of the ways between two states. A paused virtual
// machine counts as suspended, as in the table (facts/prlctl.md 2.3), and a
// suspended one that starts is resumed.
var passages = map[[2]string]Reason{
	{protocol.StateStopped, protocol.StateRunning}:   VMStarted,
	{protocol.StateSuspended, protocol.StateRunning}: VMResumed,
	{protocol.StateRunning, protocol.StateSuspended}: VMSuspended,
	{protocol.StateStopped, protocol.StateSuspended}: VMSuspended,
	{protocol.StateRunning, protocol.StateStopped}:   VMShutdown,
	{protocol.StateSuspended, protocol.StateStopped}: VMShutdown,
}

func passage(from, to string) Reason { return passages[[2]string{from, to}] }

// News is one reason that a look found.
type News struct {
	Reason Reason
	VMID   string
}

// See takes a picture in and gives what is news in it. Rows of an account that
// could not be listed say nothing. What an event said after the look began
// stands until the next look.
func (b Beliefs) See(picture Picture) (Beliefs, []News) {
	after, sameVersion := Beliefs{Known: true}, b.Product.comparable(picture.Product)
	var news []News
	gone := slices.Clone(b.VMs)
	for _, vm := range picture.VMs {
		now := believe(vm)
		place := slices.IndexFunc(gone, func(old VMBelief) bool { return same(old.Key, now.Key) })
		if place < 0 {
			if vm.Stale != "" && b.Known {
				continue // it is news when somebody sees it
			}
			after.VMs = append(after.VMs, now)
			if !slices.ContainsFunc(b.VMs, now.wasSharedAs) {
				news = append(news, News{VMCreated, vm.ID})
			}
			continue
		}
		before := gone[place]
		gone = slices.Delete(gone, place, place+1)
		if !sameVersion {
			before.Config = ""
		}
		now, found := before.turn(now, vm.Stale != "", picture.At)
		after.VMs = append(after.VMs, now)
		for _, reason := range found {
			news = append(news, News{reason, vm.ID})
		}
	}
	for _, old := range gone {
		switch {
		case picture.Truncated:
			after.VMs = append(after.VMs, old)
		case !slices.ContainsFunc(after.VMs, old.wasSharedAs):
			news = append(news, News{VMRemoved, old.Key.ID})
		}
	}
	var reason Reason
	if after.Product, reason = b.Product.turn(picture.Product); reason != "" {
		news = append(news, News{Reason: reason})
	}
	if !b.Known {
		return after, nil
	}
	return after, news
}

// same says that two keys name one virtual machine. A bundle that could not be
// looked at is no other bundle.
func same(a, b protocol.VMKey) bool {
	unknown := a.Bundle == protocol.Bundle{} || b.Bundle == protocol.Bundle{}
	return a.ID == b.ID && a.Owner == b.Owner && (unknown || a.Bundle == b.Bundle)
}

// wasSharedAs says that another belief is about the same shared virtual machine
// in the name of another account: which of several has the row depends on whose
// files could be looked at.
func (v VMBelief) wasSharedAs(other VMBelief) bool {
	return v.Key.ID == other.Key.ID && (slices.Contains(v.SeenBy, other.Key.Owner) || slices.Contains(other.SeenBy, v.Key.Owner))
}

// turn goes from what was believed to what a look that began at a time saw.
func (v VMBelief) turn(now VMBelief, stale bool, began time.Time) (VMBelief, []Reason) {
	if stale {
		return v, nil
	}
	var reasons []Reason
	if now.State == "" || v.stateAt.After(began) {
		now.State, now.stateAt = v.State, v.stateAt
	}
	if reason := passage(v.State, now.State); reason != "" {
		reasons = append(reasons, reason)
	}
	if now.Config == "" {
		now.Config = v.Config
	}
	if v.Config != "" && v.Config != now.Config {
		reasons = append(reasons, VMConfigChanged)
	}
	return now, reasons
}

// comparable says that configurations were read by one version of the product,
// as far as anyone knows: another one adds and drops keys.
func (p ProductBelief) comparable(product protocol.Product) bool {
	return p.Version == "" || product.Version == "" || p.Version == product.Version
}

// turn goes to what a look saw of the license. A state that could not be read
// changes nothing, and neither does an application that is gone for a moment,
// as while it is updated; one that never was there is not activated.
func (p ProductBelief) turn(product protocol.Product) (ProductBelief, Reason) {
	if !product.Installed && p.State == "" {
		product.State = protocol.ProductDeactivated
	}
	p.Version = cmp.Or(product.Version, p.Version)
	if product.State == "" {
		return p, ""
	}
	active := product.State != protocol.ProductDeactivated
	now := ProductBelief{
		Version: p.Version, State: product.State, License: cmp.Or(product.License, p.License), Activated: p.Activated || active,
	}
	switch {
	case !active || p.State == "":
		return now, ""
	case p.State == protocol.ProductDeactivated && !p.Activated:
		return now, Activation
	case p.State != now.State, p.License != "" && p.License != now.License:
		return now, Reactivation
	}
	return now, ""
}
