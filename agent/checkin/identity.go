package checkin

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"prlagent/agent/protocol"
	"prlagent/platform/safefile"
)

// maxIdentity is the largest node.json that is read, in bytes.
const maxIdentity = 16 << 10

// Errors of LoadIdentity.
var (
	// ErrForeign comes with a fresh identity: the one on disk belongs to another
	// Mac (H02). The caller discards its state (store.Erase, store.NewEpoch),
	// then saves the fresh one.
	ErrForeign = errors.New("the identity on disk belongs to another Mac")
	// errDamaged comes with a fresh identity: the one on disk cannot be read.
	errDamaged = errors.New("the identity on disk is damaged")
	// errHostUnknown: there is no identity yet, and none can be made before the
	// Mac's hardware UUID is known.
	errHostUnknown = errors.New("the hardware UUID of this Mac is unknown")
)

// Identity is what node.json holds. Key and token are not exported, and no
// format verb or encoder shows them. What changes is changed in a copy: others may
// have the one in use.
type Identity struct {
	DeviceID  string // given by the portal; empty before the first answer
	Origin    string // scheme://host:port that the token belongs to and is sent to
	GroupHint string // the managed Group that the portal was told at enrollment

	serial       string // empty where the Mac had none when it enrolled
	hardwareUUID string
	key          ed25519.PrivateKey
	token        string
	marks        map[string]markRecord // by markKey; a copy of those in the store, which may be lost (H65)
	lastRequest  protocol.RequestID    // of the last enrollment; those of one device rise (H54)
}

// identityFile is node.json.
type identityFile struct {
	Version      int    `json:"version"`
	Seed         []byte `json:"seed"`
	Serial       string `json:"serial"`
	HardwareUUID string `json:"hardware_uuid"`
	DeviceID     string `json:"device_id,omitempty"`
	Origin       string `json:"origin,omitempty"`
	GroupHint    string `json:"group_hint,omitempty"`
	Token        string `json:"token,omitempty"`

	HeadMarks   map[string]markRecord `json:"head_marks,omitempty"`
	LastRequest string                `json:"last_request,omitempty"`
}

const identityVersion = 1

