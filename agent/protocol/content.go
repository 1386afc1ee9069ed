package protocol

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Head is the signed pointer to a group's policy (protocol.md 2.4). One per
// group; the only thing that can say what a Mac's policy is.
type Head struct {
	SiteID      string         `json:"site_id"`
	GroupID     string         `json:"group_id"`
	HeadVersion uint64         `json:"head_version"`        // rises with every signing
	Mode        string         `json:"mode,omitempty"`      // monitor or enforce; the weaker of it and the profile's is in force, empty leaves it to the profile
	Policy      *PolicyPointer `json:"policy"`              // null releases: the group has no policy
	Candidate   *Candidate     `json:"candidate,omitempty"` // in place of Policy, for some of the group's Macs
	SplaySecs   int            `json:"splay_s,omitempty"`
	IssuedAt    time.Time      `json:"issued_at"`
	ExpiresAt   time.Time      `json:"expires_at"` // past it the last good policy is kept, never released
}

// Modes of a head.
const (
	ModeMonitor = "monitor" // plan and report, touch nothing
	ModeEnforce = "enforce"
)

// Candidate pins a policy document that a share of the group's Macs take.
type Candidate struct {
	PolicyID string `json:"policy_id"`
	Revision uint64 `json:"revision"`
	SHA256   string `json:"sha256"`
	Size     int    `json:"size"`
	Percent  int    `json:"percent"` // 1 to 100, see TakesCandidate
}

// Pointer is the pointer to the candidate's document.
func (c Candidate) Pointer() PolicyPointer {
	return PolicyPointer{PolicyID: c.PolicyID, Revision: c.Revision, SHA256: c.SHA256, Size: c.Size}
}

// TakesCandidate reports whether a device is among the percent of its group that
// take a candidate with this hash. Who does at some percentage does at every
// higher one; another document finds other devices.
func TakesCandidate(deviceID, sha256Hex string, percent int) bool {
	sum := sha256.Sum256([]byte(deviceID + "\n" + sha256Hex))
	return binary.BigEndian.Uint64(sum[:])%100 < uint64(max(percent, 0))
}

// PolicyPointer pins one policy document by its hash.
type PolicyPointer struct {
	PolicyID string `json:"policy_id"`
	Revision uint64 `json:"revision"`
	SHA256   string `json:"sha256"` // lower-case hex of the document's bytes
	Size     int    `json:"size"`   // bytes
}

// Errors of judging a head or a policy document.
var (
	ErrHeadInvalid  = errors.New("head is not valid")
	ErrWrongSite    = errors.New("head belongs to another site")
	ErrWrongGroup   = errors.New("head belongs to another group")
	ErrRollback     = errors.New("head is older than one seen before")
	ErrPolicyHash   = errors.New("policy does not match the hash in its head")
	ErrHeadConflict = errors.New("head differs from one with the same version")
)

// PeekHead reads the head in an envelope without judging whether it was signed. It
// is for who serves or compares heads, see Envelope.Unverified.
func PeekHead(envelope []byte) (Head, error) {
	parsed, err := ParseEnvelope(envelope, MaxHead)
	if err != nil {
		return Head{}, err
	}
	payload, err := parsed.Unverified()
	if err != nil {
		return Head{}, err
	}
	return ParseHead(payload)
}

// ParseHead decodes the verified payload of a head envelope. The policy must be
// there, if only as null: what is left out by mistake must not release.
func ParseHead(payload []byte) (Head, error) {
	var head Head
	var said struct {
		Policy json.RawMessage `json:"policy"`
	}
	if err := Decode(payload, MaxHead, &head); err != nil {
		return Head{}, fmt.Errorf("%w: %w", ErrHeadInvalid, err)
	}
	if err := json.Unmarshal(payload, &said); err != nil || said.Policy == nil {
		return Head{}, fmt.Errorf("%w: it does not say which policy", ErrHeadInvalid)
	}
	if !ValidName(head.SiteID) || !ValidName(head.GroupID) || head.ExpiresAt.IsZero() {
		return Head{}, fmt.Errorf("%w: a mandatory field is missing", ErrHeadInvalid)
	}
	if head.Policy != nil && !head.Policy.isComplete() || head.Candidate != nil && !head.Candidate.Pointer().isComplete() {
		return Head{}, fmt.Errorf("%w: its policy pointer is incomplete", ErrHeadInvalid)
	}
	if head.Mode != "" && head.Mode != ModeMonitor && head.Mode != ModeEnforce {
		return Head{}, fmt.Errorf("%w: it has an unknown mode", ErrHeadInvalid)
	}
	if err := Bound(&head); err != nil {
		return Head{}, fmt.Errorf("%w: %w", ErrHeadInvalid, err)
	}
	return head, nil
}

func (p PolicyPointer) isComplete() bool {
	return p.PolicyID != "" && len(p.SHA256) == sha256.Size*2 && ValidName(p.SHA256)
}

// CheckPolicy checks that data is the document that the pointer pins.
func (p PolicyPointer) CheckPolicy(data []byte) error {
	sum := sha256.Sum256(data)
	if len(data) != p.Size || hex.EncodeToString(sum[:]) != p.SHA256 {
		return ErrPolicyHash
	}
	return nil
}

// PointTo makes the pointer to a policy document.
func PointTo(policyID string, revision uint64, document []byte) PolicyPointer {
	sum := sha256.Sum256(document)
	return PolicyPointer{PolicyID: policyID, Revision: revision, SHA256: hex.EncodeToString(sum[:]), Size: len(document)}
}
