package fleet

import (
	"context"
	"fmt"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// SettingVerdict is one setting of one virtual machine as the admin plane shows it, or
// without an id a preference of one account; with an empty key it is a security control
// on the Mac as a whole, or one of the policy as a whole.
type SettingVerdict struct {
	protocol.VMKey
	VMName   string        `json:"vm_name,omitempty"`
	UserName string        `json:"user_name,omitempty"` // of a preference: whose it is
	Path     string        `json:"path"`
	Setting  string        `json:"setting"` // the last name of the path
	Verdict  string        `json:"verdict"`
	Strength string        `json:"strength"`
	Code     protocol.Code `json:"code,omitempty"`
	Text     string        `json:"text,omitempty"` // what the code means
	Remedy   string        `json:"remedy,omitempty"`
	Since    time.Time     `json:"since,omitzero"` // by the Mac's clock; absent of what is simply in place
	// Violation: something is against a security control.
	Violation bool `json:"violation,omitempty"`
}

// DeviceVerdicts is what became of each setting on one Mac.
type DeviceVerdicts struct {
	SHA256   string           `json:"policy_sha256,omitempty"` // of the policy that they are on
	Verdicts []SettingVerdict `json:"verdicts"`
	LeftOut  int              `json:"left_out,omitempty"` // that the Mac's report had no room for
}

// VerdictsOf gives what became of each setting on a Mac, in the order of the
// policy's settings.
func (f *Fleet) VerdictsOf(ctx context.Context, deviceID string, report storage.Report) (DeviceVerdicts, error) {
	kept, err := f.store.Verdicts(ctx, deviceID)
	if err != nil {
		return DeviceVerdicts{}, fmt.Errorf("load verdicts: %w", err)
	}
	names := make(map[protocol.VMKey]string, len(report.Rows))
	for _, row := range report.Rows {
		names[row.VM.VMKey] = row.VM.Name
	}
	users := make(map[uint32]string, len(report.Users))
	for _, user := range report.Users {
		users[user.UID] = user.Name
	}
	shown := DeviceVerdicts{SHA256: kept.Report.SHA256, Verdicts: []SettingVerdict{}, LeftOut: kept.Report.LeftOut}
	kept.Report.Each(func(vm protocol.VMKey, group *protocol.VerdictGroup) {
		one := SettingVerdict{
			VMKey: vm, VMName: names[vm], Path: group.Path, Setting: settingOf(group.Path),
			Verdict: group.Verdict, Strength: group.Strength, Code: group.Code, Since: group.Since,
			Violation: group.IsViolation(),
		}
		if vm.ID == "" {
			one.UserName = users[vm.UID]
		}
		if group.Code != "" {
			known := group.Code.Text()
			one.Text, one.Remedy = known.Text, known.Remedy
		}
		shown.Verdicts = append(shown.Verdicts, one)
	})
	return shown, nil
}

// settingOf is the last name of a path.
func settingOf(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// IsOfMac reports whether it is a security control on the Mac as a whole.
func (v *SettingVerdict) IsOfMac() bool {
	group := protocol.VerdictGroup{Path: v.Path}
	return v.VMKey == (protocol.VMKey{}) && group.IsControl()
}

// IsSimplyInPlace reports whether there is nothing to say but that it is as it is
// wanted.
func (v *SettingVerdict) IsSimplyInPlace() bool {
	return v.Verdict == protocol.VerdictInPlace && v.Code == ""
}

// VerdictTransition is one change of one setting, as it is told on.
type VerdictTransition struct {
	ID           string `json:"id"` // of this change for good
	Cursor       string `json:"cursor,omitempty"`
	DeviceID     string `json:"device_id"`
	MacSerial    string `json:"mac_serial"`
	ComputerName string `json:"computer_name,omitempty"`
	Group        string `json:"group,omitempty"` // of the Mac now
	protocol.VMKey
	ReceivedAt time.Time             `json:"received_at"`
	SHA256     string                `json:"policy_sha256,omitempty"`
	Path       string                `json:"path"`
	Before     *storage.VerdictState `json:"before"` // null: nothing was reported of it
	After      *storage.VerdictState `json:"after"`  // null: nothing is reported of it any more
}

func transitionOf(m *cachedDevice, changes *storage.VerdictChanges, number uint64, vm protocol.VMKey, change *storage.VerdictChange) VerdictTransition {
	state := func(s storage.VerdictState) *storage.VerdictState {
		if s == (storage.VerdictState{}) {
			return nil
		}
		return &s
	}
	return VerdictTransition{
		ID: fmt.Sprintf("%s.v%d", m.device.ID, number), DeviceID: m.device.ID, MacSerial: m.device.Serial, ComputerName: m.report.Host.ComputerName,
		Group: m.device.Group.ID, VMKey: vm, ReceivedAt: changes.At, SHA256: changes.SHA256, Path: change.Path,
		Before: state(change.Before), After: state(change.After),
	}
}
