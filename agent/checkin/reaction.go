package checkin

import (
	"errors"
	"fmt"

	"prlagent/agent/outbox"
	"prlagent/agent/protocol"
	"prlagent/store"
)

// reaction answers one of our problems: it returns the report to send now, or
// the error that ends the pass. cause is the problem as the error it came as.
type reaction func(p *pass, pending pendingRecord, problem protocol.Problem, cause error) (pendingRecord, error)

// reactions is the table of protocol.md 2.12, for what the agent can do
// something about at once.
var reactions = map[string]reaction{
	protocol.ProblemUnauthenticated:  reenroll,
	protocol.ProblemDeviceUnknown:    reenroll,
	protocol.ProblemSequenceConflict: renumber,
	protocol.ProblemTooLarge:         slim,
	protocol.ProblemInvalidRequest:   slim,
	protocol.ProblemEncoding:         unpacked,
}

// unrepeatable are problems with the report itself: the same bytes are never
// sent again.
var unrepeatable = map[string]bool{
	protocol.ProblemTooLarge:          true,
	protocol.ProblemInvalidRequest:    true,
	protocol.ProblemUnsupported:       true,
	protocol.ProblemEncoding:          true,
	protocol.ProblemSequenceConflict:  true,
	protocol.ProblemDuplicateIdentity: true,
}

// conditions are codes that describe the enrollment until the next success; an
// outage does not change them.
var conditions = map[protocol.Code]patienceWord{
	protocol.CodeEnrollmentPending: usual,
	protocol.CodeEnrollmentRefused: usual,
	protocol.CodeEnrollmentClosed:  probed,
	protocol.CodeDeviceRevoked:     probed,
	protocol.CodeDeviceRetired:     probed,
	protocol.CodeDuplicateIdentity: probed,
	protocol.CodeIdentityReset:     usual,
}

// patienceWord says how soon another attempt makes sense.
type patienceWord string

const (
	usual  patienceWord = "usual"  // as after any failure
	probed patienceWord = "probed" // once an hour (H04)
)

func conditionOf(code, before protocol.Code) protocol.Code {
	if _, is := conditions[code]; is {
		return code
	}
	return before
}

// reenroll proves the device key and sends the same bytes under the new token.
func reenroll(p *pass, pending pendingRecord, _ protocol.Problem, _ error) (pendingRecord, error) {
	return pending, p.enroll()
}

// renumber goes on with the number that the portal expects, and with everything.
func renumber(p *pass, pending pendingRecord, problem protocol.Problem, _ error) (pendingRecord, error) {
	p.record.Sequence = pending.Sequence
	if problem.Expected > 0 {
		p.record.Sequence = problem.Expected - 1
	}
	p.base = protocol.Baseline{}
	return p.replace(pending, protocol.MaxEvents)
}

// replace makes another report of one that the portal refused, with its
// triggers. If that fails the refused one stays, and has them.
func (p *pass) replace(refused pendingRecord, events int) (pendingRecord, error) {
	p.inherited = refused.Triggers
	return p.prepare(events)
}

// slim gives up the events, the only part of a report that it can do without.
func slim(p *pass, pending pendingRecord, problem protocol.Problem, cause error) (pendingRecord, error) {
	if pending.Events == 0 {
		return pendingRecord{}, p.giveUp(pending, problem, cause)
	}
	p.client.options.Log.Warn().Int("events", pending.Events).Msg("the portal refused the report; its events are given up")
	p.givenUp = pending.LastEvent
	return p.replace(pending, 0)
}

// unpacked sends the same report without compression, now and from now on.
func unpacked(p *pass, pending pendingRecord, problem protocol.Problem, cause error) (pendingRecord, error) {
	if p.client.plain {
		return pendingRecord{}, p.giveUp(pending, problem, cause)
	}
	p.client.plain = true
	return pending, nil
}

// giveUp ends the pass. A report that the portal refuses as such is forgotten,
// its triggers are not; where the portal expects another number, the next report
// has it, and everything.
func (p *pass) giveUp(pending pendingRecord, problem protocol.Problem, cause error) error {
	if !unrepeatable[problem.Name()] {
		return cause
	}
	err := p.client.options.Outbox.Update(func(tx *store.Tx, change *outbox.Change) error {
		change.Return(pending.Triggers)
		forget := pendings.Delete(tx, onlyKey)
		if problem.Expected == 0 {
			return forget
		}
		p.record.Sequence = problem.Expected - 1
		return errors.Join(forget, baselines.Delete(tx, onlyKey), exchanges.Put(tx, onlyKey, p.record))
	})
	if err != nil {
		return errors.Join(cause, fmt.Errorf("forget report: %w", err))
	}
	return cause
}
