package sim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
)

// launchctlAssumptions are what the facts leave open of launchctl.
var launchctlAssumptions = []assumption{
	{"bootout_answer", []string{"in_progress", "accepted"}, "facts/acting.md 3",
		"whether bootout of a job that runs ends with 36, or with 0"},
	{"bootout_missing", []string{"3", "113"}, "facts/acting.md 3",
		"exit code of a bootout of a job that is not loaded"},
	{"bootstrap_disabled", []string{"119", "133"}, "facts/acting.md 3",
		"exit code of a bootstrap of a job that is disabled"},
	{"bootstrap_loaded", []string{"5", "37"}, "facts/acting.md 3",
		"exit code of a bootstrap of a job that is loaded"},
	{"bootstrap_leaving", []string{"37", "5"}, "facts/acting.md 3",
		"exit code of a bootstrap of a job that is being booted out"},
	{"kickstart_kill", []string{"kill", "term"}, "facts/macos.md 1.2",
		"whether kickstart -k kills what runs, or asks it to end first"},
	{"kickstart_throttle", []string{"at_once", "waits"}, "facts/macos.md 1.2",
		"whether kickstart starts a job at once whose last start was within ThrottleInterval"},
	{"throttled_state", []string{"spawn scheduled", "not running"}, "facts/macos.md 1.2",
		"state that print shows of a job that waits for its next start"},
}

// launchctlVerbs are the verbs that are played, and how many words each takes.
var launchctlVerbs = map[string]struct {
	words int
	play  func(in *invocation, words []string) int
}{
	"bootstrap":      {2, func(in *invocation, words []string) int { return bootstrap(in, words[0], words[1]) }},
	"bootout":        {1, func(in *invocation, words []string) int { return bootout(in, words) }},
	"enable":         {1, func(in *invocation, words []string) int { return switchJob(in, words[0], false) }},
	"disable":        {1, func(in *invocation, words []string) int { return switchJob(in, words[0], true) }},
	"kickstart":      {1, kickstart},
	"print":          {1, func(in *invocation, words []string) int { return printJob(in, words[0]) }},
	"print-disabled": {1, func(in *invocation, words []string) int { return printDisabled(in, words[0]) }},
}

// launchctl plays the verbs of facts/macos.md 1.2 that manage jobs, with the texts and
// exit codes of facts/acting.md 3, and `asuser`. load, unload and their like, which end
// with 0 also when they fail, are refused: nothing may be built on them.
func launchctl(in *invocation) int {
	if len(in.args) == 0 {
		return in.failf(1, "Usage: launchctl <subcommand> ... | help [subcommand]")
	}
	if in.args[0] == "asuser" && len(in.args) >= 3 {
		return asUser(in, in.args[1], in.args[2:])
	}
	verb, known := launchctlVerbs[in.args[0]]
	words := in.args[1:]
	switch {
	case !known:
		return in.failf(64, "Unrecognized subcommand: %s", in.args[0])
	case len(words) < verb.words:
		return in.failf(64, "Usage: launchctl %s …", in.args[0])
	}
	return verb.play(in, words)
}

// splitTarget splits system/LABEL, gui/UID/LABEL and user/UID/LABEL.
func splitTarget(target string) (domain, label string) {
	parts := strings.SplitN(target, "/", 3)
	if len(parts) == 3 && (parts[0] == "gui" || parts[0] == "user") {
		return parts[0] + "/" + parts[1], parts[2]
	}
	domain, label, _ = strings.Cut(target, "/")
	return domain, label
}

// jobKey is the name of a job in the state: that of the system's is its label.
func jobKey(domain, label string) string {
	if domain == systemDomain {
		return label
	}
	return domain + "/" + label
}

// hasDomain reports whether there is such a domain: one of a user is there while they
// have a session, and of gui/UID without one bootstrap says that the domain does not
// support the action (facts/acting.md 3).
func (s *State) hasDomain(domain string) bool {
	if domain == systemDomain {
		return true
	}
	kind, number, _ := strings.Cut(domain, "/")
	uid, err := strconv.Atoi(number)
	user, known := s.userByUID(uid)
	return err == nil && known && (kind == "user" || kind == "gui" && user.LoggedIn)
}

var bootstrapTexts = map[int]string{
	2: "No such file or directory", 5: "Input/output error", 37: "Operation already in progress", 119: "Service is disabled",
	122: "Path had bad ownership/permissions", 125: "Domain does not support specified action", 133: "Service is disabled",
}

var bootoutTexts = map[int]string{
	3: "No such process\nTry running `launchctl bootout` as root for richer errors.", 5: "Input/output error",
	36: "Operation now in progress", 113: "Could not find specified service",
}

func failBootstrap(in *invocation, code int) int {
	return in.failf(code, "Bootstrap failed: %d: %s", code, bootstrapTexts[code])
}

func failBootout(in *invocation, code int) int {
	return in.failf(code, "Boot-out failed: %d: %s", code, bootoutTexts[code])
}

func (in *invocation) assumedCode(name string) int {
	code, err := strconv.Atoi(in.state.assumedValue(name))
	if err != nil {
		panic(fmt.Sprintf("assumption %s is no exit code: %v", name, err))
	}
	return code
}

