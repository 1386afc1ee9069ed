package localapi

import (
	"context"
	"net/http"
	"time"

	"prlagent/agent/protocol"
)

// SentReport is the last report of this Mac to its portal, in full.
type SentReport struct {
	Schema  int                     `json:"schema"`
	At      time.Time               `json:"at"`
	Privacy protocol.Privacy        `json:"privacy"`
	Report  protocol.CheckinRequest `json:"report"` // without what belongs to one request: its number, reasons and events
}

// ReportSource knows what the portal was told last.
type ReportSource interface {
	// SentReport is nil if nothing was told since the daemon began.
	SentReport() *SentReport
}

// SentReport asks what the portal was told last; for administrators. Before the
// first report the code is not_reported_yet.
func (c *Client) SentReport(ctx context.Context) (SentReport, error) {
	var sent SentReport
	err := c.getDocument(ctx, "/v1/report", &sent)
	return sent, err
}

func (h *apiHandler) serveSentReport(w http.ResponseWriter, _ *http.Request, _ Actor) {
	if h.options.Reports != nil {
		if sent := h.options.Reports.SentReport(); sent != nil {
			h.writeAnswer(w, http.StatusOK, sent)
			return
		}
	}
	h.writeRefusal(w, http.StatusNotFound, protocol.CodeNotReportedYet, "Nothing was reported to a portal since prlagentd started.")
}
