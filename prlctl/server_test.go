package prlctl

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestServerInfo(t *testing.T) {
	t.Parallel()
	got, err := readServerInfo(sample(t, "info.json"))
	if err != nil {
		t.Fatal(err)
	}
	want := ServerInfo{
		ID: "57bf3726-def4-43d4-a32f-cc0e8e357e16", Version: Version{26, 3, 2, 57398}, VersionText: "Desktop 26.3.2-57398",
		OS: "macOS 26.4.1(25E253)", VMHome: "/Users/user1/Parallels", HardwareID: "{d16e8ca5-3b60-5bbe-aff4-5ba1012dd0cc}",
		StartedAsService: SwitchOn, ExternalDevices: "ask", CustomPassword: SwitchOff, PreferencesLocked: SwitchOff,
		RequirePassword: []string{"create-vm", "add-vm"}, SignedIn: SwitchOn,
		License: ServerLicense{State: "valid", Key: "6J9A5T-******-******-******-RN17ZA", Restricted: SwitchOff},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("server info (-want +got):\n%s", diff)
	}
}

func TestLicense(t *testing.T) {
	t.Parallel()
	cases := map[string]License{
		"info-license.json": {
			Status: "ACTIVE", Serial: "6J9A5T-******-******-******-RN17ZA", UUID: "c1b4e1b1-57ab-4b0e-9d5b-1de5f0d5a111",
			Edition: "enterprise", ActivationType: "SSO", Trial: SwitchOff, Volume: SwitchOn, CPUTotal: 32, MaxMemory: 131072,
		},
		"info-license-standard.txt": {
			Status: "ACTIVE", Serial: "6J9A5T-******-******-******-RN17ZA", Edition: "standard", ActivationType: "LIC_KEY",
			Trial: SwitchOn, MaxMemory: -1, Notes: []string{NoteEditionNotice, NoteTextAroundJSON},
		},
	}
	for name, want := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := readLicense(sample(t, name))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("license (-want +got):\n%s", diff)
			}
		})
	}
}

func TestObjectsThatAreNoAnswer(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ output, code string }{
		"an array":              {`[{"status":"ACTIVE"}]`, CodeOutputInvalid},
		"nothing":               {``, CodeOutputInvalid},
		"truncated":             {`{"status":"ACT`, CodeOutputInvalid},
		"duplicate key":         {`{"status":"ACTIVE","status":"x","Version":"a","Version":"b"}`, CodeDuplicateKey},
		"too deep":              {`{"a":` + strings.Repeat("[", 100), CodeOutputTooDeep},
		"wrong types, no error": {`{"status":"ACTIVE","edition":7,"is_trial":[],"License":[],"Require password to":"x","Version":{}}`, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := readLicense([]byte(c.output)); errorCode(err) != c.code {
				t.Errorf("license: want %q, got %v", c.code, err)
			}
			if _, err := readServerInfo([]byte(c.output)); errorCode(err) != c.code {
				t.Errorf("server info: want %q, got %v", c.code, err)
			}
		})
	}
}

func TestServerInfoIgnoresRepeatedDevices(t *testing.T) {
	t.Parallel()
	info, err := readServerInfo([]byte(`{"Version":"Desktop 26.3.2-57398","Hardware info":{"en0":{},"en0":{}}}`))
	if err != nil || info.Version.Major != 26 {
		t.Errorf("got %+v, %v", info, err)
	}
}

func TestFullKeysAreMasked(t *testing.T) {
	t.Parallel()
	info, err := readServerInfo([]byte(`{"License":{"key":"6J9A5T-AAAAAA-BBBBBB-CCCCCC-RN17ZA"}}`))
	if err != nil || info.License.Key != "6J9A5T-******-******-******-RN17ZA" {
		t.Errorf("got %q, %v", info.License.Key, err)
	}
}
