// Package cmd_test tries the programs as a whole: every script below
// testdata/scripts is a Mac, a portal and an agent of its own, used by command
// lines that a person could type. The programs are the ones that ship, and
// prlsim plays the tools of the simulated Mac.
package cmd_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"prlagent/agent"
)

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Files:               scripts(t),
		Setup:               setUp,
		Cmds:                commands,
		Condition:           condition,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		WorkdirRoot:         t.TempDir(),
	})
}

// shortScripts are the scripts in which most happens at the same time: those that
// run with -short, which is for the race detector.
var shortScripts = []string{
	"H11-H12-*", "H12-*", "H16-*", "H50-*", "H59-*", "H70-an-outage-*", "POL-07-H40-*", "POL-VMS-*", "TRG-04-*", "TRG-10-network-up",
	"TRG-echoes-*", "TRG-reasons-*", "TRG-stop-*", "VMF-11-*", "portal-restored-*",
}

// scripts are all scripts, with those first that wait most: of a watched Mac.
func scripts(t *testing.T) []string {
	t.Helper()
	if !testing.Short() {
		return scriptsOf(t, "*")
	}
	var short []string
	for _, name := range shortScripts {
		short = append(short, scriptsOf(t, name)...)
	}
	return short
}

func scriptsOf(t *testing.T, name string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "testdata", "scripts", name+".txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no scripts %s: %v", name, err)
	}
	var first, rest []string
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte("\nwatched")) {
			first = append(first, file)
		} else {
			rest = append(rest, file)
		}
	}
	return append(first, rest...)
}

// commands are what scripts have beside testscript's own.
//
//	enrolled [FLAGS…]            a portal, a Mac (FLAGS of prlsim mac create) and
//	                             an agent that has checked in; goes to the Mac's folder
//	watched [FLAGS…] [TIMING…]   the same with processes and streams of events, at a quick
//	                             pace (Timing.Daily=3 is a TIMING)
//	reasons [FLAGS…] [REASON[=VM]…]  why the agent has checked in since the last time,
//	                             exactly; VM is NAME, USER/NAME or an id
//	checkins N                   how often it has checked in since then
//	agent start|stop|kill        the daemon of the Mac in PRLAGENT_ROOT; stop 2s has a limit
//	agent freeze|thaw            the same daemon hangs, and goes on
//	portal start|stop|kill       the portal in PRLPORTAL_DIR; start sets PRLPORTAL_URL
//	portal slow DURATION         the same, but each request of an agent waits so long
//	portal evil FILE             the same, but agents get the answers of a list in JSON, each
//	                             an evilAnswer: status, headers, body or file, a delay, or
//	                             the portal's own answer with fields changed
//	portal asked                 wait until an agent asks one of these
//	portal answered              wait until the list is used up
//	stranger KIND CODE COMMAND…  run the command while something else, KIND, answers in
//	                             the place of the portal, which is stopped
//	profile [FLAGS…]             install the portal's profile (FLAGS of prlportal profile)
//	deliver FILE [NAME=VALUE…]   a configuration profile is delivered to the Mac, with
//	                             further settings, such as Timing.Splay=0
//	settings FILE NAME=VALUE…    change a property list; Timing.Daily=3 goes deeper, NAME= removes
//	publish [FLAGS…] [FILE]      sign a head, and the policy FILE, with the operator's key
//	rows N                       the portal's table has N rows; they are in stdout
//	json FILE PATH [VALUE]       a value of a JSON file (or stdout) is there, or is VALUE
//	remember NAME FILE PATH      keep such a value in a variable
//	until PATH VALUE COMMAND…    run the command until its JSON has the value
//	exits CODE COMMAND…          run the command; it ends with the code
//	as UID CODE COMMAND…         the same as another user (needs root); the command is one
//	                             of ours, or an absolute path
//	crowd UID half N             requests of an account that never end, until the daemon ends them
//	crowd UID huge               requests of a gigabyte
//	crowd UID many TOTAL AT-ONCE connections that all ask; of each, what came of it is stdout, as
//	                             JSON (needs root and Linux)
//	ports agent|portal N         the program listens on N network ports
//	gone WORD…                   nothing runs any more that was started with these words on
//	                             a Mac of the script; it has two seconds to end
//	modes FILE MODE              permissions, as 0644
//	chown UID FILE               (needs root)
//	replace FILE OLD NEW         change a text file in one place
//	packages                     the agent's packages of versions 1.1.0 and 1.2.0 are in $WORK/packages,
//	                             with tars and uninstall scripts; in allowed that of 1.1.0 which
//	                             replaces a newer version
//	store-format FILE DIGIT      make a state database one of another format
//	toolcalls                    every call of the vendor's tools was a lawful one (H13)
//	backup-under-load FILE [kill]  back up the portal while MAC and MAC2 check in all the
//	                             time; with kill it is killed in the middle of it
//	readme SECTION               run the commands of a section of README.md; readme.out has
//	                             what they print
//	ignored                      git, with our .gitignore, would take up no file that is here
//	secrets-only-in FILE…        no other file of the script holds a secret
//	text-only-in TEXT FILE…      no other file of the script holds the text
//	canary FILE[#NAME] [FILE…]   the secret in FILE is in no other file of the script but the
//	                             named ones, as it is, in hex or in base64
//	digest FILE SHA256           the digest of a file, in hex
//	osquery QUERY                a query of launchd/deploy/osquery, as osquery answers it (needs
//	                             sqlite3); the rows are JSON
//	no-part-of SECRET FILE…      none of the files (or stdout, stderr) holds 8 bytes of the secret
//
// PATH is like .vms[vm_name=macOS].vm_state, .pass.triggers[0].reason,
// .vms[*].user_name or .vms[len]. VALUE is the text itself, or >X, <X (numbers,
// times, now+21h), or ~ and a regular expression.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"enrolled":          beginEnrolled,
	"watched":           beginWatched,
	"reasons":           expectReasons,
	"checkins":          expectCheckins,
	"agent":             controlAgent,
	"portal":            controlPortal,
	"profile":           installProfile,
	"stranger":          meetStranger,
	"deliver":           deliverProfile,
	"settings":          changeSettings,
	"publish":           publish,
	"rows":              expectRows,
	"json":              expectJSON,
	"remember":          remember,
	"until":             until,
	"receiver":          startReceiver,
	"exits":             expectExit,
	"as":                expectExitAs,
	"ports":             expectPorts,
	"gone":              expectGone,
	"modes":             expectMode,
	"chown":             changeOwner,
	"replace":           replaceText,
	"packages":          givePackages,
	"store-format":      changeStoreFormat,
	"toolcalls":         expectLawfulCalls,
	"backup-under-load": backupUnderLoad,
	"readme":            runReadme,
	"ignored":           expectIgnored,
	"secrets-only-in":   expectSecretsOnlyIn,
	"text-only-in":      expectTextOnlyIn,
	"canary":            expectCanary,
	"digest":            expectDigest,
	"osquery":           runOsquery,
	"no-part-of":        expectNoPartOf,
}

