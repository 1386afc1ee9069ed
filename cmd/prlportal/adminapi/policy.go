package adminapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/query"
)

// Parameters of the requests below.
const (
	paramAt    = "at"
	paramAfter = "after"
)

// DiffRequest asks what publishing a policy to a group would change.
type DiffRequest struct {
	Group  string      `json:"group"`
	Before DiffVersion `json:"before"` // what is published now
	Next   DiffVersion `json:"next"`
}

// DiffVersion is a policy with the mode of its head.
type DiffVersion struct {
	Document []byte `json:"document,omitempty"` // its very bytes, by whose hash Macs name it; none: no policy
	Enforce  bool   `json:"enforce"`
}

// journalEnd is the last line of a stream of the journal.
type journalEnd struct {
	End *fleet.JournalEnd `json:"end"`
}

// showVerdicts answers with what became of each setting on one Mac.
func (s *Server) showVerdicts(w http.ResponseWriter, r *http.Request) error {
	device, report, err := s.reportByID(r)
	if err != nil {
		return err
	}
	verdicts, err := s.devices.VerdictsOf(r.Context(), device.ID, report)
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, r, http.StatusOK, verdicts)
}

// showCompliance answers with how settings stand, or stood.
func (s *Server) showCompliance(w http.ResponseWriter, r *http.Request) error {
	look := s.newScan(s.now().UTC(), noTime)
	at := noTime
	if typed := r.URL.Query().Get(paramAt); typed != "" {
		var err error
		if at, err = query.ParseMoment(typed, look.Now); err != nil {
			return httpapi.InvalidField(paramAt, err.Error())
		}
	}
	compliance, err := look.Compliance(r.Context(), at)
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, r, http.StatusOK, compliance)
}

// showLicenses answers with who uses licenses.
func (s *Server) showLicenses(w http.ResponseWriter, r *http.Request) error {
	licenses, err := s.newScan(s.now().UTC(), noTime).Licenses(r.Context())
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, r, http.StatusOK, licenses)
}

// showPolicyStatus answers with how far the groups' policies are carried out.
func (s *Server) showPolicyStatus(w http.ResponseWriter, r *http.Request) error {
	status, err := s.newScan(s.now().UTC(), noTime).PolicyStatus(r.Context())
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, r, http.StatusOK, status)
}

// showDiff answers with what publishing would change.
func (s *Server) showDiff(w http.ResponseWriter, r *http.Request) error {
	body, err := httpapi.ReadBody(r, protocol.MaxRequest)
	if err != nil {
		return err
	}
	var asked DiffRequest
	if err := httpapi.DecodeBody(body, &asked); err != nil {
		return err
	}
	before, err := asked.Before.version("before")
	if err != nil {
		return err
	}
	next, err := asked.Next.version("next")
	if err != nil {
		return err
	}
	difference, err := s.newScan(s.now().UTC(), noTime).Diff(r.Context(), asked.Group, before, next)
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, r, http.StatusOK, difference)
}

func (v DiffVersion) version(field string) (fleet.PolicyVersion, error) {
	made := fleet.PolicyVersion{Enforce: v.Enforce}
	if len(v.Document) == 0 {
		return made, nil
	}
	document, err := policy.Parse(v.Document)
	if err != nil {
		return made, httpapi.InvalidField(field, protocol.CutText(err.Error(), protocol.MaxText))
	}
	made.Document, made.SHA256 = document, protocol.PointTo(document.PolicyID, document.Revision, v.Document).SHA256
	return made, nil
}

// streamEvents and streamVerdicts tell on what is new behind a cursor.
func (s *Server) streamEvents(w http.ResponseWriter, r *http.Request) error {
	return s.streamJournal(w, r, func(ctx context.Context, from fleet.Cursor, emit func(any) error) (fleet.JournalEnd, error) {
		return s.devices.EventsAfter(ctx, from, func(event *fleet.Event) error { return emit(event) })
	})
}

func (s *Server) streamVerdicts(w http.ResponseWriter, r *http.Request) error {
	return s.streamJournal(w, r, func(ctx context.Context, from fleet.Cursor, emit func(any) error) (fleet.JournalEnd, error) {
		return s.devices.TransitionsAfter(ctx, from, func(one *fleet.VerdictTransition) error { return emit(one) })
	})
}

func (s *Server) streamJournal(w http.ResponseWriter, r *http.Request, rows func(context.Context, fleet.Cursor, func(any) error) (fleet.JournalEnd, error)) error {
	from, err := fleet.ParseCursor(r.URL.Query().Get(paramAfter))
	if err != nil {
		return httpapi.InvalidField(paramAfter, err.Error())
	}
	err = s.streamLines(w, r, func(emit func(any) error) (any, error) {
		end, err := rows(r.Context(), from, emit)
		return journalEnd{&end}, err
	})
	if errors.Is(err, fleet.ErrOtherJournal) {
		return httpapi.InvalidField(paramAfter, err.Error())
	}
	return err
}

// Verdicts is what became of each setting on one Mac.
func (c *Client) Verdicts(ctx context.Context, deviceID string) (verdicts fleet.DeviceVerdicts, err error) {
	device, err := pathElement(deviceID)
	if err != nil {
		return verdicts, err
	}
	err = c.exchangeJSON(ctx, http.MethodGet, []string{"v1", "admin", "devices", device, "verdicts"}, nil, &verdicts)
	return verdicts, err
}

// Compliance is how settings stand, or at a moment as a person types it stood.
func (c *Client) Compliance(ctx context.Context, at string) (compliance fleet.Compliance, err error) {
	target := c.baseURL.JoinPath("v1", "admin", "compliance")
	if at != "" {
		target.RawQuery = url.Values{paramAt: {at}}.Encode()
	}
	err = c.exchangeWith(ctx, http.MethodGet, target, nil, &compliance)
	return compliance, err
}

// Licenses is who uses licenses.
func (c *Client) Licenses(ctx context.Context) (licenses fleet.Licenses, err error) {
	err = c.exchangeJSON(ctx, http.MethodGet, []string{"v1", "admin", "licenses"}, nil, &licenses)
	return licenses, err
}

// PolicyStatus is how far the policies are carried out, by group and by document.
func (c *Client) PolicyStatus(ctx context.Context) (status fleet.PolicyStatus, err error) {
	err = c.exchangeJSON(ctx, http.MethodGet, []string{"v1", "admin", "policies", "status"}, nil, &status)
	return status, err
}

// Diff is what publishing would change.
func (c *Client) Diff(ctx context.Context, asked DiffRequest) (difference fleet.Difference, err error) {
	err = c.exchangeJSON(ctx, http.MethodPost, []string{"v1", "admin", "policies", "diff"}, asked, &difference)
	return difference, err
}

// Journal calls visit with every row of a kind, events or verdicts, that is new
// behind the cursor.
func (c *Client) Journal(ctx context.Context, kind, cursor string, visit func(json.RawMessage) error) (fleet.JournalEnd, error) {
	target := c.baseURL.JoinPath("v1", "admin", "journal", kind)
	target.RawQuery = paramAfter + "=" + cursor
	var end fleet.JournalEnd
	err := c.readLines(ctx, target, visit, func(line []byte) error {
		var last journalEnd
		if json.Unmarshal(line, &last) != nil || last.End == nil {
			return errUnexpected
		}
		end = *last.End
		return nil
	})
	return end, err
}
