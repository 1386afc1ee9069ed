package prlctl

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"prlagent/platform/plist"
)

// A profile of the Mac, and of each user in the folder of their name; files of
// other domains and folders without one are none (CFP-16).
func TestCFP_16_LicensingProfilesOfTheMacAndItsUsers(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	put := func(name string, values map[string]any) {
		t.Helper()
		path := filepath.Join(folder, name)
		data, err := plist.EncodeXML(values)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(path), 0o700)
		}
		if err == nil {
			err = os.WriteFile(path, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put(LicensingFile, map[string]any{"ActivationExperience": "SSO"})
	put("alice.b/"+LicensingFile, map[string]any{"ActivationExperience": "License Key", "LicenseKey": "k"})
	put("bob/other.plist", map[string]any{})
	put("other.plist", map[string]any{})
	put(".DS_Store", map[string]any{})
	put("other.plist.Xa81Kq", map[string]any{}) // that is being written
	got, err := ReadLicensingProfiles(folder)
	want := []LicensingProfile{{Experience: "SSO"}, {User: "alice.b", Experience: "License Key", Key: "k"}}
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("profiles %+v, %v, want %+v", got, err, want)
	}
	if conflict := LicensingConflict(got); conflict != "the Mac's and alice.b's" {
		t.Errorf("in conflict are %q", conflict)
	}
	if got, err := ReadLicensingProfiles(filepath.Join(folder, "none")); err != nil || len(got) != 0 {
		t.Errorf("no folder: %+v, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(folder, LicensingFile), []byte("no plist"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadLicensingProfiles(folder); err == nil {
		t.Error("a damaged profile is none")
	}
}

func TestCFP_16_WhatIsAConflict(t *testing.T) {
	t.Parallel()
	sso, key := LicensingProfile{Experience: "SSO"}, LicensingProfile{Experience: "License Key", Key: "a"}
	for name, c := range map[string]struct {
		profiles []LicensingProfile
		conflict bool
	}{
		"none":                 {nil, false},
		"one":                  {[]LicensingProfile{sso}, false},
		"twice the same":       {[]LicensingProfile{sso, {User: "alice", Experience: "sso"}}, false},
		"in small letters":     {[]LicensingProfile{key, {User: "alice", Experience: "License Key", Key: "A"}}, false},
		"another way":          {[]LicensingProfile{sso, key}, true},
		"another key":          {[]LicensingProfile{key, {User: "alice", Experience: "License Key", Key: "b"}}, true},
		"the third is another": {[]LicensingProfile{sso, {User: "alice", Experience: "SSO"}, {User: "bob", Experience: "License Key"}}, true},
	} {
		if got := LicensingConflict(c.profiles); got != "" != c.conflict {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// DEP-03, CFP-12: what is in force is as the profile says, as far as the tools show it.
func TestDEP_03_LicenseOfTheProfile(t *testing.T) {
	t.Parallel()
	sso := LicensingProfile{Experience: "SSO"}
	key := LicensingProfile{Experience: "License Key", Key: "ABCDEF-123456-GHJKLM-789ABC-NPQRST"}
	for name, c := range map[string]struct {
		profile LicensingProfile
		bySSO   bool
		shown   string
		want    bool
	}{
		"signed on, as it says":            {sso, true, "", true},
		"by a key, against it":             {sso, false, "ABCDEF-******-******-******-NPQRST", false},
		"its key":                          {key, false, "ABCDEF-******-******-******-NPQRST", true},
		"its key in small letters":         {key, false, "abcdef-******-******-******-npqrst", true},
		"another one":                      {key, false, "6J9A5T-******-******-******-RN17ZA", false},
		"with another last group":          {key, false, "ABCDEF-******-******-******-RN17ZA", false},
		"one that is not shown":            {key, false, "******-******-******-******-******", true},
		"nothing is shown":                 {key, false, "", true},
		"signed on, against it":            {key, true, "", false},
		"a profile without a key":          {LicensingProfile{Experience: "License Key"}, false, "6J9A5T-******-******-******-RN17ZA", true},
		"a profile with a word of its own": {LicensingProfile{Experience: "Key"}, true, "", true},
	} {
		if got := c.profile.IsMet(c.bySSO, c.shown); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	for word, want := range map[string]string{"sso": "SSO", "license key": "License Key", "\x1b[31m": "unknown", "": "unknown"} {
		if got := (LicensingProfile{Experience: word}).Activation(); got != want {
			t.Errorf("%q: %s", word, got)
		}
	}
}
