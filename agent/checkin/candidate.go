package checkin

import (
	"cmp"

	"prlagent/agent/protocol"
)

// candidateRecord is a policy that a head gives to some Macs of its group, and
// this one is among them.
type candidateRecord struct {
	Pointer  protocol.PolicyPointer `json:"pointer"` // to Document
	Document []byte                 `json:"document"`
}

// inForce is the policy that this Mac obeys: the candidate where it takes one.
// After a release it is the one of before.
func (r *policyRecord) inForce() (protocol.PolicyPointer, []byte) {
	if r.Candidate != nil {
		return r.Candidate.Pointer, r.Candidate.Document
	}
	return r.Pointer, r.Document
}

// demandsTheSame reports whether this Mac has to do for the one as for the other.
func (r *policyRecord) demandsTheSame(other *policyRecord) bool {
	ours, _ := r.inForce()
	theirs, _ := other.inForce()
	return r.isReleased() == other.isReleased() && (r.isReleased() || ours == theirs && r.Head.Mode == other.Head.Mode)
}

// takeCandidate gives a record the candidate of its head, if this Mac is among
// those that take it. One that cannot be had leaves the group's policy in force,
// which the head names as well, and is asked for again with each check-in.
func (e *exchange) takeCandidate(next, stored *policyRecord) error {
	if !e.takes(&next.Head) {
		return nil
	}
	pointer := next.Head.Candidate.Pointer()
	document, err := e.policyFor(&pointer, stored)
	if err == nil {
		next.Candidate = &candidateRecord{pointer, document}
	}
	return err
}

// takes reports whether this Mac is among those that take the head's candidate. A
// Mac without a portal is told apart by its hardware.
func (e *exchange) takes(head *protocol.Head) bool {
	device := cmp.Or(e.client.currentIdentity().DeviceID, e.client.options.Host.HardwareUUID)
	return head.Candidate != nil && protocol.TakesCandidate(device, head.Candidate.SHA256, head.Candidate.Percent)
}

// isIncomplete reports whether the head must be asked for although it is the one
// that is stored: this Mac has seen a newer one, or lacks the candidate of it.
func (e *exchange) isIncomplete(stored *policyRecord) bool {
	return e.isBehindMark(stored) || stored.Candidate == nil && e.takes(&stored.Head)
}
