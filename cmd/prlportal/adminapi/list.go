package adminapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/query"
)

// ListInfo says what a list holds, beside its rows.
type ListInfo struct {
	Total      int       `json:"total"` // rows that fit the query, on all pages
	AsOf       time.Time `json:"as_of"` // give it as the next --since: rows may come again, and are never missed
	Incomplete bool      `json:"incomplete,omitempty"`
	Missing    int       `json:"missing,omitempty"` // virtual machines of all Macs that no row is for
}

func (l *ListInfo) take(short fleet.Shortfall) {
	l.Incomplete, l.Missing = short.Incomplete, short.Missing
}

// Page says which part of the rows a list holds.
type Page struct {
	ListInfo
	Page    int `json:"page"`
	PerPage int `json:"per_page"`
}

// deviceList and vmList are the replies of the admin plane.
type deviceList struct {
	Devices []fleet.Device `json:"devices"`
	Page
}

type vmList struct {
	VMs []fleet.VM `json:"vms"`
	Page
}

type eventList struct {
	Events []fleet.Event `json:"events"`
	Page
}

// sinceOverlap is longer than a check-in takes from being dated to being on
// record, so that the next look cannot miss one that was under way.
const sinceOverlap = time.Minute

// rowScanner visits the rows of a table.
type rowScanner[T any] func(ctx context.Context, visit func(*T) error) (fleet.Shortfall, error)

func (s *Server) listVMs(w http.ResponseWriter, r *http.Request) error {
	return answerList(s, w, r, fleet.VMTable, fleet.Scan.VMs, func(rows []fleet.VM, part Page) any { return vmList{rows, part} })
}

func (s *Server) listDevices(w http.ResponseWriter, r *http.Request) error {
	return answerList(s, w, r, fleet.DeviceTable, fleet.Scan.Devices, func(rows []fleet.Device, part Page) any { return deviceList{rows, part} })
}

func (s *Server) listEvents(w http.ResponseWriter, r *http.Request) error {
	return answerList(s, w, r, fleet.EventTable, fleet.Scan.Events, func(rows []fleet.Event, part Page) any { return eventList{rows, part} })
}

// listDeviceEvents is listEvents of one device.
func (s *Server) listDeviceEvents(w http.ResponseWriter, r *http.Request) error {
	device, err := s.deviceByID(r)
	if err != nil {
		return err
	}
	rows := func(look fleet.Scan, ctx context.Context, visit func(*fleet.Event) error) (fleet.Shortfall, error) {
		return look.EventsOf(ctx, device.ID, visit)
	}
	return answerList(s, w, r, fleet.EventTable, rows, func(rows []fleet.Event, part Page) any { return eventList{rows, part} })
}

// newScan looks at the fleet as it is now, or at what changed since then.
func (s *Server) newScan(now, since time.Time) fleet.Scan {
	return fleet.Scan{Fleet: s.devices, Now: now, Freshness: s.config.Freshness(), Since: since}
}

// answerList answers a query with one page, or with a stream of all rows where
// the client accepts one.
func answerList[T any](s *Server, w http.ResponseWriter, r *http.Request, t query.Table[T],
	rows func(fleet.Scan, context.Context, func(*T) error) (fleet.Shortfall, error), reply func([]T, Page) any) error {
	now := s.now().UTC()
	asked, err := query.Parse(r.URL.Query())
	if err != nil {
		return queryProblem(err)
	}
	streamed := strings.Contains(r.Header.Get("Accept"), StreamType)
	if streamed && (asked.Page != 0 || asked.PerPage != 0) {
		return httpapi.InvalidField(query.ParamPage, "A stream has no pages.")
	}
	made, err := asked.Plan(t.Columns(), now)
	if err == nil {
		err = made.CheckSince(now)
	}
	if err != nil {
		return queryProblem(err)
	}
	look := s.newScan(now, made.Since)
	visit := func(ctx context.Context, visit func(*T) error) (fleet.Shortfall, error) {
		return rows(look, ctx, visit)
	}
	about := ListInfo{AsOf: now.Add(-sinceOverlap)}
	if streamed {
		return s.streamRows(w, r, func(emit func(any) error) (ListInfo, error) {
			return emitAll(r.Context(), t.Matching(made), visit, about, func(row *T) error { return emit(row) })
		})
	}
	found := query.NewCollector(t.Matching(made), made.Page*made.PerPage)
	short, err := visit(r.Context(), found.Add)
	if err != nil {
		return err
	}
	about.take(short)
	about.Total = found.Total
	return httpapi.WriteJSON(w, r, http.StatusOK, reply(found.Page(made.Page, made.PerPage), Page{about, made.Page, made.PerPage}))
}

func queryProblem(err error) error {
	var wrong query.Error
	if errors.As(err, &wrong) {
		return httpapi.InvalidField(wrong.Part, wrong.Text)
	}
	return err
}

var errTooManyToSort = query.Error{Part: query.ParamSort, Text: "expected fewer rows than this table has; filter, or leave the order as it is"}

// emitAll emits every row that fits, as it comes, or in the order asked for.
func emitAll[T any](ctx context.Context, wanted query.Matcher[T], rows rowScanner[T], about ListInfo, emit func(*T) error) (ListInfo, error) {
	if !wanted.Ordered() {
		short, err := rows(ctx, func(row *T) error {
			if !wanted.Matches(row) {
				return nil
			}
			about.Total++
			return emit(row)
		})
		about.take(short)
		return about, err
	}
	found := query.NewCollector(wanted, query.MaxSorted+1)
	short, err := rows(ctx, found.Add)
	if err != nil {
		return about, err
	}
	about.take(short)
	if about.Total = found.Total; found.Total > query.MaxSorted {
		return about, errTooManyToSort
	}
	for _, row := range found.Page(1, query.MaxSorted) {
		if err := emit(&row); err != nil {
			return about, err
		}
	}
	return about, nil
}
