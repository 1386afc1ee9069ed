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
		"another way":          {[]LicensingProfile{sso, key}, true},
		"another key":          {[]LicensingProfile{key, {User: "alice", Experience: "License Key", Key: "b"}}, true},
		"the third is another": {[]LicensingProfile{sso, {User: "alice", Experience: "SSO"}, {User: "bob", Experience: "License Key"}}, true},
	} {
		if got := LicensingConflict(c.profiles); got != "" != c.conflict {
			t.Errorf("%s: %q", name, got)
		}
	}
}
