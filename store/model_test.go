package store_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"prlagent/store"
)

// step is one move of the model test.
type step struct {
	kind string
	key  string
	size int
}

func drawSteps(t *rapid.T) []step {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		return step{
			kind: rapid.SampledFrom([]string{"put", "put", "put", "delete", "reopen", "refuse", "backup"}).Draw(t, "kind"),
			key:  fmt.Sprintf("key-%02d", rapid.IntRange(0, 40).Draw(t, "key")),
			size: rapid.SampledFrom([]int{0, 10, 900, 9000}).Draw(t, "size"),
		}
	}), 1, 60).Draw(t, "steps")
}

// TestCollectionIsAMap compares a collection with a map, over refused
// transactions and reopens, each of which verifies the file.
func TestCollectionIsAMap(t *testing.T) {
	if !flagGiven("rapid.checks") {
		if err := flag.Set("rapid.checks", "25"); err != nil {
			t.Fatal(err)
		}
	}
	parent := t.TempDir()
	round := 0
	rapid.Check(t, func(t *rapid.T) {
		round++
		dir := filepath.Join(parent, fmt.Sprint(round))
		defer os.RemoveAll(dir)
		playSteps(t, dir, drawSteps(t))
	})
}

func flagGiven(name string) (given bool) {
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	return given
}

func playSteps(t *rapid.T, dir string, steps []step) {
	open := func() *store.Store {
		s, report, err := store.Open(context.Background(), dir, store.Options{})
		if err != nil || report.Reason != "" {
			t.Fatalf("open: %+v, %v", report, err)
		}
		return s
	}
	model := map[string]row{}
	s := open()
	defer func() { _ = s.Close() }()
	for i, step := range steps {
		if step.kind == "reopen" {
			if err := s.Close(); err != nil {
				t.Fatalf("close: %v", err)
			}
			s = open()
		}
		if err := playStep(s, step, row{Name: string(make([]byte, step.size)), Count: i}, model); err != nil {
			t.Fatalf("step %d (%+v): %v", i, step, err)
		}
		compareWithModel(t, s, model)
	}
}

func playStep(s *store.Store, step step, value row, model map[string]row) error {
	put := func(tx *store.Tx) error { return rows.Put(tx, step.key, &value) }
	switch step.kind {
	case "put":
		model[step.key] = value
		return s.Update(put)
	case "delete":
		delete(model, step.key)
		return s.Update(func(tx *store.Tx) error { return rows.Delete(tx, step.key) })
	case "refuse":
		err := s.Update(func(tx *store.Tx) error {
			if err := put(tx); err != nil {
				return err
			}
			return errRefused
		})
		if err != errRefused {
			return fmt.Errorf("refused transaction: %w", err)
		}
	case "backup":
		return s.Backup()
	}
	return nil
}

func compareWithModel(t *rapid.T, s *store.Store, model map[string]row) {
	got, order := map[string]row{}, []string{}
	err := s.View(func(tx *store.Tx) error {
		if kept := rows.Len(tx); kept != len(model) {
			t.Errorf("Len %d, want %d", kept, len(model))
		}
		return rows.Each(tx, func(key string, value *row) error {
			got[key], order = *value, append(order, key)
			return nil
		})
	})
	if err != nil {
		t.Fatalf("walk: %v", err)
	}
	if !maps.Equal(got, model) || !slices.IsSorted(order) {
		t.Fatalf("differs from the model: %s", cmp.Diff(model, got))
	}
}
