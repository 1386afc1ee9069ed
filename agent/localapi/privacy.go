package localapi

import (
	"fmt"

	"prlagent/agent/protocol"
)

// What a user of the Mac who is no administrator may see (H16):
//
//   - of the status, Status.ForEveryone;
//   - of the table, the rows of virtual machines that they own or list;
//   - of the events, those about themselves in full, those about nobody in
//     particular as time, type and code, and none about other users.

func statusFor(actor Actor, status *Status) *Status {
	if actor.Admin {
		return status
	}
	return status.ForEveryone()
}

func inventoryFor(actor Actor, inventory *Inventory) *Inventory {
	visible := &Inventory{Schema: inventory.Schema, At: inventory.At, Restricted: !actor.Admin, Rows: []protocol.Row{}}
	if actor.Admin {
		visible.LeftOut = inventory.LeftOut
	}
	for i := range inventory.Rows {
		if row := &inventory.Rows[i]; actor.Admin || isMine(actor, &row.VM) {
			visible.Rows = append(visible.Rows, *row)
		}
	}
	return visible
}

// isMine never lets an actor without a name own anything.
func isMine(actor Actor, vm *protocol.VM) bool {
	return actor.Name != "" && vm.IsListedBy(actor.UID)
}

// eventUID and eventUser are the keys of an event's data that say which user it
// is about. Events of agents before this one have the name only; where the uid
// is there it decides, because a name can go to another account.
const (
	eventUID  = "uid"
	eventUser = "user_name"
)

func isAbout(actor Actor, event *protocol.Event) bool {
	uid, named := event.Data[eventUID]
	if !named {
		return actor.Name != "" && event.Data[eventUser] == actor.Name
	}
	return actor.Name != "" && uid == fmt.Sprint(actor.UID)
}

// personalData are the keys whose presence makes an event one about somebody.
var personalData = []string{eventUser, eventUID, "user", "vm_id", "vm_name", "vm"}

func eventsFor(actor Actor, events []protocol.Event) []protocol.Event {
	visible := make([]protocol.Event, 0, len(events))
	for i := range events {
		isWhole := actor.Admin || isAbout(actor, &events[i])
		if !isWhole && isPersonal(&events[i]) {
			continue
		}
		visible = append(visible, events[i])
		if !isWhole {
			visible[len(visible)-1].Data = nil
		}
	}
	return visible
}

func isPersonal(event *protocol.Event) bool {
	for _, key := range personalData {
		if _, found := event.Data[key]; found {
			return true
		}
	}
	return false
}
