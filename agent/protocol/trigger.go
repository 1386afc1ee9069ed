package protocol

import "slices"

// MaxTriggers is how many triggers a check-in carries.
const MaxTriggers = 64

// LimitTriggers gives at most that many triggers: those of the reason with the
// most virtual machines become one without any, until they fit. No count is
// lost, and no reason.
func LimitTriggers(triggers []Trigger, most int) []Trigger {
	for len(triggers) > most {
		entries := make(map[string]int)
		largest := ""
		for _, one := range triggers {
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
	for _, one := range triggers {
		if one.Reason != reason {
			joined = append(joined, one)
			continue
		}
		if at < 0 {
			one.VMID, at = "", len(joined)
			joined = append(joined, one)
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
