package portal

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"prlagent/agent/protocol"
)

// column says what a table has in one place. The id is its name everywhere:
// csv header, JSON name, filter and sort key.
type column struct {
	id    string
	title string
	kind  protocol.Kind
	path  string // where the value lies in the row's JSON; the id where empty
}

// cell is one value of a row. A time has no text.
type cell struct {
	text string
	at   time.Time
}

func (c cell) empty() bool { return c.text == "" && c.at.IsZero() }

// operand is a value that cells are compared with, read for the column's kind.
type operand struct {
	text    string
	version []versionPart
	span    span
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
func (o operand) order(of protocol.Kind, c cell) (order int, ordered bool) {
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

// versionPart is a run of digits or of letters in a version.
type versionPart struct {
	isNumber bool
	number   uint64
	word     string // lower case
}

// maxVersionParts is how much of a version is compared; what comes after it
// would be no version of anything.
const maxVersionParts = 12

// namedParts is how many parts a version has before its build.
const namedParts = 3

// parseVersion splits "26.4.0 (57513)" into 26, 4, 0, 57513 and "25E246" into
// 25, e, 246. Digits beyond 19 are cut off.
func parseVersion(text string) []versionPart {
	parts := make([]versionPart, 0, 6)
	text = strings.TrimPrefix(strings.ToLower(text), "v")
	for at := 0; at < len(text) && len(parts) < maxVersionParts; {
		end := at
		switch {
		case isDigit(text[at]):
			for end < len(text) && isDigit(text[end]) {
				end++
			}
			number, _ := strconv.ParseUint(text[at:min(end, at+19)], 10, 64) // 19 digits fit
			parts = append(parts, versionPart{isNumber: true, number: number})
		case isLetter(text[at]):
			for end < len(text) && isLetter(text[end]) {
				end++
			}
			parts = append(parts, versionPart{word: text[at:end]})
		default:
			end++
		}
		at = end
	}
	return parts
}

func isDigit(b byte) bool  { return '0' <= b && b <= '9' }
func isLetter(b byte) bool { return 'a' <= b && b <= 'z' || b >= 0x80 }

// compareNamed compares a version with the one that a filter names. Missing
// parts are 0; a build, which is the fourth part, counts only where it is named.
func compareNamed(version, named []versionPart) int {
	if len(named) <= namedParts && !hasWord(version) {
		version = version[:min(len(version), namedParts)]
	}
	return compareVersions(version, named)
}

func hasWord(version []versionPart) bool {
	for _, part := range version[:min(len(version), namedParts)] {
		if !part.isNumber {
			return true
		}
	}
	return false
}

// compareVersions orders part by part: 26.10 comes after 26.9, and 1.0-rc1
// before 1.0.
func compareVersions(a, b []versionPart) int {
	zero := versionPart{isNumber: true}
	for i := range max(len(a), len(b)) {
		left, right := zero, zero
		if i < len(a) {
			left = a[i]
		}
		if i < len(b) {
			right = b[i]
		}
		if order := left.compare(right); order != 0 {
			return order
		}
	}
	return 0
}

func (p versionPart) compare(other versionPart) int {
	switch {
	case p.isNumber && other.isNumber:
		return cmp.Compare(p.number, other.number)
	case p.isNumber:
		return 1
	case other.isNumber:
		return -1
	}
	return strings.Compare(p.word, other.word)
}

// span is the time that a text names: "2026-11-01" is the whole day. Its end
// is the first moment after it.
type span struct{ start, end time.Time }

func (s span) order(at time.Time) int {
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
func parseSpan(text string, now time.Time) (span, error) {
	if age, relative := strings.CutPrefix(text, "-"); relative && age != "" {
		unit, known := ageUnits[age[len(age)-1]]
		count, err := strconv.ParseUint(age[:len(age)-1], 10, 32)
		if known && err == nil && count <= maxAge {
			start := now.Add(-time.Duration(count) * unit).UTC()
			return span{start, start.Add(time.Second)}, nil
		}
	}
	for _, way := range spanLayouts {
		if start, err := time.Parse(way.layout, text); err == nil {
			return span{start.UTC(), start.UTC().Add(way.length)}, nil
		}
	}
	return span{}, fmt.Errorf("expected a time: 2026-11-23, 2026-11-23T09:00Z, or how long ago: -7d, -12h, -30m")
}

// sortKey is a cell made ready to be compared with others of its column.
type sortKey struct {
	empty   bool
	at      time.Time
	number  float64
	version []versionPart
	folded  string
}

func (c column) sortKey(of cell) sortKey {
	key := sortKey{empty: of.empty(), at: of.at}
	switch c.kind {
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

// columnIDs are the names of columns.
func columnIDs(columns []column) []string {
	ids := make([]string, len(columns))
	for i, column := range columns {
		ids[i] = column.id
	}
	return ids
}
