package checkin

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"prlagent/agent/protocol"
)

// ensureEnrolled gets a token where there is none for this portal, or where the
// portal has not been told the managed Group or a serial number that the Mac has
// gained. A token that is there stays in use while the portal makes up its mind.
func (e *exchange) ensureEnrolled() error {
	who := e.client.currentIdentity()
	enrolled := who.Enrolled(originOf(e.client.options.ServerURL))
	gained := who.gainedSerial(e.client.options.Host)
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

// enroll asks for a token with a proof of the device key (H01).
func (e *exchange) enroll() error {
	who := e.client.currentIdentity()
	who.serial = cmp.Or(who.serial, who.gainedSerial(e.client.options.Host)) // kept once the portal has it
	body, err := e.enrollmentRequest(who)
	if err != nil {
		return err
	}
	got, err := e.client.sendRequest(e.ctx, portalRequest{
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
		return &exchangeError{Code: protocol.CodeIdentityUnreadable, Err: err}
	}
	e.outcome.EnrolledNow = true
	return nil
}

// enrollmentRequest is the signed request.
func (e *exchange) enrollmentRequest(who Identity) ([]byte, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make request id: %w", err)
	}
	payload, err := json.Marshal(protocol.EnrollRequest{
		RequestID: id.String(), Secret: e.client.options.Secret,
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
func (e *exchange) awaitApproval(who Identity, reply protocol.EnrollReply) error {
	if who.token == "" && who.DeviceID != reply.DeviceID {
		who.DeviceID = reply.DeviceID
		if err := e.client.adoptIdentity(who); err != nil {
			return &exchangeError{Code: protocol.CodeIdentityUnreadable, Err: err}
		}
	}
	failure := &exchangeError{Code: protocol.CodeEnrollmentPending, Err: errors.New("the portal waits for an administrator's approval")}
	if reply.RetryAfter > 0 {
		failure.RetryAfter = addJitter(time.Duration(reply.RetryAfter) * time.Second)
	}
	return failure
}

func parseEnrollReply(got portalAnswer) (protocol.EnrollReply, error) {
	var reply protocol.EnrollReply
	if err := decodeJSON(got, &reply); err != nil {
		return protocol.EnrollReply{}, err
	}
	if err := protocol.Bound(&reply); err != nil {
		return protocol.EnrollReply{}, err
	}
	approved := reply.State == protocol.EnrollApproved && plainText(reply.Token)
	pending := reply.State == protocol.EnrollPending && reply.Token == ""
	if !approved && !pending || !protocol.ValidName(reply.DeviceID) || newRedactor(reply.Token).isIn(reply.DeviceID) {
		return protocol.EnrollReply{}, errors.New("the answer to an enrollment is incomplete")
	}
	return reply, nil
}
