package agent

import (
	"cmp"

	"prlagent/agent/inventory"
	"prlagent/agent/protocol"
)

// changes are the events between two looks: what came, went, or is in another
// state. A first look has nothing to be compared with.
func changes(before, now inventory.Look) []protocol.Event {
	if before.At.IsZero() {
		return nil
	}
	var events []protocol.Event
	for _, change := range protocol.CompareVMs(before.VMs, now.VMs, now.Truncated) {
		events = append(events, eventsOf(now, change)...)
	}
	if had, has := before.Product.Edition, now.Product.Edition; had != "" && has != "" && had != has {
		events = append(events, newEvent(now.At, "product_edition", "", "from", had, "to", has))
	}
	if before.Product.State != now.Product.State {
		events = append(events, newEvent(now.At, "product_state", now.Product.Gaps["pd_state"],
			"from", cmp.Or(before.Product.State, "unknown"), "to", cmp.Or(now.Product.State, "unknown")))
	}
	return events
}

// eventsOf is what a person may want to know of a change: at most one event.
func eventsOf(now inventory.Look, change protocol.Change) []protocol.Event {
	switch {
	case change.Came():
		return []protocol.Event{about(now, *change.Now, "vm_added", "", "state", change.Now.State)}
	case change.Went():
		return []protocol.Event{about(now, *change.Before, "vm_removed", "")}
	}
	old, vm := *change.Before, *change.Now
	switch {
	case old.Stale == "" && vm.Stale != "":
		return []protocol.Event{about(now, vm, "vm_stale", vm.Stale)}
	case vm.Stale != "":
		return nil
	case old.State != vm.State:
		return []protocol.Event{about(now, vm, "vm_state", "", "from", old.State, "to", vm.State)}
	case old.Name != vm.Name:
		return []protocol.Event{about(now, vm, "vm_renamed", "", "from", old.Name)}
	}
	return nil
}

func about(now inventory.Look, vm protocol.VM, kind string, code protocol.Code, data ...string) protocol.Event {
	return newEvent(now.At, kind, code, append([]string{"user_name", vm.Owner, "vm_id", vm.ID, "vm_name", vm.Name}, data...)...)
}
