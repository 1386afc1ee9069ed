package profile

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"prlagent/platform/plist"
	"prlagent/platform/plist/plisttest"
)

var update = flag.Bool("update", false, "write the golden profiles")

// A key of the form of the vendor's, and what must never be shown of it.
const (
	licenseKey = "CANARY-LLLLLL-KKKKKK-YYYYYY-SECRET"
	otherKey   = "ABCDEF-123456-GHJKLM-789ABC-NPQRST"
)

const (
	developerRequirement = `identifier "prlagentd" and anchor apple generic and certificate 1[field.1.2.840.113635.100.6.2.6] exists` +
		` and certificate leaf[field.1.2.840.113635.100.6.1.13] exists and certificate leaf[subject.OU] = "ABCDE12345"`
	adHocRequirement = `cdhash H"0123456789abcdef0123456789abcdef01234567"`
)

func must(t *testing.T) func(Profile, error) Profile {
	return func(made Profile, err error) Profile {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
}

func encoded(t *testing.T, made Profile) []byte {
	t.Helper()
	data, err := made.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// samples are a profile of each kind, and of each form of it.
func samples(t *testing.T) map[string][]byte {
	t.Helper()
	licensed := must(t)(Licensing(licenseKey))
	licensed.Organization = "Example Org"
	made := map[string]Profile{
		"pppc-vendor":       must(t)(PPPC("")),
		"pppc":              must(t)(PPPC("# designated => " + developerRequirement + "\n")),
		"login-item":        must(t)(LoginItem("")),
		"login-item-team":   must(t)(LoginItem("ABCDE12345")),
		"notifications":     must(t)(Notifications([]string{SwiftDialog})),
		"licensing-sso":     must(t)(Licensing("")),
		"licensing-key":     licensed,
		"settings":          Settings(),
		"settings-of-group": {Identifier: "x", DisplayName: "X", Description: "X.", Namespace: uuid.NameSpaceDNS, Variant: "finance"},
	}
	data := make(map[string][]byte)
	for name, one := range made {
		data[name] = encoded(t, one)
	}
	return data
}

// CFP-12, CFP-17, CFP-19: the profiles, byte by byte, and read by two parsers.
func TestCFP_12_CFP_17_CFP_19_Profiles(t *testing.T) {
	t.Parallel()
	for name, data := range samples(t) {
		path := filepath.Join("testdata", name+".mobileconfig")
		if *update {
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(data, want) {
			t.Errorf("%s differs, %v; got:\n%s", path, err, data)
		}
	}
}

func TestProfilesReadByPlistutil(t *testing.T) {
	t.Parallel()
	parser := plisttest.Find(t)
	for name, data := range samples(t) {
		if err := parser.Agrees(data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// schemas are the names that each dictionary of a profile may have, by the facts
// (facts/macos.md 5.3, 7; facts/prlctl.md 7) and the schemas that they cite:
// apple/device-management at 0340fd30, com.apple.notificationsettings.yaml at
// 0a4527c5.
var schemas = map[string][]string{
	"": {"PayloadType", "PayloadVersion", "PayloadIdentifier", "PayloadUUID", "PayloadDisplayName", "PayloadDescription", "PayloadOrganization",
		"PayloadScope", "PayloadContent", "PayloadRemovalDisallowed"},
	typePPPC:               {"Services"},
	"Services":             {"SystemPolicyAllFiles", "SystemPolicyDesktopFolder", "SystemPolicyDocumentsFolder", "SystemPolicyDownloadsFolder"},
	"SystemPolicy":         {"Identifier", "IdentifierType", "CodeRequirement", "StaticCode", "Allowed"},
	typeLoginItems:         {"Rules"},
	"Rules":                {"RuleType", "RuleValue", "Comment"},
	typeNotifications:      {"NotificationSettings"},
	"NotificationSettings": {"BundleIdentifier", "NotificationsEnabled", "ShowInNotificationCenter", "ShowInLockScreen", "AlertType", "BadgesEnabled", "SoundsEnabled"},
	typeLicensing:          {"ActivationExperience", "LicenseKey"},
}

func checkNames(t *testing.T, where string, values map[string]any, schema []string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(schema, name) {
			t.Errorf("%s: no fact names %s", where, name)
		}
		below := name
		if strings.HasPrefix(name, "SystemPolicy") {
			below = "SystemPolicy"
		}
		switch value := values[name].(type) {
		case map[string]any:
			checkNames(t, where+"/"+name, value, schemas[below])
		case []any:
			for _, one := range value {
				if entry, is := one.(map[string]any); is && name != "PayloadContent" {
					checkNames(t, where+"/"+name, entry, schemas[below])
				}
			}
		}
	}
}

// The profiles hold only keys that the facts name, and each payload what it must.
func TestProfilesHoldOnlyWhatTheFactsName(t *testing.T) {
	t.Parallel()
	for name, data := range samples(t) {
		document, err := plist.DecodeDict(data)
		if err != nil {
			t.Fatal(err)
		}
		checkNames(t, name, document, schemas[""])
		payloads, _ := document["PayloadContent"].([]any)
		for _, one := range payloads {
			payload := maps.Clone(one.(map[string]any))
			kind, _ := payload["PayloadType"].(string)
			maps.DeleteFunc(payload, func(name string, _ any) bool { return slices.Contains(append(commonKeys, "PayloadDisplayName"), name) })
			checkNames(t, name+"/"+kind, payload, schemas[kind])
		}
	}
}

// A profile that is made again, with another content, takes the place of the one
// before it: identifiers and UUIDs are the same, and of no other kind.
func TestAProfileMadeAgainReplacesTheOneBefore(t *testing.T) {
	t.Parallel()
	ids := func(data []byte) [4]any {
		document, err := plist.DecodeDict(data)
		if err != nil {
			t.Fatal(err)
		}
		payload := document["PayloadContent"].([]any)[0].(map[string]any)
		return [4]any{document["PayloadIdentifier"], document["PayloadUUID"], payload["PayloadIdentifier"], payload["PayloadUUID"]}
	}
	first, again, sso := encoded(t, must(t)(Licensing(licenseKey))), encoded(t, must(t)(Licensing(otherKey))), encoded(t, must(t)(Licensing("")))
	if bytes.Equal(first, again) || ids(first) != ids(again) || ids(first) != ids(sso) {
		t.Errorf("%v, %v, %v", ids(first), ids(again), ids(sso))
	}
	seen := make(map[any]string)
	for name, data := range samples(t) {
		kind, _, _ := strings.Cut(name, "-")
		if document, _ := plist.DecodeDict(data); len(document["PayloadContent"].([]any)) == 0 {
			continue
		}
		for _, id := range ids(data) {
			if other, known := seen[id]; known && other != kind {
				t.Errorf("%s and %s share %v", kind, other, id)
			}
			seen[id] = kind
		}
	}
}

func TestCFP_19_RequirementsAsPeopleCopyThem(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"designated => " + developerRequirement:                        developerRequirement,
		"Executable=/x/prlagentd\n# designated => " + adHocRequirement: adHocRequirement,
		" " + developerRequirement + " \n":                             developerRequirement,
		`identifier "cut off`:                                          "",
		"identifier “x”":                                               "",
		"a\nb":                                                         "",
		"designated => ":                                               "",
		strings.Repeat("x", maxRequirement+1):                          "",
	} {
		if got, err := checkRequirement(typed); got != want || (err == nil) != (want != "") {
			t.Errorf("%.60q: %q, %v", typed, got, err)
		}
	}
}

func TestWhatIsNoTeamNoApplicationAndNoKey(t *testing.T) {
	t.Parallel()
	for _, team := range []string{"ABC", "abcde12345", "ABCDE12345X"} {
		if _, err := LoginItem(team); err == nil {
			t.Errorf("the team %s is taken", team)
		}
	}
	for _, application := range []string{"", "Dialog", "a b.c", "../x.y"} {
		if _, err := Notifications([]string{application}); err == nil {
			t.Errorf("the application %q is taken", application)
		}
	}
	for _, key := range []string{"CANARY", licenseKey + "-AAAAAA", strings.ReplaceAll(licenseKey, "-", ""), "CANARY-LLLLLL-KKKKKK-YYYYYY-SECRE!"} {
		if _, err := Licensing(key); err != ErrLicenseKey || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("the key %s: %v", key, err)
		}
	}
	if made := must(t)(Licensing(" abcdef–123456-ghjklm-789abc-npqrst\n")); made.Payloads[0].Settings["LicenseKey"] != otherKey {
		t.Errorf("a key as a mail has it: %v", made.Payloads[0].Settings["LicenseKey"])
	}
}
