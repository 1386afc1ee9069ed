// Package storage holds what the portal remembers of each Mac: one Device, one
// Report, one History, one EventLog and one Verdicts, keyed by the device's id, with
// the changes of the verdicts, and a journal of what is told on to other programs.
//
// There are two implementations, Bolt for real use and Memory for trying
// things; package storagetest is the one suite that both must pass.
package storage

import (
	"cmp"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/secret"
)

// Errors of every implementation.
var (
	ErrNotFound = errors.New("no such record")
	// ErrConflict says that the device was changed since it was read, or that
	// another device holds one of its keys: read again and decide again.
	ErrConflict = errors.New("record was changed by someone else")
	// ErrTooLarge says that a record would be larger than a device may have.
	ErrTooLarge = errors.New("record is too large")
)

// SaveAttempts is how often a decision is taken anew because another request of
// the same device came between, which Save says with ErrConflict.
const SaveAttempts = 5

// Bounds of what is kept for one device, whatever it sends (H56). A report can
// be larger than a request, because it adds up from several.
const (
	MaxDeviceBytes = 256 << 10
	MaxReportBytes = 2 * protocol.MaxRequest
	MaxRequests    = 64 // acknowledgements of the last day
	MaxTokens      = 4
	MaxPending     = 8
	MaxRejected    = 16
	MaxPastEpochs  = 16
	MaxTriggers    = 64 // reasons of one check-in
)

// Device is one enrolled Mac and where its conversation with the portal stands.
type Device struct {
	ID           string            `json:"id"`      // UUIDv7
	Version      uint64            `json:"version"` // of this record, rises with every Save
	Serial       string            `json:"serial"`
	HardwareUUID string            `json:"hardware_uuid"`
	Key          ed25519.PublicKey `json:"key"`
	Group        protocol.Group    `json:"group"`
	EnrolledAt   time.Time         `json:"enrolled_at"`
	AgentVersion string            `json:"agent_version"`
	Tokens       []Token           `json:"tokens,omitempty"`    // oldest first
	Pending      []PendingKey      `json:"pending,omitempty"`   // wait for a person (H01)
	Rejected     []PendingKey      `json:"rejected,omitempty"`  // a person did not let in, oldest first (H55)
	Duplicate    *Duplicate        `json:"duplicate,omitempty"` // it is not the one Mac that it says (H02, H57)
	RetiredAt    time.Time         `json:"retired_at,omitzero"` // zero: it is not
	SupersededBy string            `json:"superseded_by,omitempty"`
	// LastEnrollment is the request id of the last enrollment with Key: an older
	// one is a replay (H54).
	LastEnrollment string    `json:"last_enrollment,omitempty"`
	Epoch          string    `json:"epoch,omitempty"`
	Sequence       uint64    `json:"sequence,omitempty"` // highest accepted in Epoch
	PastEpochs     []string  `json:"past_epochs,omitempty"`
	Requests       []Request `json:"requests,omitempty"` // oldest first
	LastCheckinAt  time.Time `json:"last_checkin_at,omitzero"`
	// LastTriggers are why the Mac checked in last. A check-in that only
	// completes the one before has no reason, and leaves them.
	LastTriggers []protocol.Trigger `json:"last_triggers,omitempty"`
	Clock        Clock              `json:"clock,omitzero"`
	ReportHash   string             `json:"report_hash,omitempty"`
	ConfirmedAt  time.Time          `json:"confirmed_at,omitzero"`  // last check-in that vouched for the report held
	EventsAt     time.Time          `json:"events_at,omitzero"`     // last check-in that told of something new that happened
	ChangedAt    time.Time          `json:"changed_at,omitzero"`    // last change of its identity, group or marks
	StaleTold    time.Time          `json:"stale_told,omitzero"`    // since when it was not heard of, as the webhook has told it
	LaunchedAt   time.Time          `json:"launched_at,omitzero"`   // see NoteLaunches
	WatchedSince time.Time          `json:"watched_since,omitzero"` // see NoteLaunches
	HasCommands  bool               `json:"has_commands,omitempty"`
	OpenCommands int                `json:"open_commands,omitempty"` // that have not ended
}

// MacSerial is how commands and receipts name the Mac: its serial number, or its
// hardware UUID where it has none (H20).
func (d *Device) MacSerial() string { return cmp.Or(d.Serial, d.HardwareUUID) }

// Clock is how the Mac's clock goes by the portal's.
type Clock struct {
	AheadSecs int64 `json:"ahead_s"`         // when it made its last report; 0 is anything near
	Wrong     bool  `json:"wrong,omitempty"` // not only a report that was under way for long
}

// Token is a bearer token given out, known only by its SHA-256.
type Token struct {
	SHA256   string    `json:"sha256"` // hex
	IssuedAt time.Time `json:"issued_at"`
}

