package watch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"prlagent/agent/trigger"
	"prlagent/platform"
)

const (
	inBundle   = "/Applications/Parallels Desktop.app/Contents/MacOS/"
	clientPath = inBundle + "prl_client_app"
	dispatcher = inBundle + "Parallels Service.app/Contents/MacOS/prl_disp_service"
	vmPath     = inBundle + "Parallels VM.app/Contents/MacOS/prl_vm_app"
)

// process is one that began so many minutes past noon.
func process(pid int, uid uint32, path string, minute int) platform.Process {
	return platform.Process{PID: pid, UID: uid, Path: path, Name: path[strings.LastIndex(path, "/")+1:], Started: at(minute)}
}

// unread is a process whose path could not be read.
func unread(process platform.Process) platform.Process {
	process.Path = ""
	return process
}

var errTable = errors.New("no table today")

// pollResult is what one poll finds, and what it must tell.
type pollResult struct {
	table   []platform.Process
	fails   bool
	hints   []Hint
	service []bool
}

// checkPolls lets a Processes find one table after the other.
func checkPolls(t *testing.T, polls []pollResult) {
	t.Helper()
	const every = 4 * time.Second
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, services := polls[0], []bool(nil)
		var log bytes.Buffer
		told := watching(t, Processes{
			List: func(context.Context) ([]platform.Process, error) {
				mu.Lock()
				defer mu.Unlock()
				if now.fails {
					return nil, errTable
				}
				return now.table, nil
			},
			Every: every,
			Service: func(up bool) {
				mu.Lock()
				defer mu.Unlock()
				services = append(services, up)
			},
			Log: zerolog.New(&log),
		}.Watch)
		outages := 0
		for number, poll := range polls {
			synctest.Wait()
			mu.Lock()
			if poll.fails && (number == 0 || !polls[number-1].fails) {
				outages++
			}
			if diff := cmp.Diff(poll.hints, told.take()); diff != "" {
				t.Errorf("poll %d: hints (-want +got):\n%s", number, diff)
			}
			if diff := cmp.Diff(poll.service, services); diff != "" {
				t.Errorf("poll %d: the service (-want +got):\n%s", number, diff)
			}
			services = nil
			if number+1 < len(polls) {
				now = polls[number+1]
			}
			mu.Unlock()
			time.Sleep(every)
		}
		synctest.Wait()
		if lines := strings.Count(log.String(), "\n"); lines != outages {
			t.Errorf("%d lines in the log, want one for each of %d outages:\n%s", lines, outages, log.String())
		}
	})
}

// A launch is a process of the application that was not there before: a pid and
// a start time, of the program in its bundle.
func TestTRG_01_AppLaunch(t *testing.T) {
	t.Parallel()
	type table = []platform.Process
	launchOf := func(uid uint32) Hint { return Hint{Reason: trigger.AppLaunch, UID: uid} }
	finder := process(90, 501, "/System/Library/CoreServices/Finder.app/Contents/MacOS/Finder", 0)
	alice, bob, carol := process(100, 501, clientPath, 1), process(101, 502, clientPath, 2), process(102, 503, clientPath, 2)
	up, down := []bool{true}, []bool{false}
	cases := map[string][]pollResult{
		"a launch is told once": {
			{table: table{finder}, service: down},
			{table: table{finder, alice}, hints: []Hint{launchOf(501)}, service: up},
			{table: table{finder, alice}},
			{table: table{alice, finder}},
		},
		"what ran before the agent is no launch": {
			{table: table{alice}, service: up},
			{table: table{alice}},
		},
		"quit and launched again": {
			{table: table{alice}, service: up},
			{table: table{}, hints: []Hint{{UID: 501}}, service: down},
			{table: table{process(200, 501, clientPath, 5)}, hints: []Hint{launchOf(501)}, service: up},
		},
		"quit and launched again between two polls": {
			{table: table{alice}, service: up},
			{table: table{process(200, 501, clientPath, 5)}, hints: []Hint{launchOf(501), {UID: 501}}},
		},
		"a pid that came again": {
			{table: table{alice}, service: up},
			{table: table{process(alice.PID, 501, clientPath, 6)}, hints: []Hint{launchOf(501), {UID: 501}}},
			{table: table{process(alice.PID, 501, clientPath, 6)}},
		},
		"three users at once": {
			{table: table{}, service: down},
			{table: table{alice, bob, carol}, hints: []Hint{launchOf(501), launchOf(502), launchOf(503)}, service: up},
			{table: table{carol, bob, alice}},
		},
		"a second copy of one user": {
			{table: table{alice}, service: up},
			{table: table{alice, process(300, 501, clientPath, 6)}, hints: []Hint{launchOf(501)}},
		},
		"a program of that name elsewhere": {
			{table: table{}, service: down},
			{table: table{
				process(400, 501, "/Users/alice/prl_client_app", 3),
				process(401, 501, "/Users/alice/Applications/Parallels Desktop.app/Contents/MacOS/prl_client_app", 3),
				process(402, 501, inBundle+"../../../../Users/alice/prl_client_app", 3),
				process(403, 501, inBundle+"Plugins/prl_client_app", 3),
				process(404, 501, clientPath+"x", 3),
				process(405, 501, "/Applications/Parallels Desktop.app.old/Contents/MacOS/prl_vm_app", 3),
				process(406, 501, "/Users/alice/prl_disp_service", 3),
				process(407, 501, inBundle+"prlctl", 3),
			}},
			{table: table{}},
		},
		"a path with a slash too many": {
			{table: table{}, service: down},
			{table: table{process(100, 501, inBundle+"/prl_client_app", 3)}, hints: []Hint{launchOf(501)}, service: up},
		},
		"a path that can be read later": {
			{table: table{}, service: down},
			{table: table{unread(alice)}},
			{table: table{alice}, hints: []Hint{launchOf(501)}, service: up},
			{table: table{unread(alice)}},
			{table: table{alice}},
		},
		"a path that could not be read at the start": {
			{table: table{unread(alice), unread(finder)}, service: down},
			{table: table{alice, finder}, service: up},
			{table: table{alice}},
		},
		"a program that turns into the application": {
			{table: table{process(100, 501, "/usr/libexec/xpcproxy", 1)}, service: down},
			{table: table{alice}, hints: []Hint{launchOf(501)}, service: up},
		},
		"a table that cannot be read": {
			{table: table{alice}, service: up},
			{fails: true},
			{fails: true},
			{table: table{alice, bob}, hints: []Hint{launchOf(502)}},
			{table: table{alice, bob}},
		},
		"no table at the start": {
			{fails: true},
			{table: table{alice}, service: up},
			{table: table{alice, bob}, hints: []Hint{launchOf(502)}},
		},
	}
	for name, polls := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkPolls(t, polls)
		})
	}
}

