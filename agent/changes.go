package agent

import (
	"cmp"
	"fmt"
	"slices"

	"prlagent/agent/inventory"
	"prlagent/agent/protocol"
)

// changes are the events between two looks: what came, went, or is in another
// state. The first look of a process has nothing of that kind to be compared
// with; but who is who, and in which bundle, was remembered.
func changes(before, now *inventory.Look) []protocol.Event {
	events := renamedAccounts(before, now)
	if before.At.IsZero() {
		for _, change := range protocol.CompareVMs(asSeen(before.VMs), now.VMs, now.Truncated) {
			events = append(events, bundleEvents(now, change)...)
		}
		return events
	}
	for _, change := range protocol.CompareVMs(before.VMs, now.VMs, now.Truncated) {
		events = append(events, bundleEvents(now, change)...)
		if !isOutage(before, now, change) {
			events = append(events, eventsOf(now, change)...)
		}
	}
	events = append(events, productEvents(before, now)...)
	if had, has := before.Product.Edition, now.Product.Edition; had != "" && has != "" && had != has {
		events = append(events, newEvent(now.At, "product_edition", "", "from", had, "to", has))
	}
	if before.Product.State != now.Product.State {
		events = append(events, newEvent(now.At, "product_state", now.Product.Gaps["pd_state"],
			"from", cmp.Or(before.Product.State, "unknown"), "to", cmp.Or(now.Product.State, "unknown")))
	}
	return events
}

// productEvents tell that Parallels Desktop came, went, or is another version. Of
// one whose version cannot be read nothing is told.
func productEvents(before, now *inventory.Look) []protocol.Event {
	had, has := &before.Product, &now.Product
	switch {
	case !had.Installed && has.Installed:
		return []protocol.Event{newEvent(now.At, "product_installed", "", "version", has.Version, "build", has.Build)}
	case had.Installed && !has.Installed:
		return []protocol.Event{newEvent(now.At, "product_removed", "", "version", had.Version, "build", had.Build)}
	case had.Version == "" || has.Version == "" || had.Version == has.Version && had.Build == has.Build:
		return nil
	}
	return []protocol.Event{newEvent(now.At, "product_updated", "", "from", versionWords(had), "to", versionWords(has))}
}

func versionWords(product *protocol.Product) string {
	if product.Build == "" {
		return product.Version
	}
	return product.Version + " (" + product.Build + ")"
}

// isOutage reports whether a machine is only known from before, or again fresh,
// because its user's list cannot be read, or can be again: that is one event for
// the user (see troubles), and none for each machine.
func isOutage(before, now *inventory.Look, change protocol.Change) bool {
	if change.Came() || change.Went() {
		return false
	}
	had, has := change.Before, change.Now
	switch {
	case has.Stale != "":
		return !isListed(now, has.UID)
	case had.Stale != "":
		return !isListed(before, had.UID) && had.RawState == has.RawState && had.Name == has.Name
	}
	return false
}

func isListed(look *inventory.Look, uid uint32) bool {
	for i := range look.Users {
		if user := &look.Users[i]; user.UID == uid && !user.IsListed() {
			return false
		}
	}
	return true
}

// renamedAccounts are the accounts that are called something else than before.
// What one without a record is called depends on whether it is at the console.
func renamedAccounts(before, now *inventory.Look) []protocol.Event {
	names := make(map[uint32]string, len(before.Users))
	for i := range before.Users {
		if user := &before.Users[i]; user.IsLookedAt() {
			names[user.UID] = user.Name
		}
	}
	var events []protocol.Event
	for i := range now.Users {
		user := &now.Users[i]
		if had := names[user.UID]; had != "" && had != user.Name && user.IsLookedAt() {
			events = append(events, newEvent(now.At, "account_renamed", "", "uid", fmt.Sprint(user.UID), "user_name", user.Name, "from", had))
		}
	}
	return events
}

// asSeen are remembered rows, to be compared with a look by what does not go
// stale.
func asSeen(remembered []protocol.VM) []protocol.VM {
	rows := slices.Clone(remembered)
	for i := range rows {
		rows[i].Stale = ""
	}
	return rows
}

// bundleEvents tell that a machine is in another bundle than before: it was
// restored from a copy, or moved to another volume (H21).
func bundleEvents(now *inventory.Look, change protocol.Change) []protocol.Event {
	if !change.BundleChanged() || change.Now.Stale != "" {
		return nil
	}
	return about(now, change.Now, "vm_bundle_changed", "")
}

// eventsOf is what a person may want to know of a change beside: at most one
// event.
func eventsOf(now *inventory.Look, change protocol.Change) []protocol.Event {
	switch {
	case change.Came():
		return about(now, change.Now, "vm_added", "", "state", change.Now.State)
	case change.Went():
		return about(now, change.Before, "vm_removed", "")
	}
	old, vm := change.Before, change.Now
	switch {
	case old.Stale == "" && vm.Stale != "":
		return about(now, vm, "vm_stale", vm.Stale)
	case vm.Stale != "":
		return nil
	case old.State != vm.State:
		return about(now, vm, "vm_state", "", "from", old.State, "to", vm.State)
	case old.Name != vm.Name:
		return about(now, vm, "vm_renamed", "", "from", old.Name)
	}
	return nil
}

// about is one event about a machine.
func about(now *inventory.Look, vm *protocol.VM, kind string, code protocol.Code, data ...string) []protocol.Event {
	data = append([]string{"uid", fmt.Sprint(vm.UID), "user_name", vm.Owner, "vm_id", vm.ID, "vm_name", vm.Name}, data...)
	return []protocol.Event{newEvent(now.At, kind, code, data...)}
}
