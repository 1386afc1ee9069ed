package profile

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"prlagent/agent/config"
	"prlagent/platform"
)

// profileOf is an encoded profile with payloads.
func profileOf(t *testing.T, payloads ...Payload) []byte {
	t.Helper()
	return encoded(t, Profile{Identifier: "x", DisplayName: "X", RemovalDisallowed: true, Payloads: payloads})
}

func licensing(settings map[string]any) Payload {
	return Payload{Type: typeLicensing, Name: "license", Settings: settings}
}

func privacy(services map[string]any) Payload {
	return Payload{Type: typePPPC, Name: "privacy", Settings: map[string]any{"Services": services}}
}

func codes(found []Finding) []string {
	list := []string{}
	for _, one := range found {
		if one.Code != "profile_unsigned" {
			list = append(list, one.Code)
		}
	}
	return list
}

// CFP-12, CFP-16, CFP-17, CFP-18, CFP-19: what is wrong has a code and a remedy, and no
// finding shows a key.
func TestCFP_17_CFP_18_CFP_19_Lint(t *testing.T) {
	t.Parallel()
	removable := must(t)(Licensing(licenseKey))
	removable.RemovalDisallowed = false
	by := newECSigner(t)
	signed, err := Sign(encoded(t, must(t)(Licensing(""))), by.certificate, by.key)
	if err != nil {
		t.Fatal(err)
	}
	vendor := identity(vendorApplication, "bundleID", platform.ApplicationRequirement)
	denied := identity(vendorApplication, "bundleID", platform.ApplicationRequirement)
	denied[0]["Allowed"] = false
	asPrinted := strings.ReplaceAll(platform.ApplicationRequirement, " exists", " /* exists */")
	wrongTeam := strings.ReplaceAll(platform.ApplicationRequirement, "4C6364ACXT", "ABCDE12345")
	mcx := Payload{Type: typeCustomSettings, Name: "mcx", Settings: map[string]any{"PayloadContent": map[string]any{
		typeLicensing: map[string]any{"Forced": []any{map[string]any{"mcx_preference_settings": map[string]any{"ActivationExperience": "License Key"}}}}}}}
	for name, c := range map[string]struct {
		data []byte
		want []string
	}{
		"a licensing profile of ours":           {encoded(t, must(t)(Licensing(licenseKey))), nil},
		"single sign-on":                        {encoded(t, must(t)(Licensing(""))), nil},
		"signed":                                {signed, []string{"profile_signed"}},
		"signed and cut":                        {signed[:len(signed)-9], []string{"signature_broken"}},
		"no profile":                            {[]byte("CANARY"), []string{"profile_unreadable"}},
		"removable":                             {encoded(t, removable), []string{"licensing_removable"}},
		"no key":                                {profileOf(t, licensing(map[string]any{"ActivationExperience": "License Key"})), []string{"licensing_key_missing"}},
		"an empty key":                          {profileOf(t, licensing(map[string]any{"ActivationExperience": "License Key", "LicenseKey": ""})), []string{"licensing_key_missing"}},
		"a key of another form":                 {profileOf(t, licensing(map[string]any{"ActivationExperience": "License Key", "LicenseKey": "CANARY"})), []string{"licensing_key_malformed"}},
		"a key beside single sign-on":           {profileOf(t, licensing(map[string]any{"ActivationExperience": "SSO", "LicenseKey": licenseKey})), []string{"licensing_key_unused"}},
		"the word of the user's own domain":     {profileOf(t, licensing(map[string]any{"ActivationExperience": "sso"})), []string{"licensing_experience"}},
		"a key that nobody reads":               {profileOf(t, licensing(map[string]any{"ActivationExperience": "SSO", "LicenceKey": licenseKey})), []string{"key_unknown"}},
		"the same identifier twice":             {profileOf(t, licensing(map[string]any{"ActivationExperience": "SSO"}), licensing(map[string]any{"ActivationExperience": "SSO"})), []string{"payload_doubled", "payload_doubled"}},
		"no identifier":                         {encoded(t, Profile{RemovalDisallowed: true}), []string{"payload_incomplete"}},
		"custom settings of an MDM":             {profileOf(t, mcx), []string{"licensing_key_missing"}},
		"settings that the agent refuses":       {profileOf(t, Payload{Type: config.Domain, Name: "p", Settings: map[string]any{"Mode": "enforced"}}), []string{"setting_refused"}},
		"settings that it takes":                {profileOf(t, Payload{Type: config.Domain, Name: "p", Settings: map[string]any{"Mode": "enforce"}}), nil},
		"privacy":                               {encoded(t, must(t)(PPPC(developerRequirement))), nil},
		"of one build":                          {encoded(t, must(t)(PPPC(adHocRequirement))), []string{"requirement_of_one_build"}},
		"the requirement as codesign has it":    {profileOf(t, privacy(map[string]any{serviceAllFiles: identity(vendorApplication, "bundleID", asPrinted)})), nil},
		"no requirement":                        {profileOf(t, privacy(map[string]any{serviceAllFiles: identity("/x", "path", " ")})), []string{"requirement_missing"}},
		"another team":                          {profileOf(t, privacy(map[string]any{serviceAllFiles: identity(vendorApplication, "bundleID", wrongTeam)})), []string{"requirement_differs"}},
		"one folder of the three":               {profileOf(t, privacy(map[string]any{serviceDesktop: vendor})), []string{"services_missing"}},
		"denied":                                {profileOf(t, privacy(map[string]any{serviceAllFiles: denied, serviceDesktop: vendor})), []string{"services_missing"}},
		"letters that are none of a key":        {profileOf(t, licensing(map[string]any{"ActivationExperience": "License Key", "LicenseKey": "ſſſſſſ-" + licenseKey[7:]})), []string{"licensing_key_malformed"}},
		"a key that an entry does not have":     {profileOf(t, privacy(map[string]any{serviceAllFiles: []any{map[string]any{"CodeRequirement": developerRequirement, "Identifer": "x"}}})), []string{"key_unknown"}},
		"nothing that is known, and no payload": {profileOf(t), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := Lint([]File{{"x.mobileconfig", c.data}})
			if got := codes(found); !slices.Equal(got, append([]string{}, c.want...)) {
				t.Errorf("%v, want %v", got, c.want)
			}
			said, err := json.Marshal(found)
			if err != nil || strings.Contains(string(said), "CANARY") {
				t.Errorf("%v, %s", err, said)
			}
			for _, one := range found {
				if one.Text == "" || one.Remedy == "" || one.File != "x.mobileconfig" {
					t.Errorf("%+v", one)
				}
			}
		})
	}
}

