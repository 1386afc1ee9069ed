package localapi

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"prlagent/agent/protocol"
)

// Hands does what an administrator of the Mac wants done now.
type Hands interface {
	// ByHand returns when it is done, or when ctx ends, which does not end what
	// has begun. by says who asks.
	ByHand(ctx context.Context, request *HandRequest, by string) *HandResult
	// GuestPassword sets the password of an account in a guest, and returns when that
	// was asked for.
	GuestPassword(ctx context.Context, request *PasswordRequest, by string) *PasswordResult
}

// HandRequest asks to set one setting of virtual machines, to lift the locks and the
// host's switches that the agent has placed, or not to hold machines any more that a
// signed list holds.
type HandRequest struct {
	Setting string   `json:"setting,omitempty"` // of the catalogue
	Value   string   `json:"value,omitempty"`
	VMs     []string `json:"vm_ids,omitempty"`
	All     bool     `json:"all,omitempty"` // in place of VMs

	ReleaseLocks bool `json:"release_locks,omitempty"` // in place of all of the above
	ReleaseHolds bool `json:"release_holds,omitempty"` // in place of Setting: of VMs, or of All
}

// HandResult says what became of it, by machine and by switch of the host.
type HandResult struct {
	Schema  int           `json:"schema"`
	Code    protocol.Code `json:"code,omitempty"` // why nothing was begun, or how it ends is not known; empty if neither
	Mode    string        `json:"mode"`           // monitor or enforce
	Setting string        `json:"setting,omitempty"`
	Value   string        `json:"value,omitempty"`
	VMs     []HandVM      `json:"vms"`
	// Switches are those of the host that the agent had placed, where the locks are
	// lifted.
	Switches []HandSwitch `json:"switches,omitempty"`

	ReleaseHolds bool `json:"release_holds,omitempty"` // it is about holds
}

// HandSwitch is what became of one switch of the host.
type HandSwitch struct {
	Target  string        `json:"target"`  // as prlsrvctl set names it, --require-pwd create-vm
	Outcome string        `json:"outcome"` // as of a HandVM
	Code    protocol.Code `json:"code,omitempty"`
	Text    string        `json:"text,omitempty"`
	Remedy  string        `json:"remedy,omitempty"`
	Command string        `json:"command,omitempty"` // to type instead
}

// HandVM is what became of one machine.
type HandVM struct {
	PolicyVM
	Outcome string        `json:"outcome"` // done, deferred or refused
	Code    protocol.Code `json:"code,omitempty"`
	Text    string        `json:"text,omitempty"`
	Remedy  string        `json:"remedy,omitempty"`
	Command string        `json:"command,omitempty"` // to type instead, where a lock could not be lifted
	// Of a setting that the policy manages: where, which value it wants, and
	// whether the agent puts that back.
	PolicyPath  string `json:"policy_path,omitempty"`
	PolicyValue string `json:"policy_value,omitempty"`
	PutBack     bool   `json:"put_back,omitempty"`
}

// ModeOfPerson is whose word the mode is while the locks are released.
const ModeOfPerson = "person"

// LocksReleased is that an administrator had the agent lift its locks: until there
// is a newer policy it only plans (H47).
type LocksReleased struct {
	At          time.Time `json:"at"`
	By          string    `json:"by,omitempty"`           // admins only
	HeadVersion uint64    `json:"head_version,omitempty"` // a higher one ends it
}

// maxHandBody is for the ids of as many machines as a Mac may have.
const maxHandBody = 16 << 10

// kinds is how many things it asks for at once.
func (r *HandRequest) kinds() (count int) {
	for _, asked := range []bool{r.Setting != "", r.ReleaseLocks, r.ReleaseHolds} {
		if asked {
			count++
		}
	}
	return count
}

func (h *apiHandler) serveByHand(w http.ResponseWriter, r *http.Request, actor Actor) {
	var request HandRequest
	body, err := protocol.ReadLimited(r.Body, maxHandBody)
	if err == nil {
		err = protocol.Decode(body, maxHandBody, &request)
	}
	if err == nil && request.kinds() != 1 {
		err = fmt.Errorf("it must have a setting, release_locks or release_holds")
	}
	if err == nil && !request.ReleaseLocks && request.All == (len(request.VMs) > 0) {
		err = fmt.Errorf("it must have machines or all")
	}
	if err != nil {
		h.writeRefusal(w, http.StatusBadRequest, protocol.CodeBadRequest, fmt.Sprintf("The body is not a request for something by hand: %v.", err))
		return
	}
	if err := stayOpen(w); err != nil {
		return
	}
	h.writeAnswer(w, http.StatusOK, h.options.Hands.ByHand(r.Context(), &request, actor.title()))
}

// title is who the actor is, for events.
func (a Actor) title() string {
	if a.Name != "" {
		return a.Name
	}
	return fmt.Sprintf("uid %d", a.UID)
}

// ByHand asks for something to be done now, and waits for the outcome.
func (c *Client) ByHand(ctx context.Context, request HandRequest) (result HandResult, err error) {
	err = c.postDocument(ctx, "/v1/byhand", request, &result)
	return result, err
}
