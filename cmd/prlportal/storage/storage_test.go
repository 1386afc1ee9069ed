package storage_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"prlagent/cmd/prlportal/secret"
	"prlagent/cmd/prlportal/storage"
	"prlagent/cmd/prlportal/storage/storagetest"
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
	device := storage.Device{ID: "a", Serial: "C02", HardwareUUID: "u", Tokens: []storage.Token{{SHA256: secret.Hash("token")}}}
	if err := errors.Join(first.Save(t.Context(), storage.Change{Device: device}), first.Close()); err != nil {
		t.Fatal(err)
	}
	found, err := openBolt(t, path).Device(t.Context(), storage.ByToken("token"))
	if err != nil || found.ID != "a" {
		t.Errorf("Device = %q, %v", found.ID, err)
	}
}

// A damaged file is said to be damaged, whatever bbolt does with it, and stays
// as it is.
func TestBoltRefusesADamagedFile(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "portal.db")
	store, err := storage.OpenBolt(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"a", "b", "c"} {
		device := storage.Device{ID: id, Serial: id, HardwareUUID: strings.Repeat(id, 3000)}
		if err := store.Save(t.Context(), storage.Change{Device: device}); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(from, step int) []byte {
		bad := slices.Clone(good)
		for i := from; i < len(bad); i += step {
			bad[i] ^= 0xff
		}
		return bad
	}
	for name, bad := range map[string][]byte{
		"no database": []byte(strings.Repeat("not a database\n", 5000)),
		"both metas":  flip(0, 1), "pages": flip(8192, 97), "values": flip(8192+200, 1), "cut": good[:8192],
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "portal.db")
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			store, err := storage.OpenBolt(path)
			if err == nil {
				store.Close()
			}
			if !errors.Is(err, storage.ErrDamaged) {
				t.Errorf("OpenBolt: %v, want ErrDamaged", err)
			}
			if kept, err := os.ReadFile(path); err != nil || !bytes.Equal(kept, bad) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
}
