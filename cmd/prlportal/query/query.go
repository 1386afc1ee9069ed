// Package query asks for rows of a table: filters, search, order and pages, in
// the same words on the command line, in a saved view and in a URL. It knows
// columns and cells, and not what they are of.
package query

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform/text"
)

// Query is what a person or a program wants to see of a table. The command
// line, a saved view and a URL say the same with the same words.
type Query struct {
	Filters []string `json:"filter,omitempty"` // all must hold, see parseFilter
	Search  string   `json:"search,omitempty"` // part of any text of the row
	Sort    []string `json:"sort,omitempty"`   // column ids, the first counts most; - before one turns it
	Page    int      `json:"page,omitempty"`   // from 1; 0: the first
	PerPage int      `json:"per_page,omitempty"`
	Since   string   `json:"since,omitempty"` // only what changed since then, a time as in filters
}

// Names of a query's parts in a URL, and of problems with them.
const (
	paramFilter  = "filter"
	paramSearch  = "search"
	ParamSort    = "sort"
	ParamPage    = "page"
	paramPerPage = "per_page"
	paramSince   = "since"
)

// Limits of a query. They hold the portal's memory and time within bounds.
const (
	maxFilters     = 32
	maxFilterText  = 8 << 10 // bytes
	maxSearchText  = protocol.MaxName
	maxSortKeys    = 8
	defaultPerPage = 40
	maxPerPage     = 1000
	// MaxSorted is how many rows are held to be put in order: a page may not
	// lie deeper, and a sorted table as a whole may not have more.
	MaxSorted = 100_000
)

// Error says which part of a query is wrong, and what was expected.
type Error struct{ Part, Text string }

func (e Error) Error() string { return e.Part + ": " + e.Text }

// Values is the query as part of a URL.
func (q Query) Values() url.Values {
	values := url.Values{}
	for _, filter := range q.Filters {
		values.Add(paramFilter, filter)
	}
	for name, text := range map[string]string{paramSearch: q.Search, ParamSort: strings.Join(q.Sort, ","), paramSince: q.Since} {
		if text != "" {
			values.Set(name, text)
		}
	}
	for name, number := range map[string]int{ParamPage: q.Page, paramPerPage: q.PerPage} {
		if number != 0 {
			values.Set(name, strconv.Itoa(number))
		}
	}
	return values
}

// Parse reads the query of a URL. A parameter that there is not is an
// error: a misspelled filter must not show everything.
func Parse(values url.Values) (Query, error) {
	var read Query
	seen := make(map[string]bool, len(values))
	for _, typed := range slices.Sorted(maps.Keys(values)) {
		name, given := text.TypedWord(typed), values[typed]
		if seen[name] || name != paramFilter && len(given) != 1 {
			return Query{}, Error{text.Display(name), "expected once"}
		}
		seen[name] = true
		if err := read.set(name, given); err != nil {
			return Query{}, err
		}
	}
	return read, nil
}

// set reads one parameter. One without a value is more likely a mistake of who
// made the URL than the wish to see everything.
func (q *Query) set(name string, given []string) error {
	var err error
	switch name {
	case paramFilter:
		q.Filters = given
		return nil
	case paramSearch:
		q.Search = given[0]
	case ParamSort:
		q.Sort = strings.Split(given[0], ",")
	case paramSince:
		q.Since = given[0]
	case ParamPage:
		q.Page, err = ParseCount(given[0])
	case paramPerPage:
		q.PerPage, err = ParseCount(given[0])
	default:
		return Error{text.Display(name), "there is no such parameter; parameters are filter, search, sort, page, per_page, since"}
	}
	if text.TrimTyped(given[0]) == "" {
		return Error{name, "expected a value"}
	}
	if err != nil {
		return Error{name, "expected a page and its size as numbers from 1"}
	}
	return nil
}

// ParseCount reads the number of a page or its size, from 1.
func ParseCount(typed string) (int, error) {
	number, err := strconv.ParseUint(text.TrimTyped(typed), 10, 31)
	if err != nil || number == 0 {
		return 0, errors.New("expected a number from 1")
	}
	return int(number), nil
}

