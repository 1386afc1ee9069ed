package cmd_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/command"
	"prlagent/agent/lane"
	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/platform/tool"
	"prlagent/prlctl"
)

// simulatedMac is a simulated Mac as executors of commands see it, with our own program
// in its place.
type simulatedMac struct {
	t       *testing.T
	root    string
	prlsim  string
	machine *platform.Machine
}

func newSimulatedMac(t *testing.T, options ...string) *simulatedMac {
	t.Helper()
	programs, err := builtPrograms()
	if err != nil {
		t.Fatal(err)
	}
	m := &simulatedMac{t: t, root: filepath.Join(t.TempDir(), "mac"), prlsim: filepath.Join(programs, "prlsim")}
	m.sim(append([]string{"mac", "create", m.root, "--no-processes", "--users", "alice,bob", "--empty"}, options...)...)
	helper := filepath.Join(m.root, platform.Helper)
	if err := os.MkdirAll(filepath.Dir(helper), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := copyProgram(filepath.Join(programs, "prlagentd"), helper); err != nil {
		t.Fatal(err)
	}
	m.machine = platform.New(m.root, &tool.Runner{Root: m.root})
	return m
}

func (m *simulatedMac) sim(args ...string) {
	m.t.Helper()
	if args[0] != "mac" {
		args = append([]string{"--mac", m.root}, args...)
	}
	c := exec.Command(m.prlsim, args...)
	if said, err := c.CombinedOutput(); err != nil {
		m.t.Fatalf("prlsim %q: %v\n%s", args, err, said)
	}
}

func (m *simulatedMac) mac() *command.Mac {
	return &command.Mac{
		Directory: m.machine, Files: m.machine, Lanes: lane.New(), Now: time.Now, Log: zerolog.Nop(),
		Tool: func(account *command.Account) command.VMTool {
			return prlctl.New(m.machine.As(account.User, account.Session))
		},
		Pause: func(context.Context, time.Duration) {},
	}
}

// target is what an admin has seen of alice's only machine.
func (m *simulatedMac) target() (command protocol.CommandTarget, bundle string) {
	m.t.Helper()
	users, err := m.machine.Users(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	alice := users.People[0]
	listing, err := prlctl.New(m.machine.As(alice, false)).List(m.t.Context())
	if err != nil || len(listing.VMs) != 1 {
		m.t.Fatalf("got %+v, %v", listing, err)
	}
	vm, err := prlctl.New(m.machine.As(alice, false)).Get(m.t.Context(), listing.VMs[0].ID)
	if err != nil {
		m.t.Fatal(err)
	}
	answers, err := m.machine.LookAtFiles(m.t.Context(), alice, []platform.FileQuestion{{Path: vm.Bundle()}})
	if err != nil || answers[0].Err != nil {
		m.t.Fatalf("%v, %v", err, answers)
	}
	identity := protocol.Bundle{Volume: answers[0].Volume, Inode: answers[0].Inode}
	return protocol.CommandTarget{DeviceID: "d", MacSerial: "S", UID: alice.UID, VMID: vm.ID, VMName: vm.Name, Bundle: identity}, vm.Bundle()
}

// The simulated Mac's own machines are deleted by its own tools, which ask before and
// have their oddities.
func TestCMD_01_H25_TheSimulatedMacDeletes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options []string
		before  []string // to the machine
		when    string
		state   string
		code    protocol.Code
	}{
		"stopped":                       {state: protocol.CommandSucceeded, code: protocol.CodeVerifiedAbsent},
		"it asks also without terminal": {options: []string{"--assume", "delete_prompt=always"}, state: protocol.CommandSucceeded, code: protocol.CodeVerifiedAbsent},
		"running":                       {before: []string{"start"}, state: protocol.CommandDeferred, code: protocol.CodeWaitsForStop},
		"running, now":                  {before: []string{"start"}, when: protocol.DeleteNow, state: protocol.CommandSucceeded, code: protocol.CodeVerifiedAbsent},
		"suspended, now":                {before: []string{"start", "suspend"}, when: protocol.DeleteNow, state: protocol.CommandSucceeded, code: protocol.CodeVerifiedAbsent},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newSimulatedMac(t, c.options...)
			m.sim("vm", "create", "--os", "ubuntu", "--name", "Lab", "--user", "alice")
			for _, verb := range c.before {
				m.sim("vm", verb, "Lab")
			}
			target, bundle := m.target()
			params, err := json.Marshal(protocol.DeleteParams{When: c.when})
			if err != nil {
				t.Fatal(err)
			}
			job := &command.Job{Attempt: 1, Command: protocol.Command{CommandID: "0193a000-0000-7000-8000-000000000001", Type: "vm.delete", Target: target, Params: params}}
			executor := command.NewDeletion(command.DeleteOptions{Mac: m.mac()})
			ready, err := executor.Prepare(t.Context(), job)
			if err != nil || ready.State != "" {
				if err != nil || ready.State != c.state || ready.Code != c.code {
					t.Errorf("got %+v, %v", ready, err)
				}
				return
			}
			job.Intent = ready.Intent
			said := executor.Act(t.Context(), job)
			seen, err := executor.Verify(t.Context(), job)
			if err != nil || seen.State != c.state || seen.Code != c.code {
				t.Errorf("got %+v, %v; the tool says %v", seen, err, said)
			}
			if _, err := os.Lstat(m.root + bundle); !os.IsNotExist(err) {
				t.Errorf("the bundle is there: %v", err)
			}
		})
	}
}
