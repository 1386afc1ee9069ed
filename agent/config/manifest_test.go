package config

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"prlagent/platform/plist"
	"prlagent/platform/plist/plisttest"
)

var update = flag.Bool("update", false, "write the reference and the manifest")

// golden compares with a file that admins read, and that stands beside the code.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the table of keys says: run 'go test ./agent/config -update', and raise manifestVersion and manifestModified if the manifest differs from a published one", name)
	}
}

func manifestXML(t *testing.T) []byte {
	t.Helper()
	data, err := plist.EncodeXML(Manifest())
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestReferenceIsMadeFromTheTable(t *testing.T) {
	t.Parallel()
	golden(t, "keys.md", []byte(Reference()))
}

func TestManifestIsMadeFromTheTable(t *testing.T) {
	t.Parallel()
	golden(t, Domain+".plist", manifestXML(t))
}

func TestManifestReadByPlistutil(t *testing.T) {
	t.Parallel()
	if err := plisttest.Find(t).Agrees(manifestXML(t)); err != nil {
		t.Error(err)
	}
}

// Names of ProfileManifests (facts/macos.md 13.4, and counted in the 123 manifests of
// Manifests/ManagedPreferencesApplications at commit e4b340f9 of 2026-08-18;
// pfm_sensitive in its manifests of Apple's domains).
var (
	manifestRootNames = []string{"pfm_domain", "pfm_title", "pfm_description", "pfm_format_version", "pfm_version", "pfm_last_modified", "pfm_platforms",
		"pfm_subkeys", "pfm_unique", "pfm_targets", "pfm_documentation_url", "pfm_app_url", "pfm_interaction", "pfm_macos_min", "pfm_icon"}
	manifestKeyNames = []string{"pfm_name", "pfm_type", "pfm_title", "pfm_description", "pfm_default", "pfm_require", "pfm_range_list", "pfm_range_list_titles",
		"pfm_range_min", "pfm_range_max", "pfm_format", "pfm_value_placeholder", "pfm_value_unit", "pfm_conditionals", "pfm_exclude", "pfm_sensitive", "pfm_subkeys"}
	manifestTypes = []string{"string", "boolean", "integer", "array", "dictionary", "date", "data", "real"}
)

// The manifest holds only what the format names, and every key that the agent reads
// from a profile.
func TestManifestHoldsOnlyWhatTheFormatNames(t *testing.T) {
	t.Parallel()
	manifest, err := plist.DecodeDict(manifestXML(t))
	if err != nil {
		t.Fatal(err)
	}
	for name := range manifest {
		if !slices.Contains(manifestRootNames, name) {
			t.Errorf("the format has no %s", name)
		}
	}
	for _, name := range manifestRootNames[:8] { // which every manifest has
		if _, has := manifest[name]; !has {
			t.Errorf("%s is missing", name)
		}
	}
	subkeys := manifest["pfm_subkeys"].([]any)
	var names []string
	for _, subkey := range subkeys {
		names = append(names, subkey.(map[string]any)["pfm_name"].(string))
		checkSubkey(t, subkey.(map[string]any))
	}
	payload := []string{"PayloadDescription", "PayloadDisplayName", "PayloadIdentifier", "PayloadType", "PayloadUUID", "PayloadVersion", "PayloadOrganization"}
	read := slices.DeleteFunc(keyNames(), func(name string) bool { return name == timingKey })
	if want := append(payload, read...); !slices.Equal(names, want) {
		t.Errorf("keys %v, want %v", names, want)
	}
}

func checkSubkey(t *testing.T, subkey map[string]any) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(subkey)) {
		if !slices.Contains(manifestKeyNames, name) {
			t.Errorf("%v: the format has no %s", subkey["pfm_name"], name)
		}
	}
	if kind, _ := subkey["pfm_type"].(string); !slices.Contains(manifestTypes, kind) {
		t.Errorf("%v has the type %v", subkey["pfm_name"], subkey["pfm_type"])
	}
	if pattern, has := subkey["pfm_format"].(string); has {
		expression, err := regexp.Compile(pattern)
		if example, given := subkey["pfm_value_placeholder"].(string); err != nil || given && !expression.MatchString(example) {
			t.Errorf("%v: %v, example %q", subkey["pfm_name"], err, example)
		}
	}
	below, _ := subkey["pfm_subkeys"].([]any)
	for _, one := range below {
		checkSubkey(t, one.(map[string]any))
	}
}

