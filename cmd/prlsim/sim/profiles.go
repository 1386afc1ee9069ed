package sim

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"prlagent/platform/plist"
)

// installedProfile is what the Mac remembers of a configuration profile; what it says is
// in `.prlsim/profiles`.
type installedProfile struct {
	User        string    `json:"user,omitempty"` // whose; empty: the Mac's
	InstalledAt time.Time `json:"installed_at"`
}

// profileDocument is a profile as a property list (facts/macos.md 5.3).
type profileDocument struct {
	identifier string
	keys       map[string]any
	payloads   []map[string]any
}

func decodeProfile(content []byte) (profileDocument, error) {
	keys, err := plist.DecodeDict(content)
	if err != nil {
		return profileDocument{}, fmt.Errorf("the profile is no property list, or it is signed, which is not simulated: %w", err)
	}
	document := profileDocument{keys: keys}
	document.identifier, _ = keys["PayloadIdentifier"].(string)
	if keys["PayloadType"] != "Configuration" || document.identifier == "" || textOf(keys["PayloadUUID"]) == "" || filepath.Base(document.identifier) != document.identifier {
		return document, errors.New("it is no configuration profile: PayloadType, PayloadIdentifier or PayloadUUID")
	}
	payloads, _ := keys["PayloadContent"].([]any)
	for i, one := range payloads {
		payload, _ := one.(map[string]any)
		for _, key := range []string{"PayloadType", "PayloadIdentifier", "PayloadUUID"} {
			if textOf(payload[key]) == "" {
				return document, fmt.Errorf("payload %d has no %s", i, key)
			}
		}
		document.payloads = append(document.payloads, payload)
	}
	return document, nil
}

func textOf(value any) string {
	text, _ := value.(string)
	return text
}

// forced is what a payload forces, by domain. A payload of its own type is a domain's
// (facts/macos.md 5.3); those of macOS mean something else to macOS.
func forcedBy(payload map[string]any) map[string]map[string]any {
	kind := textOf(payload["PayloadType"])
	if kind == "com.apple.ManagedClient.preferences" {
		return forcedDomains(payload)
	}
	if strings.HasPrefix(kind, "com.apple.") {
		return nil
	}
	values := maps.Clone(payload)
	maps.DeleteFunc(values, func(key string, _ any) bool { return strings.HasPrefix(key, "Payload") })
	return map[string]map[string]any{kind: values}
}

func forcedDomains(payload map[string]any) map[string]map[string]any {
	found := map[string]map[string]any{}
	domains, _ := payload["PayloadContent"].(map[string]any)
	for domain, rules := range domains {
		byRule, _ := rules.(map[string]any)
		list, _ := byRule["Forced"].([]any)
		for _, one := range list {
			rule, _ := one.(map[string]any)
			if values, ok := rule["mcx_preference_settings"].(map[string]any); ok {
				if found[domain] == nil {
					found[domain] = map[string]any{}
				}
				maps.Copy(found[domain], values)
			}
		}
	}
	return found
}

func (m Mac) profileFile(identifier string) string {
	return m.markerPath(filepath.Join("profiles", identifier+".mobileconfig"))
}

func (m Mac) readProfile(identifier string) (profileDocument, error) {
	content, err := os.ReadFile(m.profileFile(identifier))
	if err != nil {
		return profileDocument{}, fmt.Errorf("read profile: %w", err)
	}
	return decodeProfile(content)
}

// installProfile does what an MDM does: it replaces the profile of the same identifier,
// and what the profile forces is in managed preferences at once.
func (m Mac) installProfile(state *State, content []byte, user string) (profileDocument, error) {
	document, err := decodeProfile(content)
	if err != nil {
		return document, err
	}
	if _, has := state.Profiles[document.identifier]; has {
		if err := m.removeProfile(state, document.identifier); err != nil {
			return document, err
		}
	}
	if err := writeFile(m.profileFile(document.identifier), content); err != nil {
		return document, err
	}
	if state.Profiles == nil {
		state.Profiles = map[string]installedProfile{}
	}
	state.Profiles[document.identifier] = installedProfile{user, time.Now().UTC().Truncate(time.Second)}
	return document, m.forceDomains(state, document, user)
}

