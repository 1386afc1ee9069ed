package enforce

import (
	"fmt"
	"maps"
	"slices"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/store"
)

// memoryRecord is what is remembered of one machine.
type memoryRecord struct {
	Key    protocol.VMKey  `json:"key"`
	Memory policy.VMMemory `json:"memory"`
}

// reportRecord is what was reported last, so that after a restart the portal is
// not told something else until the first plan.
type reportRecord struct {
	Plan     string             `json:"plan"` // what it is about, see planKey
	Enforce  bool               `json:"enforce"`
	State    string             `json:"state"`
	Counts   map[string]int     `json:"counts,omitempty"`
	Verdicts []protocol.Verdict `json:"verdicts,omitempty"`
	LeftOut  int                `json:"left_out,omitempty"`
}

// isSame reports whether two reports say the same.
func (r reportRecord) isSame(other reportRecord) bool {
	return r.Plan == other.Plan && r.Enforce == other.Enforce && r.State == other.State && maps.Equal(r.Counts, other.Counts) &&
		slices.EqualFunc(r.Verdicts, other.Verdicts, func(a, b protocol.Verdict) bool {
			sameVM := a.VM == nil && b.VM == nil || a.VM != nil && b.VM != nil && *a.VM == *b.VM
			return sameVM && a.Path == b.Path && a.Verdict == b.Verdict && a.Strength == b.Strength && a.Code == b.Code && a.Since.Equal(b.Since)
		})
}

var (
	memories = store.NewCollection[memoryRecord]("policy_memory")
	reports  = store.NewCollection[reportRecord]("policy_report")
)

// reportKey is the key of the only report.
const reportKey = "report"

// Collections names what this package keeps in the store.
func Collections() []string { return []string{memories.Name(), reports.Name()} }

func loadMemory(state *store.Store) (policy.Memory, reportRecord, error) {
	memory := make(policy.Memory)
	var report reportRecord
	err := state.View(func(tx *store.Tx) (err error) {
		if report, _, err = reports.Get(tx, reportKey); err != nil {
			return err
		}
		return memories.Each(tx, func(_ string, kept memoryRecord) error {
			memory[kept.Key] = kept.Memory
			return nil
		})
	})
	if err != nil {
		return nil, reportRecord{}, fmt.Errorf("recall the policy: %w", err)
	}
	return memory, report, nil
}

// remember keeps what changed of some machines, in the store first: what is not
// there must not be acted on. The caller holds the lock.
func (e *Enforcer) remember(changed policy.Memory, report *reportRecord) error {
	if len(changed) == 0 && report == nil {
		return nil
	}
	err := e.options.Store.Update(func(tx *store.Tx) error {
		for _, key := range sortedKeys(changed) {
			if err := putMemory(tx, key, changed[key]); err != nil {
				return err
			}
		}
		if report == nil {
			return nil
		}
		return reports.Put(tx, reportKey, *report)
	})
	if err != nil {
		return fmt.Errorf("keep what is done for the policy: %w", err)
	}
	for key, memory := range changed {
		if memory.IsEmpty() {
			delete(e.memory, key)
			continue
		}
		e.memory[key] = memory
	}
	if report != nil {
		e.report = *report
	}
	return nil
}

func putMemory(tx *store.Tx, key protocol.VMKey, memory policy.VMMemory) error {
	if memory.IsEmpty() {
		return memories.Delete(tx, key.String())
	}
	return memories.Put(tx, key.String(), memoryRecord{Key: key, Memory: memory})
}

func sortedKeys[T any](from map[protocol.VMKey]T) []protocol.VMKey {
	keys := make([]protocol.VMKey, 0, len(from))
	for key := range from {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, protocol.VMKey.Compare)
	return keys
}

// maxGone is how many machines that are gone are remembered: one may come back,
// with a lock on it that is ours to lift.
const maxGone = 100

// forgetGone adds to the changes that machines which are not there any more are
// forgotten, but for those with a lock of ours.
func (e *Enforcer) forgetGone(changed policy.Memory, there map[protocol.VMKey]bool) {
	kept := 0
	for _, key := range sortedKeys(e.memory) {
		if there[key] {
			continue
		}
		if kept < maxGone && e.memory[key].HoldsLock() {
			kept++
			continue
		}
		changed[key] = policy.VMMemory{}
	}
}
