package pkg

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"prlagent/launchd"
)

// Root runs no program that others can change, or exchange with a folder above it, and
// says how it is root's again. It is removed all the same, if it is to be removed by force.
func TestH53_ScriptsRunNothingOfOthers(t *testing.T) {
	t.Parallel()
	open := func(name string, mode os.FileMode) func(m mac) error {
		return func(m mac) error { return os.Chmod(m.path(name), mode) }
	}
	attacks := map[string]func(m mac) error{
		"others write the program":         open(daemonFile, 0o777),
		"a group writes it":                open(daemonFile, 0o775),
		"others exchange it":               open(programFolder, 0o777),
		"others exchange its place":        open(supportFolder, 0o775),
		"others exchange our folder":       open(filepath.Dir(supportFolder), 0o777),
		"a group exchanges the library":    open("/Library", 0o775),
		"others exchange all but programs": open("/Library", 0o757),
		"a link": func(m mac) error {
			return errors.Join(os.Rename(m.path(daemonFile), m.path("theirs")), os.Symlink(m.path("theirs"), m.path(daemonFile)))
		},
	}
	if os.Geteuid() == 0 {
		for _, place := range []string{daemonFile, programFolder, supportFolder, filepath.Dir(supportFolder), "/Library"} {
			attacks["another's "+place] = func(m mac) error { return os.Chown(m.path(place), 12345, 12345) }
		}
	}
	eachShell(t, func(t *testing.T, shell []string) {
		for name, attack := range attacks {
			attacked := func() mac {
				m := newMac(t, shell).withAgent("")
				m.isRunning = true
				m.write(cliFile, "x")
				m.write(releaseFile, "version=1.3.0\nstore_format=1\n")
				m.write(stateFolder+"/node.json", "token")
				if err := attack(m); err != nil {
					t.Fatal(err)
				}
				return m
			}
			m := attacked()
			out, code := m.run(sampleScripts(true).preinstall)
			if copies, _ := filepath.Glob(m.path(supportFolder) + "/state-of-*"); code != 1 || m.told() != "" || len(copies) > 0 || m.exists(permissionFile) {
				t.Errorf("%s: preinstall: exit code %d, told %q, copies %v", name, code, m.told(), copies)
			}
			if !hasRemedy(out, name) || !strings.Contains(out, "Install version 1.3.0 again") && !strings.Contains(out, "where others can exchange it") {
				t.Errorf("%s: preinstall says %s", name, out)
			}
			m = attacked()
			m.isRunning = false // uninstall gives it its paths
			for _, forced := range []bool{false, true} {
				args := []string{"--purge"}
				if forced {
					args = append(args, "--force")
				}
				out, code := m.uninstall(args...)
				if (code == 0) != forced || strings.Contains(m.told(), "uninstall") || m.exists(stateFolder) == forced || m.exists(supportFolder) == forced {
					t.Errorf("%s: uninstall %v: exit code %d, told %q: %s", name, args, code, m.told(), out)
				}
				if !forced && (!hasRemedy(out, name) || !strings.Contains(out, "Install the package again") || !strings.Contains(out, "--force")) {
					t.Errorf("%s: uninstall says %s", name, out)
				}
			}
		}
	})
}

// hasRemedy reports whether a script says what is others' and what to do.
func hasRemedy(said, attack string) bool {
	if attack == "a link" {
		return strings.Contains(said, "prlagentd is a link")
	}
	return strings.Contains(said, "others than root can change") && strings.Contains(said, "sudo chown root '") && strings.Contains(said, "'; sudo chmod go-w '")
}

