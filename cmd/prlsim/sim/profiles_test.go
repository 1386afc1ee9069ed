package sim

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"prlagent/platform/plist"
)

// profileOf is a configuration profile.
func profileOf(t *testing.T, identifier string, payloads ...any) []byte {
	t.Helper()
	content, err := plist.EncodeXML(map[string]any{
		"PayloadType": "Configuration", "PayloadVersion": uint64(1), "PayloadIdentifier": identifier, "PayloadUUID": "U-" + identifier,
		"PayloadDisplayName": "About " + identifier, "PayloadOrganization": "Example", "PayloadContent": payloads,
	})
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func payloadOf(kind string, values map[string]any) map[string]any {
	payload := map[string]any{"PayloadType": kind, "PayloadIdentifier": kind + ".1", "PayloadUUID": "P-" + kind, "PayloadVersion": uint64(1)}
	maps.Copy(payload, values)
	return payload
}

func managedOf(t *testing.T, mac Mac, file string) map[string]any {
	t.Helper()
	content, err := os.ReadFile(mac.Path(managedPreferences + "/" + file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	values, err := plist.DecodeDict(content)
	if err != nil {
		t.Fatal(err)
	}
	return values
}

func installProfileOn(t *testing.T, mac Mac, content []byte, user string) {
	t.Helper()
	mustUpdate(t, mac, func(state *State) error {
		_, err := mac.installProfile(state, content, user)
		return err
	})
}

// What a profile forces is there while it is installed, and no longer.
func TestProfilesForcePreferences(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	installProfileOn(t, mac, profileOf(t, "com.example.a",
		payloadOf("org.example.agent", map[string]any{"ServerURL": "https://a", "Poll": uint64(3)}),
		payloadOf("com.apple.ManagedClient.preferences", map[string]any{"PayloadContent": map[string]any{"com.example.other": map[string]any{
			"Forced":   []any{map[string]any{"mcx_preference_settings": map[string]any{"x": true}}},
			"Set-Once": []any{map[string]any{"mcx_preference_settings": map[string]any{"y": true}}},
		}}}),
		payloadOf("com.apple.servicemanagement", map[string]any{"Rules": []any{}})), "")
	installProfileOn(t, mac, profileOf(t, "com.example.b", payloadOf("org.example.agent", map[string]any{"Poll": uint64(5)})), "")
	installProfileOn(t, mac, profileOf(t, "com.example.c", payloadOf("org.example.agent", map[string]any{"Poll": uint64(7)})), "alice")
	if got := managedOf(t, mac, "org.example.agent.plist"); got["ServerURL"] != "https://a" || got["Poll"] != uint64(5) || got["PayloadUUID"] == nil {
		t.Errorf("of both: %v", got)
	}
	if got := managedOf(t, mac, "alice/org.example.agent.plist"); got["Poll"] != uint64(7) || got["ServerURL"] != nil {
		t.Errorf("alice's: %v", got)
	}
	if got := managedOf(t, mac, "com.example.other.plist"); got["x"] != true || got["y"] != nil {
		t.Errorf("of another domain: %v", got)
	}
	if managedOf(t, mac, "com.apple.servicemanagement.plist") != nil {
		t.Error("a payload of macOS is a domain")
	}

	// Another one of the same identifier takes its place; a key that it lacks is gone.
	installProfileOn(t, mac, profileOf(t, "com.example.a", payloadOf("org.example.agent", map[string]any{"Group": "g"})), "")
	if got := managedOf(t, mac, "org.example.agent.plist"); got["ServerURL"] != nil || got["Group"] != "g" || got["Poll"] != uint64(5) {
		t.Errorf("replaced: %v", got)
	}
	if managedOf(t, mac, "com.example.other.plist") != nil {
		t.Error("a domain is forced by no profile any more")
	}
	for _, identifier := range []string{"com.example.a", "com.example.b", "com.example.c"} {
		mustUpdate(t, mac, func(state *State) error { return mac.removeProfile(state, identifier) })
	}
	if got := managedOf(t, mac, "org.example.agent.plist"); got != nil {
		t.Errorf("removed: %v", got)
	}
	if entries, _ := os.ReadDir(mac.markerPath("profiles")); len(entries) > 0 {
		t.Errorf("profiles are left: %v", entries)
	}
}

func TestProfilesThatAreNone(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	whole := string(profileOf(t, "com.example.a", payloadOf("org.example.agent", nil)))
	for name, content := range map[string]string{
		"signed":              "0\x82\x01\x02",
		"no identifier":       strings.Replace(whole, ">com.example.a<", "><", 1),
		"a path":              strings.Replace(whole, ">com.example.a<", ">../a<", 1),
		"another type":        strings.Replace(whole, ">Configuration<", ">Other<", 1),
		"payload without one": strings.Replace(whole, ">P-org.example.agent<", "><", 1),
		"a domain that leads": strings.Replace(whole, ">org.example.agent<", ">../org.example.agent<", 1),
	} {
		err := mac.update(func(state *State) error {
			_, err := mac.installProfile(state, []byte(content), "")
			return err
		})
		if content == whole || err == nil {
			t.Errorf("%s is installed", name)
		}
	}
	if state, err := mac.Load(); err != nil || len(state.Profiles) > 0 {
		t.Errorf("profiles %v, %v", state.Profiles, err)
	}
}

// The command profiles only looks.
func TestProfilesCommand(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	root, alice := callAs(mac, rootUser), callAs(mac, "alice")
	none := map[string]outcome{
		"list":                    {0, "There are no configuration profiles installed in the system domain\n", ""},
		"status -type enrollment": {0, "Enrolled via DEP: No\nMDM enrollment: No\n", ""},
	}
	for line, want := range none {
		if got := root.run(t, "profiles", strings.Fields(line)...); got != want {
			t.Errorf("%s: %+v", line, got)
		}
	}
	if got := alice.run(t, "profiles", "list"); got.stdout != "There are no configuration profiles installed for user 'alice'\n" {
		t.Errorf("alice: %+v", got)
	}
	installProfileOn(t, mac, profileOf(t, "com.example.a", payloadOf("org.example.agent", map[string]any{"ServerURL": "https://a"})), "")
	if got := root.run(t, "profiles", "list").stdout; got != "_computerlevel[1] attribute: profileIdentifier: com.example.a\nThere are 1 configuration profiles installed\n" {
		t.Errorf("list: %q", got)
	}
	if got := root.run(t, "profiles", "show").stdout; !strings.Contains(got, "_computerlevel[1] attribute: name: About com.example.a\n") || !strings.Contains(got, "attribute: profileUUID: U-com.example.a\n") {
		t.Errorf("show: %q", got)
	}
	if got := root.run(t, "profiles", "status", "-type", "enrollment").stdout; !strings.Contains(got, "MDM enrollment: Yes (User Approved)") {
		t.Errorf("status: %q", got)
	}
	for _, line := range []string{"show -type configuration -output stdout-xml", "-C -o stdout-xml"} {
		document, err := plist.DecodeDict([]byte(root.run(t, "profiles", strings.Fields(line)...).stdout))
		list, _ := document["_computerlevel"].([]any)
		if err != nil || len(list) != 1 {
			t.Fatalf("%s: %v, %v", line, document, err)
		}
		one := list[0].(map[string]any)
		item := one["ProfileItems"].([]any)[0].(map[string]any)
		if one["ProfileIdentifier"] != "com.example.a" || one["ProfileType"] != "Configuration" || item["PayloadType"] != "org.example.agent" ||
			item["PayloadContent"].(map[string]any)["ServerURL"] != "https://a" {
			t.Errorf("%s: %v", line, one)
		}
	}
	for _, line := range []string{"install -path x", "install", "remove -all", "list -type provisioning", "list -output /tmp/x", ""} {
		if got := root.run(t, "profiles", strings.Fields(line)...); got.code == 0 {
			t.Errorf("%s: %+v", line, got)
		}
	}
	if slices.Contains(everyFile(t, mac), "tmp/x") {
		t.Error("a file was written")
	}
}
