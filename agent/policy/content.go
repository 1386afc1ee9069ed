package policy

import (
	"time"

	"prlagent/agent/protocol"
)

// ExpiryNotice is how long before it expires a head ought to be signed anew.
const ExpiryNotice = 10 * 24 * time.Hour

// Where content comes from.
const (
	FromHead          = "head"          // a signed one, of a portal or a folder
	FromConfiguration = "configuration" // Policy of the profile, or of config.plist
)

// Content is what a Mac has to obey: the last good policy, and why there is
// nothing newer. It is offered by the exchange, which verified it, to
// enforcement, which obeys it.
type Content struct {
	Verified    bool   // a head was verified once, or the configuration has a policy; without either all below but Code is empty
	Source      string // one of the words above
	HeadVersion uint64 // 0 for a policy of the configuration
	// Document is kept after a signed release too, so that what it had placed
	// can be lifted.
	Document []byte
	Pointer  protocol.PolicyPointer // to Document
	Released bool                   // it is said, signed or by the configuration, that there is no policy
	Mode     string                 // that a head allows: monitor or enforce; empty leaves it to the configuration
	// CandidatePercent is the share of the group's Macs that obey Document, where
	// that is a candidate; 0: it is the policy of the whole group.
	CandidatePercent int
	ExpiresAt        time.Time // of the head
	ExpiresSoon      bool      // within ExpiryNotice
	Expired          bool      // the head is past its time: no reason to change anything
	// Code is why the last look for content did not bring what it should, or why
	// there cannot be any; empty if all is well.
	Code protocol.Code
	// Unreadable: what is stored could not be read; Code says why.
	Unreadable bool
}

// InForce reports whether the document is to be obeyed.
func (c *Content) InForce() bool { return c.Verified && !c.Released && c.Document != nil }

// Allows reports whether the mode of the head lets the configuration enforce.
func (c *Content) Allows() bool { return c.Mode != protocol.ModeMonitor }
