package checkin

import (
	"errors"
	"fmt"
	"slices"

	"prlagent/agent/outbox"
	"prlagent/agent/protocol"
	"prlagent/store"
)

// problemReaction answers one of our problems: it returns the report to send
// now, or the error that ends the exchange. cause is the problem as the error
// it came as.
type problemReaction func(e *exchange, pending *pendingRecord, problem *protocol.Problem, cause error) (*pendingRecord, error)

// problemReactions is the table of protocol.md 2.12, for what the agent can do
// something about at once.
var problemReactions = []struct {
	problem string
	react   problemReaction
}{
	{protocol.ProblemUnauthenticated, enrollAgain},
	{protocol.ProblemDeviceUnknown, enrollAgain},
	{protocol.ProblemSequenceConflict, renumberReport},
	{protocol.ProblemTooLarge, dropEvents},
	{protocol.ProblemInvalidRequest, dropEvents},
	{protocol.ProblemEncoding, sendUncompressed},
}

// reactionTo is how a problem is reacted to; nil if it is not.
func reactionTo(problem string) problemReaction {
	for i := range problemReactions {
		if problemReactions[i].problem == problem {
			return problemReactions[i].react
		}
	}
	return nil
}

// neverRepeated are problems with the report itself: the same bytes are never
// sent again.
var neverRepeated = []string{
	protocol.ProblemTooLarge, protocol.ProblemInvalidRequest, protocol.ProblemUnsupported,
	protocol.ProblemEncoding, protocol.ProblemSequenceConflict, protocol.ProblemDuplicateIdentity,
}

// condition is a code that describes the enrollment until the next success; an outage
// does not change it.
type condition struct {
	code   protocol.Code
	hourly bool   // another attempt makes sense once an hour (H04); else as after any failure
	word   string // for State.Enrollment; a pending or a reset enrollment with a token of before is still one
}

var enrollmentConditions = []condition{
	{protocol.CodeEnrollmentPending, false, EnrollmentPending},
	{protocol.CodeEnrollmentRefused, false, EnrollmentRefused},
	{protocol.CodeEnrollmentClosed, true, EnrollmentRefused},
	{protocol.CodeEnrollmentWrongPortal, false, EnrollmentRefused},
	{protocol.CodeEnrollmentStale, false, EnrollmentRefused},
	{protocol.CodeEnrollmentReplayed, false, EnrollmentRefused},
	{protocol.CodeEnrollmentRejected, true, EnrollmentRefused},
	{protocol.CodePendingKeysFull, false, EnrollmentRefused},
	{protocol.CodeDeviceRevoked, true, EnrollmentRevoked},
	{protocol.CodeDeviceRetired, true, EnrollmentRetired},
	{protocol.CodeDuplicateIdentity, true, EnrollmentDuplicate},
	{protocol.CodeIdentityReset, false, EnrollmentForeign},
}

// enrollmentCondition is the condition that a code says; nil if it says none.
func enrollmentCondition(code protocol.Code) *condition {
	for i := range enrollmentConditions {
		if enrollmentConditions[i].code == code {
			return &enrollmentConditions[i]
		}
	}
	return nil
}

// isProbedHourly reports whether another attempt makes sense once an hour only.
func isProbedHourly(code protocol.Code) bool {
	found := enrollmentCondition(code)
	return found != nil && found.hourly
}

func conditionOf(code, before protocol.Code) protocol.Code {
	if enrollmentCondition(code) != nil {
		return code
	}
	return before
}

// enrollAgain proves the device key and sends the same bytes under the new token.
func enrollAgain(e *exchange, pending *pendingRecord, _ *protocol.Problem, _ error) (*pendingRecord, error) {
	return pending, e.enroll()
}

// renumberReport goes on with the number that the portal expects, and with
// everything.
func renumberReport(e *exchange, pending *pendingRecord, problem *protocol.Problem, _ error) (*pendingRecord, error) {
	last, err := e.judgeSequence(pending.Sequence, problem.Expected)
	if err != nil {
		return nil, err
	}
	e.record.Sequence, e.baseline = last, protocol.Baseline{}
	return e.replaceReport(pending, protocol.MaxEvents)
}

// replaceReport makes another report of one that the portal refused, with its
// triggers. If that fails the refused one stays, and has them.
func (e *exchange) replaceReport(refused *pendingRecord, events int) (*pendingRecord, error) {
	e.inheritedTriggers = refused.Triggers
	return e.prepareReport(events)
}

// dropEvents gives up the events, the only part of a report that it can do
// without.
func dropEvents(e *exchange, pending *pendingRecord, problem *protocol.Problem, cause error) (*pendingRecord, error) {
	if pending.Events == 0 {
		return nil, e.giveUp(pending, problem, cause)
	}
	e.client.options.Log.Warn().Int("events", pending.Events).Msg("the portal refused the report; its events are given up")
	e.droppedUpTo = pending.LastEvent
	next, err := e.replaceReport(pending, 0)
	if err == nil {
		e.noteLostEvents(pending.Events)
	}
	return next, err
}

// sendUncompressed sends the same report without compression, now and from now
// on.
func sendUncompressed(e *exchange, pending *pendingRecord, problem *protocol.Problem, cause error) (*pendingRecord, error) {
	if e.client.noCompression {
		return nil, e.giveUp(pending, problem, cause)
	}
	e.client.noCompression = true
	return pending, nil
}

// giveUp ends the exchange. A report that the portal refuses as such is
// forgotten, its triggers are not; where the portal expects another number, the
// next report has it, and everything.
func (e *exchange) giveUp(pending *pendingRecord, problem *protocol.Problem, cause error) error {
	if !slices.Contains(neverRepeated, problem.Name()) {
		return cause
	}
	last, err := e.judgeSequence(pending.Sequence, problem.Expected)
	if err != nil {
		return errors.Join(cause, err)
	}
	err = e.client.options.Outbox.Update(func(tx *store.Tx, change *outbox.Change) error {
		change.Return(pending.Triggers)
		forget := pendingRecords.Delete(tx, onlyKey)
		if problem.Expected == 0 {
			return forget
		}
		e.record.Sequence = last
		return errors.Join(forget, baselineRecords.Delete(tx, onlyKey), exchangeRecords.Put(tx, onlyKey, &e.record))
	})
	if err != nil {
		return errors.Join(cause, fmt.Errorf("forget report: %w", err))
	}
	return cause
}
