// Package webhook tells a receiver of the operator's what happens on the Macs, by
// signed HTTP requests as Standard Webhooks 1.0.0 has them (SEC-25): a message waits
// in the portal's database until the receiver has taken it, or for a day; those of a
// device arrive in their order, each at least once.
//
// The receiver is not trusted with anything but what it is told: it is not followed
// elsewhere, its answers are read up to a bound and shown to nobody, and one that is
// slow or refuses holds up nothing but its own messages.
package webhook

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
)

// Queue keeps the messages that wait.
type Queue interface {
	NextOutgoing(ctx context.Context, after string) (storage.Outgoing, error)
	Settle(ctx context.Context, settled storage.Settlement) error
	OutgoingState(ctx context.Context) (storage.OutgoingState, error)
}

// Parts are what a sender works with.
type Parts struct {
	Folder    string // the portal's
	Queue     Queue
	Fleet     *fleet.Fleet
	Freshness time.Duration  // of a device that is not stale
	Roots     *x509.CertPool // that receivers' certificates come from; nil: the system's
	Timeout   time.Duration  // of one request; 0: attemptTimeout
	Log       zerolog.Logger
	Now       func() time.Time
}

// Sender makes messages of what happens, and sends them. Its methods are safe for
// concurrent use; Run runs once.
type Sender struct {
	parts  Parts
	client *http.Client
	woken  chan struct{}

	mutex sync.Mutex
	read  settings
	shown endpoint // as of the last attempt

	// Run's own.
	started time.Time
	looked  time.Time           // when devices and the age of messages were looked at last
	warned  time.Time           // when the log was told last that messages are not taken
	told    map[string]struct{} // ids of the devices that are stale, and were told of
	last    string              // id of the device of the last attempt
	retries map[string]retry    // of the oldest message of a device, where it failed
	goneAt  time.Time           // when the receiver wanted none any more
}

// settings are the webhook's files as they were read last.
type settings struct {
	stamp string
	hook  site.Webhook
	err   error // site.ErrNoWebhook, or why the files cannot be used
}

// New makes a sender.
func New(parts Parts) *Sender {
	parts.Timeout = cmp.Or(parts.Timeout, attemptTimeout)
	return &Sender{
		parts: parts, client: newClient(parts.Roots, parts.Timeout), woken: make(chan struct{}, 1), read: settings{stamp: "unread"},
		told: make(map[string]struct{}), retries: make(map[string]retry),
	}
}

// webhook is the webhook as its files say now.
func (s *Sender) webhook() (site.Webhook, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	stamp := site.WebhookStamp(s.parts.Folder)
	if stamp == s.read.stamp {
		return s.read.hook, s.read.err
	}
	s.read.stamp = stamp
	s.read.hook, s.read.err = site.LoadWebhook(s.parts.Folder)
	switch {
	case s.read.err == nil:
		s.parts.Log.Info().Str("receiver", originOf(s.read.hook.URL)).Int("secrets", len(s.read.hook.Secrets)).Msg("webhook read")
	case !errors.Is(s.read.err, site.ErrNoWebhook):
		s.parts.Log.Error().Err(s.read.err).Msg("the webhook's files cannot be used; messages wait")
	}
	return s.read.hook, s.read.err
}

// originOf is a URL without what may be a secret of the receiver's.
func originOf(address string) string {
	location, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return location.Scheme + "://" + location.Host
}

// isOn reports whether there is a webhook, be it one that cannot be used at present.
func (s *Sender) isOn() bool {
	_, err := s.webhook()
	return !errors.Is(err, site.ErrNoWebhook)
}

// Tells reports whether an event becomes a message.
func (s *Sender) Tells(event protocol.Event) bool {
	return event.Kind().Webhook != "" && s.isOn()
}

// Messages are the messages of events of a device, which are kept with them. Its Mac
// is called computerName.
func (s *Sender) Messages(device storage.Device, computerName string, events []storage.KeptEvent) ([]storage.Outgoing, error) {
	var messages []storage.Outgoing
	for _, kept := range events {
		message, isTold, err := messageOf(device, computerName, kept)
		if err != nil {
			return nil, err
		}
		if isTold {
			messages = append(messages, message)
		}
	}
	return messages, nil
}

// Wake says that there may be a new message.
func (s *Sender) Wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// TestResult is what became of a test message.
type TestResult struct {
	Receiver string `json:"receiver"` // scheme and host
	Taken    bool   `json:"taken"`
	Status   int    `json:"status,omitempty"` // of its answer; none where there was none
	Problem  string `json:"problem,omitempty"`
}

// Test sends a test message at once, once. It is no part of the queue.
func (s *Sender) Test(ctx context.Context) (TestResult, error) {
	hook, err := s.webhook()
	if err != nil {
		return TestResult{}, err
	}
	now := s.parts.Now()
	message := Message{ID: "test_" + uuid.NewString(), Type: protocol.WebhookTest, Timestamp: now.UTC(), Data: Data{
		Text: "This is a test of prlportal.", ReceivedAt: now.UTC(),
	}}
	queued, err := message.queued(now, 0)
	if err != nil {
		return TestResult{}, err
	}
	got := send(ctx, s.client, hook, queued, now)
	return TestResult{Receiver: originOf(hook.URL), Taken: got.isTaken(), Status: got.status, Problem: got.problem}, nil
}
