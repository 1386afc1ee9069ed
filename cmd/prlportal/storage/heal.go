package storage

import (
	"cmp"
	"slices"
	"time"

	"prlagent/agent/protocol"
)

// What agents reported before keys had a uid names an account by its name only,
// and a virtual machine was another one as soon as its disk had another number,
// as after each reboot of its Mac (H21). Such rows are healed as they are read:
// they get their uids, and the living row of a machine gets back the day on which
// its first dead one was seen. The dead ones stay in the history.

// IsOlder reports whether rows of the report are of that kind.
func (r Report) IsOlder() bool {
	return slices.ContainsFunc(r.Rows, func(row Row) bool { return row.VM.UID == 0 })
}

// IsOlder reports whether rows of the history are of that kind.
func (h History) IsOlder() bool {
	return slices.ContainsFunc(h.Rows, func(past PastRow) bool { return past.VM.UID == 0 })
}

// Heal makes what the store has of one device name every machine by its id and
// its owner's uid. Both are changed in place; rows of accounts that nobody knows
// any more stay as they are. To heal what is healed changes nothing.
func Heal(report *Report, history *History) {
	older := make(map[protocol.VMKey]bool)
	for i := range report.Rows {
		if vm := &report.Rows[i].VM; vm.UID == 0 {
			Identify(vm, report.Users)
			older[vm.VMKey] = vm.UID != 0
		}
	}
	report.Rows = joinRows(report.Rows)
	for i := range history.Rows {
		past := &history.Rows[i]
		if past.VM.UID != 0 {
			continue
		}
		Identify(&past.VM, report.Users)
		if past.VM.UID == 0 {
			past.VM.UID = ownerByBundle(report.Rows, past.VM)
		}
		if at := findRow(report.Rows, past.VM.VMKey); at >= 0 && older[past.VM.VMKey] {
			report.Rows[at].FirstSeenAt = earlier(report.Rows[at].FirstSeenAt, past.FirstSeenAt)
		}
	}
}

// Identify gives a machine, and who shares it, the uids of their names, as far
// as they are among the users.
func Identify(vm *protocol.VM, users []protocol.UserLook) {
	if vm.UID == 0 {
		vm.UID = uidOf(users, vm.Owner)
	}
	for i := range vm.SeenBy {
		if account := &vm.SeenBy[i]; account.UID == 0 {
			account.UID = uidOf(users, account.Name)
		}
	}
}

func uidOf(users []protocol.UserLook, name string) uint32 {
	for _, user := range users {
		if user.Name == name && user.IsLookedAt() {
			return user.UID
		}
	}
	return 0
}

// ownerByBundle is whose the machine is by the folder that it lay in: its account
// may have been renamed since. 0 if no row has the machine in that folder.
func ownerByBundle(rows []Row, vm protocol.VM) uint32 {
	for _, row := range rows {
		if row.VM.ID == vm.ID && vm.Bundle.Inode != 0 && row.VM.Bundle.Inode == vm.Bundle.Inode {
			return row.VM.UID
		}
	}
	return 0
}

// joinRows makes one row of those that turn out to have one key: the newest,
// which was there as long as any of them.
func joinRows(rows []Row) []Row {
	joined := make([]Row, 0, len(rows))
	for _, row := range rows {
		at := findRow(joined, row.VM.VMKey)
		if at < 0 || row.VM.UID == 0 {
			joined = append(joined, row)
			continue
		}
		first := earlier(joined[at].FirstSeenAt, row.FirstSeenAt)
		if row.ChangedAt.After(joined[at].ChangedAt) {
			joined[at] = row
		}
		joined[at].FirstSeenAt = first
	}
	slices.SortStableFunc(joined, func(a, b Row) int { return cmp.Or(a.VM.Compare(b.VM.VMKey), cmp.Compare(a.VM.Owner, b.VM.Owner)) })
	return joined
}

func findRow(rows []Row, key protocol.VMKey) int {
	return slices.IndexFunc(rows, func(row Row) bool { return row.VM.VMKey == key })
}

// earlier is the earlier of two times that are set.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