// setUp gives a script a short folder of its own, because the path of a unix
// socket has room for some hundred bytes, and the variables that name things.
func setUp(env *testscript.Env) error {
	folder, err := os.MkdirTemp("", "m")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	programs, err := builtPrograms()
	if err != nil {
		return err
	}
	s := &stage{programs: programs, folder: folder, running: make(map[string]*process)}
	env.Values[stageKey{}] = s
	env.Defer(func() { s.close(env.T()) })
	path := []string{s.programs, env.Getenv("PATH")}
	env.Setenv("PATH", strings.Join(path, string(filepath.ListSeparator)))
	mac := filepath.Join(folder, "mac")
	for name, value := range map[string]string{
		"MAC":           mac,
		"MAC2":          filepath.Join(folder, "mac2"),
		"PORTAL":        filepath.Join(folder, "portal"),
		"PROFILE":       filepath.Join(mac, agent.ManagedConfig),
		"SUPPORT":       filepath.Join(mac, agent.SupportFolder),
		"STATE":         filepath.Join(mac, agent.StateFolder),
		"AGENT_LOG":     filepath.Join(mac, agent.LogFile),
		"PORTAL_LOG":    filepath.Join(folder, "portal.log"),
		"PRLAGENT_ROOT": mac,
		"PRLPORTAL_DIR": filepath.Join(folder, "portal"),
		"PRLPORTAL_URL": "",
		"DEPLOY":        filepath.Join(repositoryFolder(), "launchd", "deploy"), // files for the tools of admins
		"NO_COLOR":      "1",
		"ESC":           "\x1b",            // begins a command to a terminal
		"BIDI":          "\u202e",          // turns the direction of writing
		"GORACE":        "halt_on_error=1", // see programs_test.go
	} {
		env.Setenv(name, value)
	}
	return nil
}

// condition is [root]: whether the test runs as root.
func condition(name string) (bool, error) {
	if name == "root" {
		return os.Geteuid() == 0, nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}
