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
	found := &changesAt{now: now}
	found.addRenamedAccounts(before)
	if before.At.IsZero() {
		for _, change := range protocol.CompareVMs(asSeen(before.VMs), now.VMs, now.Truncated) {
			found.addBundle(change)
		}
		return found.events
	}
	for _, change := range protocol.CompareVMs(before.VMs, now.VMs, now.Truncated) {
		found.addBundle(change)
		if !isOutage(before, now, change) {
			found.addChange(change)
		}
	}
	found.addProduct(&before.Product, &now.Product)
	return found.events
}

// changesAt gathers the events of a look.
type changesAt struct {
	now    *inventory.Look
	events []protocol.Event
}

// add adds an event; data comes in pairs of key and value.
func (c *changesAt) add(kind string, code protocol.Code, data ...string) {
	c.events = append(c.events, newEvent(c.now.At, kind, code, data...))
}

// addAbout adds an event about a machine.
func (c *changesAt) addAbout(vm *protocol.VM, kind string, code protocol.Code, data ...string) {
	c.add(kind, code, append([]string{"uid", fmt.Sprint(vm.UID), "user_name", vm.Owner, "vm_id", vm.ID, "vm_name", vm.Name}, data...)...)
}

// addProduct tells that Parallels Desktop came, went, is another version or edition,
// or in another state. Of a version or an edition that cannot be read nothing is told.
func (c *changesAt) addProduct(had, has *protocol.Product) {
	switch {
	case !had.Installed && has.Installed:
		c.add("product_installed", "", "version", has.Version, "build", has.Build)
	case had.Installed && !has.Installed:
		c.add("product_removed", "", "version", had.Version, "build", had.Build)
	case had.Version != "" && has.Version != "" && (had.Version != has.Version || had.Build != has.Build):
		c.add("product_updated", "", "from", versionWords(had), "to", versionWords(has))
	}
	if had.Edition != "" && has.Edition != "" && had.Edition != has.Edition {
		c.add("product_edition", "", "from", had.Edition, "to", has.Edition)
	}
	if had.State != has.State {
		c.add("product_state", has.Gaps["pd_state"], "from", cmp.Or(had.State, "unknown"), "to", cmp.Or(has.State, "unknown"))
	}
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

// addRenamedAccounts tells of accounts that are called something else than before.
// What one without a record is called depends on whether it is at the console.
func (c *changesAt) addRenamedAccounts(before *inventory.Look) {
	names := make(map[uint32]string, len(before.Users))
	for i := range before.Users {
		if user := &before.Users[i]; user.IsLookedAt() {
			names[user.UID] = user.Name
		}
	}
	for i := range c.now.Users {
		user := &c.now.Users[i]
		if had := names[user.UID]; had != "" && had != user.Name && user.IsLookedAt() {
			c.add("account_renamed", "", "uid", fmt.Sprint(user.UID), "user_name", user.Name, "from", had)
		}
	}
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

// addBundle tells that a machine is in another bundle than before: it was restored
// from a copy, or moved to another volume (H21).
func (c *changesAt) addBundle(change protocol.Change) {
	if change.BundleChanged() && change.Now.Stale == "" {
		c.addAbout(change.Now, "vm_bundle_changed", "")
	}
}

// addChange tells what a person may want to know of a change beside: at most one
// event.
func (c *changesAt) addChange(change protocol.Change) {
	old, vm := change.Before, change.Now
	switch {
	case change.Came():
		c.addAbout(vm, "vm_added", "", "state", vm.State)
	case change.Went():
		c.addAbout(old, "vm_removed", "")
	case old.Stale == "" && vm.Stale != "":
		c.addAbout(vm, "vm_stale", vm.Stale)
	case vm.Stale != "":
	case old.State != vm.State:
		c.addAbout(vm, "vm_state", "", "from", old.State, "to", vm.State)
	case old.Name != vm.Name:
		c.addAbout(vm, "vm_renamed", "", "from", old.Name)
	}
}
