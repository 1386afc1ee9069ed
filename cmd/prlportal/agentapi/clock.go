package agentapi

import (
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// maxSkew is how far a Mac's clock may be from the portal's (protocol.md 2.13).
const maxSkew = 5 * time.Minute

// noteClock judges the Mac's clock by when a report says that it was made. One
// from the future is proof enough. One from the past may only have been under way
// for long, because a Mac sends the same report until it gets through: the clock
// is slow if the report says that it is older than the check-in before it, which
// it cannot be, or if the report before was as late.
func noteClock(device *storage.Device, sentAt, now time.Time) {
	before := device.Clock
	device.Clock = storage.Clock{}
	if ahead := sentAt.Sub(now); !sentAt.IsZero() && ahead.Abs() > maxSkew {
		device.Clock.AheadSecs = int64(ahead / time.Second)
		known := device.EnrolledAt
		if device.LastCheckinAt.After(known) {
			known = device.LastCheckinAt
		}
		device.Clock.Wrong = ahead > 0 || known.Sub(sentAt) > maxSkew || before.AheadSecs != 0 && agree(before, device.Clock)
	}
	if device.Clock.Wrong != before.Wrong {
		device.ChangedAt = now
	}
}

func agree(a, b storage.Clock) bool {
	return time.Duration(a.AheadSecs-b.AheadSecs).Abs() <= maxSkew/time.Second
}

// firstUse is older than any use of a virtual machine that can be told: Parallels
// Desktop is of 2006.
var firstUse = time.Date(2006, 1, 1, 0, 0, 0, 0, time.UTC)

// lastNullYear is the last year of the dates that files have for none: the
// beginning of Unix time, and 1751 and 1752 (facts/captures.md 4.4).
const lastNullYear = 1970

// judgeTimes takes out of a row what the clock of a Mac, a file or an event cannot
// have meant. A time that has not come is wrong for good: it must not become right
// by waiting, nor stand first in the order of the table.
func judgeTimes(vm *protocol.VM, now time.Time) {
	if at := vm.LastUsedAt; !at.IsZero() && !isPlausible(at, now) {
		code := protocol.CodeClockSkew
		if at.UTC().Year() <= lastNullYear {
			code = protocol.CodeNotSeenRunning
		}
		vm.LastUsedAt = time.Time{}
		if vm.Gaps == nil {
			vm.Gaps = make(map[string]protocol.Code)
		}
		vm.Gaps[lastUsedColumn] = code
	}
	if !isPlausible(vm.SeenAt, now) {
		vm.SeenAt = time.Time{}
	}
}

// judgeHealth takes out of a health what no clock can have meant; a condition
// whose begin nobody knows is still one.
func judgeHealth(health *protocol.HealthReport, now time.Time) {
	for i := range health.Conditions {
		condition := &health.Conditions[i]
		condition.Count = max(condition.Count, 0)
		if !isPlausible(condition.Since, now) {
			condition.Since = time.Time{}
		}
	}
}

// judgeEvents is as judgeHealth: when an event arrived is known all the same.
func judgeEvents(events []protocol.Event, now time.Time) {
	for i := range events {
		if !isPlausible(events[i].At, now) {
			events[i].At = time.Time{}
		}
	}
}

const lastUsedColumn = "last_used"

// isPlausible reports whether something that a Mac tells of can have been then.
func isPlausible(at, now time.Time) bool { return !at.Before(firstUse) && at.Sub(now) <= maxSkew }
