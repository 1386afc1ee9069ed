package protocol

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
)

// ErrReportTooLarge: what a report cannot do without does not fit.
var ErrReportTooLarge = errors.New("the report is larger than the protocol allows")

// Shed is what a report has left for a later one, which takes it along as soon
// as it fits.
type Shed struct {
	Events, Verdicts, Cells, Rows int
}

// IsTrimmed reports whether the report says less of the Mac than was seen. Events
// that wait are no part of that: they come in their order.
func (s Shed) IsTrimmed() bool { return s.Verdicts+s.Cells+s.Rows > 0 }

// String says what waits.
func (s Shed) String() string {
	var parts []string
	for _, part := range []struct {
		count int
		what  string
	}{{s.Events, "events"}, {s.Verdicts, "verdicts"}, {s.Cells, "cells"}, {s.Rows, "virtual machines"}} {
		if part.count > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.count, part.what))
		}
	}
	return strings.Join(parts, ", ")
}

// Composed is a request that fits, and what comes of it.
type Composed struct {
	Request  CheckinRequest
	Body     []byte
	Baseline Baseline // to keep once the request is acknowledged
	Shed     Shed
}

// Compose makes the request that tells the portal what it does not have yet, as
// Fill does, and that fits, whatever users and guests have written (H51). What
// does not fit is shed in this order: events, verdicts, text cells (which then
// have the reason report_trimmed), rows. Each user's content has a fair share of
// the room, so that one who has much loses nothing of another's. Events and
// verdicts keep an eighth of the room each: else rows that change all the time
// would silence them for good.
//
// The baseline is what the portal will have, so the next report is a delta
// against that and brings what was shed.
func (r *Report) Compose(request CheckinRequest, base Baseline, fits func(body []byte) bool) (Composed, error) {
	request.Results, request.Events = cutResults(request.Results), cutEvents(request.Events)
	for room := MaxRequest; ; room /= 2 {
		if room < leastRoom {
			room = 0
		}
		composed, err := r.composeWithin(request, base, room)
		if err != nil || fits(composed.Body) {
			return composed, err
		}
		if room == 0 {
			return Composed{}, ErrReportTooLarge
		}
	}
}

// sizeOfNames is what the names of the lists and of what they lack have in a
// request, in bytes.
const sizeOfNames = 128

// leastRoom is the last room that is worth a try, in bytes of JSON.
const leastRoom = 1 << 10

// composeWithin makes a request of at most that many bytes before compression,
// as far as the shedding of content can do it.
func (r *Report) composeWithin(request CheckinRequest, base Baseline, room int) (Composed, error) {
	now, err := r.Fill(&request, base)
	if err != nil {
		return Composed{}, err
	}
	body, err := Encode(request)
	if err != nil || len(body) <= room {
		return Composed{Request: request, Body: body, Baseline: now}, err
	}
	f := fitting{request: request, base: base, now: now}
	if err := f.shed(room); err != nil {
		return Composed{}, err
	}
	f.request.Inventory.Truncated = f.request.Inventory.Truncated || f.lost.Rows > 0
	f.now.Hash = f.now.totalHash(f.request.Inventory.Truncated)
	f.request.Inventory.Hash = f.now.Hash
	if f.now.Hash == base.Hash {
		f.request.Inventory = Inventory{Hash: base.Hash}
	}
	body, err = Encode(f.request)
	return Composed{Request: f.request, Body: body, Baseline: f.now, Shed: f.lost}, err
}

// fitting is a request on its way to fit. Its lists are its own.
type fitting struct {
	request CheckinRequest
	base    Baseline
	now     Baseline // with the request
	lost    Shed
}

// shed fits the request's content into room bytes.
func (f *fitting) shed(room int) error {
	rows, events := f.request.Inventory.VMs, f.request.Events
	verdicts, forVerdicts := f.request.Verdicts, 0
	f.request.Inventory.VMs, f.request.Events, f.request.Verdicts = nil, nil, nil
	beside, err := sizeOf(f.request)
	if err != nil {
		return err
	}
	room = max(room-beside-sizeOfNames, 0)
	if verdicts != nil {
		if forVerdicts, err = sizeOf(verdicts); err != nil {
			return err
		}
	}
	forVerdicts = min(forVerdicts, room/8)
	forEvents := min(sumOf(events), room/8)
	used, err := f.shedRows(rows, room-forEvents-forVerdicts)
	if err != nil {
		return err
	}
	room -= used
	if used, err = f.shedVerdicts(verdicts, room-forEvents); err != nil {
		return err
	}
	f.shedEvents(events, room-used)
	return nil
}

