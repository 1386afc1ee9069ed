package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/platform/text"
)

var update = flag.Bool("update", false, "write the golden files anew")

func checkGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// healthy is the Mac an hour earlier, when nothing was wrong.
func healthy(d *fakeDaemon) {
	d.status.Doing = nil
	d.status.Health = localapi.Health{State: localapi.Healthy, Conditions: []localapi.Condition{}}
	d.status.Config = localapi.ConfigStatus{Source: "managed", Mode: "enforce"}
	d.status.PolicyInForce = localapi.InForce{Source: "head", Mode: "enforce", ModeOf: "configuration"}
	d.status.Portal.LastCode, d.status.Portal.LastDetail, d.status.Portal.Failures = "", "", 0
	d.status.Portal.NextReason = "daily"
	d.status.Users[1].Code, d.status.Counts.Stale = "", 0
	d.status.Pass.Steps[1] = localapi.Step{Name: "exchange", Outcome: localapi.StepDone, Millis: 85}
	d.checkin = localapi.CheckinResult{Schema: localapi.Schema, Accepted: true, Waited: true, Pass: d.status.Pass}
	for i := range d.events {
		d.events[i].Data["note"] = "=1+1"
	}
}

// roaming is a Mac that has just lost its network.
func roaming(d *fakeDaemon) {
	healthy(d)
	words := protocol.CodePortalUnreachable.Text()
	d.status.Health.Conditions = []localapi.Condition{{
		Code: protocol.CodePortalUnreachable, Severity: words.Severity, Text: words.Text, Remedy: words.Remedy,
		Since: d.status.At.Add(-time.Minute), Pending: true,
	}}
}

// unhealthy is a Mac whose service is stopped for two users, and whose profile
// has a wrong key.
func unhealthy(d *fakeDaemon) {
	healthy(d)
	d.status.Health.State = localapi.Unhealthy
	for _, one := range []struct {
		code    protocol.Code
		subject string
		count   int
	}{{protocol.CodeConfigInvalid, "DailyCheckTime", 1}, {protocol.CodeServiceDown, "alice, bob", 2}} {
		words := one.code.Text()
		d.status.Health.Conditions = append(d.status.Health.Conditions, localapi.Condition{
			Code: one.code, Severity: words.Severity, Text: words.Text, Remedy: words.Remedy,
			Subject: one.subject, Count: one.count, Since: d.status.At.Add(-time.Hour),
		})
	}
}

func alone(d *fakeDaemon) {
	d.status = localapi.Status{
		Schema: localapi.Schema, At: d.status.At, Daemon: d.status.Daemon,
		Health: localapi.Health{State: localapi.Healthy}, Config: localapi.ConfigStatus{Source: "none", Mode: "monitor"},
	}
	d.inventory.Rows, d.inventory.At = nil, time.Time{}
	d.events = nil
}

func asIs(*fakeDaemon) {}

