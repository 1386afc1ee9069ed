package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

// outcomes runs doctor and gives the outcome of every check by its id.
func outcomes(t *testing.T, root string) (map[string]checkResult, doctorReport, int) {
	t.Helper()
	got := run(t, root, "doctor", "--json")
	var found doctorReport
	if err := json.Unmarshal([]byte(got.stdout), &found); err != nil {
		t.Fatalf("%v; stdout: %s", err, got.stdout)
	}
	byID := make(map[string]checkResult, len(found.Checks))
	for _, one := range found.Checks {
		byID[one.ID] = one
	}
	return byID, found, got.code
}

func TestDoctorExitsByItsWorstCheck(t *testing.T) {
	t.Parallel()
	daemon, root := sampleDaemon(t), mac(t)
	healthy(daemon)
	daemon.serve(t, root, admin)
	byID, found, code := outcomes(t, root)
	if byID["daemon"].Outcome != outcomeOK || byID["health"].Outcome != outcomeOK || byID["users"].Outcome != outcomeOK {
		t.Errorf("of a healthy daemon: %+v", byID)
	}
	if byID["product"].Outcome == outcomeOK || code != exitDegraded || found.Worst == outcomeOK {
		t.Errorf("without Parallels Desktop: exit code %d, worst %s, product %+v", code, found.Worst, byID["product"])
	}
}

func TestDoctorWithoutADaemonIsNotGreen(t *testing.T) {
	t.Parallel()
	byID, found, code := outcomes(t, mac(t))
	if code != exitNotRunning || found.Worst != outcomeFailure || byID["daemon"].Code != "daemon_not_running" {
		t.Errorf("exit code %d, worst %s, daemon %+v", code, found.Worst, byID["daemon"])
	}
	for _, id := range []string{"health", "portal", "state", "users", "event_streams", "preferences", "controls", "command_time", "command_record", "holds", "privacy"} {
		if byID[id].Outcome != outcomeUnknown {
			t.Errorf("%s could not look and says %s", id, byID[id].Outcome)
		}
	}
}

func TestDoctorNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*fakeDaemon)
		id     string
		code   string
		says   string
	}{
		"a user who cannot be listed": {asIs, "users", "user_session", "bob"},
		"INV-02 an account that nobody looks at, beside others": {
			func(d *fakeDaemon) {
				d.status.Users = append(d.status.Users,
					protocol.UserLook{Name: "hiddenadmin", UID: 499, Code: protocol.CodeAccountUIDLow},
					protocol.UserLook{Name: "carol", UID: 503, Code: protocol.CodeVMLimit, LeftOut: 7})
			}, "users", "account_uid_too_low", "hiddenadmin; also bob: user_session, carol, 7 left out: vm_limit",
		},
		"an unreachable portal": {asIs, "portal", "portal_unreachable", "i/o timeout"},
		"a restored state": {
			func(d *fakeDaemon) { d.status.Store.Outcome, d.status.Store.Reason = "restored", "page 7" },
			"state", "state_restored", "page 7",
		},
		"a key that cannot be used": {
			func(d *fakeDaemon) {
				d.status.Config.Problems = []localapi.ConfigProblem{{Key: "ServerURL", Code: "config_invalid", Text: "must be https"}}
			},
			"configuration", "config_invalid", "ServerURL: must be https",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			daemon, root := sampleDaemon(t), mac(t)
			test.change(daemon)
			daemon.serve(t, root, admin)
			byID, _, code := outcomes(t, root)
			got := byID[test.id]
			if got.Outcome == outcomeOK || string(got.Code) != test.code || !strings.Contains(got.Text, test.says) || code != exitDegraded {
				t.Errorf("exit code %d, finding %+v", code, got)
			}
		})
	}
}

func TestDoctorLooksAtTheSnapshotsMode(t *testing.T) {
	t.Parallel()
	daemon, root := sampleDaemon(t), mac(t)
	daemon.serve(t, root, admin)
	path := filepath.Join(localapi.SnapshotsUnder(root), localapi.StatusPlist)
	if err := localapi.WriteSnapshots(localapi.SnapshotsUnder(root), &daemon.status, &daemon.inventory); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]string{0o644: outcomeOK, 0o600: outcomeWarning} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if byID, _, _ := outcomes(t, root); byID["snapshot"].Outcome != want {
			t.Errorf("mode %v: %+v", mode, byID["snapshot"])
		}
	}
}

func TestDoctorReadsTheSnapshot(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]struct{ file, content string }{
		"a property list that is none": {localapi.StatusPlist, "gar<bage"}, "JSON that is none": {localapi.StatusJSON, "garbage"},
		"of another version": {localapi.StatusJSON, `{"schema":99,"at":"2026-11-23T09:00:00Z","health":{"state":"healthy"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			daemon, root := sampleDaemon(t), mac(t)
			if err := localapi.WriteSnapshots(localapi.SnapshotsUnder(root), &daemon.status, &daemon.inventory); err != nil {
				t.Fatal(err)
			}
			wantResult(t, checkNow(t, root, "snapshot", daemon.status, nil), outcomeOK, "", "status.plist")
			if err := os.WriteFile(filepath.Join(localapi.SnapshotsUnder(root), spoil.file), []byte(spoil.content), 0o644); err != nil {
				t.Fatal(err)
			}
			wantResult(t, checkNow(t, root, "snapshot", daemon.status, nil), outcomeWarning, "", spoil.file)
		})
	}
}

// The worst of the conditions is how bad the check is.
func TestDoctorTakesTheHealthAtItsWord(t *testing.T) {
	t.Parallel()
	for state, outcome := range map[string]string{localapi.Healthy: outcomeOK, localapi.Degraded: outcomeWarning, localapi.Unhealthy: outcomeFailure} {
		wantResult(t, checkNow(t, mac(t), "health", localapi.Status{Health: localapi.Health{State: state}}, nil), outcome, "", "")
	}
}

func TestChecksHaveStableIDs(t *testing.T) {
	t.Parallel()
	var ids []string
	for _, check := range doctorChecks {
		ids = append(ids, check.id)
	}
	want := []string{"job", "daemon", "health", "configuration", "portal", "state", "disk", "folders", "snapshot", "log", "old_logs",
		"network", "portal_name", "portal_connect", "portal_tls", "portal_answer", "clock", "license_name", "license_connect", "license_tls", "license_answer",
		"product", "product_setup", "tools", "licensing_profile", "licensing_profiles", "license_of_profile", "license_guard", "privacy_profile", "activation", "single_application", "kernel_extensions",
		"users", "event_streams", "preferences", "controls", "command_keys", "command_time", "command_record", "holds", "privacy"}
	if !slices.Equal(ids, want) {
		t.Errorf("ids %v; scripts of admins rely on %v", ids, want)
	}
}

func TestDoctorForPeople(t *testing.T) {
	t.Parallel()
	got := run(t, mac(t), "doctor")
	for _, words := range []string{"✗ The daemon answers", "prlagentd is not running.", "? Every user's machines can be listed", "checks are not good."} {
		if !strings.Contains(got.stdout, words) {
			t.Errorf("%q is missing in:\n%s", words, got.stdout)
		}
	}
}
