package outbox

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"prlagent/agent/protocol"
	"prlagent/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func reason(name, vmID string) protocol.Trigger {
	at := noon
	if vmID != "" {
		at = noon.Add(time.Duration(vmID[0]) * time.Second)
	}
	return protocol.Trigger{Reason: name, VMID: vmID, Count: 1, FirstAt: at, LastAt: at}
}

// ring are the events of a Mac.
type ring []protocol.Event

func (r ring) EventsSince(seq uint64, limit int) (events []protocol.Event, next uint64, err error) {
	for _, event := range r {
		if event.Seq > seq && len(events) < limit {
			events, next = append(events, event), event.Seq
		}
	}
	return events, next, nil
}

func openStore(t testing.TB) *store.Store {
	t.Helper()
	state, _, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "state"), store.Options{Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = state.Close() })
	return state
}

func lasting(one protocol.Trigger) bool { return one.Reason != "daily" }

// wait notes what waits, with nothing to be stored beside it.
func wait(box *Outbox, waiting []protocol.Trigger, must bool) error {
	_, err := box.Wait(waiting, must, func(*store.Tx) error { return nil })
	return err
}

// loaded is what the next daemon finds.
func loaded(t testing.TB, state *store.Store) []protocol.Trigger {
	t.Helper()
	reasons, err := New(state, ring{}, lasting).Load()
	if err != nil {
		t.Fatal(err)
	}
	return reasons
}

