package protocol

// Change is what became of one virtual machine between two looks: what reasons,
// events and reports are made of. Before is nil for one that came, Now for one
// that went.
type Change struct{ Before, Now *VM }

// Came reports whether the virtual machine was not there before.
func (c Change) Came() bool { return c.Before == nil }

// Went reports whether the virtual machine is not there any more.
func (c Change) Went() bool { return c.Now == nil }

// CompareVMs says what became of each virtual machine of two looks, in the order
// of the later one, and then what went. A machine that nobody ever saw is not
// there; one that is missing from a truncated look has not gone. Which of the
// accounts that share a machine has its row depends on whose files could be
// looked at, so a row that only changed its account neither came nor went.
func CompareVMs(before, now []VM, truncated bool) []Change {
	pairs := pairVMs(before, now)
	var changes []Change
	for i := range now {
		switch at := pairs.before[i]; {
		case at >= 0:
			changes = append(changes, Change{&before[at], &now[i]})
		case now[i].wasSeen() && !now[i].isSharedAmong(before, false):
			changes = append(changes, Change{nil, &now[i]})
		}
	}
	for i := range before {
		if !truncated && !pairs.taken[i] && before[i].wasSeen() && !before[i].isSharedAmong(now, true) {
			changes = append(changes, Change{&before[i], nil})
		}
	}
	return changes
}

// vmPairs says which rows of two looks are about one machine.
type vmPairs struct {
	before []int  // for each row of now: its place in before; -1 = none
	taken  []bool // for each row of before: it has a row of now
}

// pairVMs gives every row at most one partner: the same machine in the same
// account first, then the same shared machine in the name of another account,
// and last one that was kept before keys had a uid, which may be anybody's.
func pairVMs(before, now []VM) vmPairs {
	byID := make(map[string][]int, len(before))
	for i := range before {
		byID[before[i].ID] = append(byID[before[i].ID], i)
	}
	pairs := vmPairs{before: make([]int, len(now)), taken: make([]bool, len(before))}
	for i := range pairs.before {
		pairs.before[i] = -1
	}
	for _, fits := range []func(a, b *VM) bool{isSameRow, (*VM).isSharedRowOf, isOlderRow} {
		for i := range now {
			if pairs.before[i] >= 0 {
				continue
			}
			for _, at := range byID[now[i].ID] {
				if !pairs.taken[at] && before[at].wasSeen() && fits(&now[i], &before[at]) {
					pairs.before[i], pairs.taken[at] = at, true
					break
				}
			}
		}
	}
	return pairs
}

// wasSeen reports whether anybody ever read the machine: of one that never could
// be read nothing is known but its id.
func (v *VM) wasSeen() bool { return v.Stale == "" || !v.SeenAt.IsZero() }

// isSameRow reports whether two rows are one account's word about one machine,
// whatever became of its bundle (H21).
func isSameRow(a, b *VM) bool { return a.VMKey == b.VMKey }

// isOlderRow reports whether two rows may be about one machine because one of
// them does not say whose it is.
func isOlderRow(a, b *VM) bool { return a.ID == b.ID && (a.UID == 0 || b.UID == 0) }

// BundleChanged reports whether the machine's bundle is another one than before:
// it was restored from a copy, or moved to another volume.
func (c Change) BundleChanged() bool {
	return c.Before != nil && c.Now != nil && c.Now.Bundle.IsOther(c.Before.Bundle)
}

// isSharedRowOf reports whether another row is about the same shared machine, in
// the name of another account.
func (v *VM) isSharedRowOf(other *VM) bool {
	return v.ID == other.ID && v.UID != other.UID && (v.isSeenBy(other.UID) || other.isSeenBy(v.UID))
}

// isSharedAmong reports whether one of the rows is a shared row of this one. With
// unseen, one that nobody ever read counts: the machine may be there all the same.
func (v *VM) isSharedAmong(others []VM, unseen bool) bool {
	for i := range others {
		if (unseen || others[i].wasSeen()) && v.isSharedRowOf(&others[i]) {
			return true
		}
	}
	return false
}

// isSeenBy reports whether the account lists the machine, which is another's.
func (v *VM) isSeenBy(uid uint32) bool {
	for _, account := range v.SeenBy {
		if account.UID == uid {
			return true
		}
	}
	return false
}

// IsListedBy reports whether the account has the machine in its list: its own,
// or one that is shared with it.
func (v *VM) IsListedBy(uid uint32) bool { return uid != 0 && (v.UID == uid || v.isSeenBy(uid)) }
