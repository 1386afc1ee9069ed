package protocol

import (
	"slices"
	"sort"
	"strings"
)

// MaxTriggers is how many triggers a check-in carries.
const MaxTriggers = 64

// SameCause reports whether two triggers are occurrences of one: the same reason
// for the same virtual machine.
func (t *Trigger) SameCause(other *Trigger) bool {
	return t.Reason == other.Reason && t.VMID == other.VMID
}

// CoalesceTriggers joins triggers of one cause, as the guide's list has them:
// counts add up, times widen, and the order is that in which each first came.
// Its arguments stay as they are.
func CoalesceTriggers(lists ...[]Trigger) []Trigger {
	var joined []Trigger
	for _, list := range lists {
		for i := range list {
			one := &list[i]
			same := sameCause(joined, one)
			if same == nil {
				joined = append(joined, *one)
				continue
			}
			same.Count += one.Count
			if one.FirstAt.Before(same.FirstAt) {
				same.FirstAt = one.FirstAt
			}
			if one.LastAt.After(same.LastAt) {
				same.LastAt = one.LastAt
			}
		}
	}
	sort.SliceStable(joined, func(i, j int) bool { return joined[i].FirstAt.Before(joined[j].FirstAt) })
	return joined
}

// sameCause is the trigger in a list that has the cause of another; nil for none.
func sameCause(list []Trigger, other *Trigger) *Trigger {
	for i := range list {
		if list[i].SameCause(other) {
			return &list[i]
		}
	}
	return nil
}

// HasNewCause reports whether one of the triggers has a cause that none of those
// before has.
func HasNewCause(before, now []Trigger) bool {
	for i := range now {
		if sameCause(before, &now[i]) == nil {
			return true
		}
	}
	return false
}

// ReasonWords is the reasons of triggers, each once, as "app_launch, daily".
func ReasonWords(triggers []Trigger) string {
	var reasons []string
	for i := range triggers {
		one := &triggers[i]
		if !slices.Contains(reasons, one.Reason) {
			reasons = append(reasons, one.Reason)
		}
	}
	return strings.Join(reasons, ", ")
}

// LimitTriggers gives at most that many triggers: those of the reason with the
// most virtual machines become one without any, until they fit. No count is
// lost, and no reason.
func LimitTriggers(triggers []Trigger, most int) []Trigger {
	for len(triggers) > most {
		entries := make(map[string]int)
		largest := ""
		for i := range triggers {
			one := &triggers[i]
			if entries[one.Reason]++; entries[one.Reason] > entries[largest] {
				largest = one.Reason
			}
		}
		if entries[largest] < 2 {
			return triggers
		}
		triggers = withoutVMs(triggers, largest)
	}
	return triggers
}

// withoutVMs joins all triggers of a reason where the first of them stands.
func withoutVMs(triggers []Trigger, reason string) []Trigger {
	var joined []Trigger
	at := -1
	for i := range triggers {
		one := &triggers[i]
		if one.Reason != reason {
			joined = append(joined, *one)
			continue
		}
		if at < 0 {
			at = len(joined)
			joined = append(joined, *one)
			joined[at].VMID = ""
			continue
		}
		all := &joined[at]
		all.Count += one.Count
		if one.FirstAt.Before(all.FirstAt) {
			all.FirstAt = one.FirstAt
		}
		if one.LastAt.After(all.LastAt) {
			all.LastAt = one.LastAt
		}
	}
	return slices.Clip(joined)
}
