package agent

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"

	"prlagent/agent/localapi"
	"prlagent/platform"
	"prlagent/store"
)

// writeLaterState makes a Mac's state one of a later version: its store has a header of
// format 2, with a checksum as every format has it.
func writeLaterState(t *testing.T, mac *platform.Machine) {
	t.Helper()
	state, _, err := openState(t.Context(), mac, &nolog)
	if err != nil {
		t.Fatal(err)
	}
	if err := state.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(mac.Path(StateFolder+"/state.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	header := []byte(`{"format":2,"epoch":"later"}`)
	sum := sha256.New()
	for _, part := range [][]byte{[]byte("_store"), []byte("header"), header} {
		fmt.Fprintf(sum, "%s%s", binary.BigEndian.AppendUint64(nil, uint64(len(part))), part)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("_store")).Put([]byte("header"), append(sum.Sum(nil)[:8], header...))
	})
	if err := errors.Join(err, db.Close(), os.WriteFile(mac.Path(IdentityFile), []byte("identity"), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// The state of a later version stays as it is, but where the package that brought this
// version back has allowed this version, and no other one, to put it aside: then the
// agent begins anew as the same device, in another epoch (H22).
func TestH22_AStateOfALaterVersion(t *testing.T) {
	t.Parallel()
	version, _ := localapi.BuildVersion()
	for name, c := range map[string]struct {
		permission string
		opens      bool
	}{
		"not allowed":                {"", false},
		"another version is allowed": {"0.0.1\n", false},
		"allowed":                    {version + "\n", true},
	} {
		root := t.TempDir()
		mac := platform.New(root, nil)
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(StateFolder)), 0o755); err != nil {
			t.Fatal(err)
		}
		writeLaterState(t, mac)
		permission := mac.Path(localapi.DowngradeFile)
		if c.permission != "" {
			if err := os.WriteFile(permission, []byte(c.permission), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		state, report, err := openState(t.Context(), mac, &nolog)
		if (err == nil) != c.opens || !c.opens && !errors.Is(err, store.ErrNewer) {
			t.Errorf("%s: %+v, %v", name, report, err)
		}
		if identity, err := os.ReadFile(mac.Path(IdentityFile)); err != nil || string(identity) != "identity" {
			t.Errorf("%s: the identity is %q, %v", name, identity, err)
		}
		if !c.opens {
			if _, err := os.Stat(permission); (err == nil) != (c.permission != "") {
				t.Errorf("%s: the permission of another version: %v", name, err)
			}
			continue
		}
		if report.Outcome != store.OutcomeReset || report.BadFile == "" || report.Epoch == "later" {
			t.Errorf("%s: %+v", name, report)
		}
		if _, err := os.Stat(permission); err == nil {
			t.Errorf("%s: it holds for the next time, too", name)
		}
		if err := state.Close(); err != nil {
			t.Error(err)
		}
	}
}
