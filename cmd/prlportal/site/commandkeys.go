package site

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform/safefile"
)

// CommandKeysFile has, in the content folder and in that of the operator who keeps the
// policy key, who may sign commands: the public keys with the persons that they are
// registered for, and how many must sign. It is signed by the policy key, so that who
// has the portal can register nobody. A Mac has the keys of its profile, and no persons.
const CommandKeysFile = "command-keys.dsse.json"

const payloadCommandKeys = "application/vnd.prlagent.command-keys.v1+json"

// maxCommandKeys is how many keys may sign commands at a time.
const maxCommandKeys = 64

// CommandKeys is who may sign commands.
type CommandKeys struct {
	SiteID    string         `json:"site_id"`
	Version   uint64         `json:"version"` // rises with every change
	Keys      []CommandKey   `json:"keys"`
	Threshold map[string]int `json:"threshold,omitempty"` // type -> distinct keys and persons; 1 where it is missing
}

// CommandKey is one key and whose it is.
type CommandKey struct {
	Key     []byte    `json:"key"` // 32 bytes
	Person  string    `json:"person"`
	AddedAt time.Time `json:"added_at"`
}

// ID is the short name of the key.
func (k CommandKey) ID() string { return protocol.KeyID(k.Key) }

// Errors of the list of command keys.
var (
	ErrCommandKeys     = errors.New("the list of command keys is not signed by a policy key that is known")
	ErrOldCommandKeys  = errors.New("a newer list of command keys is known")
	ErrNoCommandKeys   = errors.New("no command key is registered; register one with 'prlportal keys command add PERSON'")
	ErrCommandKeyThere = errors.New("the key or the person is registered already")
	ErrNoCommandKey    = errors.New("no such command key is registered")
	ErrThreshold       = fmt.Errorf("a threshold is from 1 to the number of persons with a key, and at most %d", protocol.MaxSignatures)
)

// Trusted are the keys as commands are verified with.
func (k CommandKeys) Trusted() []protocol.TrustedKey {
	trusted := make([]protocol.TrustedKey, 0, len(k.Keys))
	for _, key := range k.Keys {
		trusted = append(trusted, protocol.TrustedKey{ID: key.ID(), Key: key.Key})
	}
	return trusted
}

// PersonOf is whom the key is registered for; empty where it is not.
func (k CommandKeys) PersonOf(keyID string) string {
	at := slices.IndexFunc(k.Keys, func(key CommandKey) bool { return key.ID() == keyID })
	if at < 0 {
		return ""
	}
	return k.Keys[at].Person
}

// Needed is how many distinct keys must sign a command of the type.
func (k CommandKeys) Needed(kind string) int { return max(k.Threshold[kind], 1) }

// Add registers a key for a person. A person has one key: two would be two signatures
// of one.
func (k *CommandKeys) Add(key CommandKey) error {
	if len(key.Key) != ed25519.PublicKeySize || !isPerson(key.Person) {
		return fmt.Errorf("register command key: a person is 1 to %d characters, and a key an Ed25519 public key", maxPerson)
	}
	if slices.ContainsFunc(k.Keys, func(known CommandKey) bool {
		return known.ID() == key.ID() || strings.EqualFold(known.Person, key.Person)
	}) {
		return ErrCommandKeyThere
	}
	k.Keys = append(k.Keys, key)
	k.Version++
	return nil
}

const maxPerson = 64

