package adminapi

import (
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

// deviceHistory lists the virtual machines that left the table (INV-23).
func (s *Server) deviceHistory(w http.ResponseWriter, r *http.Request) error {
	device, report, err := s.reportByID(r)
	if err != nil {
		return err
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

// reportByID is the device that a request names, with its report.
func (s *Server) reportByID(r *http.Request) (device storage.Device, report storage.Report, err error) {
	if device, err = s.deviceByID(r); err != nil {
		return device, report, err
	}
	if report, err = s.devices.Report(r.Context(), device.ID); err != nil {
		err = fmt.Errorf("load report: %w", err)
	}
	return device, report, err
}

func (s *Server) deviceByID(r *http.Request) (storage.Device, error) {
	id := text.TypedID(r.PathValue("id"))
	if !protocol.ValidName(id) {
		return storage.Device{}, protocol.NewProblem(protocol.ProblemNotFound, "There is no such device.")
	}
	device, err := s.devices.Device(r.Context(), storage.ByID(id))
	if errors.Is(err, storage.ErrNotFound) {
		return storage.Device{}, protocol.NewProblem(protocol.ProblemNotFound, "There is no such device.")
	}
	if err != nil {
		return storage.Device{}, fmt.Errorf("find device: %w", err)
	}
	return device, nil
}
