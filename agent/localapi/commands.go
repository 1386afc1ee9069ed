package localapi

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"prlagent/agent/protocol"
)

// MaxCommands is how many commands a list has at most.
const MaxCommands = 500

// CommandSource is the journal of commands.
type CommandSource interface {
	// Commands gives the commands of the journal, the newest first and at most
	// MaxCommands of them, or those whose id begins like this.
	Commands(id string) (*CommandList, error)
}

// CommandList is the commands that this Mac has, or had, from its portal.
type CommandList struct {
	Schema     int       `json:"schema"`
	Commands   []Command `json:"commands"`
	Truncated  bool      `json:"truncated,omitempty"`  // there are older ones
	Restricted bool      `json:"restricted,omitempty"` // only those on the asker's own machines
}

// Command is one command, and what became of it.
type Command struct {
	CommandID    string                 `json:"command_id"`
	Type         string                 `json:"type,omitempty"` // empty of one that was cancelled before it came
	Target       protocol.CommandTarget `json:"target,omitzero"`
	IssuedAt     time.Time              `json:"issued_at,omitzero"`
	ExpiresAt    time.Time              `json:"expires_at,omitzero"`
	IssuedBy     string                 `json:"issued_by,omitempty"`
	Reason       string                 `json:"reason,omitempty"`
	State        string                 `json:"state"`
	Code         protocol.Code          `json:"code,omitempty"`
	Text         string                 `json:"text,omitempty"` // what the code means
	Remedy       string                 `json:"remedy,omitempty"`
	Message      string                 `json:"message,omitempty"`
	Since        time.Time              `json:"since"` // of the state
	RetryAt      time.Time              `json:"retry_at,omitzero"`
	Attempts     int                    `json:"attempts"`
	StartedAt    time.Time              `json:"started_at,omitzero"`
	EndedAt      time.Time              `json:"ended_at,omitzero"`
	Acknowledged bool                   `json:"acknowledged"` // the portal has the result
	Observed     map[string]string      `json:"observed,omitempty"`
	History      []CommandStep          `json:"history"` // every change of the state, oldest first
}

// CommandStep is one change of a command's state.
type CommandStep struct {
	At    time.Time     `json:"at"`
	State string        `json:"state"`
	Code  protocol.Code `json:"code,omitempty"`
}

// CommandStatus is how it stands with commands, in a line.
type CommandStatus struct {
	Open       int            `json:"open"`                  // that have not ended
	Unreported int            `json:"unreported"`            // that have ended, and the portal does not know how
	Oldest     []CommandBrief `json:"oldest,omitempty"`      // of the open ones; admins only
	LastFailed *CommandBrief  `json:"last_failed,omitempty"` // of the last 30 days; admins only
	TimeProven bool           `json:"time_proven"`           // what nothing puts back may begin (H24)
	RecordCode protocol.Code  `json:"record_code,omitempty"` // why nothing can be begun that changes anything; empty: it can
}

// CommandBrief is one command in a few words.
type CommandBrief struct {
	CommandID string        `json:"command_id"`
	Type      string        `json:"type,omitempty"`
	VMName    string        `json:"vm_name,omitempty"`
	Owner     string        `json:"user_name,omitempty"`
	State     string        `json:"state"`
	Code      protocol.Code `json:"code,omitempty"`
	Since     time.Time     `json:"since"` // of the state
}

// forEveryone is how many there are, and no more.
func (s *CommandStatus) forEveryone() *CommandStatus {
	return &CommandStatus{Open: s.Open, Unreported: s.Unreported, TimeProven: s.TimeProven, RecordCode: s.RecordCode}
}

// commandsFor are the commands that an actor may see: administrators all, others
// those on their own machines, without who wanted them and why.
func commandsFor(actor Actor, list *CommandList) *CommandList {
	if actor.Admin {
		return list
	}
	visible := &CommandList{Schema: list.Schema, Truncated: list.Truncated, Restricted: true, Commands: []Command{}}
	for i := range list.Commands {
		if target := &list.Commands[i].Target; actor.Name != "" && target.VMID != "" && target.UID == actor.UID {
			one := list.Commands[i]
			one.IssuedBy, one.Reason = "", ""
			visible.Commands = append(visible.Commands, one)
		}
	}
	return visible
}

func (h *apiHandler) serveCommands(w http.ResponseWriter, r *http.Request, actor Actor) {
	id := r.URL.Query().Get("id")
	if id != "" && !protocol.ValidName(id) {
		h.writeRefusal(w, http.StatusBadRequest, protocol.CodeBadRequest, "id is no id of a command.")
		return
	}
	list := &CommandList{Schema: Schema, Commands: []Command{}}
	if h.options.Commands != nil {
		var err error
		if list, err = h.options.Commands.Commands(id); err != nil {
			h.writeFailure(w, err)
			return
		}
	}
	h.writeAnswer(w, http.StatusOK, commandsFor(actor, list))
}

// Commands gives the newest commands, or those whose id begins like this.
func (c *Client) Commands(ctx context.Context, id string) (list CommandList, err error) {
	path := "/v1/commands"
	if id != "" {
		path += "?id=" + url.QueryEscape(id)
	}
	err = c.getDocument(ctx, path, &list)
	return list, err
}