// sortColumn is one key of the order of rows.
type sortColumn struct {
	column     Column
	descending bool
}

// Plan is a query that was checked against the columns of a table.
type Plan struct {
	conditions []condition
	search     string // made comparable
	sorting    []sortColumn
	Page       int
	PerPage    int
	Since      time.Time
}

// Plan checks the query; its error is a queryError.
func (q Query) Plan(columns []Column, now time.Time) (Plan, error) {
	made := Plan{search: searchKey(q.Search), Page: max(q.Page, 1), PerPage: q.PerPage}
	if made.PerPage == 0 {
		made.PerPage = defaultPerPage
	}
	switch {
	case len(q.Filters) > maxFilters:
		return Plan{}, Error{paramFilter, fmt.Sprintf("expected at most %d filters", maxFilters)}
	case len(q.Search) > maxSearchText:
		return Plan{}, Error{paramSearch, fmt.Sprintf("expected at most %d bytes", maxSearchText)}
	case q.Search != "" && made.search == "":
		return Plan{}, Error{paramSearch, "expected a part of a text"}
	case made.Page < 1 || q.Page < 0:
		return Plan{}, Error{ParamPage, "expected a number from 1"}
	case made.PerPage < 1 || made.PerPage > maxPerPage:
		return Plan{}, Error{paramPerPage, fmt.Sprintf("expected a number from 1 to %d", maxPerPage)}
	case made.Page > MaxSorted/made.PerPage:
		return Plan{}, Error{ParamPage, fmt.Sprintf("expected a page within the first %d rows; filter, or read the table as a whole", MaxSorted)}
	}
	for i, text := range q.Filters {
		read, err := parseFilter(columns, text[:min(len(text), maxFilterText)], now)
		if len(text) > maxFilterText {
			err = fmt.Errorf("expected at most %d bytes", maxFilterText)
		}
		if err != nil {
			return Plan{}, Error{fmt.Sprintf("%s[%d]", paramFilter, i), err.Error()}
		}
		made.conditions = append(made.conditions, read)
	}
	if err := made.readSorting(columns, q.Sort); err != nil {
		return Plan{}, Error{ParamSort, err.Error()}
	}
	if q.Since != "" {
		since, err := parseSince(q.Since, now)
		if err != nil {
			return Plan{}, Error{paramSince, fmt.Sprintf("%v, not %q", err, text.Display(q.Since))}
		}
		made.Since = since.start
	}
	return made, nil
}

// parseSince reads a time as in a filter, or how long ago without its sign.
func parseSince(typed string, now time.Time) (timeSpan, error) {
	read, err := parseSpan(typed, now)
	if err != nil {
		if ago, failed := parseSpan("-"+text.TrimTyped(typed), now); failed == nil {
			return ago, nil
		}
	}
	return read, err
}

// CheckSince refuses a time that has not come by the clock of who answers: nothing
// can have changed since then.
func (p Plan) CheckSince(now time.Time) error {
	if p.Since.After(now) {
		return Error{paramSince, fmt.Sprintf("expected a time that has come, not %s; at the portal it is %s", p.Since.Format(time.RFC3339), now.UTC().Format(time.RFC3339))}
	}
	return nil
}

// searchKey is what a search looks for: without blanks and quotes around.
func searchKey(typed string) string {
	part := text.TrimTyped(typed)
	if straight := text.Straighten(part); len(straight) > 1 && strings.HasPrefix(straight, `"`) && strings.HasSuffix(straight, `"`) {
		part = text.TrimTyped(straight[1 : len(straight)-1])
	}
	return comparisonKey(part)
}

func (p *Plan) readSorting(columns []Column, keys []string) error {
	if len(keys) > maxSortKeys {
		return fmt.Errorf("expected at most %d columns", maxSortKeys)
	}
	for _, key := range keys {
		id, falling := strings.CutPrefix(text.TypedWord(key), "-")
		found, err := FindColumn(columns, id)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(p.sorting, func(s sortColumn) bool { return s.column.ID == found.ID }) {
			return fmt.Errorf("expected %s once", found.ID)
		}
		p.sorting = append(p.sorting, sortColumn{found, falling})
	}
	return nil
}
