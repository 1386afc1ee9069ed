package portal

import (
	"crypto/ed25519"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/portal/storage"
)

// States of a device, as an admin reads them.
const (
	deviceOK        = "ok"
	devicePending   = "pending_approval"
	deviceDuplicate = "duplicate_identity"
)

// deviceView is a device as the admin plane shows it: no token, no secret.
type deviceView struct {
	DeviceID      string             `json:"device_id"`
	State         string             `json:"state"`
	ComputerName  string             `json:"computer_name,omitempty"`
	MacSerial     string             `json:"mac_serial"`
	HardwareUUID  string             `json:"hardware_uuid"`
	Model         string             `json:"model,omitempty"`
	MacOS         string             `json:"macos,omitempty"`
	PDVersion     string             `json:"pd_version,omitempty"`
	PDState       string             `json:"pd_state,omitempty"`
	AgentVersion  string             `json:"agent_version"`
	Mode          string             `json:"mode,omitempty"`
	Group         protocol.Group     `json:"group"`
	PolicyState   string             `json:"policy_state,omitempty"`
	KeyID         string             `json:"key_id"`
	EnrolledAt    time.Time          `json:"enrolled_at"`
	LastCheckinAt time.Time          `json:"last_checkin_at,omitzero"`
	LastTriggers  []protocol.Trigger `json:"last_triggers,omitempty"` // see storage.Device
	LastReasons   string             `json:"last_reasons,omitempty"`  // of LastTriggers, each once
	Epoch         string             `json:"epoch,omitempty"`
	Sequence      uint64             `json:"sequence"`
	VMs           int                `json:"vms"`
	Truncated     bool               `json:"truncated"`
	StaleReport   bool               `json:"stale_report"` // it has not checked in for longer than it should
	ChangedAt     time.Time          `json:"changed_at"`   // any change but of check-in times and reasons
	Pending       []pendingView      `json:"pending,omitempty"`
	Duplicate     *storage.Duplicate `json:"duplicate,omitempty"`
}

// pendingView is a key that waits for approval.
type pendingView struct {
	KeyID        string    `json:"key_id"`
	AskedAt      time.Time `json:"asked_at"`
	AgentVersion string    `json:"agent_version"`
	Source       string    `json:"source"`
}

// pastVMList is the history of a device.
type pastVMList struct {
	VMs []pastVM `json:"vms"`
}

// pastVM is a virtual machine that a Mac had.
type pastVM struct {
	RemovedAt time.Time    `json:"removed_at"`
	VM        protocol.Row `json:"vm"`
}

// approval names the key that the admin saw, so that another one which asks
// in the meantime is not approved by mistake.
type approval struct {
	KeyID string `json:"key_id,omitempty"` // empty: no key waits, only the duplicate mark is lifted
}

// admin lets only the admin token in.
func (s *server) admin(handle func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		sum := storage.HashToken(bearerToken(r))
		if subtle.ConstantTimeCompare([]byte(sum), []byte(s.config.AdminTokenSHA256)) != 1 {
			return protocol.NewProblem(protocol.ProblemUnauthenticated, "")
		}
		return handle(w, r)
	}
}

// deviceHistory lists the virtual machines that left the table (INV-23).
func (s *server) deviceHistory(w http.ResponseWriter, r *http.Request) error {
	device, err := s.deviceByID(r)
	if err != nil {
		return err
	}
	report, err := s.store.Report(r.Context(), device.ID)
	if err != nil {
		return fmt.Errorf("load report: %w", err)
	}
	history, err := s.store.History(r.Context(), device.ID)
	if err != nil {
		return fmt.Errorf("load history: %w", err)
	}
	list := pastVMList{VMs: []pastVM{}}
	for _, past := range history.Rows {
		row := rowOf(device, report, past.Row)
		row.LastReportedAt = past.ReportedAt
		list.VMs = append(list.VMs, pastVM{RemovedAt: past.RemovedAt, VM: row})
	}
	return writeJSON(w, r, http.StatusOK, list)
}

func (s *server) deviceByID(r *http.Request) (storage.Device, error) {
	device, err := s.store.Device(r.Context(), storage.ByID(r.PathValue("id")))
	if errors.Is(err, storage.ErrNotFound) {
		return storage.Device{}, protocol.NewProblem(protocol.ProblemNotFound, "There is no such device.")
	}
	if err != nil {
		return storage.Device{}, fmt.Errorf("find device: %w", err)
	}
	return device, nil
}

