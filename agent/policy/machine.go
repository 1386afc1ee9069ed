package policy

import (
	"slices"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// Machine is what Plan has to know of one virtual machine.
type Machine struct {
	Key    protocol.VMKey // id and owner
	VM     prlctl.VM      // the newest description by id
	Config *prlctl.ConfigPVS
	Origin Origin
	// FirstSeen is when the agent saw the machine first; StartedAt its last start
	// that was observed. Zero if not known.
	FirstSeen time.Time
	StartedAt time.Time
	// AtWork: while it runs, somebody may be working in it. True if in doubt.
	AtWork bool
	// RetryNow: somebody asked, or something about the machine has changed, so
	// that what failed is tried again without waiting.
	RetryNow bool

	// UsedSpace is what the bundle takes of its volume, and FreeSpace what is free
	// there, in bytes; both are zero if not known.
	UsedSpace, FreeSpace uint64

	// Unreadable is why no description can be believed, Stale why the machine
	// could not be looked at now: VM is as it was seen last. Disputed: the tool
	// says that it is stopped, and a process contradicts.
	Unreadable protocol.Code
	Stale      protocol.Code
	Disputed   bool

	// Held: it is to stay suspended (H27), and so not to start by itself, whatever is
	// wanted of it otherwise.
	Held bool
}

// Whether a machine starts by itself (facts/prlctl.md 1.5).
const (
	autostartFlag = "--autostart"
	autostartOff  = "off"
)

// Origin is where a machine came from.
type Origin string

// Origins. A machine of unknown source is in the scope of the others until it is
// adopted.
const (
	OriginUnknown Origin = ""
	OriginGolden  Origin = "golden_image" // any golden image of the organization (conformance VMS-05)
	OriginOther   Origin = "other"
)

// Activities of a machine, as far as they decide what may be set.
type activity int

const (
	activityBusy      activity = iota // between two states, or one that we do not know
	activityStopped                   // shut down
	activitySuspended                 // has a saved state, which belongs to its configuration
	activityRunning
)

func (m *Machine) activity() activity {
	switch prlctl.State(strings.ToLower(string(m.VM.State))) {
	case prlctl.StateStopped:
		return activityStopped
	case prlctl.StateRunning:
		return activityRunning
	case prlctl.StateSuspended, prlctl.StatePaused:
		return activitySuspended
	}
	return activityBusy
}

// whyUntouchable is why nothing at all can be set on the machine now; empty if
// something can.
func (m *Machine) whyUntouchable() protocol.Code {
	switch {
	case m.Stale != "":
		return m.Stale
	case strings.EqualFold(string(m.VM.State), string(prlctl.StateInvalid)):
		return protocol.CodeVMInvalid
	case m.Disputed:
		return protocol.CodeStateDisputed
	case m.VM.Security.Packed.On(), m.VM.Security.Archived.On():
		return protocol.CodeVMPacked
	}
	switch m.activity() {
	case activityBusy:
		return protocol.CodeVMBusy
	case activitySuspended:
		return protocol.CodeVMSuspended
	}
	return ""
}

// isAtRest reports whether nobody can be working in the machine.
func (m *Machine) isAtRest() bool {
	at := m.activity()
	return m.Stale == "" && !m.Disputed && (at == activityStopped || at == activitySuspended)
}

// index is where the catalogue finds things.
type index struct {
	paths *prlctl.Paths
	shown []string // the places in the description, in the order in which paths reads them

	inOrder []*Setting // as they are set
	lock    *Setting   // that locks a configuration
}

// catalogue is the index of Settings.
var catalogue = newIndex(Settings)

func newIndex(settings []Setting) index {
	var made index
	for i := range settings {
		if settings[i].Lock {
			made.lock = &settings[i]
		}
		for j := range settings[i].Parts {
			for _, path := range settings[i].Parts[j].Shown {
				if !slices.Contains(made.shown, path) {
					made.shown = append(made.shown, path)
				}
			}
		}
	}
	for order := OrderFirst; order <= OrderLast; order++ {
		for i := range settings {
			if settings[i].Order == order {
				made.inOrder = append(made.inOrder, &settings[i])
			}
		}
	}
	made.paths = prlctl.NewPaths(made.shown...)
	return made
}

// Find is the setting of that name; nil if the catalogue has none.
func Find(name string) *Setting {
	for i := range Settings {
		if Settings[i].Name == name {
			return &Settings[i]
		}
	}
	return nil
}

// Shown are the places in a description where settings are read. Who keeps less than the whole
// description keeps these, and the network adapters.
func Shown() []string { return slices.Clone(catalogue.shown) }

// show is what a machine shows for a part, as it is compared: known is false
// where it shows nothing. values are what the paths of the catalogue read.
func (p *Part) show(values []string, slots []int, config *prlctl.ConfigPVS) (shown string, known bool) {
	if text := described(values, slots); text != "" {
		return p.Read.understand(text), true
	}
	if p.File == nil || config == nil {
		return "", false
	}
	shown = p.Read.understand(p.File(config))
	return shown, shown != "" || p.Read == ReadText
}

// described is the first of the places in the description that there is; empty
// if there is none.
func described(values []string, slots []int) string {
	for _, slot := range slots {
		if values[slot] != "" {
			return values[slot]
		}
	}
	return ""
}

func (p *Part) slots() []int {
	slots := make([]int, len(p.Shown))
	for i, path := range p.Shown {
		slots[i] = slices.Index(catalogue.shown, path)
	}
	return slots
}
