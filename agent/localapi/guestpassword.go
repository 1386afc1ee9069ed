package localapi

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"prlagent/agent/protocol"
	"prlagent/platform/text"
)

// GuestPassword is a password on its way to the guest. No format verb shows it; as JSON
// it is itself, because that is how it gets to the daemon.
type GuestPassword string

// Format hides the password from every verb.
func (GuestPassword) Format(state fmt.State, _ rune) {
	_, _ = io.WriteString(state, text.HiddenSecret)
}

// PasswordRequest asks to set the password of an account in the guest of a machine.
type PasswordRequest struct {
	VM       string        `json:"vm_id"`
	Owner    string        `json:"owner,omitempty"` // the account of the Mac; empty: the only one that has the machine
	User     string        `json:"guest_user"`
	Password GuestPassword `json:"password"`
}

// What became of it. Asked is the most that anybody outside of the guest can know.
const (
	PasswordAsked   = "asked"   // Parallels Desktop took it
	PasswordRefused = "refused" // nothing was changed
	PasswordUnknown = "unknown" // it was begun, and how it ended is not known
)

// PasswordResult says what became of it.
type PasswordResult struct {
	Schema int `json:"schema"`
	protocol.VMKey
	Name    string        `json:"vm_name,omitempty"`
	Owner   string        `json:"user_name,omitempty"`
	User    string        `json:"guest_user"`
	Outcome string        `json:"outcome"`
	Code    protocol.Code `json:"code,omitempty"`
	Text    string        `json:"text,omitempty"`
	Remedy  string        `json:"remedy,omitempty"`
}

// serveGuestPassword is for root alone: whoever may set the password of a guest can sign
// in to it. No answer quotes the request.
func (h *apiHandler) serveGuestPassword(w http.ResponseWriter, r *http.Request, actor Actor) {
	if !actor.Root {
		h.writeRefusal(w, http.StatusForbidden, protocol.CodeNotAllowed, "")
		return
	}
	var request PasswordRequest
	body, err := protocol.ReadLimited(r.Body, maxHandBody)
	if err == nil {
		err = protocol.Decode(body, maxHandBody, &request)
	}
	if err != nil || request.VM == "" || request.User == "" || request.Password == "" {
		h.writeRefusal(w, http.StatusBadRequest, protocol.CodeBadRequest, "The body is not a request to set a password.")
		return
	}
	if err := stayOpen(w); err != nil {
		return
	}
	h.writeAnswer(w, http.StatusOK, h.options.Hands.GuestPassword(r.Context(), &request, actor.title()))
}

// GuestPassword asks to set the password of an account in a guest, and waits until that
// was asked for.
func (c *Client) GuestPassword(ctx context.Context, request PasswordRequest) (result PasswordResult, err error) {
	err = c.postDocument(ctx, "/v1/passwd", request, &result)
	return result, err
}
