package replay

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Return is easily pressed once too often, as after a question that wants nothing else: it
// is no word that a change was agreed to, by which the script then asks again.
func TestScriptTakesReturnForNoChange(t *testing.T) {
	t.Parallel()
	for _, change := range []string{"install", "notify", "job", "uninstall"} {
		t.Run(change, func(t *testing.T) {
			t.Parallel()
			mac, programs := newInstalledMac(t)
			withoutPerl(t, programs)
			before := tree(t, mac.root)
			s := startScriptWith(t, programs+":", mac.root, mac.everyOption()...)
			pressed := false
			asked := s.converse(t, func(step string) string {
				if step != change || pressed {
					return "n"
				}
				pressed = true
				return ""
			})
			read := s.mustEnd(t)
			if again := slices.Index(asked, change) + 1; again == len(asked) || asked[again] != change || !slices.Contains(read.Skipped, change) {
				t.Errorf("asked for %v, skipped %v", asked, read.Skipped)
			}
			expectSameTree(t, before, tree(t, mac.root))
			if calls, err := os.ReadFile(mac.calls); err != nil || changing.Match(calls) {
				t.Errorf("it has run %q, %v", changing.FindAllString(string(calls), -1), err)
			}
		})
	}
}

// With --yes nobody is asked: what an option names is done once, and everything else as
// without it.
func TestScriptInstallsWithoutQuestions(t *testing.T) {
	t.Parallel()
	mac, programs := newInstalledMac(t)
	withoutPerl(t, programs)
	s := startScriptWith(t, programs+":", mac.root, "--yes", "--events", "0", "--install", filepath.Join(mac.root, "Secret Person.pkg"))
	if err := s.answers.Close(); err != nil {
		t.Fatal(err)
	}
	read := s.mustEnd(t)
	if said := s.heard.String(); strings.Contains(said, "[q]uit") || strings.Contains(said, "[d]o not know") || len(read.Skipped) > 0 {
		t.Errorf("skipped %v:\n%s", read.Skipped, said)
	}
	calls, err := os.ReadFile(mac.calls)
	if err != nil {
		t.Fatal(err)
	}
	ran := changing.FindAllString(string(calls), -1)
	if len(ran) != 2 || !strings.HasPrefix(ran[0], "sudo -n ") || !strings.HasPrefix(ran[1], "installer -verbose -pkg ") {
		t.Errorf("it has run %q", ran)
	}
	private := regexp.MustCompile(`(?i)secret (p|w)|secretcorp|alice`)
	for name, content := range read.files {
		if found := private.FindAllString(string(content), -1); found != nil {
			t.Errorf("%s holds %q", name, found)
		}
	}
}

// Root runs nothing by the person's search path, in which others than root can have put
// something: a sudo without a path of its own leaves it as it is.
func TestScriptRunsNothingOfThePersonAsRoot(t *testing.T) {
	t.Parallel()
	mac, programs := newInstalledMac(t)
	withoutPerl(t, programs)
	ran := filepath.Join(t.TempDir(), "ran")
	// The tools of this Mac use env and rm themselves, and one of them cat for this file.
	for _, name := range []string{"ls", "cat", "sleep", "sh", "true", "mkdir", "install", "kill", "head", "find"} {
		fakeMac{programs, os.DevNull}.putTool(t, name, `case "${USER-} $*" in *profiles.plist) ;; root*) echo "${0##*/} $*" >>'`+ran+"' ;; esac\nexec /bin/${0##*/} \"$@\"\n")
	}
	s := startScriptWith(t, programs+":", mac.root, mac.everyOption()...)
	s.converse(t, only("sudo", "user", "root", "job", "install", "uninstall"))
	if read := s.mustEnd(t); slices.Contains(read.Skipped, "job") {
		t.Errorf("skipped %v", read.Skipped)
	}
	if said, err := os.ReadFile(ran); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("root ran what the person could change: %v\n%s", err, said)
	}
}