// postinstall takes the right to write from folders of ours, and then looks.
func TestH53_PostinstallTakesTheFoldersThatAreOurs(t *testing.T) {
	t.Parallel()
	open := func(name string, mode os.FileMode) func(m mac) error {
		return func(m mac) error { return os.Chmod(m.path(name), mode) }
	}
	eachShell(t, func(t *testing.T, shell []string) {
		for name, attack := range map[string]func(m mac) error{
			"others write the program":       open(daemonFile, 0o777),
			"others write the other program": open(cliFile, 0o777),
			"others exchange our folder":     open(filepath.Dir(supportFolder), 0o777),
			"a group exchanges the library":  open("/Library", 0o775),
			"a link": func(m mac) error {
				return errors.Join(os.Rename(m.path(daemonFile), m.path("theirs")), os.Symlink(m.path("theirs"), m.path(daemonFile)))
			},
		} {
			m := newMac(t, shell).withAgent("")
			m.isRunning = true
			m.write(cliFile, "x")
			if err := errors.Join(os.Chmod(m.path(supportFolder), 0o750), attack(m)); err != nil {
				t.Fatal(err)
			}
			if out, code := m.run(sampleScripts(false).postinstall); code != 1 || m.told() != "" || !hasRemedy(out, name) || m.exists(cliLink) {
				t.Errorf("%s: postinstall: exit code %d, told %q: %s", name, code, m.told(), out)
			}
			if info, err := os.Stat(m.path(supportFolder)); err != nil || strings.Contains(name, "exchange") && info.Mode().Perm() != 0o750 {
				t.Errorf("%s: root has changed what others can exchange: %v, %v", name, info, err)
			}
		}
	})
}

// What others have left at the place of the program is not run, nor taken for one that has
// released everything, and goes by force.
func TestH53_WhatWasLeftInPlaceOfTheProgram(t *testing.T) {
	t.Parallel()
	eachShell(t, func(t *testing.T, shell []string) {
		for name, put := range map[string]func(path string) error{
			"a folder":   func(path string) error { return os.MkdirAll(path+"/x", 0o755) },
			"a pipe":     func(path string) error { return syscall.Mkfifo(path, 0o700) },
			"no content": func(path string) error { return os.WriteFile(path, nil, 0o755) },
		} {
			m := newMac(t, shell).withAgent("")
			m.write(stateFolder+"/node.json", "token")
			if err := errors.Join(os.Remove(m.path(daemonFile)), put(m.path(daemonFile))); err != nil {
				t.Fatal(err)
			}
			if out, code := m.uninstall(); code != 1 || !strings.Contains(out, "prlagentd cannot be run") || !m.exists(stateFolder) || m.told() != "" {
				t.Errorf("%s: exit code %d, told %q: %s", name, code, m.told(), out)
			}
			if out, code := m.uninstall("--force"); code != 0 || m.exists(programFolder) || !m.exists(stateFolder) {
				t.Errorf("%s, by force: exit code %d: %s", name, code, out)
			}
		}
	})
}

// A file in place of a folder may be a hard link to one of another: its owner and mode stay,
// and nothing is installed over it.
func TestH53_AHardLinkInPlaceOfAFolder(t *testing.T) {
	t.Parallel()
	eachShell(t, func(t *testing.T, shell []string) {
		m := newMac(t, shell).withAgent("")
		m.isRunning = true
		m.write("precious", "precious")
		if err := errors.Join(os.Chmod(m.path("precious"), 0o600), os.Remove(m.path(logFolder)), os.Link(m.path("precious"), m.path(logFolder))); err != nil {
			t.Fatal(err)
		}
		out, code := m.run(sampleScripts(false).preinstall)
		if code != 1 || !strings.Contains(out, "logs is no folder. Remove it first") {
			t.Errorf("preinstall: exit code %d: %s", code, out)
		}
		m.write("tools/id", "#!/bin/sh\necho 0\n")
		m.write("tools/chown", "#!/bin/sh\n")
		out, _ = m.run(m.withTools(sampleScripts(false).postinstall))
		if info, err := os.Stat(m.path("precious")); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("postinstall: %v, %v: %s", info, err, out)
		}
	})
}

// Nothing is installed below a folder that others can change: an agent that runs would
// start what is put there.
func TestH53_NothingIsInstalledWhereOthersExchangeIt(t *testing.T) {
	t.Parallel()
	eachShell(t, func(t *testing.T, shell []string) {
		for _, place := range []string{"/Library", filepath.Dir(supportFolder)} {
			m := newMac(t, shell).withAgent("")
			if err := os.Chmod(m.path(place), 0o775); err != nil {
				t.Fatal(err)
			}
			if out, code := m.run(sampleScripts(false).preinstall); code != 1 || !hasRemedy(out, place) {
				t.Errorf("%s: exit code %d: %s", place, code, out)
			}
		}
		if out, code := newMac(t, shell).run(sampleScripts(false).preinstall); code != 0 || out != "" {
			t.Errorf("a volume without a library: exit code %d: %s", code, out)
		}
	})
}

