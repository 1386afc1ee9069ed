package adminapi

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/storage"
	"prlagent/platform/text"
)

// pastVMList is the history of a device.
type pastVMList struct {
	VMs []pastVM `json:"vms"`
}

// pastVM is a virtual machine that a Mac had.
type pastVM struct {
	RemovedAt time.Time    `json:"removed_at"`
	VM        protocol.Row `json:"vm"`
}

// Approval names the key that the admin saw, so that another one which asks
// in the meantime is not approved by mistake.
type Approval struct {
	KeyID string `json:"key_id,omitempty"` // empty: no key waits, only the duplicate mark is lifted
}

// deviceHistory lists the virtual machines that left the table (INV-23).
func (s *Server) deviceHistory(w http.ResponseWriter, r *http.Request) error {
	device, err := s.deviceByID(r)
	if err != nil {
		return err
	}
	report, err := s.devices.Report(r.Context(), device.ID)
	if err != nil {
		return fmt.Errorf("load report: %w", err)
	}
	history, err := s.devices.History(r.Context(), device.ID)
	if err != nil {
		return fmt.Errorf("load history: %w", err)
	}
	list := pastVMList{VMs: []pastVM{}}
	for _, past := range history.Rows {
		row := fleet.RowOf(device, report, past.Row)
		row.LastReportedAt = past.ReportedAt
		list.VMs = append(list.VMs, pastVM{RemovedAt: past.RemovedAt, VM: row})
	}
	return httpapi.WriteJSON(w, r, http.StatusOK, list)
}

func (s *Server) deviceByID(r *http.Request) (storage.Device, error) {
	device, err := s.devices.Device(r.Context(), storage.ByID(text.TypedID(r.PathValue("id"))))
	if errors.Is(err, storage.ErrNotFound) {
		return storage.Device{}, protocol.NewProblem(protocol.ProblemNotFound, "There is no such device.")
	}
	if err != nil {
		return storage.Device{}, fmt.Errorf("find device: %w", err)
	}
	return device, nil
}

// approveDevice settles what waits for a person: the named pending key becomes
// the device's key and the other ones are dropped; the mark of a duplicate
// identity is lifted. Tokens given out before stay alive until the Mac with the
// new key has used its first one (H01).
func (s *Server) approveDevice(w http.ResponseWriter, r *http.Request) error {
	body, err := httpapi.ReadBody(r, httpapi.MaxSmallBody)
	if err != nil {
		return err
	}
	var asked Approval
	if err := httpapi.DecodeBody(body, &asked); err != nil {
		return err
	}
	for range storage.SaveAttempts {
		device, err := s.deviceByID(r)
		if err != nil {
			return err
		}
		if err := settlePending(&device, text.TypedID(asked.KeyID)); err != nil {
			return err
		}
		device.ChangedAt = s.now().UTC()
		err = s.devices.Save(r.Context(), storage.Change{Device: device})
		if errors.Is(err, storage.ErrConflict) {
			continue
		}
		if err != nil {
			return fmt.Errorf("save device: %w", err)
		}
		s.log.Info().Str("device", device.ID).Str("key", asked.KeyID).Msg("approved")
		report, err := s.devices.Report(r.Context(), device.ID)
		if err != nil {
			return fmt.Errorf("load report: %w", err)
		}
		return httpapi.WriteJSON(w, r, http.StatusOK, s.newScan(s.now(), time.Time{}).Device(device, report))
	}
	return protocol.NewProblem(protocol.ProblemUnavailable, "The device is busy.")
}

func settlePending(device *storage.Device, keyID string) error {
	if len(device.Pending) == 0 && device.Duplicate == nil {
		return protocol.NewProblem(protocol.ProblemInvalidRequest, "Nothing waits for approval.")
	}
	if keyID != "" {
		key := pendingKey(*device, keyID)
		if key == nil {
			return httpapi.InvalidField("key_id", "No key with this id waits for approval.")
		}
		device.Key, device.Pending = key, nil
	} else if len(device.Pending) > 0 {
		return httpapi.InvalidField("key_id", "Name the key to approve.")
	}
	device.Duplicate = nil
	return nil
}

func pendingKey(device storage.Device, keyID string) ed25519.PublicKey {
	for _, pending := range device.Pending {
		if protocol.KeyID(pending.Key) == keyID {
			return pending.Key
		}
	}
	return nil
}
