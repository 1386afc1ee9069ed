package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"prlagent/store"
)

// TestCollectionContract says what every collection promises, in a store that
// was just made and in one that was closed and opened in between.
func TestCollectionContract(t *testing.T) {
	t.Parallel()
	for _, reopen := range []bool{false, true} {
		t.Run(fmt.Sprintf("reopen=%v", reopen), func(t *testing.T) {
			t.Parallel()
			dir := newFolder(t)
			s, _ := mustOpen(t, dir, store.Options{})
			mustUpdate(t, s, func(tx *store.Tx) error {
				for i, key := range []string{"b", "a", "d", "c\x00\xff", "e"} {
					if err := rows.Put(tx, key, &row{Name: key[:1], Count: i}); err != nil {
						return err
					}
				}
				return errors.Join(
					rows.Put(tx, "b", &row{Name: "b", Count: 10}),
					rows.Delete(tx, "e"),
					rows.Delete(tx, "never there"))
			})
			if reopen {
				mustClose(t, s)
				s, _ = mustOpen(t, dir, store.Options{})
			}
			if err := s.View(func(tx *store.Tx) error { checkContract(t, tx); return nil }); err != nil {
				t.Fatal(err)
			}
			value := row{Name: "of before"}
			if found, err := rows.Load(s, "a", &value); value != (row{"a", 1}) || !found || err != nil {
				t.Errorf("Load a: %v %v %v", value, found, err)
			}
			var names string
			if err := rows.LoadEach(s, func(_ string, value *row) error { names += value.Name; return nil }); names != "abcd" || err != nil {
				t.Errorf("LoadEach: %q %v", names, err)
			}
		})
	}
}

func checkContract(t *testing.T, tx *store.Tx) {
	t.Helper()
	var value row
	if found, err := rows.Get(tx, "b", &value); value != (row{"b", 10}) || !found || err != nil {
		t.Errorf("Get b: %v %v %v", value, found, err)
	}
	if found, err := rows.Get(tx, "e", &value); value != (row{}) || found || err != nil {
		t.Errorf("Get e: %v %v %v", value, found, err)
	}
	var kept []*row
	err := rows.Each(tx, func(_ string, record *row) error { kept = append(kept, record); return nil })
	if want := []*row{{"a", 1}, {"b", 10}, {"c", 3}, {"d", 2}}; err != nil || !cmp.Equal(kept, want) {
		t.Errorf("records that were kept beyond a walk: %v, %v", cmp.Diff(want, kept), err)
	}
	if got := rows.Len(tx); got != 4 {
		t.Errorf("Len: %d", got)
	}
	walks := map[string]struct {
		each func(func(string, *row) error) error
		want string
	}{
		"Each":              {func(do func(string, *row) error) error { return rows.Each(tx, do) }, "a b c d"},
		"no collection yet": {func(do func(string, *row) error) error { return store.Collection[*row]{Name: "none"}.Each(tx, do) }, ""},
	}
	for name, walk := range walks {
		var got []string
		err := walk.each(func(_ string, value *row) error { got = append(got, value.Name); return nil })
		if strings.Join(got, " ") != walk.want || err != nil {
			t.Errorf("%s: %v, %v, want %s", name, got, err, walk.want)
		}
	}
	if err := rows.Each(tx, func(string, *row) error { return errRefused }); !errors.Is(err, errRefused) {
		t.Errorf("error of a walk: %v", err)
	}
	if err := rows.Each(tx, func(string, *row) error { return store.ErrStop }); err != nil {
		t.Errorf("stopped walk: %v", err)
	}
}

func TestCollectionRefuses(t *testing.T) {
	t.Parallel()
	s, _ := mustOpen(t, newFolder(t), store.Options{})
	putRows(t, s, 0, 3)
	put := func(tx *store.Tx) error { return rows.Put(tx, "x", &row{}) }
	cases := []struct {
		name string
		run  func() error
	}{
		{"Put within View", func() error { return s.View(put) }},
		{"Delete within View", func() error { return s.View(func(tx *store.Tx) error { return rows.Delete(tx, rowKey(0)) }) }},
		{"Put during a walk", func() error {
			return s.Update(func(tx *store.Tx) error {
				return rows.Each(tx, func(string, *row) error { return put(tx) })
			})
		}},
		{"an empty key", func() error { return s.Update(func(tx *store.Tx) error { return rows.Put(tx, "", &row{}) }) }},
		{"a key that is too long", func() error {
			return s.Update(func(tx *store.Tx) error { return rows.Put(tx, strings.Repeat("k", 1<<16), &row{}) })
		}},
		{"a value that JSON does not know", func() error {
			return s.Update(func(tx *store.Tx) error {
				return store.Collection[*func()]{Name: "functions"}.Put(tx, "f", new(func() {}))
			})
		}},
		{"a record of another type", func() error {
			return s.View(func(tx *store.Tx) error {
				_, err := store.Collection[*[]int](rows).Get(tx, rowKey(0), new([]int))
				return err
			})
		}},
		{"a nil pointer to put", func() error { return s.Update(func(tx *store.Tx) error { return rows.Put(tx, "x", nil) }) }},
		{"a nil pointer to get", func() error { _, err := rows.Load(s, rowKey(0), nil); return err }},
		{"a type that is no pointer, to put", func() error {
			return s.Update(func(tx *store.Tx) error { return store.Collection[row](rows).Put(tx, "x", row{}) })
		}},
		{"a type that is no pointer, to get", func() error {
			_, err := store.Collection[row](rows).Load(s, rowKey(0), row{})
			return err
		}},
		{"a type that is no pointer, to walk", func() error {
			return s.View(func(tx *store.Tx) error {
				return store.Collection[row](rows).Each(tx, func(string, row) error { return nil })
			})
		}},
		{"an interface as the type, to walk", func() error {
			return s.View(func(tx *store.Tx) error {
				return store.Collection[any](rows).Each(tx, func(string, any) error { return nil })
			})
		}},
		{"the store's own name", func() error {
			return s.Update(func(tx *store.Tx) error { return store.Collection[*row]{Name: "_store"}.Put(tx, "header", &row{}) })
		}},
		{"a name with a capital", func() error {
			return s.Update(func(tx *store.Tx) error { return store.Collection[*row]{Name: "Rows"}.Put(tx, "x", &row{}) })
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := c.run(); err == nil || store.CodeOf(err) != "" {
				t.Errorf("error %v with code %q; want an error that is the caller's", err, store.CodeOf(err))
			}
		})
	}
	if got := countRows(t, s); got != 3 {
		t.Errorf("%d rows afterwards", got)
	}
}