// isPerson reports whether the name can be signed as that of a person: it is printed
// beside every command.
func isPerson(name string) bool {
	return name != "" && len(name) <= maxPerson && name == strings.TrimSpace(name) && !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// Remove ends the registration of a person or key id.
func (k *CommandKeys) Remove(name string) error {
	before := len(k.Keys)
	kept := slices.DeleteFunc(slices.Clone(k.Keys), func(key CommandKey) bool { return key.ID() == name || strings.EqualFold(key.Person, name) })
	if len(kept) == before {
		return ErrNoCommandKey
	}
	for _, needed := range k.Threshold {
		if needed > len(kept) {
			return ErrThreshold
		}
	}
	k.Keys = kept
	k.Version++
	return nil
}

// SetThreshold says how many must sign commands of a type.
func (k *CommandKeys) SetThreshold(kind string, needed int) error {
	if _, known := protocol.CommandTypeOf(kind); !known {
		return fmt.Errorf("there is no command %q", kind)
	}
	if !k.canSign(needed) {
		return ErrThreshold
	}
	next := make(map[string]int)
	for name, count := range k.Threshold {
		next[name] = count
	}
	if next[kind] = needed; needed == 1 {
		delete(next, kind)
	}
	k.Threshold = next
	k.Version++
	return nil
}

// canSign reports whether that many can sign a command, and a Mac reads it then.
func (k CommandKeys) canSign(needed int) bool {
	return needed >= 1 && needed <= min(len(k.Keys), protocol.MaxSignatures)
}

// Sign is the file of the list.
func (k CommandKeys) Sign(keys ...ed25519.PrivateKey) ([]byte, error) {
	payload, err := json.Marshal(k)
	if err != nil {
		return nil, fmt.Errorf("encode command keys: %w", err)
	}
	return protocol.Sign(payloadCommandKeys, payload, keys...).JSON()
}

// ParseCommandKeys reads a list that one of the trusted policy keys signed; with none
// that are trusted, one of the reader's own folder.
func ParseCommandKeys(data []byte, trusted []protocol.TrustedKey) (CommandKeys, error) {
	envelope, err := protocol.ParseEnvelope(data, protocol.MaxPolicy)
	if err != nil {
		return CommandKeys{}, fmt.Errorf("read command keys: %w", err)
	}
	payload, err := envelope.Unverified()
	if err == nil && trusted != nil {
		payload, err = envelope.Verify(payloadCommandKeys, trusted, 1)
	}
	if err != nil {
		return CommandKeys{}, fmt.Errorf("%w: %w", ErrCommandKeys, err)
	}
	var keys CommandKeys
	if err := protocol.Decode(payload, protocol.MaxPolicy, &keys); err != nil {
		return CommandKeys{}, fmt.Errorf("read command keys: %w", err)
	}
	return keys, keys.check()
}

// check refuses a list that nobody here could have signed.
func (k CommandKeys) check() error {
	wrong := k.Version == 0 || !protocol.ValidName(k.SiteID) || len(k.Keys) > maxCommandKeys
	persons := make(map[string]bool)
	for _, key := range k.Keys {
		person := strings.ToLower(key.Person)
		wrong = wrong || len(key.Key) != ed25519.PublicKeySize || !isPerson(key.Person) || persons[person] || persons[key.ID()]
		persons[person], persons[key.ID()] = true, true
	}
	for _, needed := range k.Threshold {
		wrong = wrong || !k.canSign(needed)
	}
	if wrong {
		return fmt.Errorf("read command keys: %w", ErrCommandKeys)
	}
	return nil
}

// LoadCommandKeys reads the list of a folder that is the reader's own; none is an empty
// one.
func LoadCommandKeys(folder string) (CommandKeys, error) {
	data, err := safefile.ReadFile(filepath.Join(folder, CommandKeysFile), maxSiteFile)
	if errors.Is(err, fs.ErrNotExist) {
		return CommandKeys{}, nil
	}
	if err != nil {
		return CommandKeys{}, fmt.Errorf("read command keys: %w", err)
	}
	return ParseCommandKeys(data, nil)
}

// SaveCommandKeys writes the file of a list.
func SaveCommandKeys(folder string, data []byte) error {
	if err := safefile.WriteFile(filepath.Join(folder, CommandKeysFile), data, 0o600); err != nil {
		return fmt.Errorf("write command keys: %w", err)
	}
	return nil
}

// NewCommandKey makes a private command key in a folder that has none, and gives its
// public half. It makes the folder where there is none.
func NewCommandKey(folder string) (ed25519.PublicKey, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("make command key: %w", err)
	}
	path := filepath.Join(folder, CommandKeyFile)
	if _, err := LoadSigningKey(path); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("make command key: %s is there already (%w)", path, fs.ErrExist)
	}
	key, encoded, err := newSigningKey()
	if err != nil {
		return nil, err
	}
	if err := safefile.WriteFile(path, encoded, 0o600); err != nil {
		return nil, fmt.Errorf("write key: %w", err)
	}
	return key.Public().(ed25519.PublicKey), nil
}
