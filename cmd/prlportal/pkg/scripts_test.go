package pkg

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"prlagent/cmd/prlportal/pkg/pkgtest"
	"prlagent/launchd"
)

// shells are those that the scripts are for: the sh of macOS is bash, or dash.
var shells = [][]string{{"dash"}, {"bash", "--posix"}, {"busybox", "sh"}}

// eachShell runs a test in every shell that this machine has.
func eachShell(t *testing.T, test func(t *testing.T, shell []string)) {
	t.Helper()
	there := slices.DeleteFunc(slices.Clone(shells), func(shell []string) bool {
		_, err := exec.LookPath(shell[0])
		return err != nil
	})
	if len(there) == 0 {
		there = [][]string{{"sh"}}
	}
	for _, shell := range there {
		t.Run(shell[0], func(t *testing.T) {
			t.Parallel()
			test(t, shell)
		})
	}
}

// sampleScripts are those of the sample package.
func sampleScripts(allowDowngrade bool) scripts {
	return renderScripts(pkgtest.Version, allowDowngrade, payload(pkgtest.Version, nil, nil))
}

func (s scripts) byName() map[string][]byte {
	return map[string][]byte{"preinstall": s.preinstall, "postinstall": s.postinstall, "uninstall.sh": s.uninstall}
}

func TestScriptsAreTheGoldenFiles(t *testing.T) {
	t.Parallel()
	for name, script := range sampleScripts(false).byName() {
		expectGolden(t, name, script)
		if left := strings.Count(string(script), "@"); left != strings.Count(string(script), `"$@"`) {
			t.Errorf("%s has a name that was not put in", name)
		}
		if strings.Contains(string(script), "$3/") || strings.Contains(string(script), "${3}/") {
			t.Errorf("%s puts a path behind a volume that ends in a slash", name)
		}
	}
	found, err := readOdc(unpacked(t)[component+"/Scripts"])
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"040755 0:0 .", "100755 0:0 ./postinstall", "100755 0:0 ./preinstall"} {
		if found[i].String() != want || i > 0 && !bytes.Equal(found[i].data, sampleScripts(false).byName()[want[13:]]) {
			t.Errorf("the package has %v, want %s", found[i], want)
		}
	}
}

func TestScriptsAreReadByEveryShell(t *testing.T) {
	t.Parallel()
	eachShell(t, func(t *testing.T, shell []string) {
		for name, script := range sampleScripts(true).byName() {
			if out, err := shellCommand(t, shell, script, "-n").CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%s: %v: %s", name, err, out)
			}
		}
	})
	t.Run("shellcheck", func(t *testing.T) {
		t.Parallel()
		if _, err := exec.LookPath("shellcheck"); err != nil {
			t.Skip("no shellcheck")
		}
		for name, script := range sampleScripts(true).byName() {
			file := filepath.Join(t.TempDir(), "script")
			writeFile(t, file, script)
			if out, err := exec.CommandContext(t.Context(), "shellcheck", "-s", "sh", file).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", name, err, out)
			}
		}
	})
}

func shellCommand(t *testing.T, shell []string, script []byte, flags ...string) *exec.Cmd {
	t.Helper()
	file := filepath.Join(t.TempDir(), "script")
	writeFile(t, file, script)
	return exec.CommandContext(t.Context(), shell[0], append(append(shell[1:len(shell):len(shell)], flags...), file)...)
}

// mac is a folder that stands for a volume.
type mac struct {
	t      *testing.T
	volume string
	shell  []string
	// isRunning stands for the volume that the Mac runs from: installer calls it "/".
	isRunning bool
}

func newMac(t *testing.T, shell []string) mac {
	t.Helper()
	m := mac{t: t, volume: filepath.Join(t.TempDir(), "a volume"), shell: shell}
	if err := os.MkdirAll(m.path("/usr"), 0o755); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m mac) path(name string) string { return filepath.Join(m.volume, name) }