// What a row says to people and what it says to tools is one type, and its default is
// what is in force without it.
func TestFormsOfKeysAgreeWithTheirWords(t *testing.T) {
	t.Parallel()
	for _, key := range keyTable {
		if !strings.HasPrefix(key.valueType, key.form.kind) {
			t.Errorf("%s is of the type %q and has the form %s", key.name, key.valueType, key.form.kind)
		}
		for _, word := range key.form.choices {
			if !strings.Contains(key.valueType, word) {
				t.Errorf("%s: %q does not name %s", key.name, key.valueType, word)
			}
		}
		if standard := key.standardValue(); standard != nil {
			if words := key.show(defaultConfig()); words != key.defaultWords {
				t.Errorf("%s: in force without it is %s, its words are %s", key.name, words, key.defaultWords)
			}
		}
		c := defaultConfig()
		if key.form.example != "" && len(key.parse(c, key.form.example)) > 0 {
			t.Errorf("%s: its example is refused", key.name)
		}
	}
}

func TestTypedValues(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		key, typed string
		want       any // nil: refused
	}{
		"string":                       {"Group", " finance ", "finance"},
		"boolean":                      {"NotifyUsers", "Yes", true},
		"no boolean":                   {"NotifyUsers", "maybe", nil},
		"list":                         {"AllowedCommands", "vm.lock, vm.unlock,", []any{"vm.lock", "vm.unlock"}},
		"empty list":                   {"AllowedCommands", "", []any{}},
		"numbers":                      {"CommandThreshold", "vm.delete=2,vm.lock=1", map[string]any{"vm.delete": uint64(2), "vm.lock": uint64(1)}},
		"numbers of fixed names":       {"DestructiveLimit", "Count=2,WindowHours=12", map[string]any{"Count": uint64(2), "WindowHours": uint64(12)}},
		"no numbers":                   {"DestructiveLimit", "2", nil},
		"a dictionary":                 {"Policy", "x", nil},
		"an array of dictionaries":     {"PolicyKeys", "x", nil},
		"no key":                       {"Nonsense", "x", nil},
		"misspelled":                   {"LogLevl", "x", nil},
		"for tests only":               {"Timing", "Tick=1", nil},
		"a secret":                     {"EnrollmentSecret", "CANARY-secret", nil},
		"a password in a proxy":        {"Proxy", "http://u:CANARY-secret@proxy:1", nil},
		"a proxy without one":          {"Proxy", "http://proxy.example:3128", "http://proxy.example:3128"},
		"what the agent does not take": {"Mode", "enforced", "enforced"}, // Check says so
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := TypedValue(c.key, c.typed)
			if (err != nil) != (c.want == nil) || err == nil && !plist.Equal(got, c.want) {
				t.Errorf("%v, %v", got, err)
			}
			if err != nil && strings.Contains(err.Error(), "CANARY") {
				t.Errorf("the secret is shown: %v", err)
			}
		})
	}
	if _, err := TypedValue("LogLevl", "x"); err == nil || !strings.Contains(err.Error(), "LogLevel") {
		t.Errorf("a misspelled key: %v", err)
	}
}

func TestValuesOfFiles(t *testing.T) {
	t.Parallel()
	policy, err := plist.EncodeXML(dict{"schema": 1})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		key     string
		content []byte
		want    any
	}{
		"secret":       {"EnrollmentSecret", []byte("secret\n"), "secret"},
		"dictionary":   {"Policy", policy, dict{"schema": uint64(1)}},
		"no plist":     {"Policy", []byte("CANARY-secret"), nil},
		"no such key":  {"Polic", policy, nil},
		"empty string": {"Group", nil, ""},
	} {
		got, err := FileValue(c.key, c.content)
		if (err != nil) != (c.want == nil) || err == nil && !plist.Equal(got, c.want) || err != nil && strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// A profile is checked as the Mac reads it.
func TestCheckSaysWhatAMacWouldSay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		values dict
		wrong  []string // keys
	}{
		"fine":                {dict{"ServerURL": "https://portal.example", "Mode": "enforce", "PayloadType": Domain}, nil},
		"one refused":         {dict{"ServerURL": "http://portal.example", "Mode": "enforce"}, []string{"ServerURL"}},
		"misspelled":          {dict{"ServerUrl": "https://portal.example", "Mode": "enforce"}, []string{"ServerUrl"}},
		"wrong type":          {dict{"NotifyUsers": "yes"}, []string{"NotifyUsers"}},
		"more than there are": {dict{"CommandThreshold": dict{"vm.delete": uint64(2)}}, []string{"CommandThreshold"}},
		"nothing of ours":     {dict{"x": "y"}, []string{"profile"}},
	} {
		var wrong []string
		for _, problem := range Check(c.values) {
			wrong = append(wrong, problem.Key)
		}
		if !slices.Equal(wrong, c.wrong) {
			t.Errorf("%s: %v, want %v", name, wrong, c.wrong)
		}
	}
}

func TestTitlesOfKeys(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"ServerURL": "Server URL", "SiteID": "Site ID", "AllowUnprovenLocks": "Allow Unproven Locks", "Mode": "Mode", "KeyID": "Key ID"} {
		if got := titleOf(name); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// The page and the manifest are where the README and each other look for them.
func TestPagesOfKeysAreLinked(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(readme, []byte("(agent/config/keys.md)")) {
		t.Error("README does not link the reference of the keys")
	}
}
