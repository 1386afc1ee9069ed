package enforce

import (
	"context"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

// preferenceReminder is what the user of an account is told of their preferences.
type preferenceReminder struct {
	account *Account
	text    string
}

// Texts for users. All of them are ours, and ASCII, because the tool's locale is C.
const (
	restartText = "New settings of Parallels Desktop take effect when you quit it and open it again."
	putBackText = "A setting of Parallels Desktop is managed by your organization, and was put back."
)

// remindOfPreferences decides whether a user is told of their preferences, and adds to
// the plan's memory that they were. That is kept before anything is shown. Who has no
// GUI session is told at the first plan when they have one. The caller holds the lock.
func (e *Enforcer) remindOfPreferences(plan *policy.PreferencePlan, account *Account, planned *Planned, result *policy.Result, notify bool) {
	if !notify || !account.Session || !plan.Restart && !plan.PutBack {
		return
	}
	text := putBackText
	if plan.Restart {
		text = restartText
	}
	key := policy.AccountKey(account.User.UID)
	memory, changed := result.Memory[key]
	if !changed {
		memory = e.memory[key]
	}
	result.Memory[key] = memory.Told(planned.At)
	planned.reminders = append(planned.reminders, preferenceReminder{account, text})
}

// tellOfPreferences asks the Mac to show what users are told, and does not wait.
func (e *Enforcer) tellOfPreferences(ctx context.Context, planned *Planned) {
	for _, reminder := range planned.reminders {
		e.running.Go(func() {
			outcome, err := reminderAsked, e.options.Notify(ctx, reminder.account.User, reminder.text)
			if err != nil {
				outcome = reminderFailed
				e.options.Log.Warn().Err(err).Uint32("uid", reminder.account.User.UID).Msg("remind a user of preferences")
			}
			made := planned.event(policy.AccountKey(reminder.account.User.UID), eventReminder, protocol.CodeOf(err), "about", "preferences", "notification", outcome)
			e.mu.Lock()
			e.reminded = append(e.reminded, made)
			e.mu.Unlock()
			e.options.Reminded()
		})
	}
}
