package adminapi

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/storage"
)

// DeviceDetail is one Mac as a whole.
type DeviceDetail struct {
	Device   fleet.Device          `json:"device"`
	Policy   protocol.PolicyReport `json:"policy"`
	Verdicts fleet.DeviceVerdicts  `json:"verdicts"` // on what is not simply in place
	Users    []protocol.UserLook   `json:"users"`
	VMs      []fleet.VM            `json:"vms"`
	Events   []fleet.Event         `json:"events"`   // the last ones, oldest first
	Checkins []Checkin             `json:"checkins"` // the last ones of the day of the last one, oldest first
}

// Checkin is one check-in of a device.
type Checkin struct {
	At        time.Time `json:"at"`
	Sequence  uint64    `json:"sequence,omitempty"`
	Reasons   string    `json:"reasons,omitempty"`
	Inventory string    `json:"inventory"` // what was answered: ok, or send_full
}

// noTime says: everything, as it is.
var noTime time.Time

// lastShown is how many events and check-ins a device is shown with.
const lastShown = 10

// showDevice answers with all that is known of one Mac.
func (s *Server) showDevice(w http.ResponseWriter, r *http.Request) error {
	device, report, err := s.reportByID(r)
	if err != nil {
		return err
	}
	commands, err := s.devices.Commands(r.Context(), device.ID)
	if err != nil {
		return fmt.Errorf("load commands: %w", err)
	}
	look := s.newScan(s.now().UTC(), time.Time{})
	detail := DeviceDetail{
		Policy: report.Policy, Users: append([]protocol.UserLook{}, report.Users...), Checkins: lastCheckins(device.Requests),
	}
	detail.Device, detail.VMs = look.Device(device, report, commands)
	if detail.Verdicts, err = s.devices.VerdictsOf(r.Context(), device.ID, report); err != nil {
		return err
	}
	detail.Verdicts.Verdicts = slices.DeleteFunc(detail.Verdicts.Verdicts, func(one fleet.SettingVerdict) bool { return one.IsSimplyInPlace() })
	if detail.Events, err = lastEvents(r.Context(), look, device.ID); err != nil {
		return err
	}
	return httpapi.WriteJSON(w, r, http.StatusOK, detail)
}

func lastEvents(ctx context.Context, look fleet.Scan, deviceID string) ([]fleet.Event, error) {
	events := []fleet.Event{}
	_, err := look.EventsOf(ctx, deviceID, func(event *fleet.Event) error {
		events = append(events, *event)
		return nil
	})
	return events[max(0, len(events)-lastShown):], err
}

func lastCheckins(requests []storage.Request) []Checkin {
	checkins := []Checkin{}
	for _, one := range requests[max(0, len(requests)-lastShown):] {
		checkins = append(checkins, Checkin{At: one.At, Sequence: one.Sequence, Reasons: one.Reasons, Inventory: one.Inventory})
	}
	return checkins
}
