package sim

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// macWithProcesses is the standard Mac with its processes.
func macWithProcesses(t *testing.T) Mac {
	t.Helper()
	wanted := standardMac()
	wanted.NoProcesses, wanted.LoggedOut = false, []string{"bob"}
	return newMac(t, wanted)
}

func mustLoad(t *testing.T, mac Mac) *State {
	t.Helper()
	state, err := mac.Load()
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// isRunning reports whether a process of the Mac with this id waits for its end.
func isRunning(mac Mac, pid int) bool {
	return slices.Contains(mac.waitingProcesses(), waitingProcess{PID: pid})
}

func TestServiceProcess(t *testing.T) {
	t.Parallel()
	mac := macWithProcesses(t)
	service := func() dispatcherService { return mustLoad(t, mac).Service }
	first := service()
	if first.PID == 0 || !isRunning(mac, first.PID) {
		t.Fatalf("no service on a new Mac: %+v", first)
	}
	for _, step := range []struct {
		name  string
		apply func(*State) error
		check func(before, after dispatcherService) bool
	}{
		{"another change", func(state *State) error { state.ComputerName = "x"; return nil },
			func(before, after dispatcherService) bool { return before == after }},
		{"one user's trouble", func(state *State) error { return state.setFault("service_down", "alice") },
			func(before, after dispatcherService) bool { return before == after }},
		{"restart", func(state *State) error { state.Service.Running = false; return nil },
			func(before, after dispatcherService) bool {
				return after.PID != before.PID && after.Starts == before.Starts+1 && isRunning(mac, after.PID)
			}},
		{"stop", func(state *State) error { return state.setFault("service_down", "") },
			func(_, after dispatcherService) bool { return after.PID == 0 && !after.Running }},
		{"start", func(state *State) error { state.clearFault("", ""); return nil },
			func(before, after dispatcherService) bool {
				return after.Starts == before.Starts+1 && isRunning(mac, after.PID)
			}},
	} {
		before := service()
		mustUpdate(t, mac, step.apply)
		mac.waitForExits()
		after := service()
		if !step.check(before, after) {
			t.Errorf("%s: %+v, then %+v", step.name, before, after)
		}
		if after.PID != before.PID && isRunning(mac, before.PID) {
			t.Errorf("%s: process %d still runs", step.name, before.PID)
		}
	}
}

func TestApplication(t *testing.T) {
	t.Parallel()
	mac := emptyMac(t) // also without other processes
	launch := func(user string) error { return mac.update(func(s *State) error { return mac.launchApp(s, user) }) }
	if err := errors.Join(launch("alice"), launch("bob")); err != nil {
		t.Fatal(err)
	}
	apps := mustLoad(t, mac).Apps
	for _, app := range apps {
		if !isRunning(mac, app.PID) {
			t.Errorf("no process of %s", app.User)
		}
	}
	for _, user := range []string{"alice", "carol"} {
		if launch(user) == nil {
			t.Errorf("the application is launched for %s", user)
		}
	}
	mustUpdate(t, mac, func(state *State) error { state.logOut(1); return nil })
	mac.waitForExits()
	if launch("bob") == nil {
		t.Error("the application is launched without a session")
	}
	if !isRunning(mac, apps[0].PID) || isRunning(mac, apps[1].PID) {
		t.Error("after the logout of bob: not only the application of alice runs")
	}
	mustUpdate(t, mac, func(state *State) error {
		if ended := state.quitApp(""); ended != 1 {
			t.Errorf("%d applications have quit", ended)
		}
		return nil
	})
	mac.waitForExits()
	if left := mac.waitingProcesses(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// The programs lie where the agent looks for them (facts/prlctl.md 1.1,
// captures.md 4.3).
func TestWhereTheProgramsLie(t *testing.T) {
	t.Parallel()
	mac := emptyMac(t)
	bundle := mac.Path("/Applications/Parallels Desktop.app/Contents/MacOS")
	for _, program := range []string{"prl_client_app", "Parallels VM.app/Contents/MacOS/prl_vm_app", "Parallels Service.app/Contents/MacOS/prl_disp_service"} {
		if info, err := os.Stat(filepath.Join(bundle, program)); err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("%s: %v", program, err)
		}
	}
}

// GRP-11 and LIC-06: what an activation, another key and another edition
// change, and what the file of licenses shows of it (facts/prlctl.md 4.2, 4.3).
func TestGRP_11_LIC_06_Activations(t *testing.T) {
	t.Parallel()
	mac := emptyMac(t)
	const otherKey = "ABCDEF-123456-GHJKLM-789ABC-NPQRST"
	shown := func(t *testing.T) [5]string {
		license := map[string]any{}
		got := callAs(mac, "alice").run(t, "prlsrvctl", "info", "--license", "--json").stdout
		if err := json.Unmarshal([]byte(got), &license); err != nil {
			t.Fatalf("%v in %s", err, got)
		}
		var file struct{ License string }
		var inner struct {
			UUID string `json:"uuid"`
			Key  string `json:"lic_key"`
		}
		raw, err := os.ReadFile(mac.Path("/Library/Preferences/Parallels/licenses.json"))
		if err := errors.Join(err, json.Unmarshal(raw, &file), json.Unmarshal([]byte(file.License), &inner)); err != nil {
			t.Fatal(err)
		}
		if inner.UUID != license["uuid"] || inner.Key != license["serial"] {
			t.Errorf("the file says %+v, the tool %v", inner, license)
		}
		var out [5]string
		for i, key := range []string{"status", "serial", "edition", "activation_type", "uuid"} {
			out[i], _ = license[key].(string)
		}
		return out
	}
	apply := func(change func(*State) error) {
		mustUpdate(t, mac, func(state *State) error { return errors.Join(change(state), mac.writeProductFiles(state)) })
	}
	before := shown(t)
	if before[1] != maskedKey || before[3] != "SSO" {
		t.Errorf("at first: %v", before)
	}
	apply(func(state *State) error { return state.activateLicense(otherKey, "business") })
	byKey := shown(t)
	if byKey[1] != "ABCDEF-******-******-******-NPQRST" || byKey[2] != "business" || byKey[3] != "LIC_KEY" || byKey[4] == before[4] {
		t.Errorf("with another key: %v", byKey)
	}
	if raw, _ := os.ReadFile(mac.markerPath("state.json")); strings.Contains(string(raw), otherKey) {
		t.Error("the whole key is kept")
	}
	apply(func(state *State) error { state.Product.Edition = "enterprise"; return nil })
	if got := shown(t); got[2] != "enterprise" || got[4] != byKey[4] {
		t.Errorf("with another edition: %v", got)
	}
	apply(func(state *State) error { return state.activateLicense("", "enterprise") })
	if got := shown(t); got != before {
		t.Errorf("by single sign-on again: %v, was %v", got, before)
	}
	for _, key := range []string{"x", "abcdef-123456-GHJKLM-789ABC-NPQRST", otherKey + "-AAAAAA"} {
		if err := mac.update(func(state *State) error { return state.activateLicense(key, "pro") }); !errors.Is(err, errUsage) {
			t.Errorf("key %q: %v", key, err)
		}
	}
}

func TestNetworkFile(t *testing.T) {
	t.Parallel()
	mac := emptyMac(t)
	for _, step := range []struct {
		name  string
		apply func(*networkState)
		want  string // the file's resolvers
	}{
		{"a new Mac", func(*networkState) {}, "192.168.1.1"},
		{"down", func(n *networkState) { n.Up = false }, "no file"},
		{"down again", func(n *networkState) { n.Up = false }, "no file"},
		{"another network", func(n *networkState) { n.Up, n.Resolvers = true, []string{"172.20.10.1", "2001:db8::1"} }, "172.20.10.1 2001:db8::1"},
		{"with a VPN", func(n *networkState) { n.VPN = vpnResolver }, "10.8.0.1 172.20.10.1 2001:db8::1"},
		{"without it", func(n *networkState) { n.VPN = "" }, "172.20.10.1 2001:db8::1"},
	} {
		if err := mac.setNetwork(step.apply); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(mac.Path("/var/run/resolv.conf"))
		var resolvers []string
		for line := range strings.Lines(string(content)) {
			if address, is := strings.CutPrefix(line, "nameserver "); is {
				resolvers = append(resolvers, strings.TrimSpace(address))
			}
		}
		got := strings.Join(resolvers, " ")
		if os.IsNotExist(err) {
			got = "no file"
		}
		if got != step.want {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
	}
}
