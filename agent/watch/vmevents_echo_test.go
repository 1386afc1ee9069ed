package watch

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

const (
	config       = "<a><Memory>4096</Memory><VmUptimeInSeconds>1</VmUptimeInSeconds></a>"
	configLater  = "<a><Memory>4096</Memory><VmUptimeInSeconds>99</VmUptimeInSeconds></a>"
	configEdited = "<a><Memory>8192</Memory><VmUptimeInSeconds>1</VmUptimeInSeconds></a>"
)

// known follows the user, whose machines were all read once before.
func (m *bench) known(uid uint32, vmIDs ...string) {
	m.settled(followed(uid, vmIDs...))
	for _, vmID := range vmIDs {
		m.write(uid, vmID, config)
	}
	m.query(uid, vmIDs...)
	time.Sleep(time.Minute)
	m.hints()
}

func vmIDs(count int) []string {
	ids := make([]string, count)
	for i := range ids {
		ids[i] = fmt.Sprintf("00000000-0000-4000-8000-%012x", i)
	}
	return ids
}

func TestTRG_09_ThousandEchoesNeverHint(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		machines := vmIDs(100)
		m.known(alice, machines...)
		before := m.read(alice)
		m.query(alice, slices.Repeat(machines, 10)...)
		time.Sleep(time.Hour)
		m.wants("echoes", nil)
		if read := m.read(alice) - before; read != 1 {
			m.t.Errorf("files were read %d times after one query", read)
		}
	})
}

func TestTRG_09_FirstReadingOfAMachineHints(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		m.settled(followed(alice, first, other))
		m.write(alice, first, config)
		m.query(alice, first, other) // other has no file
		time.Sleep(time.Hour)
		m.wants("the first time", []Hint{{UID: alice, VMID: first}, {UID: alice, VMID: other}})
		m.query(alice, first, other)
		time.Sleep(time.Hour)
		m.wants("from then on", nil)
	})
}

func TestTRG_09_ChangeDuringOurQueryHints(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		m.known(alice, first, other)
		done := m.Reading(alice)
		m.stream(alice).handle(changed(first))
		m.stream(alice).handle(changed(other))
		m.write(alice, first, configEdited)
		m.stream(alice).handle(changed(first))
		time.Sleep(time.Minute) // a slow query
		m.wants("while the query runs", nil)
		done()
		time.Sleep(2*time.Second - time.Nanosecond)
		m.wants("before the window is over", nil)
		time.Sleep(time.Nanosecond)
		m.wants("when the window is over", []Hint{{UID: alice, VMID: first}})
	})
}

func TestTRG_09_ChangeBetweenTwoQueriesHintsAtOnce(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		m.known(alice, first)
		m.write(alice, first, configEdited)
		m.stream(alice).handle(changed(first))
		look := []Hint{{UID: alice, VMID: first}}
		m.wants("outside of a window", look)
		m.query(alice, first) // the look that the hint asks for
		time.Sleep(time.Minute)
		m.wants("what that look may have seen before the change", look)
		m.query(alice, first)
		time.Sleep(time.Hour)
		m.wants("then", nil)
	})
}

// We set something, and the user sets it back before anybody reads what it became.
func TestTRG_09_WhatTheUserTakesBackAtOnceHints(t *testing.T) {
	for name, reading := range map[string]bool{"before we set it": false, "also while a file is read": true} {
		t.Run(name, func(t *testing.T) {
			onFakeMac(t, func(m *bench) {
				m.known(alice, first)
				if reading { // the file's old content is still on its way
					m.slow = time.Second
					m.query(alice, first)
					time.Sleep(1500 * time.Millisecond)
				}
				done := m.Reading(alice)
				m.write(alice, first, configEdited)
				m.stream(alice).handle(changed(first))
				m.Changed(first)
				done()
				m.write(alice, first, config)
				m.stream(alice).handle(changed(first))
				time.Sleep(time.Minute)
				want := []Hint{{UID: alice, VMID: first}}
				if reading {
					want = append(want, want...)
				}
				m.wants("of the user's change", want)
				m.query(alice, first)
				time.Sleep(time.Hour)
				m.wants("then", nil)
			})
		})
	}
}

