package portal

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform/text"
)

// query is what a person or a program wants to see of a table. The command
// line, a saved view and a URL say the same with the same words.
type query struct {
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
	paramSort    = "sort"
	paramPage    = "page"
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
	// maxSorted is how many rows are held to be put in order: a page may not
	// lie deeper, and a sorted table as a whole may not have more.
	maxSorted = 100_000
)

// queryError says which part of a query is wrong, and what was expected.
type queryError struct{ part, text string }

func (e queryError) Error() string { return e.part + ": " + e.text }

// values is the query as part of a URL.
func (q query) values() url.Values {
	values := url.Values{}
	for _, filter := range q.Filters {
		values.Add(paramFilter, filter)
	}
	for name, text := range map[string]string{paramSearch: q.Search, paramSort: strings.Join(q.Sort, ","), paramSince: q.Since} {
		if text != "" {
			values.Set(name, text)
		}
	}
	for name, number := range map[string]int{paramPage: q.Page, paramPerPage: q.PerPage} {
		if number != 0 {
			values.Set(name, strconv.Itoa(number))
		}
	}
	return values
}

// readQuery reads the query of a URL. A parameter that there is not is an
// error: a misspelled filter must not show everything.
func readQuery(values url.Values) (query, error) {
	var read query
	for name, given := range values {
		var err error
		switch name {
		case paramFilter:
			read.Filters = given
			continue
		case paramSearch:
			read.Search = given[0]
		case paramSort:
			read.Sort = strings.Split(given[0], ",")
		case paramSince:
			read.Since = given[0]
		case paramPage:
			read.Page, err = readCount(given[0])
		case paramPerPage:
			read.PerPage, err = readCount(given[0])
		default:
			return query{}, queryError{text.Display(name), "there is no such parameter; parameters are filter, search, sort, page, per_page, since"}
		}
		if err != nil || len(given) > 1 {
			return query{}, queryError{name, "expected once, and a page and its size as numbers from 1"}
		}
	}
	return read, nil
}

func readCount(text string) (int, error) {
	number, err := strconv.ParseUint(text, 10, 31)
	if err == nil && number == 0 {
		return 0, strconv.ErrRange
	}
	return int(number), err
}

// sorting is one key of the order of rows.
type sorting struct {
	column  column
	falling bool
}

// plan is a query that was checked against the columns of a table.
type plan struct {
	conditions []condition
	search     string // lower case
	sorting    []sorting
	page       int
	perPage    int
	since      time.Time
}

// plan checks the query; its error is a queryError.
func (q query) plan(columns []column, now time.Time) (plan, error) {
	made := plan{search: strings.ToLower(q.Search), page: max(q.Page, 1), perPage: q.PerPage}
	if made.perPage == 0 {
		made.perPage = defaultPerPage
	}
	switch {
	case len(q.Filters) > maxFilters:
		return plan{}, queryError{paramFilter, fmt.Sprintf("expected at most %d filters", maxFilters)}
	case len(q.Search) > maxSearchText:
		return plan{}, queryError{paramSearch, fmt.Sprintf("expected at most %d bytes", maxSearchText)}
	case made.page < 1 || q.Page < 0:
		return plan{}, queryError{paramPage, "expected a number from 1"}
	case made.perPage < 1 || made.perPage > maxPerPage:
		return plan{}, queryError{paramPerPage, fmt.Sprintf("expected a number from 1 to %d", maxPerPage)}
	case made.page > maxSorted/made.perPage:
		return plan{}, queryError{paramPage, fmt.Sprintf("expected a page within the first %d rows; filter, or read the table as a whole", maxSorted)}
	}
	for i, text := range q.Filters {
		read, err := parseFilter(columns, text[:min(len(text), maxFilterText)], now)
		if len(text) > maxFilterText {
			err = fmt.Errorf("expected at most %d bytes", maxFilterText)
		}
		if err != nil {
			return plan{}, queryError{fmt.Sprintf("%s[%d]", paramFilter, i), err.Error()}
		}
		made.conditions = append(made.conditions, read)
	}
	if err := made.readSorting(columns, q.Sort); err != nil {
		return plan{}, queryError{paramSort, err.Error()}
	}
	if q.Since != "" {
		since, err := parseSpan(q.Since, now)
		if err != nil {
			return plan{}, queryError{paramSince, fmt.Sprintf("%v, not %q", err, text.Display(q.Since))}
		}
		made.since = since.start
	}
	return made, nil
}

func (p *plan) readSorting(columns []column, keys []string) error {
	if len(keys) > maxSortKeys {
		return fmt.Errorf("expected at most %d columns", maxSortKeys)
	}
	for _, key := range keys {
		id, falling := strings.CutPrefix(strings.TrimSpace(key), "-")
		found, err := findColumn(columns, id)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(p.sorting, func(s sorting) bool { return s.column.id == id }) {
			return fmt.Errorf("expected %s once", id)
		}
		p.sorting = append(p.sorting, sorting{found, falling})
	}
	return nil
}
