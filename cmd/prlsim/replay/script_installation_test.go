package replay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	trialLabel = "org.prlagent.first-mac"
	trialFile  = "/Library/LaunchDaemons/org.prlagent.first-mac.plist"
	trialDir   = "/var/run/org.prlagent.first-mac"
)

// putTool puts a shell script in a Mac, which notes its call first.
func (mac fakeMac) putTool(t *testing.T, path, body string) {
	t.Helper()
	script := "#!/bin/sh\necho \"${0##*/} $*\" >>'" + mac.calls + "'\n" + body
	mac.putFile(t, path, script, 0o755)
}

func (mac fakeMac) putFile(t *testing.T, path, content string, mode fs.FileMode) {
	t.Helper()
	file := filepath.Join(mac.root, path)
	syscall.ForkLock.RLock() // a process that starts meanwhile would keep a program from running
	defer syscall.ForkLock.RUnlock()
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.RemoveAll(file), os.WriteFile(file, []byte(content), mode)); err != nil {
		t.Fatal(err)
	}
}

// converse answers every question: whether to run a step by what decide says of its
// name, all others with yes. It returns the steps that were asked for.
func (s *scriptRun) converse(t *testing.T, decide func(step string) string) (asked []string) {
	t.Helper()
	return s.converseUntil(t, decide, "", nil)
}

// converseUntil does something besides when the script has said a text.
func (s *scriptRun) converseUntil(t *testing.T, decide func(step string) string, text string, then func()) (asked []string) {
	t.Helper()
	step := regexp.MustCompile(`(?m)^([a-z]+) \(about`)
	from := s.heard.Len()
	for {
		c, err := s.said.ReadByte()
		if err != nil {
			return asked
		}
		s.heard.WriteByte(c)
		switch said := s.heard.Bytes()[from:]; {
		case text != "" && bytes.HasSuffix(said, []byte(text)):
			then()
		case bytes.HasSuffix(said, []byte("[q]uit: ")):
			names := step.FindAllSubmatch(said, -1)
			asked = append(asked, string(names[len(names)-1][1]))
			s.reply(decide(asked[len(asked)-1]))
		case bytes.HasSuffix(said, []byte("[d]o not know: ")), bytes.HasSuffix(said, []byte("Press Return then: ")):
			s.reply("y")
		}
	}
}

// reply answers a script that may have been interrupted meanwhile.
func (s *scriptRun) reply(line string) { _, _ = io.WriteString(s.answers, line+"\n") }

// only says yes to the steps that are named.
func only(wanted ...string) func(string) string {
	return func(step string) string {
		if slices.Contains(wanted, step) {
			return "y"
		}
		return "n"
	}
}

// plainSudo is a sudo that has had its password.
const plainSudo = `while :; do case $1 in -n | -H) shift ;; -u) shift 2 ;; -v) exit 0 ;; *) break ;; esac; done
exec env USER=root "$@"`

