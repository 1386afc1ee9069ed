package fleet

import (
	"context"
	"fmt"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/query"
	"prlagent/cmd/prlportal/storage"
)

// Event is something that happened on a Mac, as the admin plane shows it.
type Event struct {
	ID           string            `json:"id"`               // of this event for good
	Cursor       string            `json:"cursor,omitempty"` // behind it in the journal, where that is read
	DeviceID     string            `json:"device_id"`
	MacSerial    string            `json:"mac_serial"`
	ComputerName string            `json:"computer_name,omitempty"`
	ReceivedAt   time.Time         `json:"received_at"`
	At           time.Time         `json:"at,omitzero"` // by the Mac's clock; none where that cannot be
	Type         string            `json:"type"`
	Code         protocol.Code     `json:"code,omitempty"`
	Data         map[string]string `json:"data,omitempty"`
}

// EventTable has what happened on the Macs.
var EventTable = query.Table[Event]{Name: "events", Fields: eventFields}

var eventFields = []query.Field[Event]{
	{Column: query.Column{ID: "at", Title: "Time", Kind: protocol.KindTime}, At: func(v *Event) time.Time { return v.At }},
	{Column: query.Column{ID: "computer_name", Title: "Computer name", Kind: protocol.KindText}, Text: func(v *Event) string { return v.ComputerName }},
	{Column: query.Column{ID: "mac_serial", Title: "Mac serial number", Kind: protocol.KindText}, Text: func(v *Event) string { return v.MacSerial }},
	{Column: query.Column{ID: "type", Title: "Event", Kind: protocol.KindText}, Text: func(v *Event) string { return v.Type }},
	{Column: query.Column{ID: "code", Title: "Code", Kind: protocol.KindText}, Text: func(v *Event) string { return string(v.Code) }},
	{Column: query.Column{ID: "data", Title: "Details", Kind: protocol.KindText}, Text: func(v *Event) string { return GapsText(v.Data) }},
	{Column: query.Column{ID: "received_at", Title: "Received", Kind: protocol.KindTime}, At: func(v *Event) time.Time { return v.ReceivedAt }},
	{Column: query.Column{ID: "device_id", Title: "Device ID", Kind: protocol.KindText}, Text: func(v *Event) string { return v.DeviceID }},
	{Column: query.Column{ID: "id", Title: "Event ID", Kind: protocol.KindText}, Text: func(v *Event) string { return v.ID }},
}

func eventOf(m *cachedDevice, kept storage.KeptEvent) Event {
	return Event{
		ID: fmt.Sprintf("%s.%d", m.device.ID, kept.Number), DeviceID: m.device.ID,
		MacSerial: m.device.Serial, ComputerName: m.report.Host.ComputerName,
		ReceivedAt: kept.ReceivedAt, At: kept.Event.At.UTC(), Type: kept.Event.Type, Code: kept.Event.Code, Data: kept.Event.Data,
	}
}

// Events calls visit with what happened on every Mac, in the order of the devices
// and on each as it was told; where since is set, with what was told since then.
// It is incomplete if an event since then is kept no longer.
func (s Scan) Events(ctx context.Context, visit func(*Event) error) (short Shortfall, err error) {
	err = s.Fleet.eachDevice(ctx, func(m *cachedDevice) error {
		incomplete, err := s.visitEvents(ctx, m, visit)
		short.Incomplete = short.Incomplete || incomplete
		return err
	})
	return short, err
}

// EventsOf is Events of one device.
func (s Scan) EventsOf(ctx context.Context, deviceID string, visit func(*Event) error) (short Shortfall, err error) {
	found, err := s.Fleet.loadDevice(ctx, deviceID)
	if err != nil {
		return Shortfall{}, err
	}
	short.Incomplete, err = s.visitEvents(ctx, found, visit)
	return short, err
}

func (s Scan) visitEvents(ctx context.Context, m *cachedDevice, visit func(*Event) error) (incomplete bool, err error) {
	if m.device.EventsAt.IsZero() || m.device.EventsAt.Before(s.Since) {
		return false, nil
	}
	log, err := s.Fleet.Events(ctx, m.device.ID)
	if err != nil {
		return false, fmt.Errorf("load events: %w", err)
	}
	for _, kept := range log.Events {
		if kept.ReceivedAt.Before(s.Since) {
			continue
		}
		event := eventOf(m, kept)
		if err := visit(&event); err != nil {
			return false, err
		}
	}
	return !s.Since.IsZero() && !log.Covers(s.Since), nil
}
