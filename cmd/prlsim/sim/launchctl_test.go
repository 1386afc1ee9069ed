package sim

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

const testJob = "org.example.agent"

// putJob writes the file of a job whose program is one of the Mac's own.
func putJob(t *testing.T, mac Mac, keys string) string {
	t.Helper()
	file := daemonFolder + "/" + testJob + ".plist"
	content := `<?xml version="1.0" encoding="UTF-8"?>
<plist version="1.0"><dict><key>Label</key><string>` + testJob + `</string>` + keys + `</dict></plist>`
	if err := writeFile(mac.Path(file), []byte(content)); err != nil {
		t.Fatal(err)
	}
	return file
}

// idleJob lives until it is told to end, crashingJob ends at once.
const (
	idleKeys = `<key>ProgramArguments</key><array><string>/bin/idle</string></array>
<key>KeepAlive</key><true/><key>ThrottleInterval</key><integer>1</integer><key>ExitTimeOut</key><integer>1</integer>`
	crashingKeys = `<key>ProgramArguments</key><array><string>/bin/crash</string></array>
<key>KeepAlive</key><true/><key>ThrottleInterval</key><integer>600</integer>`
	onceKeys = `<key>ProgramArguments</key><array><string>/bin/idle</string></array>`
)

func launchdMac(t *testing.T, assume ...string) Mac {
	t.Helper()
	wanted := standardMac()
	wanted.Assume = assume
	wanted.NoProcesses = false // its folder is kept until its processes have ended
	mac := newMac(t, wanted)
	putPrograms(t, mac)
	t.Cleanup(func() { _ = os.RemoveAll(mac.Dir) })
	return mac
}