// newInstalledMac is a Mac on which the agent is installed, whose tools say private
// things wherever they can.
func newInstalledMac(t *testing.T) (mac fakeMac, programs string) {
	t.Helper()
	mac = newFakeMac(t, "")
	mac.putTool(t, "usr/bin/sudo", strings.Replace(plainSudo, "USER=root", "USER=root SECRET_TOKEN=hunter2secret 'MAIL=Secret Post' 'LANG=C\nPATH=secretpath'", 1))
	loaded := filepath.Join(t.TempDir(), "loaded")
	mac.putTool(t, "bin/launchctl", `case "$1 $2" in
  'print system/`+trialLabel+`') [ -e '`+loaded+`' ] && exit ;;
  'bootstrap system') rm '`+loaded+`.leaving' 2>/dev/null || { : >'`+loaded+`'; cd '`+filepath.Join(mac.root, trialDir)+`' && printf 'Operation not permitted\nsecretly read\n' >answers && echo SECRET=secret >variables && : >ready; exit 0; } ;;
  'bootout system/`+trialLabel+`') rm '`+loaded+`' 2>/dev/null && : >'`+loaded+`.leaving' ;;
esac
case "$1 $2" in
  asuser*) shift 2; exec "$@" ;;
  'print system/org.prlagent.agent') cat <<'TEXT'
system/org.prlagent.agent = {
	active count = 1
	path = /Library/LaunchDaemons/org.prlagent.agent.plist
	state = running

	program = /Library/Application Support/prlagent/bin/prlagentd
	arguments = {
		secretargument
		--token=secret-token
	}
	inherited environment = {
		SECRETNAME => secretvalue
	}
	runs = 3
	pid = 4711
	last exit code = 9
	secretkey = secretvalue
}
TEXT
    ;;
  print-disabled*) printf '\tdisabled services = {\n\t\t"com.secretvendor.agent" => disabled\n\t\t"org.prlagent.agent" => enabled\n\t}\n' ;;
  print*) echo 'Could not find service "'"$2"'" in domain for system' >&2; exit 113 ;;
  *) echo "$1 failed: 3: No such process in secretland" >&2; exit 3 ;;
esac`)
	mac.putTool(t, "usr/sbin/installer", `echo 'installer: Package name is Secret Works Agent'; echo 'installer: The install was successful.'`)
	mac.putTool(t, "usr/sbin/spctl", `echo "$5: rejected" >&2; echo 'origin=Developer ID Installer: Secret Person (SECRETTEAM)' >&2; exit 3`)
	mac.putTool(t, "usr/sbin/pkgutil", `case $1 in
  --pkg-info) printf 'package-id: org.prlagent.agent\nversion: 1.2.3\nvolume: /\nlocation: \ninstall-time: 1764421200\n' ;;
  --check-signature) printf 'Package "secret.pkg":\n   Status: no signature\n   1. Developer ID Installer: Secret Person (SECRETTEAM)\n' ;;
  --files) printf 'Library\nLibrary/Application Support/prlagent/bin/prlagentd\nLibrary/Secretfolder\n' ;;
esac`)
	mac.putTool(t, "usr/bin/profiles", `case $1 in
  status) printf 'Enrolled via DEP: Yes\nMDM enrollment: Yes (User Approved)\nMDM server: https://mdm.secretcorp.example/x\n' ;;
  show) cat '`+filepath.Join(mac.root, "profiles.plist")+`' ;;
esac`)
	mac.putTool(t, "usr/bin/plutil", `for file; do :; done; case $1 in -convert) exec cat "$file" ;; *) echo 2.5.0 secretbuild ;; esac`)
	mac.putTool(t, "usr/bin/osascript", `echo 'secret execution error: Not allowed (-1743)' >&2; exit 1`)
	mac.putTool(t, "Library/Application Support/Dialog/Dialog.app/Contents/MacOS/Dialog", `echo 'ERROR: Notifications are not allowed for this application of Secret Person' >&2; exit 1`)
	const support = "Library/Application Support/prlagent/"
	mac.putTool(t, support+"bin/prlagent", `case $1 in
  get) echo 'healthy secretly' ;;
  doctor) echo '{"schema":1,"worst":"unhealthy","checks":[{"id":"full_disk_access","outcome":"bad","code":"privacy_denied","severity":"error","title":"Secret title","text":"the folder secretfolder","remedy":"ask secretly","secretKey":"x","depends_on":["daemon_answers"],"ms":12}]}' ;;
esac`)
	mac.putFile(t, "var/run/.keep", "", 0o644)
	mac.putFile(t, "Library/LaunchDaemons/com.secretvendor.agent.plist", "", 0o644)
	mac.putFile(t, support+"bin/prlagentd", "#!/bin/sh\n", 0o755)
	link := filepath.Join(mac.root, "usr/local/bin/prlagent")
	if err := errors.Join(os.MkdirAll(filepath.Dir(link), 0o755), os.Symlink("/opt/secretplace/prlagent", link)); err != nil {
		t.Fatal(err)
	}
	mac.putFile(t, "uninstall.sh", "echo uninstall >>'"+mac.calls+"'\necho 'Forgot package of Secret Works'\n", 0o644)
	mac.putFile(t, "Secret Person.pkg", "xar!", 0o644)
	mac.putFile(t, "profiles.plist", secretProfiles, 0o644)
	mac.putFile(t, "Library/Managed Preferences/org.prlagent.agent.plist", secretPreferences, 0o644)
	mac.putFile(t, "var/log/install.log", secretLog, 0o644)
	mac.putFile(t, "Users/alice/Documents/secret plans.txt", "secret", 0o600)
	programs = t.TempDir()
	tool := fakeMac{programs, mac.calls}
	tool.putTool(t, "codesign", `[ "$1" = -d ] || exit 1
printf 'Executable=/x/secretplace/prlagentd\nIdentifier=org.prlagent.agent\nCodeDirectory v=20500 flags=0x10000(runtime)\nAuthority=Developer ID Application: Secret Person (SECRETTEAM)\nTeamIdentifier=SECRETTEAM\n' >&2
echo 'designated => identifier "org.prlagent.agent" and anchor apple generic and certificate leaf[subject.OU] = SECRETTEAM'`)
	return mac, programs
}

