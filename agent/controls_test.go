package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/config"
	"prlagent/agent/enforce"
	"prlagent/agent/inventory"
	"prlagent/agent/lane"
	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/agent/watch"
	"prlagent/platform"
	"prlagent/prlctl"
)

// controlledMac is a Mac of alice under security controls.
type controlledMac struct {
	daemon
	mu        sync.Mutex
	passwords []string             // what the host asks a password for
	states    map[string]string    // of the machines, by their ids
	suspended map[string]time.Time // by their ids
}

func newControlledMac(t *testing.T, controls string) *controlledMac {
	t.Helper()
	configuration := settings(t)
	configuration.Mode, configuration.AllowUnprovenLocks = config.ModeEnforce, true
	m := &controlledMac{daemon: newDaemon(t, configuration), states: make(map[string]string), suspended: make(map[string]time.Time)}
	m.agent.parts.enforcer, m.agent.parts.applied = newEnforcer(m.options())
	m.portal.policy = protocol.PolicyReport{State: protocol.PolicyFetched, PolicyID: "finance", Revision: 7}
	m.portal.document = fmt.Sprintf(`{"schema": 1, "policy_id": "finance", "revision": 7, "name": "Finance", "security_controls": {%s}}`, controls)
	m.add(1)
	return m
}

func (m *controlledMac) options() enforce.Options {
	return enforce.Options{
		Store: m.store, Lanes: lane.New(), Log: zerolog.Nop(), Now: wallClock,
		Host:    func(platform.User, bool) enforce.HostTool { return m },
		Tool:    func(platform.User, bool) enforce.Tool { return m },
		Suspend: func(_ context.Context, _ platform.User, _ bool, id string) error { return m.suspend(id) },
	}
}

// add gives alice a machine that runs.
func (m *controlledMac) add(number int) (id string) {
	id = fmt.Sprintf("%08d-10fe-40d9-871e-27af1e66161e", number)
	m.mu.Lock()
	m.states[id] = "running"
	m.mu.Unlock()
	m.show()
	return id
}

// show has the next look see the machines as they are.
func (m *controlledMac) show() {
	m.mu.Lock()
	defer m.mu.Unlock()
	look := &inventory.Look{Host: testHost, Product: protocol.Product{Installed: true, Version: "26.4.0", State: protocol.ProductKey},
		Users:    []protocol.UserLook{{UID: 501, Name: "alice"}},
		Accounts: []inventory.Account{{User: platform.User{Name: "alice", UID: 501}}}}
	for _, id := range sortedWords(m.states) {
		vm := m.vm(id)
		look.Machines = append(look.Machines, inventory.Machine{User: platform.User{Name: "alice", UID: 501}, VM: vm, ConfigHash: vm.ConfigHash()})
		look.VMs = append(look.VMs, protocol.VM{VMKey: protocol.VMKey{ID: id, UID: 501}, Owner: "alice", ConfigHash: vm.ConfigHash()})
	}
	m.mac.change(func(mac *fakeMac) { mac.look = look })
}

func sortedWords(states map[string]string) (ids []string) {
	for id := range states {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (m *controlledMac) vm(id string) (vm prlctl.VM) {
	data, _ := json.Marshal(map[string]any{"ID": id, "Name": "Windows 11", "Type": "VM", "State": m.states[id], "OS": "win-11",
		"GuestTools": map[string]any{"state": "installed", "version": "26.4.0-57513"}})
	_ = vm.UnmarshalJSON(data)
	return vm
}

func (m *controlledMac) suspend(id string) error {
	m.mu.Lock()
	m.states[id], m.suspended[id] = "suspended", wallClock()
	m.mu.Unlock()
	m.show()
	return nil
}

// Set and Get are enforce.Tool.
func (m *controlledMac) Set(context.Context, string, ...string) error { return nil }

func (m *controlledMac) Get(_ context.Context, id string) (prlctl.VM, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.vm(id), nil
}

// ServerInfo and SetHost are enforce.HostTool.
func (m *controlledMac) ServerInfo(context.Context) (prlctl.ServerInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return prlctl.ServerInfo{RequirePassword: slices.Clone(m.passwords), PreferencesLocked: prlctl.SwitchOff}, nil
}

func (m *controlledMac) SetHost(_ context.Context, args ...string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	action, word, _ := strings.Cut(args[1], ":")
	m.passwords = slices.DeleteFunc(m.passwords, func(one string) bool { return one == action })
	if word == "on" {
		m.passwords = append(m.passwords, action)
	}
	return nil
}

func (m *controlledMac) asked() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := slices.Clone(m.passwords)
	slices.Sort(list)
	return strings.Join(list, " ")
}

// SEC-01, H42: a machine that comes against the policy is reported within a minute,
// and suspended at the end of its grace although nothing else happens on the Mac;
// an older one is not.
func TestSEC01_H42_SuspendedAtTheEndOfTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newControlledMac(t, `"provisioned_only": true, "on_violation": "suspend", "grace_s": 400`)
		defer m.run(t)()
		time.Sleep(time.Hour)
		came := wallClock()
		id := m.add(2)
		m.inbox.Tell(watch.Hint{UID: 501, VMID: id, Reason: "vm_created"})
		time.Sleep(time.Minute)
		synctest.Wait()
		if violations := m.Status().Violations; violations != 1 {
			t.Fatalf("%d violations within a minute", violations)
		}
		events, _, err := m.eventLog.EventsSince(0, 100)
		if err != nil || !slices.ContainsFunc(events, func(event protocol.Event) bool {
			return event.Type == "policy_violation" && event.Data["user_name"] == "alice" && event.Data["action"] == "suspended_after_grace"
		}) {
			t.Errorf("events %+v, %v", events, err)
		}
		time.Sleep(time.Hour)
		at, is := m.suspended[id]
		if late := at.Sub(came) - 400*time.Second; !is || late < 0 || late > time.Minute || len(m.suspended) != 1 {
			t.Errorf("suspended %v, the machine came at %v", m.suspended, came)
		}
	})
}

