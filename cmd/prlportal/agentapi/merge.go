package agentapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/storage"
)

// mergeReport applies a check-in's report to what is kept of the device, and says
// what to answer. A quiet check-in loads and writes the device only.
func (s *Server) mergeReport(ctx context.Context, change *storage.Change, asked receivedCheckin) (string, error) {
	device, request := &change.Device, asked.request
	inventory := request.Inventory
	if asked.unfit {
		return protocol.InventorySendFull, nil
	}
	confirmed := device.ConfirmedAt
	applies := inventory.Full || inventory.Hash == device.ReportHash || inventory.Base != "" && inventory.Base == device.ReportHash
	if applies {
		device.ConfirmedAt = asked.now
	}
	if inventory.Hash == device.ReportHash && !inventory.Full {
		return protocol.InventoryOK, nil
	}
	if !applies && !hasParts(request) {
		return protocol.InventorySendFull, nil
	}
	kept, err := s.store.Report(ctx, device.ID)
	if err != nil {
		return "", fmt.Errorf("load report: %w", err)
	}
	if err := mergeParts(&kept, request, asked.now); err != nil {
		return "", err
	}
	change.Report = &kept
	told, err := s.mergeVerdicts(ctx, change, asked)
	if err != nil {
		return "", err
	}
	if !applies || !told {
		device.ConfirmedAt = confirmed
		return protocol.InventorySendFull, nil
	}
	if err := identifyRows(inventory.VMs, kept.Users); err != nil {
		return "", err
	}
	merger := rowMerger{now: asked.now, confirmed: confirmed}
	removed, fits, err := merger.applyInventory(&kept, inventory)
	if err != nil {
		return "", err
	}
	if !fits {
		device.ConfirmedAt = confirmed
		return protocol.InventorySendFull, nil
	}
	device.ReportHash = inventory.Hash
	if change.Verdicts != nil {
		countSettings(&kept, &change.Verdicts.Report, asked.now)
	}
	if len(removed) == 0 {
		return protocol.InventoryOK, nil
	}
	history, err := s.store.History(ctx, device.ID)
	if err != nil {
		return "", fmt.Errorf("load history: %w", err)
	}
	if err := history.Add(removed, asked.now); err != nil {
		return "", err
	}
	change.History = &history
	return protocol.InventoryOK, nil
}

func hasParts(request *protocol.CheckinRequest) bool {
	return request.Agent != nil || request.Host != nil || request.Product != nil || request.Policy != nil || request.Users != nil || request.Health != nil || request.Verdicts != nil
}

// mergeParts replaces the parts that the request carries; each is complete in
// itself, so no base is needed. It notes when what a table shows has changed.
func mergeParts(kept *storage.Report, request *protocol.CheckinRequest, now time.Time) error {
	before := *kept
	replaceParts(kept, request)
	shown := func(r storage.Report) []any {
		r.Policy.Counts = nil
		return []any{r.Agent, r.Host, r.Product, r.Policy}
	}
	same, err := sameJSON(shown(before), shown(*kept))
	if err != nil {
		return err
	}
	if !same {
		kept.ChangedAt = now
	}
	if same, err = sameJSON(before.Health, kept.Health); err == nil && !same {
		kept.HealthChangedAt = now
	}
	return err
}

// sameJSON compares values as they are stored.
func sameJSON(a, b any) (bool, error) {
	var pair encodedPair
	return pair.same(a, b)
}

// encodedPair is room to compare many values as they are stored.
type encodedPair struct{ left, right bytes.Buffer }

func (p *encodedPair) same(a, b any) (bool, error) {
	p.left.Reset()
	p.right.Reset()
	if err := errors.Join(json.NewEncoder(&p.left).Encode(a), json.NewEncoder(&p.right).Encode(b)); err != nil {
		return false, fmt.Errorf("encode report: %w", err)
	}
	return bytes.Equal(p.left.Bytes(), p.right.Bytes()), nil
}

func replaceParts(kept *storage.Report, request *protocol.CheckinRequest) {
	if request.Agent != nil {
		kept.Agent = *request.Agent
	}
	if request.Host != nil {
		kept.Host = *request.Host
	}
	if request.Product != nil {
		kept.Product = *request.Product
	}
	if request.Policy != nil {
		kept.Policy = *request.Policy
	}
	if request.Users != nil || request.Inventory.Full {
		kept.Users = request.Users
	}
	switch {
	case request.Health != nil:
		kept.Health = *request.Health
	case request.Inventory.Full: // an agent that tells none took the place of one that did
		kept.Health = protocol.HealthReport{}
	}
}

