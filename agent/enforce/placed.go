package enforce

import (
	"prlagent/agent/policy"
	"prlagent/store"
)

// Placed is what the agent has placed for the policy, and has to lift before it goes
// (H47).
type Placed struct {
	Locks    int      // machines with a lock of ours
	Switches []string // of the host, as prlsrvctl set names them
	Leases   int      // times that a switch of the host is off for our own work
}

// PlacedIn is what the store remembers of that.
func PlacedIn(tx *store.Tx) (placed Placed, err error) {
	err = records.Each(tx, func(_ string, kept *record) error {
		if kept.Memory.HoldsLock() {
			placed.Locks++
		}
		return nil
	})
	if err != nil {
		return Placed{}, err
	}
	err = controlsRecords.Each(tx, func(_ string, kept *policy.ControlsMemory) error {
		for i := range policy.HostSwitches {
			if target := policy.HostSwitches[i].Target(); kept.Host.Call(target).Word != "" {
				placed.Switches = append(placed.Switches, target)
			}
		}
		return nil
	})
	if err != nil {
		return Placed{}, err
	}
	err = leases.Each(tx, func(string, *leaseRecord) error {
		placed.Leases++
		return nil
	})
	return placed, err
}
