package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/storage"
)

// H30: the database was put back to before a command was issued and another one was
// cancelled; the audit log was not. The command is listed and not sent, the cancel holds,
// and nothing destructive goes to the Mac; what is replayed once is not replayed again.
func TestH30_TheAuditLogIsReplayed(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	id := func() string { return protocol.NewRequestID(now, protocol.RequestID{}).String() }
	kept, issued := id(), id()
	store := storage.NewMemory()
	var commands storage.CommandLog
	target := protocol.CommandTarget{DeviceID: "a", UID: 501, VMID: "vm", Epoch: "e"}
	if err := commands.Add(storage.Command{ID: kept, Type: "vm.delete", Target: target, IssuedAt: now, ExpiresAt: now.Add(time.Hour), Signers: []storage.Signer{{}}}, 1, storage.By{At: now}); err != nil {
		t.Fatal(err)
	}
	change := storage.Change{Device: storage.Device{ID: "a", Serial: "C02", HardwareUUID: "u"}}
	if err := change.KeepCommands(commands, now); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "audit.log")
	log, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	record := func(entry audit.Entry) {
		t.Helper()
		entry.Outcome, entry.DeviceID = audit.OutcomeDecided, "a"
		if err := log.Append(entry); err != nil {
			t.Fatal(err)
		}
	}
	record(audit.Entry{Action: audit.ActionCommand, Command: &audit.Command{ID: kept, Type: "vm.delete"}})
	mark := log.Mark()
	change.Audit = &storage.AuditMark{Number: mark.Number, Hash: mark.Hash}
	if err := store.Save(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	record(audit.Entry{Action: audit.ActionCancelCommand, Admin: "op", Command: &audit.Command{ID: kept}})
	record(audit.Entry{Action: audit.ActionCommand, Command: &audit.Command{ID: issued, Type: "vm.delete", IssuedAt: now, ExpiresAt: now.Add(time.Hour)}})

	for range 2 {
		if _, err := ReplayAudit(t.Context(), path, store, zerolog.Nop(), now); err != nil {
			t.Fatal(err)
		}
	}
	replayed, err := store.Commands(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if replayed.Frozen == nil || len(replayed.Commands) != 2 || replayed.Find(kept).CancelAsked.IsZero() || replayed.Find(issued).State != protocol.CommandUnknown {
		t.Fatalf("commands are %+v", replayed)
	}
	sent := replayed.Deliver(storage.CommandWord{Epoch: "e", Sequence: 1, At: now})
	if len(sent.Commands) != 0 || len(sent.Cancel) != 1 {
		t.Errorf("%+v is sent", sent)
	}
	replayed.Thaw(storage.By{At: now})
	change.Device, change.Audit = storage.Device{}, nil
	if change.Device, err = store.Device(t.Context(), storage.ByID("a")); err != nil {
		t.Fatal(err)
	}
	if err := change.KeepCommands(replayed, now); err != nil {
		t.Fatal(err)
	}
	if err := store.Save(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	if _, err := ReplayAudit(t.Context(), path, store, zerolog.Nop(), now); err != nil {
		t.Fatal(err)
	}
	if again, err := store.Commands(t.Context(), "a"); err != nil || again.Frozen != nil {
		t.Errorf("what an administrator confirmed is frozen again: %+v, %v", again.Frozen, err)
	}
}

// putBack is a database in which a delete waits, with an audit log that has its line, and
// behind it what record adds.
func putBack(t *testing.T, record func(log *audit.Log, id string)) (store *storage.Memory, path, id string) {
	t.Helper()
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	id = protocol.NewRequestID(now, protocol.RequestID{}).String()
	store, path = storage.NewMemory(), filepath.Join(t.TempDir(), "audit.log")
	log, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if err := log.Append(audit.Entry{Action: audit.ActionCommand, Outcome: audit.OutcomeDecided, DeviceID: "a", Command: &audit.Command{ID: id, Type: "vm.delete"}}); err != nil {
		t.Fatal(err)
	}
	var commands storage.CommandLog
	target := protocol.CommandTarget{DeviceID: "a", UID: 501, VMID: "vm", Epoch: "e"}
	if err := commands.Add(storage.Command{ID: id, Type: "vm.delete", Target: target, IssuedAt: now, ExpiresAt: now.Add(time.Hour), Signers: []storage.Signer{{}}}, 1, storage.By{At: now}); err != nil {
		t.Fatal(err)
	}
	mark := log.Mark()
	change := storage.Change{Device: storage.Device{ID: "a", Serial: "C02", HardwareUUID: "u"}, Audit: &storage.AuditMark{Number: mark.Number, Hash: mark.Hash}}
	if err := change.KeepCommands(commands, now); err != nil {
		t.Fatal(err)
	}
	if err := store.Save(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	record(log, id)
	return store, path, id
}

func cancelOf(id, outcome string) audit.Entry {
	return audit.Entry{Action: audit.ActionCancelCommand, Outcome: outcome, DeviceID: "a", Admin: "op", Command: &audit.Command{ID: id}}
}

// H30: a cancel holds although a line before it was changed, and that is written down once:
// the database forgets the line that it knew with the next decision.
func TestH30_ACancelBehindAChangedLineHolds(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(text string) string{
		"a line was changed": func(text string) string { return strings.Replace(text, `"vm.delete"`, `"vm.restart"`, 1) },
		"a line was taken out": func(text string) string {
			lines := strings.SplitAfter(text, "\n")
			return lines[0] + lines[2]
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, path, id := putBack(t, func(log *audit.Log, id string) {
				for _, entry := range []audit.Entry{{Action: audit.ActionBackup}, cancelOf(id, audit.OutcomeDecided)} {
					if err := log.Append(entry); err != nil {
						t.Fatal(err)
					}
				}
			})
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(change(string(text))), 0o600); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				log, err := openRecord(t.Context(), path, store, zerolog.Nop())
				if err != nil {
					t.Fatal(err)
				}
				log.Close()
			}
			if commands, err := store.Commands(t.Context(), "a"); err != nil || commands.Find(id).CancelAsked.IsZero() || commands.Frozen == nil {
				t.Errorf("commands are %+v, %v", commands, err)
			}
			text, err = os.ReadFile(path)
			if count := strings.Count(string(text), `"`+audit.ActionLogChanged+`"`); err != nil || count != 1 {
				t.Errorf("it is said %d times (%v):\n%s", count, err, text)
			}
		})
	}
}

// A cancel that could not be kept, of which the administrator was told so, is none later; the
// one that was is.
func TestH30_ADecisionThatFailedIsNotReplayed(t *testing.T) {
	t.Parallel()
	for name, outcomes := range map[string][]string{
		"it failed":                    {audit.OutcomeDecided, audit.OutcomeFailed},
		"it failed, and was done then": {audit.OutcomeDecided, audit.OutcomeFailed, audit.OutcomeDecided},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, path, id := putBack(t, func(log *audit.Log, id string) {
				for _, outcome := range outcomes {
					if err := log.Append(cancelOf(id, outcome)); err != nil {
						t.Fatal(err)
					}
				}
			})
			if _, err := ReplayAudit(t.Context(), path, store, zerolog.Nop(), time.Now()); err != nil {
				t.Fatal(err)
			}
			commands, err := store.Commands(t.Context(), "a")
			if isCancelled := !commands.Find(id).CancelAsked.IsZero(); err != nil || isCancelled != (len(outcomes) == 3) {
				t.Errorf("cancelled: %t, %v", isCancelled, err)
			}
		})
	}
}
