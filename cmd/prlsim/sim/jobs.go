package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// launchdJob is what launchd knows of one job.
type launchdJob struct {
	Loaded   bool   `json:"loaded,omitempty"`
	Disabled bool   `json:"disabled,omitempty"` // outlives a reboot, and lives outside of the job's file (facts/macos.md 1.2)
	Path     string `json:"path,omitempty"`     // of the job's file; empty: that of its label
	PID      int    `json:"pid,omitempty"`      // 0: it is loaded and does not run
	LastExit int    `json:"last_exit,omitempty"`

	// Of a job that was bootstrapped; one that was only loaded by hand has none of it.
	Definition jobDefinition `json:"definition,omitzero"`
	Keeper     int           `json:"keeper,omitempty"`  // process of launchd that keeps it; 0: nobody does
	Leaving    bool          `json:"leaving,omitempty"` // it was booted out, and is still there
	Throttled  bool          `json:"throttled,omitempty"`
	Runs       int           `json:"runs,omitempty"`
	Kicks      int           `json:"kicks,omitempty"` // how often it was to start at once
	Kills      int           `json:"kills,omitempty"` // how often it was to end for that
}

const systemDomain = "system"

// dispatcherLabel is the product's own job (facts/prlctl.md 1.1), which is loaded
// where the product has set itself up.
const (
	dispatcherLabel = "com.parallels.desktop.launchdaemon"
	dispatcherJob   = systemDomain + "/" + dispatcherLabel
)

// job is a job of the Mac; the zero one is not loaded.
func (s *State) job(label string) launchdJob {
	known, changed := s.Jobs[label]
	if label == dispatcherLabel {
		if !changed {
			known.Loaded = true
		}
		known.Path = appFolder + "/Contents/LaunchDaemons/" + dispatcherLabel + ".plist"
	}
	if known.Path == "" {
		known.Path = daemonFolder + "/" + label + ".plist"
	}
	return known
}

func (s *State) setJob(label string, job launchdJob) {
	if s.Jobs == nil {
		s.Jobs = make(map[string]launchdJob)
	}
	s.Jobs[label] = job
}

// unload lets launchd forget the job; whether it is disabled stays.
func (j *launchdJob) unload() { *j = launchdJob{Disabled: j.Disabled} }

// printJob plays `launchctl print TARGET`, whose text is for people and no
// interface: others look for "state = running" in it (facts/macos.md 1.2). The
// refusal and its exit code are facts/acting.md 3.
func printJob(in *invocation, target string) int {
	domain, label := splitTarget(target)
	job := in.state.job(jobKey(domain, label))
	if !job.Loaded {
		return in.failf(113, "Bad request.\nCould not find service %q in domain for %s", label, domain)
	}
	running := job.PID != 0
	if label == dispatcherLabel {
		running = !in.state.hasFault("service_down", in.caller)
	}
	state, active := "not running", 0
	switch {
	case running:
		state, active = "running", 1
	case job.Throttled:
		state = in.state.assumedValue("throttled_state")
	}
	in.printLinef("%s = {\n\tactive count = %d\n\tpath = %s\n\ttype = LaunchDaemon\n\tstate = %s\n", target, active, job.Path, state)
	if job.Keeper != 0 {
		in.printLinef("\tprogram = %s\n\truns = %d", job.Definition.program(), job.Runs)
	}
	if job.PID != 0 {
		in.printLinef("\tpid = %d", job.PID)
	}
	in.printLinef("\tlast exit code = %d\n}", job.LastExit)
	return 0
}

// printDisabled plays `launchctl print-disabled system`. How it writes what is
// disabled is not in the facts.
func printDisabled(in *invocation, domain string) int {
	if domain != systemDomain {
		return in.failf(113, "Bad request.\nCould not find domain for %s", domain)
	}
	words := map[bool]string{true: "disabled", false: "enabled"}
	if in.state.assumes("print_disabled", "booleans") {
		words = map[bool]string{true: "true", false: "false"}
	}
	in.printLinef("\n\tdisabled services = {")
	for _, label := range slices.Sorted(maps.Keys(in.state.Jobs)) {
		in.printLinef("\t\t%q => %s", label, words[in.state.Jobs[label].Disabled])
	}
	in.printLinef("\t}\n\tlogin item associations = {\n\t}")
	return 0
}

// summary is the job in one line.
func (j launchdJob) summary() string {
	words := []string{"not loaded"}
	switch {
	case j.Leaving:
		words[0] = "booted out"
	case j.Loaded:
		words[0] = "loaded"
	}
	if j.PID != 0 {
		words = append(words, fmt.Sprintf("process %d", j.PID))
	}
	if j.Throttled {
		words = append(words, "waits for its next start")
	}
	if j.Disabled {
		words = append(words, "disabled")
	}
	return strings.Join(words, ", ")
}