// What the program prints, by golden file, and how it exits.
func TestCommandsWithADaemon(t *testing.T) {
	t.Parallel()
	cases := []struct {
		golden    string
		actor     localapi.Actor
		change    func(*fakeDaemon)
		arguments string
		code      int
	}{
		{"status-degraded.txt", admin, asIs, "status --verbose", exitDegraded},
		{"status-healthy.txt", admin, healthy, "status --verbose", exitHealthy},
		{"status-roaming.txt", admin, roaming, "status --verbose", exitHealthy},
		{"status-alone.txt", admin, alone, "status --verbose", exitHealthy},
		{"status-user.txt", user, asIs, "status --verbose", exitDegraded},
		{"summary-degraded.txt", admin, asIs, "status", exitDegraded},
		{"summary-unhealthy.txt", admin, unhealthy, "status", exitDegraded},
		{"summary-healthy.txt", admin, healthy, "status", exitHealthy},
		{"summary-roaming.txt", admin, roaming, "status", exitHealthy},
		{"summary-alone.txt", admin, alone, "status", exitHealthy},
		{"summary-user.txt", user, asIs, "status", exitDegraded},
		{"vms.txt", admin, asIs, "vms", exitHealthy},
		{"vms-columns.txt", admin, asIs, "vms --columns vm_name,vm_edition,cpu,last_used", exitHealthy},
		{"vms-user.txt", user, asIs, "vms", exitHealthy},
		{"vms-none.txt", admin, alone, "vms", exitHealthy},
		{"vms.csv", admin, asIs, "vms --format csv", exitHealthy},
		{"vms-columns.csv", admin, asIs, "vms --format csv --columns vm_id,last_used", exitHealthy},
		{"vms-columns.csv", admin, asIs, "vms --format CSV --columns VM_ID,Last_Used", exitHealthy},
		{"vms-bom.csv", admin, asIs, "vms --format csv --bom --columns vm_id,last_used", exitHealthy},
		{"vms.json", admin, asIs, "vms --json", exitHealthy},
		{"vms-columns.json", admin, asIs, "vms --format json --columns vm_name,vm_edition", exitHealthy},
		{"events.txt", admin, asIs, "events", exitHealthy},
		{"events-since.txt", user, asIs, "events --since 2", exitHealthy},
		{"events-hour.txt", admin, asIs, "events --since 1h", exitHealthy},
		{"events.json", admin, asIs, "events --json", exitHealthy},
		{"events-none.json", admin, alone, "events --json", exitHealthy},
		{"checkin.txt", admin, healthy, "checkin", exitHealthy},
		{"checkin-wait.txt", admin, healthy, "checkin --wait", exitHealthy},
		{"checkin-failed.txt", admin, asIs, "checkin --wait", exitDegraded},
		{"checkin-failed.json", admin, asIs, "checkin --wait --json", exitDegraded},
		{"checkin-refused.json", user, asIs, "checkin --json", exitRefused},
		{"get.txt", admin, asIs, "get conditions", exitHealthy},
		{"get-ea.txt", admin, asIs, "get last_checkin --ea", exitHealthy},
		{"get.json", user, asIs, "get vm_count --json", exitHealthy},
		{"get-date.json", user, asIs, "get last_checkin --json", exitHealthy},
		{"get-text.json", user, asIs, "get mode --json", exitHealthy},
		{"get-never.json", user, func(d *fakeDaemon) { d.status.Portal.LastSuccessAt = time.Time{} }, "get last_checkin --json", exitHealthy},
		{"get-never.txt", user, func(d *fakeDaemon) { d.status.Portal.LastSuccessAt = time.Time{} }, "get last_checkin", exitHealthy},
	}
	for _, c := range cases {
		t.Run(c.golden, func(t *testing.T) {
			t.Parallel()
			daemon, root := sampleDaemon(t), mac(t)
			c.change(daemon)
			daemon.serve(t, root, c.actor)
			got := run(t, root, strings.Fields(c.arguments)...)
			if got.code != c.code {
				t.Errorf("exit code %d, want %d; stderr: %s", got.code, c.code, got.stderr)
			}
			checkGolden(t, c.golden, got.stdout)
		})
	}
}

// In the healthy case the status is at most 14 lines, whoever asks and whatever
// runs at the moment; in the bad case the first three lines say what, since when
// and what to do.
func TestTheStatusIsShort(t *testing.T) {
	t.Parallel()
	busy := func(d *fakeDaemon) {
		doing := d.status.Doing
		roaming(d)
		d.status.Doing = doing
	}
	for name, change := range map[string]func(*fakeDaemon){"healthy": healthy, "alone": alone, "busy": busy, "degraded": asIs, "unhealthy": unhealthy} {
		for who, actor := range map[string]localapi.Actor{"an admin": admin, "a user": user} {
			t.Run(name+" for "+who, func(t *testing.T) {
				t.Parallel()
				daemon, root := sampleDaemon(t), mac(t)
				change(daemon)
				daemon.serve(t, root, actor)
				got := run(t, root, "status")
				lines := strings.Split(strings.TrimRight(got.stdout, "\n"), "\n")
				if got.code == exitHealthy && len(lines) > 14 {
					t.Errorf("%d lines:\n%s", len(lines), got.stdout)
				}
				if got.code == exitHealthy {
					return
				}
				worst := daemon.status.Health.Conditions[0]
				if !strings.Contains(lines[0], worst.Text) || !strings.Contains(lines[1], "since 2026-11-23 ") || lines[2] != "  → "+worst.Remedy {
					t.Errorf("the first lines:\n%s", got.stdout)
				}
			})
		}
	}
}

