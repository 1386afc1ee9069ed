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
