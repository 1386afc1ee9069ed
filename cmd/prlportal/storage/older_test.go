package storage_test

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"

	"go.etcd.io/bbolt"

	"prlagent/cmd/prlportal/storage"
)

// A database of a portal before this one has no keys for serial numbers, and may
// have two devices with one. It is opened, and finds them.
func TestH57_ADatabaseFromBeforeFindsItsSerialNumbers(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "portal.db")
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range []string{"devices", "reports", "history", "keys"} {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		for _, id := range []string{"a", "b"} {
			record := map[string]any{
				"id": id, "version": 7, "serial": "C02", "hardware_uuid": "uuid-" + id, "epoch": "E1", "past_epochs": []string{"E0"},
				"pending": []any{map[string]any{"key": make([]byte, 32), "asked_at": "2026-11-23T09:00:00Z", "agent_version": "0.1.0", "source": "192.0.2.1"}},
			}
			data, err := json.Marshal(record)
			if err != nil {
				return err
			}
			if err := tx.Bucket([]byte("devices")).Put([]byte(id), data); err != nil {
				return err
			}
			for _, key := range []storage.Key{storage.ByID(id), storage.ByMac("C02", "uuid-"+id)} {
				if err := tx.Bucket([]byte("keys")).Put([]byte(key), []byte(id)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	store := openBolt(t, path)
	ids, err := store.LiveIDs(t.Context(), "c02", 10)
	if err != nil || !slices.Equal(ids, []string{"a", "b"}) {
		t.Errorf("devices with the serial number are %v, %v", ids, err)
	}
	device, err := store.Device(t.Context(), storage.ByMac("C02", "uuid-a"))
	if err != nil || device.IsRetired() || device.LastEnrollment != "" || device.Pending[0].HeardAt().IsZero() {
		t.Fatalf("device is %+v, %v", device, err)
	}
	change := storage.Change{Device: device}
	change.Retire(storage.Report{}, storage.History{}, "b", device.Pending[0].AskedAt)
	if err := store.Save(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	if ids, err = store.LiveIDs(t.Context(), "C02", 10); err != nil || !slices.Equal(ids, []string{"b"}) {
		t.Errorf("after one is retired they are %v, %v", ids, err)
	}
}
