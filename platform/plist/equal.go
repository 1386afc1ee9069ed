package plist

import (
	"bytes"
	"math"
	"time"
)

// Equal compares two values on their normal forms (facts/macos.md 6.3): integers
// by sign and size whatever their Go type, reals as float64 (NaN equals
// NaN), dates to the second, data by its bytes. An integer never equals a real,
// and a boolean never an integer. nil stands for an absent value and equals only
// nil; what no property list can hold equals nothing.
func Equal(a, b any) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	treeA, errA := build(a)
	treeB, errB := build(b)
	return errA == nil && errB == nil && equalTrees(treeA, treeB)
}

func equalTrees(a, b any) bool {
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
		if !equalTrees(a[i], b[i]) {
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
		if !present || !equalTrees(value, other) {
			return false
		}
	}
	return true
}