// identifyRows gives the rows of an agent that does not say whose they are the
// uids of the accounts that it lists.
func identifyRows(vms []protocol.VM, users []protocol.UserLook) error {
	for i := range vms {
		storage.Identify(&vms[i], users)
		if vms[i].UID == 0 {
			return httpapi.InvalidField(fmt.Sprintf("inventory.vms[%d].uid", i), "Nobody knows whose virtual machine it is.")
		}
	}
	return nil
}

// rowMerger brings rows up to date.
type rowMerger struct {
	now       time.Time
	confirmed time.Time // when the rows held so far were last confirmed
	compared  encodedPair
}

// applyInventory replaces the rows (full) or changes them (delta) and gives
// those that left. Deltas that add up to more rows than a report may have do
// not fit, and change nothing: no agent of ours sends them. Neither do those of
// an agent that names what left without its owner's uid.
func (m *rowMerger) applyInventory(kept *storage.Report, inventory protocol.Inventory) (removed []storage.PastRow, fits bool, err error) {
	if slices.ContainsFunc(inventory.Removed, func(key protocol.VMKey) bool { return key.UID == 0 }) {
		return nil, false, nil
	}
	held := make(map[protocol.VMKey]*storage.Row, len(kept.Rows))
	for i := range kept.Rows {
		held[kept.Rows[i].VM.VMKey] = &kept.Rows[i]
	}
	next := make(map[protocol.VMKey]*storage.Row, len(inventory.VMs))
	if !inventory.Full {
		maps.Copy(next, held)
	}
	for _, key := range inventory.Removed {
		delete(next, key)
	}
	merged := make([]storage.Row, len(inventory.VMs))
	for i := range inventory.VMs {
		vm := &inventory.VMs[i]
		if merged[i], err = m.mergeRow(vm, held[vm.VMKey]); err != nil {
			return nil, false, err
		}
		next[vm.VMKey] = &merged[i]
	}
	if len(next) > protocol.MaxVMs {
		return nil, false, nil
	}
	removed = m.removedRows(held, next)
	m.noteChange(kept, next, len(removed) > 0 || kept.Truncated != inventory.Truncated)
	kept.Truncated = inventory.Truncated
	kept.Rows = make([]storage.Row, 0, len(next)) // those that were held are still read
	for _, row := range next {
		kept.Rows = append(kept.Rows, *row)
	}
	slices.SortFunc(kept.Rows, compareRows)
	return removed, true, nil
}

func (m *rowMerger) noteChange(kept *storage.Report, rows map[protocol.VMKey]*storage.Row, changed bool) {
	for _, row := range rows {
		changed = changed || row.ChangedAt.Equal(m.now)
	}
	if changed {
		kept.RowsChangedAt = m.now
	}
}

func compareRows(a, b storage.Row) int { return a.VM.VMKey.Compare(b.VM.VMKey) }

// mergeRow joins a reported virtual machine with what was known of it. A row that
// goes stale keeps the time of the last check-in that vouched for it (INV-17).
// Before is nil for one that was not known.
func (m *rowMerger) mergeRow(vm *protocol.VM, before *storage.Row) (storage.Row, error) {
	row := storage.Row{VM: *vm, FirstSeenAt: m.now, ChangedAt: m.now}
	if before == nil {
		return row, nil
	}
	same, err := m.compared.same(&before.VM, vm)
	if err != nil {
		return storage.Row{}, err
	}
	row.FirstSeenAt, row.Settings = before.FirstSeenAt, before.Settings
	if same {
		row.ChangedAt = before.ChangedAt
	}
	if vm.Stale != "" {
		row.ReportedAt = m.reportedAt(before)
	}
	return row, nil
}

func (m *rowMerger) reportedAt(row *storage.Row) time.Time {
	if row.VM.Stale != "" {
		return row.ReportedAt
	}
	return m.confirmed
}

func (m *rowMerger) removedRows(held, next map[protocol.VMKey]*storage.Row) []storage.PastRow {
	var removed []storage.PastRow
	for key, row := range held {
		if _, still := next[key]; !still {
			past := storage.PastRow{Row: *row, RemovedAt: m.now}
			past.ReportedAt = m.reportedAt(row)
			removed = append(removed, past)
		}
	}
	slices.SortFunc(removed, func(a, b storage.PastRow) int { return compareRows(a.Row, b.Row) })
	return removed
}
