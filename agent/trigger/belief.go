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
// look later, and what the agent did itself gives none. Its VMs are never changed
// in place: copies of a State share them.
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

// ownVMs gives the beliefs of the virtual machines to themselves, to be changed.
func (b *Beliefs) ownVMs() { b.VMs = append([]VMBelief(nil), b.VMs...) }

// OnAnotherClock takes in that the clock was set back: the times of events are
// forgotten, or no look would be newer for as long as it went back.
func (b *Beliefs) OnAnotherClock() {
	b.ownVMs()
	for i := range b.VMs {
		b.VMs[i].stateAt = time.Time{}
	}
}

func beliefOf(vm *protocol.VM) *VMBelief {
	belief := &VMBelief{Key: vm.VMKey, SeenBy: vm.SeenBy, Bundle: vm.Bundle, Config: vm.ConfigHash}
	if vm.State != protocol.StateUnknown {
		belief.State = vm.State
	}
	return belief
}

// Transient is a state that ends by itself; its end is told as well.
const Transient = "transient"

// lastingStates are the states that an event is believed in.
var lastingStates = []string{protocol.StateRunning, protocol.StateSuspended, protocol.StateStopped}

// OnVMState takes in that an account was told a state of a virtual machine: one
// of the State words of a row, or Transient. It gives the reason that this is;
// empty if it is no news. It is not sure where only a look can say what the
// event means.
func (b *Beliefs) OnVMState(at time.Time, uid uint32, vmID, state string) (reason Reason, sure bool) {
	place := b.placeOf(uid, vmID)
	switch {
	case place < 0:
		return "", false
	case state == Transient:
		return "", true
	case !slices.Contains(lastingStates, state):
		return "", false
	}
	b.ownVMs()
	vm := &b.VMs[place]
	before := vm.State
	vm.State, vm.stateAt = state, at
	return reasonOfChange(before, state), before != ""
}

// OnOwnHand takes in what the agent has changed itself. Where something else than
// what it changed was believed, a look has yet to tell of another change.
func (b *Beliefs) OnOwnHand(changed []OwnHand) {
	if len(changed) == 0 {
		return
	}
	b.ownVMs()
	for i := range b.VMs {
		vm := &b.VMs[i]
		own := ownHandAt(changed, vm.Key)
		if own != nil && vm.Config == own.Before && own.After != "" {
			vm.Config = own.After
		}
	}
}

// ownHandAt is what the agent has changed of one machine; nil: nothing.
func ownHandAt(changed []OwnHand, key protocol.VMKey) *OwnHand {
	for i := range changed {
		if changed[i].Key == key {
			return &changed[i]
		}
	}
	return nil
}

// placeOf gives the place of a virtual machine that the account lists: its own,
// or one that is shared with it. The same id can be in two accounts (H21).
func (b *Beliefs) placeOf(uid uint32, vmID string) int {
	shared := -1
	for i := range b.VMs {
		switch vm := &b.VMs[i]; {
		case vm.Key.ID != vmID:
		case vm.Key.UID == uid:
			return i
		case vm.isSharedWith(uid):
			shared = i
		}
	}
	return shared
}

// isSharedWith reports whether the account lists the machine, which is another's.
func (v *VMBelief) isSharedWith(uid uint32) bool {
	for i := range v.SeenBy {
		if uid != 0 && v.SeenBy[i].UID == uid {
			return true
		}
	}
	return false
}

// stateReasons are the reasons of the ways between two states. A paused virtual
// machine counts as suspended, as in the table (facts/prlctl.md 2.3), and a
// suspended one that starts is resumed.
var stateReasons = []struct {
	from, to string
	reason   Reason
}{
	{protocol.StateStopped, protocol.StateRunning, VMStarted},
	{protocol.StateSuspended, protocol.StateRunning, VMResumed},
	{protocol.StateRunning, protocol.StateSuspended, VMSuspended},
	{protocol.StateStopped, protocol.StateSuspended, VMSuspended},
	{protocol.StateRunning, protocol.StateStopped, VMShutdown},
	{protocol.StateSuspended, protocol.StateStopped, VMShutdown},
}

func reasonOfChange(from, to string) Reason {
	for i := range stateReasons {
		if way := &stateReasons[i]; way.from == from && way.to == to {
			return way.reason
		}
	}
	return ""
}

// News is one reason that a look found.
type News struct {
	Reason Reason
	VMID   string
}