// Where there never was an agent, every command says so, and that is the word.
func TestH70_NotInstalled(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, arguments := range []string{"status", "vms", "events", "checkin", "get health", "get vm_count", "doctor"} {
		got := run(t, root, strings.Fields(arguments)...)
		if said := got.stdout + got.stderr; got.code != exitNotRunning || !strings.Contains(said, "not installed") || strings.Contains(said, "not running") {
			t.Errorf("%s: %+v", arguments, got)
		}
	}
	if got := run(t, root, "get", "health", "--ea"); got.stdout != "<result>not_installed</result>\n" {
		t.Errorf("%+v", got)
	}
	if got := run(t, root, "status", "--json"); !strings.Contains(got.stdout, `"code": "daemon_not_installed"`) {
		t.Errorf("%+v", got)
	}
}

func TestSince(t *testing.T) {
	t.Parallel()
	now, zone := time.Date(2026, 11, 23, 9, 41, 30, 0, time.UTC), time.FixedZone("CET", 3600)
	for text, want := range map[string]eventsFrom{
		"":                     {},
		"120":                  {number: 120},
		"90m":                  {at: now.Add(-90 * time.Minute)},
		"2d":                   {at: now.AddDate(0, 0, -2)},
		"2026-11-23":           {at: time.Date(2026, 11, 23, 0, 0, 0, 0, zone)},
		"2026-11-23 08:30":     {at: time.Date(2026, 11, 23, 8, 30, 0, 0, zone)},
		"2026-11-23T07:30:00Z": {at: time.Date(2026, 11, 23, 7, 30, 0, 0, time.UTC)},
	} {
		if got, err := parseSince(text, now, zone); err != nil || got.number != want.number || !got.at.Equal(want.at) {
			t.Errorf("%q is %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "-1", "23.11.2026", "d", "99999999d"} {
		if got, err := parseSince(text, now, zone); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
}

// The JSON of status is the contract's document, byte for byte.
func TestStatusJSONIsTheContract(t *testing.T) {
	t.Parallel()
	daemon, root := sampleDaemon(t), mac(t)
	daemon.serve(t, root, admin)
	want, err := os.ReadFile("../../../testdata/contract/status.json")
	if err != nil {
		t.Fatal(err)
	}
	got := run(t, root, "status", "--json")
	if diff := gocmp.Diff(string(want), got.stdout); diff != "" || got.code != exitDegraded {
		t.Errorf("exit code %d (-want +got):\n%s", got.code, diff)
	}
}

func TestCommandsWithoutADaemon(t *testing.T) {
	t.Parallel()
	cases := []struct {
		golden    string // empty: nothing on stdout
		arguments string
		snapshot  bool
		code      int
		stderr    string
	}{
		{"snapshot-status.txt", "status --verbose", true, exitNotRunning, ""},
		{"snapshot-summary.txt", "status", true, exitNotRunning, ""},
		{"snapshot-health.txt", "get health", true, exitHealthy, ""},
		{"nothing-health.txt", "get health", false, exitNotRunning, "prlagentd is not running."},
		{"nothing-health-ea.txt", "get health --ea", false, exitNotRunning, "prlagentd is not running."},
		{"snapshot-status.json", "status --json", true, exitNotRunning, ""},
		{"snapshot-get.txt", "get vm_count", true, exitHealthy, ""},
		{"snapshot-get.json", "get vm_count --json", true, exitHealthy, ""},
		{"", "get vm_count --live", true, exitNotRunning, "prlagentd is not running."},
		{"", "get vm_count --ea --live", true, exitNotRunning, "prlagentd is not running."},
		{"", "get health --live", true, exitNotRunning, "prlagentd is not running."},
		{"nothing-live.json", "get health --live --json", true, exitNotRunning, "prlagentd is not running."},
		{"", "status", false, exitNotRunning, "prlagentd is not running."},
		{"nothing-status.json", "status --json", false, exitNotRunning, "prlagentd is not running."},
		{"", "get vm_count", false, exitNotRunning, "prlagentd is not running."},
		{"", "vms", true, exitNotRunning, "prlagentd is not running."},
		{"", "events --follow", true, exitNotRunning, "prlagentd is not running."},
		{"", "checkin --wait", true, exitNotRunning, "prlagentd is not running."},
		{"fields.txt", "get", false, exitHealthy, ""},
		{"fields.json", "get --json", false, exitHealthy, ""},
		{"help.txt", "help", false, exitHealthy, ""},
		{"help-vms.txt", "vms --help", false, exitHealthy, ""},
		{"help-get.txt", "get --help", false, exitHealthy, ""},
	}
	for _, c := range cases {
		t.Run(cmp.Or(c.golden, "nothing-"+c.arguments), func(t *testing.T) {
			t.Parallel()
			root := mac(t)
			if c.snapshot {
				daemon := sampleDaemon(t)
				if err := localapi.WriteSnapshots(localapi.SnapshotsUnder(root), &daemon.status, &daemon.inventory); err != nil {
					t.Fatal(err)
				}
			}
			got := run(t, root, strings.Fields(c.arguments)...)
			if got.code != c.code || !strings.Contains(got.stderr, c.stderr) {
				t.Errorf("exit code %d, want %d; stderr: %s", got.code, c.code, got.stderr)
			}
			if c.golden != "" {
				checkGolden(t, c.golden, strings.ReplaceAll(got.stdout, root, "ROOT"))
			} else if got.stdout != "" {
				t.Errorf("stdout: %s", got.stdout)
			}
		})
	}
}

// The snapshot of a daemon that does not run is stale once it has expired (DESIGN 4,
// H70); one that hangs hangs, and one that was stopped has said so for ever.
func TestH70_AnExpiredSnapshotIsStale(t *testing.T) {
	t.Parallel()
	hangs := func(t *testing.T, root string) {
		t.Helper()
		listener, err := net.Listen("unix", localapi.SocketUnder(root))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
	}
	for _, c := range []struct {
		golden, arguments string
		until             time.Duration // of the snapshot, from now; 0 = the daemon was stopped
		listens           func(*testing.T, string)
		want              string // health
		code              int
	}{
		{"stale-summary.txt", "status", -time.Second, nil, "", exitNotRunning},
		{"stale-status.json", "status --json", -time.Second, nil, "", exitNotRunning},
		{"stale-health.txt", "get health", -time.Second, nil, "", exitHealthy},
		{"stale-health-ea.txt", "get health --ea", -time.Second, nil, "", exitHealthy},
		{"", "get health", time.Second, nil, localapi.NotRunning, exitHealthy},
		{"", "get health", 0, nil, localapi.NotRunning, exitHealthy},
		{"", "get health --timeout 20ms", -time.Second, hangs, localapi.NotAnswering, exitHealthy},
	} {
		t.Run(cmp.Or(c.golden, c.arguments+" "+c.until.String()), func(t *testing.T) {
			t.Parallel()
			root, daemon := mac(t), sampleDaemon(t)
			p, _, _ := testProgram(nil)
			daemon.status.ValidUntil = p.now().Add(c.until)
			if c.until == 0 {
				daemon.status = daemon.status.Unanswered(localapi.NotRunning)
			}
			if err := localapi.WriteSnapshots(localapi.SnapshotsUnder(root), &daemon.status, &daemon.inventory); err != nil {
				t.Fatal(err)
			}
			if c.listens != nil {
				c.listens(t, root)
			}
			got := run(t, root, strings.Fields(c.arguments)...)
			if got.code != c.code || c.golden == "" && strings.TrimSpace(got.stdout) != c.want {
				t.Errorf("%+v, want %q and exit code %d", got, c.want, c.code)
			}
			if c.golden != "" {
				checkGolden(t, c.golden, strings.ReplaceAll(got.stdout, root, "ROOT"))
			}
		})
	}
}

func TestUsageErrors(t *testing.T) {
	t.Parallel()
	cases := []struct{ arguments, says string }{
		{"frobnicate", "frobnicate"},
		{"status now", "now"},
		{"status --color", "--color"},
		{"vms --columns vm_nam", "vm_nam"},
		{"vms --format xml", "table, csv, json"},
		{"vms --bom", "--bom is for --format csv"},
		{"get vm_counts", "vm_counts"},
		{"get vm_count health", "2"},
		{"events --since yesterday", "yesterday"},
		{"status --timeout 0s", "--timeout"},
		{"status --timeout soon", "soon"},
	}
	for _, c := range cases {
		t.Run(c.arguments, func(t *testing.T) {
			t.Parallel()
			got := run(t, mac(t), strings.Fields(c.arguments)...)
			if got.code != exitUsage || !strings.Contains(got.stderr, c.says) || got.stdout != "" {
				t.Errorf("%+v; want exit code 2 and %q on stderr", got, c.says)
			}
		})
	}
}

func TestATimeoutOfTheEnvironmentThatIsNoneIsAUsageError(t *testing.T) {
	t.Parallel()
	for _, given := range []string{"soon", "0", "-1s"} {
		p, _, stderr := testProgram(map[string]string{"PRLAGENT_ROOT": mac(t), "PRLAGENT_TIMEOUT": given})
		if code := p.run(t.Context(), []string{"status"}); code != exitUsage || !strings.Contains(stderr.String(), "PRLAGENT_TIMEOUT") {
			t.Errorf("%q: exit code %d, %s", given, code, stderr)
		}
	}
}

func TestARefusalNamesTheRemedy(t *testing.T) {
	t.Parallel()
	daemon, root := sampleDaemon(t), mac(t)
	daemon.serve(t, root, user)
	got := run(t, root, "checkin", "--wait")
	if got.code != exitRefused || !strings.Contains(got.stderr, "sudo") || got.stdout != "" {
		t.Errorf("%+v; want exit code 4 and a remedy on stderr", got)
	}
}

func TestADaemonThatHangsIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	for _, arguments := range []string{"vms", "status", "get health", "events", "checkin"} {
		t.Run(arguments, func(t *testing.T) {
			t.Parallel()
			root := mac(t)
			listener, err := net.Listen("unix", localapi.SocketUnder(root))
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			got := run(t, root, append(strings.Fields(arguments), "--timeout", "20ms")...)
			if got.code != exitNotRunning || !strings.Contains(got.stderr, "does not answer") {
				t.Errorf("%+v", got)
			}
		})
	}
}

// It is not called one that does not run, also where a snapshot answers for it.
func TestADaemonThatHangsIsSaidToHang(t *testing.T) {
	t.Parallel()
	root, daemon := mac(t), sampleDaemon(t)
	if err := localapi.WriteSnapshots(localapi.SnapshotsUnder(root), &daemon.status, &daemon.inventory); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", localapi.SocketUnder(root))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for arguments, want := range map[string]string{
		"status":         "prlagentd does not answer\n",
		"status --json":  `"state": "not_answering"`,
		"checkin --json": `"code": "daemon_not_answering"`,
		"doctor --json":  `"code": "daemon_not_answering"`,
		"vms --json":     `"code": "daemon_not_answering"`,
	} {
		got := run(t, root, append(strings.Fields(arguments), "--timeout", "20ms")...)
		if got.code != exitNotRunning || !strings.Contains(got.stdout, want) || strings.Contains(got.stdout+got.stderr, "not running") {
			t.Errorf("%s: %+v, want exit code 3 and %q", arguments, got, want)
		}
	}
}

func TestCheckinThatTakesTooLong(t *testing.T) {
	t.Parallel()
	daemon, root := sampleDaemon(t), mac(t)
	daemon.release = make(chan struct{})
	daemon.serve(t, root, admin)
	got := run(t, root, "checkin", "--wait", "--timeout", "20ms", "--json")
	var body localapi.ErrorBody
	if err := json.Unmarshal([]byte(got.stdout), &body); err != nil || body.Code != protocol.CodeCheckinTimeout || got.code != exitDegraded {
		t.Errorf("%+v, %v; want checkin_timeout and exit code 1", got, err)
	}
}

// A daemon that hangs while somebody waits for a check-in is not said to go on with it.
func TestH70_AWaitForADaemonThatHangs(t *testing.T) {
	t.Parallel()
	root := mac(t)
	listener, err := localapi.Listen(t.Context(), localapi.SocketUnder(root)) // and nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	got := run(t, root, "checkin", "--wait", "--timeout", "20ms", "--json")
	var body localapi.ErrorBody
	if err := json.Unmarshal([]byte(got.stdout), &body); err != nil || body.Code != protocol.CodeDaemonSilent || got.code != exitNotRunning {
		t.Errorf("%+v, %v; want %s and exit code 3", got, err, protocol.CodeDaemonSilent)
	}
}

func TestProgressIsForSomebodyWhoWatches(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name    string
		watched bool
		json    bool
		shown   bool
	}{
		{"on a terminal", true, false, true},
		{"in a pipe", false, false, false},
		{"for a program", true, true, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			daemon, root := sampleDaemon(t), mac(t)
			healthy(daemon)
			daemon.release = make(chan struct{})
			daemon.serve(t, root, admin)
			p, stdout, _ := testProgram(map[string]string{"PRLAGENT_ROOT": root})
			progress := &signaling{written: make(chan string, 4)}
			p.stderr, p.progressShown, p.progressDelay = progress, c.watched, 0
			arguments := []string{"checkin", "--wait"}
			if c.json {
				arguments = append(arguments, "--json")
			}
			if c.shown {
				go func() {
					if text := <-progress.written; !strings.Contains(text, "Ctrl-C") {
						t.Errorf("progress is %q", text)
					}
					close(daemon.release)
				}()
			} else {
				close(daemon.release)
			}
			if code := p.run(t.Context(), arguments); code != exitHealthy {
				t.Errorf("exit code %d: %s", code, stdout)
			}
			if len(progress.written) != 0 {
				t.Errorf("also on stderr: %s", <-progress.written)
			}
		})
	}
}

