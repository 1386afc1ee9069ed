package watch

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/protocol"
	"prlagent/agent/trigger"
	"prlagent/prlctl"
)

func TestTRG_04_05_06_07_08_09_EventsBecomeHints(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		m.settled(followed(alice, first))
		look := []Hint{{UID: alice, VMID: first}}
		state := func(word string) []Hint { return []Hint{{UID: alice, VMID: first, State: word}} }
		cases := []struct {
			row, name, state string
			want             []Hint
		}{
			{"TRG-04 created", "vm_added", "", look},
			{"TRG-04 created, as the SDK has it", "vm_created", "", look},
			{"TRG-05 starts", "vm_state_changed", "starting", state(trigger.Transient)},
			{"TRG-05 started", "vm_state_changed", "running", state(protocol.StateRunning)},
			{"TRG-05 started, as the SDK has it", "vm_started", "", state(protocol.StateRunning)},
			{"TRG-05 a word of a later version", "vm_state_changed", "hibernating", state(protocol.StateUnknown)},
			{"a bundle that is gone", "vm_state_changed", "invalid", state(protocol.StateUnknown)},
			{"a word that steers", "vm_state_changed", "\x1b[31m", state(protocol.StateUnknown)},
			{"TRG-06 suspends", "vm_state_changed", "suspending", state(trigger.Transient)},
			{"TRG-06 pauses", "vm_state_changed", "pausing", state(trigger.Transient)},
			{"TRG-06 paused", "vm_state_changed", "paused", state(protocol.StateSuspended)},
			{"TRG-07 resumes", "vm_state_changed", "resuming", state(trigger.Transient)},
			{"TRG-08 stops", "vm_state_changed", "stopping", state(trigger.Transient)},
			{"TRG-06 suspended", "vm_state_changed", "suspended", state(protocol.StateSuspended)},
			{"TRG-06 suspended, as the SDK has it", "vm_suspended", "", state(protocol.StateSuspended)},
			{"TRG-06 paused, as the SDK has it", "vm_paused", "", state(protocol.StateSuspended)},
			{"TRG-07 resumed, as the SDK has it", "vm_resumed", "", state(protocol.StateRunning)},
			{"TRG-07 continued, as the SDK has it", "vm_continued", "", state(protocol.StateRunning)},
			{"TRG-08 stopped", "vm_state_changed", "stopped", state(protocol.StateStopped)},
			{"TRG-08 stopped, as the SDK has it", "vm_stopped", "", state(protocol.StateStopped)},
			{"TRG-09 changed", "vm_config_changed", "", look},
			{"removed", "vm_unregistered", "", look},
			{"deleted", "vm_deleted", "", look},
			{"tools", "vm_tools_state_changed", "", look},
			{"snapshots", "vm_snapshots_tree_changed", "", look},
			{"snapshot", "vm_snapshot_created", "", look},
			{"unknown", "vm_painted_green", "", look},
			{"a state without a word", "vm_state_changed", "", look},
			{"a word that another event carries", "vm_added", "running", look},
			{"figures", "vm_perfstats", "", nil},
		}
		covered := make(map[string]bool)
		for _, c := range cases {
			covered[c.name] = true
			m.stream(alice).handle(prlctl.Event{VMID: first, Name: c.name, State: c.state})
			if diff := cmp.Diff(c.want, m.hints()); diff != "" {
				m.t.Errorf("%s (-want +got):\n%s", c.row, diff)
			}
		}
		for _, row := range vmEvents {
			name := row.name
			if !covered[name] {
				m.t.Errorf("%s has no case here", name)
			}
			if !strings.Contains(row.source, "facts/") {
				m.t.Errorf("%s has no source", name)
			}
		}
	})
}

func TestH13_WhatNamesNoMachineIsAboutTheUser(t *testing.T) {
	onFakeMac(t, func(m *bench) {
		m.settled(followed(alice, first))
		for _, event := range []prlctl.Event{{}, {Name: "vm_added"}, {Name: "vm_state_changed", State: "running"}, {Name: "vm_config_changed"}} {
			m.stream(alice).handle(event)
			if diff := cmp.Diff([]Hint{{UID: alice}}, m.hints()); diff != "" {
				m.t.Errorf("%+v (-want +got):\n%s", event, diff)
			}
		}
	})
}

// The tool does not say that it is subscribed, so a look is asked for soon after
// the start, and again with the first event, which proves it.
func TestTRG_04_EachStartOfAStreamIsFollowedByALook(t *testing.T) {
	look := []Hint{{UID: alice}}
	started := prlctl.Event{VMID: first, Name: "vm_state_changed", State: "running"}
	t.Run("no event", func(t *testing.T) {
		onFakeMac(t, func(m *bench) {
			m.SetUsers([]Followed{followed(alice, first)})
			m.wants("at the start", nil)
			time.Sleep(subscribedSoon)
			m.wants("soon", look)
			time.Sleep(subscribedLate - subscribedSoon)
			m.wants("late", look)
			m.stream(alice).handle(started)
			time.Sleep(time.Hour)
			m.wants("then", []Hint{{UID: alice, VMID: first, State: protocol.StateRunning}})
		})
	})
	t.Run("an early event", func(t *testing.T) {
		onFakeMac(t, func(m *bench) {
			m.SetUsers([]Followed{followed(alice, first)})
			m.stream(alice).handle(prlctl.Event{VMID: first, Name: "vm_perfstats"})
			time.Sleep(time.Hour)
			m.wants("one look", look)
		})
	})
	t.Run("an event in between", func(t *testing.T) {
		onFakeMac(t, func(m *bench) {
			m.SetUsers([]Followed{followed(alice, first)})
			m.stream(alice).handle(prlctl.Event{}) // a banner proves nothing
			m.wants("banner", look)
			time.Sleep(subscribedSoon)
			m.wants("soon", look)
			m.stream(alice).handle(prlctl.Event{VMID: first, Name: "vm_perfstats"})
			time.Sleep(time.Hour)
			m.wants("with the event", look)
		})
	})
	t.Run("again after an end", func(t *testing.T) {
		onFakeMac(t, func(m *bench) {
			m.settled(followed(alice, first))
			m.stream(alice).end <- errKilled
			m.wants("at the end", nil)
			time.Sleep(time.Second + subscribedSoon)
			m.wants("after the new start", look)
		})
	})
}

func (m *bench) wants(when string, want []Hint) {
	m.t.Helper()
	if diff := cmp.Diff(want, m.hints()); diff != "" {
		m.t.Errorf("%s (-want +got):\n%s", when, diff)
	}
}

// The first row of a name is taken: one behind it would never be.
func TestVMEventsHaveEachNameOnce(t *testing.T) {
	t.Parallel()
	for i := range vmEvents {
		if vmEventOf(vmEvents[i].name) != &vmEvents[i] {
			t.Errorf("%s is there twice", vmEvents[i].name)
		}
	}
}
