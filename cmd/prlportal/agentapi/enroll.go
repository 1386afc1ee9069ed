package agentapi

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/limit"
	"prlagent/cmd/prlportal/secret"
	"prlagent/cmd/prlportal/storage"
	"prlagent/platform/text"
)

// handleEnroll gives a Mac its identity (protocol.md 2.5, H01).
func (s *Server) handleEnroll(w http.ResponseWriter, r *http.Request) error {
	now := s.now().UTC()
	source := httpapi.SourceAddress(r)
	request, err := s.readEnrollment(r)
	if err != nil {
		return s.refuseUnproven(w, source, now, err)
	}
	id, err := checkAudience(s.config, request, now)
	if err != nil {
		return s.refuseUnproven(w, source, now, err)
	}
	defaultGroup, accepted := s.config.AcceptSecret(request.Secret)
	asked := enrollAttempt{
		request: request, id: id, source: source, now: now, invited: accepted,
		group: s.resolveGroup(request.GroupHint, defaultGroup),
		token: secret.New(),
	}
	if err := s.limitEnrollment(w, r, asked); err != nil {
		return err
	}
	reply, err := s.keepEnrollment(r.Context(), asked)
	if err != nil {
		s.log.Warn().Str("source", source).Bool("secret_accepted", accepted).Msg("enrollment refused")
		return err
	}
	s.log.Info().Str("device", reply.DeviceID).Str("source", source).Str("state", reply.State).Msg("enrollment")
	if reply.State == protocol.EnrollPending {
		return httpapi.WriteJSON(w, r, http.StatusAccepted, reply)
	}
	return httpapi.WriteJSON(w, r, http.StatusCreated, reply)
}

// readEnrollment reads a request that anybody can send, a few of them at a time.
func (s *Server) readEnrollment(r *http.Request) (request protocol.EnrollRequest, err error) {
	body, err := httpapi.ReadBody(r, httpapi.MaxSmallBody)
	if err != nil {
		return request, err
	}
	err = s.enrollTurns.Do(r.Context(), func() error {
		request, err = openEnrollment(body)
		return err
	})
	return request, err
}

// limitEnrollment draws on the buckets of the network and of the Mac, if the
// request proves a known key or the right secret. All others share a bucket of
// their own, so that they hold up no Mac behind the same address (H56).
func (s *Server) limitEnrollment(w http.ResponseWriter, r *http.Request, asked enrollAttempt) error {
	device, err := s.findClaimed(r.Context(), asked.request)
	if err != nil {
		return err
	}
	if !asked.invited && !asked.proves(device) {
		return s.refuseUnproven(w, asked.source, asked.now, protocol.NewProblem(protocol.ProblemEnrollmentRefused, ""))
	}
	if wait, allowed := s.sourceBuckets.Take(limit.Network(asked.source), asked.now); !allowed {
		return httpapi.RateLimited(w, wait, "")
	}
	if wait, allowed := s.serialBuckets.Take(asked.serialBucket(device), asked.now); !allowed {
		return httpapi.RateLimited(w, wait, "")
	}
	return nil
}

// refuseUnproven is the answer to what proves nothing: the reason, as long as its
// network has not sent too much of that.
func (s *Server) refuseUnproven(w http.ResponseWriter, source string, now time.Time, reason error) error {
	if wait, allowed := s.unprovenBuckets.Take(limit.Network(source), now); !allowed {
		return httpapi.RateLimited(w, wait, "")
	}
	s.log.Warn().Str("source", source).Str("detail", text.DisplayError(reason)).Msg("enrollment refused")
	return reason
}

// proves reports whether the request is signed by the key of the device, which
// is empty for a new Mac (H01).
func (e enrollAttempt) proves(device storage.Device) bool {
	return device.ID != "" && isSameMac(device, e.request) && device.Key.Equal(e.request.DeviceKey)
}

// serialBucket is what an enrollment counts against: the Mac with its key, or,
// where a key that nobody knows asks to be a known Mac, the serial number with all
// such keys from one network. Anybody on a Mac can read the secret, and must not
// use up the share of a Mac that proves its key or that waits for a person.
func (e enrollAttempt) serialBucket(device storage.Device) string {
	_, waits := storage.FindKey(device.Pending, protocol.KeyID(e.request.DeviceKey))
	if device.ID != "" && !waits && !e.proves(device) {
		return cmp.Or(device.Serial, device.HardwareUUID) + " " + limit.Network(e.source) // as kept: the request can spell them in many ways
	}
	return protocol.KeyID(e.request.DeviceKey) + " " + e.request.Serial
}