// What others have left where they could is not written through, once it is root's.
func TestH53_ScriptsWriteThroughNoLinkThatWasLeft(t *testing.T) {
	t.Parallel()
	eachShell(t, func(t *testing.T, shell []string) {
		m := newMac(t, shell).withAgent("")
		m.isRunning = true
		m.write(releaseFile, "version=1.3.0\nstore_format=1\n")
		m.write(stateFolder+"/node.json", "token")
		m.write("precious", "precious")
		for _, name := range []string{madeLinks, permissionFile} {
			if err := os.Symlink(m.path("precious"), m.path(name)); err != nil {
				t.Fatal(err)
			}
		}
		for name, script := range map[string][]byte{"preinstall": sampleScripts(true).preinstall, "postinstall": sampleScripts(false).postinstall} {
			out, code := m.run(script)
			if text, err := os.ReadFile(m.path("precious")); code != 0 || err != nil || string(text) != "precious" {
				t.Errorf("%s: exit code %d, %q, %v: %s", name, code, text, err, out)
			}
		}
	})
}

// exchange is one who owns a folder on the way, and puts a link in its place.
type exchange struct {
	folder string
	script string   // what runs meanwhile
	tools  []string // of it: before one of them it happens
	args   []string // of uninstall
	fresh  bool     // there is no /usr/local/bin yet
	opened string   // a folder that others own, which the scripts notice

	everyShell bool
}

// Whoever may exchange a folder on the way to the link, or to what is removed, does it at
// any moment: nothing is made and nothing removed where their link leads.
func TestH53_AFolderThatIsExchangedAtAnyMoment(t *testing.T) {
	t.Parallel()
	support := filepath.Dir(supportFolder)
	making, removing, force := []string{"pwd", "mkdir", "ln"}, []string{"pwd", "readlink", "rmdir"}, []string{"rm", "rmdir"}
	cases := map[string]exchange{
		"the link is made":                {folder: "/usr/local/bin", script: "postinstall", tools: making, everyShell: true},
		"the link is made, above":         {folder: "/usr/local", script: "postinstall", tools: making},
		"its folder is made":              {folder: "/usr/local", script: "postinstall", tools: making, fresh: true},
		"the link is removed":             {folder: "/usr/local/bin", script: "uninstall", tools: removing},
		"its folder is removed":           {folder: "/usr/local", script: "uninstall", tools: removing},
		"the rest is removed by force":    {folder: support, script: "uninstall", tools: force, args: []string{"--purge", "--force"}, opened: support, everyShell: true},
		"the rest is removed, from above": {folder: "/Library", script: "uninstall", tools: force, args: []string{"--purge", "--force"}, opened: "/Library"},
		"the programs are removed":        {folder: programFolder, script: "uninstall", tools: force, args: []string{"--force"}, opened: supportFolder},
	}
	eachShell(t, func(t *testing.T, shell []string) {
		for name, test := range cases {
			if shell[0] != "bash" && !test.everyShell {
				continue // each run is a hundred processes
			}
			moments := momentsOf(newMac(t, shell).withAgent("").callsOf(test))
			if len(moments) < 2 {
				t.Errorf("%s: only %v were called", name, moments)
			}
			for _, at := range moments {
				m := newMac(t, shell).withAgent("")
				victims := m.withVictims(test)
				before := listing(t, victims)
				out, _ := m.exchangeAt(test, victims, at)
				if !m.exists(test.folder+".theirs") && m.exists(test.folder) { // gone by then: it was empty, and ours
					t.Errorf("%s, before %v: nothing was exchanged: %s", name, at, out)
				}
				if after := listing(t, victims); !slices.Equal(before, after) {
					t.Errorf("%s, before %v: it was\n%q, and is\n%q: %s", name, at, before, after, out)
				}
			}
		}
	})
}

// moment is before a call of a tool, of which there are more.
type moment struct {
	tool string
	call int // from 1
}

