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
	known := make(map[protocol.VMKey]protocol.VM, len(before.VMs))
	for _, vm := range before.VMs {
		known[vm.VMKey] = vm
	}
	for _, vm := range now.VMs {
		old, had := known[vm.VMKey]
		delete(known, vm.VMKey)
		switch {
		case !had:
			events = append(events, about(now, vm, "vm_added", "", "state", vm.State))
		case old.Stale == "" && vm.Stale != "":
			events = append(events, about(now, vm, "vm_stale", vm.Stale))
		case vm.Stale == "" && old.State != vm.State:
			events = append(events, about(now, vm, "vm_state", "", "from", old.State, "to", vm.State))
		case vm.Stale == "" && old.Name != vm.Name:
			events = append(events, about(now, vm, "vm_renamed", "", "from", old.Name))
		}
	}
	for _, vm := range before.VMs {
		if _, gone := known[vm.VMKey]; gone {
			events = append(events, about(now, vm, "vm_removed", ""))
		}
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

func about(now inventory.Look, vm protocol.VM, kind string, code protocol.Code, data ...string) protocol.Event {
	return newEvent(now.At, kind, code, append([]string{"user_name", vm.Owner, "vm_id", vm.ID, "vm_name", vm.Name}, data...)...)
}
