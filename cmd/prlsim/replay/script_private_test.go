package replay

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// newTalkativeMac has tools and files that say private things in forms that
// Parallels Desktop has not been seen to use, and may.
func newTalkativeMac(t *testing.T) fakeMac {
	t.Helper()
	mac := newFakeMac(t, `case "${0##*/} $*" in
  'prlsrvctl info --license') cat <<'TEXT'
Searching for installed licenses...
    status="ACTIVE"
    serial="aaaabbbbccccddddeeeeffffgggg12"
    organization="Secret Org Inc"
    owner='Secret O'Person', edition="pro"
    user=secretuser
    registered to: Secret Person
    mac=DEADBEEF0099
TEXT
    exit ;;
  'prlsrvctl info') cat <<'TEXT'
Version: Desktop 26.4.0-57513
Hostname: secret-host
Signed in as: Secret Person (secret@example.org)
Allow secret things: Some Secret
License: state='valid' key='aaaabbbbccccddddeeeeffffgggg12' restricted='off'
TEXT
    exit ;;
esac`)
	const list = `[{"ID": "1f4f7d2e-9d0a-4a6c-8e57-3a1d0c9b5e11", "Name": "Tax", "State": "stopped", "Home": "/Users/alice/Parallels/Tax.pvm/",
"Hardware": {"net0": {"mac": "DEADBEEF0055"}}, "dashed": "de-ad-be-ef-00-11", "bare": "deadbeef0022", "short": "de:ad:be:ef:0:4",
"lic_key": "aaaabbbbccccddddeeeeffffgggg12", "organization": "secretorg", "Company": "SECRETORG", "domain": "secret.example.com",
"account": "secretlogin", "hw_key": "off", "N\u0061me": "secret"}]`
	const info = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<!ENTITY x "Secret Entity"><?secret instruction?>
<!-- saved for Secret Person > or <so secret
still secret --><VmInfo version="1.2"><A><![CDATA[Secret <b> Cdata]]></A><A><![CDATA[More
secret <words>]]></A><B id='Secret X' k = "Secret ' Y" secret>12</B><C
 id="Secret Z">3</C><D secret="5'6">a</D><key>Secret Kéy</key><Mac>deadbeef0077</Mac><M>de-ad-be-ef-00-88</M></VmInfo>
`
	bundle := filepath.Join(mac.root, "Users/alice/Parallels/Tax.pvm")
	err := errors.Join(os.WriteFile(filepath.Join(mac.root, "list"), []byte(list), 0o644),
		os.WriteFile(filepath.Join(bundle, "VmInfo.pvi"), []byte(info), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	return mac
}

// What is private is replaced in every form that it can have, by every awk, and in
// every shell: the Mac's own are bash and the first awk.
func TestScriptReplacesPrivateThingsInEveryForm(t *testing.T) {
	t.Parallel()
	awks := programsNamed(t, "awk", "gawk", "original-awk", "mawk")
	for name, with := range map[string]struct {
		shell []string
		awk   string
	}{
		"sh":      {[]string{"sh"}, "awk"},
		"bash":    {[]string{"bash", "--posix"}, "original-awk"},
		"dash":    {[]string{"dash"}, "mawk"},
		"busybox": {[]string{"busybox", "sh"}, "gawk"},
	} {
		if programsNamed(t, "sh", with.shell[0])[with.shell[0]] == "" {
			continue
		}
		awk := awks["awk"]
		if another := awks[with.awk]; another != "" {
			awk = another
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			if err := os.Symlink(awk, filepath.Join(folder, "awk")); err != nil {
				t.Fatal(err)
			}
			s := startScriptIn(t, with.shell, folder+":", newTalkativeMac(t).root)
			s.answerSteps(t, "license", "lists", "bundles")
			expectNothingPrivate(t, s.mustEnd(t))
		})
	}
}

func expectNothingPrivate(t *testing.T, read capture) {
	t.Helper()
	private := regexp.MustCompile(`(?i)secret[^ s=]|secret (o|p|e|c|w)|dead.?beef|de[:-]ad|aaaabbbb`)
	said := new(strings.Builder)
	for name, content := range read.files {
		said.Write(content)
		if found := private.FindAllString(string(content), -1); found != nil {
			t.Errorf("%s holds %q:\n%s", name, found, content)
		}
	}
	for _, kept := range []string{ // what we want to know is still there
		`status="ACTIVE"`, `edition="pro"`, "Version: Desktop 26.4.0-57513", "state='valid'", "restricted='off'", `"hw_key": "off"`,
		`"mac": "001C42`, `<VmInfo version="1.2">`, "DTD PLIST 1.0", "<Mac>001C42", "<M>00-1c-42-",
	} {
		if !strings.Contains(said.String(), kept) {
			t.Errorf("%s is gone", kept)
		}
	}
}

// What launchd and installer say of a failure: facts/acting.md 3, and the text of
// installer that people paste.
const failuresOfMacOS = `
Bootstrap failed: 5: Input/output error. Bootstrap failed: 37: Operation already in progress. Bootstrap failed: 119: Service is disabled.
Bootstrap failed: 122: Path had bad ownership/permissions. Bootstrap failed: 125: Domain does not support specified action.
Boot-out failed: 3: No such process. Try running launchctl bootout as root for richer errors. Boot-out failed: 36: Operation now in progress.
Boot-out failed: 113: Could not find specified service. Bad request. Could not find service "X" in domain for system.
Could not kickstart service: 1: Operation not permitted. Could not kickstart service: 150: Operation not permitted while System Integrity Protection is engaged.
installer: Error - the package path specified was invalid. installer: Must be run as root to install this package.
installer: The upgrade failed. The install failed. (The Installer encountered an error that caused the installation to fail. Contact the software manufacturer for assistance.
An error occurred while running scripts from the package.) package_script_service: `

// What prlagentd install and prlagent get say.
const wordsOfTheAgent = `
launchd keeps prlagentd running, as process 1. launchd knows prlagentd, and it does not run: its last process ended with 1.
prlagent is not on this Mac any more; removed: prlagentd is not running. Start it; if launchd does not know it.
`

// The words of macOS and of our own package's scripts are kept: they are what an
// archive is read for.
func TestScriptKnowsTheWordsOfAnInstallation(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile(scriptPath)
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]bool)
	for _, filled := range regexp.MustCompile(`(?m)^  fill\(WORD, "(.*)"\)$`).FindAllSubmatch(script, -1) {
		for word := range strings.FieldsSeq(string(filled[1])) {
			known[word] = true
		}
	}
	said := failuresOfMacOS + wordsOfTheAgent
	message := regexp.MustCompile(`(?m)(?:echo|refuse|reason=) ?"((?:[^"\\]|\\.)*)"`)
	for _, name := range []string{"preinstall", "postinstall", "uninstall.sh"} {
		content, err := os.ReadFile(filepath.Join("..", "..", "prlportal", "pkg", "testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		messages := message.FindAllSubmatch(content, -1)
		if len(messages) < 3 {
			t.Errorf("%s: only %d messages were found", name, len(messages))
		}
		for _, found := range messages {
			said += string(regexp.MustCompile(`\$\{?\w+[^}\s']*\}?|\$[*@]`).ReplaceAll(found[1], nil)) + "\n"
		}
	}
	for _, word := range regexp.MustCompile(`[A-Za-z_]+`).FindAllString(said, -1) {
		if !known[strings.ToLower(word)] && word != "X" {
			t.Errorf("%q is not known", word)
		}
	}
}