const secretPreferences = `<?xml version="1.0" encoding="UTF-8"?>
<plist version="1.0"><dict><key>ServerURL</key><string>https://secretcorp.example</string>
<key>EnrollmentSecret</key><string>secretword</string><key>secretkey</key><true/>
<key><![CDATA[secretcdata]]></key><string><![CDATA[more
secretcdata]]></string><!-- <key>Mode</key> secret note -->
<key>Mode</key><string>enforce</string><key>VendorGates</key><false/><key>secret
key</key><integer>4242424</integer>
<key>PolicyKeys</key><array><dict><key>KeyID</key><string>secretid</string><key>PublicKey</key><data>c2VjcmV0</data></dict></array></dict></plist>
`

const secretProfiles = `<plist version="1.0"><dict><key>_computerlevel</key><array><dict>
<key>ProfileDisplayName</key><string>Secret Works VPN</string><key>ProfileItems</key><array><dict>
<key>PayloadType</key><string>com.secretcorp.vpn</string><key>PayloadContent</key><dict><key>SecretHost</key><string>vpn.secretcorp.example</string></dict></dict>
<dict><key>PayloadType</key><string>com.apple.TCC.configuration-profile-policy</string></dict></array></dict></array></dict></plist>
`

const secretLog = `2026-11-29 13:00:00+01 Secrets-MacBook installer[4711]: PackageKit: Installing package of prlagent "secretname"
2026-11-29 13:00:01+01 Secrets-MacBook package_script_service[12]: ./postinstall: prlagent: the link is not ours, secretly /opt/secretroot/x
2026-11-29 13:00:02+01 Secrets-MacBook installer[4711]: another product of Secret Works
	prlagent secret continuation
`

// The steps about an installation keep what is known to be harmless: whatever else
// a tool, a log, a profile, an environment or a signature says is replaced, by every
// kind of awk (original-awk is the Mac's); nothing of it is in the manifest either.
func TestScriptReplacesWhatAnInstallationTells(t *testing.T) {
	t.Parallel()
	for awk, program := range programsNamed(t, "awk", "original-awk", "busybox") {
		t.Run(awk, func(t *testing.T) {
			t.Parallel()
			mac, programs := newInstalledMac(t)
			if awk == "busybox" {
				fakeMac{programs, os.DevNull}.putTool(t, "awk", `exec '`+program+`' awk "$@"`)
			} else if err := os.Symlink(program, filepath.Join(programs, "awk")); err != nil {
				t.Fatal(err)
			}
			s := startScriptWith(t, programs+":", mac.root, mac.everyOption()...)
			s.converse(t, only(installationSteps...))
			expectNothingOfAnInstallation(t, s.mustEnd(t))
		})
	}
}

// installationSteps are the steps about an installation, in their order.
var installationSteps = []string{"install", "package", "profiles", "privacy", "socket", "notification", "notify", "user", "root", "job", "uninstall"}

func expectNothingOfAnInstallation(t *testing.T, read capture) {
	t.Helper()
	private := regexp.MustCompile(`(?i)secret|hunter2|4242424|alice`)
	said := new(strings.Builder)
	for name, content := range read.files {
		said.Write(content)
		allowed := bytes.ReplaceAll(content, []byte("EnrollmentSecret"), nil) // a key that is ours
		if found := private.FindAllString(string(allowed), -1); found != nil {
			t.Errorf("%s holds %q", name, found)
		}
	}
	if len(read.Withheld) > 0 || slices.Contains(read.Skipped, "job") {
		t.Errorf("withheld %v, skipped %v", read.Withheld, read.Skipped)
	}
	for _, kept := range []string{ // what we want to know is still there
		"version: 1.2.3", "Status: no signature", "Library/Application Support/prlagent/bin/prlagentd\n", "installer: The install was successful.",
		"state = running", "runs = 3", "last exit code = 9", "arguments = {\n\t\t…\n\t\t…\n\t}", `"org.prlagent.agent" => enabled`,
		"2026-11-29 13:00:00+01 installer[4711]: PackageKit: Installing package of prlagent", "./postinstall: prlagent: the link is not ours",
		"MDM enrollment: Yes (User Approved)", "\nEnrollmentSecret string x1\n? switch x1\n", "VendorGates false x1", "PolicyKeys[]/PublicKey data x1", "/usr/local/bin/prlagent -> /text-",
		"PayloadType com.apple.TCC.configuration-profile-policy x1", "PayloadType another x1", "ProfileDisplayName string x1",
		"Notifications are not allowed for this application", "Not allowed (-1743)", `"code":"privacy_denied"`, `"id":"full_disk_access"`, `"depends_on":["daemon_answers"]`,
		"Identifier=org.prlagent.agent", "(runtime)", `designated => identifier "org.prlagent.agent" and anchor apple generic and certificate leaf[subject.OU]`,
		"USER=root\n", "healthy", "Operation not permitted\n", "3: No such process", "peerpid",
	} {
		if !strings.Contains(said.String(), kept) {
			t.Errorf("%s is gone", kept)
		}
	}
}

