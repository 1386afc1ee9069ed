package webhook

import (
	"context"
	"errors"
	"fmt"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
)

// undeliveredAfter is how long a message may wait before somebody should look.
const undeliveredAfter = time.Hour

// Status is how the webhook does.
type Status struct {
	Configured   bool      `json:"configured"`
	Receiver     string    `json:"receiver,omitempty"`     // scheme and host; the rest of the URL may be a secret
	Signatures   int       `json:"signatures,omitempty"`   // of each message: two while a secret is replaced
	OverlapUntil time.Time `json:"overlap_until,omitzero"` // when the secret before the present one signs no more
	Queued       int       `json:"queued"`                 // messages that wait
	OldestAt     time.Time `json:"oldest_at,omitzero"`     // of those
	Sent         int       `json:"sent"`                   // messages that were taken
	SentAt       time.Time `json:"sent_at,omitzero"`       // the last one
	Dropped      Dropped   `json:"dropped"`                // messages that are not sent
	Failures     int       `json:"failures"`               // attempts since the last one that succeeded
	FailedAt     time.Time `json:"failed_at,omitzero"`     // the last one, also before a success
	LastError    string    `json:"last_error,omitempty"`   // of that
	RetryAt      time.Time `json:"retry_at,omitzero"`      // when the receiver is asked again, where it fails
	Condition    *Trouble  `json:"condition,omitempty"`    // what a person should look at
}

// Dropped counts messages that are not sent, by why.
type Dropped struct {
	Full    int `json:"full"`    // too many waited
	Expired int `json:"expired"` // not taken for a day
	Cleared int `json:"cleared"` // waited when the webhook was disabled
}

// Trouble is what a person should look at.
type Trouble struct {
	Code   protocol.Code `json:"code"`
	Text   string        `json:"text"`
	Remedy string        `json:"remedy"`
}

// Status is how the webhook does now.
func (s *Sender) Status(ctx context.Context) (Status, error) {
	state, err := s.parts.Queue.OutgoingState(ctx)
	if err != nil {
		return Status{}, fmt.Errorf("count messages: %w", err)
	}
	hook, unusable := s.webhook()
	now, at := s.parts.Now(), s.endpoint()
	status := Status{
		Configured: !errors.Is(unusable, site.ErrNoWebhook), Queued: state.Queued, OldestAt: state.OldestAt, Sent: state.Sent, SentAt: state.SentAt,
		Dropped:  Dropped{Full: state.Full, Expired: state.Expired, Cleared: state.Cleared},
		Failures: at.failures, FailedAt: at.lastAt.UTC(), LastError: at.problem,
	}
	if at.failures > 0 {
		status.RetryAt = at.nextAt.UTC()
	}
	if unusable == nil {
		status.Receiver = originOf(hook.URL)
		for _, secret := range hook.Signing(now) {
			status.Signatures++
			status.OverlapUntil = secret.Until
		}
	}
	if code := conditionOf(hook, unusable, state, now); code != "" {
		words := code.Text()
		status.Condition = &Trouble{code, words.Text, words.Remedy}
	}
	return status, nil
}

// conditionOf is what a person should look at; empty if nothing.
func conditionOf(hook site.Webhook, unusable error, state storage.OutgoingState, now time.Time) protocol.Code {
	switch {
	case errors.Is(unusable, site.ErrNoWebhook):
		return ""
	case unusable != nil:
		return protocol.CodeWebhookUnusable
	case !state.GoneAt.IsZero() && !hook.SetAt.After(state.GoneAt):
		return protocol.CodeWebhookGone
	case !state.OldestAt.IsZero() && now.Sub(state.OldestAt) >= undeliveredAfter:
		return protocol.CodeWebhookUndelivered
	}
	return ""
}

// warnOfAge tells the log once an hour what a person should look at.
func (s *Sender) warnOfAge(ctx context.Context, now time.Time) {
	status, err := s.Status(ctx)
	if err != nil || status.Condition == nil || now.Sub(s.warned) < undeliveredAfter {
		return
	}
	s.warned = now
	s.parts.Log.Warn().Str("code", string(status.Condition.Code)).Int("queued", status.Queued).Time("oldest", status.OldestAt).
		Str("problem", status.LastError).Msg("messages of the webhook are not taken; see 'prlportal webhook status'")
}
