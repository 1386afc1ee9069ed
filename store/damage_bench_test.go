package store_test

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"prlagent/store"
)

// plainBolt does with bbolt alone what inspect does with the store.
func plainBolt(dir string) (result childResult) {
	db, err := bolt.Open(filepath.Join(dir, "state.db"), 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		return result.failed(err)
	}
	sum := newDigest()
	err = db.View(func(tx *bolt.Tx) error {
		bucket := tx.Bucket([]byte(rows.Name))
		if bucket == nil {
			return nil
		}
		return bucket.ForEach(func(key, value []byte) error {
			var content row
			if len(value) > 8 {
				_ = json.Unmarshal(value[8:], &content) // what is wrong with it shows in the digest
			}
			result.Rows++
			sum.add(string(key), content)
			return nil
		})
	})
	result.Digest = sum.String()
	result = result.failed(err)
	err = db.Update(func(tx *bolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists([]byte(rows.Name))
		if err != nil {
			return err
		}
		return bucket.Put([]byte("written by the child"), []byte("{}"))
	})
	return result.failed(err).failed(db.Close())
}

// BenchmarkDamage opens 1000 damaged files, 200 of each kind that facts/models.md
// (damage test 1) has figures of, with bbolt alone and with the store, and says
// how it ended. Run it with -benchtime=1x.
func BenchmarkDamage(b *testing.B) {
	good := goodFolder(b)
	kinds := []damage{zeroedPage, flippedHead, truncated, zeroMeta(0, 1), randomBytesPage}
	for role, name := range map[string]string{"plain": "bbolt", "inspect": "store"} {
		b.Run(name, func(b *testing.B) {
			child, dir, ended := newBatch(b, role), newFastFolder(b), map[string]float64{}
			for b.Loop() {
				for seed := range 200 {
					for _, harm := range kinds {
						refill(b, dir, map[string][]byte{
							"state.db":     harm(seeded(seed), slices.Clone(good["state.db"])),
							"state.db.bak": good["state.db.bak"],
						})
						ended[ending(child.play(dir))]++
					}
				}
			}
			for _, how := range []string{"crashed", "failed", "lost-silently", "restored", "complete"} {
				b.ReportMetric(ended[how]/float64(b.N), how)
			}
		})
	}
}

func ending(got childResult) string {
	switch {
	case got.Died != "":
		return "crashed"
	case got.Error != "":
		return "failed"
	case got.Report.Outcome == store.OutcomeRestored:
		return "restored"
	case got.Digest != goodDigests()[rowsCommitted]:
		return "lost-silently"
	}
	return "complete"
}
