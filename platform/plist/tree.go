package plist

import (
	"math"
	"strings"
	"time"

	library "howett.net/plist"
)

// Bounds of dates in Unix seconds.
const (
	// startOfCalendar is the start of year 0: Apple's distantPast, a common
	// filler, is two days before Go's year 1.
	startOfCalendar = -62167219200
	// zeroTime is Go's zero time, the start of year 1, which means no date.
	zeroTime = -62135596800
	// endOfCalendar is the end of year 9999, the last that XML can spell.
	endOfCalendar = 253402300800
)

// uidKey is how the XML format spells the binary format's UID, a reference
// inside of keyed archives: a dictionary with this single key. It is 32 bits.
const uidKey = "CF$UID"

// copyValue makes the tree of Decode from the library's: one type for integers of
// each sign, one for reals, and no memory shared between values.
func copyValue(raw any) (any, error) {
	switch raw := raw.(type) {
	case string:
		return strings.Clone(raw), nil
	case []byte:
		return append([]byte{}, raw...), nil
	case int64:
		return integer(raw), nil
	case float32:
		return float64(raw), nil
	case time.Time:
		return raw.UTC(), nil
	case bool, uint64, float64:
		return raw, nil
	case library.UID:
		// A negative integer under the key comes out of the library as a huge one.
		if raw > math.MaxUint32 {
			return nil, fail(CodeInvalid, "%s out of range", uidKey)
		}
		return map[string]any{uidKey: uint64(raw)}, nil
	case []any:
		return copyArray(raw)
	case map[string]any:
		return copyDictionary(raw)
	}
	return nil, fail(CodeInvalid, "a value of unknown type")
}

func copyArray(raw []any) (any, error) {
	array := make([]any, len(raw))
	for i, element := range raw {
		value, err := copyValue(element)
		if err != nil {
			return nil, err
		}
		array[i] = value
	}
	return array, nil
}

func copyDictionary(raw map[string]any) (any, error) {
	dictionary := make(map[string]any, len(raw))
	for key, element := range raw {
		value, err := copyValue(element)
		if err != nil {
			return nil, err
		}
		dictionary[strings.Clone(key)] = value
	}
	return dictionary, nil
}

// integer gives the tree's type for an integer: its sign decides.
func integer(n int64) any {
	if n < 0 {
		return n
	}
	return uint64(n)
}

// kindWord names a tree value's type in messages.
func kindWord(value any) string {
	switch value.(type) {
	case string:
		return "a string"
	case []byte:
		return "data"
	case int64, uint64:
		return "an integer"
	case float64:
		return "a real"
	case bool:
		return "a boolean"
	case time.Time:
		return "a date"
	case []any:
		return "an array"
	default:
		return "a dictionary"
	}
}