func putPrograms(t *testing.T, mac Mac) {
	t.Helper()
	for name, script := range map[string]string{
		"idle":  "#!/bin/sh\ntrap 'exit 0' TERM\n: >\"$0.ready\"\nwhile :; do sleep 0.02; done\n",
		"deaf":  "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 0.02; done\n",
		"crash": "#!/bin/sh\nexit 7\n",
	} {
		if err := writeFileMode(mac.Path("/bin/"+name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func control(t *testing.T, mac Mac, line string) outcome {
	t.Helper()
	return callAs(mac, rootUser).run(t, "launchctl", strings.Fields(line)...)
}

// awaitPrint waits until print says so, or ends with the code.
func awaitPrint(t *testing.T, mac Mac, code int, says string) string {
	t.Helper()
	var last outcome
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		last = control(t, mac, "print system/"+testJob)
		if last.code == code && strings.Contains(last.stdout, says) {
			return last.stdout
		}
	}
	t.Fatalf("print ends with %d and %q; want %d with %q", last.code, last.stdout, code, says)
	return ""
}

// holdTeardown lets no job go whose program has ended, until letGo.
func holdTeardown(t *testing.T, mac Mac) {
	t.Helper()
	mustUpdate(t, mac, func(state *State) error { return state.setFault("teardown=600000", "") })
}

func letGo(t *testing.T, mac Mac) {
	t.Helper()
	mustUpdate(t, mac, func(state *State) error { state.clearFault("", ""); return nil })
}

func expect(t *testing.T, mac Mac, line string, code int, text string) {
	t.Helper()
	if got := control(t, mac, line); got.code != code || strings.TrimSpace(got.stderr) != text {
		t.Errorf("%s: exit code %d with %q, want %d with %q", line, got.code, got.stderr, code, text)
	}
}

// The life of a job that launchd keeps, with the texts and codes of facts/acting.md 3.
func TestLaunchctlKeepsAJob(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		assume                                       []string
		missing, loaded, leaving, disabled, accepted int
	}{
		"as the facts are read": {nil, 3, 5, 37, 119, 36},
		"the other way": {[]string{"bootout_missing=113", "bootstrap_loaded=37", "bootstrap_leaving=5", "bootstrap_disabled=133", "bootout_answer=accepted",
			"kickstart_kill=term", "kickstart_throttle=waits"}, 113, 37, 5, 133, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mac := launchdMac(t, c.assume...)
			file := putJob(t, mac, idleKeys)
			bootstrap, bootout := "bootstrap system "+file, "bootout system/"+testJob
			failed := func(what string, code int, texts map[int]string) string {
				if code == 0 {
					return ""
				}
				return fmt.Sprintf("%s failed: %d: %s", what, code, texts[code])
			}
			expect(t, mac, bootout, c.missing, failed("Boot-out", c.missing, bootoutTexts))
			expect(t, mac, "bootout system "+file, 5, "Boot-out failed: 5: Input/output error")
			expect(t, mac, "kickstart system/"+testJob, 113, `Could not find service "org.example.agent" in domain for system`)
			expect(t, mac, "disable system/"+testJob, 0, "")
			expect(t, mac, bootstrap, c.disabled, failed("Bootstrap", c.disabled, bootstrapTexts))
			expect(t, mac, "enable system/"+testJob, 0, "")
			expect(t, mac, bootstrap, 0, "")
			running := awaitPrint(t, mac, 0, "state = running")
			expect(t, mac, bootstrap, c.loaded, failed("Bootstrap", c.loaded, bootstrapTexts))
			expect(t, mac, "kickstart system/"+testJob, 0, "")
			expect(t, mac, "kickstart -k system/"+testJob, 0, "")
			if again := awaitPrint(t, mac, 0, "runs = 2\n\tpid"); again == running {
				t.Error("it is the same process")
			}
			holdTeardown(t, mac)
			expect(t, mac, bootout, c.accepted, failed("Boot-out", c.accepted, bootoutTexts))
			expect(t, mac, bootstrap, c.leaving, failed("Bootstrap", c.leaving, bootstrapTexts))
			letGo(t, mac)
			awaitPrint(t, mac, 113, "")
			expect(t, mac, bootstrap, 0, "")
			awaitPrint(t, mac, 0, "state = running")
		})
	}
}

// launchctlAssumptionTests show both sides of what the facts leave open of launchctl.
func launchctlAssumptionTests() map[string]assumptionTest {
	// as runs launchctl on a Mac that has the job in a state.
	as := func(job launchdJob, line string) func(*testing.T, Mac) outcome {
		return func(t *testing.T, mac Mac) outcome {
			t.Helper()
			file := putJob(t, mac, idleKeys)
			mustUpdate(t, mac, func(state *State) error {
				state.setJob(testJob, job)
				return nil
			})
			return control(t, mac, strings.ReplaceAll(line, "FILE", file))
		}
	}
	kept := launchdJob{Loaded: true, Keeper: 1, PID: 1}
	return map[string]assumptionTest{
		"bootout_answer": {as(kept, "bootout system/"+testJob), map[string]outcome{
			"in_progress": {36, "", "Boot-out failed: 36: Operation now in progress"}, "accepted": {0, "", ""}}},
		"bootout_missing": {as(launchdJob{}, "bootout system/"+testJob), map[string]outcome{
			"3": {3, "", "Boot-out failed: 3: No such process"}, "113": {113, "", "Boot-out failed: 113: Could not find specified service"}}},
		"bootstrap_disabled": {as(launchdJob{Disabled: true}, "bootstrap system FILE"), map[string]outcome{
			"119": {119, "", "Bootstrap failed: 119: Service is disabled"}, "133": {133, "", "Bootstrap failed: 133: Service is disabled"}}},
		"bootstrap_loaded": {as(kept, "bootstrap system FILE"), map[string]outcome{
			"5": {5, "", "Bootstrap failed: 5: Input/output error"}, "37": {37, "", "Bootstrap failed: 37: Operation already in progress"}}},
		"bootstrap_leaving": {as(launchdJob{Loaded: true, Keeper: 1, Leaving: true}, "bootstrap system FILE"), map[string]outcome{
			"5": {5, "", "Bootstrap failed: 5: Input/output error"}, "37": {37, "", "Bootstrap failed: 37: Operation already in progress"}}},
		"throttled_state": {as(launchdJob{Loaded: true, Keeper: 1, Throttled: true}, "print system/"+testJob), map[string]outcome{
			"spawn scheduled": {0, "state = spawn scheduled\n", ""}, "not running": {0, "state = not running\n", ""}}},
		"kickstart_kill": {kickedMac(idleKeys, "runs = 2\n\tpid"), map[string]outcome{
			"kill": {0, "last exit code = 9\n", ""}, "term": {0, "last exit code = 0\n", ""}}},
		"kickstart_throttle": {kickedMac(crashingKeys, "last exit code = 7"), map[string]outcome{
			"at_once": {0, "runs = 2\n", ""}, "waits": {0, "runs = 1\n", ""}}},
	}
}

// kickedMac has a job that was kicked with -k.
func kickedMac(keys, says string) func(*testing.T, Mac) outcome {
	return func(t *testing.T, mac Mac) outcome {
		t.Helper()
		putPrograms(t, mac)
		expect(t, mac, "bootstrap system "+putJob(t, mac, keys), 0, "")
		awaitPrint(t, mac, 0, "runs = 1\n")
		if keys == crashingKeys {
			awaitPrint(t, mac, 0, says)
		} else {
			awaitPrint(t, mac, 0, "state = running")
			awaitTrue(t, "it has said what it does when it is asked to end", func() bool {
				_, err := os.Stat(mac.Path("/bin/idle.ready"))
				return err == nil
			})
		}
		expect(t, mac, "kickstart -k system/"+testJob, 0, "")
		if keys != crashingKeys {
			awaitPrint(t, mac, 0, says)
		}
		state, err := mac.Load()
		if err != nil {
			t.Fatal(err)
		}
		if state.assumes("kickstart_throttle", "at_once") {
			awaitPrint(t, mac, 0, "runs = 2\n")
		} else {
			time.Sleep(50 * time.Millisecond) // time to do what it must not do
		}
		printed := control(t, mac, "print system/"+testJob)
		control(t, mac, "bootout system/"+testJob)
		awaitPrint(t, mac, 113, "") // nothing writes any more where the test removes
		return printed
	}
}

// A job that crashes waits for its next start, and print shows how it ended.
func TestLaunchdThrottlesACrashingJob(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"spawn scheduled", "not running"} {
		mac := launchdMac(t, "throttled_state="+word)
		expect(t, mac, "bootstrap system "+putJob(t, mac, crashingKeys), 0, "")
		awaitPrint(t, mac, 0, "last exit code = 7")
		if printed := awaitPrint(t, mac, 0, "state = "+word); !strings.Contains(printed, "runs = 1\n") {
			t.Errorf("it did not wait: %s", printed)
		}
		expect(t, mac, "kickstart system/"+testJob, 0, "")
		awaitPrint(t, mac, 0, "state = "+word+"\n\n\tprogram = /bin/crash\n\truns = 2\n")
		expect(t, mac, "bootout system/"+testJob, 0, "")
		awaitPrint(t, mac, 113, "")
	}
}