// The machines' processes are the net below the stream of events: whatever it
// missed of starts and stops makes a look at that user.
func TestProcessesOfMachinesAreTheSafetyNet(t *testing.T) {
	t.Parallel()
	one, two := process(500, 501, vmPath, 1), process(501, 502, vmPath, 2)
	checkPolls(t, []pollResult{
		{table: []platform.Process{one}, service: []bool{false}},
		{table: []platform.Process{one, two}, hints: []Hint{{UID: 502}}},
		{table: []platform.Process{one, two}},
		{table: []platform.Process{one, unread(two)}},
		{table: []platform.Process{two}, hints: []Hint{{UID: 501}}},
		{fails: true},
		{table: []platform.Process{process(501, 502, vmPath, 9)}, hints: []Hint{{UID: 502}, {UID: 502}}}, // one ended, one began
		{table: nil, hints: []Hint{{UID: 502}}},
	})
}

// Streams of events are started only while the service or the application runs
// (facts/macos.md 3.1), and a service that began again may hold other states.
func TestProcessesTellTheService(t *testing.T) {
	t.Parallel()
	old, restarted, alice := process(70, 0, dispatcher, 1), process(71, 0, dispatcher, 8), process(100, 501, clientPath, 9)
	look := []Hint{{}}
	cases := map[string][]pollResult{
		"it runs":      {{table: []platform.Process{old}, service: []bool{true}}, {table: []platform.Process{old}}},
		"it does not":  {{service: []bool{false}}, {}, {}},
		"it goes":      {{table: []platform.Process{old}, service: []bool{true}}, {service: []bool{false}}, {}},
		"it comes":     {{service: []bool{false}}, {table: []platform.Process{old}, hints: look, service: []bool{true}}, {table: []platform.Process{old}}},
		"it restarted": {{table: []platform.Process{old}, service: []bool{true}}, {table: []platform.Process{restarted}, hints: look}, {table: []platform.Process{restarted}}},
		"only the application runs": {
			{table: []platform.Process{alice}, service: []bool{true}},
			{table: []platform.Process{alice, old}, hints: look},
			{table: []platform.Process{old}, hints: []Hint{{UID: 501}}},
			{service: []bool{false}},
		},
		"it is gone for an hour and comes back": {
			{table: []platform.Process{old}, service: []bool{true}},
			{service: []bool{false}},
			{fails: true},
			{table: []platform.Process{restarted}, hints: look, service: []bool{true}},
		},
	}
	for name, polls := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkPolls(t, polls)
		})
	}
}

// busyMac is a process table of the given size, with an application, a service
// and four machines that run.
func busyMac(size int) []platform.Process {
	table := []platform.Process{process(70, 0, dispatcher, 1), process(100, 501, clientPath, 1)}
	for number := range 4 {
		table = append(table, process(200+number, 501, vmPath, 2))
	}
	for pid := 1000; len(table) < size; pid++ {
		table = append(table, platform.Process{PID: pid, UID: 501, Name: fmt.Sprint("process", pid), Started: at(pid)})
	}
	return table
}

// A poll that finds nothing new allocates nothing (DESIGN 11: an idle agent).
func TestIdlePollAllocatesNothing(t *testing.T) {
	mac := busyMac(500)
	table := processTable{seen: make(map[processID]seenProcess)}
	tell := func(hint Hint) { t.Errorf("told %v", hint) }
	table.poll(mac, tell)
	if allocations := testing.AllocsPerRun(100, func() { table.poll(mac, tell) }); allocations > 0 {
		t.Errorf("%g allocations for each poll", allocations)
	}
	if len(table.seen) != 6 {
		t.Errorf("%d processes are kept, want the 6 that matter", len(table.seen))
	}
}

func BenchmarkIdlePoll(b *testing.B) {
	mac := busyMac(500)
	table := processTable{seen: make(map[processID]seenProcess)}
	for b.Loop() {
		table.poll(mac, func(Hint) {})
	}
}