// The event of a change between two queries is lost; the next query's echo shows
// it all the same.
func TestTRG_09_ChangeWithoutAnEventHintsWithTheNextEcho(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		m.known(alice, first)
		m.write(alice, first, configEdited)
		m.query(alice, first)
		time.Sleep(time.Minute)
		m.wants("after the query", []Hint{{UID: alice, VMID: first}})
	})
}

func TestTRG_09_UptimeOnlyChangeDoesNotHint(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		m.known(alice, first)
		for i := range 500 {
			m.write(alice, first, []string{config, configLater}[i%2])
			m.query(alice, first)
		}
		time.Sleep(time.Hour)
		m.wants("uptimes", nil)
	})
}

func TestTRG_09_OtherEventsHintAtOnceWithinAWindow(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		m.known(alice, first)
		defer m.Reading(alice)()
		m.stream(alice).handle(prlctl.Event{VMID: first, Name: "vm_state_changed", State: "stopped"})
		m.stream(alice).handle(prlctl.Event{VMID: first, Name: "vm_deleted"})
		m.wants("within the window", []Hint{{UID: alice, VMID: first, State: protocol.StateStopped}, {UID: alice, VMID: first}})
	})
}

// Each user has a window of their own.
func TestTRG_09_H12_TwoUsersAtOnce(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		m.settled(followed(alice, first), followed(bob, other))
		m.write(alice, first, config)
		m.write(bob, other, config)
		done := m.Reading(alice)
		m.stream(alice).handle(changed(first))
		m.stream(bob).handle(changed(other))
		m.wants("only bob's is outside", []Hint{{UID: bob, VMID: other}})
		finish := m.Reading(bob)
		m.stream(bob).handle(changed(other))
		done()
		done() // a second time says nothing
		time.Sleep(time.Minute)
		m.wants("alice's window is over", []Hint{{UID: alice, VMID: first}})
		finish()
		time.Sleep(time.Minute)
		m.wants("bob's window is over", []Hint{{UID: bob, VMID: other}})
		defer m.Reading(alice)()
		time.Sleep(time.Minute)
		m.stream(alice).handle(changed(first))
		m.wants("alice's next window", nil)
	})
}

// Whether the echo of a query for one account is also heard by those who share
// the machine is not known; it is never a hint that makes the next query.
func TestTRG_09_SharedMachineDoesNotEchoForEver(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		users := []Followed{followed(alice, first), followed(bob)}
		users[1].Configs = users[0].Configs
		m.write(alice, first, config)
		m.settled(users...)
		for range 3 {
			m.query(alice, first)
			m.stream(bob).handle(changed(first))
			time.Sleep(time.Minute)
		}
		m.wants("each sees it for the first time", []Hint{{UID: bob, VMID: first}, {UID: alice, VMID: first}})
		m.write(alice, first, configEdited)
		m.stream(bob).handle(changed(first))
		m.wants("a change", []Hint{{UID: bob, VMID: first}})
	})
}

func TestTRG_09_OneReadingOfFilesForOverlappingQueries(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		m.known(alice, first)
		before := m.read(alice)
		one, two := m.Reading(alice), m.Reading(alice)
		m.stream(alice).handle(changed(first))
		one()
		time.Sleep(3 * time.Second)
		m.stream(alice).handle(changed(first))
		two()
		time.Sleep(time.Second)
		three := m.Reading(alice) // before the window was over
		time.Sleep(time.Minute)
		m.stream(alice).handle(changed(first))
		if read := m.read(alice) - before; read != 0 {
			m.t.Errorf("files were read %d times within the window", read)
		}
		three()
		time.Sleep(time.Hour)
		m.wants("echoes", nil)
		if read := m.read(alice) - before; read != 1 {
			m.t.Errorf("files were read %d times", read)
		}
		m.query(alice) // of which no echo came
		time.Sleep(time.Hour)
		if read := m.read(alice) - before; read != 1 {
			m.t.Errorf("files were read %d times, once without a doubt", read)
		}
	})
}