func TestReasonsOfAnExchange(t *testing.T) {
	t.Parallel()
	created, started := reason("vm_created", "a"), reason("vm_started", "b")
	seal := func(_ *store.Tx, change *Change) error { change.Seal(); return nil }
	cases := map[string]struct {
		do   func(*testing.T, *Outbox)
		want []protocol.Trigger // after a crash
		left []protocol.Trigger // carried, and in no report
	}{
		"killed before the report is stored": {
			func(*testing.T, *Outbox) {},
			[]protocol.Trigger{created, started}, []protocol.Trigger{created},
		},
		"killed after it": {
			func(t *testing.T, o *Outbox) { must(t, o.Update(seal)) },
			[]protocol.Trigger{started}, nil,
		},
		"the report cannot be stored": {
			func(t *testing.T, o *Outbox) {
				full := errors.New("disk full")
				if err := o.Update(func(tx *store.Tx, change *Change) error { change.Seal(); return full }); !errors.Is(err, full) {
					t.Errorf("error %v", err)
				}
			},
			[]protocol.Trigger{created, started}, []protocol.Trigger{created},
		},
		"the report is given up": {
			func(t *testing.T, o *Outbox) {
				must(t, o.Update(seal))
				must(t, o.Update(func(_ *store.Tx, change *Change) error {
					change.Return([]protocol.Trigger{created})
					return nil
				}))
			},
			[]protocol.Trigger{created, started}, []protocol.Trigger{created},
		},
		"the loop notes what waits meanwhile": {
			func(t *testing.T, o *Outbox) {
				must(t, o.Update(seal))
				must(t, wait(o, []protocol.Trigger{started, reason("vm_removed", "c")}, false))
			},
			[]protocol.Trigger{started, reason("vm_removed", "c")}, nil,
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state := openStore(t)
			box := New(state, ring{}, lasting)
			must(t, wait(box, []protocol.Trigger{created, started}, false))
			box.Carry([]protocol.Trigger{created})
			must(t, wait(box, []protocol.Trigger{started}, false))
			test.do(t, box)
			if diff := cmp.Diff(test.left, box.Carried()); diff != "" {
				t.Errorf("carried (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.want, loaded(t, state)); diff != "" {
				t.Errorf("after a crash (-want +got):\n%s", diff)
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What comes again by itself is carried, and not kept; what changes nothing on
// disk is worth no commit.
func TestCommitsAreFew(t *testing.T) {
	t.Parallel()
	state := openStore(t)
	box := New(state, ring{}, lasting)
	commits := func(want uint64, what string, do func()) {
		t.Helper()
		before := state.Commits()
		do()
		if got := state.Commits() - before; got != want {
			t.Errorf("%s: %d commits, want %d", what, got, want)
		}
	}
	created := reason("vm_created", "a")
	again := created
	again.Count, again.LastAt = 7, noon.Add(time.Hour)
	commits(0, "a reason that comes again", func() { must(t, wait(box, []protocol.Trigger{reason("daily", "")}, false)) })
	commits(1, "a reason", func() { must(t, wait(box, []protocol.Trigger{created}, false)) })
	commits(0, "the same once more", func() { must(t, wait(box, []protocol.Trigger{again}, false)) })
	commits(0, "given to an exchange", func() { box.Carry([]protocol.Trigger{again}); must(t, wait(box, nil, false)) })
	commits(1, "what must be kept", func() { must(t, wait(box, nil, true)) })
}

func TestEventsAreSettledByTheirAcknowledgement(t *testing.T) {
	t.Parallel()
	state := openStore(t)
	events := make(ring, protocol.MaxEvents+10)
	for i := range events {
		events[i].Seq = uint64(i + 1)
	}
	box := New(state, events, lasting)
	first := func() (uint64, int) {
		unsent, err := box.Unsent()
		must(t, err)
		return unsent[0].Seq, len(unsent)
	}
	if seq, many := first(); seq != 1 || many != protocol.MaxEvents {
		t.Errorf("%d events from %d on", many, seq)
	}
	must(t, box.Update(func(_ *store.Tx, change *Change) error { change.Settle(7); return nil }))
	if seq, _ := first(); seq != 8 {
		t.Errorf("after 7 comes %d", seq)
	}
	lost := errors.New("not stored")
	_ = box.Update(func(_ *store.Tx, change *Change) error { change.Settle(9); return lost })
	if seq, _ := first(); seq != 8 {
		t.Errorf("an acknowledgement that was not stored counts: %d", seq)
	}
}

// Whatever happens in any order, with a crash at any time: each reason is told
// once, or is still to be told. Told is what a report was acknowledged with.
func TestNothingIsLostOrToldTwice(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		state, _, err := store.Open(t.Context(), filepath.Join(folder, "state"), store.Options{Log: zerolog.Nop()})
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = state.Close() }()
		if err := state.Erase(); err != nil {
			rt.Fatal(err)
		}
		box := New(state, ring{}, lasting)
		var waiting, stored []protocol.Trigger // of the loop; of the stored report
		carrying, next := false, 0
		open, told := make(map[string]bool), make(map[string]int)
		note := func() {
			if err := wait(box, waiting, false); err != nil {
				rt.Fatal(err)
			}
		}
		update := func(change func(*Change)) {
			if err := box.Update(func(_ *store.Tx, c *Change) error { change(c); return nil }); err != nil {
				rt.Fatal(err)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"a reason": func(*rapid.T) {
				next++
				one := reason("vm_created", string(rune('a'+next%26))+string(rune('a'+next/26%26)))
				one.FirstAt, open[one.VMID] = noon.Add(time.Duration(next)*time.Second), true
				waiting = append(waiting, one)
				note()
			},
			"an exchange begins": func(*rapid.T) {
				if carrying || len(waiting) > protocol.MaxTriggers {
					return
				}
				box.Carry(waiting)
				waiting, carrying = nil, true
				note()
			},
			"its report is stored": func(*rapid.T) {
				if carrying {
					stored = protocol.CoalesceTriggers(stored, box.Carried())
					update(func(c *Change) { c.Seal() })
				}
			},
			"it is acknowledged": func(*rapid.T) {
				for _, one := range stored {
					told[one.VMID]++
				}
				stored = nil
			},
			"it is given up": func(*rapid.T) {
				if carrying && len(stored) > 0 {
					update(func(c *Change) { c.Return(stored) })
					stored = nil
				}
			},
			"the exchange ends": func(*rapid.T) {
				waiting = protocol.CoalesceTriggers(box.Carried(), waiting)
				carrying = false
				box.Carry(nil)
				note()
			},
			"a crash": func(*rapid.T) {
				box, carrying = New(state, ring{}, lasting), false
				if waiting, err = box.Load(); err != nil {
					rt.Fatal(err)
				}
			},
			"": func(rt *rapid.T) {
				places := make(map[string]int)
				for _, list := range [][]protocol.Trigger{waiting, box.Carried(), stored} {
					for _, one := range list {
						places[one.VMID]++
					}
				}
				for vm := range open {
					if places[vm]+told[vm] != 1 && next < 26*26 && len(waiting) <= protocol.MaxTriggers {
						rt.Fatalf("%s is in %d places and was told %d times", vm, places[vm], told[vm])
					}
				}
			},
		})
	})
}
