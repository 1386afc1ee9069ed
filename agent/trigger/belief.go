package trigger

import (
	"slices"
	"time"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// Picture is what one look saw, as far as reasons follow from it.
type Picture struct {
	At      time.Time // when the look began: what an event said later is newer
	VMs     []protocol.VM
	Product protocol.Product
}

// Beliefs are what the loop holds for true between two looks: the last picture,
// corrected by the events since. Reasons are differences from it, so that an
// event and the look that follows it give one reason, a lost event gives it a
// look later, and what the agent did itself gives none. A Beliefs is a value:
// its methods return another and leave theirs alone.
type Beliefs struct {
	Known   bool // there was a picture; what is seen first is no news
	Product ProductBelief
	vms     []vmBelief
}

// ProductBelief is what is held for true of the license.
type ProductBelief struct {
	State     string `json:"state,omitempty"`     // one of the Product words; empty = unknown
	License   string `json:"license,omitempty"`   // masked by the tool
	Activated bool   `json:"activated,omitempty"` // it once was: from then on an activation is a re-activation
}

// vmBelief is what is held for true of one virtual machine.
type vmBelief struct {
	key     protocol.VMKey
	seenBy  []string
	state   string // one of the State words; empty = not known
	stateAt time.Time
	config  string
}

// Remember makes beliefs of what was known when the daemon ended.
func Remember(vms []protocol.VM, product ProductBelief) Beliefs {
	beliefs := Beliefs{Known: true, Product: product}
	for _, vm := range vms {
		beliefs.vms = append(beliefs.vms, believe(vm))
	}
	return beliefs
}

func believe(vm protocol.VM) vmBelief {
	belief := vmBelief{key: vm.VMKey, seenBy: vm.SeenBy, config: vm.ConfigHash}
	if vm.State != protocol.StateUnknown {
		belief.state = vm.State
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
	before := b.vms[place]
	now := before
	now.state, now.stateAt = state.Portal(), at
	b.vms = slices.Clone(b.vms)
	b.vms[place] = now
	return b, passage(before.state, now.state), true
}

// find gives the place of a virtual machine that the account lists: its own, or
// one that is shared with it. The same id can be in two accounts (H21).
func (b Beliefs) find(account, vmID string) int {
	shared := -1
	for i, vm := range b.vms {
		switch {
		case vm.key.ID != vmID:
		case vm.key.Owner == account:
			return i
		case slices.Contains(vm.seenBy, account):
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
	after := Beliefs{Known: true}
	var news []News
	gone := slices.Clone(b.vms)
	for _, vm := range picture.VMs {
		now := believe(vm)
		place := slices.IndexFunc(gone, func(old vmBelief) bool { return same(old.key, now.key) })
		if place < 0 {
			after.vms = append(after.vms, now)
			if vm.Stale == "" {
				news = append(news, News{VMCreated, vm.ID})
			}
			continue
		}
		before := gone[place]
		gone = slices.Delete(gone, place, place+1)
		now, found := before.turn(now, vm.Stale != "", picture.At)
		after.vms = append(after.vms, now)
		for _, reason := range found {
			news = append(news, News{reason, vm.ID})
		}
	}
	for _, old := range gone {
		news = append(news, News{VMRemoved, old.key.ID})
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

// turn goes from what was believed to what a look that began at a time saw.
func (v vmBelief) turn(now vmBelief, stale bool, began time.Time) (vmBelief, []Reason) {
	if stale {
		return v, nil
	}
	var reasons []Reason
	if now.state == "" || v.stateAt.After(began) {
		now.state, now.stateAt = v.state, v.stateAt
	}
	if reason := passage(v.state, now.state); reason != "" {
		reasons = append(reasons, reason)
	}
	if now.config == "" {
		now.config = v.config
	}
	if v.config != "" && v.config != now.config {
		reasons = append(reasons, VMConfigChanged)
	}
	return now, reasons
}

// turn goes to what a look saw of the license. A state that could not be read
// changes nothing, and neither does an application that is gone for a moment,
// as while it is updated; one that never was there is not activated.
func (p ProductBelief) turn(product protocol.Product) (ProductBelief, Reason) {
	if !product.Installed && p.State == "" {
		product.State = protocol.ProductDeactivated
	}
	if product.State == "" {
		return p, ""
	}
	active := product.State != protocol.ProductDeactivated
	now := ProductBelief{State: product.State, License: product.License, Activated: p.Activated || active}
	switch {
	case !active || p.State == "":
		return now, ""
	case p.State == protocol.ProductDeactivated && !p.Activated:
		return now, Activation
	case p.State != now.State, p.License != "" && now.License != "" && p.License != now.License:
		return now, Reactivation
	}
	return now, ""
}
