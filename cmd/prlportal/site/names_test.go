package site

import (
	"strings"
	"testing"
)

// The groups of a configuration are names of files (H63).
func TestH63_GroupsOfTheConfiguration(t *testing.T) {
	t.Parallel()
	good := func() Config {
		return Config{SiteID: "x", PrimaryGroup: "default", AdminTokenSHA256: strings.Repeat("a", 64), Enrollments: EnrollmentLimits{1, 1}}
	}
	if err := good().validate(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../../../etc/passwd%2f..", ".hidden", "a/b", "", strings.Repeat("z", 65)} {
		primary, listed, secret := good(), good(), good()
		primary.PrimaryGroup = name
		listed.Groups = []GroupConfig{{ID: name}}
		secret.EnrollmentSecrets = []EnrollmentSecret{{SHA256: strings.Repeat("a", 64), DefaultGroup: name}}
		for where, config := range map[string]Config{"primary_group": primary, "groups": listed, "default_group": secret} {
			if err := config.validate(); err == nil && (name != "" || where != "default_group") {
				t.Errorf("%s %.70q is accepted", where, name)
			}
		}
		if _, isHead := GroupOfHead(name + headSuffix); isHead {
			t.Errorf("%.70q has a head", name)
		}
	}
	if group, isHead := GroupOfHead("Staff_1.dsse.json"); !isHead || group != "Staff_1" {
		t.Errorf("head of Staff_1: %q, %t", group, isHead)
	}
}
