package protocol

import (
	"maps"
	"reflect"
	"slices"
)

// Limits of the lists of a report, in entries, and of the id of a volume, which
// is at most a UUID, in bytes. Both sides cut there.
const (
	MaxSeenBy     = 32  // other accounts of one shared machine
	MaxUsers      = 256 // accounts
	MaxConditions = 32  // of the agent's health; fewer than are ever true at once
	MaxResults    = 64
	MaxEventData  = 16
	maxVolume     = 36
)

// Cut shortens every text of the row to its column's limit, at a character.
// Nothing but its length is changed: who shows it makes it safe to show.
func (r *Row) Cut() {
	for i := range everyColumn {
		column := &everyColumn[i]
		if value, isText := column.field(r).(*string); isText {
			*value = CutText(*value, column.Limit)
		}
	}
}

// Cut shortens what travels of one machine to what a portal keeps: texts,
// other accounts, and the reasons of cells. Lists that it shares with others stay
// as they are.
func (vm *VM) Cut() {
	row := Row{VM: *vm}
	row.Cut()
	*vm = row.VM
	vm.ID = CutText(vm.ID, MaxName)
	vm.Bundle.Volume = CutText(vm.Bundle.Volume, maxVolume)
	vm.SeenBy = cutEach(vm.SeenBy, MaxSeenBy)
	vm.Gaps = knownGaps(vm.Gaps)
}

// Cut is the report with nothing in it that is longer than what a portal keeps,
// whoever wrote it (H51). Two looks that found the same are the same afterwards,
// too.
func (r *Report) Cut() *Report {
	cut := *r
	cutTexts(&cut.Agent)
	cutTexts(&cut.Host)
	cut.Product.cut()
	cut.Users = cutEach(cut.Users, MaxUsers)
	cut.Policy.cut()
	cut.Verdicts.cut()
	cut.Health.cut()
	cut.VMs = slices.Clone(cut.VMs)
	for i := range cut.VMs {
		cut.VMs[i].Cut()
	}
	return &cut
}

// Cut does the same with a request, on the side that keeps it. How many rows it
// has is another matter: they are not cut, but refused.
func (q *CheckinRequest) Cut() {
	q.Triggers = cutEach(q.Triggers, MaxTriggers)
	if q.Agent != nil {
		cutTexts(q.Agent)
	}
	if q.Host != nil {
		cutTexts(q.Host)
	}
	if q.Product != nil {
		q.Product.cut()
	}
	q.Users = cutEach(q.Users, MaxUsers)
	if q.Policy != nil {
		q.Policy.cut()
	}
	if q.Verdicts != nil {
		q.Verdicts.cut()
	}
	if q.Health != nil {
		q.Health.cut()
	}
	for i := range q.Inventory.VMs {
		q.Inventory.VMs[i].Cut()
	}
	q.OpenCommands = cutEach(q.OpenCommands, len(q.OpenCommands))
	q.Results = cutResults(q.Results)
	if q.Holds != nil {
		q.Holds.Holds = cutEach(q.Holds.Holds, MaxHolds)
	}
	q.Events = cutEvents(q.Events)
}

func (p *Product) cut() {
	cutTexts(p)
	p.Gaps = knownGaps(p.Gaps)
}

func (p *PolicyReport) cut() {
	cutTexts(p)
	p.Counts = cutCounts(p.Counts)
}

// cutCounts keeps as many counts as there can be words for, and more.
func cutCounts(counts map[string]int) map[string]int {
	if counts == nil {
		return nil
	}
	short := make(map[string]int, MaxEventData)
	for _, word := range slices.Sorted(maps.Keys(counts))[:min(len(counts), MaxEventData)] {
		short[CutText(word, MaxName)] = counts[word]
	}
	return short
}

// cutResults keeps the first results: the others wait until these are
// acknowledged.
func cutResults(results []Result) []Result {
	results = cutEach(results, MaxResults)
	for i := range results {
		results[i].Observed = cutData(results[i].Observed)
		if receipt := results[i].Receipt; receipt != nil && (len(receipt.Payload) > MaxReceipt || len(receipt.Signatures) > MaxSignatures) {
			results[i].Receipt = nil // nothing that a device of ours has signed
		}
	}
	return results
}

func cutEvents(events []Event) []Event {
	events = cutEach(events, MaxEvents)
	for i := range events {
		events[i].Data = cutData(events[i].Data)
	}
	return events
}

// cutEach is a copy of the list with at most that many entries, and their texts
// cut; nil stays nil, because an empty list may say something else.
func cutEach[T any](list []T, most int) []T {
	list = slices.Clone(list[:min(len(list), most)])
	for i := range list {
		cutTexts(&list[i])
	}
	return list
}

// cutTexts cuts every text of what a pointer to a structure points at, so that a
// new one is not forgotten. It is not generic: it would be there once for each.
func cutTexts(structure any) {
	value := reflect.ValueOf(structure).Elem()
	for i := range value.NumField() {
		if field := value.Field(i); field.Kind() == reflect.String {
			limit := MaxName
			if value.Type().Field(i).Name == "Message" {
				limit = MaxText
			}
			field.SetString(CutText(field.String(), limit))
		}
	}
}

// cutData cuts what is said beside an event or a result.
func cutData(data map[string]string) map[string]string {
	if data == nil {
		return nil
	}
	short := make(map[string]string, min(len(data), MaxEventData))
	for _, key := range slices.Sorted(maps.Keys(data))[:min(len(data), MaxEventData)] {
		short[CutText(key, MaxName)] = CutText(data[key], MaxText)
	}
	return short
}

// knownGaps are the reasons of cells that the table has.
func knownGaps(gaps map[string]Code) map[string]Code {
	odd := func(id string, code Code) bool {
		_, known := ColumnByID(id)
		return !known || len(code) > MaxName
	}
	for id, code := range gaps {
		if odd(id, code) {
			gaps = maps.Clone(gaps)
			maps.DeleteFunc(gaps, odd)
			return gaps
		}
	}
	return gaps
}