// A socket has room for about a hundred bytes of its path, and perl cuts off what is more:
// the script's own is still in its folder, and is removed with it.
func TestScriptPutsItsSocketInItsFolder(t *testing.T) {
	t.Parallel()
	t.Run(strings.Repeat("long", 20), func(t *testing.T) { // as is the folder for temporary files then
		t.Parallel()
		mac, programs := newInstalledMac(t)
		s := startScriptWith(t, programs+":", mac.root, "--sudo")
		s.converse(t, only("socket", "user"))
		read := s.mustEnd(t)
		found := 0
		for _, entry := range read.Entries {
			if strings.HasPrefix(strings.Join(entry.Command, " "), "perl peer socket") && bytes.Contains(read.stdout(entry), []byte("peerpid")) {
				found++
			}
		}
		if found != 2 {
			t.Errorf("%d answers of a socket", found)
		}
	})
}

// Where a folder of the system is a link, what it leads to may have a name of somebody's.
func TestScriptReplacesWhereFoldersAre(t *testing.T) {
	t.Parallel()
	mac, programs := newInstalledMac(t)
	local, moved := filepath.Join(mac.root, "usr/local"), filepath.Join(mac.root, "opt/secretplace")
	if err := errors.Join(os.MkdirAll(filepath.Dir(moved), 0o755), os.Rename(local, moved), os.Symlink(moved, local)); err != nil {
		t.Fatal(err)
	}
	s := startScriptWith(t, programs+":", mac.root)
	s.converse(t, only("package"))
	read := s.mustEnd(t)
	kept := false
	for name, content := range read.files {
		if bytes.Contains(bytes.ToLower(content), []byte("secret")) {
			t.Errorf("%s holds it:\n%s", name, content)
		}
		kept = kept || bytes.HasPrefix(content, []byte("/Library/Application Support\n/"))
	}
	if !kept {
		t.Error("where the folders are is gone")
	}
}

// Of the processes only the programs of Parallels Desktop and their options are kept: what
// is behind them may be a password, and what only has that folder in its arguments is anything.
func TestScriptReplacesArgumentsOfProcesses(t *testing.T) {
	t.Parallel()
	mac, programs := newInstalledMac(t)
	const folder = "/Applications/Parallels Desktop.app/Contents/MacOS/"
	bin := mac.root + folder
	fakeMac{programs, os.DevNull}.putTool(t, "ps", `case $1 in -axww) cat <<'TEXT' ;; *) exec /bin/ps "$@" ;; esac
   10     1   501 `+bin+`prlctl exec Tax --user secretuser --password secretword
   11     1     0 `+bin+`Parallels Service.app/Contents/MacOS/prl_disp_service --likely /opt/secretplace -e
   12     1   501 `+bin+`prl_client_app
   13     1   501 /bin/zsh -c echo secretword | `+bin+`prlctl enter Tax secret.app/Contents/MacOS/secret
   14    12   501 `+bin+`/Parallels VM.app/Contents/MacOS/prl_vm_app --vm-name Secret Plans --uuid {1f4f7d2e-9d0a-4a6c-8e57-3a1d0c9b5e11} --dir-uuid {2f4f7d2e-9d0a-4a6c-8e57-3a1d0c9b5e11} --log-dir /Users/alice/Parallels/Tax.pvm
   15     1   501 `+bin+`prl_naptd secret administrator
TEXT
`)
	s := startScriptWith(t, programs+":", mac.root)
	s.converse(t, only("mac"))
	read := s.mustEnd(t)
	said := new(strings.Builder)
	for name, content := range read.files {
		said.Write(content)
		if found := regexp.MustCompile(`(?i).*(secret|alice|administrator|1f4f7d2e).*`).FindAllString(string(content), -1); found != nil {
			t.Errorf("%s holds %q", name, found)
		}
	}
	if got := checkProcess(&reading{capture: read}); got.verdict != verdictAgrees {
		t.Errorf("the process of a machine is not as it was: %+v", got)
	}
	for _, kept := range []string{
		"   10     1   501 " + folder + "prlctl ", " --user text-", " --password text-", "Parallels Service.app/Contents/MacOS/prl_disp_service --likely text-",
		"   12     1   501 " + folder + "prl_client_app\n", "Parallels VM.app/Contents/MacOS/prl_vm_app --vm-name name-1 --uuid {aaaaaaaa-", folder + "prl_naptd text-",
	} {
		if !strings.Contains(said.String(), kept) {
			t.Errorf("%q is gone:\n%s", kept, said)
		}
	}
}