// shedEvents keeps the oldest events that fit: what is acknowledged is everything
// up to a number.
func (f *fitting) shedEvents(events []Event, room int) {
	for i := range events {
		event := &events[i]
		size, _ := sizeOf(event)
		if room -= size; room < 0 {
			break
		}
		f.request.Events = append(f.request.Events, *event)
	}
	f.lost.Events = len(events) - len(f.request.Events)
}

// shedVerdicts keeps the verdicts where all of them fit, and else those on as many
// machines of each user as have room in a fair share. Of the others, the portal
// keeps what it has.
func (f *fitting) shedVerdicts(all *VerdictReport, room int) (used int, err error) {
	if f.request.Verdicts = all; all == nil {
		return 0, nil
	}
	if used, err = sizeOf(all); err != nil || used <= room {
		return used, err
	}
	kept, lost := all.fair(room)
	if used, err = sizeOf(kept); err != nil {
		return 0, err
	}
	if used > room { // not even those on the policy as a whole
		f.request.Verdicts, f.now.Verdicts, f.lost.Verdicts = nil, f.base.Verdicts, lost
		f.now.Parts[verdictPart] = f.base.Parts[verdictPart]
		return 0, nil
	}
	has := make(map[VMKey]bool, len(kept.VMs))
	for _, key := range kept.VMs {
		has[key] = true
	}
	for _, key := range all.VMs {
		if has[key] {
			continue
		}
		name := key.String()
		if before, had := f.base.Verdicts[name]; had {
			f.now.Verdicts[name] = before
		} else {
			delete(f.now.Verdicts, name)
		}
	}
	kept.LeftOut += lost
	kept.Hash = hashMarks(f.now.Verdicts)
	f.request.Verdicts, f.now.Parts[verdictPart], f.lost.Verdicts = kept, kept.Hash, lost
	return used, nil
}

// fair is the verdicts on as many machines of each user as have room in a fair
// share, each counted with the size that it has alone, and how many are lost.
func (v *VerdictReport) fair(room int) (kept *VerdictReport, lost int) {
	sizes, counts, wants := make(map[VMKey]int), make(map[VMKey]int), make(map[uint32]int)
	v.Each(func(key VMKey, group *VerdictGroup) {
		alone := *group
		alone.VMs = nil
		size, _ := sizeOf(alone)
		sizes[key] += size + len(`,"vms":[200]`)
		counts[key]++
	})
	for _, key := range v.VMs {
		named, _ := sizeOf(key)
		sizes[key] += named
		wants[key.UID] += sizes[key]
	}
	shares := fairShares(wants, room-sizes[VMKey{}]-sizeOfNames)
	kept = v.only(func(key VMKey) bool {
		if sizes[key] > shares[key.UID] {
			lost += counts[key]
			return false
		}
		shares[key.UID] -= sizes[key]
		return true
	})
	return kept, lost
}

// fittingRow is a row that the portal does not have, at its present size. A row
// of no size is not sent.
type fittingRow struct {
	vm   *VM
	size int
	lean leanRow
}

// leanRow is a row without the texts that a user or a guest can lengthen.
type leanRow struct {
	vm    VM
	size  int // 0: the portal has it already
	cells int // that it lacks
}

