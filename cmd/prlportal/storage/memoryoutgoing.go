package storage

import (
	"cmp"
	"context"
	"slices"
)

// NextOutgoing is as Bolt.NextOutgoing.
func (m *Memory) NextOutgoing(ctx context.Context, after string) (next Outgoing, err error) {
	m.mutex.RLock()
	defer m.mutex.RUnlock()
	for _, message := range m.outgoing {
		if message.DeviceID > after && (next.DeviceID == "" || message.DeviceID < next.DeviceID) {
			next = message
		}
	}
	if next.DeviceID == "" {
		return next, cmp.Or(ctx.Err(), ErrNotFound)
	}
	return next, ctx.Err()
}

// Settle is as Bolt.Settle.
func (m *Memory) Settle(ctx context.Context, settled Settlement) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	at := slices.IndexFunc(m.outgoing, func(message Outgoing) bool {
		return message.DeviceID == settled.DeviceID && message.Number == settled.Number
	})
	if err := ctx.Err(); err != nil || at < 0 {
		return err
	}
	if m.outgoingState.note(settled) {
		m.outgoing = slices.Delete(m.outgoing, at, at+1)
	}
	return nil
}

// OutgoingState is as Bolt.OutgoingState.
func (m *Memory) OutgoingState(ctx context.Context) (OutgoingState, error) {
	m.mutex.RLock()
	defer m.mutex.RUnlock()
	state := m.outgoingState
	state.Queued = len(m.outgoing)
	for _, message := range m.outgoing {
		state.OldestAt = earlier(state.OldestAt, message.At)
	}
	return state, ctx.Err()
}

func (m *Memory) addOutgoing(messages []Outgoing) {
	for _, message := range messages {
		waiting := 0
		for _, one := range m.outgoing {
			if one.DeviceID == message.DeviceID {
				waiting++
			}
		}
		if len(m.outgoing) >= MaxOutgoing || waiting >= min(message.Room, MaxOutgoingPerDevice) {
			m.outgoingState.Full++
			continue
		}
		m.lastOutgoing++
		message.Number, message.Room = m.lastOutgoing, 0
		m.outgoing = append(m.outgoing, message)
	}
}
