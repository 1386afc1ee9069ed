package policy

import (
	"time"

	"prlagent/agent/protocol"
)

// What became of what a person does by hand with one machine.
const (
	HandDone     = "done"     // it is as it is wanted
	HandDeferred = "deferred" // not now: see the code, and do it again then
	HandRefused  = "refused"  // it cannot be done, or failed
)

// Passes reports whether a refusal with this code passes by itself.
func Passes(code protocol.Code) bool {
	return code == protocol.CodeVMBusy || code == protocol.CodeServiceDown || code == protocol.CodeUserSession
}

// OneSetting is the document of a setting that a person sets by hand: for every
// machine, with all that the tools take. With keepLock it has the lock of the
// configuration as well, which is lifted and placed again around the setting.
func OneSetting(setting *Setting, value Value, keepLock bool) *Document {
	scope := Scope{Managed: true, Settings: map[string]Value{setting.Name: value}}
	if keepLock {
		for i := range Settings {
			if Settings[i].Lock && Settings[i].Name != setting.Name {
				scope.Settings[Settings[i].Name] = True
			}
		}
	}
	return &Document{VMSettings: VMSettings{GoldenImage: scope, Other: scope, BeyondGuide: true}}
}

// Wants is the value that the document wants of a setting of the machine, and the
// setting's path in it; managed is false if it wants none.
func (d *Document) Wants(m *Machine, name string) (value Value, path string, managed bool) {
	scope, in := d.scopeOf(m)
	value, managed = scope.Settings[name]
	return value, below(in, name), managed
}

// ForHand is the memory that something done by hand starts from: that of locks,
// of which nothing keeps a person from trying again.
func (m VMMemory) ForHand() VMMemory {
	kept := VMMemory{Settings: make(map[string]*SettingMemory)}
	for name, memory := range m.Settings {
		if setting := Find(name); setting == nil || !setting.Lock {
			continue
		}
		lock := *memory
		for i := range memory.Calls {
			call := lock.change(memory.Calls[i].Target)
			call.Failures, call.Code, call.Refused, call.Contended = 0, "", "", false
		}
		kept.Settings[name] = &lock
	}
	return kept
}

// AfterHand is the memory of a machine once a step for a lock was carried out by
// hand, with what became of it in hand's memory: a lock is remembered as placed
// by hand, unless a policy had it placed, and one that is lifted for good is
// forgotten.
func (m VMMemory) AfterHand(hand VMMemory, step *Step, proven bool, at time.Time) VMMemory {
	was, now := m.Setting(step.Setting), *hand.Setting(step.Setting)
	if proven && step.Unlocks && (step.Restores || step.Value == False) && now.Call(step.Target).lateUntil(at).IsZero() {
		now.Calls = nil
	}
	now.ByHand = was.ByHand || was.Call(step.Target).Word == ""
	m = m.with(step.Setting, &now)
	if now.Calls == nil {
		delete(m.Settings, step.Setting)
	}
	return m
}