func (m mac) write(name, text string) {
	m.t.Helper()
	syscall.ForkLock.RLock() // a process that starts meanwhile would keep a program from running
	defer syscall.ForkLock.RUnlock()
	writeFile(m.t, m.path(name), []byte(text))
}

// withAgent has a daemon that writes down what it is told, and refuses what is to be
// refused.
func (m mac) withAgent(refuses string) mac {
	m.t.Helper()
	for _, folder := range []string{logFolder, programFolder} {
		if err := os.MkdirAll(m.path(folder), 0o755); err != nil {
			m.t.Fatal(err)
		}
	}
	m.write(cliFile, "#!/bin/sh\n")
	m.write(daemonFile, "#!/bin/sh\necho \"$@\" >>'"+m.path("told")+"'\ncat '"+m.path("status")+"' 2>/dev/null\n[ \"$1\" != '"+refuses+"' ]\n")
	return m
}

func (m mac) told() string {
	said, err := os.ReadFile(m.path("told"))
	if err != nil {
		return ""
	}
	return strings.ReplaceAll(string(said), "\n", ";")
}

// run runs a script as installer does. On the volume that the Mac runs from, the
// script's paths are those below the folder.
func (m mac) run(script []byte, args ...string) (out string, code int) {
	m.t.Helper()
	given := m.volume
	if m.isRunning {
		given = "/"
		script = m.replaced(script, "root=${volume%/}", "root='"+m.volume+"'")
	}
	if args == nil {
		args = []string{"/tmp/prlagent.pkg", given, given, "/"}
	}
	command := shellCommand(m.t, m.shell, script)
	command.Args = append(command.Args, args...)
	said, err := command.CombinedOutput()
	if err != nil && command.ProcessState == nil {
		m.t.Fatal(err)
	}
	return string(said), command.ProcessState.ExitCode()
}

// replaced is a script with another line in one place.
func (m mac) replaced(script []byte, old, line string) []byte {
	m.t.Helper()
	if bytes.Count(script, []byte(old+"\n")) != 1 {
		m.t.Fatalf("the script has not one line %q", old)
	}
	return bytes.Replace(script, []byte(old+"\n"), []byte(line+"\n"), 1)
}

// Which packages may be installed over what is there.
func TestPreinstallRefusesADowngrade(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		release  string // "-" for none
		noDaemon bool
		refused  string // part of the reason; empty: it is installed
	}{
		"nothing there":                     {release: "-", noDaemon: true},
		"installed by hand":                 {release: "-"},
		"the same":                          {release: "version=1.2.3\nstore_format=1\n"},
		"an older one":                      {release: "version=1.2.2\nstore_format=1\n"},
		"a much older one":                  {release: "version=1.1.999\nstore_format=1\n"},
		"older by number, newer by letters": {release: "version=1.2.03\nstore_format=0\n"},
		"shorter, the same":                 {release: "version=1.2.3.0\nstore_format=1\n"},
		"a newer one":                       {release: "version=1.2.4\nstore_format=1\n", refused: "version 1.2.4 is installed"},
		"newer by number, older by letters": {release: "version=1.10\nstore_format=1\n", refused: "version 1.10 is installed"},
		"newer by one more number":          {release: "version=1.2.3.1\nstore_format=1\n", refused: "version 1.2.3.1 is installed"},
		"a newer format":                    {release: "version=1.2.3\nstore_format=2\n", refused: "format 2"},
		"uninstalled, the state is newer":   {release: "version=1.3.0\nstore_format=2\n", noDaemon: true, refused: "format 2"},
		"uninstalled, the state is ours":    {release: "version=1.3.0\nstore_format=1\n", noDaemon: true},
		"a release of others":               {release: "version=$(touch told)\nstore_format=`touch told`\n"},
		"a number without end":              {release: "version=99999999999999999999.1\nstore_format=99999999999999999999\n"},
		"more than a version":               {release: "version=9.9.9; touch told\nstore_format=9 -o 1\n"},
		"two versions":                      {release: "version=1.2.4\nversion=1.0.0\nstore_format=1\n", refused: "version 1.2.4 is installed"},
	}
	eachShell(t, func(t *testing.T, shell []string) {
		for name, test := range cases {
			m := newMac(t, shell)
			m.write(stateFolder+"/node.json", "{}")
			if !test.noDaemon {
				m = m.withAgent("")
			}
			if test.release != "-" {
				m.write(releaseFile, test.release)
			}
			out, code := m.run(sampleScripts(false).preinstall)
			if (code == 0) != (test.refused == "") || !strings.Contains(out, test.refused) || test.refused == "" && out != "" {
				t.Errorf("%s: exit code %d, %s", name, code, out)
			}
			if test.refused != "" && !strings.Contains(out, "--allow-downgrade-to 1.2.3") {
				t.Errorf("%s: no way on is named: %s", name, out)
			}
			if m.told() != "" {
				t.Errorf("%s: the agent was told %s", name, m.told())
			}
		}
	})
}