// Who ends it after an installation is told that this stays.
func TestScriptSaysThatAnInstallationStays(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]string{"quit": "q", "interrupted": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const stays = "What the step install has changed on this Mac stays."
			if end == "" {
				got := interrupted(t, "install", []moment{{question: "package", signals: ctrlC}})
				if got.code != 130 || !strings.Contains(got.run.heard.String(), stays) {
					t.Errorf("exit code %d: %s", got.code, got.run.heard.String())
				}
				return
			}
			mac, programs := newInstalledMac(t)
			s := startScriptWith(t, programs+":", mac.root, mac.everyOption()...)
			s.converse(t, func(step string) string {
				if step == "package" {
					return end
				}
				return only("install")(step)
			})
			if code := s.end(t); code != 1 || !strings.Contains(s.heard.String(), stays) {
				t.Errorf("exit code %d: %s", code, s.heard.String())
			}
		})
	}
}

// In a property list the key says what a value is, and not that it is a string: one lone
// word, or a number, is private where the key says so.
func TestScriptReplacesValuesByTheirKeys(t *testing.T) {
	t.Parallel()
	mac, programs := newInstalledMac(t)
	fakeMac{programs, os.DevNull}.putTool(t, "defaults", `cat <<'TEXT'
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>Account.UserName</key>
	<string>secretlogin</string>
	<key>License key</key>
	<string>secret4key</string>
	<key>Web portal login</key><string>SECRET</string>
	<key>Session token</key>
	<string>first
secretline</string>
	<key>Last users</key>
	<array>
		<string>secretone</string>
		<string>secrettwo</string>
	</array>
	<key>Organization</key>
	<integer>4242424</integer>
	<key>Proxy</key>
	<dict>
		<key>Port</key>
		<integer>8080</integer>
		<key>ProxyHost</key>
		<string>secrethost</string>
	</dict>
	<key>CheckForUpdates</key>
	<string>weekly</string>
	<key>Application preferences.VM Name mode</key>
	<true/>
	<key>Count</key>
	<integer>17</integer>
</dict>
</plist>
TEXT
`)
	s := startScriptWith(t, programs+":", mac.root)
	s.converse(t, only("mac"))
	read := s.mustEnd(t)
	entry, _ := read.find("defaults", "export", "com.parallels.Parallels Desktop", "-")
	said := string(read.stdout(entry))
	if found := regexp.MustCompile(`(?i).*(secret|4242424).*`).FindAllString(said, -1); found != nil {
		t.Errorf("it holds %q", found)
	}
	for _, kept := range []string{"<key>Account.UserName</key>", "<string>weekly</string>", "<integer>8080</integer>", "<integer>17</integer>", "<true/>"} {
		if !strings.Contains(said, kept) {
			t.Errorf("%s is gone:\n%s", kept, said)
		}
	}
}

// The names of machines are replaced in the table also where the script could not learn them:
// when it asked first, the service of Parallels Desktop was not there yet.
func TestScriptReplacesNamesThatItDidNotLearn(t *testing.T) {
	t.Parallel()
	asked := filepath.Join(t.TempDir(), "asked")
	mac := newFakeMac(t, `case "$*" in
  'list -a -i --json' | 'list -a --json') echo x >>'`+asked+`'; [ "$(grep -c x '`+asked+`')" -gt 2 ] || { echo 'Unable to connect to the service.' >&2; exit 255; } ;;
  'list -a') cat <<'TEXT'
UUID                                    STATUS       IP_ADDR         NAME
{1f4f7d2e-9d0a-4a6c-8e57-3a1d0c9b5e11}  stopped      -               Secret plans of
 Secretcorp
{2f4f7d2e-9d0a-4a6c-8e57-3a1d0c9b5e11}  running      10.211.55.77    secret
{3f4f7d2e-9d0a-4a6c-8e57-3a1d0c9b5e11}  running      fdb2:2c26:f4e4:0:21c:42ff:fe00:1 Secret Windows 11
TEXT
    exit ;;
esac`)
	s := startScript(t, mac.root)
	s.answerSteps(t, "lists")
	read := s.mustEnd(t)
	entry, _ := read.find("prlctl", "list", "-a")
	said := string(read.stdout(entry))
	if found := regexp.MustCompile(`(?i).*(secret|1f4f7d2e|plans|10\.211).*`).FindAllString(said, -1); found != nil {
		t.Errorf("it holds %q", found)
	}
	for _, kept := range []string{"STATUS       IP_ADDR         NAME\n", "}  stopped      -               VM-", "}  running      192.0.2."} {
		if !strings.Contains(said, kept) {
			t.Errorf("%s is gone:\n%s", kept, said)
		}
	}
}