// shedRows keeps of each user's rows what fits into a fair share: first as lean
// rows, the largest ones first, then not at all, the last ones first.
func (f *fitting) shedRows(vms []VM, room int) (used int, err error) {
	rows, wants := make([]*fittingRow, len(vms)), make(map[uint32]int)
	for i := range vms {
		vm := &vms[i]
		if rows[i], err = f.fittingRowOf(vm); err != nil {
			return 0, err
		}
		wants[vm.UID] += rows[i].size
	}
	largestFirst := slices.Clone(rows)
	sort.SliceStable(largestFirst, func(i, j int) bool { return largestFirst[i].size > largestFirst[j].size })
	shares := fairShares(wants, room)
	for _, row := range largestFirst {
		if over := wants[row.vm.UID] > shares[row.vm.UID]; over && row.lean.size < row.size {
			wants[row.vm.UID] -= row.size - row.lean.size
			f.lost.Cells += row.lean.cells
			row.vm, row.size = &row.lean.vm, row.lean.size
		}
	}
	dropped := make(map[*fittingRow]bool)
	shares = fairShares(wants, room)
	for _, row := range slices.Backward(rows) {
		if wants[row.vm.UID] > shares[row.vm.UID] && row.size > 0 {
			wants[row.vm.UID] -= row.size
			dropped[row] = true
		}
	}
	return f.keepRows(rows, dropped)
}

// keepRows puts the rows into the request that were not dropped. Of those that
// were, the portal keeps what it has.
func (f *fitting) keepRows(rows []*fittingRow, dropped map[*fittingRow]bool) (used int, err error) {
	f.now.VMs = maps.Clone(f.now.VMs)
	for _, row := range rows {
		key := row.vm.VMKey.String()
		before, had := f.base.VMs[key]
		switch {
		case dropped[row] && !had:
			delete(f.now.VMs, key)
		case dropped[row], row.size == 0:
			f.now.VMs[key] = before
		default:
			used += row.size
			f.request.Inventory.VMs = append(f.request.Inventory.VMs, *row.vm)
			hash, err := hashJSON(row.vm)
			if err != nil {
				return 0, fmt.Errorf("hash row: %w", err)
			}
			f.now.VMs[key] = VMMark{Key: row.vm.VMKey, Hash: hash}
		}
		if dropped[row] {
			f.lost.Rows++
		}
	}
	return used, nil
}

func (f *fitting) fittingRowOf(vm *VM) (*fittingRow, error) {
	row := &fittingRow{vm: vm}
	row.lean.vm, row.lean.cells = vm.lean()
	var errs [3]error
	var hash string
	row.size, errs[0] = sizeOf(vm)
	row.lean.size, errs[1] = sizeOf(&row.lean.vm)
	hash, errs[2] = hashJSON(&row.lean.vm)
	if hash == f.base.VMs[vm.VMKey.String()].Hash {
		row.lean.size = 0
	}
	return row, errors.Join(errs[:]...)
}

// longestLeanCell is the longest text that stands in a lean row, in bytes.
const longestLeanCell = 32

// neverTrimmed are the columns that a lean row keeps as they are: who it is, and
// what is not a user's or a guest's word.
var neverTrimmed = []string{"user_name", "vm_id", "vm_state", "stale", "config_hash"}

// lean is the row without its long texts, and how many those are.
func (vm *VM) lean() (VM, int) {
	row, cells := Row{VM: *vm}, 0
	row.Gaps = maps.Clone(vm.Gaps)
	for i := range everyColumn {
		column := &everyColumn[i]
		value, isText := column.field(&row).(*string)
		if !isText || len(*value) <= longestLeanCell || slices.Contains(neverTrimmed, column.ID) {
			continue
		}
		*value = ""
		cells++
		if _, inTable := ColumnByID(column.ID); inTable {
			if row.Gaps == nil {
				row.Gaps = make(map[string]Code)
			}
			row.Gaps[column.ID] = CodeReportTrimmed
		}
	}
	return row.VM, cells
}

// fairShares divides room among users by what each wants: who wants less than an
// equal part of what is left gets all of it, and nobody more than the others who
// want more.
func fairShares(wants map[uint32]int, room int) map[uint32]int {
	users := slices.Sorted(maps.Keys(wants))
	sort.SliceStable(users, func(i, j int) bool { return wants[users[i]] < wants[users[j]] })
	shares := make(map[uint32]int, len(users))
	for i, user := range users {
		shares[user] = min(wants[user], max(room, 0)/(len(users)-i))
		room -= shares[user]
	}
	return shares
}

// sizeOf is how many bytes a value has in a request, with the comma behind it.
func sizeOf(v any) (int, error) {
	data, err := Encode(v)
	return len(data) + 1, err
}

func sumOf[T any](list []T) (sum int) {
	for _, one := range list {
		size, _ := sizeOf(one)
		sum += size
	}
	return sum
}
