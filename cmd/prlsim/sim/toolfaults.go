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

// applyFaults plays the faults that concern every run of prlctl and prlsrvctl.
// With stop set the tool ends with the code.
func (in *invocation) applyFaults() (code int, stop bool) {
	if in.state.hasFault("stubborn", in.caller) {
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
	}
	if value, on := in.state.faultValue("slow", in.caller); on {
		in.blockFor(faultDuration(value, time.Millisecond))
	}
	if value, on := in.state.faultValue("hang", in.caller); on {
		in.blockFor(faultDuration(value, time.Second))
	}
	if in.state.hasFault("crash", in.caller) {
		fmt.Fprint(in.stdout, "[\n\t{\n\t\t\"ID\": \"f11d80")
		return in.failf(1, "%s: terminated by an unhandled exception", in.name), true
	}
	if in.isServiceUnreachable() {
		return in.failf(exitServiceDown, "Login failed: Unable to connect to Parallels Service."), true
	}
	if in.state.hasFault("old_version", in.caller) {
		for _, option := range []string{"--json", "-j"} {
			if slices.Contains(in.args, option) {
				return in.failf(exitRefused, "Unrecognized option: %s", option), true
			}
		}
	}
	return 0, false
}

// isServiceUnreachable reports whether the caller cannot reach the service.
func (in *invocation) isServiceUnreachable() bool {
	return in.state.hasFault("service_down", in.caller) || in.isSessionMissing()
}

// isSessionMissing reports whether the caller is not logged in, on a Mac that is
// assumed not to serve such users (facts/prlctl.md 5).
func (in *invocation) isSessionMissing() bool {
	user, known := in.state.userByName(in.caller)
	return known && !user.LoggedIn && in.state.assumes("user_without_session", "service_down")
}

// blockFor records the call and waits; zero means until killed. It ends early
// when the Mac's folder is gone, so that no test leaves a process behind.
func (in *invocation) blockFor(wait time.Duration) {
	const step = 100 * time.Millisecond
	if recordCall(in) != 0 {
		return
	}
	for waited := time.Duration(0); wait == 0 || waited < wait; waited += step {
		if _, err := os.Stat(in.mac.markerPath("")); err != nil {
			return
		}
		if wait == 0 {
			time.Sleep(step)
		} else {
			time.Sleep(min(step, wait-waited))
		}
	}
}

// faultDuration reads a fault's value, which was checked when it was set.
func faultDuration(value string, unit time.Duration) time.Duration {
	number, err := strconv.Atoi(value)
	if err != nil {
		return 0
	}
	return time.Duration(number) * unit
}

// printEditionGate prints the Standard edition's text. With refused set the
// tool ends with the code and without an answer.
func (in *invocation) printEditionGate() (code int, refused bool) {
	if !in.isStandardEdition() {
		return 0, false
	}
	fmt.Fprint(in.stdout, editionGate)
	return exitRefused, in.state.assumes("standard_edition", "refused")
}

func (in *invocation) isStandardEdition() bool {
	product := in.state.Product
	return product.isInstalled() && product.Edition == "standard" || in.state.hasFault("standard_edition", in.caller)
}

// printAnswerList prints a JSON list of VMs, whose first may have a key twice,
// with two values.
func (in *invocation) printAnswerList(list []orderedObject) int {
	if in.state.hasFault("duplicate_key", in.caller) {
		twice := list[0][min(1, len(list[0])-1)].Key
		list[0] = list[0].with(member{twice, "duplicate"})
	}
	return in.printAnswer(encodeJSON(list))
}

// printAnswer prints JSON, damaged as the faults say.
func (in *invocation) printAnswer(json string) int {
	if in.state.hasFault("garbage", in.caller) {
		// Control characters inside strings and text around the JSON, facts/prlctl.md 2.1.
		json = strings.Replace(json, `"Description": "`, "\"Description\": \"a\x01b\x0b\r\n\t", 1)
		json = "The Parallels Service is being updated.\x07\n" + json + "\nDone.\x00"
	}
	if in.state.hasFault("info_line", in.caller) { // before the JSON of 8, captures.md 3
		in.printLinef("INFO")
	}
	if in.state.hasFault("progress", in.caller) { // glued to the JSON by 11.2, captures.md 3
		fmt.Fprint(in.stdout, "Operation progress ... 50%Operation progress ... 100%")
	}
	in.printLinef("%s", json)
	return 0
}