// A reading of files that hangs delays neither the reader of the stream nor
// anybody else, and there is never a second one beside it.
func TestH12_HangingFilesHoldNobody(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		m.known(alice, first)
		m.settled(followed(alice, first), followed(bob, other))
		m.hang = make(chan struct{})
		m.query(alice, first)
		time.Sleep(time.Minute)
		m.write(alice, first, configEdited)
		for range 5 {
			m.query(alice, first)
		}
		m.stream(alice).handle(prlctl.Event{VMID: first, Name: "vm_state_changed", State: "running"})
		m.stream(bob).handle(prlctl.Event{VMID: other, Name: "vm_added"})
		m.wants("meanwhile", []Hint{{UID: alice, VMID: first, State: protocol.StateRunning}, {UID: bob, VMID: other}})
		if _, readings := m.running(); readings != 1 {
			m.t.Errorf("%d readings of files at once", readings)
		}
		close(m.hang)
		time.Sleep(time.Minute)
		m.wants("at last", []Hint{{UID: alice, VMID: first}})
	})
}

func TestTRG_09_MoreDoubtsThanAreKeptAskForOneLook(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		machines := vmIDs(maxDoubts + 40)
		m.known(alice, machines[:maxDoubts]...)
		m.settled(followed(alice, machines...))
		m.query(alice, machines...)
		time.Sleep(time.Minute)
		m.wants("the first time", []Hint{{UID: alice}})
		for range 2 {
			m.query(alice, machines...)
			time.Sleep(time.Minute)
		}
		m.wants("the looks that this asks for", nil)
		time.Sleep(manyDoubted)
		m.query(alice, machines...)
		time.Sleep(time.Minute)
		m.wants("much later", []Hint{{UID: alice}})
		time.Sleep(2 * manyDoubted)
		m.query(alice, machines[:10]...)
		time.Sleep(time.Minute)
		m.wants("few doubts again", nil)
	})
}

// As many doubts as are kept need no look at all of the user's machines, however
// often each echoes; one that names no machine does.
func TestTRG_09_AsManyDoubtsAsAreKept(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		machines := vmIDs(maxDoubts)
		m.known(alice, machines...)
		m.query(alice, slices.Repeat(machines, 4)...)
		time.Sleep(time.Minute)
		m.wants("all of them, four times", nil)
		for range 2 {
			m.query(alice, machines[0], "")
			time.Sleep(2 * manyDoubted)
			m.wants("one without a name", []Hint{{UID: alice}})
		}
	})
}

// Whatever ids a stream names, what is remembered of them is bounded.
func TestH12_InventedMachinesCostBoundedMemory(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		m.settled(followed(alice))
		for round := range 20 {
			done := m.Reading(alice)
			for i := range 250 {
				m.stream(alice).handle(changed(fmt.Sprintf("%08x-0000-4000-8000-%012x", round, i)))
			}
			done()
			time.Sleep(time.Minute)
		}
		m.stop()
		known := &m.accounts[alice].echo
		if len(known.digests) > maxDigests || len(known.doubts) > maxDoubts {
			m.t.Errorf("%d digests and %d doubts are kept", len(known.digests), len(known.doubts))
		}
	})
}

// What was not read because the user is gone is no change.
func TestTRG_09_UserWhoVanishesWhileFilesAreRead(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		m.known(alice, first)
		m.hang = make(chan struct{})
		m.query(alice, first)
		time.Sleep(time.Minute)
		m.SetUsers(nil)
		m.wants("then", nil)
	})
}

// A user who is gone and back before anybody looked has a stream that knows of
// the queries.
func TestTRG_09_UserWhoIsBackAtOnce(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		m.known(alice, first)
		m.SetUsers(nil)
		m.settled(followed(alice, first))
		defer m.Reading(alice)()
		m.stream(alice).handle(changed(first))
		m.wants("within the window", nil)
	})
}

// Doubts are kept while the stream is gone, and looked into.
func TestTRG_09_DoubtsOutliveTheirStream(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		m.known(alice, first)
		done := m.Reading(alice)
		m.write(alice, first, configEdited)
		m.stream(alice).handle(changed(first))
		m.SetService(false)
		done()
		time.Sleep(time.Minute)
		if diff := cmp.Diff([]Hint{{UID: alice, VMID: first}}, m.hints()); diff != "" {
			m.t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
