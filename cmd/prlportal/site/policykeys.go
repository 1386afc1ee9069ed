package site

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"prlagent/agent/protocol"
	"prlagent/platform/safefile"
)

// The policy keys of an operator's folder: the one that signs, and while it is
// being replaced the next one. Heads are signed by all that are there, and
// profiles name all: a Mac with the profile of before and a Mac with the one of
// after take the same head.
const (
	NextPolicyKeyFile    = "policy-next.key"
	retiredPolicyKeyFile = "policy-retired.key" // the last one that was replaced
)

// PolicyKeysFile has, in the content folder, the public policy keys of the site,
// signed by one of them. The portal takes heads of these keys only. It is no
// authority for a Mac, which has the keys of its profile.
const PolicyKeysFile = "policy-keys.dsse.json"

// payloadPolicyKeys is the type of the payload of PolicyKeysFile.
const payloadPolicyKeys = "application/vnd.prlagent.policy-keys.v1+json"

// maxPolicyKeys is more than a site has at a time.
const maxPolicyKeys = 8

// PolicyKeys are the public policy keys of a site.
type PolicyKeys struct {
	SiteID  string   `json:"site_id"`
	Version uint64   `json:"version"` // rises with every change
	Keys    [][]byte `json:"keys"`    // 32 bytes each
}

// ErrPolicyKeys says that a list of policy keys is not to be believed.
var ErrPolicyKeys = errors.New("the list of policy keys is not signed by a key that is known")

// Trusted are the keys as heads are verified with.
func (k PolicyKeys) Trusted() []protocol.TrustedKey {
	trusted := make([]protocol.TrustedKey, 0, len(k.Keys))
	for _, key := range k.Keys {
		trusted = append(trusted, protocol.TrustedKey{ID: protocol.KeyID(key), Key: key})
	}
	return trusted
}

// IsPolicyKeys reports whether an envelope is a list of policy keys.
func IsPolicyKeys(list protocol.Envelope) bool { return list.PayloadType == payloadPolicyKeys }

// Sign is the file of the list.
func (k PolicyKeys) Sign(keys ...ed25519.PrivateKey) ([]byte, error) {
	payload, err := json.Marshal(k)
	if err != nil {
		return nil, fmt.Errorf("encode policy keys: %w", err)
	}
	return protocol.Sign(payloadPolicyKeys, payload, keys...).JSON()
}

// ParsePolicyKeys reads a list that one of the trusted keys signed; with none that
// are trusted, one of its own.
func ParsePolicyKeys(data []byte, trusted []protocol.TrustedKey) (PolicyKeys, error) {
	envelope, err := protocol.ParseEnvelope(data, protocol.MaxHead)
	if err != nil {
		return PolicyKeys{}, fmt.Errorf("read policy keys: %w", err)
	}
	if len(trusted) == 0 {
		if trusted, err = ownKeys(envelope); err != nil {
			return PolicyKeys{}, err
		}
	}
	payload, err := envelope.Verify(payloadPolicyKeys, trusted, 1)
	if err != nil {
		return PolicyKeys{}, fmt.Errorf("%w: %w", ErrPolicyKeys, err)
	}
	return decodePolicyKeys(payload)
}

// ownKeys are the keys that an envelope names, of which nothing is verified yet.
func ownKeys(envelope protocol.Envelope) ([]protocol.TrustedKey, error) {
	payload, err := envelope.Unverified()
	if err != nil {
		return nil, fmt.Errorf("read policy keys: %w", err)
	}
	named, err := decodePolicyKeys(payload)
	return named.Trusted(), err
}

func decodePolicyKeys(payload []byte) (PolicyKeys, error) {
	var keys PolicyKeys
	if err := protocol.Decode(payload, protocol.MaxHead, &keys); err != nil {
		return PolicyKeys{}, fmt.Errorf("read policy keys: %w", err)
	}
	wrong := slices.ContainsFunc(keys.Keys, func(key []byte) bool { return len(key) != ed25519.PublicKeySize })
	if wrong || len(keys.Keys) == 0 || len(keys.Keys) > maxPolicyKeys || keys.Version == 0 || !protocol.ValidName(keys.SiteID) {
		return PolicyKeys{}, fmt.Errorf("read policy keys: %w", errConfig)
	}
	return keys, nil
}

