package agent

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/checkin"
	"prlagent/agent/config"
	"prlagent/agent/enforce"
	"prlagent/agent/inventory"
	"prlagent/agent/lane"
	"prlagent/agent/protocol"
	"prlagent/agent/trigger"
	"prlagent/agent/watch"
	"prlagent/platform"
	"prlagent/prlctl"
)

const (
	clipboardPolicy = `{"schema": 1, "policy_id": "finance", "revision": 7, "name": "Finance", "vm_settings": {"other": {"clipboard": "disconnect"}}}`
	policyVM        = "f11d8098-10fe-40d9-871e-27af1e66161e"
)

// policyMac is alice's only virtual machine, of which the clipboard is set.
type policyMac struct {
	daemon
	mu   sync.Mutex
	sets []time.Time
}

func (m *policyMac) vm(clipboard string) prlctl.VM {
	var vm prlctl.VM
	data, _ := json.Marshal(map[string]any{"ID": policyVM, "Name": "Windows 11", "Type": "VM", "State": "running", "OS": "win-11",
		"Hardware":              map[string]any{"net0": map[string]any{"enabled": true, "type": "shared"}},
		"Miscellaneous Sharing": map[string]any{"Shared clipboard mode": clipboard}})
	_ = vm.UnmarshalJSON(data)
	return vm
}

// becomes lets the machine have this clipboard.
func (m *policyMac) becomes(clipboard string) {
	vm := m.vm(clipboard)
	m.mac.change(func(mac *fakeMac) {
		mac.look.Product = protocol.Product{Installed: true, Version: "26.4.0", State: protocol.ProductKey}
		mac.look.Machines = []inventory.Machine{{User: platform.User{Name: "alice", UID: 501}, VM: vm, ConfigHash: vm.ConfigHash()}}
		mac.look.VMs = []protocol.VM{{VMKey: protocol.VMKey{ID: policyVM, UID: 501}, Owner: "alice", State: protocol.StateRunning, ConfigHash: vm.ConfigHash()}}
	})
}

func (m *policyMac) Set(_ context.Context, _ string, args ...string) error {
	m.mu.Lock()
	m.sets = append(m.sets, wallClock())
	m.mu.Unlock()
	time.Sleep(2 * time.Second)
	m.becomes(strings.TrimPrefix(args[0], "--shared-clipboard="))
	return nil
}

func (m *policyMac) Get(context.Context, string) (prlctl.VM, error) {
	m.mac.mu.Lock()
	defer m.mac.mu.Unlock()
	return m.mac.look.Machines[0].VM, nil
}

func (m *policyMac) setsSince(at time.Time) (since []time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, set := range m.sets {
		if !set.Before(at) {
			since = append(since, set)
		}
	}
	return since
}

// newPolicyMac is a daemon in this mode with a policy in force.
func newPolicyMac(t *testing.T, mode string) *policyMac {
	t.Helper()
	configuration := settings(t)
	configuration.Mode = mode
	m := &policyMac{daemon: newDaemon(t, configuration)}
	m.agent.parts.enforcer, m.agent.parts.applied = newEnforcer(enforce.Options{
		Store: m.store, Lanes: lane.New(), Log: zerolog.Nop(), Tool: func(platform.User, bool) enforce.Tool { return m },
	})
	m.portal.policy, m.portal.document = protocol.PolicyReport{State: protocol.PolicyFetched, PolicyID: "finance", Revision: 7}, clipboardPolicy
	m.becomes("on")
	return m
}

// A policy's effect is there within a minute of a user's change while the Mac is
// offline, without one check-in that arrives; and with a portal, our own sets are
// no reason to check in.
func TestH46_AUsersChangeIsPutBackWithinAMinuteOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newPolicyMac(t, config.ModeEnforce)
		defer m.run(t)()
		time.Sleep(time.Hour)
		if sets := m.setsSince(time.Time{}); len(sets) != 1 {
			t.Fatalf("%d sets at the start", len(sets))
		}
		if state := m.Status().Policy.State; state != protocol.PolicyConverged {
			t.Fatalf("the policy is %s", state)
		}
		for _, one := range m.portal.checkins() {
			for _, entry := range one.triggers {
				if entry.Reason == "vm_config_changed" {
					t.Errorf("our own set is told as a reason: %+v", entry)
				}
			}
		}
		m.portal.answer(checkin.Outcome{Code: protocol.CodePortalUnreachable})
		m.portal.change(func(portal *fakePortal) { portal.loses = true })
		for range 5 {
			changed := wallClock()
			m.becomes("on")
			m.inbox.Tell(watch.Hint{UID: 501, VMID: policyVM})
			time.Sleep(time.Minute)
			synctest.Wait()
			if sets := m.setsSince(changed); len(sets) != 1 {
				t.Fatalf("%d sets within a minute", len(sets))
			}
			if vm, _ := m.Get(t.Context(), policyVM); string(vm.Raw) != string(m.vm("off").Raw) {
				t.Fatalf("it is %s", vm.Raw)
			}
			time.Sleep(time.Hour) // else it is contended
		}
	})
}

