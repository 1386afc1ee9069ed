package site

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"prlagent/platform/safefile"
)

// headVersionsFile has, in the operator's folder, the versions of the heads that
// were signed last: what a portal shows may be older, from a backup or from a thief,
// and Macs take no version twice.
const headVersionsFile = "head-versions.json"

// signedPoliciesFile has, in the operator's folder, the hashes of the policies that
// were published: what a portal says was published may be anybody's.
const signedPoliciesFile = "signed-policies.json"

// deletedPoliciesFile has, in the operator's folder, the ids of the policies that a
// published tree had among its deleted ones: they are never used again (POL-08).
const deletedPoliciesFile = "deleted-policies.json"

// headKeysFile has, in the operator's folder, the ids of the keys that have signed all
// heads of a place: a key that was replaced counts there no more.
const headKeysFile = "head-keys.json"

// PortalPlace stands for the portal among the places where heads are published;
// all others are folders.
const PortalPlace = "portal"

// HeadKeys are ids of keys by where heads are published.
type HeadKeys map[string]string

// LoadHeadKeys reads the keys of the operator's folder.
func LoadHeadKeys(folder string) (HeadKeys, error) {
	keys := make(HeadKeys)
	return keys, readRecord(folder, headKeysFile, &keys)
}

// Save writes the keys.
func (k HeadKeys) Save(folder string) error { return writeRecord(folder, headKeysFile, k) }

// maxRecord is more than the records of the largest site have: thousands of groups at
// several places, and tens of thousands of policies.
const maxRecord = 4 << 20

// HeadVersions are versions of heads by where they were published, then by group.
type HeadVersions map[string]map[string]uint64

// LoadHeadVersions reads the versions of the operator's folder.
func LoadHeadVersions(folder string) (HeadVersions, error) {
	versions := make(HeadVersions)
	return versions, readRecord(folder, headVersionsFile, &versions)
}

// Save writes the versions.
func (v HeadVersions) Save(folder string) error { return writeRecord(folder, headVersionsFile, v) }

// LoadSignedPolicies reads the hashes of the policies that were published.
func LoadSignedPolicies(folder string) (hashes []string, err error) {
	return hashes, readRecord(folder, signedPoliciesFile, &hashes)
}

// SaveSignedPolicies writes the hashes of the policies that were published.
func SaveSignedPolicies(folder string, hashes []string) error {
	return writeRecord(folder, signedPoliciesFile, slices.Sorted(slices.Values(hashes)))
}

// LoadDeletedPolicies reads the ids of the policies that ended for good.
func LoadDeletedPolicies(folder string) (ids []string, err error) {
	return ids, readRecord(folder, deletedPoliciesFile, &ids)
}

// SaveDeletedPolicies writes the ids of the policies that ended for good.
func SaveDeletedPolicies(folder string, ids []string) error {
	return writeRecord(folder, deletedPoliciesFile, slices.Sorted(slices.Values(ids)))
}

// readRecord reads a file of the operator's folder; one that is missing says nothing.
func readRecord(folder, name string, into any) error {
	data, err := safefile.ReadFile(filepath.Join(folder, name), maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

func writeRecord(folder, name string, record any) error {
	data, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	if err := safefile.WriteFile(filepath.Join(folder, name), append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// signingLockFile is locked while somebody signs.
const signingLockFile = ".signing.lock"

const (
	signingLockWait = 30 * time.Second
	signingLockPoll = 50 * time.Millisecond
)

// ErrSigning says that somebody else signs.
var ErrSigning = errors.New("another prlportal signs from this operator's folder; try again when it is done")

// LockSigning has one process sign at a time from an operator's folder, so that a
// renewal by cron does not sign of what a publication replaces in the meantime. It
// waits a while; whoever ends, however it does, gives the lock back.
func LockSigning(ctx context.Context, folder string) (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(folder, signingLockFile), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	for waited := time.Duration(0); ; waited += signingLockPoll {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return func() { _ = file.Close() }, nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			return nil, errors.Join(fmt.Errorf("lock: %w", err), file.Close())
		case waited >= signingLockWait:
			return nil, errors.Join(ErrSigning, file.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), file.Close())
		case <-time.After(signingLockPoll):
		}
	}
}
