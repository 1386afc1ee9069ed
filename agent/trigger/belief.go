package trigger

import (
	"cmp"
	"slices"
	"time"

	"prlagent/agent/protocol"
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
	Key    protocol.VMKey     `json:"key"`
	SeenBy []protocol.Account `json:"seen_by,omitempty"`
	Bundle protocol.Bundle    `json:"bundle,omitzero"`
	State  string             `json:"state,omitempty"` // one of the State words; empty = not known
	Config string             `json:"config,omitempty"`

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

func beliefOf(vm protocol.VM) VMBelief {
	belief := VMBelief{Key: vm.VMKey, SeenBy: vm.SeenBy, Bundle: vm.Bundle, Config: vm.ConfigHash}
	if vm.State != protocol.StateUnknown {
		belief.State = vm.State
	}
	return belief
}

// asRow is the belief as a look would have it, to be compared with one.
func (v VMBelief) asRow() protocol.VM {
	return protocol.VM{VMKey: v.Key, SeenBy: v.SeenBy, Bundle: v.Bundle, State: v.State, ConfigHash: v.Config}
}

// Transient is a state that ends by itself; its end is told as well.
const Transient = "transient"

// lastingStates are the states that an event is believed in.
var lastingStates = map[string]bool{protocol.StateRunning: true, protocol.StateSuspended: true, protocol.StateStopped: true}

// OnVMState takes in that an account was told a state of a virtual machine: one
// of the State words of a row, or Transient. It gives the reason that this is;
// empty if it is no news. It is not sure where only a look can say what the
// event means.
func (b Beliefs) OnVMState(at time.Time, uid uint32, vmID, state string) (after Beliefs, reason Reason, sure bool) {
	place := b.placeOf(uid, vmID)
	switch {
	case place < 0:
		return b, "", false
	case state == Transient:
		return b, "", true
	case !lastingStates[state]:
		return b, "", false
	}
	before := b.VMs[place]
	now := before
	now.State, now.stateAt = state, at
	b.VMs = slices.Clone(b.VMs)
	b.VMs[place] = now
	return b, reasonOfChange(before.State, now.State), before.State != ""
}

// OnOwnHand takes in what the agent has changed itself. Where something else than
// what it changed was believed, a look has yet to tell of another change.
func (b Beliefs) OnOwnHand(changed []OwnHand) Beliefs {
	if len(changed) == 0 {
		return b
	}
	b.VMs = slices.Clone(b.VMs)
	for i := range b.VMs {
		vm := &b.VMs[i]
		at := slices.IndexFunc(changed, func(own OwnHand) bool { return own.Key == vm.Key })
		if at >= 0 && vm.Config == changed[at].Before && changed[at].After != "" {
			vm.Config = changed[at].After
		}
	}
	return b
}

// placeOf gives the place of a virtual machine that the account lists: its own,
// or one that is shared with it. The same id can be in two accounts (H21).
func (b Beliefs) placeOf(uid uint32, vmID string) int {
	shared := -1
	for i, belief := range b.VMs {
		switch vm := belief.asRow(); {
		case vm.ID != vmID:
		case vm.UID == uid:
			return i
		case vm.IsListedBy(uid):
			shared = i
		}
	}
	return shared
}

// stateReasons are the reasons of the ways between two states. A paused virtual
// machine counts as suspended, as in the table (facts/prlctl.md 2.3), and a
// suspended one that starts is resumed.
var stateReasons = map[[2]string]Reason{
	{protocol.StateStopped, protocol.StateRunning}:   VMStarted,
	{protocol.StateSuspended, protocol.StateRunning}: VMResumed,
	{protocol.StateRunning, protocol.StateSuspended}: VMSuspended,
	{protocol.StateStopped, protocol.StateSuspended}: VMSuspended,
	{protocol.StateRunning, protocol.StateStopped}:   VMShutdown,
	{protocol.StateSuspended, protocol.StateStopped}: VMShutdown,
}

func reasonOfChange(from, to string) Reason { return stateReasons[[2]string{from, to}] }

// News is one reason that a look found.
type News struct {
	Reason Reason
	VMID   string
}

// OnPicture takes a picture in and gives what is news in it. Rows of an account
// that could not be listed say nothing. What an event said after the look began
// stands until the next look.
func (b Beliefs) OnPicture(picture Picture) (Beliefs, []News) {
	after, news := b.comparePicture(picture)
	product, reason := b.Product.seenAs(picture.Product)
	after.Product = product
	if reason != "" {
		news = append(news, News{Reason: reason})
	}
	if !b.Known {
		return after, nil
	}
	return after, news
}

// comparePicture goes to what a picture shows of the virtual machines.
func (b Beliefs) comparePicture(picture Picture) (after Beliefs, news []News) {
	sameVersion := b.Product.isSameVersion(picture.Product)
	before, place := b.asRows()
	compared := make(map[*protocol.VM]bool)
	after.Known = true
	for _, change := range protocol.CompareVMs(before, picture.VMs, picture.Truncated) {
		compared[change.Before], compared[change.Now] = true, true
		switch {
		case change.Came():
			after.VMs = append(after.VMs, beliefOf(*change.Now))
			news = append(news, News{VMCreated, change.Now.ID})
		case change.Went():
			news = append(news, News{VMRemoved, change.Before.ID})
		default:
			believed := b.VMs[place[change.Before]]
			if !sameVersion {
				believed.Config = ""
			}
			belief, reasons := believed.seenAs(beliefOf(*change.Now), change.Now.Stale != "", picture.At)
			after.VMs = append(after.VMs, belief)
			for _, reason := range reasons {
				news = append(news, News{reason, change.Now.ID})
			}
		}
	}
	for i := range picture.VMs { // another account's row of a shared machine
		if vm := &picture.VMs[i]; !compared[vm] && vm.Stale == "" {
			after.VMs = append(after.VMs, beliefOf(*vm))
		}
	}
	for i := range before {
		if picture.Truncated && !compared[&before[i]] { // who is missing has not gone
			after.VMs = append(after.VMs, b.VMs[i])
		}
	}
	return after, news
}

// asRows are the beliefs as rows of a look, and the place of each.
func (b Beliefs) asRows() ([]protocol.VM, map[*protocol.VM]int) {
	rows, place := make([]protocol.VM, len(b.VMs)), make(map[*protocol.VM]int, len(b.VMs))
	for i, belief := range b.VMs {
		rows[i] = belief.asRow()
		place[&rows[i]] = i
	}
	return rows, place
}

// seenAs goes from what was believed to what a look that began at a time saw.
func (v VMBelief) seenAs(now VMBelief, stale bool, began time.Time) (VMBelief, []Reason) {
	if stale {
		return v, nil
	}
	var reasons []Reason
	if now.State == "" || v.stateAt.After(began) {
		now.State, now.stateAt = v.State, v.stateAt
	}
	if reason := reasonOfChange(v.State, now.State); reason != "" {
		reasons = append(reasons, reason)
	}
	if now.Config == "" {
		now.Config = v.Config
	}
	if now.Bundle == (protocol.Bundle{}) {
		now.Bundle = v.Bundle
	}
	if v.Config != "" && v.Config != now.Config || now.Bundle.IsOther(v.Bundle) {
		reasons = append(reasons, VMConfigChanged)
	}
	return now, reasons
}

// isSameVersion reports whether configurations were read by one version of the
// product, as far as anyone knows: another one adds and drops keys.
func (p ProductBelief) isSameVersion(product protocol.Product) bool {
	return p.Version == "" || product.Version == "" || p.Version == product.Version
}

// seenAs goes to what a look saw of the license. A state that could not be read
// changes nothing, and neither does an application that is gone for a moment,
// as while it is updated; one that never was there is not activated.
func (p ProductBelief) seenAs(product protocol.Product) (ProductBelief, Reason) {
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
