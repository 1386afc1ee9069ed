package protocol

import (
	"crypto/ed25519"
	"time"
)

// EnrollRequest asks for an identity. It travels as the payload of an
// envelope of type PayloadEnroll, signed with DeviceKey: a proof that the
// sender holds the key (H01). It is good for the portal that it names, once and
// for EnrollmentLife (H54).
type EnrollRequest struct {
	RequestID    string            `json:"request_id"`        // a RequestID, newer than that of any enrollment of the device before
	Origin       string            `json:"origin"`            // of the portal that it is meant for, as OriginOf
	SiteID       string            `json:"site_id,omitempty"` // that the Mac was configured for; empty where its profile is older
	Secret       string            `json:"secret"`            // proves nothing but that a profile was read
	Serial       string            `json:"serial"`
	HardwareUUID string            `json:"hardware_uuid"`
	DeviceKey    ed25519.PublicKey `json:"device_key"`
	AgentVersion string            `json:"agent_version"`
	Epoch        string            `json:"epoch"`
	GroupHint    string            `json:"group_hint,omitempty"`
	SentAt       time.Time         `json:"sent_at"`
}

// EnrollmentLife is how far an enrollment may be from the portal's clock, in both
// directions (H54).
const EnrollmentLife = 24 * time.Hour

// EnrollReply answers an enrollment: 201 with a token, or 202 without one
// while it waits for approval.
type EnrollReply struct {
	State      string    `json:"state"` // EnrollApproved or EnrollPending
	DeviceID   string    `json:"device_id"`
	Token      string    `json:"token,omitempty"` // 256 random bits, base64url
	Group      Group     `json:"group,omitzero"`
	ServerTime time.Time `json:"server_time"`
	RetryAfter int       `json:"retry_after_s,omitempty"`
}

// States of an enrollment.
const (
	EnrollApproved = "approved"
	EnrollPending  = "pending_approval"
)

// Group is the one group a device is in, and how that was decided.
type Group struct {
	ID     string `json:"id"`
	Name   string `json:"name,omitempty"`
	Source string `json:"source"` // one of the GroupFrom words
}

// Sources of a device's group, first hit wins (protocol.md 2.7, H08).
const (
	GroupFromProfile = "profile" // managed Group of the Mac
	GroupFromSecret  = "secret"  // default group of the enrollment secret
	GroupFromPrimary = "primary" // the site's primary group
)

// Trigger is why the agent looked and checked in.
type Trigger struct {
	Reason  string    `json:"reason"`
	Count   int       `json:"count"`
	FirstAt time.Time `json:"first_at"`
	LastAt  time.Time `json:"last_at"`
	VMID    string    `json:"vm_id,omitempty"`
}

// AgentInfo is the program that reports.
type AgentInfo struct {
	Version string `json:"version"`
	Arch    string `json:"arch"`
	Mode    string `json:"mode"` // monitor or enforce
}

// CheckinRequest is a report. Agent, Host, Product, Users, Policy and Health are
// sent when they differ from the last acknowledged report; Inventory.Hash covers
// them and the rows, so the portal can tell that it missed something.
type CheckinRequest struct {
	Protocol     int            `json:"protocol"`
	RequestID    string         `json:"request_id"` // UUIDv7; the same through all retries
	Epoch        string         `json:"epoch"`
	Sequence     uint64         `json:"sequence"`
	SentAt       time.Time      `json:"sent_at"`
	Triggers     []Trigger      `json:"triggers"`
	Agent        *AgentInfo     `json:"agent,omitempty"`
	Host         *Host          `json:"host,omitempty"`
	Product      *Product       `json:"product,omitempty"`
	Users        []UserLook     `json:"users,omitzero"` // empty says that nobody uses the product any more
	Policy       *PolicyReport  `json:"policy,omitempty"`
	Health       *HealthReport  `json:"health,omitempty"`   // agents before it send none
	Verdicts     *VerdictReport `json:"verdicts,omitempty"` // by its own hash
	Inventory    Inventory      `json:"inventory"`
	OpenCommands []OpenCommand  `json:"open_commands,omitempty"` // everything the agent still holds
	Results      []Result       `json:"results,omitempty"`       // kept until acknowledged
	Holds        *HoldReport    `json:"holds,omitempty"`         // of a Mac that ever had a list of them (H69)
	Events       []Event        `json:"events,omitempty"`
}

