package localapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"prlagent/agent/protocol"
)

// Placed is what the agent has placed on this Mac and would leave behind (H29, H47).
type Placed struct {
	Schema     int      `json:"schema"`
	Holds      int      `json:"holds"`              // machines that are to stay suspended
	Autostarts int      `json:"autostarts"`         // of machines that are or were held, that are to be put back
	Locks      int      `json:"locks"`              // machines with a lock of the agent
	Switches   []string `json:"switches,omitempty"` // of the Mac, as prlsrvctl set names them
	Leases     int      `json:"leases"`             // times that such a switch is off for the agent's own work
}

// IsEmpty reports whether nothing is left behind.
func (p *Placed) IsEmpty() bool {
	return p.Holds+p.Autostarts+p.Locks+p.Leases == 0 && len(p.Switches) == 0
}

// Words name what there is, as in "2 holds, 1 lock".
func (p *Placed) Words() string {
	var words []string
	for _, kind := range []struct {
		count     int
		one, many string
	}{
		{p.Holds, "hold of a virtual machine", "holds of virtual machines"},
		{p.Autostarts, "autostart to be put back", "autostarts to be put back"},
		{p.Locks, "lock of a virtual machine", "locks of virtual machines"},
		{len(p.Switches), "switch of the Mac (" + strings.Join(p.Switches, ", ") + ")", "switches of the Mac (" + strings.Join(p.Switches, ", ") + ")"},
		{p.Leases, "control that is lifted for a while", "controls that are lifted for a while"},
	} {
		switch kind.count {
		case 0:
		case 1:
			words = append(words, "1 "+kind.one)
		default:
			words = append(words, fmt.Sprint(kind.count)+" "+kind.many)
		}
	}
	return strings.Join(words, ", ")
}

// PlacedSource knows what the agent has placed.
type PlacedSource interface {
	Placed() (Placed, error)
}

// Placed asks what the agent has placed; for administrators.
func (c *Client) Placed(ctx context.Context) (Placed, error) {
	var placed Placed
	err := c.getDocument(ctx, "/v1/placed", &placed)
	return placed, err
}

func (h *apiHandler) servePlaced(w http.ResponseWriter, _ *http.Request, _ Actor) {
	if h.options.Placed == nil {
		h.writeRefusal(w, http.StatusNotFound, protocol.CodeBadRequest, "There is nothing at this path.")
		return
	}
	placed, err := h.options.Placed.Placed()
	if err != nil {
		h.options.Log.Error().Err(err).Msg("tell what was placed")
		h.writeRefusal(w, http.StatusInternalServerError, protocol.CodeInternal, "")
		return
	}
	h.writeAnswer(w, http.StatusOK, placed)
}
