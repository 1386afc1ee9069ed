package agent

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/command"
	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
)

const heldID = "1a1bcb3b-6466-4b13-86b0-86ff7e2b2030"

// heldMac is a Mac with one machine of uid 501, whose process shows when it runs.
type heldMac struct {
	mu      sync.Mutex
	state   prlctl.State
	refuses bool
}

func (m *heldMac) is(state prlctl.State) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state == state
}

func (m *heldMac) set(state prlctl.State, refuses bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state, m.refuses = state, refuses
}

func (m *heldMac) Users(context.Context) (platform.Users, error) {
	return platform.Users{People: []platform.User{{Name: "alice", UID: 501, Home: "/Users/alice"}}}, nil
}

func (m *heldMac) Console(context.Context) (platform.Console, error) { return platform.Console{}, nil }

func (m *heldMac) Processes(context.Context) ([]platform.Process, error) {
	if !m.is(prlctl.StateRunning) {
		return nil, nil
	}
	return []platform.Process{{
		PID: 7, UID: 501, Path: prlctl.AppBundle + "/Contents/MacOS/Parallels VM.app/Contents/MacOS/prl_vm_app",
		Arguments: platform.VMArguments{VMID: heldID},
	}}, nil
}

func (m *heldMac) Get(context.Context, string) (prlctl.VM, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return prlctl.VM{ID: heldID, State: m.state, Raw: []byte("{}")}, nil
}

func (m *heldMac) Suspend(context.Context, string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refuses {
		return &prlctl.Error{Code: prlctl.CodeVMBusy}
	}
	m.state = prlctl.StateSuspended
	return nil
}

func (m *heldMac) Pause(context.Context, string) error          { return &prlctl.Error{Code: prlctl.CodeVMBusy} }
func (m *heldMac) Kill(context.Context, string) error           { return &prlctl.Error{Code: prlctl.CodeVMBusy} }
func (m *heldMac) Set(context.Context, string, ...string) error { return nil }

func signedHolds(t *testing.T, version uint64, holds ...protocol.Hold) *protocol.Envelope {
	t.Helper()
	payload, err := json.Marshal(protocol.HoldList{
		DeviceID: "device-1", MacSerial: testHost.Serial, Version: version, IssuedAt: wallClock(), Holds: append([]protocol.Hold{}, holds...),
	})
	if err != nil {
		t.Fatal(err)
	}
	signed := protocol.Sign(protocol.PayloadHolds, payload, operatorKey)
	return &signed
}

// A list that comes with an answer is in force at once and in the next report; what
// cannot be held makes the Mac unhealthy; a person on the Mac ends it, and the portal
// hears of that.
func TestH27_H29_H69_HoldsThroughTheLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mac := &heldMac{state: prlctl.StateRunning}
		d := newDaemon(t, commandSettings(t, "vm.lock", "vm.unlock"))
		d.parts.held = command.HoldOptions{
			Directory: mac, UIDOnDisk: func(user platform.User) uint32 { return user.UID },
			Tool: func(*command.Account) command.HoldTool { return mac },
		}
		d = d.again(t)
		stop := d.runAll(t)
		defer stop()
		d.ask(t)
		if status := d.Status(); status.Holds != nil || d.portal.held != nil {
			t.Error("a Mac that never had a list shows one")
		}
		d.portal.change(func(f *fakePortal) {
			f.holds = signedHolds(t, 1, protocol.Hold{VMKey: protocol.VMKey{ID: heldID, UID: 501}, VMName: "Win", Owner: "alice", Since: wallClock(), CommandID: "lock-1"})
		})
		d.ask(t)
		time.Sleep(10 * time.Second)
		if !mac.is(prlctl.StateSuspended) {
			t.Error("it runs")
		}
		mac.set(prlctl.StateRunning, true)
		time.Sleep(time.Minute)
		d.ask(t)
		status := d.Status()
		if vm := status.Holds.VMs[0]; status.Holds.Held != 1 || vm.State != protocol.HoldUnenforced || vm.Code != protocol.CodeVMBusy || vm.Violations != 1 {
			t.Errorf("%s %s, %d violations", vm.State, vm.Code, vm.Violations)
		}
		if status.Health.State != localapi.Unhealthy {
			t.Errorf("the agent calls itself %s", status.Health.State)
		}
		if public := status.ForEveryone(); public.Holds.Held != 1 || len(public.Holds.VMs) != 0 {
			t.Error("a stranger sees what is held")
		}
		d.portal.change(func(f *fakePortal) {
			if f.held == nil || f.held.Version != 1 || f.held.Holds[0].State != protocol.HoldUnenforced {
				t.Errorf("the portal is told of %v", f.held)
			}
		})

		result := d.ByHand(t.Context(), &localapi.HandRequest{ReleaseHolds: true, VMs: []string{heldID}}, "root")
		if result.Code != "" || len(result.VMs) != 1 || result.VMs[0].Name != "Win" {
			t.Errorf("%+v", result)
		}
		if again := d.ByHand(t.Context(), &localapi.HandRequest{ReleaseHolds: true, VMs: []string{heldID}}, "root"); again.Code != protocol.CodeNotHeld {
			t.Errorf("%+v", again)
		}
		mac.set(prlctl.StateRunning, false)
		time.Sleep(time.Minute)
		d.ask(t)
		if !mac.is(prlctl.StateRunning) {
			t.Error("it is held after a release")
		}
		d.portal.change(func(f *fakePortal) {
			if f.held.Holds[0].State != protocol.HoldReleased {
				t.Errorf("the portal is told of %s", f.held.Holds[0].State)
			}
		})
		events, _, _ := d.eventLog.EventsSince(0, 1000)
		kinds := map[string]string{}
		for _, event := range events {
			kinds[event.Type] += event.Data["by"] + "."
		}
		for kind, want := range map[string]string{"vm_hold_placed": ".", "vm_hold_violated": ".", "vm_hold_unenforced": ".", "vm_hold_released": "root."} {
			if kinds[kind] != want {
				t.Errorf("%s: %q", kind, kinds[kind])
			}
		}
	})
}

// A machine that is held and was registered anew under another id is no quiet Mac.
func TestH21_H27_HealthOfAHoldThatWasEvaded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		state string
		code  protocol.Code
		want  int
	}{
		"it runs":                   {protocol.HoldUnenforced, protocol.CodeVMBusy, 1},
		"it has another id now":     {protocol.HoldNoVM, protocol.CodeTargetChanged, 1},
		"it is gone":                {protocol.HoldNoVM, "", 0},
		"it was not looked at yet":  {protocol.HoldUnenforced, protocol.CodeNotLookedYet, 0},
		"it is held":                {protocol.HoldKept, "", 0},
		"somebody here released it": {protocol.HoldReleased, protocol.CodeHoldReleased, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var found codeList
			found.addHolds(&localapi.Holds{VMs: []localapi.HeldVM{{VMKey: protocol.VMKey{ID: heldID, UID: 501}, State: c.state, Code: c.code}}})
			if got := len(found.codes); got != c.want {
				t.Errorf("%d codes, want %d", got, c.want)
			}
		})
	}
}