// everyOption asks for all steps.
func (mac fakeMac) everyOption() []string {
	return []string{"--sudo", "--notify", "--job", "--install", filepath.Join(mac.root, "Secret Person.pkg"), "--uninstall", filepath.Join(mac.root, "uninstall.sh")}
}

// withoutPerl is for a Mac that has none, where programs are not started apart.
func withoutPerl(t *testing.T, programs string) {
	t.Helper()
	fakeMac{programs, os.DevNull}.putTool(t, "perl", "exit 127\n")
}

// tree lists what is below a folder, with modes, times of change and contents.
func tree(t *testing.T, folder string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir(folder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		content := []byte{}
		if info.Mode().IsRegular() {
			if content, err = os.ReadFile(name); err != nil {
				return err
			}
		}
		found[name] = fmt.Sprintf("%s %s %x", info.Mode(), info.ModTime(), content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// changing are the commands that change or show something, in the notes of calls.
var changing = regexp.MustCompile(`(?m)^(sudo|installer|osascript|Dialog|uninstall|launchctl (asuser|bootstrap|bootout|enable|disable|kickstart))\b.*`)

// forbidden is what sudo must not run where only reading was agreed to.
var forbidden = regexp.MustCompile(`osascript|Dialog|installer|bootstrap|bootout|kickstart|enable|disable|mkdir|/install|/rm|uninstall`)

// Who says no to everything has the same Mac before and after, and no program was
// started that could have changed it, with every option given; who answers "all" is
// still asked before each change.
func TestScriptChangesNothingThatIsNotAgreedTo(t *testing.T) {
	t.Parallel()
	everyStep := slices.Concat([]string{"versions", "help", "license", "lists", "bundles", "mac", "events"}, installationSteps[:7], []string{"sudo"}, installationSteps[7:])
	changes := []string{"install", "notify", "job", "uninstall"}
	for name, test := range map[string]struct {
		decide         func(step string) string
		asked, skipped []string
		mayRun         string // with sudo: reading that was agreed to
	}{
		"no to everything": {only(), everyStep, everyStep, `^$`},
		"all, but no to each change": {func(step string) string {
			if step == "versions" {
				return "a"
			}
			return "n"
		}, slices.Concat([]string{"versions"}, changes), changes, `^(sudo -n |launchctl asuser)`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mac, programs := newInstalledMac(t)
			withoutPerl(t, programs)
			before := tree(t, mac.root)
			s := startScriptWith(t, programs+":", mac.root, mac.everyOption()...)
			asked := s.converse(t, test.decide)
			read := s.mustEnd(t)
			if !slices.Equal(asked, test.asked) || !slices.Equal(read.Skipped, test.skipped) {
				t.Errorf("asked for %v and skipped %v, not %v and %v", asked, read.Skipped, test.asked, test.skipped)
			}
			expectSameTree(t, before, tree(t, mac.root))
			calls, err := os.ReadFile(mac.calls)
			if err != nil {
				t.Fatal(err)
			}
			mayRun := regexp.MustCompile(test.mayRun)
			for _, call := range changing.FindAllString(string(calls), -1) {
				if !mayRun.MatchString(call) || forbidden.MatchString(call) {
					t.Errorf("it has run %s", call)
				}
			}
		})
	}
}

func expectSameTree(t *testing.T, before, after map[string]string) {
	t.Helper()
	for name, was := range before {
		if after[name] != was {
			t.Errorf("%s was %q and is %q", name, was, after[name])
		}
	}
	for name := range after {
		if _, there := before[name]; !there {
			t.Errorf("%s is new", name)
		}
	}
}

// jobMac is a simulated Mac, whose launchctl is strict, with a sudo that has had its
// password.
func jobMac(t *testing.T) (mac fakeMac, private []string) {
	t.Helper()
	root, private := makeMac(t)
	mac = fakeMac{root, filepath.Join(t.TempDir(), "calls")}
	mac.putTool(t, "usr/bin/sudo", plainSudo)
	mac.putFile(t, "bin/sh", "#!/bin/sh\nexec /bin/sh \"$@\"\n", 0o755)
	return mac, private
}

// The job of --job is answered by launchd in the order and by the codes of
// facts/acting.md 3, and nothing of it is left, whatever launchd does otherwise.
func TestScriptTriesAJobAndLeavesNothing(t *testing.T) {
	t.Parallel()
	mac, private := jobMac(t)
	s := startScript(t, mac.root, "--job")
	s.converse(t, only("job"))
	read := s.mustEnd(t)
	var codes []string
	for _, entry := range read.Entries {
		line := strings.Join(entry.Command, " ")
		verb := regexp.MustCompile(`\b(bootstrap|bootout|kickstart|enable|disable) `).FindStringSubmatch(line)
		if verb != nil && entry.Exit != nil {
			codes = append(codes, verb[1]+" "+strconv.Itoa(*entry.Exit))
		}
	}
	want := "bootout 3, bootstrap 2, bootout 3, bootstrap 2, bootstrap 125, bootstrap 0, bootstrap 5, kickstart 0, kickstart 0, disable 0, " +
		"bootout 36, bootstrap 37, bootout 3, kickstart 113, bootstrap 119, enable 0, bootstrap 0, bootout 36, bootstrap 37"
	if got := strings.Join(codes, ", "); got != want {
		t.Errorf("launchd answers\n%s, not\n%s", got, want)
	}
	texts := new(strings.Builder)
	for name, content := range read.files {
		texts.Write(content)
		for _, secret := range private {
			if bytes.Contains(bytes.ToLower(content), []byte(strings.ToLower(secret))) {
				t.Errorf("%s holds %q:\n%s", name, secret, content)
			}
		}
	}
	for _, text := range []string{"Bootstrap failed: 125: Domain does not support specified action", "Bootstrap failed: 37: Operation already in progress",
		"Boot-out failed: 36: Operation now in progress", "Bootstrap failed: 119: Service is disabled", "state = running", "No such file or directory", "PATH="} {
		if !strings.Contains(texts.String(), text) {
			t.Errorf("%s is gone", text)
		}
	}
	if entry, found := read.find("asked", "Did macOS say that a background item was added?"); !found || string(read.stdout(entry)) != "yes\n" {
		t.Errorf("what was seen: %+v", entry)
	}
	expectNoTrial(t, mac)
}

// expectNoTrial looks whether anything of the job is left.
func expectNoTrial(t *testing.T, mac fakeMac) {
	t.Helper()
	for _, path := range []string{trialFile, trialDir} {
		if _, err := os.Lstat(filepath.Join(mac.root, path)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
	if err := exec.Command(filepath.Join(mac.root, "bin/launchctl"), "print", "system/"+trialLabel).Run(); err == nil {
		t.Error("launchd still knows the job")
	}
	disabled, err := exec.Command(filepath.Join(mac.root, "bin/launchctl"), "print-disabled", "system").Output()
	if err != nil || bytes.Contains(disabled, []byte(`"`+trialLabel+`" => disabled`)) {
		t.Errorf("it is left disabled: %v\n%s", err, disabled)
	}
}

// Ctrl-C while the job is loaded takes it away. What is there by the job's name, and
// is not the script's, stays.
func TestScriptTakesItsJobAwayWhenItIsInterrupted(t *testing.T) {
	t.Parallel()
	mac, _ := jobMac(t)
	s := startScript(t, mac.root, "--job")
	for step := ""; step != "job"; {
		s.expect(t, " (about")
		said := s.heard.String()
		step = strings.TrimSuffix(said[strings.LastIndex(said, "\n")+1:], " (about")
		s.expect(t, "[q]uit: ")
		s.answer(t, only("job")(step))
	}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if err := exec.Command(filepath.Join(mac.root, "bin/launchctl"), "print", "system/"+trialLabel).Run(); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the job was never loaded")
		}
	}
	if err := syscall.Kill(-s.command.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := s.end(t); code != 130 {
		t.Errorf("exit code %d: %s", code, s.errors.String())
	}
	expectNoTrial(t, mac)
}

func TestScriptLeavesAFolderAloneThatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{"file": trialFile, "folder": trialDir + "/theirs"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mac, programs := newInstalledMac(t)
			mac.putFile(t, path, "theirs", 0o644)
			before := tree(t, mac.root)
			s := startScriptWith(t, programs+":", mac.root, "--job")
			s.converse(t, only("job"))
			if read := s.mustEnd(t); !slices.Contains(read.Skipped, "job") {
				t.Errorf("skipped %v", read.Skipped)
			}
			expectSameTree(t, before, tree(t, mac.root))
		})
	}
}
