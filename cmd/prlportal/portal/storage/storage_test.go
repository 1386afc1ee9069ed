package storage_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"prlagent/cmd/prlportal/portal/storage"
	"prlagent/cmd/prlportal/portal/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openBolt(t *testing.T, path string) *storage.Bolt {
	t.Helper()
	store, err := storage.OpenBolt(path)
	if err != nil {
		t.Fatalf("OpenBolt: %v", err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return store
}

func TestBolt(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, func(t *testing.T) storagetest.Store { return openBolt(t, filepath.Join(t.TempDir(), "portal.db")) })
}

func TestMemory(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, func(*testing.T) storagetest.Store { return storage.NewMemory() })
}

func TestBoltFileIsPrivate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "portal.db")
	openBolt(t, path)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v, want 0600", info.Mode())
	}
}

func TestBoltIsOpenedOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "portal.db")
	openBolt(t, path)
	if _, err := storage.OpenBolt(path); !errors.Is(err, storage.ErrInUse) {
		t.Errorf("second OpenBolt: %v, want ErrInUse", err)
	}
}

func TestBoltKeepsRecordsAfterReopening(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "portal.db")
	first, err := storage.OpenBolt(path)
	if err != nil {
		t.Fatal(err)
	}
	device := storage.Device{ID: "a", Serial: "C02", HardwareUUID: "u", Tokens: []storage.Token{{SHA256: storage.HashToken("token")}}}
	if err := errors.Join(first.Save(t.Context(), storage.Change{Device: device}), first.Close()); err != nil {
		t.Fatal(err)
	}
	found, err := openBolt(t, path).Device(t.Context(), storage.ByToken("token"))
	if err != nil || found.ID != "a" {
		t.Errorf("Device = %q, %v", found.ID, err)
	}
}
