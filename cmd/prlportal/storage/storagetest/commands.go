package storagetest

import (
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// commandOf is a delete of one machine that is issued now.
func commandOf(id, vm string) storage.Command {
	return storage.Command{
		ID: id, Type: "vm.delete", Target: protocol.CommandTarget{DeviceID: "a", MacSerial: "C02a", Epoch: "e", UID: 501, VMID: vm, VMName: "Windows"},
		IssuedAt: enrolledAt, ExpiresAt: enrolledAt.Add(30 * 24 * time.Hour), IssuedBy: "alice",
		Signers: []storage.Signer{{KeyID: "k1", Person: "alice", At: enrolledAt}},
	}
}

func envelopeOf(text string) protocol.Envelope {
	return protocol.Envelope{PayloadType: protocol.PayloadCommand, Payload: text, Signatures: []protocol.Signature{{KeyID: "k1", Sig: "s"}}}
}

// What was signed about a command comes back byte for byte, in parts that were added one
// after the other; the id finds the device, and is nobody else's.
func testCommands(t *testing.T, store Store) {
	log, err := store.Commands(t.Context(), "a")
	wantError(t, err, nil)
	wantEqual(t, log, storage.CommandLog{})
	_, err = store.CommandDevice(t.Context(), "c1")
	wantError(t, err, storage.ErrNotFound)

	wantError(t, log.Add(commandOf("c1", "vm"), 1, storage.By{At: enrolledAt}), nil)
	change := storage.Change{Device: newDevice("a"), Envelopes: []storage.CommandEnvelopes{{CommandID: "c1", Command: envelopeOf("one")}}, Audit: &storage.AuditMark{Number: 3, Hash: "h"}}
	wantError(t, change.KeepCommands(log, enrolledAt), nil)
	mustSave(t, store, change)
	receipt := envelopeOf("receipt")
	mustSave(t, store, storage.Change{Device: mustLoad(t, store, storage.ByID("a")), Envelopes: []storage.CommandEnvelopes{{CommandID: "c1", Receipt: &receipt}}})

	read, err := store.Commands(t.Context(), "a")
	wantError(t, err, nil)
	wantEqual(t, read, log)
	kept, err := store.CommandEnvelopes(t.Context(), "a", "c1")
	wantError(t, err, nil)
	wantEqual(t, kept, storage.CommandEnvelopes{CommandID: "c1", Command: envelopeOf("one"), Receipt: &receipt})
	holder, err := store.CommandDevice(t.Context(), "c1")
	wantError(t, err, nil)
	wantEqual(t, holder, "a")
	device := mustLoad(t, store, storage.ByID("a"))
	wantEqual(t, device.HasCommands, true)
	wantEqual(t, device.OpenCommands, 1)
	mark, err := store.AuditMark(t.Context())
	wantError(t, err, nil)
	wantEqual(t, mark, storage.AuditMark{Number: 3, Hash: "h"})

	mustSave(t, store, storage.Change{Device: newDevice("b")})
	other := storage.Change{Device: mustLoad(t, store, storage.ByID("b")), Envelopes: []storage.CommandEnvelopes{{CommandID: "c1", Command: envelopeOf("two")}}}
	wantError(t, store.Save(t.Context(), other), storage.ErrCommandKnown)
	_, err = store.CommandEnvelopes(t.Context(), "b", "c1")
	wantError(t, err, storage.ErrNotFound)
}

// A command that is forgotten takes its envelopes and its id along; one that is open, or
// whose list of holds is in force, is never forgotten.
func testForgottenCommands(t *testing.T, store Store) {
	log := storage.CommandLog{Holds: storage.HoldsMark{Version: 1, CommandID: "lock"}}
	for _, id := range []string{"old", "lock", "open"} {
		command := commandOf(id, "vm-"+id)
		command.State = protocol.CommandFailed
		if id == "open" {
			command.State = protocol.CommandDelivered
		}
		log.Commands = append(log.Commands, command)
	}
	change := storage.Change{Device: newDevice("a")}
	for _, id := range []string{"old", "lock", "open"} {
		change.Envelopes = append(change.Envelopes, storage.CommandEnvelopes{CommandID: id, Command: envelopeOf(id)})
	}
	wantError(t, change.KeepCommands(log, enrolledAt), nil)
	mustSave(t, store, change)

	later := storage.Change{Device: mustLoad(t, store, storage.ByID("a"))}
	wantError(t, later.KeepCommands(log, enrolledAt.Add(30*24*time.Hour+protocol.CommandsKeptFor)), nil)
	mustSave(t, store, later)
	for id, want := range map[string]error{"old": storage.ErrNotFound, "lock": nil, "open": nil} {
		_, err := store.CommandEnvelopes(t.Context(), "a", id)
		wantError(t, err, want)
		_, err = store.CommandDevice(t.Context(), id)
		wantError(t, err, want)
	}
}
