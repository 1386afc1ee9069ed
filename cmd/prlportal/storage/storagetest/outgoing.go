package storagetest

import (
	"fmt"
	"testing"
	"time"

	"prlagent/cmd/prlportal/storage"
)

func messageOf(device, id string, at time.Time) storage.Outgoing {
	return storage.Outgoing{DeviceID: device, ID: id, Type: "vm.unprovisioned", At: at, Body: `{"id":"` + id + `"}`, Room: storage.MaxOutgoingPerDevice}
}

// nextIDs are the first messages of all devices, in the order in which a sender goes
// around.
func nextIDs(t *testing.T, store Store) (ids []string) {
	t.Helper()
	for after := ""; ; {
		message, err := store.NextOutgoing(t.Context(), after)
		if err != nil {
			wantError(t, err, storage.ErrNotFound)
			return ids
		}
		ids, after = append(ids, message.ID), message.DeviceID
	}
}

func testOutgoing(t *testing.T, store Store) {
	later := enrolledAt.Add(time.Minute)
	// "a" and "ab" begin alike, and are two devices.
	mustSave(t, store, storage.Change{Device: newDevice("ab"), Outgoing: []storage.Outgoing{messageOf("ab", "m1", later)}})
	mustSave(t, store, storage.Change{Device: newDevice("a"), Outgoing: []storage.Outgoing{messageOf("a", "m2", enrolledAt), messageOf("a", "m3", later)}})
	wantEqual(t, nextIDs(t, store), []string{"m2", "m1"})
	state, err := store.OutgoingState(t.Context())
	wantError(t, err, nil)
	wantEqual(t, state, storage.OutgoingState{Queued: 3, OldestAt: enrolledAt})

	settle := func(device, outcome string, number uint64) {
		t.Helper()
		wantError(t, store.Settle(t.Context(), storage.Settlement{DeviceID: device, Number: number, Outcome: outcome, At: later}), nil)
	}
	first, err := store.NextOutgoing(t.Context(), "")
	wantError(t, err, nil)
	settle("a", storage.GoneOutgoing, first.Number)
	wantEqual(t, nextIDs(t, store), []string{"m2", "m1"})
	settle("a", storage.SentOutgoing, first.Number)
	settle("a", storage.SentOutgoing, first.Number) // again, as after a kill: counted once
	wantEqual(t, nextIDs(t, store), []string{"m3", "m1"})
	settle("ab", storage.ExpiredOutgoing, 1)
	state, err = store.OutgoingState(t.Context())
	wantError(t, err, nil)
	wantEqual(t, state, storage.OutgoingState{Queued: 1, OldestAt: later, Sent: 1, Expired: 1, SentAt: later, GoneAt: later})

	// A change that is refused takes nothing in.
	wantError(t, store.Save(t.Context(), storage.Change{Device: newDevice("a"), Outgoing: []storage.Outgoing{messageOf("a", "m4", later)}}), storage.ErrConflict)
	wantEqual(t, nextIDs(t, store), []string{"m3"})
}

func testOutgoingBounds(t *testing.T, store Store) {
	many := func(device string, count, room int) (messages []storage.Outgoing) {
		for i := range count {
			message := messageOf(device, fmt.Sprint(i), enrolledAt)
			message.Room = room
			messages = append(messages, message)
		}
		return messages
	}
	// What there are many of leaves room for others, and the first ones stay.
	mustSave(t, store, storage.Change{Device: newDevice("a"), Outgoing: append(many("a", 60, 50), many("a", 60, 1000)...)})
	state, err := store.OutgoingState(t.Context())
	wantError(t, err, nil)
	wantEqual(t, [2]int{state.Queued, state.Full}, [2]int{storage.MaxOutgoingPerDevice, 20})
	wantEqual(t, nextIDs(t, store), []string{"0"})

	for i := range storage.MaxOutgoing/storage.MaxOutgoingPerDevice - 1 {
		id := fmt.Sprintf("b%d", i)
		mustSave(t, store, storage.Change{Device: newDevice(id), Outgoing: many(id, storage.MaxOutgoingPerDevice, 1000)})
	}
	mustSave(t, store, storage.Change{Device: newDevice("c"), Outgoing: many("c", 1, 1000)})
	state, err = store.OutgoingState(t.Context())
	wantError(t, err, nil)
	wantEqual(t, [2]int{state.Queued, state.Full}, [2]int{storage.MaxOutgoing, 21})
}