// PendingKey is a key that asked to be this device and is not the one known.
type PendingKey struct {
	Key          ed25519.PublicKey `json:"key"`
	AskedAt      time.Time         `json:"asked_at"` // for the first time
	LastAskedAt  time.Time         `json:"last_asked_at,omitzero"`
	LastRequest  string            `json:"last_request,omitempty"`  // id of the request of then
	HardwareUUID string            `json:"hardware_uuid,omitempty"` // of the Mac that asked, where it is another one (H57)
	AgentVersion string            `json:"agent_version"`
	Source       string            `json:"source"` // network address that it asked from first
}

// HeardAt is when the key asked last.
func (p PendingKey) HeardAt() time.Time {
	if p.LastAskedAt.IsZero() {
		return p.AskedAt
	}
	return p.LastAskedAt
}

// Duplicate is the mark of a device that is served nothing until a person decides.
type Duplicate struct {
	Reason   string    `json:"reason"`             // one of the Duplicate words
	Reported string    `json:"reported,omitempty"` // serial number and hardware UUID of a report that differs
	At       time.Time `json:"at"`                 // last time it was seen
	Count    int       `json:"count"`
}

// Reasons of a Duplicate.
const (
	DuplicateSequence = "sequence_fork"    // a number of one epoch used for two reports
	DuplicateEpoch    = "epochs_alternate" // an epoch came back after another replaced it
	DuplicateIdentity = "report_differs"   // a report names another Mac than the one that enrolled (H57)
)

// Request is an acknowledged check-in, kept so that its repeat gets the same
// answer.
type Request struct {
	ID        string    `json:"id"`
	Body      string    `json:"body"` // hash of the decoded body
	At        time.Time `json:"at"`
	Inventory string    `json:"inventory"`
	Sequence  uint64    `json:"sequence,omitempty"`
	Reasons   string    `json:"reasons,omitempty"` // words of why the Mac checked in, each once
}

// Report is what the Mac said of itself last.
type Report struct {
	Agent     protocol.AgentInfo    `json:"agent"`
	Host      protocol.Host         `json:"host"`
	Product   protocol.Product      `json:"product"`
	Users     []protocol.UserLook   `json:"users,omitempty"`
	Policy    protocol.PolicyReport `json:"policy"`
	Health    protocol.HealthReport `json:"health,omitzero"` // agents before it told none
	Truncated bool                  `json:"truncated,omitempty"`
	Rows      []Row                 `json:"rows,omitempty"` // in the order of their keys
	// ChangedAt is the last change of what every row shows of its Mac,
	// RowsChangedAt the last change of any row, or of which rows there are.
	ChangedAt     time.Time `json:"changed_at,omitzero"`
	RowsChangedAt time.Time `json:"rows_changed_at,omitzero"`
	// Violations is how many verdicts say that something is against a security control.
	Violations int `json:"violations,omitempty"`
	// AccountSettings counts the preferences of all accounts by their verdicts.
	AccountSettings SettingCounts `json:"account_settings,omitzero"`
	// HostSettings counts the security controls on the Mac as a whole.
	HostSettings SettingCounts `json:"host_settings,omitzero"`
	// OldestDeferral is of all settings of all machines; nil where none waits.
	OldestDeferral *Deferral `json:"oldest_deferral,omitempty"`
	// HealthChangedAt is the last change of Health, which no row shows.
	HealthChangedAt time.Time `json:"health_changed_at,omitzero"`
}

// Row is one virtual machine that the Mac has.
type Row struct {
	VM          protocol.VM `json:"vm"`
	FirstSeenAt time.Time   `json:"first_seen_at"`
	ChangedAt   time.Time   `json:"changed_at,omitzero"` // when the portal learned of VM as it is
	// ReportedAt is set on stale rows only: a stale row is not confirmed by
	// the check-ins that repeat it. All others were reported at the device's
	// ConfirmedAt.
	ReportedAt time.Time `json:"reported_at,omitzero"`
	// Settings are counted as their verdicts arrive.
	Settings SettingCounts `json:"settings,omitzero"`
}

// SettingCounts is how many settings of one virtual machine have which verdict.
type SettingCounts struct {
	InPlace       int `json:"in_place,omitempty"`
	Pending       int `json:"pending,omitempty"`
	Deferred      int `json:"deferred,omitempty"`
	Partial       int `json:"partial,omitempty"`
	Contended     int `json:"contended,omitempty"`
	Failed        int `json:"failed,omitempty"`
	NotApplicable int `json:"not_applicable,omitempty"`
	Unsupported   int `json:"unsupported,omitempty"`
	Unknown       int `json:"unknown,omitempty"` // and words that this portal does not know
	// Drifts is how often the Mac told that somebody had changed a setting that was
	// in place.
	Drifts int `json:"drifts,omitempty"`
}