// H68: what a daemon that was killed had lifted is put back before the first
// exchange of the next one.
func TestH68_PutBackBeforeTheFirstExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newControlledMac(t, `"provisioned_only": true`)
		stop := m.run(t)
		time.Sleep(time.Hour)
		if got := m.asked(); got != "add-vm clone-vm create-vm" {
			t.Fatalf("the Mac asks a password for %q", got)
		}
		_, err := m.parts.enforcer.TakeLease(t.Context(), "provision", []string{"create-vm", "add-vm"}, wallClock().Add(24*time.Hour))
		if err != nil || m.asked() != "clone-vm" {
			t.Fatalf("the Mac asks a password for %q, %v", m.asked(), err)
		}
		stop()

		options := m.options()
		m.parts.enforcer, m.parts.applied = newEnforcer(options)
		next := controlledMac{daemon: m.again(t)}
		next.portal.change(func(portal *fakePortal) { portal.got, portal.hold = nil, make(chan struct{}) })
		defer next.run(t)()
		synctest.Wait() // for whatever can go on while the exchange waits
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := m.asked(); got != "add-vm clone-vm create-vm" || len(next.portal.checkins()) != 0 {
			t.Errorf("before the first exchange the Mac asks a password for %q", got)
		}
	})
}

// H13, H67: the host's switches are set as an administrator, whom no standard user can
// hold up; else as who sits at the Mac, else as the first who is there; never as root.
func TestH67_AsWhomTheHostIsSet(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		accounts string // uids, in their order; "c" behind one: sits at the Mac, "a": administrator, "-": was not listed
		silent   bool   // the directory does not answer
		want     uint32
		asked    int
	}{
		"nobody":                           {"", false, 0, 0},
		"the first":                        {"501 502", false, 501, 2},
		"who sits at the Mac":              {"501 502c", false, 502, 2},
		"an administrator":                 {"501 502c 503a", false, 503, 3},
		"of two, the one at the Mac":       {"501a 502ca", false, 502, 1},
		"of two, the first":                {"501c 502a 503a", false, 502, 2},
		"one who could not be listed":      {"501 502ca-", false, 501, 1},
		"root is none":                     {"0ca 501", false, 501, 1},
		"only root":                        {"0ca", false, 0, 0},
		"a directory that does not answer": {"501a 502c 503a", true, 502, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			look := new(inventory.Look)
			administrators, asked := make(map[uint32]bool), 0
			for word := range strings.FieldsSeq(test.accounts) {
				number := strings.TrimRight(word, "ca-")
				uid, _ := strconv.ParseUint(number, 10, 32)
				user, marks := platform.User{UID: uint32(uid), Name: "user" + number}, word[len(number):]
				listed := protocol.UserLook{UID: user.UID, Name: user.Name}
				if strings.Contains(marks, "-") {
					listed.Code = protocol.CodeServiceDown
				}
				administrators[user.UID] = strings.Contains(marks, "a")
				look.Users = append(look.Users, listed)
				look.Accounts = append(look.Accounts, inventory.Account{User: user, Session: true, Console: strings.Contains(marks, "c")})
			}
			owner := hostOwnerOf(look, func(peer localapi.Peer) localapi.Actor {
				asked++
				return localapi.Actor{UID: peer.UID, Admin: administrators[peer.UID] && !test.silent, Unresolved: test.silent}
			})
			got := uint32(0)
			if owner != nil {
				got = owner.User.UID
			}
			if got != test.want || asked != test.asked {
				t.Errorf("as %d, asked about %d, want %d and %d", got, asked, test.want, test.asked)
			}
		})
	}
}