// rowOf joins a row with its Mac. A fresh row was confirmed when its device
// was; a stale one keeps its own time (INV-17).
func rowOf(device storage.Device, report storage.Report, row storage.Row) protocol.Row {
	reportedAt := device.ConfirmedAt
	if row.VM.Stale != "" {
		reportedAt = row.ReportedAt
	}
	return protocol.Row{
		VM: row.VM, Host: report.Host, Product: report.Product,
		Status:         protocol.StatusOf(report.Product, false),
		LastCommand:    protocol.CommandNone,
		LastReportedAt: reportedAt,
		Extra: protocol.RowExtra{
			Group: device.Group.ID, GroupSource: device.Group.Source,
			PolicyRevision: report.Policy.Revision, PolicyState: report.Policy.State,
			AgentVersion: agentVersion(device, report),
			FirstSeenAt:  row.FirstSeenAt, DeviceID: device.ID,
		},
	}
}

func agentVersion(device storage.Device, report storage.Report) string {
	if report.Agent.Version != "" {
		return report.Agent.Version
	}
	return device.AgentVersion
}

func viewOf(device storage.Device, report storage.Report) deviceView {
	view := deviceView{
		DeviceID: device.ID, State: stateOf(device),
		ComputerName: report.Host.ComputerName, MacSerial: device.Serial, HardwareUUID: device.HardwareUUID,
		Model: report.Host.Model, MacOS: report.Host.MacOS,
		PDVersion: report.Product.Version, PDState: report.Product.State,
		AgentVersion: agentVersion(device, report), Mode: report.Agent.Mode,
		Group: device.Group, PolicyState: report.Policy.State, KeyID: protocol.KeyID(device.Key),
		EnrolledAt: device.EnrolledAt, LastCheckinAt: device.LastCheckinAt, LastTriggers: device.LastTriggers, LastReasons: reasonsOf(device.LastTriggers),
		Epoch: device.Epoch, Sequence: device.Sequence,
		VMs: len(report.Rows), Truncated: report.Truncated, Duplicate: device.Duplicate,
		ChangedAt: latest(device.EnrolledAt, device.ChangedAt, report.ChangedAt, report.RowsChangedAt).UTC(),
	}
	for _, pending := range device.Pending {
		view.Pending = append(view.Pending, pendingView{
			KeyID: protocol.KeyID(pending.Key), AskedAt: pending.AskedAt,
			AgentVersion: pending.AgentVersion, Source: pending.Source,
		})
	}
	return view
}

// reasonsOf is the words of triggers, each once.
func reasonsOf(triggers []protocol.Trigger) string {
	var reasons []string
	for _, one := range triggers {
		if !slices.Contains(reasons, one.Reason) {
			reasons = append(reasons, one.Reason)
		}
	}
	return strings.Join(reasons, ", ")
}

func stateOf(device storage.Device) string {
	switch {
	case device.Duplicate != nil:
		return deviceDuplicate
	case len(device.Pending) > 0:
		return devicePending
	}
	return deviceOK
}

// approve settles what waits for a person: the named pending key becomes the
// device's key and the other ones are dropped; the mark of a duplicate
// identity is lifted. Tokens given out before stay alive until the Mac with
// the new key has used its first one (H01).
func (s *server) approve(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(r, maxSmallBody)
	if err != nil {
		return err
	}
	var asked approval
	if err := decodeBody(body, &asked); err != nil {
		return err
	}
	for range saveAttempts {
		device, err := s.deviceByID(r)
		if err != nil {
			return err
		}
		if err := settle(&device, asked.KeyID); err != nil {
			return err
		}
		device.ChangedAt = s.now().UTC()
		err = s.store.Save(r.Context(), storage.Change{Device: device})
		if errors.Is(err, storage.ErrConflict) {
			continue
		}
		if err != nil {
			return fmt.Errorf("save device: %w", err)
		}
		s.log.Info().Str("device", device.ID).Str("key", asked.KeyID).Msg("approved")
		report, err := s.store.Report(r.Context(), device.ID)
		if err != nil {
			return fmt.Errorf("load report: %w", err)
		}
		return writeJSON(w, r, http.StatusOK, s.viewNow(device, report))
	}
	return protocol.NewProblem(protocol.ProblemUnavailable, "The device is busy.")
}

// viewNow is the device as the list of devices shows it.
func (s *server) viewNow(device storage.Device, report storage.Report) deviceView {
	view := viewOf(device, report)
	view.StaleReport = scan{now: s.now(), freshness: s.config.freshness()}.stale(device.LastCheckinAt)
	return view
}

func settle(device *storage.Device, keyID string) error {
	if len(device.Pending) == 0 && device.Duplicate == nil {
		return protocol.NewProblem(protocol.ProblemInvalidRequest, "Nothing waits for approval.")
	}
	if keyID != "" {
		key := pendingKey(*device, keyID)
		if key == nil {
			return invalidField("key_id", "No key with this id waits for approval.")
		}
		device.Key, device.Pending = key, nil
	} else if len(device.Pending) > 0 {
		return invalidField("key_id", "Name the key to approve.")
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