// signaling is a writer that tells what was written.
type signaling struct{ written chan string }

func (s *signaling) Write(text []byte) (int, error) {
	s.written <- string(text)
	return len(text), nil
}

func TestFollowShowsTheLastAndGoesOn(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name      string
		arguments []string
		first     string
		lines     int
	}{
		{"the last ten", []string{"events", "--follow"}, "     5  ", 10},
		{"after a number", []string{"events", "-f", "--since", "12"}, "    13  ", 2},
		{"a document per line", []string{"events", "-f", "--json", "--since", "13"}, `{"schema":1,"seq":14,`, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			daemon, root := sampleDaemon(t), mac(t)
			for seq := uint64(5); seq <= 14; seq++ {
				daemon.events = append(daemon.events, protocol.Event{Seq: seq, At: daemon.status.At, Type: "tick"})
			}
			daemon.serve(t, root, admin)
			p, _, _ := testProgram(map[string]string{"PRLAGENT_ROOT": root})
			printed := &signaling{written: make(chan string, 32)}
			p.stdout = printed
			ctx, interrupt := context.WithCancel(t.Context())
			code := make(chan int, 1)
			go func() { code <- p.run(ctx, c.arguments) }()
			first := <-printed.written
			for range c.lines - 1 {
				<-printed.written
			}
			interrupt()
			if got := <-code; got != exitHealthy {
				t.Errorf("exit code %d after an interruption", got)
			}
			if !strings.HasPrefix(first, c.first) || len(printed.written) != 0 {
				t.Errorf("first line %q, %d more than expected", first, len(printed.written))
			}
		})
	}
}

