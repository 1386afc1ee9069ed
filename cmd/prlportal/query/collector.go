package query

import (
	"cmp"
	"slices"
	"strings"
)

// Matcher is a plan with the fields that it looks at.
type Matcher[T any] struct {
	wanted  []wantedField[T]
	search  string
	text    func(*T) string
	sorting []sortedField[T]
}

type wantedField[T any] struct {
	condition condition
	field     Field[T]
}

type sortedField[T any] struct {
	field   Field[T]
	falling bool
}

// Matching binds a plan, which was made for this table's columns, to its fields.
func (t Table[T]) Matching(made Plan) Matcher[T] {
	bound := Matcher[T]{search: made.search, text: t.Search}
	if bound.text == nil {
		bound.text = t.SearchText
	}
	for _, condition := range made.conditions {
		bound.wanted = append(bound.wanted, wantedField[T]{condition: condition, field: t.field(condition.column.ID)})
	}
	for _, key := range made.sorting {
		bound.sorting = append(bound.sorting, sortedField[T]{field: t.field(key.column.ID), falling: key.falling})
	}
	return bound
}

func (t Table[T]) field(id string) Field[T] {
	return t.Fields[slices.IndexFunc(t.Fields, func(f Field[T]) bool { return f.Column.ID == id })]
}

func (m Matcher[T]) Matches(row *T) bool {
	for _, wanted := range m.wanted {
		if !wanted.condition.matches(wanted.field.Cell(row)) {
			return false
		}
	}
	return m.search == "" || strings.Contains(m.text(row), m.search)
}

// Ordered reports whether an order was asked for.
func (m Matcher[T]) Ordered() bool { return len(m.sorting) > 0 }

// ranked is a row that fits, with what its place depends on.
type ranked[T any] struct {
	row  *T
	keys []sortKey
	seen int // place in the table's own order, which settles ties
}

// collector finds the first rows of an order among any number of them, and
// holds at most twice as many as are asked for.
type collector[T any] struct {
	wanted Matcher[T]
	limit  int
	Total  int
	kept   []ranked[T]
	full   bool // the last one kept is the last one wanted
}

func NewCollector[T any](wanted Matcher[T], limit int) *collector[T] {
	return &collector[T]{wanted: wanted, limit: limit}
}

// Add takes a row if it fits; the row may be used again afterwards.
func (c *collector[T]) Add(row *T) error {
	if !c.wanted.Matches(row) {
		return nil
	}
	c.Total++
	if len(c.wanted.sorting) == 0 && c.Total > c.limit {
		return nil // comes after those held
	}
	next := ranked[T]{seen: c.Total, keys: make([]sortKey, 0, len(c.wanted.sorting))}
	for _, key := range c.wanted.sorting {
		next.keys = append(next.keys, key.field.Column.sortKey(key.field.Cell(row)))
	}
	if c.full && c.compare(next, c.kept[c.limit-1]) > 0 {
		return nil
	}
	held := *row
	next.row = &held
	c.kept = append(c.kept, next)
	if len(c.kept) >= 2*c.limit {
		c.prune()
	}
	return nil
}

// prune puts the rows held in order and lets go of those beyond the limit.
func (c *collector[T]) prune() {
	slices.SortFunc(c.kept, c.compare)
	if len(c.kept) >= c.limit {
		clear(c.kept[c.limit:])
		c.kept, c.full = c.kept[:c.limit], true
	}
}

// compare orders by the keys asked for, empty cells last in either direction,
// and then by the table's own order.
func (c *collector[T]) compare(a, b ranked[T]) int {
	for i, key := range c.wanted.sorting {
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
		if key.falling {
			order = -order
		}
		if order != 0 {
			return order
		}
	}
	return cmp.Compare(a.seen, b.seen)
}

// Page gives the rows of one page, of those collected.
func (c *collector[T]) Page(number, size int) []T {
	c.prune()
	from := min((number-1)*size, len(c.kept))
	rows := make([]T, 0, min(size, len(c.kept)-from))
	for _, kept := range c.kept[from:min(from+size, len(c.kept))] {
		rows = append(rows, *kept.row)
	}
	return rows
}
