package protocol

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A command that is signed well is still refused where it says something that
// cannot be, and what it says beyond what its type has.
func TestParseCommand(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*Command)
		wrong  string // empty: it is taken
	}{
		"as signed":              {func(*Command) {}, ""},
		"no params":              {func(c *Command) { c.Params = nil }, ""},
		"a type of a later time": {func(c *Command) { c.Type, c.Target.VMID, c.Params = "vm.paint", "", json.RawMessage(`{"color":1}`) }, ""},
		"no id":                  {func(c *Command) { c.CommandID = "" }, "command_id"},
		"an id that is a path":   {func(c *Command) { c.CommandID = "../x" }, "command_id"},
		"no type":                {func(c *Command) { c.Type = "" }, "type"},
		"no Mac":                 {func(c *Command) { c.Target.MacSerial = "" }, "names no Mac"},
		"no device":              {func(c *Command) { c.Target.DeviceID = "" }, "names no Mac"},
		"no machine":             {func(c *Command) { c.Target.VMID = "" }, "vm_id"},
		"a machine too many":     {func(c *Command) { c.Type, c.Params = "policy.refresh", nil }, "vm_id"},
		"a machine of root":      {func(c *Command) { c.Target.UID = 0 }, "uid"},
		"never issued":           {func(c *Command) { c.IssuedAt = time.Time{} }, "expires_at"},
		"ends before it begins":  {func(c *Command) { c.ExpiresAt = c.IssuedAt }, "expires_at"},
		"H24 91 days":            {func(c *Command) { c.ExpiresAt = c.IssuedAt.AddDate(0, 0, 91) }, "90 days"},
		"H24 90 days":            {func(c *Command) { c.ExpiresAt = c.IssuedAt.AddDate(0, 0, 90) }, ""},
		"a negative limit":       {func(c *Command) { c.TimeoutS = -1 }, "timeout_s"},
		"another when":           {func(c *Command) { c.Params = json.RawMessage(`{"when":"soon"}`) }, "when"},
		"an unknown param":       {func(c *Command) { c.Params = json.RawMessage(`{"whenn":"now"}`) }, "whenn"},
		"params of wrong type":   {func(c *Command) { c.Params = json.RawMessage(`{"when":1}`) }, "params"},
		"a lock without a list":  {func(c *Command) { c.Type, c.Params = "vm.lock", nil }, "list of holds"},
		"a lock with a head":     {func(c *Command) { c.Type, c.Params = "vm.lock", holdsParams(PayloadHead) }, "list of holds"},
		"a lock":                 {func(c *Command) { c.Type, c.Params = "vm.lock", holdsParams(PayloadHolds) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command := sampleCommand()
			test.change(&command)
			payload, err := json.Marshal(command)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ParseCommand(payload)
			if test.wrong == "" {
				if err != nil || cmp.Diff(command, got) != "" {
					t.Errorf("got %v, %s", err, cmp.Diff(command, got))
				}
				return
			}
			if !errors.Is(err, ErrCommandInvalid) || !strings.Contains(err.Error(), test.wrong) {
				t.Errorf("got %v, want %s", err, test.wrong)
			}
		})
	}
}

func holdsParams(payloadType string) json.RawMessage {
	params, _ := json.Marshal(HoldsParams{Holds: Sign(payloadType, []byte(`{}`), keyFrom(1))})
	return params
}

func sampleHolds() HoldList {
	vm := sampleVM()
	return HoldList{DeviceID: sampleCommand().Target.DeviceID, MacSerial: sampleHost().Serial, Version: 3, IssuedAt: noon,
		Holds: []Hold{{VMKey: vm.VMKey, Owner: vm.Owner, VMName: vm.Name, Since: noon, ExpiresAt: noon.AddDate(0, 0, 7), Force: true,
			CommandID: sampleCommand().CommandID, Reason: "lost laptop"}}}
}

func sampleHoldReport() HoldReport {
	return HoldReport{Version: 3, Holds: []HoldState{
		{VMKey: sampleVM().VMKey, CommandID: "lock-1", LockedAt: noon, ExpiresAt: noon, Force: true, State: HoldUnenforced, Code: CodeVMBusy, Since: noon, Violations: 2, ViolatedAt: noon},
		{VMKey: gappyVM().VMKey, CommandID: "lock-2", LockedAt: noon, State: HoldKept, Since: noon},
	}}
}

func sampleReceipt() Receipt {
	return Receipt{DeviceID: sampleCommand().Target.DeviceID, MacSerial: sampleHost().Serial, Epoch: sampleRequest().Epoch,
		CommandSHA256: samplePolicy().SHA256, Result: sampleResult()}
}

// A list of holds is whole and plain, or it is none.
func TestParseHoldList(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*HoldList)
		taken  bool
	}{
		"as signed":            {func(*HoldList) {}, true},
		"no holds":             {func(l *HoldList) { l.Holds = nil }, true},
		"no Mac":               {func(l *HoldList) { l.MacSerial = "" }, false},
		"no version":           {func(l *HoldList) { l.Version = 0 }, false},
		"a version for ever":   {func(l *HoldList) { l.Version = MaxVersion + 1 }, false},
		"one machine twice":    {func(l *HoldList) { l.Holds = append(l.Holds, l.Holds[0]) }, false},
		"one id, two accounts": {func(l *HoldList) { l.Holds = append(l.Holds, l.Holds[0]); l.Holds[1].UID++ }, true},
		"a machine of root":    {func(l *HoldList) { l.Holds[0].UID = 0 }, false},
		"no machine":           {func(l *HoldList) { l.Holds[0].ID = "" }, false},
		"since never":          {func(l *HoldList) { l.Holds[0].Since = time.Time{} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list := sampleHolds()
			test.change(&list)
			payload, err := json.Marshal(list)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := ParseHoldList(payload); (err == nil) != test.taken || test.taken && cmp.Diff(list, got) != "" {
				t.Errorf("got %v, %s", err, cmp.Diff(list, got))
			}
		})
	}
}

func TestCommandEnded(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]bool{
		CommandAwaitingApproval: false, CommandPending: false, CommandDelivered: false, CommandAcknowledged: false, CommandDeferred: false, CommandRunning: false,
		CommandUnknown: true, CommandSucceeded: true, CommandFailed: true, CommandRejected: true, CommandExpired: true, CommandCancelled: true,
	} {
		if CommandEnded(state) != want {
			t.Errorf("%s: got %t", state, !want)
		}
	}
}
