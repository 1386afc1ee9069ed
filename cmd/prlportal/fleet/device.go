package fleet

import (
	"slices"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// States of a device, as an admin reads them.
const (
	StateOK        = "ok"
	StatePending   = "pending_approval"
	StateDuplicate = "duplicate_identity"
	StateDiffers   = "identity_differs" // it reports another Mac than the one that enrolled (H57)
	StateRetired   = "retired"
)

// States are all states of a device.
var States = []string{StateOK, StatePending, StateDuplicate, StateDiffers, StateRetired}

// Device is a device as the admin plane shows it: no token, no secret.
type Device struct {
	DeviceID string `json:"device_id"`
	State    string `json:"state"`
	// Health is one of HealthWords; Conditions are what its agent reported last.
	Health       string                       `json:"health,omitempty"`
	Conditions   []protocol.ReportedCondition `json:"conditions,omitempty"`
	ComputerName string                       `json:"computer_name,omitempty"`
	MacSerial    string                       `json:"mac_serial"`
	HardwareUUID string                       `json:"hardware_uuid"`
	Model        string                       `json:"model,omitempty"`
	MacOS        string                       `json:"macos,omitempty"`
	PDVersion    string                       `json:"pd_version,omitempty"`
	PDState      string                       `json:"pd_state,omitempty"`
	AgentVersion string                       `json:"agent_version"`
	Mode         string                       `json:"mode,omitempty"`
	Group        protocol.Group               `json:"group"`
	PolicyState  string                       `json:"policy_state,omitempty"`
	Violations   int                          `json:"violations"` // what is against security controls
	// SettingsFailed and SettingsDeferred count those of the virtual machines, the
	// preferences of all accounts, and the security controls on the Mac as a whole.
	SettingsFailed   int `json:"settings_failed"`
	SettingsDeferred int `json:"settings_deferred"`

	KeyID         string             `json:"key_id"`
	EnrolledAt    time.Time          `json:"enrolled_at"`
	LastCheckinAt time.Time          `json:"last_checkin_at,omitzero"`
	LastTriggers  []protocol.Trigger `json:"last_triggers,omitempty"` // see storage.Device
	LastReasons   string             `json:"last_reasons,omitempty"`  // of LastTriggers, each once
	ClockAhead    int64              `json:"clock_ahead_s,omitempty"` // seconds that its clock is before the portal's; 0 if it is right
	Epoch         string             `json:"epoch,omitempty"`
	Sequence      uint64             `json:"sequence"`
	VMs           int                `json:"vms"`
	VMsMissing    int                `json:"vms_missing,omitempty"` // that no row is for: a report has an end
	Truncated     bool               `json:"truncated"`
	StaleReport   bool               `json:"stale_report"` // it has not checked in for longer than it should
	ChangedAt     time.Time          `json:"changed_at"`   // any change but of check-in times and reasons
	RetiredAt     time.Time          `json:"retired_at,omitzero"`
	SupersededBy  string             `json:"superseded_by,omitempty"` // id of the device that took its place
	Pending       []PendingKey       `json:"pending,omitempty"`
	Rejected      []PendingKey       `json:"rejected,omitempty"`
	Duplicate     *storage.Duplicate `json:"duplicate,omitempty"`

	CommandsOpen     int    `json:"commands_open"`
	CommandsWithheld int    `json:"commands_withheld"` // of those, the ones that wait for an administrator
	Holds            int    `json:"holds"`             // virtual machines that it holds, as it reports them
	HoldsUnenforced  int    `json:"holds_unenforced"`  // of those, the ones that run all the same
	Frozen           string `json:"frozen,omitempty"`  // why it gets no destructive commands
}

// PendingKey is a key that waits for approval, or that was rejected.
type PendingKey struct {
	KeyID        string    `json:"key_id"`
	HardwareUUID string    `json:"hardware_uuid,omitempty"` // of another Mac with the serial number; its approval retires this device (H57)
	AskedAt      time.Time `json:"asked_at"`
	LastAskedAt  time.Time `json:"last_asked_at"`
	AgentVersion string    `json:"agent_version"`
	Source       string    `json:"source"`
}

func agentVersion(device storage.Device, report storage.Report) string {
	if report.Agent.Version != "" {
		return report.Agent.Version
	}
	return device.AgentVersion
}

func viewOf(device storage.Device, report storage.Report) Device {
	view := Device{
		DeviceID: device.ID, State: stateOf(device),
		ComputerName: report.Host.ComputerName, MacSerial: device.Serial, HardwareUUID: device.HardwareUUID,
		Model: report.Host.Model, MacOS: report.Host.MacOS,
		PDVersion: report.Product.Version, PDState: report.Product.State,
		AgentVersion: agentVersion(device, report), Mode: report.Agent.Mode,
		Group: device.Group, PolicyState: report.Policy.State, Violations: report.Violations, KeyID: protocol.KeyID(device.Key),
		EnrolledAt: device.EnrolledAt, LastCheckinAt: device.LastCheckinAt, LastTriggers: device.LastTriggers, LastReasons: protocol.ReasonWords(device.LastTriggers),
		Epoch: device.Epoch, Sequence: device.Sequence,
		RetiredAt: device.RetiredAt, SupersededBy: device.SupersededBy, Pending: keysOf(device.Pending), Rejected: keysOf(device.Rejected),
		VMs: len(report.Rows), Truncated: report.Truncated, Duplicate: device.Duplicate,
		Conditions: report.Health.Conditions,
		ChangedAt:  latestTime(device.EnrolledAt, device.ChangedAt, report.ChangedAt, report.RowsChangedAt, report.HealthChangedAt).UTC(),
	}
	counts := settingsOf(&report)
	view.SettingsFailed, view.SettingsDeferred = counts.Failed, counts.Deferred
	if device.Clock.Wrong {
		view.ClockAhead = device.Clock.AheadSecs
	}
	return view
}

func keysOf(keys []storage.PendingKey) []PendingKey {
	var views []PendingKey
	for _, key := range keys {
		views = append(views, PendingKey{
			KeyID: protocol.KeyID(key.Key), HardwareUUID: key.HardwareUUID, AskedAt: key.AskedAt, LastAskedAt: key.HeardAt(),
			AgentVersion: key.AgentVersion, Source: key.Source,
		})
	}
	return views
}

func stateOf(device storage.Device) string {
	switch {
	case device.IsRetired():
		return StateRetired
	case device.Duplicate != nil && device.Duplicate.Reason == storage.DuplicateIdentity:
		return StateDiffers
	case device.Duplicate != nil:
		return StateDuplicate
	case len(device.Pending) > 0:
		return StatePending
	}
	return StateOK
}

func latestTime(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }
