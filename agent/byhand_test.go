package agent

import (
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/config"
	"prlagent/agent/localapi"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

func (m *policyMac) byHand(t *testing.T, value string) *localapi.HandResult {
	t.Helper()
	return m.ByHand(t.Context(), &localapi.HandRequest{Setting: "clipboard", Value: value, All: true}, "carol")
}

// VMF-11: what is set by hand is done while the Mac monitors, who asked for it is
// kept before that, and it is no reason to check in.
func TestVMF11_ByHandThroughTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newPolicyMac(t, config.ModeMonitor)
		defer m.run(t)()
		time.Sleep(time.Hour)
		checkins := len(m.portal.checkins())
		result := m.byHand(t, "disconnect")
		if result.Code != "" || len(result.VMs) != 1 || result.VMs[0].Outcome != policy.HandDone || result.VMs[0].Owner != "alice" || len(m.setsSince(time.Time{})) != 1 {
			t.Fatalf("%+v", result)
		}
		events, _, err := m.eventLog.EventsSince(0, 100)
		asked := ""
		for _, event := range events {
			switch event.Type {
			case "policy_by_hand":
				asked = event.Data["by"] + " " + event.Data["setting"] + " " + event.Data["value"]
			case "policy_setting_set":
				if asked != "carol clipboard disconnect" {
					t.Errorf("asked before it was done: %q", asked)
				}
			}
		}
		if err != nil || asked == "" {
			t.Errorf("events %+v, %v", events, err)
		}
		time.Sleep(10 * time.Minute)
		for _, one := range m.portal.checkins()[checkins:] {
			for _, entry := range one.triggers {
				if entry.Reason == "vm_config_changed" {
					t.Errorf("our own set is told as a reason: %+v", entry)
				}
			}
		}
	})
}

// What makes no sense is refused before anything is done.
func TestVMF11_ByHandIsChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newPolicyMac(t, config.ModeEnforce)
		m.portal.document = fakePolicy
		defer m.run(t)()
		time.Sleep(time.Hour)
		for want, request := range map[protocol.Code]*localapi.HandRequest{
			protocol.CodeSettingUnknown:   {Setting: "neighbors", Value: "none", All: true},
			protocol.CodePolicyWrongValue: {Setting: "clipboard", Value: "sideways", All: true},
		} {
			if got := m.ByHand(t.Context(), request, "carol"); got.Code != want {
				t.Errorf("%+v: %q", request, got.Code)
			}
		}
		if sets := m.setsSince(time.Time{}); len(sets) > 0 {
			t.Errorf("%d sets", len(sets))
		}
	})
}

// H47: once the locks are released the Mac only plans, and says so, until there is
// a newer head.
func TestH47_ReleasedUntilANewerHead(t *testing.T) {
	skipHours(t)
	synctest.Test(t, func(t *testing.T) {
		m := newPolicyMac(t, config.ModeEnforce)
		stop := m.run(t)
		time.Sleep(time.Hour)
		if result := m.ByHand(t.Context(), &localapi.HandRequest{ReleaseLocks: true}, "carol"); result.Code != "" || len(result.VMs) != 0 {
			t.Fatalf("%+v", result)
		}
		released := wallClock()
		m.becomes("on")
		time.Sleep(2 * time.Hour)
		stop()
		m.daemon = m.again(t)
		stop = m.run(t)
		defer func() { stop() }()
		time.Sleep(25 * time.Hour)
		status, shown := m.Status(), m.Policy()
		if sets := m.setsSince(released); len(sets) > 0 {
			t.Errorf("%d sets after the release", len(sets))
		}
		if status.LocksReleased == nil || status.LocksReleased.By != "carol" || shown.Mode != config.ModeMonitor || shown.Settings[0].Code != protocol.CodeLocksReleased {
			t.Errorf("status %+v, policy %+v", status.LocksReleased, shown)
		}
		if public := status.ForEveryone().LocksReleased; public == nil || public.By != "" {
			t.Errorf("for everyone %+v", public)
		}
		m.portal.change(func(portal *fakePortal) { portal.policy.HeadVersion++ })
		m.ask(t)
		time.Sleep(time.Hour)
		if status := m.Status(); status.LocksReleased != nil || len(m.setsSince(released)) != 1 || status.Policy.State != protocol.PolicyConverged {
			t.Errorf("with a newer head: %+v, %d sets", status.LocksReleased, len(m.setsSince(released)))
		}
	})
}