// verdictCounts are the counts of the verdicts that this portal knows.
var verdictCounts = []struct {
	verdict string
	count   func(*SettingCounts) *int
}{
	{protocol.VerdictInPlace, func(c *SettingCounts) *int { return &c.InPlace }},
	{protocol.VerdictPending, func(c *SettingCounts) *int { return &c.Pending }},
	{protocol.VerdictDeferred, func(c *SettingCounts) *int { return &c.Deferred }},
	{protocol.VerdictPartial, func(c *SettingCounts) *int { return &c.Partial }},
	{protocol.VerdictContended, func(c *SettingCounts) *int { return &c.Contended }},
	{protocol.VerdictFailed, func(c *SettingCounts) *int { return &c.Failed }},
	{protocol.VerdictNotApplicable, func(c *SettingCounts) *int { return &c.NotApplicable }},
	{protocol.VerdictUnsupported, func(c *SettingCounts) *int { return &c.Unsupported }},
	{protocol.VerdictUnknown, func(c *SettingCounts) *int { return &c.Unknown }},
}

// Add counts a verdict. A word that is not known counts as unknown.
func (c *SettingCounts) Add(verdict string, count int) {
	for _, row := range verdictCounts {
		if row.verdict == verdict {
			*row.count(c) += count
			return
		}
	}
	c.Unknown += count
}

// AddAll adds what was counted elsewhere.
func (c *SettingCounts) AddAll(other *SettingCounts) {
	for _, row := range verdictCounts {
		*row.count(c) += *row.count(other)
	}
	c.Drifts += other.Drifts
}

// All is how many settings are counted.
func (c *SettingCounts) All() (all int) {
	for _, row := range verdictCounts {
		all += *row.count(c)
	}
	return all
}

// Deferral is a setting that waits for its machine or the machine's user.
type Deferral struct {
	Path  string         `json:"path"`
	VM    protocol.VMKey `json:"vm"`
	Code  protocol.Code  `json:"code"`
	Since time.Time      `json:"since"`
}

// Change is what one Save keeps, in one commit. Report, History, Events and
// Verdicts and Commands stay as they are where nil; the others are added.
type Change struct {
	Device    Device
	Report    *Report
	History   *History
	Events    *EventLog
	NewEvents int // how many of them are new
	Verdicts  *Verdicts
	Changes   *VerdictChanges
	Outgoing  []Outgoing // about Device, as far as there is room
	// Commands is set by KeepCommands. Envelopes are added to those that are kept, part
	// by part.
	Commands        *CommandLog
	Envelopes       []CommandEnvelopes
	DroppedCommands []string // ids whose envelopes go
	News            []CommandNews
	Audit           *AuditMark
}

// AuditMark is the newest line of the audit log that this database knows of: a log that
// does not have it was changed, and one that goes on behind it is of a newer portal (H30).
type AuditMark struct {
	Number uint64 `json:"number"`
	Hash   string `json:"hash"`
}

// Key finds a device: by its id, by a token of it, or by the Mac it is.
type Key string

// ByID is the key of a device id.
func ByID(id string) Key { return Key("id:" + id) }

// ByToken is the key of a bearer token.
func ByToken(token string) Key { return byTokenHash(secret.Hash(token)) }

func byTokenHash(sum string) Key { return Key("token:" + sum) }

// ByMac is the key of a Mac.
func ByMac(serial, hardwareUUID string) Key {
	// %q, so that no pair of texts reads like another pair.
	return Key(fmt.Sprintf("mac:%q %q", strings.ToUpper(hardwareUUID), strings.ToUpper(serial)))
}

// bySerial begins the keys of the devices with this serial number that are not
// retired. There is one of them, unless a portal before this one let in more.
func bySerial(serial string) Key { return Key(fmt.Sprintf("serial:%q ", strings.ToUpper(serial))) }

// HeardAt is when the Mac was heard of last.
func (d Device) HeardAt() time.Time { return latest(d.LastCheckinAt, d.EnrolledAt) }

// IsRetired reports whether a person has ended the device.
func (d Device) IsRetired() bool { return !d.RetiredAt.IsZero() }

// Keys are all keys of the device.
func (d Device) Keys() []Key {
	keys := []Key{ByID(d.ID), ByMac(d.Serial, d.HardwareUUID)}
	if d.Serial != "" && !d.IsRetired() {
		keys = append(keys, bySerial(d.Serial)+Key(d.ID))
	}
	for _, token := range d.Tokens {
		keys = append(keys, byTokenHash(token.SHA256))
	}
	return keys
}

// lostKeys are those of before that after does not have.
func lostKeys(before, after Device) []Key {
	kept := after.Keys()
	return slices.DeleteFunc(before.Keys(), func(key Key) bool { return slices.Contains(kept, key) })
}
