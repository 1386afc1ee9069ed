package adminapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
	"prlagent/cmd/prlportal/webhook"
)

// webhookSender sends messages of what happens.
type webhookSender interface {
	Status(ctx context.Context) (webhook.Status, error)
	Test(ctx context.Context) (webhook.TestResult, error)
	TellCommands(ctx context.Context, change *storage.Change) error
	Wake()
}

// saveTold keeps a change with the messages of what happens to commands with it.
func (s *Server) saveTold(ctx context.Context, change storage.Change) error {
	if err := s.webhook.TellCommands(ctx, &change); err != nil {
		return err
	}
	err := s.devices.Save(ctx, change)
	if err == nil && len(change.Outgoing) > 0 {
		s.webhook.Wake()
	}
	return err
}

// showWebhook answers with how the webhook does. Where it goes, and what signs, is
// set on the portal's own machine only: who has a token cannot have the portal send
// what happens elsewhere.
func (s *Server) showWebhook(w http.ResponseWriter, r *http.Request) error {
	status, err := s.webhook.Status(r.Context())
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, r, http.StatusOK, status)
}

// mostTests is how many test messages are sent in a minute: they go past the waits of
// a receiver that does not work.
const mostTests = 10

// testWebhook sends a test message, and answers with what became of it.
func (s *Server) testWebhook(w http.ResponseWriter, r *http.Request) error {
	if wait, allowed := s.tests.Take("", s.now()); !allowed {
		return httpapi.RateLimited(w, wait, fmt.Sprintf("At most %d test messages are sent in a minute.", mostTests))
	}
	result, err := s.webhook.Test(r.Context())
	if errors.Is(err, site.ErrNoWebhook) {
		return protocol.NewProblem(protocol.ProblemNotFound, "There is no webhook; give it a URL with 'prlportal webhook set' on the portal's machine.")
	}
	if err != nil {
		s.log.Error().Err(err).Msg("test the webhook")
		return protocol.NewProblem(protocol.ProblemUnavailable, "The webhook's files cannot be used; see the portal's log.")
	}
	return httpapi.WriteJSON(w, r, http.StatusOK, result)
}

// WebhookStatus is how the portal's webhook does.
func (c *Client) WebhookStatus(ctx context.Context) (status webhook.Status, err error) {
	err = c.exchangeJSON(ctx, http.MethodGet, []string{"v1", "admin", "webhook"}, nil, &status)
	return status, err
}

// TestWebhook has the portal send a test message.
func (c *Client) TestWebhook(ctx context.Context) (result webhook.TestResult, err error) {
	err = c.exchangeJSON(ctx, http.MethodPost, []string{"v1", "admin", "webhook", "test"}, nil, &result)
	return result, err
}
