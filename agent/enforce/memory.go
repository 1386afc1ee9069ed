package enforce

import (
	"fmt"
	"iter"
	"maps"
	"sort"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/store"
)

// record is what the store keeps: what is remembered of one machine or of one
// account's preferences, the report, that the locks were released, or the version of
// the product.
type record struct {
	Key      protocol.VMKey  `json:"key,omitzero"`
	Memory   policy.VMMemory `json:"memory,omitzero"`
	Report   *told           `json:"report,omitempty"`
	Released *Released       `json:"released,omitempty"`
	Seen     string          `json:"seen_version,omitempty"` // of the product, see noteVersion
}

// told is what was reported last. It is kept so that after a restart the portal
// is not told something else until the first plan.
type told struct {
	Plan     string                 `json:"plan"` // what it is about, see planKey
	Enforce  bool                   `json:"enforce"`
	State    string                 `json:"state"`
	Counts   map[string]int         `json:"counts,omitempty"`
	Verdicts protocol.VerdictReport `json:"verdicts"`
}

var (
	records = store.Collection[*record]{Name: "policy_memory"}
	// controlsRecords has what is remembered for the security controls, as one record.
	controlsRecords = store.Collection[*policy.ControlsMemory]{Name: "policy_controls"}
)

// Keys of the records that are about no machine.
const (
	reportKey   = "report"
	releasedKey = "released"
	versionKey  = "version"
)

// Collections names what this package keeps in the store.
func Collections() []string {
	return []string{records.Name, controlsRecords.Name, leases.Name}
}

// loadMemory recalls what is remembered of machines and accounts, the report, that the
// locks were released, and the version of the product.
func (e *Enforcer) loadMemory() error {
	e.memory, e.report, e.released, e.seenVersion = make(policy.Memory), &told{}, nil, ""
	err := records.LoadEach(e.options.Store, func(_ string, kept *record) error {
		switch {
		case kept.Report != nil:
			e.report = kept.Report
		case kept.Released != nil:
			e.released = kept.Released
		case kept.Seen != "":
			e.seenVersion = kept.Seen
		default:
			e.memory[kept.Key] = kept.Memory
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("recall the policy: %w", err)
	}
	return nil
}

// loadControls recalls what is remembered for the security controls, and what is
// lifted.
func (e *Enforcer) loadControls() error {
	e.controls = &policy.ControlsMemory{}
	err := controlsRecords.LoadEach(e.options.Store, func(_ string, kept *policy.ControlsMemory) error {
		e.controls = kept
		return nil
	})
	if err != nil {
		return fmt.Errorf("recall the security controls: %w", err)
	}
	return e.loadLeases()
}

// remember keeps what changed of some machines, of the report and of the security
// controls, in the store first: what is not there must not be acted on. The caller
// holds the lock.
func (e *Enforcer) remember(changed policy.Memory, report *told, controls *policy.ControlsMemory) error {
	if len(changed) == 0 && report == nil && controls == nil {
		return nil
	}
	err := e.options.Store.Update(func(tx *store.Tx) error {
		for _, key := range inOrder(maps.Keys(changed)) {
			if err := putMemory(tx, key, changed[key]); err != nil {
				return err
			}
		}
		if err := putControls(tx, controls); err != nil || report == nil {
			return err
		}
		return records.Put(tx, reportKey, &record{Report: report})
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
		e.report = report
	}
	if controls != nil {
		e.controls = controls
	}
	return nil
}

const controlsKey = "mac"

func putControls(tx *store.Tx, controls *policy.ControlsMemory) error {
	switch {
	case controls == nil:
		return nil
	case controls.IsEmpty():
		return controlsRecords.Delete(tx, controlsKey)
	}
	return controlsRecords.Put(tx, controlsKey, controls)
}

func putMemory(tx *store.Tx, key protocol.VMKey, memory policy.VMMemory) error {
	if memory.IsEmpty() {
		return records.Delete(tx, key.String())
	}
	return records.Put(tx, key.String(), &record{Key: key, Memory: memory})
}

// inOrder are the keys of machines and accounts in order, as those of a map.
func inOrder(keys iter.Seq[protocol.VMKey]) (list []protocol.VMKey) {
	for key := range keys {
		list = append(list, key)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Compare(list[j]) < 0 })
	return list
}

// maxGone is how many machines that are gone are remembered: one may come back,
// with a lock on it that is ours to lift.
const maxGone = 100

// followMoved takes what is remembered of a machine with our lock to where it is
// now: its bundle may have been given to another user. The caller holds the lock
// of the enforcer, and has seen every machine that there is.
func (e *Enforcer) followMoved(planned *Planned) error {
	moved := make(policy.Memory)
	there := inOrder(maps.Keys(planned.Machines))
	for _, old := range inOrder(maps.Keys(e.memory)) {
		if planned.Machines[old] != nil || !e.memory[old].HoldsLock() {
			continue
		}
		for _, key := range there {
			if key.ID == old.ID && e.memory[key].IsEmpty() && moved[key].IsEmpty() {
				moved[key], moved[old] = e.memory[old], policy.VMMemory{}
				break
			}
		}
	}
	return e.remember(moved, nil, nil)
}

// forgetGone adds to the changes that machines which are not there any more are
// forgotten, but for those with a lock of ours.
func (e *Enforcer) forgetGone(changed policy.Memory, planned *Planned) {
	kept := 0
	for _, key := range inOrder(maps.Keys(e.memory)) {
		if planned.Machines[key] != nil || isAccount(key) && (planned.Accounts[key.UID] != nil || len(planned.Accounts) == 0) {
			continue
		}
		if kept < maxGone && e.memory[key].HoldsLock() {
			kept++
			continue
		}
		changed[key] = policy.VMMemory{}
	}
}