// A downgrade that is allowed keeps a copy of the state, taken while nobody writes it.
func TestPreinstallCopiesTheStateBeforeADowngrade(t *testing.T) {
	t.Parallel()
	eachShell(t, func(t *testing.T, shell []string) {
		for name, test := range map[string]struct {
			isRunning bool
			refuses   string
			told      string
			code      int
		}{
			"the volume that the Mac runs from": {isRunning: true, told: "stop;start;"},
			"another volume":                    {},
			"the agent does not stop":           {isRunning: true, refuses: "stop", told: "stop;start;", code: 1},
		} {
			m := newMac(t, shell).withAgent(test.refuses)
			m.isRunning = test.isRunning
			m.write(releaseFile, "version=1.3.0\nstore_format=2\n")
			m.write(stateFolder+"/node.json", "token")
			out, code := m.run(sampleScripts(true).preinstall)
			if code != test.code || m.told() != test.told {
				t.Errorf("%s: exit code %d, told %q: %s", name, code, m.told(), out)
			}
			copies, err := filepath.Glob(m.path(supportFolder) + "/state-of-1.3.0-*/node.json")
			if err != nil || len(copies) != 1-test.code {
				t.Errorf("%s: copies %v, %v", name, copies, err)
			}
			permission, _ := os.ReadFile(m.path(permissionFile)) // none: empty
			if want := map[int]string{0: pkgtest.Version + "\n"}[test.code]; string(permission) != want {
				t.Errorf("%s: the permission is for %q", name, permission)
			}
			if kept, err := os.ReadFile(m.path(stateFolder + "/node.json")); err != nil || string(kept) != "token" {
				t.Errorf("%s: the state is %q, %v", name, kept, err)
			}
		}
	})
}

// An installer that is ended while the agent is stopped leaves it running, with its
// state as it is.
func TestPreinstallThatIsEnded(t *testing.T) {
	t.Parallel()
	eachShell(t, func(t *testing.T, shell []string) {
		m := newMac(t, shell)
		m.isRunning = true
		m.write(daemonFile, "#!/bin/sh\necho \"$@\" >>'"+m.path("told")+"'\n[ \"$1\" != stop ] || kill \"$PPID\"\n")
		m.write(releaseFile, "version=1.3.0\nstore_format=2\n")
		m.write(stateFolder+"/node.json", "token")
		out, code := m.run(sampleScripts(true).preinstall)
		left, _ := filepath.Glob(m.path(supportFolder) + "/state-of-*")
		if code == 0 || m.told() != "stop;start;" || len(left) > 0 || m.exists(permissionFile) {
			t.Errorf("exit code %d, told %q, left %v: %s", code, m.told(), left, out)
		}
	})
}

