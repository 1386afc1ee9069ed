package webhook

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
	"prlagent/platform/text"
)

// Message is the body of a request. Its texts may be shown: what steers in the names
// of a Mac is escaped, as everywhere (H15).
type Message struct {
	ID        string    `json:"id"`        // of what is told, for good; also the header webhook-id
	Type      string    `json:"type"`      // one of the Webhook words of protocol
	Timestamp time.Time `json:"timestamp"` // when it happened, by the Mac's clock where that can be
	Data      Data      `json:"data"`
}

// Data is what is told.
type Data struct {
	DeviceID     string            `json:"device_id,omitempty"`
	MacSerial    string            `json:"mac_serial,omitempty"`
	ComputerName string            `json:"computer_name,omitempty"` // empty where the Mac does not tell it
	Group        string            `json:"group,omitempty"`
	User         *User             `json:"user,omitempty"` // whose machine it is about
	VM           *VM               `json:"vm,omitempty"`
	Event        string            `json:"event,omitempty"` // type of the Mac's event
	Code         protocol.Code     `json:"code,omitempty"`
	Text         string            `json:"text,omitempty"`   // for people
	Detail       map[string]string `json:"detail,omitempty"` // what else the event says
	ReceivedAt   time.Time         `json:"received_at"`      // by the portal
}

// User is an account of a Mac.
type User struct {
	UID  uint32 `json:"uid"`
	Name string `json:"name,omitempty"`
}

// VM is a virtual machine of a Mac.
type VM struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// maxBody is the largest body, in bytes. What else an event says is left out of a
// larger one.
const maxBody = 6 << 10

// routineRoom is how many messages of a device may wait with one that every user can
// make many of.
const routineRoom = storage.MaxOutgoingPerDevice / 2

// messageOf is the message of an event; false for one that is not told.
func messageOf(device storage.Device, computerName string, kept storage.KeptEvent) (storage.Outgoing, bool, error) {
	kind := kept.Event.Kind()
	if kind.Webhook == "" {
		return storage.Outgoing{}, false, nil
	}
	message := aboutDevice(device, computerName, kind.Webhook, kept.ReceivedAt)
	message.ID = eventID(device.ID, kept)
	if !kept.Event.At.IsZero() {
		message.Timestamp = kept.Event.At.UTC()
	}
	message.Data.tell(kept.Event)
	room := storage.MaxOutgoingPerDevice
	if kind.Routine {
		room = routineRoom
	}
	queued, err := message.queued(kept.ReceivedAt, room)
	return queued, err == nil, err
}

// aboutDevice begins a message.
func aboutDevice(device storage.Device, computerName, kind string, now time.Time) Message {
	return Message{Type: kind, Timestamp: now.UTC(), Data: Data{
		DeviceID: device.ID, MacSerial: shown(device.Serial), ComputerName: shown(computerName), Group: shown(device.Group.ID), ReceivedAt: now.UTC(),
	}}
}

// tell adds what an event says.
func (d *Data) tell(event protocol.Event) {
	d.Event, d.Code = shown(event.Type), protocol.Code(shown(string(event.Code)))
	if event.Code != "" {
		d.Text = event.Code.Text().Text
	}
	for key, value := range event.Data {
		switch key {
		case "uid", "user_name", "vm_id", "vm_name":
			continue
		}
		if d.Detail == nil {
			d.Detail = make(map[string]string, len(event.Data))
		}
		d.Detail[shown(key)] = shown(value)
	}
	if uid, err := strconv.ParseUint(event.Data["uid"], 10, 32); err == nil {
		d.User = &User{UID: uint32(uid), Name: shown(event.Data["user_name"])}
	}
	if id := event.Data["vm_id"]; id != "" {
		d.VM = &VM{ID: shown(id), Name: shown(event.Data["vm_name"])}
	}
}

// shown is a value of a Mac's as a person may see it.
func shown(value string) string { return protocol.CutText(text.Display(value), protocol.MaxName) }

// queued is the message as it waits.
func (m Message) queued(now time.Time, room int) (storage.Outgoing, error) {
	body, err := text.EncodeJSON(m, "", "")
	if err == nil && len(body) > maxBody {
		m.Data.Detail = nil
		body, err = text.EncodeJSON(m, "", "")
	}
	if err != nil {
		return storage.Outgoing{}, fmt.Errorf("encode message: %w", err)
	}
	return storage.Outgoing{DeviceID: m.Data.DeviceID, ID: m.ID, Type: m.Type, At: now, Body: string(body), Room: room}, nil
}

// eventID is the same for what a Mac tells again, after it or the portal was put back
// to an earlier state, and another one for everything else.
func eventID(deviceID string, kept storage.KeptEvent) string {
	number := kept.Event.Seq
	if number == 0 {
		number = kept.Number
	}
	return stableID(deviceID, kept.Epoch, strconv.FormatUint(number, 10), kept.Event.Type, strconv.FormatInt(kept.Event.At.UnixNano(), 10))
}

// stableID has no full stop, which separates what is signed.
func stableID(parts ...string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", parts))
	return "evt_" + hex.EncodeToString(sum[:16])
}
