package replay

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"prlagent/cmd/prlsim/sim"
	"prlagent/cmd/prlsim/simtest"
)

// TestMain lets the test binary play prlsim and, by their names, the tools of its
// Macs. They end with syscall.Exit, because os.Exit waits a second in a program
// built with -race.
func TestMain(m *testing.M) {
	play := func() { syscall.Exit(sim.Main(Command)) }
	if !strings.HasSuffix(os.Args[0], ".test") {
		play()
	}
	// Where the tests are run by nohup, or in the background of a script, signals are ignored,
	// and a shell cannot change that. What is caught here is as by default in what is started.
	for _, one := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT} {
		if signal.Ignored(one) {
			signal.Notify(make(chan os.Signal, 1), one)
		}
	}
	if err := flag.Set("test.parallel", "6"); err != nil { // the script waits more than it computes; -parallel still wins
		panic(err)
	}
	testscript.Main(inMemory{m}, map[string]func(){"prlsim": play})
}

// inMemory runs the tests with their temporary folders in memory.
type inMemory struct{ *testing.M }

func (i inMemory) Run() int {
	defer simtest.UseMemory()()
	return i.M.Run()
}

// scriptPath is the script under test.
var scriptPath = filepath.Join("..", "..", "..", "launchd", "first-mac.sh")

// scriptLimit is for one run of the script; it is killed then.
const scriptLimit = 3 * time.Minute

// scriptRun is one run of first-mac.sh by a person.
type scriptRun struct {
	command *exec.Cmd
	answers io.WriteCloser
	said    *bufio.Reader
	heard   bytes.Buffer
	errors  bytes.Buffer
	archive string
	temp    string // where its temporary files are
}

// startScript starts the script on the Mac below root, as alice.
func startScript(t *testing.T, root string, arguments ...string) *scriptRun {
	t.Helper()
	return startScriptWith(t, "", root, arguments...)
}

// startScriptWith has folders before those of PATH.
func startScriptWith(t *testing.T, before, root string, arguments ...string) *scriptRun {
	t.Helper()
	return startScriptIn(t, []string{"sh"}, before, root, arguments...)
}

// startScriptIn runs the script in a shell.
func startScriptIn(t *testing.T, shell []string, before, root string, arguments ...string) *scriptRun {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), scriptLimit)
	t.Cleanup(cancel)
	s := &scriptRun{archive: filepath.Join(t.TempDir(), "answers.tar.gz"), temp: t.TempDir()}
	s.command = exec.CommandContext(ctx, shell[0], slices.Concat(shell[1:], []string{scriptPath, "--root", root, "--output", s.archive}, arguments)...)
	s.command.Env = []string{"PATH=" + before + os.Getenv("PATH"), "USER=alice", "HOME=/Users/alice", "TMPDIR=" + s.temp}
	s.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.command.Cancel = func() error { return syscall.Kill(-s.command.Process.Pid, syscall.SIGKILL) }
	s.command.Stderr = &s.errors
	var err error
	if s.answers, err = s.command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	output, err := s.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.said = bufio.NewReader(output)
	if err := s.command.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// expect reads what the script says up to a text.
func (s *scriptRun) expect(t *testing.T, text string) {
	t.Helper()
	var seen strings.Builder
	for !strings.HasSuffix(seen.String(), text) {
		c, err := s.said.ReadByte()
		if err != nil {
			t.Fatalf("it never said %q but\n%s%s%s", text, s.heard.String(), seen.String(), s.errors.String())
		}
		seen.WriteByte(c)
	}
	s.heard.WriteString(seen.String())
}

