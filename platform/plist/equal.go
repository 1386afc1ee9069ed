package plist

import (
	"bytes"
	"math"
	"time"
)

// Equal reports whether two trees of the types that Decode gives are the same (facts/macos.md
// 6.3): integers by sign and size, reals as float64 (NaN equals NaN), dates to
// the second, data by its bytes. An integer never equals a real, and a boolean
// never an integer.
func Equal(a, b any) bool {
	switch a := a.(type) {
	case []any:
		b, ok := b.([]any)
		return ok && equalArrays(a, b)
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && equalDictionaries(a, b)
	case []byte:
		b, ok := b.([]byte)
		return ok && bytes.Equal(a, b)
	case time.Time:
		b, ok := b.(time.Time)
		return ok && a.Unix() == b.Unix()
	case float64:
		b, ok := b.(float64)
		return ok && (a == b || math.IsNaN(a) && math.IsNaN(b))
	default:
		return a == b
	}
}

func equalArrays(a, b []any) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

func equalDictionaries(a, b map[string]any) bool {
	if len(a) != len(b) {
		return false
	}
	for key, value := range a {
		other, present := b[key]
		if !present || !Equal(value, other) {
			return false
		}
	}
	return true
}
