package cmd_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/rogpeppe/go-internal/testscript"

	"prlagent/agent/policy"
	"prlagent/cmd/prlsim/sim"
)

// expectPorts counts the ports of a program in the kernel's own tables.
func expectPorts(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: ports agent|portal N")
	}
	name := portalName
	if args[0] == "agent" {
		name = agentName(ts.Getenv("PRLAGENT_ROOT"))
	}
	running := stageOf(ts).running[name]
	if running == nil {
		ts.Fatalf("%s does not run", name)
	}
	count, err := openPorts(running.command.Process.Pid)
	ts.Check(err)
	if strconv.Itoa(count) != args[1] {
		ts.Fatalf("%s has %d open ports", name, count)
	}
}

// openPorts counts the sockets of a process that take what comes from outside.
func openPorts(pid int) (int, error) {
	folder := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return 0, err
	}
	var sockets []string
	for _, entry := range entries {
		target, err := os.Readlink(filepath.Join(folder, entry.Name()))
		if inode, is := strings.CutPrefix(target, "socket:["); err == nil && is {
			sockets = append(sockets, strings.TrimSuffix(inode, "]"))
		}
	}
	count := 0
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6", "raw", "raw6"} {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return 0, err
		}
		for line := range strings.Lines(string(content)) {
			fields := strings.Fields(line)
			// 0A is a listening TCP socket, 07 a UDP or raw one that is not connected.
			if len(fields) > 9 && (fields[3] == "0A" || fields[3] == "07") && slices.Contains(sockets, fields[9]) {
				count++
			}
		}
	}
	return count, nil
}

// vendorTools are the programs that must not be run by root.
var vendorTools = []string{"prlctl", "prlsrvctl"}

// expectLawfulCalls judges the command lines that the Mac's tools were started
// with (H13): every call of the vendor's tools was made by sudo for a person's
// uid, and no argument of any program has a word from a user. A look may be under
// way, and the tool of a sudo that has just started is waited for.
func expectLawfulCalls(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: toolcalls")
	}
	state, err := macOf(ts).Load()
	ts.Check(err)
	bySudo, uids := judgeCalls(ts, state)
	for deadline := time.Now().Add(readyLimit); hasBegun(bySudo) && time.Now().Before(deadline); time.Sleep(readyPoll) {
		bySudo, uids = judgeCalls(ts, state)
	}
	for call, surplus := range bySudo {
		if surplus != 0 {
			ts.Fatalf("%s: %d calls of sudo more than of the tool", call, surplus)
		}
	}
	if len(uids) != len(state.Users) {
		ts.Fatalf("sudo was called for %v only", uids)
	}
}

// hasBegun reports whether there is a call of sudo more than of its tool.
func hasBegun(bySudo map[string]int) bool {
	for _, surplus := range bySudo {
		if surplus > 0 {
			return true
		}
	}
	return false
}

// judgeCalls gives how many more calls of sudo there are so far than of the tool, by
// command line, and for whom sudo was called.
func judgeCalls(ts *testscript.TestScript, state *sim.State) (bySudo map[string]int, uids []string) {
	bySudo = make(map[string]int)
	for _, call := range toolCalls(ts) {
		for _, vm := range state.VMs {
			if slices.ContainsFunc(call.Args, func(arg string) bool { return strings.Contains(arg, vm.Name) }) {
				ts.Fatalf("the name %q is in an argument of %s %q", vm.Name, call.Tool, call.Args)
			}
		}
		switch {
		case call.Tool == "sudo":
			uids = append(uids, lawfulSudo(ts, call))
			if program := filepath.Base(call.Args[4]); slices.Contains(vendorTools, program) {
				bySudo[fmt.Sprintf("%q", append([]string{program}, call.Args[5:]...))]++
			}
		case slices.Contains(vendorTools, call.Tool):
			bySudo[fmt.Sprintf("%q", append([]string{call.Tool}, call.Args...))]--
			lawfulIDs(ts, call)
		}
	}
	slices.Sort(uids)
	return bySudo, slices.Compact(uids)
}

func toolCalls(ts *testscript.TestScript) []sim.Start {
	var calls []sim.Start
	for line := range strings.Lines(ts.ReadFile(macOf(ts).Path(sim.StartsFile))) {
		var call sim.Start
		ts.Check(json.Unmarshal([]byte(line), &call))
		calls = append(calls, call)
	}
	return calls
}

// lawfulSudo gives the uid of sudo -n -H -u #UID PROGRAM ….
func lawfulSudo(ts *testscript.TestScript, call sim.Start) string {
	if len(call.Args) < 5 || !slices.Equal(call.Args[:3], []string{"-n", "-H", "-u"}) || !filepath.IsAbs(call.Args[4]) {
		ts.Fatalf("sudo was called with %q", call.Args)
	}
	number, byNumber := strings.CutPrefix(call.Args[3], "#")
	uid, err := strconv.Atoi(number)
	if !byNumber || err != nil || uid < 501 {
		ts.Fatalf("sudo was called for %q", call.Args[3])
	}
	return number
}

// lawfulIDs checks that prlctl was told ids and words of its own only.
func lawfulIDs(ts *testscript.TestScript, call sim.Start) {
	own := []string{"list", "info", "set"}
	for i := range policy.HostSwitches {
		own = slices.Concat(own, policy.HostSwitches[i].Args("on"), policy.HostSwitches[i].Args("off"))
	}
	for _, arg := range call.Args {
		if _, err := uuid.Parse(arg); err != nil && !strings.HasPrefix(arg, "-") && !slices.Contains(own, arg) {
			ts.Fatalf("%s was called with %q", call.Tool, call.Args)
		}
	}
}

// expectGone waits until no program runs that was started with all of the words
// and belongs to the script's Macs: whose command line or environment names the
// script's folder.
func expectGone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: gone WORD…")
	}
	var left []string
	for deadline := time.Now().Add(goneLimit); ; time.Sleep(readyPoll) {
		if left = commandLines(ts, args); len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("there still run %q", left)
		}
	}
}

// goneLimit is how long the programs of a daemon that has ended may run.
const goneLimit = 2 * time.Second

// commandLines are the programs of the script's Macs that were started with all
// of the words.
func commandLines(ts *testscript.TestScript, words []string) (found []string) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	ts.Check(err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // it has just ended
		}
		line := strings.ReplaceAll(string(data), "\x00", " ")
		if environment, err := os.ReadFile(filepath.Join(filepath.Dir(file), "environ")); err == nil {
			data = append(data, environment...)
		}
		ours := strings.Contains(string(data), stageOf(ts).folder)
		if ours && !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
			found = append(found, line)
		}
	}
	return found
}
