package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/storage"
)

// replayStore is what the replay of the audit log needs of the database.
type replayStore interface {
	AuditMark(ctx context.Context) (storage.AuditMark, error)
	commandChanger
}

// commandChanger changes the commands of a device.
type commandChanger interface {
	Device(ctx context.Context, key storage.Key) (storage.Device, error)
	Commands(ctx context.Context, deviceID string) (storage.CommandLog, error)
	Save(ctx context.Context, change storage.Change) error
}

// ReplayAudit reads the audit log and makes good what a database that was put back does
// not know of it (H30): commands that were issued since are listed, without being sent
// again; a cancel holds; and the devices of both get nothing destructive before an
// administrator confirms. A log that was changed is said, and served on: changed is how,
// where the log itself does not say it yet.
func ReplayAudit(ctx context.Context, path string, store replayStore, log zerolog.Logger, now time.Time) (changed error, err error) {
	known, err := store.AuditMark(ctx)
	if err != nil {
		return nil, err
	}
	missed := make(map[string][]audit.Entry) // by device, in their order
	said := make(map[string]bool)            // of changes of the log
	found, err := audit.VerifyFile(path, audit.Mark(known), func(entry audit.Entry) error {
		if entry.Action == audit.ActionLogChanged {
			said[entry.Reason] = true
		}
		if entry.Command == nil || entry.Number <= known.Number {
			return nil
		}
		missed[entry.DeviceID] = append(missed[entry.DeviceID], entry)
		return nil
	})
	switch {
	case errors.Is(err, audit.ErrBroken):
		log.Error().Err(err).Msg("the audit log is not to be trusted; see 'prlportal audit verify'")
		if !said[err.Error()] {
			changed = err
		}
	case err != nil:
		return nil, err
	}
	devices := slices.Sorted(maps.Keys(missed))
	for i, deviceID := range devices {
		var mark *storage.AuditMark // what is replayed is not replayed again
		if i == len(devices)-1 {
			mark = &storage.AuditMark{Number: found.Last.Number, Hash: found.Last.Hash}
		}
		entries := missed[deviceID]
		if err := replayDevice(ctx, store, deviceID, entries, mark, now); errors.Is(err, storage.ErrNotFound) {
			log.Warn().Str("device", deviceID).Int("decisions", len(entries)).Msg("the audit log has commands of a device that this database does not have")
		} else if err != nil {
			return changed, fmt.Errorf("replay audit log: %w", err)
		} else {
			log.Warn().Str("device", deviceID).Int("decisions", len(entries)).Uint64("line", found.Last.Number).Msg("the audit log has more commands of a device than this database; nothing destructive is sent to it before 'prlportal devices confirm'")
		}
	}
	return changed, nil
}

// withoutFailed leaves out the decisions that could not be kept: who decided was told so.
func withoutFailed(entries []audit.Entry) (kept []audit.Entry) {
	for _, entry := range entries {
		if entry.Outcome != audit.OutcomeFailed {
			kept = append(kept, entry)
			continue
		}
		for at, before := range slices.Backward(kept) {
			if before.Action == entry.Action && before.Command.ID == entry.Command.ID {
				kept = slices.Delete(kept, at, at+1)
				break
			}
		}
	}
	return kept
}

func replayDevice(ctx context.Context, store commandChanger, deviceID string, entries []audit.Entry, mark *storage.AuditMark, now time.Time) error {
	device, err := store.Device(ctx, storage.ByID(deviceID))
	if err != nil {
		return err
	}
	commands, err := store.Commands(ctx, deviceID)
	if err != nil {
		return err
	}
	commands.Freeze(fmt.Sprintf("the audit log has %d decisions on its commands that this database does not", len(entries)), now)
	for _, entry := range withoutFailed(entries) {
		by := storage.By{Admin: entry.Admin, Reason: entry.Reason, At: now}
		switch {
		case entry.Outcome != audit.OutcomeDecided:
		case entry.Action == audit.ActionCommand:
			commands.Restore(orphanOf(entry), now)
		case entry.Action == audit.ActionCancelCommand && commands.Find(entry.Command.ID) != nil:
			commands.CancelAgain(entry.Command.ID, by)
		}
	}
	change := storage.Change{Device: device, Audit: mark}
	if err := change.KeepCommands(commands, now); err != nil {
		return err
	}
	return store.Save(ctx, change)
}

// restoreStore is what the judgment of a restore needs of the database.
type restoreStore interface {
	idLister
	commandChanger
}

// WithholdRestored withholds, where the portal was made of a backup since it was asked
// last, the commands of before that may harm (H30): what was cancelled after the backup
// was taken, nobody here knows, and a Mac that was away all the time neither.
func WithholdRestored(ctx context.Context, store restoreStore, restoredAt time.Time, log zerolog.Logger, now time.Time) error {
	if restoredAt.IsZero() {
		return nil
	}
	const page = 1000
	for after := ""; ; {
		ids, err := store.IDs(ctx, after, page)
		if err != nil || len(ids) == 0 {
			return err
		}
		for _, id := range ids {
			if err := withholdRestored(ctx, store, id, restoredAt, log, now); err != nil {
				return fmt.Errorf("withhold commands of a backup: %w", err)
			}
		}
		after = ids[len(ids)-1]
	}
}

func withholdRestored(ctx context.Context, store restoreStore, deviceID string, restoredAt time.Time, log zerolog.Logger, now time.Time) error {
	device, err := store.Device(ctx, storage.ByID(deviceID))
	if err != nil || !device.HasCommands {
		return err
	}
	commands, err := store.Commands(ctx, deviceID)
	if err != nil || commands.PutBack(restoredAt, now) {
		return err
	}
	if commands.HasWithheld(storage.WithheldRestored) {
		log.Warn().Str("device", deviceID).Msg("the portal was made of a backup; commands that the backup had are withheld: 'prlportal devices confirm', or 'prlportal commands confirm' and 'cancel'")
	}
	change := storage.Change{Device: device}
	if err := change.KeepCommands(commands, now); err != nil {
		return err
	}
	return store.Save(ctx, change)
}

// orphanOf is what the audit log has of a command.
func orphanOf(entry audit.Entry) storage.Command {
	c := entry.Command
	return storage.Command{
		ID: c.ID, Type: c.Type, Target: c.Target, IssuedBy: c.IssuedBy, IssuedAt: c.IssuedAt, ExpiresAt: c.ExpiresAt, Reason: entry.Reason, SHA256: c.SHA256, Needed: 1,
	}
}