// removeProfile takes a profile off the Mac, and what it forced.
func (m Mac) removeProfile(state *State, identifier string) error {
	installed, has := state.Profiles[identifier]
	if !has {
		return fmt.Errorf("there is no profile %q", identifier)
	}
	document, err := m.readProfile(identifier)
	if err != nil {
		return err
	}
	delete(state.Profiles, identifier)
	if err := os.Remove(m.profileFile(identifier)); err != nil {
		return fmt.Errorf("remove profile: %w", err)
	}
	return m.forceDomains(state, document, installed.User)
}

// forceDomains writes anew the managed preferences of all domains that a profile is
// about, from all profiles that are installed. Which of two wins is not in the facts:
// here the identifier that comes later in the alphabet.
func (m Mac) forceDomains(state *State, about profileDocument, user string) error {
	wanted := map[string]map[string]any{}
	for _, payload := range about.payloads {
		for domain := range forcedBy(payload) {
			wanted[domain] = nil
		}
	}
	for _, identifier := range slices.Sorted(maps.Keys(state.Profiles)) {
		if state.Profiles[identifier].User != user {
			continue
		}
		document, err := m.readProfile(identifier)
		if err != nil {
			return err
		}
		for _, payload := range document.payloads {
			for domain, values := range forcedBy(payload) {
				if _, concerned := wanted[domain]; !concerned {
					continue
				}
				if wanted[domain] == nil {
					wanted[domain] = map[string]any{}
				}
				maps.Copy(wanted[domain], values)
				wanted[domain]["PayloadUUID"] = textOf(payload["PayloadUUID"]) // and friends, facts/macos.md 5.3
			}
		}
	}
	for domain, values := range wanted {
		if err := m.writeForced(domain, user, values); err != nil {
			return err
		}
	}
	return nil
}

// forcedFile is where it stands what is forced of a domain on a user; empty: on everybody.
func (m Mac) forcedFile(domain, user string) string {
	return m.Path(managedPreferences + "/" + user + "/" + domain + ".plist")
}

// writeForced writes what is forced of a domain; nil: nothing is.
func (m Mac) writeForced(domain, user string, values map[string]any) error {
	if domain == "" || strings.ContainsAny(domain, "/\x00") || strings.HasPrefix(domain, ".") {
		return fmt.Errorf("%q is no domain", domain)
	}
	path := m.forcedFile(domain, user)
	if values == nil {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove what is forced: %w", err)
		}
		return nil
	}
	content, err := encodeBinary(values)
	if err != nil {
		return err
	}
	return writeFile(path, content)
}

// profiles plays the verbs of man profiles(1) that look. Nothing is installed by it since
// macOS 11.
func profiles(in *invocation) int {
	options, err := parseProfiles(in.args)
	if err != nil {
		return in.failf(1, "profiles: %v", err)
	}
	switch {
	case options.verb == "install":
		return in.failf(1, "profiles tool no longer supports installs. Use System Settings Profiles to add configuration profiles.")
	case options.kind == "enrollment" && options.verb == "status":
		enrolled := "No"
		if len(in.state.Profiles) > 0 {
			enrolled = "Yes (User Approved)"
		}
		in.printLinef("Enrolled via DEP: No\nMDM enrollment: %s", enrolled)
		return 0
	case options.kind != "configuration":
		return in.failf(1, "profiles: -type %s is not simulated", options.kind)
	}
	level, whose := "_computerlevel", "in the system domain"
	if options.user == "" && in.caller != rootUser {
		options.user = in.caller
	}
	if options.user != "" {
		level, whose = options.user, "for user '"+options.user+"'"
	}
	var shown []profileDocument
	for _, identifier := range slices.Sorted(maps.Keys(in.state.Profiles)) {
		if in.state.Profiles[identifier].User != options.user {
			continue
		}
		document, err := in.mac.readProfile(identifier)
		if err != nil {
			return in.failf(1, "profiles: %v", err)
		}
		shown = append(shown, document)
	}
	if options.output == "stdout-xml" {
		return in.printProfilesPlist(level, shown)
	}
	return in.printProfiles(options.verb, level, whose, shown)
}

