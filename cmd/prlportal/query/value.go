package query

import (
	"cmp"
	"errors"
	"strconv"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform/text"
	"prlagent/platform/text/collate"
)

// Cell is one value of a row. A time has no text.
type Cell struct {
	text string
	at   time.Time
}

func (c Cell) isEmpty() bool { return c.text == "" && c.at.IsZero() }

// comparisonKey is what texts are compared by: letter case, composed and decomposed
// forms, typographic signs and the braces around an id make no difference.
func comparisonKey(value string) string {
	return collate.Fold(text.Straighten(trimBraces(value)))
}

// trimBraces takes the braces, or one of them, off an id or a part of one.
func trimBraces(value string) string {
	if !strings.HasPrefix(value, "{") && !strings.HasSuffix(value, "}") {
		return value
	}
	id := strings.TrimSuffix(strings.TrimPrefix(value, "{"), "}")
	if id == "" || strings.Trim(id, "0123456789abcdefABCDEF-") != "" {
		return value
	}
	return id
}

// operand is a value that cells are compared with, read for the column's kind.
type operand struct {
	text    string // made comparable
	version []versionPart
	span    timeSpan
	number  float64
}

// readOperand reads the value of a filter. What a time is relative to is now.
func readOperand(of protocol.Kind, typed string, now time.Time) (operand, error) {
	value := operand{text: comparisonKey(typed)}
	if of == protocol.KindText { // all of it counts, also a blank within quotes
		if value.text == "" { // which every text contains
			return value, errors.New("expected a value with a character that can be seen")
		}
		return value, nil
	}
	value.text = text.TypedWord(typed)
	var err error
	switch of {
	case protocol.KindVersion:
		value.version, err = readVersion(value.text)
	case protocol.KindTime:
		value.span, err = parseSpan(typed, now)
	case protocol.KindNumber:
		value.number, err = readNumber(value.text)
	case protocol.KindBool:
		if value.text != "true" && value.text != "false" {
			err = errors.New("expected true or false")
		}
	}
	return value, err
}

// readNumber knows no exponents, hexadecimal digits, NaN or infinity.
func readNumber(word string) (float64, error) {
	number, err := strconv.ParseFloat(word, 64)
	if err != nil || strings.Trim(word, "-.0123456789") != "" {
		return 0, errors.New("expected a number, without a unit")
	}
	return number, nil
}

// order places a cell that is not empty before (-1), in (0) or after (1) what
// the operand names. A cell of another kind than its column's, such as a
// version "(devel)", has no order.
func (o operand) order(of protocol.Kind, c Cell) (order int, ordered bool) {
	switch of {
	case protocol.KindVersion:
		parts := parseVersion(c.text)
		if len(parts) == 0 || !parts[0].isNumber {
			return 0, comparisonKey(c.text) == o.text
		}
		return compareNamed(parts, o.version), true
	case protocol.KindTime:
		return o.span.order(c.at), true
	case protocol.KindNumber:
		number, err := strconv.ParseFloat(c.text, 64)
		return cmp.Compare(number, o.number), err == nil
	}
	return 0, comparisonKey(c.text) == o.text
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
	{"2006-01-02T15:04:05Z07:00", time.Second}, // also with a fraction of a second
	{"2006-01-02T15:04:05", time.Second},
	{"2006-01-02T15:04Z07:00", time.Minute},
	{"2006-01-02T15:04", time.Minute},
	{"2006-01-02", 24 * time.Hour},
}

// ageUnits are the units of a relative time such as -7d.
var ageUnits = map[string]time.Duration{
	"s": time.Second, "sec": time.Second, "second": time.Second, "seconds": time.Second,
	"m": time.Minute, "min": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hour": time.Hour, "hours": time.Hour,
	"d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
	"w": 7 * 24 * time.Hour, "week": 7 * 24 * time.Hour, "weeks": 7 * 24 * time.Hour,
}

// maxAge is the longest relative time, in units: no multiplication overflows.
const maxAge = 9999

var (
	errTime  = errors.New("expected a time: 2026-11-23, 2026-11-23T09:00Z, or how long ago: -7d, -12h, -30m")
	errMonth = errors.New("expected a unit that cannot be minutes or months: -30m, -60d")
)

// parseSpan reads a time in UTC, or how long ago: -30m, -12h, -7d, -2w.
func parseSpan(typed string, now time.Time) (timeSpan, error) {
	word := text.TypedWord(typed)
	if age, relative := strings.CutPrefix(word, "-"); relative {
		if strings.HasSuffix(text.TrimTyped(typed), "M") && strings.Trim(age, "0123456789 ") == "m" {
			return timeSpan{}, errMonth
		}
		return parseAge(age, now)
	}
	// 2026-11-23 09:00 UTC is 2026-11-23T09:00, and blanks stand in no other place.
	moment := strings.ToUpper(word)
	for _, utc := range []string{"UTC", "GMT"} {
		moment = strings.TrimSpace(strings.TrimSuffix(moment, utc))
	}
	date, clock, hasClock := strings.Cut(moment, " ")
	if hasClock {
		moment = date + "T" + strings.ReplaceAll(clock, " ", "")
	}
	for _, way := range spanLayouts {
		if start, err := time.Parse(way.layout, moment); err == nil {
			return timeSpan{start.UTC(), start.UTC().Add(way.length)}, nil
		}
	}
	return timeSpan{}, errTime
}

// ParseMoment reads a time as filters take it, and gives its end: a day ends with
// it, in UTC.
func ParseMoment(typed string, now time.Time) (time.Time, error) {
	span, err := parseSpan(typed, now)
	return span.end, err
}

// parseAge reads how long ago something was.
func parseAge(age string, now time.Time) (timeSpan, error) {
	digits := len(age) - len(strings.TrimLeft(age, "0123456789"))
	unit, known := ageUnits[strings.TrimSpace(age[digits:])]
	count, err := strconv.ParseUint(age[:digits], 10, 32)
	if !known || err != nil || count > maxAge {
		return timeSpan{}, errTime
	}
	start := now.Add(-time.Duration(count) * unit).UTC()
	return timeSpan{start, start.Add(time.Second)}, nil
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
		key.folded = comparisonKey(of.text)
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