// Whoever follows is told that the daemon went away, and sees what happens once
// it is back, nothing twice.
func TestFollowGoesOnOverARestart(t *testing.T) {
	t.Parallel()
	daemon, root := sampleDaemon(t), mac(t)
	stop := daemon.serve(t, root, admin)
	p, _, _ := testProgram(map[string]string{"PRLAGENT_ROOT": root})
	printed, told := &signaling{written: make(chan string, 32)}, &signaling{written: make(chan string, 32)}
	p.stdout, p.stderr = printed, told
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	code := make(chan int, 1)
	go func() { code <- p.run(ctx, []string{"events", "--follow"}) }()
	for range daemon.events {
		<-printed.written
	}
	stop()
	if got := <-told.written; !strings.Contains(got, "prlagentd stopped") {
		t.Errorf("told: %s", got)
	}
	again := sampleDaemon(t)
	again.events = append(again.events, protocol.Event{Seq: uint64(len(again.events) + 1), At: again.status.At, Type: "agent_started"})
	again.serve(t, root, admin)
	if got := <-printed.written; !strings.Contains(got, "agent_started") {
		t.Errorf("after the restart: %s", got)
	}
	interrupt()
	if got := <-code; got != exitHealthy || len(told.written) != 0 {
		t.Errorf("exit code %d, told %d times more", got, len(told.written))
	}
}