// What does not end within ExitTimeOut is killed.
func TestLaunchdKillsWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	mac := launchdMac(t)
	holdTeardown(t, mac)
	expect(t, mac, "bootstrap system "+putJob(t, mac, strings.ReplaceAll(idleKeys, "idle", "deaf")), 0, "")
	awaitPrint(t, mac, 0, "state = running")
	if got := control(t, mac, "bootout system/"+testJob); got.code != 36 {
		t.Errorf("bootout: %+v", got)
	}
	if got := control(t, mac, "bootout system/"+testJob); got.code != 36 {
		t.Errorf("bootout again: %+v", got)
	}
	letGo(t, mac)
	awaitPrint(t, mac, 113, "")
}

// A job without RunAtLoad and KeepAlive runs when it is kicked, and once.
func TestLaunchdStartsAJobWhenItIsKicked(t *testing.T) {
	t.Parallel()
	mac := launchdMac(t)
	expect(t, mac, "bootstrap system "+putJob(t, mac, onceKeys), 0, "")
	awaitPrint(t, mac, 0, "state = not running")
	expect(t, mac, "kickstart -k system/"+testJob, 0, "")
	awaitPrint(t, mac, 0, "state = running")
	expect(t, mac, "kickstart -k system/"+testJob, 0, "")
	awaitPrint(t, mac, 0, "runs = 2\n\tpid")
}

// After a reboot every job of the folder runs that is not disabled.
func TestLaunchdLoadsJobsAtBoot(t *testing.T) {
	t.Parallel()
	mac := launchdMac(t)
	putJob(t, mac, idleKeys)
	reboot := func() {
		mustUpdate(t, mac, func(state *State) error { return mac.reboot(state, "", time.Now()) })
	}
	reboot()
	awaitPrint(t, mac, 0, "state = running")
	expect(t, mac, "disable system/"+testJob, 0, "")
	awaitPrint(t, mac, 0, "state = running")
	reboot()
	awaitPrint(t, mac, 113, "")
	if got := control(t, mac, "print-disabled system"); !strings.Contains(got.stdout, `"org.example.agent" => disabled`) {
		t.Errorf("print-disabled: %+v", got)
	}
}

