package storage

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"go.etcd.io/bbolt"

	"prlagent/agent/protocol"
)

// commandKey is where the envelopes of a command are found. No id has a zero byte.
func commandKey(deviceID, commandID string) []byte {
	return append(append([]byte(deviceID), 0), commandID...)
}

// join adds the parts that more has.
func (e *CommandEnvelopes) join(more CommandEnvelopes) {
	if e.CommandID = more.CommandID; more.Command.Payload != "" {
		e.Command = more.Command
	}
	e.Holds, e.Receipt = cmp.Or(more.Holds, e.Holds), cmp.Or(more.Receipt, e.Receipt)
	for _, list := range more.Keys {
		if !slices.ContainsFunc(e.Keys, func(kept protocol.Envelope) bool { return kept.Payload == list.Payload }) {
			e.Keys = append(e.Keys, list)
		}
	}
}

// Commands are a device's commands and holds; an empty log if it never had one.
func (b *Bolt) Commands(ctx context.Context, deviceID string) (CommandLog, error) {
	var log CommandLog
	err := b.readTransaction(ctx, func(tx *bbolt.Tx) error { return loadOptional(tx, bucketCommands, []byte(deviceID), &log) })
	return log, err
}

// CommandEnvelopes are what was signed about a command; ErrNotFound if nothing is
// kept.
func (b *Bolt) CommandEnvelopes(ctx context.Context, deviceID, commandID string) (CommandEnvelopes, error) {
	var envelopes CommandEnvelopes
	err := b.readTransaction(ctx, func(tx *bbolt.Tx) error {
		return loadRecord(tx, bucketEnvelopes, commandKey(deviceID, commandID), &envelopes)
	})
	return envelopes, err
}

// CommandDevice is the id of the device that a command was issued for; ErrNotFound if
// there is no such command.
func (b *Bolt) CommandDevice(ctx context.Context, commandID string) (deviceID string, err error) {
	err = b.readTransaction(ctx, func(tx *bbolt.Tx) error { return loadRecord(tx, bucketCommandIDs, []byte(commandID), &deviceID) })
	return deviceID, err
}

// auditMark is the key of the AuditMark.
var auditMark = []byte("audit")

// AuditMark is the newest line of the audit log that was known when something was kept;
// zero if none ever was.
func (b *Bolt) AuditMark(ctx context.Context) (AuditMark, error) {
	var mark AuditMark
	err := b.readTransaction(ctx, func(tx *bbolt.Tx) error { return loadOptional(tx, bucketMarks, auditMark, &mark) })
	return mark, err
}

// AuditMark is as Bolt.AuditMark.
func (m *Memory) AuditMark(ctx context.Context) (AuditMark, error) {
	m.mutex.RLock()
	defer m.mutex.RUnlock()
	var mark AuditMark
	if m.audit == nil || ctx.Err() != nil {
		return mark, ctx.Err()
	}
	return mark, decodeRecord(m.audit, &mark)
}

// keepEnvelopes adds what was signed, and gives the ids of commands to their device:
// one that another device has is ErrCommandKnown.
func keepEnvelopes(tx *bbolt.Tx, change *Change) error {
	ids, kept := tx.Bucket(bucketCommandIDs), tx.Bucket(bucketEnvelopes)
	deviceID, err := encodeRecord(change.Device.ID, MaxDeviceBytes)
	if err != nil {
		return err
	}
	for _, more := range change.Envelopes {
		if holder := ids.Get([]byte(more.CommandID)); holder == nil {
			if err := ids.Put([]byte(more.CommandID), deviceID); err != nil {
				return err
			}
		} else if !bytes.Equal(holder, deviceID) {
			return ErrCommandKnown
		}
		key := commandKey(change.Device.ID, more.CommandID)
		var joined CommandEnvelopes
		if err := loadOptional(tx, bucketEnvelopes, key, &joined); err != nil {
			return err
		}
		joined.join(more)
		data, err := encodeRecord(joined, maxEnvelopeBytes)
		if err != nil {
			return err
		}
		if err := kept.Put(key, data); err != nil {
			return err
		}
	}
	for _, id := range change.DroppedCommands {
		if bytes.Equal(ids.Get([]byte(id)), deviceID) {
			if err := ids.Delete([]byte(id)); err != nil {
				return err
			}
		}
		if err := kept.Delete(commandKey(change.Device.ID, id)); err != nil {
			return err
		}
	}
	return nil
}

// Commands is as Bolt.Commands.
func (m *Memory) Commands(ctx context.Context, deviceID string) (CommandLog, error) {
	m.mutex.RLock()
	defer m.mutex.RUnlock()
	return readRecord[CommandLog](ctx, m.commands, deviceID)
}

// CommandEnvelopes is as Bolt.CommandEnvelopes.
func (m *Memory) CommandEnvelopes(ctx context.Context, deviceID, commandID string) (CommandEnvelopes, error) {
	m.mutex.RLock()
	defer m.mutex.RUnlock()
	key := string(commandKey(deviceID, commandID))
	if _, kept := m.envelopes[key]; !kept {
		return CommandEnvelopes{}, cmp.Or(ctx.Err(), ErrNotFound)
	}
	return readRecord[CommandEnvelopes](ctx, m.envelopes, key)
}

// CommandDevice is as Bolt.CommandDevice.
func (m *Memory) CommandDevice(ctx context.Context, commandID string) (string, error) {
	m.mutex.RLock()
	defer m.mutex.RUnlock()
	deviceID, known := m.commandIDs[commandID]
	if !known {
		return "", cmp.Or(ctx.Err(), ErrNotFound)
	}
	return deviceID, ctx.Err()
}

func (m *Memory) keepEnvelopes(ctx context.Context, change *Change) error {
	encoded := make(map[string][]byte)
	for _, more := range change.Envelopes {
		if holder, taken := m.commandIDs[more.CommandID]; taken && holder != change.Device.ID {
			return ErrCommandKnown
		}
		key := string(commandKey(change.Device.ID, more.CommandID))
		joined, err := readRecord[CommandEnvelopes](ctx, m.envelopes, key)
		if err != nil {
			return err
		}
		joined.join(more)
		if encoded[key], err = encodeRecord(joined, maxEnvelopeBytes); err != nil {
			return err
		}
	}
	for key, data := range encoded {
		m.envelopes[key] = data
	}
	for _, more := range change.Envelopes {
		m.commandIDs[more.CommandID] = change.Device.ID
	}
	for _, id := range change.DroppedCommands {
		if m.commandIDs[id] == change.Device.ID {
			delete(m.commandIDs, id)
		}
		delete(m.envelopes, string(commandKey(change.Device.ID, id)))
	}
	return nil
}

// Payload is what was signed, as bytes; nil where it is not kept.
func (e CommandEnvelopes) Payload() []byte {
	payload, err := e.Command.Unverified()
	if err != nil || e.Command.PayloadType != protocol.PayloadCommand {
		return nil
	}
	return payload
}