// What an earlier one has left half made goes, and what it has kept stays.
func TestPreinstallAfterOneThatWasCutOff(t *testing.T) {
	t.Parallel()
	eachShell(t, func(t *testing.T, shell []string) {
		m := newMac(t, shell).withAgent("")
		m.isRunning = true
		m.write(releaseFile, "version=1.3.0\nstore_format=1\n")
		for _, name := range []string{"state", "state-of-1.4.0-20260101T000000Z", "state-of-1.4.0-20260102T000000Z.partial"} {
			m.write(supportFolder+"/"+name+"/node.json", "token")
		}
		out, code := m.run(sampleScripts(true).preinstall)
		left, _ := filepath.Glob(m.path(supportFolder) + "/state-of-*/node.json")
		if code != 0 || len(left) != 2 || m.exists(supportFolder+"/state-of-1.4.0-20260102T000000Z.partial") {
			t.Errorf("exit code %d, left %v: %s", code, left, out)
		}
	})
}

// A state that cannot be copied stays, and the agent runs again.
func TestPreinstallWithoutSpaceForACopy(t *testing.T) {
	t.Parallel()
	eachShell(t, func(t *testing.T, shell []string) {
		m := newMac(t, shell).withAgent("")
		m.isRunning = true
		m.write(releaseFile, "version=1.3.0\nstore_format=1\n")
		m.write(stateFolder+"/node.json", "token")
		full := bytes.Replace(sampleScripts(true).preinstall, []byte("&& mv "), []byte("&& false "), 1) // what was copied is removed
		out, code := m.run(full)
		left, _ := filepath.Glob(m.path(supportFolder) + "/state-of-*")
		if code != 1 || m.told() != "stop;start;" || len(left) != 0 || !strings.Contains(out, "cannot be copied") {
			t.Errorf("exit code %d, told %q, left %v: %s", code, m.told(), left, out)
		}
	})
}

// installer would follow a link in place of a folder of ours.
func TestPreinstallRefusesLinksInPlaceOfFolders(t *testing.T) {
	t.Parallel()
	eachShell(t, func(t *testing.T, shell []string) {
		for _, folder := range []string{supportFolder, programFolder, logFolder, stateFolder} {
			m := newMac(t, shell)
			m.write(filepath.Dir(folder)+"/x", "")
			if err := os.Symlink("/tmp", m.path(folder)); err != nil {
				t.Fatal(err)
			}
			if out, code := m.run(sampleScripts(true).preinstall); code != 1 || !strings.Contains(out, folder+" is a link") {
				t.Errorf("%s: exit code %d: %s", folder, code, out)
			}
		}
	})
}

func TestPostinstallMakesTheLinkAndStartsTheAgent(t *testing.T) {
	t.Parallel()
	eachShell(t, func(t *testing.T, shell []string) {
		for name, test := range map[string]struct {
			prepare func(m mac) error
			link    string // afterwards
			said    string
		}{
			"nothing there": {link: cliFile},
			"ours":          {prepare: func(m mac) error { return os.Symlink(cliFile, m.path(cliLink)) }, link: cliFile},
			"a link of others": {prepare: func(m mac) error { return os.Symlink("/opt/else", m.path(cliLink)) }, link: "/opt/else",
				said: "is not ours"},
			"a file of others": {prepare: func(m mac) error { return os.WriteFile(m.path(cliLink), nil, 0o755) }, said: "is not ours"},
			"the folder above is a link": {prepare: func(m mac) error {
				folder := filepath.Dir(filepath.Dir(m.path(cliLink)))
				if err := os.RemoveAll(folder); err != nil {
					return err
				}
				return os.Symlink(t.TempDir(), folder)
			}, said: "a link leads there, and none is made through it"},
			"the folder is a link": {prepare: func(m mac) error {
				folder := filepath.Dir(m.path(cliLink))
				if err := os.Remove(folder); err != nil {
					return err
				}
				return os.Symlink(t.TempDir(), folder)
			}, said: "a link leads there, and none is made through it"},
		} {
			m := newMac(t, shell).withAgent("")
			m.isRunning = true
			if test.prepare != nil {
				m.write(filepath.Dir(cliLink)+"/x", "")
				if err := os.Remove(m.path(filepath.Dir(cliLink) + "/x")); err != nil {
					t.Fatal(err)
				}
				if err := test.prepare(m); err != nil {
					t.Fatal(err)
				}
			}
			out, code := m.run(sampleScripts(false).postinstall)
			link, _ := os.Readlink(m.path(cliLink)) // none: empty
			if code != 0 || link != test.link || m.told() != "status --json;install;" || !strings.Contains(out, test.said) || test.said == "" && out != "" {
				t.Errorf("%s: exit code %d, link %q, told %q: %s", name, code, link, m.told(), out)
			}
			if m.exists(madeLinks) != (test.prepare == nil) {
				t.Errorf("%s: the folder of the link was made: %v", name, m.exists(madeLinks))
			}
		}
	})
}

