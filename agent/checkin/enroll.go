package checkin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"prlagent/agent/protocol"
)

// ensureEnrolled gets a token where there is none for this portal, or where the
// portal has not been told the managed Group yet. A token that is there stays in
// use while the portal makes up its mind.
func (p *pass) ensureEnrolled() error {
	who := p.client.identity()
	enrolled := who.Enrolled(origin(p.client.options.ServerURL))
	if enrolled && who.GroupHint == p.client.options.Group {
		return nil
	}
	err := p.enroll()
	if err != nil && enrolled {
		p.client.options.Log.Warn().Str("detail", p.client.explanation(err)).Msg("the portal was not told the group")
		return nil
	}
	return err
}

// enroll asks for a token with a proof of the device key (H01).
func (p *pass) enroll() error {
	who := p.client.identity()
	body, err := p.enrollment(who)
	if err != nil {
		return err
	}
	got, err := p.client.exchange(p.ctx, call{
		method: http.MethodPost, url: p.client.options.ServerURL.JoinPath("v1", "enroll"), body: body, limit: protocol.MaxReply,
	})
	if err != nil {
		return err
	}
	if got.status < 200 || got.status > 299 {
		return got.refusal(p.client.options.Now())
	}
	reply, err := parseEnrollReply(got)
	if err != nil {
		return replyError(err)
	}
	if reply.State == protocol.EnrollPending {
		return p.wait(who, reply)
	}
	who.DeviceID, who.token = reply.DeviceID, reply.Token
	who.Origin, who.GroupHint = origin(p.client.options.ServerURL), p.client.options.Group
	if err := p.client.become(who); err != nil {
		return &Error{Code: protocol.CodeNotEnrolled, Err: err}
	}
	p.outcome.EnrolledNow = true
	return nil
}

// enrollment is the signed request.
func (p *pass) enrollment(who Identity) ([]byte, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make request id: %w", err)
	}
	payload, err := json.Marshal(protocol.EnrollRequest{
		RequestID: id.String(), Secret: p.client.options.Secret,
		Serial: who.serial, HardwareUUID: who.hardwareUUID, DeviceKey: publicKey(who.key),
		AgentVersion: p.client.options.Version, Epoch: p.client.options.Store.Epoch(),
		GroupHint: p.client.options.Group, SentAt: p.client.options.Now().UTC().Truncate(time.Second),
	})
	if err != nil {
		return nil, fmt.Errorf("encode enrollment: %w", err)
	}
	return protocol.Sign(protocol.PayloadEnroll, payload, who.key).JSON()
}

// wait keeps what we have: a token of before stays alive (H01).
func (p *pass) wait(who Identity, reply protocol.EnrollReply) error {
	if who.token == "" && who.DeviceID != reply.DeviceID {
		who.DeviceID = reply.DeviceID
		if err := p.client.become(who); err != nil {
			return &Error{Code: protocol.CodeNotEnrolled, Err: err}
		}
	}
	failure := &Error{Code: protocol.CodeEnrollmentPending, Err: errors.New("the portal waits for an administrator's approval")}
	if reply.RetryAfter > 0 {
		asked := min(time.Duration(min(reply.RetryAfter, 1<<20))*time.Second, retryAfterHigh)
		failure.RetryAfter = above(asked)
	}
	return failure
}

func parseEnrollReply(got answer) (protocol.EnrollReply, error) {
	var reply protocol.EnrollReply
	if err := decodeJSON(got, &reply); err != nil {
		return protocol.EnrollReply{}, err
	}
	approved := reply.State == protocol.EnrollApproved && plainText(reply.Token)
	pending := reply.State == protocol.EnrollPending && reply.Token == ""
	if !approved && !pending || !plainText(reply.DeviceID) {
		return protocol.EnrollReply{}, errors.New("the answer to an enrollment is incomplete")
	}
	return reply, nil
}
