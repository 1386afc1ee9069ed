package site_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/cmd/prlportal/site"
)

// One process at a time signs from an operator's folder; another one waits, and then
// says why it did not.
func TestOneSignsAtATime(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		unlock, err := site.LockSigning(t.Context(), folder)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := site.LockSigning(t.Context(), folder); !errors.Is(err, site.ErrSigning) || time.Since(began) < 10*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := site.LockSigning(ended, folder); !errors.Is(err, context.Canceled) {
			t.Errorf("canceled: %v", err)
		}
		time.AfterFunc(time.Second, unlock)
		again, err := site.LockSigning(t.Context(), folder)
		if err != nil {
			t.Fatal(err)
		}
		again()
	})
	linked := t.TempDir()
	if err := os.Symlink(filepath.Join(folder, "elsewhere"), filepath.Join(linked, ".signing.lock")); err != nil {
		t.Fatal(err)
	}
	if _, err := site.LockSigning(t.Context(), linked); err == nil {
		t.Error("a link was followed")
	}
}

// The records are of thousands of groups and policies.
func TestLargeRecords(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	versions := site.HeadVersions{"portal": {}, "/srv/www": {}}
	var hashes []string
	for i := range 4000 {
		group := time.Duration(i).String() + "-is-a-group-with-a-name-as-long-as-they-get"
		versions["portal"][group], versions["/srv/www"][group] = uint64(i), uint64(i)
		hashes = append(hashes, group)
	}
	if err := errors.Join(versions.Save(folder), site.SaveSignedPolicies(folder, hashes)); err != nil {
		t.Fatal(err)
	}
	back, err := site.LoadHeadVersions(folder)
	known, other := site.LoadSignedPolicies(folder)
	if err != nil || other != nil || len(back["portal"]) != 4000 || len(known) != 4000 {
		t.Errorf("%d, %d, %v, %v", len(back["portal"]), len(known), err, other)
	}
}
