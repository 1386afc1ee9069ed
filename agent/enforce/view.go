package enforce

import (
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

// View is how it stands with the policy, for people: the newest plan, with what
// is remembered of each setting.
type View struct {
	At       time.Time // of the newest plan for the document; zero: there was none
	Document *policy.Document
	Enforce  bool
	Settings []SettingView
	Steps    []policy.Step // that were, or in monitor mode would be, carried out
	Host     []policy.HostStep
	Machines map[protocol.VMKey]*Machine
	// PreferenceSteps are the keys that were, or would be, written, and Accounts whose
	// they are.
	PreferenceSteps []policy.PreferenceStep
	Accounts        map[uint32]*Account
}

// SettingView is one setting of one machine.
type SettingView struct {
	Verdict *policy.Verdict
	Memory  *policy.SettingMemory
}

// Drifts is how often settings that the policy manages were found changed.
func (e *Enforcer) Drifts() (total int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key, verdicts := range e.verdicts {
		for _, verdict := range verdicts {
			total += e.memory[key].Setting(verdict.Setting).Drifts()
		}
	}
	return total
}

// View gives how it stands now.
func (e *Enforcer) View() *View {
	e.mu.Lock()
	defer e.mu.Unlock()
	view := &View{Document: e.parsed.document}
	planned := e.planInForce()
	if planned == nil {
		return view
	}
	view.At, view.Enforce, view.Machines = planned.At, planned.Enforce, planned.Machines
	view.PreferenceSteps, view.Accounts = planned.PreferenceSteps, planned.Accounts
	view.Steps, view.Host = planned.shownSteps(), planned.shownHostSteps()
	for _, verdict := range verdictsInOrder(e.verdicts) {
		memory := e.memory[verdict.VM].Setting(verdict.Setting)
		if verdict.VM == (protocol.VMKey{}) {
			memory = &policy.SettingMemory{Calls: e.controls.SwitchesOf(verdict.Setting)}
		}
		view.Settings = append(view.Settings, SettingView{verdict, memory})
	}
	return view
}