// The folder for temporary files has whatever name somebody gave it.
func TestScriptWorksInAFolderOfAnyName(t *testing.T) {
	t.Parallel()
	mac, programs := newInstalledMac(t)
	awkward := filepath.Join(t.TempDir(), `a "b' $(c) [d] *&\1`)
	if err := os.Mkdir(awkward, 0o700); err != nil {
		t.Fatal(err)
	}
	fakeMac{programs, os.DevNull}.putTool(t, "mktemp", `TMPDIR='`+strings.ReplaceAll(awkward, "'", `'\''`)+`'
exec /usr/bin/mktemp "$1" "$TMPDIR/${2##*/}"
`)
	s := startScriptWith(t, programs+":", mac.root, mac.everyOption()...)
	s.converse(t, only(installationSteps...))
	expectNothingOfAnInstallation(t, s.mustEnd(t))
	expectNoTrial(t, mac)
	if left, err := os.ReadDir(awkward); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// Machines may be anywhere: the folders that lead to them are somebody's also where they are
// below no home and on no other volume, in what is said and in the commands of the manifest.
func TestScriptReplacesFoldersOfMachinesAnywhere(t *testing.T) {
	t.Parallel()
	mac, programs := newInstalledMac(t)
	mac.putFile(t, "list", `[{"ID": "1f4f7d2e-9d0a-4a6c-8e57-3a1d0c9b5e11", "Name": "Tax", "State": "stopped", "Home": "\/opt\/Secret corp\/vms\/Tax.pvm\/"}]`, 0o644)
	mac.putFile(t, "opt/Secret corp/vms/Tax.pvm/config.pvs", "<ParallelsVirtualMachine><Name>12</Name></ParallelsVirtualMachine>\n", 0o644)
	s := startScriptWith(t, programs+":", mac.root, "--sudo")
	s.converse(t, only("lists", "bundles", "privacy", "root"))
	read := s.mustEnd(t)
	for name, content := range read.files {
		if found := regexp.MustCompile(`(?i).*(secret|/vms/).*`).FindAllString(string(content), -1); found != nil {
			t.Errorf("%s holds %q", name, found)
		}
	}
	kept := slices.ContainsFunc(read.Entries, func(e entry) bool {
		return e.Command[0] == "read" && e.Command[1] == "/place-1/VM-1.pvm/config.pvs" && bytes.Contains(read.stdout(e), []byte("<ParallelsVirtualMachine>"))
	})
	if !kept {
		t.Errorf("the configuration is gone: %+v", read.Entries)
	}
}

// What a tool says of a failure names machines in quotation marks, also those of other
// accounts, of which the script knows nothing. Words of the tools are kept.
func TestScriptReplacesNamesInErrors(t *testing.T) {
	t.Parallel()
	mac := newFakeMac(t, `case "$*" in
  'list -a --json') echo 'Failed to get the "Secret plans" virtual machine: the user'\''s "secretone is locked.' >&2; exit 255 ;;
  'list -a') cat >&2 <<'TEXT'
The virtual machine “Secret Windows 11” is not found (‘secret’s’, 'secrettwo')
Option "list" of 'stopped' virtual machine isn't known.
TEXT
    exit 255 ;;
esac`)
	s := startScript(t, mac.root)
	s.answerSteps(t, "lists")
	read := s.mustEnd(t)
	said := new(strings.Builder)
	for name, content := range read.files {
		said.Write(content)
		if found := regexp.MustCompile(`(?i).*(secret|plans).*`).FindAllString(string(content), -1); found != nil {
			t.Errorf("%s holds %q", name, found)
		}
	}
	for _, kept := range []string{"Failed to get the \"text-", "virtual machine: the user's \"", "The virtual machine “text-", `Option "list" of 'stopped' virtual machine isn't known.`} {
		if !strings.Contains(said.String(), kept) {
			t.Errorf("%s is gone:\n%s", kept, said)
		}
	}
}