// LoadPolicyKeys reads the operator's policy keys: the one that signs first. Of a
// rotation that broke off the next one is there alone.
func LoadPolicyKeys(folder string) ([]ed25519.PrivateKey, error) {
	var keys []ed25519.PrivateKey
	for _, name := range []string{PolicyKeyFile, NextPolicyKeyFile} {
		key, err := LoadSigningKey(filepath.Join(folder, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("read key: there is no %s in %s", PolicyKeyFile, folder)
	}
	return keys, nil
}

// LoadRetiredPolicyKey reads the key that was replaced last; nil if there is none.
// It signs no head any more. The portal may still know no other one.
func LoadRetiredPolicyKey(folder string) (ed25519.PrivateKey, error) {
	key, err := LoadSigningKey(filepath.Join(folder, retiredPolicyKeyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return key, err
}

// PublicHalves are the public keys, in the order of the private ones.
func PublicHalves(keys []ed25519.PrivateKey) [][]byte {
	public := make([][]byte, 0, len(keys))
	for _, key := range keys {
		public = append(public, key.Public().(ed25519.PublicKey))
	}
	return public
}

// Errors of a rotation.
var (
	ErrRotating    = errors.New("a next policy key is there already; put profiles with both on the Macs, then 'prlportal keys rotate --finish'")
	ErrNotRotating = errors.New("there is no next policy key; begin with 'prlportal keys rotate'")
	// ErrNotRenewed says that the key of the rotation before may be the only one that
	// a portal and Macs know.
	ErrNotRenewed = errors.New("the last rotation is not published")
)

// BeginRotation makes a next policy key. It is ErrNotRenewed before the key that
// the last rotation brought has signed what is published: the end of another rotation
// would put that of before away, and nobody could tell the portal and the Macs of
// any other.
func BeginRotation(folder string) error {
	path := filepath.Join(folder, NextPolicyKeyFile)
	if _, err := os.Lstat(path); err == nil {
		return ErrRotating
	}
	if err := checkRenewed(folder); err != nil {
		return err
	}
	_, encoded, err := newSigningKey()
	if err != nil {
		return err
	}
	if err := safefile.WriteFile(path, encoded, 0o600); err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	return nil
}

// checkRenewed reports that a key was replaced, and that the one after it has not
// signed what is published at every place that there still is.
func checkRenewed(folder string) error {
	if _, err := os.Lstat(filepath.Join(folder, retiredPolicyKeyFile)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	key, err := LoadSigningKey(filepath.Join(folder, PolicyKeyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a rotation broke off: what is put away is put away
	}
	if err != nil {
		return err
	}
	published, err := LoadHeadKeys(folder)
	if err != nil {
		return err
	}
	id := protocol.KeyID(key.Public().(ed25519.PublicKey))
	if len(published) == 0 {
		return fmt.Errorf("%w: first 'prlportal renew' (or 'prlportal publish TREE', where nothing is published yet)", ErrNotRenewed)
	}
	for _, place := range slices.Sorted(maps.Keys(published)) {
		if _, err := os.Lstat(place); published[place] == id || place != PortalPlace && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		command := "prlportal renew"
		if place != PortalPlace {
			command += " --out " + place
		}
		return fmt.Errorf("%w: first '%s', then the profile on the Macs", ErrNotRenewed, command)
	}
	return nil
}

// FinishRotation has the next policy key sign alone. The one before stays in a
// file of its own, in the place of the one of the rotation before: it is
// ErrNotRenewed where that one is still needed.
func FinishRotation(folder string) error {
	next := filepath.Join(folder, NextPolicyKeyFile)
	if _, err := LoadSigningKey(next); errors.Is(err, fs.ErrNotExist) {
		return ErrNotRotating
	} else if err != nil {
		return err
	}
	if err := checkRenewed(folder); err != nil {
		return err
	}
	present := filepath.Join(folder, PolicyKeyFile)
	if err := os.Rename(present, filepath.Join(folder, retiredPolicyKeyFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("put the old key aside: %w", err)
	}
	if err := os.Rename(next, present); err != nil {
		return fmt.Errorf("put the next key in its place: %w", err)
	}
	return nil
}