// Inventory is the report's rows: nothing but Hash when they did not change,
// a delta against Base, or everything.
type Inventory struct {
	Hash      string  `json:"hash"`           // of the whole report, opaque to the portal
	Base      string  `json:"base,omitempty"` // the acknowledged hash that the delta starts from
	Full      bool    `json:"full,omitempty"`
	VMs       []VM    `json:"vms,omitempty"`
	Removed   []VMKey `json:"removed,omitempty"`
	Truncated bool    `json:"truncated,omitempty"` // more than MaxVMs, or than fit (H51)
}

// CheckinReply answers a check-in.
type CheckinReply struct {
	ServerTime  time.Time  `json:"server_time"`
	NextCheckin int        `json:"next_checkin_s,omitempty"` // clamped to [300, 86400]; 0 = once a day
	SplaySecs   int        `json:"splay_s,omitempty"`
	Group       Group      `json:"group"`
	Policy      *Hint      `json:"policy,omitempty"`
	Commands    []Envelope `json:"commands,omitempty"`
	Cancel      []string   `json:"cancel,omitempty"` // applied before commands (H03)
	Holds       *Envelope  `json:"holds,omitempty"`  // the newest signed list, where the Mac reports an older version (H69)
	Inventory   string     `json:"inventory"`        // InventoryOK or InventorySendFull
	Acks        []Ack      `json:"acks,omitempty"`
}

// Answers to an inventory.
const (
	InventoryOK       = "ok"
	InventorySendFull = "send_full"
)

// Hint says which head the portal would serve; only the head itself decides.
type Hint struct {
	HeadVersion uint64 `json:"head_version"`
	SHA256      string `json:"sha256,omitempty"` // of the policy document; empty = none
}

// Event is something that happened on the Mac and that a person may ask about.
type Event struct {
	Seq  uint64            `json:"seq,omitempty"`
	At   time.Time         `json:"at"`
	Type string            `json:"type"`
	Code Code              `json:"code,omitempty"`
	Data map[string]string `json:"data,omitempty"`
}

// PolicyReport is what became of the policy as a whole (DESIGN 4.1). There is no
// word "applied": a verdict says what was seen.
type PolicyReport struct {
	State       string         `json:"state"` // one of the Policy words
	Code        Code           `json:"code,omitempty"`
	PolicyID    string         `json:"policy_id,omitempty"`
	Revision    uint64         `json:"revision,omitempty"`
	SHA256      string         `json:"sha256,omitempty"`
	HeadVersion uint64         `json:"head_version,omitempty"`
	Counts      map[string]int `json:"counts,omitempty"` // strength word -> settings
}

// States of a policy on a device.
const (
	PolicyNone       = "none"
	PolicyFetched    = "fetched" // stored and verified, nothing written yet
	PolicyConverging = "converging"
	PolicyConverged  = "converged"
	PolicyPartial    = "partial"
	PolicyFailed     = "failed"
	PolicyStale      = "stale" // its head expired; still in force
	// PolicyNotApplicable: this Mac is kept out as a whole, for the reason in
	// Code; nothing of it is carried out.
	PolicyNotApplicable = "not_applicable"
)

// Strength words: how firmly a setting holds (DESIGN 1.5).
const (
	StrengthEnforced       = "enforced"
	StrengthDeterred       = "deterred"
	StrengthReverted       = "reverted"
	StrengthMonitored      = "monitored"
	StrengthNotEnforceable = "not_enforceable"
)

// Verdicts on a setting: whether it is as the policy wants it, and why not.
const (
	VerdictInPlace       = "in_place"
	VerdictPending       = "pending"        // about to be set; in monitor mode: would be
	VerdictDeferred      = "deferred"       // waits for the machine or its user
	VerdictPartial       = "partial"        // a part of it is not to be had here
	VerdictNotApplicable = "not_applicable" // nothing is wrong: this guest or version has no such setting
	VerdictUnsupported   = "unsupported"
	VerdictUnknown       = "unknown" // its value is not shown
	VerdictContended     = "contended"
	VerdictFailed        = "failed"
)