// bootstrap plays `launchctl bootstrap DOMAIN FILE`.
func bootstrap(in *invocation, domain, file string) int {
	if in.caller != rootUser && domain == systemDomain {
		return failBootstrap(in, 5)
	}
	if !in.state.hasDomain(domain) {
		return failBootstrap(in, 125)
	}
	definition, err := in.mac.readJob(file)
	switch {
	case errors.Is(err, errJobMissing):
		return failBootstrap(in, 2)
	case errors.Is(err, errJobUnsafe):
		return failBootstrap(in, 122)
	case err != nil:
		return failBootstrap(in, 5)
	}
	code := 0
	err = in.mac.update(func(state *State) error {
		key := jobKey(domain, definition.Label)
		job := state.job(key)
		switch {
		case job.Leaving:
			code = in.assumedCode("bootstrap_leaving")
		case job.Loaded:
			code = in.assumedCode("bootstrap_loaded")
		case job.Disabled:
			code = in.assumedCode("bootstrap_disabled")
		default:
			return in.mac.loadJob(state, domain, file, definition)
		}
		return nil
	})
	switch {
	case err != nil:
		return in.failf(1, "launchctl: %v", err)
	case code != 0:
		return failBootstrap(in, code)
	}
	return 0
}

// loadJob lets launchd know a job, and keep it. The simulated Mac runs no job of a
// user's domain.
func (m Mac) loadJob(state *State, domain, file string, definition jobDefinition) error {
	key := jobKey(domain, definition.Label)
	job := launchdJob{Loaded: true, Disabled: state.Jobs[key].Disabled, Path: path.Clean(file), Definition: definition}
	if domain == systemDomain {
		keeper, err := m.startBackground(launchdPath, definition.Label)
		if err != nil {
			return err
		}
		job.Keeper = keeper
	}
	state.setJob(key, job)
	return nil
}

// bootout plays `launchctl bootout TARGET` and `launchctl bootout DOMAIN FILE`. What it
// answers says only that it was heard: a job is gone once print does not know it.
func bootout(in *invocation, words []string) int {
	missing := in.assumedCode("bootout_missing")
	domain, label := splitTarget(words[0])
	if len(words) > 1 {
		domain, missing = words[0], 5
		definition, err := in.mac.readJob(words[1])
		if err != nil {
			return failBootout(in, missing)
		}
		label = definition.Label
	}
	if in.caller != rootUser && domain == systemDomain {
		return in.failf(1, "Boot-out failed: 1: Operation not permitted")
	}
	code := 0
	err := in.mac.update(func(state *State) error {
		key := jobKey(domain, label)
		job := state.job(key)
		switch {
		case !job.Loaded:
			code = missing
			return nil
		case job.Keeper == 0:
			job.unload()
		default:
			if job.Leaving || job.PID != 0 && in.state.assumes("bootout_answer", "in_progress") {
				code = 36
			}
			job.Leaving = true
		}
		state.setJob(key, job)
		return nil
	})
	switch {
	case err != nil:
		return in.failf(1, "launchctl: %v", err)
	case code != 0:
		return failBootout(in, code)
	}
	return 0
}

// switchJob plays enable and disable, which change nothing of what runs.
func switchJob(in *invocation, target string, disabled bool) int {
	domain, label := splitTarget(target)
	if label == "" || !in.state.hasDomain(domain) {
		return in.failf(64, "Unrecognized target specifier.")
	}
	if in.caller != rootUser && domain == systemDomain {
		return in.failf(1, "Could not %s service: 1: Operation not permitted", in.args[0])
	}
	err := in.mac.update(func(state *State) error {
		key := jobKey(domain, label)
		job := state.job(key)
		job.Disabled = disabled
		state.setJob(key, job)
		return nil
	})
	if err != nil {
		return in.failf(1, "launchctl: %v", err)
	}
	return 0
}

// kickstart plays `launchctl kickstart [-k] TARGET`.
func kickstart(in *invocation, words []string) int {
	kill := words[0] == "-k"
	if kill {
		words = words[1:]
	}
	if len(words) != 1 || strings.HasPrefix(words[0], "-") {
		return in.failf(64, "Usage: launchctl kickstart [-k] <service-target>")
	}
	domain, label := splitTarget(words[0])
	switch {
	case in.caller != rootUser && domain == systemDomain:
		return in.failf(1, "Could not kickstart service: 1: Operation not permitted")
	case strings.HasPrefix(label, "com.apple."):
		return in.failf(150, "Could not kickstart service: 150: Operation not permitted while System Integrity Protection is engaged")
	}
	found := false
	err := in.mac.update(func(state *State) error {
		key := jobKey(domain, label)
		job := state.job(key)
		if found = job.Loaded; !found {
			return nil
		}
		job.Kicks++
		if kill {
			job.Kills++
		}
		state.setJob(key, job)
		return nil
	})
	switch {
	case err != nil:
		return in.failf(1, "launchctl: %v", err)
	case !found:
		return in.failf(113, "Could not find service %q in domain for %s", label, domain)
	}
	return 0
}

// bootJobs lets launchd load every job of the system anew, but for those that are
// disabled. A file that is no job is left out.
func (m Mac) bootJobs(state *State) error {
	for key, job := range state.Jobs {
		if job.Keeper != 0 {
			job.unload()
			state.setJob(key, job)
		}
	}
	entries, err := os.ReadDir(m.Path(daemonFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list jobs: %w", err)
	}
	for _, entry := range entries {
		file := daemonFolder + "/" + entry.Name()
		definition, err := m.readJob(file)
		if err != nil || path.Ext(file) != ".plist" || state.job(definition.Label).Loaded || state.job(definition.Label).Disabled {
			continue
		}
		if err := m.loadJob(state, systemDomain, file, definition); err != nil {
			return err
		}
	}
	return nil
}

// teardownDelay is how much longer launchd keeps a job whose process has ended.
func (s *State) teardownDelay() time.Duration {
	value, _ := s.faultValue(faultTeardown, rootUser)
	return faultDuration(value, time.Millisecond)
}