// CFP-16: two licensing profiles that say different things are an error, wherever they
// are; the same one twice is none.
func TestCFP_16_LintOfTwoLicensingProfiles(t *testing.T) {
	t.Parallel()
	file := func(name, key string) File { return File{name, encoded(t, must(t)(Licensing(key)))} }
	for name, c := range map[string]struct {
		files []File
		want  []string
	}{
		"another key": {[]File{file("a", licenseKey), file("b", otherKey)}, []string{"licensing_twice"}},
		"another way": {[]File{file("a", licenseKey), file("b", ""), file("c", licenseKey)}, []string{"licensing_twice"}},
		"another way with the same key": {[]File{file("a", licenseKey), {"b", profileOf(t, licensing(map[string]any{"ActivationExperience": "SSO", "LicenseKey": licenseKey}))}},
			[]string{"licensing_key_unused", "licensing_twice"}},
		"the same one twice": {[]File{file("a", licenseKey), file("b", licenseKey)}, []string{}},
		"in one file": {[]File{{"a", profileOf(t, licensing(map[string]any{"ActivationExperience": "SSO"}),
			Payload{Type: typeLicensing, Name: "other", Settings: map[string]any{"ActivationExperience": "License Key", "LicenseKey": otherKey}})}}, []string{"licensing_twice"}},
	} {
		found := Lint(c.files)
		if got := codes(found); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		for _, one := range found {
			if one.Code == "licensing_twice" && one.Detail != "the other is in a" {
				t.Errorf("%s: %+v", name, one)
			}
		}
	}
}

// Two profiles for the agent that contradict each other are not for one Mac; they may be
// for two.
func TestLintOfTwoAgentProfiles(t *testing.T) {
	t.Parallel()
	file := func(name string, settings map[string]any) File {
		return File{name, profileOf(t, Payload{Type: config.Domain, Name: name, Settings: settings})}
	}
	base := map[string]any{"Group": "finance", "Mode": "monitor", "AllowedCommands": []any{"vm.lock"}}
	for name, c := range map[string]struct {
		other map[string]any
		want  []string // details
	}{
		"other settings":  {map[string]any{"LogLevel": "debug"}, nil},
		"the same ones":   {map[string]any{"Mode": "monitor", "AllowedCommands": []any{"vm.lock"}}, nil},
		"another value":   {map[string]any{"Mode": "enforce", "Group": "finance"}, []string{"Mode; the other is in a"}},
		"another list":    {map[string]any{"AllowedCommands": []any{"vm.lock", "vm.delete"}}, []string{"AllowedCommands; the other is in a"}},
		"several of them": {map[string]any{"Mode": "enforce", "Group": "sales"}, []string{"Group; the other is in a", "Mode; the other is in a"}},
	} {
		var got []string
		for _, one := range Lint([]File{file("a", base), file("b", c.other)}) {
			switch {
			case one.Code == "settings_twice" && one.File == "b" && one.Severity == Note:
				got = append(got, one.Detail)
			case one.Severity == Failure:
				t.Errorf("%s: %+v", name, one)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// CFP-17: a file of less than a megabyte does not make gigabytes of findings.
func TestCFP_17_LintOfAFileThatRepeatsItself(t *testing.T) {
	t.Parallel()
	settings := map[string]any{"ActivationExperience": "SSO"}
	for i := range 2 * maxFindings {
		settings[strings.Repeat("x", 4000)+strconv.Itoa(i)] = true
	}
	payload := licensing(settings)
	payload.Name = strings.Repeat("ü", 4000)
	found := Lint([]File{{"x", profileOf(t, payload)}, {"y", encoded(t, must(t)(Licensing(licenseKey)))}})
	list := codes(found)
	if !slices.Contains(list, "findings_left_out") || list[len(list)-1] != "licensing_twice" || len(found) != maxFindings+1+2 {
		t.Errorf("%d findings: %v", len(found), list)
	}
	for _, one := range found {
		if len(one.Payload) > 300 || len(one.Detail) > 300 || !utf8.ValidString(one.Payload) {
			t.Fatalf("%d and %d bytes", len(one.Payload), len(one.Detail))
		}
	}
}

// Every rule has a code in the form of codes, words and a remedy.
func TestRulesAreComplete(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[a-z]+(_[a-z]+)+$`)
	seen := make(map[string]bool)
	for _, rule := range Rules {
		if !form.MatchString(rule.Code) || seen[rule.Code] || !strings.HasSuffix(rule.Text, ".") || !strings.HasSuffix(rule.Remedy, ".") ||
			!slices.Contains([]Severity{Failure, Warning, Note}, rule.Severity) {
			t.Errorf("%+v", rule)
		}
		seen[rule.Code] = true
	}
}