func TestRing(t *testing.T) {
	t.Parallel()
	dir := newFolder(t)
	ring := store.Ring[*string]{Name: "events", Capacity: 300}
	s, _ := mustOpen(t, dir, store.Options{Collections: []string{ring.Name}})
	for from := 0; from < 1000; from += 250 {
		mustUpdate(t, s, func(tx *store.Tx) error {
			for i := from; i < from+250; i++ {
				if number, err := ring.Append(tx, new(fmt.Sprint("event ", i+1))); err != nil || number != uint64(i+1) {
					return fmt.Errorf("append %d got number %d: %w", i+1, number, err)
				}
			}
			return nil
		})
	}
	mustClose(t, s)
	s, _ = mustOpen(t, dir, store.Options{})
	if got, want := since(t, s, ring, 0), numbers(701, 1000); !slices.Equal(got, want) {
		t.Errorf("all: %v", cmp.Diff(want, got))
	}
	if got, want := since(t, s, ring, 997), numbers(998, 1000); !slices.Equal(got, want) {
		t.Errorf("after 997: %v", got)
	}
	if got := since(t, s, ring, 1000); len(got) != 0 {
		t.Errorf("after the newest: %v", got)
	}
	if got, want := since(t, s, ring, 500), numbers(701, 1000); !slices.Equal(got, want) {
		t.Errorf("after one that is not kept any more: %v", got)
	}
	if got := since(t, s, ring, 1<<64-1); len(got) != 0 {
		t.Errorf("after the last number there is: %v", got)
	}
	smaller := store.Ring[*string]{Name: "events", Capacity: 10}
	mustUpdate(t, s, func(tx *store.Tx) error { _, err := smaller.Append(tx, new("event 1001")); return err })
	if got, want := since(t, s, smaller, 0), numbers(992, 1001); !slices.Equal(got, want) {
		t.Errorf("with a lower capacity: %v", got)
	}
	err := s.View(func(tx *store.Tx) error {
		if last := smaller.Last(tx); last != 1001 {
			t.Errorf("Last: %d", last)
		}
		if last := (store.Ring[*string]{Name: "none"}).Last(tx); last != 0 {
			t.Errorf("Last of none: %d", last)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A ring whose entries an older version wrote in another type takes new ones,
// and drops the old ones beyond the capacity.
func TestRingOutlivesAChangeOfItsType(t *testing.T) {
	t.Parallel()
	s, _ := mustOpen(t, newFolder(t), store.Options{})
	before, after := store.Ring[*int]{Name: "events", Capacity: 2}, store.Ring[*string]{Name: "events", Capacity: 2}
	mustUpdate(t, s, func(tx *store.Tx) error {
		for i := range 2 {
			if _, err := before.Append(tx, &i); err != nil {
				return err
			}
		}
		return nil
	})
	mustUpdate(t, s, func(tx *store.Tx) error {
		for i := 3; i <= 4; i++ {
			if number, err := after.Append(tx, new(fmt.Sprint("event ", i))); err != nil || number != uint64(i) {
				return fmt.Errorf("append %d got number %d: %w", i, number, err)
			}
		}
		return nil
	})
	if got, want := since(t, s, after, 0), numbers(3, 4); !slices.Equal(got, want) {
		t.Errorf("entries %v, want %v", got, want)
	}
}

func since(t *testing.T, s *store.Store, ring store.Ring[*string], after uint64) (got []uint64) {
	t.Helper()
	err := s.View(func(tx *store.Tx) error {
		return ring.Since(tx, after, func(number uint64, event *string) error {
			if *event != fmt.Sprint("event ", number) {
				t.Errorf("number %d has %q", number, *event)
			}
			got = append(got, number)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func numbers(from, to uint64) (all []uint64) {
	for n := from; n <= to; n++ {
		all = append(all, n)
	}
	return all
}
