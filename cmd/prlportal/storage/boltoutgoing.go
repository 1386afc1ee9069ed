package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
)

var (
	bucketOutgoing      = []byte("outgoing")       // outgoingKey -> Outgoing
	bucketOutgoingState = []byte("outgoing_state") // outgoingCounts -> OutgoingState, outgoingTotal -> number
	outgoingCounts      = []byte("counts")
	outgoingTotal       = []byte("total")
)

// NextOutgoing is the oldest message of the first device behind the one that is
// named, in the order of their ids; ErrNotFound if there is none.
func (b *Bolt) NextOutgoing(ctx context.Context, after string) (message Outgoing, err error) {
	err = b.readTransaction(ctx, func(tx *bbolt.Tx) error {
		from := []byte{}
		if after != "" {
			from = behindDevice(after)
		}
		_, data := tx.Bucket(bucketOutgoing).Cursor().Seek(from)
		if data == nil {
			return ErrNotFound
		}
		return decodeRecord(data, &message)
	})
	return message, err
}

// Settle takes out a message that waits no longer, and counts what became of it. Of
// one that was taken out before nothing is counted.
func (b *Bolt) Settle(ctx context.Context, settled Settlement) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return b.db.Update(func(tx *bbolt.Tx) error {
		key := outgoingKey(settled.DeviceID, settled.Number)
		if tx.Bucket(bucketOutgoing).Get(key) == nil {
			return nil
		}
		state, total, err := readOutgoingState(tx)
		if err != nil {
			return err
		}
		if state.note(settled) {
			total--
			if err := tx.Bucket(bucketOutgoing).Delete(key); err != nil {
				return fmt.Errorf("take message out: %w", err)
			}
		}
		return writeOutgoingState(tx, state, total)
	})
}

// OutgoingState is how the messages do.
func (b *Bolt) OutgoingState(ctx context.Context) (state OutgoingState, err error) {
	err = b.readTransaction(ctx, func(tx *bbolt.Tx) error {
		var total uint64
		if state, total, err = readOutgoingState(tx); err != nil {
			return err
		}
		state.Queued = int(total)
		cursor := tx.Bucket(bucketOutgoing).Cursor()
		for key, data := cursor.First(); key != nil; { // the first one of each device is its oldest
			var message Outgoing
			if err := decodeRecord(data, &message); err != nil {
				return err
			}
			if state.OldestAt.IsZero() || message.At.Before(state.OldestAt) {
				state.OldestAt = message.At
			}
			key, data = cursor.Seek(behindDevice(message.DeviceID))
		}
		return nil
	})
	return state, err
}

// addOutgoing takes the messages in for which there is room.
func addOutgoing(tx *bbolt.Tx, messages []Outgoing) error {
	if len(messages) == 0 {
		return nil
	}
	bucket := tx.Bucket(bucketOutgoing)
	state, total, err := readOutgoingState(tx)
	if err != nil {
		return err
	}
	for _, message := range messages {
		if total >= MaxOutgoing || countOutgoing(bucket, message.DeviceID) >= min(message.Room, MaxOutgoingPerDevice) {
			state.Full++
			continue
		}
		if message.Number, err = bucket.NextSequence(); err != nil {
			return fmt.Errorf("number message: %w", err)
		}
		data, err := encodeOutgoing(message)
		if errors.Is(err, ErrTooLarge) { // no message of ours is
			state.Full++
			continue
		}
		if err != nil {
			return err
		}
		if err := bucket.Put(outgoingKey(message.DeviceID, message.Number), data); err != nil {
			return fmt.Errorf("keep message: %w", err)
		}
		total++
	}
	return writeOutgoingState(tx, state, total)
}

// countOutgoing is how many messages of a device wait.
func countOutgoing(bucket *bbolt.Bucket, deviceID string) (count int) {
	cursor, prefix := bucket.Cursor(), outgoingPrefix(deviceID)
	for key, _ := cursor.Seek(prefix); bytes.HasPrefix(key, prefix); key, _ = cursor.Next() {
		count++
	}
	return count
}

// readOutgoingState also gives how many messages wait.
func readOutgoingState(tx *bbolt.Tx) (state OutgoingState, total uint64, err error) {
	if err := loadOptional(tx, bucketOutgoingState, outgoingCounts, &state); err != nil {
		return state, 0, err
	}
	err = loadOptional(tx, bucketOutgoingState, outgoingTotal, &total)
	return state, total, err
}

func writeOutgoingState(tx *bbolt.Tx, state OutgoingState, total uint64) error {
	data, err := encodeOutgoingState(state)
	if err != nil {
		return err
	}
	bucket := tx.Bucket(bucketOutgoingState)
	if err := bucket.Put(outgoingCounts, data); err != nil {
		return fmt.Errorf("count messages: %w", err)
	}
	if err := bucket.Put(outgoingTotal, fmt.Appendf(nil, "%d", total)); err != nil {
		return fmt.Errorf("count messages: %w", err)
	}
	return nil
}
