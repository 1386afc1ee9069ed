package cmd_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// How long reasons may take to arrive, and how long nothing else must follow
// them: longer than the debounce and the wait for echoes of a watched Mac.
const (
	reasonsLimit = 20 * time.Second
	reasonsQuiet = 600 * time.Millisecond
)

// quickTiming is the pace of a watched Mac.
var quickTiming = []string{
	"Timing.Debounce=0.1", "Timing.BucketSize=1000", "Timing.Poll=0.1", "Timing.NetworkSettle=0.1",
	"Timing.EchoWait=0.2", "Timing.Tick=0.2", "Timing.StreamRetry=0.1", "Timing.StreamRetryCap=0.3",
	"Timing.CommandLook=0.1",
}

// beginWatched is the beginning of scripts about reasons: as enrolled, but the
// Mac has processes, and the streams of its users are connected. A Mac that is
// there already stays as it is.
func beginWatched(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("unsupported: ! watched")
	}
	settings, flags := slices.Clone(quickTiming), []string{"mac", "create", ts.Getenv("MAC")}
	for _, arg := range args {
		if strings.HasPrefix(arg, "Timing.") {
			settings = append(settings, arg)
			continue
		}
		flags = append(flags, arg)
	}
	run(ts, "prlportal", "init", ts.Getenv("PORTAL"))
	withoutSplay(ts)
	startPortal(ts)
	if _, err := os.Stat(ts.Getenv("MAC")); errors.Is(err, os.ErrNotExist) {
		run(ts, "prlsim", flags...)
	}
	installProfile(ts, false, nil)
	changeSettings(ts, false, append([]string{ts.Getenv("PROFILE")}, settings...))
	startAgent(ts)
	ts.Check(ts.Chdir(ts.Getenv("MAC")))
	run(ts, "prlsim", "event", "await")
	expectReasons(ts, false, []string{"agent_start"})
}

// withoutSplay lets the portal say that nothing needs to be spread: its word
// counts more than the agent's own setting.
func withoutSplay(ts *testscript.TestScript) {
	path := filepath.Join(ts.Getenv("PORTAL"), "portal", "config.json")
	config := make(map[string]any)
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(path)), &config))
	config["splay_s"] = 0
	data, err := json.Marshal(config)
	ts.Check(err)
	ts.Check(os.WriteFile(path, data, 0o600))
}

// expectReasons compares why the agent checked in, as the portal's log tells
// it, with what the script expects since the last comparison. Each occurrence
// counts: a reason that comes twice is two words. That nothing was told is known
// of a short time only; what comes late is found by the next comparison, which
// a script must have.
func expectReasons(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("unsupported: ! reasons")
	}
	flags := flag.NewFlagSet("reasons", flag.ContinueOnError)
	flags.SetOutput(ts.Stderr())
	merged := flags.Bool("merged", false, "what one check-in tells of one cause is one, however often it happened")
	within := flags.Duration("within", reasonsLimit, "how long all of them may take")
	ts.Check(flags.Parse(args))
	s, wanted := stageOf(ts), make([]string, flags.NArg())
	for i, word := range flags.Args() {
		reason, vm, about := strings.Cut(word, "=")
		if wanted[i] = reason; about {
			wanted[i] += "=" + vmID(ts, vm)
		}
	}
	slices.Sort(wanted)
	var got []string
	arrived, quiet := 0, time.Now()
	for begun := quiet; ; time.Sleep(readyPoll) {
		before := arrived
		if got, arrived = arrivals(ts, s.arrived, *merged); arrived != before {
			quiet = time.Now()
		}
		same, still := slices.Equal(got, wanted), time.Since(quiet) > reasonsQuiet
		if same && (still || time.Since(begun) > *within+reasonsQuiet) {
			break
		}
		if !same && (still && len(got) >= len(wanted) || time.Since(begun) > *within) {
			ts.Fatalf("the portal was told\n%q\nnot\n%q", got, wanted)
		}
	}
	s.arrived, s.unproven = arrived, len(wanted) == 0
}

// arrivals are the reasons in the portal's log after so many check-ins, sorted,
// and how many check-ins there are.
func arrivals(ts *testscript.TestScript, after int, merged bool) (reasons []string, checkins int) {
	for line := range strings.Lines(ts.ReadFile(ts.Getenv("PORTAL_LOG"))) {
		var arrival struct {
			Message  string
			Triggers []struct {
				Reason string
				VMID   string `json:"vm_id"`
				Count  int
			}
		}
		if json.Unmarshal([]byte(line), &arrival) != nil || arrival.Message != "check-in accepted" {
			continue
		}
		if checkins++; checkins <= after {
			continue
		}
		for _, one := range arrival.Triggers {
			word := one.Reason
			if one.VMID != "" {
				word += "=" + one.VMID
			}
			times := one.Count
			if merged {
				times = 1
			}
			reasons = append(reasons, slices.Repeat([]string{word}, times)...)
		}
	}
	slices.Sort(reasons)
	return reasons, checkins
}

// vmID is the id of the virtual machine that a script calls NAME or USER/NAME;
// an id stands for itself.
func vmID(ts *testscript.TestScript, name string) string {
	state, err := macOf(ts).Load()
	ts.Check(err)
	var ids []string
	for _, vm := range state.VMs {
		if name == vm.Name || name == vm.Owner+"/"+vm.Name {
			ids = append(ids, vm.ID)
		}
	}
	if len(ids) > 1 {
		ts.Fatalf("several users have a virtual machine %q", name)
	}
	return strings.Join(append(ids, name)[:1], "")
}

// expectCheckins says how many check-ins the portal has accepted since the last
// comparison of reasons; what they were for counts as compared.
func expectCheckins(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: checkins [<>]N")
	}
	s := stageOf(ts)
	_, now := arrivals(ts, 0, false)
	is, err := holds(fmt.Sprint(now-s.arrived), args[0])
	ts.Check(err)
	if !is {
		ts.Fatalf("%d check-ins since the last comparison, not %s", now-s.arrived, args[0])
	}
	s.arrived, s.unproven = now, args[0] == "0"
}
