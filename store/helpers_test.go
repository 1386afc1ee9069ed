package store_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"path/filepath"
	"testing"

	"prlagent/store"
)

// row is the record of these tests.
type row struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

var rows = store.Collection[*row]{Name: "rows"}

func newFolder(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "state")
}

// mustOpen opens a store that the test's end closes.
func mustOpen(t testing.TB, dir string, opts store.Options) (*store.Store, store.Report) {
	t.Helper()
	s, report, err := store.Open(context.Background(), dir, opts)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s, report
}

func mustClose(t testing.TB, s *store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

func mustUpdate(t testing.TB, s *store.Store, change func(*store.Tx) error) {
	t.Helper()
	if err := s.Update(change); err != nil {
		t.Fatalf("update: %v", err)
	}
}

// putRows stores rows with the numbers from to below before.
func putRows(t testing.TB, s *store.Store, from, before int) {
	t.Helper()
	mustUpdate(t, s, func(tx *store.Tx) error {
		for i := from; i < before; i++ {
			if err := rows.Put(tx, rowKey(i), &row{Name: fmt.Sprintf("a virtual machine with the number %d", i), Count: i}); err != nil {
				return err
			}
		}
		return nil
	})
}

func rowKey(i int) string { return fmt.Sprintf("row-%05d", i) }

// countRows walks all rows, which also verifies each, and compares with Len.
func countRows(t testing.TB, s *store.Store) int {
	t.Helper()
	walked := 0
	err := s.View(func(tx *store.Tx) error {
		err := rows.Each(tx, func(string, *row) error { walked++; return nil })
		if kept := rows.Len(tx); err == nil && kept != walked {
			return fmt.Errorf("Len says %d, walked %d", kept, walked)
		}
		return err
	})
	if err != nil {
		t.Fatalf("count rows: %v", err)
	}
	return walked
}

// digest tells the contents of two stores apart.
type digest struct{ hash.Hash }

func newDigest() digest { return digest{sha256.New()} }

func (d digest) add(key string, content row) {
	fmt.Fprintf(d, "%q %q %d\n", key, content.Name, content.Count)
}

func (d digest) String() string { return hex.EncodeToString(d.Sum(nil)) }
