package query

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"prlagent/agent/protocol"
)

// Cell is one value of a row. A time has no text.
type Cell struct {
	text string
	at   time.Time
}

func (c Cell) isEmpty() bool { return c.text == "" && c.at.IsZero() }

// operand is a value that cells are compared with, read for the column's kind.
type operand struct {
	text    string
	version []versionPart
	span    timeSpan
	number  float64
}

// readOperand reads the value of a filter. What a time is relative to is now.
func readOperand(of protocol.Kind, text string, now time.Time) (operand, error) {
	value := operand{text: text}
	var err error
	switch of {
	case protocol.KindVersion:
		value.version = parseVersion(text)
		if !strings.ContainsAny(text, "0123456789") {
			err = fmt.Errorf("expected a version like 26.1")
		}
	case protocol.KindTime:
		value.span, err = parseSpan(text, now)
	case protocol.KindNumber:
		if value.number, err = strconv.ParseFloat(text, 64); err != nil {
			err = fmt.Errorf("expected a number")
		}
	case protocol.KindBool:
		if text = strings.ToLower(text); text != "true" && text != "false" {
			err = fmt.Errorf("expected true or false")
		}
	}
	return value, err
}

// order places a cell that is not empty before (-1), in (0) or after (1) what
// the operand names. A cell of another kind than its column's, such as a
// version "(devel)", has no order.
func (o operand) order(of protocol.Kind, c Cell) (order int, ordered bool) {
	switch of {
	case protocol.KindVersion:
		parts := parseVersion(c.text)
		if len(parts) == 0 || !parts[0].isNumber {
			return 0, strings.EqualFold(c.text, o.text)
		}
		return compareNamed(parts, o.version), true
	case protocol.KindTime:
		return o.span.order(c.at), true
	case protocol.KindNumber:
		number, err := strconv.ParseFloat(c.text, 64)
		return cmp.Compare(number, o.number), err == nil
	}
	return 0, strings.EqualFold(c.text, o.text)
}

// timeSpan is the time that a text names: "2026-11-01" is the whole day. Its end
// is the first moment after it.
type timeSpan struct{ start, end time.Time }

func (s timeSpan) order(at time.Time) int {
	switch {
	case at.Before(s.start):
		return -1
	case at.Before(s.end):
		return 0
	}
	return 1
}

// spanLayouts are the ways to write a time, and how long each names.
var spanLayouts = []struct {
	layout string
	length time.Duration
}{
	{time.RFC3339Nano, time.Second},
	{"2006-01-02T15:04:05", time.Second},
	{"2006-01-02 15:04:05", time.Second},
	{"2006-01-02T15:04Z07:00", time.Minute},
	{"2006-01-02T15:04", time.Minute},
	{"2006-01-02 15:04", time.Minute},
	{"2006-01-02", 24 * time.Hour},
}

// ageUnits are the units of a relative time such as -7d.
var ageUnits = map[byte]time.Duration{
	's': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour,
}

// maxAge is the longest relative time, in units: no multiplication overflows.
const maxAge = 9999

// parseSpan reads a time in UTC, or how long ago: -30m, -12h, -7d, -2w.
func parseSpan(text string, now time.Time) (timeSpan, error) {
	if age, relative := strings.CutPrefix(text, "-"); relative && age != "" {
		unit, known := ageUnits[age[len(age)-1]]
		count, err := strconv.ParseUint(age[:len(age)-1], 10, 32)
		if known && err == nil && count <= maxAge {
			start := now.Add(-time.Duration(count) * unit).UTC()
			return timeSpan{start, start.Add(time.Second)}, nil
		}
	}
	for _, way := range spanLayouts {
		if start, err := time.Parse(way.layout, text); err == nil {
			return timeSpan{start.UTC(), start.UTC().Add(way.length)}, nil
		}
	}
	return timeSpan{}, fmt.Errorf("expected a time: 2026-11-23, 2026-11-23T09:00Z, or how long ago: -7d, -12h, -30m")
}

// sortKey is a cell made ready to be compared with others of its column.
type sortKey struct {
	empty   bool
	at      time.Time
	number  float64
	version []versionPart
	folded  string
}

func (c Column) sortKey(of Cell) sortKey {
	key := sortKey{empty: of.isEmpty(), at: of.at}
	switch c.Kind {
	case protocol.KindTime:
	case protocol.KindNumber:
		key.number, _ = strconv.ParseFloat(of.text, 64)
	case protocol.KindVersion:
		key.version = parseVersion(of.text)
	default:
		key.folded = strings.ToLower(of.text)
	}
	return key
}

// compare orders two cells that are not empty.
func (k sortKey) compare(other sortKey) int {
	return cmp.Or(
		k.at.Compare(other.at),
		cmp.Compare(k.number, other.number),
		compareVersions(k.version, other.version),
		strings.Compare(k.folded, other.folded),
	)
}
