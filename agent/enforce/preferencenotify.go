package enforce

import (
	"context"

	"prlagent/agent/policy"
)

// preferenceReminder is what the user of an account is told of their preferences.
type preferenceReminder struct {
	account *Account
	text    string
}

// Texts for users.
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
	e.noteTold(result, planned.At, policy.AccountKey(account.User.UID))
	planned.reminders = append(planned.reminders, preferenceReminder{account, text})
}

// tellOfPreferences asks the Mac to show what users are told, and does not wait.
func (e *Enforcer) tellOfPreferences(ctx context.Context, planned *Planned) {
	for _, reminder := range planned.reminders {
		user := reminder.account.User
		e.notify(ctx, &notification{
			user: user, what: "remind a user of preferences", text: reminder.text,
			planned: planned, about: policy.AccountKey(user.UID), kind: eventReminder, data: []string{"about", "preferences"},
		})
	}
}
