package policy

import "prlagent/agent/protocol"

// Content is what a Mac has of signed content: the last good verified policy,
// and why there is nothing newer. It is offered by the exchange, which verified
// it, to enforcement, which obeys it.
type Content struct {
	Verified    bool // a head was verified once; without one all below but Code is empty
	HeadVersion uint64
	// Document is kept after a signed release too, so that what it had placed
	// can be lifted.
	Document []byte
	Pointer  protocol.PolicyPointer // to Document
	Released bool                   // the head says, signed, that the group has no policy
	Expired  bool                   // the head is past its time: no reason to change anything
	// Code is why the last look for content did not bring what it should, or why
	// there cannot be any; empty if all is well.
	Code protocol.Code
	// Unreadable: what is stored could not be read; Code says why.
	Unreadable bool
}

// InForce reports whether the document is to be obeyed.
func (c Content) InForce() bool { return c.Verified && !c.Released && c.Document != nil }
