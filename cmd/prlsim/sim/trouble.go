package sim

import (
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	exitServiceDown = 253 // facts/prlctl.md 5
	exitRefused     = 255 // facts/prlctl.md 5
)

// editionGate is printed on the Standard edition (facts/prlctl.md 1.1); the
// blank before the line end is part of it.
const editionGate = "This feature is not available in this edition of Parallels Desktop. \n"

// suffer lets the faults act that concern every run of prlctl and prlsrvctl.
// With stop set the tool ends with the code.
func (in *invocation) suffer() (code int, stop bool) {
	if in.state.hasFault("stubborn", in.caller) {
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
	}
	if value, on := in.state.fault("slow", in.caller); on {
		in.block(duration(value, time.Millisecond))
	}
	if value, on := in.state.fault("hang", in.caller); on {
		in.block(duration(value, time.Second))
	}
	if in.state.hasFault("crash", in.caller) {
		fmt.Fprint(in.stdout, "[\n\t{\n\t\t\"ID\": \"f11d80")
		return in.fail(1, "%s: terminated by an unhandled exception", in.name), true
	}
	if in.unreachable() {
		return in.fail(exitServiceDown, "Login failed: Unable to connect to Parallels Service."), true
	}
	if in.state.hasFault("old_version", in.caller) {
		for _, option := range []string{"--json", "-j"} {
			if slices.Contains(in.args, option) {
				return in.fail(exitRefused, "Unrecognized option: %s", option), true
			}
		}
	}
	return 0, false
}

// unreachable says whether the caller cannot reach the service.
func (in *invocation) unreachable() bool {
	return in.state.hasFault("service_down", in.caller) || in.sessionMissing()
}

// sessionMissing is true for a user who is not logged in, where the Mac is
// assumed not to serve such users (facts/prlctl.md 5).
func (in *invocation) sessionMissing() bool {
	user, known := in.state.user(in.caller)
	return known && !user.LoggedIn && in.state.assumes("user_without_session", "service_down")
}

// block records the call and waits; zero means until killed. It ends early when
// the Mac's folder is gone, so that no test leaves a process behind.
func (in *invocation) block(wait time.Duration) {
	const step = 100 * time.Millisecond
	if recordCall(in) != 0 {
		return
	}
	for waited := time.Duration(0); wait == 0 || waited < wait; waited += step {
		if _, err := os.Stat(in.mac.marker("")); err != nil {
			return
		}
		if wait == 0 {
			time.Sleep(step)
		} else {
			time.Sleep(min(step, wait-waited))
		}
	}
}

// duration reads a fault's value, which was checked when it was set.
func duration(value string, unit time.Duration) time.Duration {
	number, err := strconv.Atoi(value)
	if err != nil {
		return 0
	}
	return time.Duration(number) * unit
}

// gated prints the Standard edition's text. With refused set the tool ends with
// the code and without an answer.
func (in *invocation) gated() (code int, refused bool) {
	standard := in.state.Product.Active && in.state.Product.Edition == "standard"
	if !standard && !in.state.hasFault("standard_edition", in.caller) {
		return 0, false
	}
	fmt.Fprint(in.stdout, editionGate)
	return exitRefused, in.state.assumes("standard_edition", "refused")
}

// answerList prints a JSON list of VMs, whose first may have a key twice, with two
// values.
func (in *invocation) answerList(list []object) int {
	if in.state.hasFault("duplicate_key", in.caller) {
		twice := list[0][min(1, len(list[0])-1)].Key
		list[0] = list[0].with(field{twice, "duplicate"})
	}
	return in.answer(encodeJSON(list))
}

// answer prints JSON, spoiled as the faults say.
func (in *invocation) answer(json string) int {
	if in.state.hasFault("garbage", in.caller) {
		// Control characters inside strings and text around the JSON, facts/prlctl.md 2.1.
		json = strings.Replace(json, `"Description": "`, "\"Description\": \"a\x01b\x0b\r\n\t", 1)
		json = "The Parallels Service is being updated.\x07\n" + json + "\nDone.\x00"
	}
	in.say("%s", json)
	return 0
}
