package cli

import (
	"strings"
	"testing"
	"time"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

// status says of each hold how it stands, since when, why, and how often the machine ran.
func TestH27_StatusShowsHolds(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	const id = "f11d8098-10fe-40d9-871e-27af1e66161e"
	vm := func(state string, code protocol.Code) localapi.HeldVM {
		return localapi.HeldVM{VMKey: protocol.VMKey{ID: id, UID: 501}, Name: "Win", Owner: "alice", State: state, Code: code, Since: since, Violations: 3, Reason: "lost"}
	}
	paused, released := vm(protocol.HoldUnenforced, protocol.CodeVMBusy), vm(protocol.HoldReleased, protocol.CodeHoldReleased)
	paused.Paused, released.ReleasedBy = true, "root"
	for name, c := range map[string]struct {
		holds *localapi.Holds
		want  []string
	}{
		"never a list": {nil, nil},
		"none":         {&localapi.Holds{Version: 2}, nil},
		"a stranger":   {&localapi.Holds{Version: 2, Held: 1}, []string{"Held", "1 virtual machine"}},
		"held":         {&localapi.Holds{Version: 2, Held: 1, VMs: []localapi.HeldVM{vm(protocol.HoldKept, "")}}, []string{"Win", id, "alice", "held", "3", "locked because: lost"}},
		"paused":       {&localapi.Holds{Version: 2, Held: 1, VMs: []localapi.HeldVM{paused}}, []string{"unenforced, paused", "vm_busy"}},
		"released":     {&localapi.Holds{Version: 2, VMs: []localapi.HeldVM{released}}, []string{"released by root", "hold_released"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			page := &pageWriter{view: outputView{zone: time.UTC}}
			page.addHolds(c.holds)
			got := page.text.String()
			if len(c.want) == 0 && got != "" {
				t.Errorf("it shows %q", got)
			}
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("%q is not in %q", want, got)
				}
			}
		})
	}
}

// release takes one of its three, and machines by their ids alone.
func TestH29_ReleaseRequest(t *testing.T) {
	t.Parallel()
	const id = "f11d8098-10fe-40d9-871e-27af1e66161e"
	for name, c := range map[string]struct {
		locks, all bool
		held       []string
		good       bool
	}{
		"locks": {true, false, nil, true}, "all": {false, true, nil, true}, "one": {false, false, []string{id}, true},
		"nothing": {}, "all and one": {false, true, []string{id}, false}, "locks and all": {true, true, nil, false},
		"by name": {false, false, []string{"Win"}, false},
	} {
		request, err := releaseRequest(c.locks, c.all, c.held)
		if (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
		if c.good && (request.ReleaseHolds == c.locks || request.ReleaseLocks != c.locks || request.All != c.all || len(request.VMs) != len(c.held)) {
			t.Errorf("%s: %+v", name, request)
		}
	}
}

// doctor finds what is held, and what runs all the same.
func TestH29_DoctorFindsHolds(t *testing.T) {
	t.Parallel()
	one := localapi.HeldVM{VMKey: protocol.VMKey{ID: "vm-1", UID: 501}, State: protocol.HoldKept}
	if got := judgeHolds(&localapi.Holds{Held: 1, VMs: []localapi.HeldVM{one}}); got.Outcome != outcomeOK || !strings.Contains(got.Text, "1 virtual machine held") {
		t.Errorf("%+v", got)
	}
	one.State, one.Code = protocol.HoldUnenforced, protocol.CodeVMBusy
	if got := judgeHolds(&localapi.Holds{Held: 1, VMs: []localapi.HeldVM{one}}); got.Code != protocol.CodeHoldUnenforced {
		t.Errorf("%+v", got)
	}
	one.State, one.Code = protocol.HoldNoVM, protocol.CodeTargetChanged // registered anew under another id
	if got := judgeHolds(&localapi.Holds{Held: 1, VMs: []localapi.HeldVM{one}}); got.Code != protocol.CodeHoldUnenforced {
		t.Errorf("%+v", got)
	}
	one.Code = "" // it is gone
	if got := judgeHolds(&localapi.Holds{Held: 1, VMs: []localapi.HeldVM{one}}); got.Outcome != outcomeOK {
		t.Errorf("%+v", got)
	}
}