// OnPicture takes a picture in and gives what is news in it. Rows of an account
// that could not be listed say nothing. What an event said after the look began
// stands until the next look.
func (b *Beliefs) OnPicture(picture *Picture) []News {
	news := b.comparePicture(picture)
	if reason := b.Product.onLook(&picture.Product); reason != "" {
		news = append(news, News{Reason: reason})
	}
	if !b.Known {
		b.Known = true
		return nil
	}
	return news
}

// comparePicture goes to what a picture shows of the virtual machines.
func (b *Beliefs) comparePicture(picture *Picture) (news []News) {
	sameVersion := b.Product.isSameVersion(&picture.Product)
	before, believed := b.asRows(), b.VMs
	open := make(map[*protocol.VM]int, len(before)+len(picture.VMs)) // the place of each row that is not compared yet
	for i := range before {
		open[&before[i]] = i
	}
	for i := range picture.VMs {
		open[&picture.VMs[i]] = i
	}
	b.VMs = nil
	for _, change := range protocol.CompareVMs(before, picture.VMs, picture.Truncated) {
		switch {
		case change.Came():
			b.believe(beliefOf(change.Now))
			news = append(news, News{VMCreated, change.Now.ID})
		case change.Went():
			news = append(news, News{VMRemoved, change.Before.ID})
		default:
			belief, reasons := believed[open[change.Before]].seenAs(change.Now, sameVersion, picture.At)
			b.believe(belief)
			for _, reason := range reasons {
				news = append(news, News{reason, change.Now.ID})
			}
		}
		delete(open, change.Before)
		delete(open, change.Now)
	}
	for i := range picture.VMs { // another account's row of a shared machine
		vm := &picture.VMs[i]
		if _, isOpen := open[vm]; isOpen && vm.Stale == "" {
			b.believe(beliefOf(vm))
		}
	}
	for i := range before {
		if _, isOpen := open[&before[i]]; isOpen && picture.Truncated { // who is missing has not gone
			b.believe(&believed[i])
		}
	}
	return news
}

func (b *Beliefs) believe(vm *VMBelief) { b.VMs = append(b.VMs, *vm) }

// asRows are the beliefs as a look would have them, to be compared with one.
func (b *Beliefs) asRows() []protocol.VM {
	rows := make([]protocol.VM, len(b.VMs))
	for i := range rows {
		row, v := &rows[i], &b.VMs[i]
		row.VMKey, row.SeenBy, row.Bundle, row.State, row.ConfigHash = v.Key, v.SeenBy, v.Bundle, v.State, v.Config
	}
	return rows
}

// seenAs goes from what was believed to what a look that began at a time saw.
// Configurations that two versions of the product have read do not compare.
func (v *VMBelief) seenAs(vm *protocol.VM, sameVersion bool, began time.Time) (now *VMBelief, reasons []Reason) {
	config := v.Config
	if !sameVersion {
		config = ""
	}
	if vm.Stale != "" {
		stays := *v
		stays.Config = config
		return &stays, nil
	}
	now = beliefOf(vm)
	if now.State == "" || v.stateAt.After(began) {
		now.State, now.stateAt = v.State, v.stateAt
	}
	if reason := reasonOfChange(v.State, now.State); reason != "" {
		reasons = append(reasons, reason)
	}
	if now.Config == "" {
		now.Config = config
	}
	if now.Bundle == (protocol.Bundle{}) {
		now.Bundle = v.Bundle
	}
	if config != "" && config != now.Config || now.Bundle.IsOther(v.Bundle) {
		reasons = append(reasons, VMConfigChanged)
	}
	return now, reasons
}

// isSameVersion reports whether configurations were read by one version of the
// product, as far as anyone knows: another one adds and drops keys.
func (p *ProductBelief) isSameVersion(product *protocol.Product) bool {
	return p.Version == "" || product.Version == "" || p.Version == product.Version
}

// onLook goes to what a look saw of the license. A state that could not be read
// changes nothing, and neither does an application that is gone for a moment,
// as while it is updated; one that never was there is not activated.
func (p *ProductBelief) onLook(product *protocol.Product) Reason {
	state := product.State
	if !product.Installed && p.State == "" {
		state = protocol.ProductDeactivated
	}
	p.Version = cmp.Or(product.Version, p.Version)
	if state == "" {
		return ""
	}
	before := *p
	active := state != protocol.ProductDeactivated
	p.State, p.License, p.Activated = state, cmp.Or(product.License, p.License), p.Activated || active
	switch {
	case !active || before.State == "":
		return ""
	case before.State == protocol.ProductDeactivated && !before.Activated:
		return Activation
	case before.State != p.State, before.License != "" && before.License != p.License:
		return Reactivation
	}
	return ""
}