// momentsOf are the first and the last call of each tool: what is exchanged before the first
// is so for all that follows, and before the last one it is so for that alone.
func momentsOf(called []string) (moments []moment) {
	calls := map[string]int{}
	for _, tool := range called {
		if calls[tool]++; calls[tool] == 1 {
			moments = append(moments, moment{tool, 1})
		}
	}
	for tool, last := range calls {
		if last > 1 {
			moments = append(moments, moment{tool, last})
		}
	}
	return moments
}

// withVictims prepares the Mac, and a folder that has what the scripts would remove.
func (m mac) withVictims(test exchange) (victims string) {
	m.t.Helper()
	for _, name := range []string{cliFile, stateFolder + "/x", launchd.PlistPath, madeLinks} {
		m.write(name, "x")
	}
	victims = m.path("victims")
	below := strings.TrimPrefix(supportFolder, test.folder)
	places := []string{victims + "/bin", filepath.Join(victims, below, "bin"), filepath.Join(victims, below, "state"), victims + "/LaunchDaemons"}
	if !test.fresh {
		places = append(places, m.path("/usr/local/bin"))
	} else {
		places = append(places[1:], m.path("/usr/local"))
	}
	var failed error
	for _, place := range places {
		failed = errors.Join(failed, os.MkdirAll(place, 0o755))
	}
	for _, file := range []string{filepath.Join(victims, below, "bin/prlagentd"), filepath.Join(victims, "prlagentd"), victims + "/LaunchDaemons/" + filepath.Base(launchd.PlistPath)} {
		failed = errors.Join(failed, os.WriteFile(file, []byte("precious"), 0o600))
	}
	if test.script == "uninstall" {
		failed = errors.Join(failed, os.Symlink(cliFile, m.path(cliLink)))
	}
	if test.folder == filepath.Dir(cliLink) && test.script == "uninstall" {
		failed = errors.Join(failed, os.Symlink(cliFile, victims+"/prlagent"))
	}
	if test.opened != "" {
		failed = errors.Join(failed, os.Chmod(m.path(test.opened), 0o777))
	}
	if failed != nil {
		m.t.Fatal(failed)
	}
	return victims
}

// callsOf are the tools that the script calls if nobody exchanges anything.
func (m mac) callsOf(test exchange) []string {
	m.t.Helper()
	_, called := m.exchangeAt(test, m.withVictims(test), moment{})
	return called
}

// exchangeAt runs the script; at that moment the folder is exchanged. It gives the tools
// that were called.
func (m mac) exchangeAt(test exchange, victims string, at moment) (out string, called []string) {
	m.t.Helper()
	for _, tool := range test.tools {
		real, err := exec.LookPath(tool)
		if err != nil {
			m.t.Fatal(err)
		}
		call := 0
		if tool == at.tool {
			call = at.call
		}
		m.write("tools/"+tool, fmt.Sprintf("#!/bin/sh\necho %[1]s >>'%[2]s/called'\nn=0\n[ ! -e '%[2]s/%[1]s.calls' ] || read -r n <'%[2]s/%[1]s.calls'\n"+
			"n=$((n + 1))\necho $n >'%[2]s/%[1]s.calls'\n"+
			"if [ $n = %[3]d ]; then\n  /bin/mv '%[4]s' '%[4]s.theirs' && /bin/ln -s '%[5]s' '%[4]s'\nfi\nexec '%[6]s' \"$@\"\n",
			tool, m.volume, call, m.path(test.folder), victims, real))
	}
	if test.script == "postinstall" {
		m.isRunning = true
		out, _ = m.run(m.withTools(sampleScripts(false).postinstall))
	} else {
		out, _ = m.uninstall(test.args...)
	}
	said, _ := os.ReadFile(m.path("called")) // none: none was called
	return out, strings.Fields(string(said))
}

// listing is what is below a folder, with modes and what links lead to.
func listing(t *testing.T, folder string) (lines []string) {
	t.Helper()
	if err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		target, _ := os.Readlink(path)
		lines = append(lines, fmt.Sprint(strings.TrimPrefix(path, folder), info.Mode(), target))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return lines
}

// ln names the link after the program.
func TestTheLinkHasTheNameOfTheProgram(t *testing.T) {
	t.Parallel()
	if filepath.Base(cliLink) != filepath.Base(cliFile) {
		t.Errorf("%s and %s", cliLink, cliFile)
	}
}