// What launchctl refuses to load.
func TestLaunchctlRefusesToLoad(t *testing.T) {
	t.Parallel()
	const unsafe, broken = "Bootstrap failed: 122: Path had bad ownership/permissions", "Bootstrap failed: 5: Input/output error"
	for name, c := range map[string]struct {
		spoil  func(mac Mac, file string) error
		domain string
		code   int
		text   string
	}{
		"no file":                 {func(mac Mac, file string) error { return os.Remove(mac.Path(file)) }, "system", 2, "Bootstrap failed: 2: No such file or directory"},
		"others may write it":     {func(mac Mac, file string) error { return os.Chmod(mac.Path(file), 0o666) }, "system", 122, unsafe},
		"others may exchange it":  {func(mac Mac, file string) error { return os.Chmod(mac.Path(daemonFolder), 0o777) }, "system", 122, unsafe},
		"a link":                  {linkInPlace, "system", 122, unsafe},
		"not a property list":     {func(mac Mac, file string) error { return writeFile(mac.Path(file), []byte("job")) }, "system", 5, broken},
		"a value of a wrong type": {func(mac Mac, file string) error { return spoilText(mac, file, "<true/>", "<string>yes</string>") }, "system", 5, broken},
		"a relative program":      {func(mac Mac, file string) error { return spoilText(mac, file, "/bin/", "") }, "system", 5, broken},
		"a user without session":  {func(Mac, string) error { return nil }, "gui/502", 125, "Bootstrap failed: 125: Domain does not support specified action"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mac := newMac(t, standardMac())
			mustUpdate(t, mac, func(state *State) error {
				for i := range state.Users {
					if state.Users[i].UID == 502 {
						state.logOut(i)
					}
				}
				return nil
			})
			file := putJob(t, mac, idleKeys)
			if err := c.spoil(mac, file); err != nil {
				t.Fatal(err)
			}
			expect(t, mac, "bootstrap "+c.domain+" "+file, c.code, c.text)
			if got := control(t, mac, "print "+c.domain+"/"+testJob); got.code != 113 {
				t.Errorf("print: %+v", got)
			}
		})
	}
}

func linkInPlace(mac Mac, file string) error {
	if err := os.Rename(mac.Path(file), mac.Path(file)+".real"); err != nil {
		return err
	}
	return os.Symlink(mac.Path(file)+".real", mac.Path(file))
}

func spoilText(mac Mac, file, from, to string) error {
	content, err := os.ReadFile(mac.Path(file))
	if err != nil {
		return err
	}
	return writeFile(mac.Path(file), []byte(strings.Replace(string(content), from, to, 1)))
}

// What a user asks for, and what launchd lets nobody do.
func TestLaunchctlRefusesOthers(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	file := putJob(t, mac, idleKeys)
	for line, want := range map[string]struct {
		caller string
		code   int
		text   string
	}{
		"bootstrap system " + file:                    {"alice", 5, "Bootstrap failed: 5: Input/output error"},
		"bootout system/" + testJob:                   {"alice", 1, "Boot-out failed: 1: Operation not permitted"},
		"enable system/" + testJob:                    {"alice", 1, "Could not enable service: 1: Operation not permitted"},
		"disable system/" + testJob:                   {"alice", 1, "Could not disable service: 1: Operation not permitted"},
		"kickstart system/" + testJob:                 {"alice", 1, "Could not kickstart service: 1: Operation not permitted"},
		"kickstart -k system/com.apple.mDNSResponder": {rootUser, 150, "Could not kickstart service: 150: Operation not permitted while System Integrity Protection is engaged"},
		"load " + file:                                {rootUser, 64, "Unrecognized subcommand: load"},
		"kickstart -p system/" + testJob:              {rootUser, 64, "Usage: launchctl kickstart [-k] <service-target>"},
		"enable " + testJob:                           {rootUser, 64, "Unrecognized target specifier."},
	} {
		got := callAs(mac, want.caller).run(t, "launchctl", strings.Fields(line)...)
		if got.code != want.code || strings.TrimSpace(got.stderr) != want.text {
			t.Errorf("%s by %s: exit code %d with %q, want %d with %q", line, want.caller, got.code, got.stderr, want.code, want.text)
		}
	}
}