func TestColorOnlyOnATerminal(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name        string
		terminal    bool
		environment map[string]string
		colored     bool
	}{
		{"terminal", true, nil, true},
		{"pipe", false, nil, false},
		{"NO_COLOR", true, map[string]string{"NO_COLOR": "1"}, false},
		{"a dumb terminal", true, map[string]string{"TERM": "dumb"}, false},
	}
	daemon, root := sampleDaemon(t), mac(t)
	daemon.serve(t, root, admin)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, stdout, _ := testProgram(c.environment)
			p.terminal = c.terminal
			p.run(t.Context(), []string{"vms", "--root", root})
			if colored := strings.Contains(stdout.String(), "\x1b["); colored != c.colored {
				t.Errorf("colored: %t, want %t", colored, c.colored)
			}
			if strings.Contains(stdout.String(), "\x1b[2J") {
				t.Error("a VM's name cleared the terminal")
			}
		})
	}
}

// A spreadsheet must not run a machine's name (protocol.md 5.1).
func TestCSVCellsAreNoFormulas(t *testing.T) {
	t.Parallel()
	daemon, root := sampleDaemon(t), mac(t)
	for i := range daemon.inventory.Rows {
		daemon.inventory.Rows[i].Name = []string{"=cmd|' /C calc'!A0", "\t=1+1", "+1", "-1", "@SUM(A1)", "plain - name"}[i%6]
	}
	daemon.serve(t, root, admin)
	got := run(t, root, "vms", "--format", "csv", "--columns", "vm_name")
	for line := range strings.Lines(got.stdout) {
		if strings.ContainsRune("=+-@\\", rune(line[0])) {
			t.Errorf("a cell begins as a formula does: %q", line)
		}
	}
	for cell, want := range map[string]string{
		"": "", "Windows 11": "Windows 11", "=1+1": "'=1+1", "\t=1": `'\x09=1`, "a=b": "a=b", "@x": "'@x",
	} {
		if got := text.DisplayCSV(cell); got != want {
			t.Errorf("%q became %q, want %q", cell, got, want)
		}
	}
}

