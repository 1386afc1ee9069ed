package sim

import (
	"strings"
	"testing"
)

// Wrong uses are refused with the text and exit code of the real tools.
func TestToolsRefuse(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	for _, test := range []struct {
		name, caller, line string
		code               int
		stderr             string
	}{
		{"sudo without -n", rootUser, "sudo -H -u alice /usr/bin/logger x", 1, "usage: sudo"},
		{"sudo with another option", rootUser, "sudo -n -H -E -u alice /usr/bin/logger x", 1, "sudo: invalid option -- 'E'"},
		{"sudo without a user's name", rootUser, "sudo -n -H -u", 1, "option requires an argument"},
		{"sudo to an unknown uid", rootUser, "sudo -n -H -u #777 /usr/bin/logger x", 1, "sudo: unknown user #777"},
		{"sudo to an unknown name", rootUser, "sudo -n -H -u carol /usr/bin/logger x", 1, "sudo: unknown user carol"},
		{"sudo by a user", "alice", "sudo -n -H -u bob /usr/bin/logger x", 1, "sudo: a password is required"},
		{"sudo of a relative path", rootUser, "sudo -n -H -u alice logger x", 1, "sudo: logger: command not found"},
		{"sudo of a missing program", rootUser, "sudo -n -H -u alice /usr/bin/true", 1, "sudo: /usr/bin/true: command not found"},
		{"asuser by a user", "alice", "launchctl asuser 501 /usr/bin/logger x", 1, "Operation not permitted"},
		{"unknown job", rootUser, "launchctl print system/org.example", 113, "Could not find service"},
		{"a user's domain", rootUser, "launchctl print-disabled gui/501", 113, "Could not find domain"},
		{"unknown verb", rootUser, "launchctl nonsense", 64, "Unrecognized subcommand: nonsense"},
		{"dscl of another path", rootUser, "dscl . -list /Users", 64, "usage: dscl"},
		{"host name not set", rootUser, "scutil --get HostName", 1, "HostName: not set"},
		{"scutil option", rootUser, "scutil --dns", 64, "usage: scutil"},
		{"ioreg of all", rootUser, "ioreg -l", 1, "usage: ioreg"},
		{"sysctl without -n", rootUser, "sysctl hw.model", 1, "usage: sysctl"},
		{"unknown oid", rootUser, "sysctl -n hw.nonsense", 1, "sysctl: unknown oid 'hw.nonsense'"},
		{"codesign without requirement", rootUser, "codesign --verify /Applications", 2, "Usage: codesign"},
		{"codesign of an unsigned program", rootUser, "codesign --verify -R==anchor /usr/bin/sudo", 1, "not signed at all"},
		{"codesign of nothing", rootUser, "codesign --verify -R==anchor /usr/bin/nothing", 1, "No such file"},
		{"prlctl alone", "alice", "prlctl", 255, "Usage: prlctl"},
		{"unknown action", "alice", "prlctl nonsense", 255, "Unrecognized option: nonsense"},
		{"unknown list option", "alice", "prlctl list --nonsense", 255, "Unrecognized option: --nonsense"},
		{"unknown field", "alice", "prlctl list -o uuid,nonsense", 255, "Unknown field name: nonsense"},
		{"list of two", "alice", "prlctl list macOS macOS", 255, "Unrecognized option: macOS"},
		{"unknown stop option", "alice", "prlctl stop macOS --nonsense", 255, "Unrecognized option: --nonsense"},
		{"option before the id", "alice", "prlctl stop --kill macOS", 255, "could not be found"},
		{"start of nothing", "alice", "prlctl start", 255, "could not be found"},
		{"VM of another user", "bob", "prlctl start macOS", 255, "could not be found"},
		{"root sees no VM", rootUser, "prlctl status macOS", 255, "could not be found"},
		{"delete with an option", "alice", "prlctl delete macOS --force", 255, "Unrecognized option: --force"},
		{"delete without an answer", "alice", "prlctl delete macOS", 255, "Operation canceled."},
		{"unknown server action", "alice", "prlsrvctl nonsense", 255, "Unrecognized option: nonsense"},
		{"unknown info option", "alice", "prlsrvctl info --nonsense", 255, "Unrecognized option: --nonsense"},
		{"unknown user list option", "alice", "prlsrvctl user list --nonsense", 255, "Unrecognized option: --nonsense"},
		{"prlsrvctl alone", "alice", "prlsrvctl", 255, "Usage: prlsrvctl"},
	} {
		t.Run(test.name, func(t *testing.T) {
			words := strings.Fields(test.line)
			got := callAs(mac, test.caller).run(t, words[0], words[1:]...)
			if got.code != test.code || !strings.Contains(got.stderr, test.stderr) {
				t.Errorf("exit code %d, stderr %q; want %d, %q", got.code, got.stderr, test.code, test.stderr)
			}
		})
	}
}

