package command

import (
	"strconv"
	"testing"

	"prlagent/agent/protocol"
	"prlagent/store"
)

// A command whose result the portal can have only by a mistake stays open: what has not
// ended is not put to what is only there to answer from.
func TestPROTOCOL11_WhatHasNotEndedIsNotSettled(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.runner.Take(nil, []protocol.Envelope{signed(t, commandOf("one", "vm.delete", "vm-1"), testKey(1))})
	if err := b.store.Update(func(tx *store.Tx) error { return b.runner.Settle(tx, []string{"one"}) }); err != nil {
		t.Fatal(err)
	}
	b.runner.Settled([]string{"one"})
	b.want(map[string]string{"one": "acknowledged "})
	b.runner.Recall() // as another daemon would
	b.want(map[string]string{"one": "acknowledged "})
}

// Where only one place is left in the journal, what is cancelled has it before what is
// ordered (H03).
func TestH03_ACancellationIsTakenBeforeAnOrder(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for n := range maxOpen - 1 {
		id := "open-" + strconv.Itoa(n)
		b.runner.engine.records[id] = &Record{ID: id}
	}
	b.runner.Take([]string{"cancelled"}, []protocol.Envelope{signed(t, commandOf("ordered", "vm.delete", "vm-1"), testKey(1))})
	if r := b.runner.engine.records["cancelled"]; r == nil || r.State != protocol.CommandCancelled || b.runner.engine.records["ordered"] != nil {
		t.Errorf("the last place has %+v", r)
	}
}