// findClaimed is the device that an enrollment is about: the Mac itself, or the
// living device with its serial number (H57). A Mac that had no serial number and
// has one now, as after a second repair, is the device with its hardware UUID,
// unless the number is another's. It is empty for a new Mac.
func (s *Server) findClaimed(ctx context.Context, request protocol.EnrollRequest) (storage.Device, error) {
	device, err := s.deviceOrNone(ctx, storage.ByMac(request.Serial, request.HardwareUUID))
	if err != nil || device.ID != "" || request.Serial == "" {
		return device, err
	}
	ids, err := s.store.LiveIDs(ctx, request.Serial, 1)
	if err != nil {
		return storage.Device{}, fmt.Errorf("find device: %w", err)
	}
	if len(ids) > 0 {
		return s.deviceOrNone(ctx, storage.ByID(ids[0]))
	}
	return s.deviceOrNone(ctx, storage.ByMac("", request.HardwareUUID))
}

func (s *Server) deviceOrNone(ctx context.Context, key storage.Key) (storage.Device, error) {
	device, err := s.store.Device(ctx, key)
	if errors.Is(err, storage.ErrNotFound) {
		return storage.Device{}, nil
	}
	if err != nil {
		return storage.Device{}, fmt.Errorf("find device: %w", err)
	}
	return device, nil
}

// isSameMac reports whether a request is of the Mac that the device is. Another
// hardware UUID is another Mac with its serial number.
func isSameMac(device storage.Device, request protocol.EnrollRequest) bool {
	return strings.EqualFold(device.HardwareUUID, request.HardwareUUID)
}

// openEnrollment gives the request inside an envelope that the request's own
// key signed: whoever sent it holds that key. The bytes that were verified
// are the bytes that are used.
func openEnrollment(body []byte) (protocol.EnrollRequest, error) {
	refused := func(detail string) (protocol.EnrollRequest, error) {
		return protocol.EnrollRequest{}, protocol.NewProblem(protocol.ProblemInvalidRequest, detail)
	}
	var envelope protocol.Envelope
	if err := httpapi.DecodeBody(body, &envelope); err != nil {
		return protocol.EnrollRequest{}, err
	}
	claimed, err := base64.StdEncoding.DecodeString(envelope.Payload)
	if err != nil {
		return refused("The envelope's payload is not base64.")
	}
	var unverified protocol.EnrollRequest
	if err := httpapi.DecodeBody(claimed, &unverified); err != nil {
		return protocol.EnrollRequest{}, err
	}
	if len(unverified.DeviceKey) != ed25519.PublicKeySize {
		return protocol.EnrollRequest{}, httpapi.InvalidField("device_key", "The device key is not an Ed25519 key.")
	}
	trusted := []protocol.TrustedKey{{ID: protocol.KeyID(unverified.DeviceKey), Key: unverified.DeviceKey}}
	payload, err := envelope.Verify(protocol.PayloadEnroll, trusted, 1)
	if err != nil {
		return refused("The envelope is not signed by the device key in it.")
	}
	var request protocol.EnrollRequest
	if err := httpapi.DecodeBody(payload, &request); err != nil {
		return protocol.EnrollRequest{}, err
	}
	request.GroupHint = text.TypedWord(request.GroupHint) // somebody typed it into a profile
	return request, checkEnrollment(request)
}

func checkEnrollment(request protocol.EnrollRequest) error {
	for _, field := range []struct {
		name, value string
		optional    bool
	}{
		{"serial", request.Serial, true}, // some Macs have none
		{"hardware_uuid", request.HardwareUUID, false},
		{"request_id", request.RequestID, false},
		{"epoch", request.Epoch, true},
		{"agent_version", request.AgentVersion, true},
		{"secret", request.Secret, true},
	} {
		if field.value == "" && !field.optional || len(field.value) > protocol.MaxName {
			return httpapi.InvalidField(field.name, "The field is missing or too long.")
		}
	}
	if request.GroupHint != "" && !protocol.ValidName(request.GroupHint) {
		return httpapi.InvalidField("group_hint", "That is not a group id: 1 to 64 of a-z 0-9 . _ - that do not begin with a dot.")
	}
	return nil
}

// resolveGroup finds the one group of a Mac: the first of the Mac's own
// configuration, the secret it enrolled with, and the site (H08).
func (s *Server) resolveGroup(hint, secretDefault string) protocol.Group {
	switch {
	case hint != "":
		return s.config.Group(hint, protocol.GroupFromProfile)
	case secretDefault != "":
		return s.config.Group(secretDefault, protocol.GroupFromSecret)
	}
	return s.config.Group(s.config.PrimaryGroup, protocol.GroupFromPrimary)
}