// A clock that is set forward does not end the wait for somebody who works in the
// machine: the deadline is held against the time that a server's stands for.
func TestPOL_02_TheDaemonWaitsByATrustedTime(t *testing.T) {
	skipHours(t)
	synctest.Test(t, func(t *testing.T) {
		m := newPolicyMac(t, config.ModeEnforce)
		m.portal.document = strings.Replace(clipboardPolicy, `{"other": {"clipboard": "disconnect"}}`, `{"max_wait_h": 24, "other": {"network": "host_only"}}`, 1)
		m.portal.trusted = wallClock()
		defer m.run(t)()
		next := func(hours time.Duration) {
			time.Sleep(hours * time.Hour)
			m.becomes(map[bool]string{true: "on", false: "off"}[hours > 24])
			m.inbox.Tell(watch.Hint{UID: 501, VMID: policyVM})
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		next(48) // of which the trusted time knows nothing
		if sets := m.setsSince(time.Time{}); len(sets) > 0 {
			t.Errorf("set at %v", sets)
		}
		m.portal.change(func(portal *fakePortal) { portal.trusted = wallClock() })
		next(1)
		if sets := m.setsSince(time.Time{}); len(sets) == 0 {
			t.Error("not set at the end of the wait")
		}
	})
}

// H40: in monitor mode nothing is set, whatever a user changes.
func TestH40_TheDaemonMonitors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newPolicyMac(t, config.ModeMonitor)
		defer m.run(t)()
		for _, value := range []string{"off", "on", "off", "on"} {
			time.Sleep(time.Hour)
			m.becomes(value)
			m.inbox.Tell(watch.Hint{UID: 501, VMID: policyVM})
		}
		time.Sleep(time.Hour)
		if sets := m.setsSince(time.Time{}); len(sets) > 0 {
			t.Errorf("set %v", sets)
		}
		policy := m.Policy()
		if policy.Mode != config.ModeMonitor || len(policy.Steps) != 1 || policy.Settings[0].Verdict != protocol.VerdictPending || policy.Report.State != protocol.PolicyFetched {
			t.Errorf("shown %+v", policy)
		}
	})
}

// A quiet day of a compliant Mac has no set and no write beyond that of any Mac.
func TestPOL_02_AQuietDayCostsNothing(t *testing.T) {
	skipHours(t)
	commits := func(t *testing.T, document string) (commits uint64, sets int) {
		synctest.Test(t, func(t *testing.T) {
			m := newPolicyMac(t, config.ModeEnforce)
			m.portal.document = document
			m.becomes("off")
			defer m.run(t)()
			time.Sleep(time.Hour)
			before := m.store.Commits()
			time.Sleep(20 * time.Hour)
			commits, sets = m.store.Commits()-before, len(m.setsSince(time.Time{}))
		})
		return commits, sets
	}
	without, _ := commits(t, fakePolicy)
	with, sets := commits(t, clipboardPolicy)
	if sets > 0 || with > without {
		t.Errorf("%d sets; %d commits with settings, %d without", sets, with, without)
	}
}

// H43: what the tools can do is asked once of each version, and of an answer that
// is not whole, or makes no sense, again after an hour.
func TestH43_AnotherVersionIsProbedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probes := 0
		a := &agent{parts: parts{log: &nolog, probe: func(context.Context, inventory.Account, prlctl.Version) (prlctl.Capabilities, error) {
			probes++
			return prlctl.Capabilities{Unread: map[string]string{"prlctl set advanced --help": prlctl.CodeOutputInvalid}}, nil
		}}}
		c := &convergence{agent: a, account: &inventory.Account{}}
		want := func(what string, version prlctl.Version, count int) {
			t.Helper()
			c.situation = &enforce.Situation{Version: version}
			probes = 0
			for range 3 {
				c.probe(t.Context())
				time.Sleep(10 * time.Minute)
			}
			if probes != count {
				t.Errorf("%s: probed %d times, want %d", what, probes, count)
			}
		}
		first, next := prlctl.Version{Major: 26}, prlctl.Version{Major: 27}
		want("garbage", first, 1)
		time.Sleep(time.Hour)
		want("an hour later", first, 1)
		want("another version", next, 1)
		want("no product", prlctl.Version{}, 0)
		want("a version that was put back", first, 1)
		if got := c.ability.Flag("--shared-clipboard").Support; got != prlctl.SupportUnknown {
			t.Errorf("of garbage it is said that a flag is %s", got)
		}
	})
}

// ENC-10: what a look saw of a machine's room is what a plan goes by.
func TestENC_10_APlanKnowsTheRoom(t *testing.T) {
	t.Parallel()
	facts := machineOf(&inventory.Machine{Space: platform.Space{Used: 2, Free: 1}}, trigger.Set{}).Facts
	if facts.UsedSpace != 2 || facts.FreeSpace != 1 {
		t.Errorf("%d used, %d free", facts.UsedSpace, facts.FreeSpace)
	}
}
