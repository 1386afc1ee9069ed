package watch

import (
	"prlagent/agent/protocol"
	"prlagent/agent/trigger"
	"prlagent/prlctl"
)

// eventMeaning is what is made of an event.
type eventMeaning uint8

const (
	lookAtMachine eventMeaning = iota // look at the machine: also every event that is not in the table
	stateOfEvent                      // the event carries the machine's state
	stateOfName                       // its name says the state
	configChange                      // a setting, or the echo of our own query
	ignored                           // nothing that anybody waits for
)

// vmEvent is a row of the table.
type vmEvent struct {
	name    string
	meaning eventMeaning
	state   string // of stateOfName: the state that lasts (facts/prlctl.md 2.3)
	source  string
}

// vmEvents are the events that are known, by name. The names that are inferred
// are constants of the SDK in lower case, as libvirt's driver and OpenVZ's SDK
// have them; whether the tool tells them beside vm_state_changed is not known,
// and would do no harm: the same word twice changes nothing.
var vmEvents = []vmEvent{
	{"vm_state_changed", stateOfEvent, "", "facts/prlctl.md 3 [C DEVOPS, VSCODE, PDAI]"},
	{"vm_config_changed", configChange, "", "facts/prlctl.md 3 [C DEVOPS, PDAI]"},
	{"vm_added", lookAtMachine, "", "facts/prlctl.md 3 [C all three]; it may not be listable yet"},
	{"vm_unregistered", lookAtMachine, "", "facts/prlctl.md 3 [C all three]"},
	{"vm_deleted", lookAtMachine, "", "facts/prlctl.md 3 [C DEVOPS]"},
	{"vm_tools_state_changed", lookAtMachine, "", "facts/prlctl.md 3 [C DEVOPS]"},
	{"vm_snapshots_tree_changed", lookAtMachine, "", "facts/prlctl.md 3 [C DEVOPS, VSCODE]"},
	{"vm_snapshot_created", lookAtMachine, "", "facts/prlctl.md 3 [C PDAI]"},
	{"vm_created", lookAtMachine, "", "facts/prlctl.md 3 [I]"},
	{"vm_started", stateOfName, "running", "facts/prlctl.md 3 [I]"},
	{"vm_resumed", stateOfName, "running", "facts/prlctl.md 3 [I]"},
	{"vm_continued", stateOfName, "running", "facts/prlctl.md 3 [I]"},
	{"vm_stopped", stateOfName, "stopped", "facts/prlctl.md 3 [I]"},
	{"vm_suspended", stateOfName, "suspended", "facts/prlctl.md 3 [I; the constant is in OpenVZ's SDK]"},
	{"vm_paused", stateOfName, "paused", "facts/prlctl.md 3 [I; the constant is in OpenVZ's SDK]"},
	{"vm_perfstats", ignored, "", "facts/prlctl.md 3 [I]: figures of load, again and again"},
}

// anyEvent is the row of an event that is not in the table.
var anyEvent vmEvent

func vmEventOf(name string) *vmEvent {
	for i := range vmEvents {
		if vmEvents[i].name == name {
			return &vmEvents[i]
		}
	}
	return &anyEvent
}

// hintOf is what an event with this row says about a user's machine. One that
// names no machine is about all of them.
func (row *vmEvent) hintOf(uid uint32, event prlctl.Event) Hint {
	if event.VMID == "" {
		return Hint{UID: uid}
	}
	word := row.state
	if row.meaning == stateOfEvent {
		word = event.State
	}
	return Hint{UID: uid, VMID: event.VMID, State: stateOf(word)}
}

// stateOf translates a state word of the tool: to the word of the guide's table,
// to trigger.Transient, or to Unknown where only a look can say what it means.
// No word stays none.
func stateOf(word string) string {
	state := prlctl.State(word)
	known := state.Portal()
	switch {
	case word == "":
		return ""
	case known == prlctl.PortalUnknown:
		return protocol.StateUnknown
	}
	switch state {
	case prlctl.StateRunning, prlctl.StateSuspended, prlctl.StatePaused, prlctl.StateStopped: // until somebody does something
		return known
	}
	return trigger.Transient // it passes by itself, as every other one that is known (facts/prlctl.md 2.3)
}