// LoadIdentity reads node.json, or makes a key and writes it before anybody
// uses it. Errors: ErrForeign and ErrDamaged with a fresh identity that is not
// written yet, ErrHostUnknown, and those of reading and writing the file.
func LoadIdentity(path string, host *protocol.Host) (*Identity, error) {
	data, err := safefile.ReadTrustedFile(path, uint32(os.Geteuid()), maxIdentity)
	if errors.Is(err, fs.ErrNotExist) {
		fresh, err := newIdentity(host)
		if err != nil {
			return nil, err
		}
		return fresh, fresh.Save(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read identity: %w", err)
	}
	return checkIdentity(data, host)
}

func checkIdentity(data []byte, host *protocol.Host) (*Identity, error) {
	known, err := parseIdentity(data)
	if err == nil && known.belongsTo(host) {
		return known, nil
	}
	reason := ErrForeign
	if err != nil {
		reason = errDamaged
	}
	fresh, err := newIdentity(host)
	if err != nil {
		return nil, errors.Join(reason, err)
	}
	return fresh, reason
}

func newIdentity(host *protocol.Host) (*Identity, error) {
	if host.HardwareUUID == "" {
		return nil, errHostUnknown
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("make device key: %w", err)
	}
	return &Identity{key: key, serial: host.Serial, hardwareUUID: host.HardwareUUID}, nil
}

// parseIdentity never quotes the file: it holds the key.
func parseIdentity(data []byte) (*Identity, error) {
	var file identityFile
	if json.Unmarshal(data, &file) != nil || file.Version != identityVersion ||
		len(file.Seed) != ed25519.SeedSize || file.HardwareUUID == "" {
		return nil, errDamaged
	}
	known := &Identity{
		DeviceID: file.DeviceID, Origin: file.Origin, GroupHint: file.GroupHint,
		serial: file.Serial, hardwareUUID: file.HardwareUUID,
		key: ed25519.NewKeyFromSeed(file.Seed), token: file.Token, marks: file.HeadMarks,
	}
	if last, err := protocol.ParseRequestID(file.LastRequest); err == nil {
		known.lastRequest = last
	}
	return known, nil
}

// belongsTo compares with what is known of the Mac: a fact that could not be
// read this time proves nothing against the identity, and neither does a serial
// number that a Mac without one has gained, as after a second repair.
func (i *Identity) belongsTo(host *protocol.Host) bool {
	same := func(ours, theirs string) bool { return theirs == "" || strings.EqualFold(ours, theirs) }
	return (i.serial == "" || same(i.serial, host.Serial)) && same(i.hardwareUUID, host.HardwareUUID)
}

// gainedSerial is the serial number of a Mac that enrolled without one.
func (i *Identity) gainedSerial(host *protocol.Host) string {
	if i.serial != "" {
		return ""
	}
	return host.Serial
}

// Save writes node.json, 0600.
func (i *Identity) Save(path string) error {
	file := &identityFile{
		Version: identityVersion, Seed: i.key.Seed(), Serial: i.serial, HardwareUUID: i.hardwareUUID,
		DeviceID: i.DeviceID, Origin: i.Origin, GroupHint: i.GroupHint, Token: i.token,
		HeadMarks: i.marks,
	}
	if i.lastRequest != (protocol.RequestID{}) {
		file.LastRequest = i.lastRequest.String()
	}
	data, err := json.Marshal(file)
	if err != nil {
		return fmt.Errorf("encode identity: %w", err)
	}
	folder, err := safefile.OpenFolder(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	defer folder.Close()
	if err := folder.WriteFile(filepath.Base(path), data, 0o600, -1); err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	return nil
}

// Bounds of what node.json holds of heads, so that it stays readable.
const (
	maxMarks      = 16 // groups that this Mac was in
	maxMarkKeyIDs = 8
)

// withMark is the identity with the mark of a group, and whether that changes
// anything. If there are too many, those that no trusted key has signed go first.
func (i *Identity) withMark(key string, mark *markRecord, trusts func([]string) bool) (*Identity, bool) {
	ids := mark.KeyIDs[:min(len(mark.KeyIDs), maxMarkKeyIDs)]
	if before := i.marks[key]; before.SHA256 == mark.SHA256 && slices.Equal(before.KeyIDs, ids) {
		return i, false
	}
	marks := make(map[string]markRecord, len(i.marks)+1)
	marks[key] = markRecord{HeadVersion: mark.HeadVersion, SHA256: mark.SHA256, KeyIDs: ids}
	for _, trusted := range []bool{true, false} {
		for _, other := range slices.Sorted(maps.Keys(i.marks)) {
			if other != key && trusts(i.marks[other].KeyIDs) == trusted && len(marks) < maxMarks {
				marks[other] = i.marks[other]
			}
		}
	}
	with := *i
	with.marks = marks
	return &with, true
}

// Enrolled reports whether there is a token for the portal at origin.
func (i *Identity) Enrolled(origin string) bool { return i.token != "" && i.Origin == origin }

// Format shows the device id to every verb, and never key or token: of a copy as well,
// as MarshalText does.
func (i Identity) Format(state fmt.State, _ rune) {
	_, _ = io.WriteString(state, "device "+i.DeviceID)
}

// MarshalText shows the device id to every encoder.
func (i Identity) MarshalText() ([]byte, error) { return []byte("device " + i.DeviceID), nil }

// originOf is what a token is bound to: scheme, host and port.
func originOf(location *url.URL) string { return protocol.OriginOf(location) }

// keyID is the short name of the device key; empty before there is one.
func (i *Identity) keyID() string {
	if i.key == nil {
		return ""
	}
	return protocol.KeyID(publicKey(i.key))
}
