package query

import (
	"time"
)

// Limits that openapi.yaml describes.
const (
	LimitFilters    = maxFilters
	LimitSortKeys   = maxSortKeys
	LimitSearchText = maxSearchText
)

// ReadFilter reads one filter.
func ReadFilter(columns []Column, text string, now time.Time) (id string, matches func(Cell) bool, err error) {
	read, err := parseFilter(columns, text, now)
	return read.column.ID, read.matches, err
}

// TextCell and timeCell are cells of a row.
func TextCell(text string) Cell { return Cell{text: text} }

func TimeCell(at time.Time) Cell { return Cell{at: at} }
