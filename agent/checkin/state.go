package checkin

import (
	"time"

	"prlagent/agent/protocol"
	"prlagent/store"
)

// Words for State.Enrollment.
const (
	EnrollmentNotConfigured = "not_configured"
	EnrollmentNone          = "not_enrolled"
	EnrollmentPending       = "pending"
	EnrollmentDone          = "enrolled"
	EnrollmentRefused       = "refused" // as by a wrong secret, a wrong clock, or a portal that takes no new devices
	EnrollmentRevoked       = "revoked"
	EnrollmentRetired       = "retired"
	EnrollmentDuplicate     = "duplicate"
	EnrollmentForeign       = "foreign" // the identity on disk belongs to another Mac
)

// State is what `prlagent status` shows of the exchange. It holds no secret.
type State struct {
	Enrollment  string         `json:"enrollment"` // one of the Enrollment words
	Server      string         `json:"server,omitempty"`
	DeviceID    string         `json:"device_id,omitempty"`
	KeyID       string         `json:"key_id,omitempty"` // of the device key, which an administrator compares (H55)
	Group       protocol.Group `json:"group"`
	LastAttempt time.Time      `json:"last_attempt,omitzero"` // since the agent started
	LastSuccess time.Time      `json:"last_success,omitzero"`
	LastCode    protocol.Code  `json:"last_code,omitempty"` // of the last attempt; empty = it went well
	LastError   string         `json:"last_error,omitempty"`
	RetryAt     time.Time      `json:"retry_at,omitzero"` // no attempt makes sense before
	Sequence    uint64         `json:"sequence,omitempty"`
	Unanswered  bool           `json:"unanswered,omitempty"` // a report waits for its acknowledgement
	NextCheckin time.Duration  `json:"-"`                    // what the portal asked for last, clamped
	HeadVersion uint64         `json:"head_version,omitempty"`
	TrustedTime time.Time      `json:"trusted_time,omitzero"` // the least that the time of day can be (H07)
}

// State gives a consistent picture, also while a Do runs. What the store cannot
// tell is left empty.
func (c *Client) State() *State {
	server := originOf(c.options.ServerURL)
	state := &State{Enrollment: EnrollmentNotConfigured}
	var record exchangeRecord
	_ = c.options.Store.View(func(tx *store.Tx) error {
		var err error
		if _, err = exchangeRecords.Get(tx, onlyKey, &record); err != nil {
			return err
		}
		var pending pendingRecord
		if state.Unanswered, err = pendingRecords.Get(tx, onlyKey, &pending); err != nil {
			return err
		}
		var policy policyRecord
		_, err = policyRecords.Get(tx, onlyKey, &policy)
		state.HeadVersion = policy.Head.HeadVersion
		return err
	})
	state.Group = c.groupOf(&record)
	state.TrustedTime = c.trustedTime()
	if c.options.ServerURL == nil {
		return state
	}
	state.Server = server
	if record.Origin == server {
		state.LastSuccess, state.Sequence = record.LastSuccess, record.Sequence
		state.NextCheckin = time.Duration(record.NextCheckin) * time.Second
	}
	c.stateMutex.Lock()
	defer c.stateMutex.Unlock()
	state.DeviceID, state.KeyID = c.identity.DeviceID, c.identity.keyID()
	state.LastAttempt, state.LastCode, state.LastError = c.status.lastAttempt, c.status.lastCode, c.status.lastError
	state.RetryAt = c.status.retryAt
	state.Enrollment = EnrollmentNone
	if c.identity.Enrolled(server) {
		state.Enrollment = EnrollmentDone
	}
	if condition := enrollmentCondition(c.status.condition); condition != nil {
		state.Enrollment = condition.word
	}
	return state
}

// groupOf is the device's group: the managed one, else the last one believed.
func (c *Client) groupOf(record *exchangeRecord) protocol.Group {
	managed := c.options.Group
	if managed == "" {
		if !protocol.ValidName(record.Group.ID) { // agents before the one grammar believed others (H63)
			return protocol.Group{}
		}
		return record.Group
	}
	group := protocol.Group{ID: managed, Source: protocol.GroupFromProfile}
	if record.Group.ID == managed {
		group.Name = record.Group.Name
	}
	return group
}

// adoptGroup takes the group that an unsigned answer names, unless a verified
// policy of another group is in force: then only a managed Group moves the Mac
// (H08).
func (e *exchange) adoptGroup(named protocol.Group) error {
	if named.ID == "" {
		return nil
	}
	if managed := e.client.options.Group; managed != "" {
		if named.ID == managed {
			e.record.Group = named
		}
		return nil
	}
	stored, found, err := e.client.storedPolicy()
	if err != nil {
		return err
	}
	if !found || stored.isReleased() || stored.Group == named.ID {
		e.record.Group, e.client.refusedGroup = named, ""
		return nil
	}
	e.record.Group.ID = stored.Group
	e.outcome.Code = protocol.CodeGroupChangeRefused
	e.outcome.Detail = "the portal named another group; this Mac stays in its own"
	if e.client.refusedGroup != named.ID {
		e.client.refusedGroup = named.ID
		e.addEvent(protocol.CodeGroupChangeRefused, map[string]string{"group": named.ID, "stays": stored.Group})
	}
	return nil
}

// addEvent adds an event of the exchange's own.
func (e *exchange) addEvent(code protocol.Code, data map[string]string) {
	e.outcome.Events = append(e.outcome.Events, protocol.Event{
		At: e.client.options.Now().UTC(), Type: string(code), Code: code, Data: data,
	})
}