// Every action on every persistent state: allowed ones end in their state, the
// others leave it and exit with 255.
func TestTransitions(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	id := idOf(t, mac, "alice", "Ubuntu 22.04")
	for line, want := range map[string]map[string]string{
		"start":             {"stopped": "running", "suspended": "running"},
		"stop":              {"running": "stopped"},
		"stop --kill":       {"running": "stopped", "paused": "stopped"},
		"stop --drop-state": {"suspended": "stopped"},
		"suspend":           {"running": "suspended", "paused": "suspended"},
		"resume":            {"suspended": "running", "paused": "running"},
		"pause":             {"running": "paused"},
	} {
		for _, from := range []string{"stopped", "running", "suspended", "paused"} {
			t.Run(line+" when "+from, func(t *testing.T) {
				mustUpdate(t, mac, func(state *State) error {
					vm, err := findVM(state.VMs, id)
					if err != nil {
						return err
					}
					return mac.setVMState(state, vm, from)
				})
				words := strings.Fields(line)
				got := callAs(mac, "alice").run(t, "prlctl", append([]string{words[0], id}, words[1:]...)...)
				after := callAs(mac, "alice").run(t, "prlctl", "list", id, "-o", "status", "-H").stdout
				to, allowed := want[from]
				switch {
				case allowed && (got.code != 0 || strings.TrimSpace(after) != to):
					t.Errorf("exit code %d, then %q; want 0, %q (%s)", got.code, after, to, got.stderr)
				case !allowed && (got.code != 255 || strings.TrimSpace(after) != from):
					t.Errorf("exit code %d, then %q; want 255, %q", got.code, after, from)
				}
			})
		}
	}
}

func TestDeletePromptsAndRemovesFiles(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	confirmed := call{mac, "alice", "y\n"}
	if got := confirmed.run(t, "prlctl", "delete", "Windows 11"); got.code != 255 || !strings.Contains(got.stderr, string(errBusyRunning)) {
		t.Errorf("running VM: %+v", got)
	}
	if got := confirmed.run(t, "prlctl", "delete", "macOS"); got.code != 0 || !strings.Contains(got.stdout, "Are you sure") {
		t.Errorf("stopped VM: %+v", got)
	}
	if _, err := findBundle(mac, "/Users/alice/Parallels/macOS.macvm"); err == nil {
		t.Error("the bundle is still there")
	}
}

func TestPeopleSeeTheirVMsAndSharedOnes(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	for caller, want := range map[string]string{
		"alice":  "Windows 11|Ubuntu 22.04|macOS|Team Linux",
		"bob":    "Windows 11|Team Linux",
		rootUser: "",
	} {
		got := callAs(mac, caller).run(t, "prlctl", "list", "-a", "-o", "name", "-H").stdout
		if got = strings.Join(strings.Split(strings.TrimSpace(got), "\n"), "|"); got != want {
			t.Errorf("%s sees %q, want %q", caller, got, want)
		}
	}
}

func TestRecordedCalls(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	callAs(mac, rootUser).run(t, "logger", "-t", "prlagent", "hello")
	callAs(mac, "alice").run(t, "osascript", "-e", "display notification \"hi\"")
	calls := readRecords[callRecord](t, mac, "log")
	if len(calls) != 2 || calls[0].Tool != "logger" || calls[1].User != "alice" || calls[1].Args[0] != "-e" {
		t.Errorf("recorded %+v", calls)
	}
}

// Reading a VM tells the monitors that its configuration changed
// (facts/prlctl.md 2.1).
func TestReadingEchoes(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	before := len(readRecords[eventRecord](t, mac, "events"))
	callAs(mac, "bob").run(t, "prlctl", "list", "Team Linux", "-i", "--json")
	events := readRecords[eventRecord](t, mac, "events")[before:]
	if len(events) != 1 || events[0].Name != "vm_config_changed" || strings.Join(events[0].Users, " ") != "alice bob" {
		t.Errorf("events %+v", events)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	id := idOf(t, mac, "alice", "macOS")
	for _, test := range []struct {
		setting string
		addKey  bool
		want    string // in the document; empty: refused
	}{
		{"description=a/b", false, `"Description": "a\/b"`},
		{"name=New name", false, `"Name": "New name"`},
		{"encrypted=yes", false, `"Encrypted": "yes"`},
		{"tools=none", false, `"state": "not_installed"`},
		{"Advanced/Show developer tools=on", false, `"Show developer tools": "on"`},
		{"Hardware/cpu/cpus=6", false, `"cpus": 6`},
		{"SmartMount/enabled=true", false, `"enabled": true`},
		{"Advanced/Later key=on", true, `"Later key": "on"`},
		{"Advanced/Later key 2=on", false, ""},
		{"Hardware/cpu/cpus=many", false, ""},
		{"Hardware/cpu=6", false, ""},
		{"encrypted=maybe", false, ""},
		{"tools=maybe", false, ""},
		{"nonsense", false, ""},
	} {
		t.Run(test.setting, func(t *testing.T) {
			err := mac.update(func(state *State) error {
				vm, err := findVM(state.VMs, id)
				if err != nil {
					return err
				}
				return mac.configureVM(state, vm, test.setting, test.addKey)
			})
			if (err != nil) != (test.want == "") {
				t.Fatalf("error %v", err)
			}
			if got := callAs(mac, "alice").run(t, "prlctl", "list", id, "-i", "--json").stdout; !strings.Contains(got, test.want) {
				t.Errorf("%s is not in the document", test.want)
			}
		})
	}
}