func (s *scriptRun) answer(t *testing.T, line string) {
	t.Helper()
	if _, err := io.WriteString(s.answers, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

// end waits for the script and returns its exit code. Nothing of it is left.
func (s *scriptRun) end(t *testing.T) int {
	t.Helper()
	rest, _ := io.ReadAll(s.said)
	s.heard.Write(rest)
	_ = s.command.Wait() // the code tells
	if left, _ := os.ReadDir(s.temp); len(left) > 0 {
		t.Errorf("left in the folder for temporary files: %v", left)
	}
	return s.command.ProcessState.ExitCode()
}

func (s *scriptRun) mustEnd(t *testing.T) capture {
	t.Helper()
	if code := s.end(t); code != 0 {
		t.Fatalf("the script ended with %d:\n%s%s", code, s.heard.String(), s.errors.String())
	}
	read, err := openArchive(s.archive)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// console runs prlsim on a Mac.
func console(t *testing.T, arguments ...string) string {
	t.Helper()
	output, err := exec.Command("prlsim", arguments...).CombinedOutput()
	if err != nil {
		t.Fatalf("prlsim %s: %v\n%s", strings.Join(arguments, " "), err, output)
	}
	return string(output)
}

// secrets are what must be nowhere in the archive of the Mac that makeMac makes.
var secrets = []string{"alice", "bob", "Greta", "Müller", "Geheimprojekt", "Skunkworks", "Skandal", "Ka'Tja", "NPQRST", "ABCDEF-", "vertraulich", "wkst"}

// makeMac makes a simulated Mac with names that are hard to replace.
func makeMac(t *testing.T) (root string, private []string) {
	t.Helper()
	root = filepath.Join(t.TempDir(), "mac")
	console(t, "mac", "create", root, "--empty", "--name", "Greta Müller's wkst-17")
	console(t, "product", "activate", "--mac", root, "--key", "ABCDEF-123456-GHJKLM-789ABC-NPQRST")
	for _, vm := range [][]string{
		{"--os", "win-11", "--state", "running", "--name", `Geheimprojekt "Ω" <1> & {}`},
		{"--os", "ubuntu", "--state", "suspended", "--name", `Ka'Tja \ [x {"a`, "--description", "streng vertraulich,\nweiter vertraulich"},
		{"--os", "macosx", "--name", "Skunkworks"},
		{"--os", "debian", "--name", "running", "--shared", "--never-started"},
		{"--os", "win-11", "--name", "Windows 11", "--encrypted"},
		{"--os", "win-11", "--name", "Skandal", "--state", "running", "--user", "bob"},
	} {
		console(t, append([]string{"vm", "create", "--mac", root, "--user", "alice"}, vm...)...)
	}
	var state struct {
		Serial    string `json:"serial_number"`
		UUID      string `json:"hardware_uuid"`
		Dispenser string `json:"dispatcher_id"`
		VMs       []struct {
			ID string `json:"id"`
		} `json:"vms"`
	}
	if err := json.Unmarshal([]byte(console(t, "mac", "show", "--mac", root, "--json")), &state); err != nil {
		t.Fatal(err)
	}
	if state.Serial == "" || state.UUID == "" || len(state.VMs) != 6 {
		t.Fatalf("not the state of a Mac: %+v", state)
	}
	private = append(private, secrets...)
	private = append(private, state.Serial, state.UUID, root)
	for _, vm := range state.VMs {
		private = append(private, vm.ID, strings.ReplaceAll(vm.ID, "-", ""))
	}
	return root, private
}

// The script on a simulated Mac, with a person who starts and suspends a machine;
// its archive holds no name, is understood by the client, and the simulator finds
// itself in it.
func TestScriptOnASimulatedMac(t *testing.T) {
	t.Parallel()
	root, private := makeMac(t)
	s := startScript(t, root)
	s.expect(t, "[q]uit: ")
	s.answer(t, "y")
	s.expect(t, "[q]uit: ")
	s.answer(t, "a")
	s.expect(t, "Press Return then: ")
	console(t, "vm", "start", "Skunkworks", "--mac", root)
	s.answer(t, "")
	s.expect(t, "Press Return then: ")
	console(t, "vm", "suspend", "Skunkworks", "--mac", root)
	s.answer(t, "")
	read := s.mustEnd(t)

	for name, content := range read.files {
		for _, secret := range private {
			if bytes.Contains(bytes.ToLower(content), []byte(strings.ToLower(secret))) {
				t.Errorf("%s holds %q:\n%s", name, secret, content)
			}
		}
	}
	if len(read.Withheld) > 0 || !read.Simulated || len(read.Skipped) > 0 {
		t.Errorf("withheld %v, skipped %v", read.Withheld, read.Skipped)
	}
	expectNoOwner(t, s.archive)
	expectSimulatorFindsItself(t, s.archive)
	if _, err := exec.LookPath("script"); err == nil {
		expectEvents(t, read)
	}
}

// expectNoOwner looks at what tar and gzip note by themselves.
func expectNoOwner(t *testing.T, archive string) {
	t.Helper()
	file, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unpacked, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	if unpacked.Name != "" || !unpacked.ModTime.IsZero() {
		t.Errorf("gzip notes %q of %s", unpacked.Name, unpacked.ModTime)
	}
	for files := tar.NewReader(unpacked); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Uname != "" || header.Gname != "" || len(header.PAXRecords) > 0 {
			t.Errorf("tar notes %q, %q and %v of %s", header.Uname, header.Gname, header.PAXRecords, header.Name)
		}
	}
}

// expectSimulatorFindsItself replays an archive of a simulated Mac, which is as
// the facts say.
func expectSimulatorFindsItself(t *testing.T, archive string) {
	t.Helper()
	output, err := exec.Command("prlsim", "replay", "--json", archive).Output()
	var told report
	if decodeErr := json.Unmarshal(output, &told); decodeErr != nil {
		t.Fatalf("%v\n%s", errors.Join(err, decodeErr), output)
	}
	parts := make(map[string]int)
	for _, f := range told.Findings {
		parts[f.Part]++
		if f.Verdict == verdictDiffers {
			t.Errorf("%+v", f)
		}
	}
	if parts[partClient] < 15 || parts[partFact] != len(facts) || parts[partSimulator] < 40 {
		t.Errorf("too few findings: %v", parts)
	}
	if err != nil || told.Differences != 0 {
		t.Errorf("%d differences, and it ended with %v", told.Differences, err)
	}
}

func expectEvents(t *testing.T, read capture) {
	t.Helper()
	var states []string
	for _, event := range readByClient(t.Context(), read).events {
		if event.State != "" {
			states = append(states, event.State)
		}
	}
	if got := strings.Join(states, " "); got != "starting running suspending suspended" {
		t.Errorf("events tell of %q", got)
	}
}

// fakeMac is a Mac with tools that are shell scripts, and notes their calls.
type fakeMac struct{ root, calls string }

// newFakeMac has one virtual machine, whose bundle has links in it. what the tools
// do beside answering comes first in each.
func newFakeMac(t *testing.T, before string) fakeMac {
	t.Helper()
	mac := fakeMac{root: filepath.Join(t.TempDir(), "mac"), calls: filepath.Join(t.TempDir(), "calls")}
	bin := filepath.Join(mac.root, "Applications/Parallels Desktop.app/Contents/MacOS")
	bundle := filepath.Join(mac.root, "Users/alice/Parallels/Tax.pvm")
	secret := filepath.Join(mac.root, "secret")
	list := `[{"ID": "1f4f7d2e-9d0a-4a6c-8e57-3a1d0c9b5e11", "Name": "Tax \u00e9\u0301 {}", "Description": "secret words
and more secret ones \"quoted secret\"", "State": "stopped",
"Home": "\/Users\/alice\/Parallels\/Tax.pvm\/", "Host Shared Folders": {"enabled": true, "secret share": {"path": "\/Volumes\/secret disk\/a b"}},
"Hardware": {"net0": {"mac": "AABBCCDDEEF1"}}, "Network": {"ipAddresses": [{"type": "ipv6", "ip": "fe80::aabb:1"}, {"ip": "10.211.55.77"}]},
"New key": "Parallels-1F 4F 7D 2E 9D 0A 4A 6C 8E 57 3A 1D 0C 9B 5E 11", "Other": "mail secret@example.org", "Nothing": "Some Secret Words"}]`
	tool := `#!/bin/sh
echo "${0##*/} $*" >>'` + mac.calls + `'
` + before + `
case "$*" in
  --version) echo "prlctl version 26.4.0 (57513)" ;;
  'list -a --json') echo '[{"uuid": "1F4F7D2E-9D0A-4A6C-8E57-3A1D0C9B5E11", "status": "stopped", "name": "Tax \u00e9\u0301 {}"}]' ;;
  status*) echo 'xTax é́ {}y' ;;
  list*-i*) cat '` + filepath.Join(mac.root, "list") + `' ;;
  *) echo "Unrecognized option: $1" >&2; exit 255 ;;
esac
`
	syscall.ForkLock.RLock() // a process that starts meanwhile would keep the tools from running
	defer syscall.ForkLock.RUnlock()
	err := errors.Join(os.MkdirAll(bin, 0o755), os.MkdirAll(bundle, 0o755),
		os.WriteFile(filepath.Join(bin, "prlctl"), []byte(tool), 0o755), os.WriteFile(filepath.Join(bin, "prlsrvctl"), []byte(tool), 0o755),
		os.WriteFile(filepath.Join(mac.root, "list"), []byte(list), 0o644), os.WriteFile(secret, []byte("secret file"), 0o644),
		os.Symlink(secret, filepath.Join(bundle, "config.pvs")),
		os.WriteFile(filepath.Join(bundle, "VmInfo.pvi"), []byte("<VmInfo><DeviceName>SECRET-PC</DeviceName><New>Some Secret\nwords of a secret</New><Key id=\"Secret X\">12</Key></VmInfo>\n"), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	return mac
}

// answerSteps answers each step by its name, no to those that are not named.
func (s *scriptRun) answerSteps(t *testing.T, wanted ...string) {
	t.Helper()
	for _, step := range []string{"versions", "help", "license", "lists", "bundles", "mac", "events", "package", "profiles", "privacy", "socket", "notification"} {
		s.expect(t, "\n"+step+" (about")
		s.expect(t, "[q]uit: ")
		reply := "n"
		for _, name := range wanted {
			if name == step {
				reply = "y"
			}
		}
		s.answer(t, reply)
	}
}

// Values of outputs and files whose keys nobody knows are replaced, links are not
// followed, and steps that are not wanted are not run.
func TestScriptReplacesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for awk, program := range programsNamed(t, "awk", "mawk", "gawk", "original-awk") { // the last is the Mac's
		t.Run(awk, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			if err := os.Symlink(program, filepath.Join(folder, "awk")); err != nil {
				t.Fatal(err)
			}
			expectReplaced(t, folder)
		})
	}
}

// programsNamed are those of the programs that are here, each file once; the first is
// on every machine.
func programsNamed(t *testing.T, names ...string) map[string]string {
	t.Helper()
	found, seen := make(map[string]string), make(map[string]bool)
	for i, name := range names {
		program, err := exec.LookPath(name)
		if err != nil && i > 0 {
			continue
		}
		file, linkErr := filepath.EvalSymlinks(program)
		if err := errors.Join(err, linkErr); err != nil {
			t.Fatal(err)
		}
		if !seen[file] {
			found[name], seen[file] = program, true
		}
	}
	return found
}

// expectReplaced runs the script with the programs of a folder before others.
func expectReplaced(t *testing.T, programs string) {
	t.Helper()
	mac := newFakeMac(t, "")
	withoutPerl(t, programs)
	s := startScriptWith(t, programs+":", mac.root)
	s.answerSteps(t, "versions", "lists", "bundles")
	read := s.mustEnd(t)
	forbidden := regexp.MustCompile(`(?i)secret|tax|alice|1f4f7d2e|1F 4F|aabbccdd|fe80|10\.211`)
	for name, content := range read.files {
		if found := forbidden.FindAll(content, -1); found != nil {
			t.Errorf("%s holds %q:\n%s", name, found, content)
		}
	}
	entry, _ := read.find("prlctl", "status", "aaaaaaaa-0000-4000-8000-000000000001")
	if len(read.Withheld) != 1 || read.Withheld[0] != entry.Stdout || len(read.stdout(entry)) > 0 {
		t.Errorf("a name inside of a word: withheld %v, not %s", read.Withheld, entry.Stdout)
	}
	if got := strings.Join(read.Skipped, " "); got != "help license mac events package profiles privacy socket notification" {
		t.Errorf("skipped %s", got)
	}
	entry, found := read.find("read", "/Users/user-1/Parallels/VM-2.pvm/config.pvs")
	if !found || entry.Ended != "link" {
		t.Errorf("a link: %+v", entry)
	}
	listed := readByClient(t.Context(), read)
	if len(listed.machines) != 1 || listed.machines[0].Name != "VM-1" || !strings.Contains(string(listed.machines[0].Raw), `"New key":"Parallels-AA AA AA AA`) {
		t.Errorf("the list is not what it was: %+v", listed.machines)
	}
}

// A tool that hangs is killed at its limit, also one that ignores SIGTERM, and one
// that never stops printing is cut.
func TestScriptEndsToolsThatDoNot(t *testing.T) {
	t.Parallel()
	mac := newFakeMac(t, `case "${0##*/} $*" in
  'prlctl list -a') trap '' TERM; while :; do sleep 0.2; done ;;
  'prlctl --version') exec yes '`+strings.Repeat("never ending ", 200)+`' ;;
esac`)
	s := startScript(t, mac.root, "--limit", "1")
	s.answerSteps(t, "versions", "lists")
	read := s.mustEnd(t)
	if entry, found := read.find("prlctl", "list", "-a"); !found || entry.Ended != endedKilled || entry.Exit != nil {
		t.Errorf("a tool that hangs: %+v", entry)
	}
	entry, found := read.find("prlctl", "--version")
	if !found || !entry.Truncated || len(read.stdout(entry)) > 3<<20 {
		t.Errorf("a tool that prints for ever: %+v", entry)
	}
	expectGone(t, mac.root)
}

// expectGone checks that no tool of the Mac runs; one may take a moment to end.
func expectGone(t *testing.T, root string) {
	t.Helper()
	var left []string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if left = running(t, root); len(left) == 0 {
			return
		}
	}
	t.Errorf("still there: %v", left)
}

// running are the processes with the words in their command lines.
func running(t *testing.T, words string) []string {
	t.Helper()
	output, err := exec.Command("ps", "-A", "-o", "pid=", "-o", "args=").Output()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(output)) {
		if strings.Contains(line, words) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// lawful are the commands that the script may run: they only read.
var lawful = regexp.MustCompile(`^(prlctl (--version|--help|(list|snapshot-list|set)( [a-z_]+)? --help|list .*|status [0-9a-f-]+|snapshot-list [0-9a-f-]+ --json|monitor-events --json)` +
	`|prlsrvctl (--version|--help|set --help|info( --license)?( --json)?|user list --json|net list --json)` +
	`|launchctl print(-disabled)? system.*|pkgutil (--pkg-info|--files) .*|profiles status -type enrollment|plutil -(convert xml1|extract CFBundleShortVersionString raw) -o - .*` +
	`|prlagent (get health|doctor --offline --json)|codesign -(dv|d -v -r -) .*)$`)

// Whatever is answered, the tools are only asked; what --list shows is what is run.
func TestScriptOnlyAsks(t *testing.T) {
	t.Parallel()
	mac, programs := newInstalledMac(t)
	withoutPerl(t, programs)
	if read := startScriptWith(t, programs+":", mac.root, "--yes", "--events", "0").mustEnd(t); len(read.Entries) < 80 {
		t.Errorf("only %d entries", len(read.Entries))
	}
	calls, err := os.ReadFile(mac.calls)
	if err != nil {
		t.Fatal(err)
	}
	list := exec.Command("sh", scriptPath, "--list", "--sudo", "--root", mac.root)
	list.Env = []string{"PATH=" + os.Getenv("PATH"), "USER=alice"}
	listed, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(calls)) {
		line = strings.TrimSpace(line)
		if !lawful.MatchString(line) {
			t.Errorf("it runs %s", line)
		}
		shown := strings.ReplaceAll(line, "1f4f7d2e-9d0a-4a6c-8e57-3a1d0c9b5e11", "ID")
		shown = strings.Replace(shown, "launchctl print-disabled", `sh -c "$0" print-disabled`, 1) // of its output only our lines are kept
		if !strings.Contains(string(listed), "    "+shown) {
			t.Errorf("--list does not show %s", shown)
		}
	}
	after, err := os.ReadFile(mac.calls)
	if err != nil || !bytes.Equal(calls, after) {
		t.Errorf("--list has run something: %v", err)
	}
}

func TestScriptRefuses(t *testing.T) {
	t.Parallel()
	mac := newFakeMac(t, "")
	there := filepath.Join(t.TempDir(), "there")
	if err := os.WriteFile(there, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		arguments []string
		code      int
		said      string
	}{
		"an unknown option":    {[]string{"--force"}, 2, "unknown option --force"},
		"a missing value":      {[]string{"--output"}, 2, "--output needs a value"},
		"no number":            {[]string{"--limit", "1x"}, 2, "seconds are a number"},
		"a relative root":      {[]string{"--root", "mac"}, 2, "absolute path"},
		"a Mac without it":     {[]string{"--root", "/nowhere"}, 1, "there is no Parallels Desktop"},
		"a missing package":    {[]string{"--install", "/nowhere.pkg"}, 2, "there is no file /nowhere.pkg"},
		"a folder to run":      {[]string{"--uninstall", "/"}, 2, "there is no file /"},
		"to overwrite":         {[]string{"--root", mac.root, "--output", there}, 1, "is there already"},
		"to write nowhere":     {[]string{"--root", mac.root, "--output", there + "s/x"}, 1, "cannot be written"},
		"to write in a file":   {[]string{"--root", mac.root, "--output", there + "/x"}, 1, "cannot be written"},
		"to go on without you": {[]string{"--root", mac.root, "--output", there + "2"}, 1, "Nothing was kept."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command := exec.Command("sh", append([]string{scriptPath}, test.arguments...)...)
			output, _ := command.CombinedOutput() // the code tells
			if code := command.ProcessState.ExitCode(); code != test.code || !strings.Contains(string(output), test.said) {
				t.Errorf("exit %s:\n%s", strconv.Itoa(code), output)
			}
		})
	}
	if kept, err := os.ReadFile(there); err != nil || string(kept) != "mine" {
		t.Errorf("the file that was there: %q, %v", kept, err)
	}
}

// The script is plain sh: every shell and shellcheck that are here accept it.
func TestScriptIsPlainShell(t *testing.T) {
	t.Parallel()
	checkers := [][]string{{"sh", "-n"}, {"bash", "--posix", "-n"}, {"dash", "-n"}, {"ksh", "-n"}, {"zsh", "--emulate", "sh", "-n"}, {"shellcheck", "-s", "sh"}}
	for _, checker := range checkers {
		if _, err := exec.LookPath(checker[0]); err != nil && checker[0] != "sh" {
			continue
		}
		t.Run(checker[0], func(t *testing.T) {
			t.Parallel()
			if output, err := exec.Command(checker[0], append(checker[1:], scriptPath)...).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, output)
			}
		})
	}
}
