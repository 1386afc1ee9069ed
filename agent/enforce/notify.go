package enforce

import (
	"context"
	"fmt"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

// What became of a reminder, as its event says. Whether the user has seen it is
// not known: macOS shows notifications to those who allow them (facts/acting.md 4).
const (
	reminderAsked     = "asked"      // the Mac was asked to show it
	reminderFailed    = "failed"     // the same, and it could not
	reminderOff       = "off"        // the configuration wants none
	reminderNoSession = "no_session" // it is due at the first plan when the user has one
)

// remind decides what becomes of a plan's notices, and adds to its memory who
// needs no other one for a while. That is kept before anything is shown: one that
// is lost, or fails, is better than one at every plan. The caller holds the lock.
func (e *Enforcer) remind(result *policy.Result, planned *Planned, notify bool) (events []protocol.Event) {
	for i := range result.Notices {
		notice := &result.Notices[i]
		switch {
		case !notify:
			events = append(events, planned.reminder(notice, reminderOff, ""))
		case !planned.Machines[notice.VMs[0]].Owner.Session:
			if !e.absent[notice.UID] {
				e.absent[notice.UID] = true
				events = append(events, planned.reminder(notice, reminderNoSession, ""))
			}
			continue
		default:
			planned.notices = append(planned.notices, notice)
		}
		delete(e.absent, notice.UID)
		e.noteTold(result, notice, planned.At)
	}
	return events
}

// noteTold adds to a result's memory that a user was told.
func (e *Enforcer) noteTold(result *policy.Result, notice *policy.Notice, now time.Time) {
	for _, key := range notice.VMs {
		memory, changed := result.Memory[key]
		if !changed {
			memory = e.memory[key]
		}
		result.Memory[key] = memory.Told(now)
	}
}

// tell asks the Mac to show a plan's notices, and does not wait. It does so beside
// the lanes: what a notification does is no sign of how the user's tools are.
func (e *Enforcer) tell(ctx context.Context, planned *Planned) {
	for _, notice := range planned.notices {
		e.running.Go(func() {
			outcome, err := reminderAsked, e.options.Notify(ctx, planned.Machines[notice.VMs[0]].Owner.User, noticeText(notice))
			if err != nil {
				outcome = reminderFailed
				e.options.Log.Warn().Err(err).Uint32("uid", notice.UID).Msg("remind a user")
			}
			e.mu.Lock()
			e.reminded = append(e.reminded, planned.reminder(notice, outcome, protocol.CodeOf(err)))
			e.mu.Unlock()
			e.options.Reminded()
		})
	}
}

// TakeReminders takes the events about reminders that ended since it was called last.
func (e *Enforcer) TakeReminders() []protocol.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	taken := e.reminded
	e.reminded = nil
	return taken
}

// noticeText is what a user is told. All of it is ours: nothing is in it that
// somebody else has named. It is ASCII, because the tool's locale is C.
func noticeText(notice *policy.Notice) string {
	how := "suspend or shut down"
	if notice.ShutDown {
		how = "shut down"
	}
	text := fmt.Sprintf("New settings wait for %d of your Parallels virtual machines. Please %s those that are running.", len(notice.VMs), how)
	if !notice.Deadline.IsZero() {
		text += notice.Deadline.Local().Format(" Deadline: Monday, January 2, 15:04 MST.")
	}
	return text
}

// reminder is the event about a notice.
func (p *Planned) reminder(notice *policy.Notice, outcome string, code protocol.Code) protocol.Event {
	data := []string{"vms", fmt.Sprint(len(notice.VMs)), "notification", outcome}
	if !notice.Deadline.IsZero() {
		data = append(data, "deadline", notice.Deadline.UTC().Format("2006-01-02T15:04:05Z"))
	}
	return p.event(notice.VMs[0], eventReminder, code, data...)
}
