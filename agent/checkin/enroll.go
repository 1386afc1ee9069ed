package checkin

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform/text"
)

// ensureEnrolled gets a token where there is none for this portal, or where the
// portal has not been told the managed Group or a serial number that the Mac has
// gained. A token that is there stays in use while the portal makes up its mind.
func (e *exchange) ensureEnrolled() error {
	who := e.client.currentIdentity()
	enrolled := who.Enrolled(originOf(e.client.options.ServerURL))
	gained := who.gainedSerial(&e.client.options.Host)
	if enrolled && who.GroupHint == e.client.options.Group && gained == "" {
		return nil
	}
	err := e.enroll()
	if err != nil && enrolled {
		e.client.options.Log.Warn().Str("detail", e.client.explainError(err)).Msg("the portal was not told the group or the serial number")
		return nil
	}
	return err
}

// enroll asks for a token with a proof of the device key (H01). Where the portal
// has a newer proof, as of a request whose answer was lost, one more is made that
// is newer still.
func (e *exchange) enroll() error {
	now := e.client.options.Now()
	err := e.askForToken(now)
	var problem protocol.Problem
	if !errors.As(err, &problem) || problem.Name() != protocol.ProblemEnrollmentReplay {
		return err
	}
	newer := now
	if asked := time.UnixMilli(int64(min(problem.Expected, math.MaxInt64))); asked.After(now) {
		if asked.Sub(now) > protocol.EnrollmentLife {
			return err // no portal of ours has one of then
		}
		newer = asked
	}
	return e.askForToken(newer)
}

// askForToken sends one proof, of the time given or later.
func (e *exchange) askForToken(at time.Time) error {
	next := *e.client.currentIdentity()
	who := &next
	who.serial = cmp.Or(who.serial, who.gainedSerial(&e.client.options.Host)) // kept once the portal has it
	who.lastRequest = protocol.NewRequestID(at, who.lastRequest)
	e.client.noteRequest(who.lastRequest)
	body, err := e.enrollmentRequest(who)
	if err != nil {
		return err
	}
	got, err := e.client.sendRequest(e.ctx, &portalRequest{
		method: http.MethodPost, url: e.client.options.ServerURL.JoinPath("v1", "enroll"), body: body, limit: protocol.MaxReply,
	})
	if err != nil {
		return err
	}
	if got.status < 200 || got.status > 299 {
		return e.client.refusalError(got)
	}
	reply, err := parseEnrollReply(got)
	if err != nil {
		return replyError(err)
	}
	if reply.State == protocol.EnrollPending {
		return e.awaitApproval(who, reply)
	}
	who.DeviceID, who.token = reply.DeviceID, reply.Token
	who.Origin, who.GroupHint = originOf(e.client.options.ServerURL), e.client.options.Group
	if err := e.client.adoptIdentity(who); err != nil {
		return withCode(protocol.CodeIdentityUnreadable, err)
	}
	e.outcome.EnrolledNow = true
	return nil
}

// enrollmentRequest is the signed request.
func (e *exchange) enrollmentRequest(who *Identity) ([]byte, error) {
	payload, err := json.Marshal(&protocol.EnrollRequest{
		RequestID: who.lastRequest.String(), Secret: e.client.options.Secret,
		Origin: originOf(e.client.options.ServerURL), SiteID: e.client.options.SiteID,
		Serial: who.serial, HardwareUUID: who.hardwareUUID, DeviceKey: publicKey(who.key),
		AgentVersion: e.client.options.Version, Epoch: e.client.options.Store.Epoch(),
		GroupHint: e.client.options.Group, SentAt: e.client.options.Now().UTC().Truncate(time.Second),
	})
	if err != nil {
		return nil, fmt.Errorf("encode enrollment: %w", err)
	}
	return protocol.Sign(protocol.PayloadEnroll, payload, who.key).JSON()
}

// awaitApproval keeps what we have: a token of before stays alive (H01).
func (e *exchange) awaitApproval(who *Identity, reply *protocol.EnrollReply) error {
	if who.token == "" && who.DeviceID != reply.DeviceID {
		who.DeviceID = reply.DeviceID
		if err := e.client.adoptIdentity(who); err != nil {
			return withCode(protocol.CodeIdentityUnreadable, err)
		}
	}
	failure := &exchangeError{Code: protocol.CodeEnrollmentPending, Err: errors.New("the portal waits for an administrator's approval")}
	if reply.RetryAfter > 0 {
		failure.RetryAfter = addJitter(time.Duration(reply.RetryAfter) * time.Second)
	}
	return failure
}

func parseEnrollReply(got *portalAnswer) (*protocol.EnrollReply, error) {
	var reply protocol.EnrollReply
	if err := decodeJSON(got, &reply); err != nil {
		return nil, err
	}
	if err := protocol.Bound(&reply); err != nil {
		return nil, err
	}
	approved := reply.State == protocol.EnrollApproved && plainText(reply.Token)
	pending := reply.State == protocol.EnrollPending && reply.Token == ""
	if !approved && !pending || !protocol.ValidName(reply.DeviceID) || text.NewRedactor(reply.Token).IsIn(reply.DeviceID) {
		return nil, errors.New("the answer to an enrollment is incomplete")
	}
	return &reply, nil
}