// enrollAttempt is a verified request and what the portal would give for it.
type enrollAttempt struct {
	request protocol.EnrollRequest
	id      protocol.RequestID
	invited bool // with a secret that is accepted
	source  string
	group   protocol.Group
	token   string
	now     time.Time
}

func (s *Server) keepEnrollment(ctx context.Context, asked enrollAttempt) (protocol.EnrollReply, error) {
	lock := s.serialLocks.of(asked.request.Serial)
	lock.Lock()
	defer lock.Unlock()
	for range storage.SaveAttempts {
		device, err := s.findClaimed(ctx, asked.request)
		if err != nil {
			return protocol.EnrollReply{}, err
		}
		reply, err := asked.decide(&device)
		if err != nil {
			return protocol.EnrollReply{}, err
		}
		change := storage.Change{Device: device}
		if reply.Token != "" {
			if err := s.withholdCommands(ctx, &change, asked.now); err != nil {
				return protocol.EnrollReply{}, err
			}
		}
		if err := s.webhook.TellCommands(ctx, &change); err != nil {
			return protocol.EnrollReply{}, err
		}
		err = s.store.Save(ctx, change)
		if err == nil {
			return reply, nil
		}
		if !errors.Is(err, storage.ErrConflict) {
			return protocol.EnrollReply{}, fmt.Errorf("save device: %w", err)
		}
	}
	return protocol.EnrollReply{}, protocol.NewProblem(protocol.ProblemUnavailable, "The device is busy.")
}

// decide changes the device, which is empty for a new Mac, and answers.
//
// The secret lets a Mac ask; a device that proves its key needs none (H01), so
// that a rotated secret locks no device out. It then stays in its group.
func (e enrollAttempt) decide(device *storage.Device) (protocol.EnrollReply, error) {
	if !e.invited && !e.proves(*device) {
		return protocol.EnrollReply{}, protocol.NewProblem(protocol.ProblemEnrollmentRefused, "")
	}
	if !e.invited && e.request.GroupHint == "" {
		e.group = device.Group
	}
	if device.ID == "" {
		if err := e.newDevice(device); err != nil {
			return protocol.EnrollReply{}, err
		}
	}
	reply := protocol.EnrollReply{DeviceID: device.ID, ServerTime: e.now}
	if !e.proves(*device) {
		reply.State, reply.RetryAfter = protocol.EnrollPending, pendingRetrySecs
		return reply, e.addPending(device)
	}
	if err := e.checkServed(*device); err != nil {
		return protocol.EnrollReply{}, err
	}
	e.giveToken(device)
	reply.State, reply.Token, reply.Group = protocol.EnrollApproved, e.token, device.Group
	return reply, nil
}

// checkServed refuses a proof by a device that a person ended or has to decide on
// (H55), and one that came before (H54).
func (e enrollAttempt) checkServed(device storage.Device) error {
	switch {
	case device.IsRetired():
		return protocol.NewProblem(protocol.ProblemDeviceRetired, "")
	case device.Duplicate != nil:
		return protocol.NewProblem(protocol.ProblemDuplicateIdentity, "")
	}
	return checkNewer(e.id, device.LastEnrollment)
}

func (e enrollAttempt) giveToken(device *storage.Device) {
	serial := cmp.Or(device.Serial, e.request.Serial) // gained, with the key proven
	if device.Group != e.group || device.AgentVersion != e.request.AgentVersion || device.Serial != serial {
		device.ChangedAt = e.now
	}
	device.Serial = serial
	device.Group, device.AgentVersion, device.LastEnrollment = e.group, e.request.AgentVersion, e.id.String()
	device.Tokens = append(device.Tokens, storage.Token{SHA256: secret.Hash(e.token), IssuedAt: e.now})
	if excess := len(device.Tokens) - storage.MaxTokens; excess > 0 {
		// The first one may be the only one in use; the agent never received
		// the ones after it.
		device.Tokens = slices.Delete(device.Tokens, 1, 1+excess)
	}
}

func (e enrollAttempt) newDevice(device *storage.Device) error {
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("make device id: %w", err)
	}
	*device = storage.Device{
		ID: id.String(), Serial: e.request.Serial, HardwareUUID: e.request.HardwareUUID,
		Key: e.request.DeviceKey, EnrolledAt: e.now, ChangedAt: e.now,
	}
	return nil
}
