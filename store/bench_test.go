package store_test

import (
	"fmt"
	"testing"

	"prlagent/store"
)

// BenchmarkPutCommit is one changed record in a commit of its own among 1,000:
// two flushes to the disk.
func BenchmarkPutCommit(b *testing.B) {
	s, _ := mustOpen(b, newFolder(b), store.Options{})
	putRows(b, s, 0, 1000)
	for i := 0; b.Loop(); i++ {
		mustUpdate(b, s, func(tx *store.Tx) error { return rows.Put(tx, rowKey(i%1000), &row{Name: "changed", Count: i}) })
	}
}

// BenchmarkPutUnchanged is an Update that finds nothing to write.
func BenchmarkPutUnchanged(b *testing.B) {
	s, _ := mustOpen(b, newFolder(b), store.Options{})
	mustUpdate(b, s, func(tx *store.Tx) error { return rows.Put(tx, "same", &row{Name: "same"}) })
	for b.Loop() {
		mustUpdate(b, s, func(tx *store.Tx) error { return rows.Put(tx, "same", &row{Name: "same"}) })
	}
}

// BenchmarkOpen opens, which verifies every page and record.
func BenchmarkOpen(b *testing.B) {
	for _, records := range []int{0, 1000, 10_000} {
		b.Run(fmt.Sprintf("records=%d", records), func(b *testing.B) {
			dir := newFolder(b)
			s, _ := mustOpen(b, dir, store.Options{})
			putRows(b, s, 0, records)
			mustClose(b, s)
			for b.Loop() {
				s, _ := mustOpen(b, dir, store.Options{})
				mustClose(b, s)
			}
		})
	}
}

// BenchmarkBackup copies and verifies 1,000 records.
func BenchmarkBackup(b *testing.B) {
	s, _ := mustOpen(b, newFolder(b), store.Options{})
	putRows(b, s, 0, 1000)
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		mustUpdate(b, s, func(tx *store.Tx) error { return rows.Put(tx, "counter", &row{Count: i}) })
		b.StartTimer()
		if err := s.Backup(); err != nil {
			b.Fatal(err)
		}
	}
}