// profilesOptions are the arguments of profiles.
type profilesOptions struct{ verb, kind, user, output string }

func parseProfiles(arguments []string) (options profilesOptions, err error) {
	options.kind, options.output = "configuration", "stdout"
	if len(arguments) > 0 && arguments[0] == "-C" { // of all of the Mac, as older tools have it (facts/macos.md 8)
		options.verb, arguments = "show", arguments[1:]
	} else if len(arguments) > 0 {
		options.verb, arguments = arguments[0], arguments[1:]
	}
	if options.verb == "install" {
		return options, nil // whatever else there is
	}
	for ; len(arguments) > 0; arguments = arguments[1:] {
		target := map[string]*string{"-type": &options.kind, "-user": &options.user, "-output": &options.output, "-o": &options.output}[arguments[0]]
		if target == nil || len(arguments) < 2 {
			return options, fmt.Errorf("%s is not simulated, or lacks a value", arguments[0])
		}
		*target, arguments = arguments[1], arguments[1:]
	}
	if !slices.Contains([]string{"list", "show", "status"}, options.verb) || !slices.Contains([]string{"stdout", "stdout-xml"}, options.output) {
		return options, errors.New("usage: profiles list|show|status [-type TYPE] [-user USER] [-output stdout|stdout-xml]")
	}
	return options, nil
}

// printProfiles prints the form for people, of which pastes show these lines.
func (in *invocation) printProfiles(verb, level, whose string, shown []profileDocument) int {
	if len(shown) == 0 {
		in.printLinef("There are no configuration profiles installed %s", whose)
		return 0
	}
	if verb == "status" {
		in.printLinef("There are %d configuration profiles installed on this system", len(shown))
		return 0
	}
	for i, document := range shown {
		line := func(name, value string) { in.printLinef("%s[%d] attribute: %s: %s", level, i+1, name, value) }
		if verb == "show" {
			line("name", textOf(document.keys["PayloadDisplayName"]))
			line("installationDate", in.profileTime(document))
			line("organization", textOf(document.keys["PayloadOrganization"]))
		}
		line("profileIdentifier", document.identifier)
		if verb == "show" {
			line("profileUUID", textOf(document.keys["PayloadUUID"]))
			line("profileType", "Configuration")
		}
	}
	if verb == "list" {
		in.printLinef("There are %d configuration profiles installed", len(shown))
	}
	return 0
}

func (in *invocation) profileTime(document profileDocument) string {
	return in.state.Profiles[document.identifier].InstalledAt.Format("2006-01-02 15:04:05 +0000")
}

// printProfilesPlist prints what others read (facts/macos.md 8): by level, the profiles
// with their payloads.
func (in *invocation) printProfilesPlist(level string, shown []profileDocument) int {
	list := []any{}
	for _, document := range shown {
		items := []any{}
		for _, payload := range document.payloads {
			item, content := map[string]any{}, map[string]any{}
			for key, value := range payload {
				if strings.HasPrefix(key, "Payload") && key != "PayloadContent" {
					item[key] = value
				} else {
					content[key] = value
				}
			}
			if domains, ok := payload["PayloadContent"].(map[string]any); ok {
				content = domains
			}
			item["PayloadContent"] = content
			items = append(items, item)
		}
		one := map[string]any{
			"ProfileIdentifier": document.identifier, "ProfileInstallDate": in.profileTime(document), "ProfileItems": items,
			"ProfileType": "Configuration", "ProfileUUID": textOf(document.keys["PayloadUUID"]), "ProfileVerificationState": "unsigned",
		}
		for from, to := range map[string]string{"PayloadDisplayName": "ProfileDisplayName", "PayloadDescription": "ProfileDescription", "PayloadOrganization": "ProfileOrganization"} {
			if text := textOf(document.keys[from]); text != "" {
				one[to] = text
			}
		}
		list = append(list, one)
	}
	return in.printPlist(map[string]any{level: list})
}