func TestPostinstallElsewhereAndWithoutSuccess(t *testing.T) {
	t.Parallel()
	eachShell(t, func(t *testing.T, shell []string) {
		other := newMac(t, shell).withAgent("")
		out, code := other.run(sampleScripts(false).postinstall)
		if link, _ := os.Readlink(other.path(cliLink)); code != 0 || other.told() != "" || link != cliFile || !strings.Contains(out, "is not started") {
			t.Errorf("another volume: exit code %d, told %q, link %q: %s", code, other.told(), link, out)
		}
		for _, refused := range []string{"install", "restart"} {
			failing := newMac(t, shell).withAgent(refused)
			failing.isRunning = true
			failing.write("status", `"running": true`)
			if out, code := failing.run(sampleScripts(false).postinstall); code != 1 || !strings.Contains(out, "does not run as it should") {
				t.Errorf("%s: exit code %d: %s", refused, code, out)
			}
		}
	})
}

// An agent that runs is replaced by the new one, whatever it says besides.
func TestPostinstallReplacesAnAgentThatRuns(t *testing.T) {
	t.Parallel()
	eachShell(t, func(t *testing.T, shell []string) {
		for said, told := range map[string]string{
			"{\n  \"disabled\": true,\n  \"running\": true,\n  \"pid\": 7\n}\n": "status --json;install;restart;",
			"{\n  \"loaded\": true,\n  \"running\": false\n}\n":                 "status --json;install;",
		} {
			m := newMac(t, shell).withAgent("status") // which ends with 1 for one that is disabled
			m.isRunning = true
			m.write("status", said)
			if out, code := m.run(sampleScripts(false).postinstall); code != 0 || m.told() != told {
				t.Errorf("exit code %d, told %q: %s", code, m.told(), out)
			}
		}
	})
}

// uninstallScript in a folder: its paths are below it, launchctl and pkgutil write down
// what they are told, and root is who runs the test.
func (m mac) uninstall(args ...string) (out string, code int) {
	m.t.Helper()
	for _, tool := range []string{"launchctl", "pkgutil"} {
		m.write("tools/"+tool, "#!/bin/sh\necho "+tool+" \"$@\" >>'"+m.path("told")+"'\n")
	}
	m.write("tools/id", "#!/bin/sh\necho 0\n")
	script := m.replaced(m.withTools(sampleScripts(false).uninstall), "root=", "root='"+m.volume+"'")
	return m.run(script, append([]string{}, args...)...)
}

// withTools is a script that finds the Mac's tools before this machine's.
func (m mac) withTools(script []byte) []byte {
	m.t.Helper()
	const searched = "PATH=/usr/bin:/bin:/usr/sbin:/sbin"
	script = bytes.ReplaceAll(script, []byte("$(/bin/pwd"), []byte("$(env pwd"))
	return m.replaced(script, searched, strings.Replace(searched, "=", "='"+m.path("tools")+"':", 1))
}

func (m mac) exists(name string) bool {
	_, err := os.Lstat(m.path(name))
	return err == nil
}

