package storage

import (
	"encoding/binary"
	"time"

	"prlagent/agent/protocol"
)

// Bounds of the messages that wait to be sent. What is too much is not kept, and
// counted: those that were taken in are still sent in their order.
const (
	MaxOutgoing          = 10_000
	MaxOutgoingPerDevice = 100
	maxOutgoingBytes     = 16 << 10
)

// Outgoing is a message about a device that waits to be sent by the webhook.
type Outgoing struct {
	Number   uint64    `json:"number"` // in the order in which all were taken in
	DeviceID string    `json:"device_id"`
	ID       string    `json:"id"` // of what it tells, for good
	Type     string    `json:"type"`
	At       time.Time `json:"at"`   // when it was taken in
	Body     string    `json:"body"` // the very bytes that are sent each time
	// Room is how many messages of the device may wait with it; it is not kept where
	// there are as many already.
	Room int `json:"-"`
}

// What became of an Outgoing.
const (
	SentOutgoing    = "sent"
	ExpiredOutgoing = "expired" // it was tried for as long as anything is
	GoneOutgoing    = "gone"    // the receiver wants none any more; it waits all the same
	ClearedOutgoing = "cleared" // there is no webhook any more
)

// Settlement says what became of a message.
type Settlement struct {
	DeviceID string
	Number   uint64
	Outcome  string
	At       time.Time
}

// OutgoingState is how the messages do.
type OutgoingState struct {
	Queued   int       `json:"-"`
	OldestAt time.Time `json:"-"` // of those that wait; zero: none does
	Sent     int       `json:"sent,omitempty"`
	Full     int       `json:"full,omitempty"` // not taken in, because too many waited
	Expired  int       `json:"expired,omitempty"`
	Cleared  int       `json:"cleared,omitempty"`
	SentAt   time.Time `json:"sent_at,omitzero"` // the last one
	GoneAt   time.Time `json:"gone_at,omitzero"` // when the receiver said last that it wants none
}

// note counts what became of a message, and says whether it waits no longer.
func (s *OutgoingState) note(settled Settlement) (isOver bool) {
	switch settled.Outcome {
	case SentOutgoing:
		s.Sent++
		s.SentAt = settled.At
	case ExpiredOutgoing:
		s.Expired++
	case ClearedOutgoing:
		s.Cleared++
	case GoneOutgoing:
		s.GoneAt = settled.At
		return false
	}
	return true
}

// outgoingPrefix begins the keys of one device's messages. No id has a zero byte.
func outgoingPrefix(deviceID string) []byte { return append([]byte(deviceID), 0) }

func outgoingKey(deviceID string, number uint64) []byte {
	return binary.BigEndian.AppendUint64(outgoingPrefix(deviceID), number)
}

// behindDevice is the least key behind all messages of a device.
func behindDevice(deviceID string) []byte { return append([]byte(deviceID), 1) }

func encodeOutgoing(message Outgoing) ([]byte, error) { return encodeRecord(message, maxOutgoingBytes) }

func encodeOutgoingState(state OutgoingState) ([]byte, error) { return protocol.Encode(state) }
