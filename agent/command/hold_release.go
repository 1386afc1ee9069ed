package command

import (
	"errors"
	"slices"
	"sort"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/store"
)

// Report is what every check-in of a Mac that ever had a list says of its holds.
func (h *Holds) Report() *protocol.HoldReport {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.current.list.Version == 0 {
		return nil
	}
	report := &protocol.HoldReport{Version: h.current.list.Version}
	for _, one := range h.inOrder() {
		report.Holds = append(report.Holds, one.record.HoldState)
	}
	return report
}

// HeldVM is one hold for people.
type HeldVM struct {
	Hold       protocol.Hold
	State      protocol.HoldState
	ReleasedBy string
	ReleasedAt time.Time
}

// Status is every hold of the list in force, by owner and id.
func (h *Holds) Status() (version uint64, held []*HeldVM) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, one := range h.inOrder() {
		held = append(held, one.shown())
	}
	return h.current.list.Version, held
}

// Keeps reports whether a machine is held, and so never comes to a stop by itself.
func (h *Holds) Keeps(key protocol.VMKey) bool {
	isHeld, _ := h.wants(key)
	return isHeld
}

func (one *hold) shown() *HeldVM {
	return &HeldVM{Hold: one.Hold, State: one.record.HoldState, ReleasedBy: one.record.ReleasedBy, ReleasedAt: one.record.ReleasedAt}
}

// inOrder are the holds by owner and id. With mu.
func (h *Holds) inOrder() []*hold {
	list := make([]*hold, 0, len(h.holds))
	for _, one := range h.holds {
		list = append(list, one)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].VMKey.Compare(list[j].VMKey) < 0 })
	return list
}

// ErrNotHeld says that no such machine is held.
var ErrNotHeld = errors.New("no such machine is held")

// Release ends holds because an administrator of the Mac wants it (H29): of the machines
// with these ids, whoever owns them, or of all. They stay released until a list names
// them anew. It gives those that it released, and is on the disk when it returns.
func (h *Holds) Release(ids []string, all bool, by string) ([]*HeldVM, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.options.Circumstances().Clock.Wall
	var meant []*hold
	var records []*holdRecord
	var events []protocol.Event
	for _, one := range h.inOrder() {
		if one.record.isOver() || !all && !slices.Contains(ids, strings.ToLower(one.ID)) {
			continue
		}
		meant, records = append(meant, one), append(records, one.released(by, now))
		events = h.addEvent(events, eventHoldReleased, &one.record, protocol.CodeHoldReleased)
		events[len(events)-1].Data["by"] = by
	}
	if len(meant) == 0 {
		return nil, ErrNotHeld
	}
	err := h.options.Commit(func(tx *store.Tx) error {
		for _, record := range records {
			if err := holdRecords.Put(tx, record.VMKey.String(), record); err != nil {
				return err
			}
		}
		return nil
	}, events...)
	if err != nil {
		return nil, err
	}
	released := make([]*HeldVM, 0, len(meant))
	for i, one := range meant {
		one.record = *records[i]
		delete(h.unkept, one.VMKey)
		released = append(released, one.shown())
	}
	h.copy()
	h.awaken()
	h.news()
	return released, nil
}

func (one *hold) released(by string, now time.Time) *holdRecord {
	record := one.record
	record.State, record.Code, record.Paused, record.Since = protocol.HoldReleased, protocol.CodeHoldReleased, false, seconds(now)
	record.ReleasedBy, record.ReleasedAt = by, seconds(now)
	return &record
}