// The uninstallation is the daemon's, which refuses while it holds or has locked
// something, unless it releases that first; the script removes what is left.
func TestH29H47UninstallScript(t *testing.T) {
	t.Parallel()
	eachShell(t, func(t *testing.T, shell []string) {
		for name, test := range map[string]struct {
			args    []string
			refuses string
			gone    bool // the daemon's program
			told    string
			code    int
			keeps   bool // the agent
			purged  bool
			made    bool // the folder of the link, which has nothing else
		}{
			"keeps the state":      {told: "uninstall;pkgutil --pkg-info ID;pkgutil --forget ID;"},
			"purges":               {args: []string{"--purge"}, told: "uninstall --purge;pkgutil --pkg-info ID;pkgutil --forget ID;", purged: true},
			"releases":             {args: []string{"--release", "--purge"}, told: "uninstall --purge --release;pkgutil --pkg-info ID;pkgutil --forget ID;", purged: true},
			"refused":              {args: []string{"--purge"}, refuses: "uninstall", told: "uninstall --purge;", code: 1, keeps: true},
			"the program is gone":  {gone: true, code: 1, keeps: true},
			"the folder was made":  {made: true, told: "uninstall;pkgutil --pkg-info ID;pkgutil --forget ID;"},
			"what is left, forced": {args: []string{"--force"}, gone: true, told: "launchctl bootout system/ID;pkgutil --pkg-info ID;pkgutil --forget ID;"},
			"wrong usage":          {args: []string{"--purge all"}, code: 2, keeps: true},
			"by Jamf":              {args: []string{"/", "--purge", "alice", "", "", ""}, told: "uninstall;pkgutil --pkg-info ID;pkgutil --forget ID;"},
			"by Jamf, with words": {args: []string{"/", "a Mac", "", "--release", "", "--purge", "", ""},
				told: "uninstall --purge --release;pkgutil --pkg-info ID;pkgutil --forget ID;", purged: true},
			"by Jamf, wrong usage": {args: []string{"/", "a Mac", "alice", "purge"}, code: 2, keeps: true},
		} {
			m := newMac(t, shell)
			if !test.gone {
				m = m.withAgent(test.refuses)
			}
			for _, file := range append([]string{cliFile, launchd.PlistPath, stateFolder + "/node.json", releaseFile, cliLink + ".other", socketFile}, runtimeFiles...) {
				m.write(file, "x")
			}
			if err := os.Symlink(cliFile, m.path(cliLink)); err != nil {
				t.Fatal(err)
			}
			if test.made {
				m.write(madeLinks, "")
				if err := os.Remove(m.path(cliLink + ".other")); err != nil {
					t.Fatal(err)
				}
			}
			out, code := m.uninstall(test.args...)
			if told := strings.ReplaceAll(m.told(), Identifier, "ID"); code != test.code || told != test.told {
				t.Errorf("%s: exit code %d, told %q: %s", name, code, told, out)
			}
			if m.exists(cliFile) != test.keeps || m.exists(launchd.PlistPath) != test.keeps {
				t.Errorf("%s: the agent is there: %v", name, m.exists(cliFile))
			}
			if !test.keeps && m.exists(programFolder) || m.exists(stateFolder+"/node.json") == test.purged || m.exists(supportFolder) == test.purged {
				t.Errorf("%s: the state is there: %v", name, m.exists(stateFolder))
			}
			for _, file := range append([]string{socketFile}, runtimeFiles...) {
				if m.exists(file) != test.keeps {
					t.Errorf("%s: %s is there: %v", name, file, m.exists(file))
				}
			}
			if m.exists(madeLinks) || m.exists(filepath.Dir(cliLink)) == test.made {
				t.Errorf("%s: the folder of the link is there: %v", name, m.exists(filepath.Dir(cliLink)))
			}
			if m.exists(cliLink) != test.keeps || m.exists(cliLink+".other") == test.made {
				t.Errorf("%s: the link is there: %v, a file of others: %v", name, m.exists(cliLink), m.exists(cliLink+".other"))
			}
		}
	})
}
