package policy

import (
	"time"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// Step is one call of `prlctl set` for one machine.
type Step struct {
	VM      protocol.VMKey
	Setting string   // that it is for
	Path    string   // of the setting in the document
	Value   Value    // that the policy wants
	Target  string   // what the call sets: the flag, or the flag and an adapter
	Args    []string // behind `prlctl set ID`
	Word    string   // that the flag is set to
	Prior   string   // what was shown for it before, as it is compared; empty if nothing was
	// InFile: only config.pvs shows the result, some seconds after the call.
	InFile bool
	// Unlocks: the step lifts a lock that we placed, for good (Restores) or for
	// the steps behind it.
	Unlocks  bool
	Restores bool
	// IfRunning is why the step is not to be carried out on a machine that runs:
	// it needs it shut down, or would interrupt somebody. Empty if it may run.
	IfRunning protocol.Code
	// StopsOthers: if the step fails, the ones behind it on this machine cannot
	// succeed.
	StopsOthers bool

	part    *Part
	word    *Word
	waited  time.Time // since when the setting was deferred until now; zero: it was not
	adapter string    // whose word is compared, for a part of adapters
}

// Argv is the whole call behind the tool's path. The machine is named by its id:
// names are the user's text (H13).
func (s *Step) Argv() []string {
	return append([]string{"set", s.VM.ID}, s.Args...)
}

// WhyNot is why the step is not to be carried out on its machine as it is now,
// which may be another state than that which was planned for; empty if it is.
func (s *Step) WhyNot(m *Machine) protocol.Code {
	if code := m.whyUntouchable(); code != "" || m.activity() != activityRunning {
		return code
	}
	return s.IfRunning
}

// IsUnread reports whether nothing shows what the step sets.
func (s *Step) IsUnread() bool { return s.part.isUnread() }

// Proven reports whether a new look at the machine shows what the step wants.
// Of a part that nothing shows there is no proof, and none is asked for.
func (s *Step) Proven(vm *prlctl.VM, config *prlctl.ConfigPVS) bool {
	if s.IsUnread() {
		return true
	}
	if s.adapter != "" {
		for i := range vm.Adapters {
			if vm.Adapters[i].Name == s.adapter {
				return s.part.satisfies(s.word, adapterWord(&vm.Adapters[i]))
			}
		}
		return false
	}
	values := catalogue.paths.Read(vm, nil)
	shown, known := s.part.show(values, s.part.slots(), config)
	return known && s.part.satisfies(s.word, shown)
}

// argument is one option with its value. They stand in one argument, so that no
// value is taken for an option (H13); of devices only the form with two was
// seen (facts/acting.md 1).
func argument(flag, value string) string { return flag + "=" + value }
