package sim

import (
	"strings"
	"testing"
)

// What launchctl print says of a job follows what was done to it; everybody may
// read the domain of the system.
func TestJobsAsLaunchctlPrintsThem(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	print := func(label string) outcome {
		got := callAs(mac, "alice").run(t, "launchctl", "print", "system/"+label)
		return outcome{got.code, got.stdout, got.stderr}
	}
	for _, step := range []struct {
		name   string
		change func(*State)
		label  string
		code   int
		says   string
	}{
		{"before", func(*State) {}, "org.example.agent", 113, "Could not find service \"org.example.agent\" in domain for system"},
		{"loaded, and not running", func(s *State) { s.setJob("org.example.agent", launchdJob{Loaded: true, LastExit: 78}) }, "org.example.agent", 0, "state = not running"},
		{"its last exit", func(*State) {}, "org.example.agent", 0, "last exit code = 78"},
		{"running", func(s *State) { s.setJob("org.example.agent", launchdJob{Loaded: true, PID: 4711}) }, "org.example.agent", 0, "pid = 4711"},
		{"the file", func(*State) {}, "org.example.agent", 0, "path = /Library/LaunchDaemons/org.example.agent.plist"},
		{"the product's", func(*State) {}, dispatcherLabel, 0, "state = running"},
		{"the product was copied", func(s *State) { s.setJob(dispatcherLabel, launchdJob{}) }, dispatcherLabel, 113, "Could not find service"},
	} {
		mustUpdate(t, mac, func(state *State) error {
			step.change(state)
			return nil
		})
		if got := print(step.label); got.code != step.code || !strings.Contains(got.stdout+got.stderr, step.says) {
			t.Errorf("%s: %+v", step.name, got)
		}
	}
}
