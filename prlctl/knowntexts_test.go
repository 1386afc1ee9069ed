package prlctl

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"prlagent/platform/tool"
)

// The texts of facts/captures.md 4.2, each with its code, and whether anything
// failed at all.
func TestCaptures_4_2_ErrorTexts(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		said string
		code string
		none bool // not applicable
	}{
		"the license has expired": {
			"Failed to start the virtual machine: This product was activated for a limited period of time that has now expired. Activate it again.\n",
			CodeLicenseExpired, false},
		"an administrator's password": {
			"Failed to clone the virtual machine: The operation failed. To perform this operation, you must enter the host OS administrator's credentials.\n",
			CodeAdminPassword, false},
		"encrypted": {prompt("Payroll"), CodeVMPassword, false},
		"encrypted, with a name that is another text": {
			prompt("Unable to connect to Parallels Service"), CodeVMPassword, false},
		"encrypted, with a name that looks like JSON": {prompt(`{"a":[]`), CodeVMPassword, false},
		"encrypted, with a name of two lines that are other texts": {
			prompt("No licenses installed.\nUnrecognized option: --tpm"), CodeVMPassword, false},
		"a name that says the version has no such flag": {
			"The shared folder name 'Unrecognized option: --tpm' already used for VM\n", CodeToolFailed, false},
		"the guest has no such setting": {
			"Unable to commit VM configuration: Smart card sharing is not supported by the guest operating system.\nFailed to configure the virtual machine.\n",
			CodeGuestOS, true},
		"the version has no such flag": {"Unrecognized option: --auto-share-bluetooth\n", CodeUnrecognizedOption, true},
		"the configuration is invalid, without the blank": {
			"Unable to commit VM configuration: Unable to start the virtual machine.The virtual machine configuration is invalid.\n",
			CodeVMConfigInvalid, false},
		"busy": {
			"Unable to perform the action because the virtual machine is busy. The virtual machine is currently being cloned.\n",
			CodeVMBusy, false},
		"another edition": {"This feature is not available in this edition of Parallels Desktop. \n", CodeEdition, false},
		"no license":      {"Searching for installed licenses...\nNo licenses installed.\n", CodeNoLicense, false},
		"a text that nobody has seen": {
			"The moon is full.\n", CodeToolFailed, false},
		"a name that quotes the prompt in another message": {
			"The virtual machine 'x' is encrypted - password required to continue operation' could not be renamed.\n", CodeToolFailed, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for stream, result := range map[string]tool.Result{
				"standard error":  {ExitCode: 255, Stderr: []byte(c.said)},
				"standard output": {ExitCode: 255, Stdout: []byte(c.said)},
			} {
				err := exitError(&result)
				if err.Code != c.code || IsNotApplicable(err) != c.none {
					t.Errorf("%s: %v, not applicable %t; want %s, %t", stream, err, IsNotApplicable(err), c.code, c.none)
				}
			}
		})
	}
	if IsNotApplicable(nil) {
		t.Error("no error is not applicable")
	}
}

// The one table says of each text where it was seen.
func TestKnownTextsNameTheirSource(t *testing.T) {
	t.Parallel()
	for _, known := range knownTexts {
		if known.code == "" || known.source == "" || known.text == "" && known.exit == 0 || known.text != strings.ToLower(known.text) {
			t.Errorf("%+v lacks something", known)
		}
	}
}