// A pass that asked no portal is not called a check-in.
func TestACheckinThatWasNoneIsNotCalledDone(t *testing.T) {
	t.Parallel()
	daemon, root := sampleDaemon(t), mac(t)
	healthy(daemon)
	pass := *daemon.checkin.Pass
	pass.Steps = slices.Clone(pass.Steps)
	for i := range pass.Steps {
		if pass.Steps[i].Name == "exchange" {
			pass.Steps[i] = localapi.Step{Name: "exchange", Outcome: localapi.StepSkipped, Code: protocol.CodeNotConfigured}
		}
	}
	daemon.checkin.Pass = &pass
	daemon.serve(t, root, admin)
	got := run(t, root, "checkin", "--wait")
	if got.code != exitHealthy || strings.Contains(got.stdout, "is done") || !strings.Contains(got.stdout, "did not check in") {
		t.Errorf("%+v", got)
	}
}

func TestEscapeXML(t *testing.T) {
	t.Parallel()
	if got, want := escapeXML(`a<b>&"c"`), "a&lt;b&gt;&amp;&#34;c&#34;"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestVersionAndCompletion(t *testing.T) {
	t.Parallel()
	got := run(t, "", "version", "--json")
	var document versionDocument
	if err := json.Unmarshal([]byte(got.stdout), &document); err != nil || document.Version == "" || got.code != exitHealthy {
		t.Errorf("%+v, %v", got, err)
	}
	if got := run(t, "", "version"); !strings.HasPrefix(got.stdout, "prlagent ") {
		t.Errorf("%+v", got)
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if got := run(t, "", "completion", shell); got.code != exitHealthy || !strings.Contains(got.stdout, "prlagent") {
			t.Errorf("completion %s: exit code %d", shell, got.code)
		}
	}
	if got := run(t, "", "__complete", "get", "vm_c"); !strings.Contains(got.stdout, "vm_count") {
		t.Errorf("completion of a field: %+v", got)
	}
	if got := run(t, "", "__complete", "vms", "--format", ""); !strings.Contains(got.stdout, "csv") {
		t.Errorf("completion of a format: %+v", got)
	}
}

func TestEnvironmentTwins(t *testing.T) {
	t.Parallel()
	p, _, _ := testProgram(map[string]string{"PRLAGENT_ROOT": "/tmp/mac", "PRLAGENT_TIMEOUT": "3s"})
	if code := p.run(t.Context(), []string{"version"}); code != exitHealthy || p.root != "/tmp/mac" || p.timeout != 3*time.Second {
		t.Errorf("code %d, root %q, timeout %v", code, p.root, p.timeout)
	}
	p, _, _ = testProgram(map[string]string{"PRLAGENT_ROOT": "/tmp/mac"})
	if code := p.run(t.Context(), []string{"version", "--root", "/tmp/other"}); code != exitHealthy || p.root != "/tmp/other" || p.timeout != defaultTimeout {
		t.Errorf("code %d, root %q, timeout %v", code, p.root, p.timeout)
	}
}
