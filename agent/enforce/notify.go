package enforce

import (
	"context"
	"fmt"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/platform"
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
func (e *Enforcer) remind(result *policy.Result, planned *Planned, notify bool) {
	for _, notice := range result.Notices {
		switch {
		case !notify:
			planned.tellOfNotice(notice, reminderOff)
		case !planned.Machines[notice.VMs[0]].Owner.Session:
			if !e.absent[notice.UID] {
				e.absent[notice.UID] = true
				planned.tellOfNotice(notice, reminderNoSession)
			}
			continue
		default:
			planned.notices = append(planned.notices, notice)
		}
		delete(e.absent, notice.UID)
		e.noteTold(result, planned.At, notice.VMs...)
	}
}

// noteTold adds to a result's memory that a user was told of these machines, or of
// their account. The caller holds the lock.
func (e *Enforcer) noteTold(result *policy.Result, now time.Time, keys ...protocol.VMKey) {
	for _, key := range keys {
		memory, changed := result.Memory[key]
		if !changed {
			memory = e.memory[key]
		}
		result.Memory[key] = memory.Told(now)
	}
}

// tell asks the Mac to show a plan's notices, and does not wait.
func (e *Enforcer) tell(ctx context.Context, planned *Planned) {
	for _, notice := range planned.notices {
		user := planned.Machines[notice.VMs[0]].Owner.User
		e.notify(ctx, &notification{
			user: user, what: "remind a user", text: noticeText(notice),
			planned: planned, about: notice.VMs[0], kind: eventReminder, data: noticeData(notice),
		})
	}
}

// notification is a text for a user, and what is told of it beside what became of it.
type notification struct {
	user    platform.User
	what    string // it is, for the log
	text    string
	planned *Planned
	about   protocol.VMKey
	kind    string // of the event
	data    []string
}

// notify asks the Mac to show a user a text, and does not wait; what became of that is
// an event for TakeReminders. It does so beside the lanes: what a notification does
// is no sign of how the user's tools are. The text is all ours: nothing is in it that
// somebody else has named. It is ASCII, because the tool's locale is C.
func (e *Enforcer) notify(ctx context.Context, n *notification) {
	e.running.Go(func() {
		outcome, err := reminderAsked, e.options.Notify(ctx, n.user, n.text)
		if err != nil {
			outcome = reminderFailed
			e.options.Log.Warn().Err(err).Uint32("uid", n.user.UID).Msg(n.what)
		}
		e.mu.Lock()
		n.planned.tell(&e.reminded, n.about, n.kind, protocol.CodeOf(err), append(n.data, "notification", outcome)...)
		e.mu.Unlock()
		e.options.Reminded()
	})
}

// TakeReminders takes the events about reminders that ended since it was called last.
func (e *Enforcer) TakeReminders() []protocol.Event {
	e.mu.Lock()
	taken := e.reminded
	e.reminded = nil
	e.mu.Unlock()
	return taken
}

// dueForm is how a user is told of a time.
const dueForm = "Monday, January 2, 15:04 MST."

// noticeText is what a user is told.
func noticeText(notice *policy.Notice) string {
	how := "suspend or shut down"
	if notice.ShutDown {
		how = "shut down"
	}
	text := fmt.Sprintf("New settings wait for %d of your Parallels virtual machines. Please %s those that are running.", len(notice.VMs), how)
	if !notice.Deadline.IsZero() {
		text += " Deadline: " + notice.Deadline.Local().Format(dueForm)
	}
	return text
}

// tellOfNotice tells what becomes of a notice that is not shown.
func (p *Planned) tellOfNotice(notice *policy.Notice, outcome string) {
	p.tell(&p.Events, notice.VMs[0], eventReminder, "", append(noticeData(notice), "notification", outcome)...)
}

// noticeData is what is told of a notice.
func noticeData(notice *policy.Notice) []string {
	data := []string{"vms", fmt.Sprint(len(notice.VMs))}
	if !notice.Deadline.IsZero() {
		data = append(data, "deadline", notice.Deadline.UTC().Format("2006-01-02T15:04:05Z"))
	}
	return data
}