func TestCaptures_4_1_Licenses(t *testing.T) {
	t.Parallel()
	const header = "Searching for installed licenses...\n"
	unknown := tool.Result{ExitCode: 255, Stderr: []byte("Unrecognized option: --json\n")}
	ok := func(text string) tool.Result { return tool.Result{Stdout: []byte(text)} }
	cases := map[string]struct {
		answers  []tool.Result // to --json, then to the text form
		want     License
		standing LicenseStanding
		code     string
	}{
		"none, exit 0":                {[]tool.Result{ok(header + "No licenses installed.\n")}, License{}, LicenseNone, ""},
		"none, exit 255":              {[]tool.Result{{ExitCode: 255, Stdout: []byte(header + "No licenses installed.\n")}}, License{}, LicenseNone, ""},
		"none, exit 255, on stderr":   {[]tool.Result{{ExitCode: 255, Stderr: []byte("No licenses installed.\n")}}, License{}, LicenseNone, ""},
		"none, an empty object":       {[]tool.Result{ok("{\n}\n")}, License{}, LicenseNone, ""},
		"none, an object in a text":   {[]tool.Result{ok(header + "{\n}\n")}, License{}, LicenseNone, ""},
		"active":                      {[]tool.Result{ok(header + `{"status":"ACTIVE","edition":"pro"}`)}, License{Status: "ACTIVE", Edition: "pro"}, LicenseInForce, ""},
		"graced":                      {[]tool.Result{ok(`{"status":"GRACED"}`)}, License{Status: "GRACED"}, LicenseInGrace, ""},
		"expired":                     {[]tool.Result{ok(`{"status":"EXPIRED"}`)}, License{Status: "EXPIRED"}, LicenseExpired, ""},
		"invalid":                     {[]tool.Result{ok(`{"status":"INVALID"}`)}, License{Status: "INVALID"}, LicenseInvalid, ""},
		"a word that nobody has seen": {[]tool.Result{ok(`{"status":"MOONLIT"}`)}, License{Status: "MOONLIT"}, LicenseInactive, ""},
		"two values that are words": {[]tool.Result{ok(`{"status":"ACTIVE","advanced_restrictions":"disabled","deferred_activation":"disabled"}`)},
			License{Status: "ACTIVE", AdvancedRestrictions: "disabled", DeferredActivation: "disabled"}, LicenseInForce, ""},
		"several keys in one": {[]tool.Result{ok(`{"status":"ACTIVE","serial":"6J9A5T-AAAAAA-BBBBBB-CCCCCC-RN17ZA;7K9A5T-AAAAAA-BBBBBB-CCCCCC-RN17ZB"}`)},
			License{Status: "ACTIVE", Serial: "6J9A5T-******-******-******-RN17ZA;7K9A5T-******-******-******-RN17ZB"}, LicenseInForce, ""},
		"the text form, asked for": {[]tool.Result{unknown, ok(header + "    status=\"ACTIVE\"\n    serial=\"6J9A5T-AAAAAA-BBBBBB-CCCCCC-RN17ZA\"\n    edition=\"pro\"\n")},
			License{Status: "ACTIVE", Serial: "6J9A5T-******-******-******-RN17ZA", Edition: "pro"}, LicenseInForce, ""},
		"the text form all the same":       {[]tool.Result{ok(header + "    status=\"EXPIRED\"\r\n    edition=\"business\"\r\n")}, License{Status: "EXPIRED", Edition: "business"}, LicenseExpired, ""},
		"the text form, none":              {[]tool.Result{unknown, ok(header + "No licenses installed.\n")}, License{}, LicenseNone, ""},
		"the text form, two readings":      {[]tool.Result{unknown, ok("    status=\"ACTIVE\"\n    status=\"EXPIRED\"\n")}, License{}, LicenseNone, CodeDuplicateKey},
		"a text without a status":          {[]tool.Result{unknown, ok(header + "    edition=\"pro\"\n")}, License{}, LicenseNone, CodeOutputInvalid},
		"a status in the middle of a line": {[]tool.Result{unknown, ok(header + "he said status=\"ACTIVE\" to me\n")}, License{}, LicenseNone, CodeOutputInvalid},
		"another form of object":           {[]tool.Result{ok(`{"license":{"status":"ACTIVE"}}`)}, License{}, LicenseNone, CodeOutputInvalid},
		"an object without a status":       {[]tool.Result{ok(`{"edition":"pro"}`)}, License{}, LicenseNone, CodeOutputInvalid},
		"a status that is a number":        {[]tool.Result{ok(`{"status":1,"edition":"pro"}`)}, License{}, LicenseNone, CodeOutputInvalid},
		"a status that is empty":           {[]tool.Result{ok(`{"status":""}`)}, License{}, LicenseNone, CodeOutputInvalid},
		"a text with an empty status":      {[]tool.Result{unknown, ok(header + "    status=\"\"\n")}, License{}, LicenseNone, CodeOutputInvalid},
		"service down":                     {[]tool.Result{{ExitCode: 253}}, License{}, LicenseNone, CodeServiceDown},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runner := &inTurn{results: c.answers}
			got, err := New(runner).License(t.Context())
			if errorCode(err) != c.code {
				t.Fatalf("got %v, want %q", err, c.code)
			}
			got.Notes = nil
			if diff := cmp.Diff(c.want, got); diff != "" || got.Standing() != c.standing {
				t.Errorf("standing %s, want %s; license (-want +got):\n%s", got.Standing(), c.standing, diff)
			}
			if asked := runner.commands[len(runner.commands)-1].Args; len(c.answers) == 2 && len(asked) != 2 {
				t.Errorf("asked for the text with %q", asked)
			}
		})
	}
}

// Captures 4.1: Standard closes set and exec, not list.
func TestCaptures_4_1_StandardEdition(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		edition, command string
		want             bool
	}{
		{"standard", "list", true}, {"standard", "register", true}, {"standard", "set", false}, {"Standard", "exec", false},
		{"pro", "set", true}, {"enterprise", "exec", true}, {"", "set", true},
	} {
		if got := (&License{Edition: c.edition}).Allows(c.command); got != c.want {
			t.Errorf("%s %s: %t, want %t", c.edition, c.command, got, c.want)
		}
	}
}
