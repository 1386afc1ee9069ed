package query

import (
	"cmp"
	"slices"
	"strings"
)

// Matcher is a plan with the fields that it looks at.
type Matcher[T any] struct {
	conditions []boundCondition[T]
	search     string
	text       func(*T) string
	sorting    []sortField[T]
}

type boundCondition[T any] struct {
	condition condition
	field     Field[T]
}

type sortField[T any] struct {
	field      Field[T]
	descending bool
}

// Matching binds a plan, which was made for this table's columns, to its fields.
func (t Table[T]) Matching(made Plan) Matcher[T] {
	bound := Matcher[T]{search: made.search, text: t.Search}
	if bound.text == nil {
		bound.text = t.SearchText
	}
	for _, condition := range made.conditions {
		bound.conditions = append(bound.conditions, boundCondition[T]{condition: condition, field: t.fieldByID(condition.column.ID)})
	}
	for _, key := range made.sorting {
		bound.sorting = append(bound.sorting, sortField[T]{field: t.fieldByID(key.column.ID), descending: key.descending})
	}
	return bound
}

func (t Table[T]) fieldByID(id string) Field[T] {
	return t.Fields[slices.IndexFunc(t.Fields, func(f Field[T]) bool { return f.Column.ID == id })]
}

// Matches reports whether the row is one that the query asks for.
func (m Matcher[T]) Matches(row *T) bool {
	for _, wanted := range m.conditions {
		if !wanted.condition.matches(wanted.field.Cell(row)) {
			return false
		}
	}
	return m.search == "" || strings.Contains(m.text(row), m.search)
}

// Ordered reports whether an order was asked for.
func (m Matcher[T]) Ordered() bool { return len(m.sorting) > 0 }

// rankedRow is a row that fits, with what its place depends on.
type rankedRow[T any] struct {
	row  *T
	keys []sortKey
	seen int // place in the table's own order, which settles ties
}

// Collector finds the first rows of an order among any number of them, and
// holds at most twice as many as are asked for.
type Collector[T any] struct {
	matcher Matcher[T]
	limit   int
	Total   int
	kept    []rankedRow[T]
	full    bool // the last one kept is the last one wanted
}

// NewCollector collects the first limit rows, of those that match.
func NewCollector[T any](wanted Matcher[T], limit int) *Collector[T] {
	return &Collector[T]{matcher: wanted, limit: limit}
}

// Add takes a row if it fits; the row may be used again afterwards.
func (c *Collector[T]) Add(row *T) error {
	if !c.matcher.Matches(row) {
		return nil
	}
	c.Total++
	if len(c.matcher.sorting) == 0 && c.Total > c.limit {
		return nil // comes after those held
	}
	next := rankedRow[T]{seen: c.Total, keys: make([]sortKey, 0, len(c.matcher.sorting))}
	for _, key := range c.matcher.sorting {
		next.keys = append(next.keys, key.field.Column.sortKey(key.field.Cell(row)))
	}
	if c.full && c.compare(next, c.kept[c.limit-1]) > 0 {
		return nil
	}
	held := *row
	next.row = &held
	c.kept = append(c.kept, next)
	if len(c.kept) >= 2*c.limit {
		c.dropExcess()
	}
	return nil
}

// dropExcess puts the rows held in order and lets go of those beyond the limit.
func (c *Collector[T]) dropExcess() {
	slices.SortFunc(c.kept, c.compare)
	if len(c.kept) >= c.limit {
		clear(c.kept[c.limit:])
		c.kept, c.full = c.kept[:c.limit], true
	}
}

// compare orders by the keys asked for, empty cells last in either direction,
// and then by the table's own order.
func (c *Collector[T]) compare(a, b rankedRow[T]) int {
	for i, key := range c.matcher.sorting {
		left, right := a.keys[i], b.keys[i]
		if left.empty || right.empty {
			if left.empty == right.empty {
				continue
			}
			if left.empty {
				return 1
			}
			return -1
		}
		order := left.compare(right)
		if key.descending {
			order = -order
		}
		if order != 0 {
			return order
		}
	}
	return cmp.Compare(a.seen, b.seen)
}

// Page gives the rows of one page, of those collected.
func (c *Collector[T]) Page(number, size int) []T {
	c.dropExcess()
	from := min((number-1)*size, len(c.kept))
	rows := make([]T, 0, min(size, len(c.kept)-from))
	for _, kept := range c.kept[from:min(from+size, len(c.kept))] {
		rows = append(rows, *kept.row)
	}
	return rows
}
