package agentapi

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// mergeVerdicts applies what the request tells of settings. It is false where that
// is a delta from something else than what is kept.
func (s *Server) mergeVerdicts(ctx context.Context, change *storage.Change, asked receivedCheckin) (told bool, err error) {
	report := asked.request.Verdicts
	if report == nil {
		return true, nil
	}
	kept, err := s.store.Verdicts(ctx, change.Device.ID)
	if err != nil {
		return false, fmt.Errorf("load verdicts: %w", err)
	}
	changes, fits, err := kept.Take(report, asked.now)
	if err != nil || !fits {
		return false, err
	}
	change.Verdicts, change.Changes = &kept, changes
	return true, nil
}

// countSettings notes with each row how many of its settings have which verdict, how
// many of the accounts' preferences and of the controls on the Mac as a whole have,
// which of all waits longest, and how many say that something is against a control.
func countSettings(kept *storage.Report, verdicts *protocol.VerdictReport, now time.Time) {
	counted := make(map[protocol.VMKey]*storage.SettingCounts, len(kept.Rows))
	for i := range kept.Rows {
		counted[kept.Rows[i].VM.VMKey] = &storage.SettingCounts{Drifts: kept.Rows[i].Settings.Drifts}
	}
	violations, accounts, host := 0, storage.SettingCounts{}, storage.SettingCounts{}
	kept.OldestDeferral = nil
	verdicts.Each(func(vm protocol.VMKey, group *protocol.VerdictGroup) {
		if group.IsViolation() {
			violations++
		}
		switch counts := counted[vm]; {
		case counts != nil:
			counts.Add(group.Verdict, 1)
		case vm.ID == "" && vm.UID != 0:
			accounts.Add(group.Verdict, 1)
		case vm.ID == "" && group.IsControl():
			host.Add(group.Verdict, 1)
		}
		if group.Verdict != protocol.VerdictDeferred {
			return
		}
		if oldest := kept.OldestDeferral; oldest == nil || group.Since.Before(oldest.Since) {
			kept.OldestDeferral = &storage.Deferral{Path: group.Path, VM: vm, Code: group.Code, Since: group.Since}
		}
	})
	if violations != kept.Violations || accounts != kept.AccountSettings || host != kept.HostSettings {
		kept.Violations, kept.AccountSettings, kept.HostSettings, kept.RowsChangedAt = violations, accounts, host, now
	}
	for i := range kept.Rows {
		row := &kept.Rows[i]
		if counts := *counted[row.VM.VMKey]; counts != row.Settings {
			row.Settings, row.ChangedAt, kept.RowsChangedAt = counts, now, now
		}
	}
}

// driftEvent is the type of the event that tells that somebody changed a setting
// which was in place.
const driftEvent = "policy_setting_changed"

// countDrifts counts with each row the drifts that events after a number tell of.
func (s *Server) countDrifts(ctx context.Context, change *storage.Change, log *storage.EventLog, after uint64, now time.Time) error {
	drifts := make(map[protocol.VMKey]int)
	for _, kept := range log.Events {
		if uid, err := strconv.ParseUint(kept.Event.Data["uid"], 10, 32); err == nil && kept.Number > after && kept.Event.Type == driftEvent {
			drifts[protocol.VMKey{ID: kept.Event.Data["vm_id"], UID: uint32(uid)}]++
		}
	}
	if len(drifts) == 0 {
		return nil
	}
	if change.Report == nil {
		report, err := s.store.Report(ctx, change.Device.ID)
		if err != nil {
			return fmt.Errorf("load report: %w", err)
		}
		change.Report = &report
	}
	for i := range change.Report.Rows {
		row := &change.Report.Rows[i]
		if count := drifts[row.VM.VMKey]; count > 0 {
			row.Settings.Drifts += count
			row.ChangedAt, change.Report.RowsChangedAt = now, now
		}
	}
	return nil
}
