package portal

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// streamType is the media type of a whole table: a row on every line, and a
// last line that says it was the last one.
const streamType = "application/x-ndjson"

// listed says what a list holds, beside its rows.
type listed struct {
	Total      int       `json:"total"` // rows that fit the query, on all pages
	AsOf       time.Time `json:"as_of"` // give it as the next --since: rows may come again, and are never missed
	Incomplete bool      `json:"incomplete,omitempty"`
}

// page says which part of the rows a list holds.
type page struct {
	listed
	Page    int `json:"page"`
	PerPage int `json:"per_page"`
}

// deviceList and vmList are the replies of the admin plane.
type deviceList struct {
	Devices []deviceView `json:"devices"`
	page
}

type vmList struct {
	VMs []vmView `json:"vms"`
	page
}

// streamEnd is the last line of a stream. A stream without it broke off.
type streamEnd struct {
	End *listed `json:"end"`
}

// sinceOverlap is longer than a check-in takes from being dated to being on
// record, so that the next look cannot miss one that was under way.
const sinceOverlap = time.Minute

// scanner visits the rows of a table.
type scanner[T any] func(ctx context.Context, visit func(*T) error) (incomplete bool, err error)

func (s *adminServer) listVMs(w http.ResponseWriter, r *http.Request) error {
	return answerList(s, w, r, vmTable, scan.vms, func(rows []vmView, part page) any { return vmList{rows, part} })
}

func (s *adminServer) listDevices(w http.ResponseWriter, r *http.Request) error {
	return answerList(s, w, r, deviceTable, scan.devices, func(rows []deviceView, part page) any { return deviceList{rows, part} })
}

// scan looks at the fleet as it is now, or at what changed since then.
func (s *adminServer) scan(since time.Time) scan {
	return scan{fleet: s.fleet, now: s.now(), freshness: s.config.freshness(), since: since}
}

// answerList answers a query with one page, or with a stream of all rows where
// the client accepts one.
func answerList[T any](s *adminServer, w http.ResponseWriter, r *http.Request, t table[T],
	rows func(scan, context.Context, func(*T) error) (bool, error), reply func([]T, page) any) error {
	now := s.now().UTC()
	asked, err := readQuery(r.URL.Query())
	if err != nil {
		return queryProblem(err)
	}
	streamed := strings.Contains(r.Header.Get("Accept"), streamType)
	if streamed && (asked.Page != 0 || asked.PerPage != 0) {
		return invalidField(paramPage, "A stream has no pages.")
	}
	made, err := asked.plan(t.columns(), now)
	if err != nil {
		return queryProblem(err)
	}
	look := s.scan(made.since)
	visit := func(ctx context.Context, visit func(*T) error) (bool, error) { return rows(look, ctx, visit) }
	about := listed{AsOf: now.Add(-sinceOverlap)}
	if streamed {
		return s.stream(w, r, func(emit func(any) error) (listed, error) {
			return emitAll(r.Context(), t.matching(made), visit, about, func(row *T) error { return emit(row) })
		})
	}
	found := newCollector(t.matching(made), made.page*made.perPage)
	if about.Incomplete, err = visit(r.Context(), found.add); err != nil {
		return err
	}
	about.Total = found.total
	return writeJSON(w, r, http.StatusOK, reply(found.page(made.page, made.perPage), page{about, made.page, made.perPage}))
}

func queryProblem(err error) error {
	var wrong queryError
	if errors.As(err, &wrong) {
		return invalidField(wrong.part, wrong.text)
	}
	return err
}

var errTooManyToSort = queryError{paramSort, "expected fewer rows than this table has; filter, or leave the order as it is"}

// emitAll emits every row that fits, as it comes, or in the order asked for.
func emitAll[T any](ctx context.Context, wanted matcher[T], rows scanner[T], about listed, emit func(*T) error) (listed, error) {
	var err error
	if len(wanted.sorting) == 0 {
		about.Incomplete, err = rows(ctx, func(row *T) error {
			if !wanted.matches(row) {
				return nil
			}
			about.Total++
			return emit(row)
		})
		return about, err
	}
	found := newCollector(wanted, maxSorted+1)
	if about.Incomplete, err = rows(ctx, found.add); err != nil {
		return about, err
	}
	if about.Total = found.total; found.total > maxSorted {
		return about, errTooManyToSort
	}
	for _, row := range found.page(1, maxSorted) {
		if err := emit(&row); err != nil {
			return about, err
		}
	}
	return about, nil
}

// streamBuffer is how much of a stream is sent at a time.
const streamBuffer = 64 << 10

// stream writes a row a line. Until the first bytes are sent an error can
// still be answered; later it breaks the stream off before its end.
func (s *adminServer) stream(w http.ResponseWriter, r *http.Request, rows func(emit func(any) error) (listed, error)) error {
	out := &streamWriter{response: w, control: http.NewResponseController(w)}
	buffered := bufio.NewWriterSize(out, streamBuffer)
	encoder := json.NewEncoder(buffered) // ends every value with a line end
	about, err := rows(encoder.Encode)
	if err == nil {
		err = errors.Join(encoder.Encode(streamEnd{End: &about}), buffered.Flush())
	}
	if err == nil || !out.begun {
		return queryProblem(err)
	}
	level := zerolog.ErrorLevel
	if r.Context().Err() != nil || errors.Is(err, errClientGone) {
		level = zerolog.DebugLevel
	}
	s.log.WithLevel(level).Str("route", r.Pattern).Err(err).Msg("stream broke off")
	return nil
}

// streamWriter gives every part of a stream the time that other answers have
// as a whole.
type streamWriter struct {
	response http.ResponseWriter
	control  *http.ResponseController
	begun    bool
}

var errClientGone = errors.New("the client takes nothing more")

func (s *streamWriter) Write(part []byte) (int, error) {
	if !s.begun {
		s.begun = true
		s.response.Header().Set("Content-Type", streamType)
		s.response.Header().Set("Cache-Control", "no-store")
	}
	if err := s.control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, fmt.Errorf("set write deadline: %w", err)
	}
	written, err := s.response.Write(part)
	if err != nil {
		err = fmt.Errorf("%w: %w", errClientGone, err)
	}
	return written, err
}
