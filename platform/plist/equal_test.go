package plist

import (
	"testing"
	"time"
)

// equalValues compares the trees of two values.
func equalValues(t *testing.T, a, b any) bool {
	t.Helper()
	var trees [2]any
	for i, value := range []any{a, b} {
		tree, err := build(value)
		if err != nil {
			t.Fatal(err)
		}
		trees[i] = tree
	}
	return Equal(trees[0], trees[1])
}

func TestEqualTrees(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		a, b any
		want bool
	}{
		"integers of two types":    {int8(5), uint64(5), true},
		"negative integers":        {int8(-5), int64(-5), true},
		"sign":                     {int64(-1), uint64(1<<64 - 1), false},
		"integer and real":         {5, 5.0, false},
		"boolean and integer":      {true, 1, false},
		"string and integer":       {"1", 1, false},
		"float32 and float64":      {float32(0.5), 0.5, true},
		"dates within a second":    {noon, noon.Add(999 * time.Millisecond), true},
		"dates in two zones":       {noon, noon.In(time.FixedZone("", 3600)), true},
		"dates a second apart":     {noon, noon.Add(time.Second), false},
		"data":                     {[]byte("a"), []byte("a"), true},
		"data and string":          {[]byte("a"), "a", false},
		"typed and untyped":        {[]string{"a"}, []any{"a"}, true},
		"order of an array":        {[]any{1, 2}, []any{2, 1}, false},
		"length of an array":       {[]any{1}, []any{1, 1}, false},
		"typed dictionary":         {map[string]int{"a": 1}, map[string]any{"a": uint64(1)}, true},
		"missing key":              {map[string]any{"a": 1}, map[string]any{"b": 1}, false},
		"more keys":                {map[string]any{"a": 1}, map[string]any{"a": 1, "b": 1}, false},
		"struct and dictionary":    {inner{"x"}, map[string]any{"ID": "x"}, true},
		"empty array, dictionary":  {[]any{}, map[string]any{}, false},
		"text XML cannot carry":    {"a\x01", "a\x01", true},
		"control character or not": {"a\x01", "a\ufffd", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := equalValues(t, c.a, c.b); got != c.want {
				t.Errorf("got %v", got)
			}
			if got := equalValues(t, c.b, c.a); got != c.want {
				t.Errorf("the other way round: got %v", got)
			}
		})
	}
}
