package profile

import (
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"

	"prlagent/agent/config"
	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/platform/plist"
	"prlagent/prlctl"
)

// Severity says what a finding asks for.
type Severity string

// Severities, gravest first.
const (
	Failure Severity = "error"   // a Mac would not take it, or not do what it is for
	Warning Severity = "warning" // it works, and not as well as it could
	Note    Severity = "note"    // to be known
)

// Rule is one thing that is checked.
type Rule struct {
	Code     string   `json:"code"`
	Severity Severity `json:"severity"`
	Text     string   `json:"text"`
	Remedy   string   `json:"remedy"`
}

// Rules are all that is checked.
var Rules = []Rule{
	{"profile_unreadable", Failure, "It is no configuration profile.", "Make it again with 'prlportal profile', or export it anew from the MDM, without encryption."},
	{"signature_broken", Failure, "The signature does not fit the profile: somebody changed it, or it is not whole.", "Sign it again with 'prlportal profile … --sign CERT --key KEY'."},
	{"profile_signed", Note, "It is signed, and a Mac takes it as verified only where it trusts the signer's certificate.", "Have the certificate on the Mac before, by another profile. Many an MDM refuses to change a signed profile."},
	{"profile_unsigned", Note, "It is not signed.", "An MDM signs what it delivers itself; to install it otherwise, sign it with --sign CERT --key KEY."},
	{"payload_incomplete", Failure, "A key that every profile and payload must have is missing.", "Make the profile again with 'prlportal profile', or add the key in the editor."},
	{"payload_doubled", Failure, "Two payloads have one identifier or one UUID.", "Give each payload its own."},
	{"key_unknown", Warning, "A payload has a key that its schema does not name; nobody reads it.", "Look for a slip in its name, or take it out."},
	{"licensing_experience", Failure, "ActivationExperience is neither License Key nor SSO.", "Write one of the two words, as they stand here."},
	{"licensing_key_missing", Failure, "Parallels Desktop is to be activated by a license key, and LicenseKey is not there.", "Make it again with 'prlportal profile licensing --license-key-file FILE'."},
	{"licensing_key_malformed", Failure, "LicenseKey is not five groups of six letters or digits.", "Copy the key from the account at the vendor's: XXXXXX-XXXXXX-XXXXXX-XXXXXX-XXXXXX."},
	{"licensing_key_unused", Warning, "LicenseKey stands beside single sign-on, which does without; every user of the Mac can read it.", "Take LicenseKey out, or write License Key as ActivationExperience."},
	{"licensing_removable", Warning, "The licensing profile is not protected against its removal.", "Set PayloadRemovalDisallowed to true."},
	{"licensing_twice", Failure, "Two licensing payloads say different things; on one Mac it is not defined which wins.", "Give each Mac one of the two only."},
	{"setting_refused", Failure, "The agent does not take a setting.", "'prlportal profile reference' has every key and what it takes."},
	{"settings_twice", Note, "Two payloads give one setting of the agent different values; which of them a Mac takes that has both is not known.", "Give each Mac one of the two only, or take the setting out of one."},
	{"requirement_missing", Failure, "An entry of the privacy profile has no CodeRequirement: macOS cannot tell the program from another.", "Add what 'codesign -d -r - PROGRAM' prints behind 'designated =>'."},
	{"requirement_of_one_build", Warning, "The requirement is the hash of one build, and does not fit the next.", "Sign the programs with a certificate, and use the requirement of that signature."},
	{"requirement_differs", Warning, "The requirement for Parallels Desktop is not the one of the vendor's guide.", "Make it again with 'prlportal profile pppc', or compare it with 'codesign -d -r -' of the application."},
	{"services_missing", Note, "The privacy profile does not grant Parallels Desktop all three folders of the vendor's guide.", "Add SystemPolicyDesktopFolder, SystemPolicyDocumentsFolder and SystemPolicyDownloadsFolder."},
	{"findings_left_out", Warning, "There is more to correct in the profile than is shown.", "Correct what is shown, and check it again."},
}

// File is a profile to check.
type File struct {
	Name string
	Data []byte
}

// Finding is what is wrong with a profile, or to be known of it. It never has a
// license key or another secret in it.
type Finding struct {
	File     string   `json:"file"`
	Payload  string   `json:"payload,omitempty"` // the identifier of the payload; empty: the profile itself
	Code     string   `json:"code"`
	Severity Severity `json:"severity"`
	Text     string   `json:"text"`
	Detail   string   `json:"detail,omitempty"` // where exactly
	Remedy   string   `json:"remedy"`
}

// Lint checks profiles that are meant for the same Macs, each by itself and all
// together.
func Lint(files []File) []Finding {
	l := &linter{found: []Finding{}, counts: make(map[string]int)}
	for _, file := range files {
		l.file = file.Name
		l.checkFile(file.Data)
	}
	l.checkLicenses()
	l.checkSettingsTogether()
	return l.found
}

// linter gathers findings.
type linter struct {
	file     string
	payload  string
	found    []Finding
	counts   map[string]int // of findings, by file
	licenses []licensePayload
	settings []settingsPayload // of the agent
}

// licensePayload is what one payload says of the license, and where it stands.
type licensePayload struct {
	file, payload, experience, key string
}

// settingsPayload is what one payload says to the agent, and where it stands.
type settingsPayload struct {
	file, payload string
	values        map[string]any
}

// Bounds of what is said of a file: it can repeat a long name as often as it likes.
const (
	maxFindings = 100
	maxShown    = 256 // bytes of a name or a detail
)

func (l *linter) add(code, detail string) {
	l.counts[l.file]++
	switch count := l.counts[l.file]; {
	case count > maxFindings+1:
		return
	case count > maxFindings:
		code, detail = "findings_left_out", ""
	}
	for _, rule := range Rules {
		if rule.Code == code {
			l.found = append(l.found, Finding{l.file, shorten(l.payload), code, rule.Severity, rule.Text, shorten(detail), rule.Remedy})
		}
	}
}

func shorten(name string) string {
	if len(name) <= maxShown {
		return name
	}
	return strings.ToValidUTF8(name[:maxShown], "") + "…"
}

func (l *linter) checkFile(data []byte) {
	l.payload = ""
	encoded, signer, err := open(data)
	if err != nil {
		l.add("signature_broken", "")
		return
	}
	document, err := plist.DecodeDict(encoded)
	payloads, isProfile := document["PayloadContent"].([]any)
	if err != nil || !isProfile || document["PayloadType"] != typeConfiguration {
		l.add("profile_unreadable", string(protocol.CodeOf(err)))
		return
	}
	if signer != nil {
		l.add("profile_signed", "by "+signer.Subject.String())
	} else {
		l.add("profile_unsigned", "")
	}
	l.checkPayloadKeys(document)
	l.checkPayloads(document, payloads)
}

// commonKeys are what a payload, and the profile, must have.
var commonKeys = []string{"PayloadIdentifier", "PayloadUUID", "PayloadType", "PayloadVersion"}

func (l *linter) checkPayloadKeys(of map[string]any) {
	for _, name := range commonKeys {
		if value, has := of[name]; !has || value == "" {
			l.add("payload_incomplete", name)
		}
	}
}

func (l *linter) checkPayloads(document map[string]any, payloads []any) {
	seen := make(map[any]bool)
	for i, one := range payloads {
		payload, isDictionary := one.(map[string]any)
		l.payload, _ = payload["PayloadIdentifier"].(string)
		if !isDictionary {
			l.payload = fmt.Sprintf("payload %d", i+1)
		}
		l.checkPayloadKeys(payload)
		for _, name := range []string{"PayloadIdentifier", "PayloadUUID"} {
			if value, isText := payload[name].(string); isText && seen[name+value] {
				l.add("payload_doubled", name)
			} else {
				seen[name+value] = true
			}
		}
		l.checkPayload(document, payload)
	}
}

func (l *linter) checkPayload(document, payload map[string]any) {
	kind, _ := payload["PayloadType"].(string)
	if kind == typeCustomSettings {
		for domain, settings := range forcedSettings(payload) {
			l.checkKind(domain, document, settings)
		}
		return
	}
	l.checkKind(kind, document, payload)
}

func (l *linter) checkKind(kind string, document, payload map[string]any) {
	if known, has := payloadKeys[kind]; has {
		l.checkNames(payload, "", known)
	}
	switch kind {
	case config.Domain:
		l.checkSettings(payload)
	case typeLicensing:
		l.checkLicense(document, payload)
	case typePPPC:
		l.checkPrivacy(payload)
	}
}

// forcedSettings are the settings of a payload that is of no domain itself, by domain:
// PayloadContent has domains, these Forced or Set-Once, and these the settings
// (facts/macos.md 5.3).
func forcedSettings(payload map[string]any) iter.Seq2[string, map[string]any] {
	return func(yield func(string, map[string]any) bool) {
		domains, _ := payload["PayloadContent"].(map[string]any)
		for _, domain := range slices.Sorted(maps.Keys(domains)) {
			ways, _ := domains[domain].(map[string]any)
			for _, way := range []string{"Forced", "Set-Once"} {
				list, _ := ways[way].([]any)
				for _, one := range list {
					entry, _ := one.(map[string]any)
					settings, isDictionary := entry["mcx_preference_settings"].(map[string]any)
					if isDictionary && !yield(domain, settings) {
						return
					}
				}
			}
		}
	}
}

// payloadKeys are the names that the schema of a payload has.
var payloadKeys = map[string][]string{
	typeLicensing:     {"ActivationExperience", "LicenseKey", "SsoEmailDialogHeaderText", "SsoEmailDialogDescriptionText", "SsoEmailDialogLabelText"},
	typePPPC:          {"Services"},
	typeLoginItems:    {"Rules"},
	typeNotifications: {"NotificationSettings"},
}

// identityKeys are the names of an entry of the privacy profile.
var identityKeys = []string{"Identifier", "IdentifierType", "CodeRequirement", "StaticCode", "Allowed", "Authorization", "Comment",
	"AEReceiverIdentifier", "AEReceiverIdentifierType", "AEReceiverCodeRequirement"}

func (l *linter) checkNames(values map[string]any, where string, known []string) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(known, name) && (where != "" || !strings.HasPrefix(name, "Payload")) {
			l.add("key_unknown", where+name)
		}
	}
}

// checkSettings asks the agent's own reader.
func (l *linter) checkSettings(payload map[string]any) {
	l.settings = append(l.settings, settingsPayload{l.file, l.payload, payload})
	for _, problem := range config.Check(payload) {
		l.add("setting_refused", problem.Key+": "+problem.Text)
	}
}

func (l *linter) checkLicense(document, payload map[string]any) {
	experience, _ := payload["ActivationExperience"].(string)
	key, hasKey := payload["LicenseKey"].(string)
	switch {
	case experience != prlctl.ExperienceKey && experience != prlctl.ExperienceSSO:
		l.add("licensing_experience", "")
	case experience == prlctl.ExperienceKey && (!hasKey || key == ""):
		l.add("licensing_key_missing", "")
	case experience == prlctl.ExperienceKey && !licenseKeyForm.MatchString(key):
		l.add("licensing_key_malformed", "")
	case experience == prlctl.ExperienceSSO && key != "":
		l.add("licensing_key_unused", "")
	}
	if document["PayloadRemovalDisallowed"] != true {
		l.add("licensing_removable", "")
	}
	l.licenses = append(l.licenses, licensePayload{l.file, l.payload, experience, key})
}

// checkLicenses compares the licensing payloads of all files with the first one.
func (l *linter) checkLicenses() {
	for _, other := range l.licenses[min(1, len(l.licenses)):] {
		first := l.licenses[0]
		if first.experience != other.experience || !strings.EqualFold(first.key, other.key) {
			l.file, l.payload = other.file, other.payload
			l.add("licensing_twice", "the other is in "+first.file)
		}
	}
}

// checkSettingsTogether looks for settings that two payloads have, with different values.
// What belongs to the payload itself differs in each.
func (l *linter) checkSettingsTogether() {
	first := make(map[string]*settingsPayload)
	for i := range l.settings {
		other := &l.settings[i]
		l.file, l.payload = other.file, other.payload
		for _, name := range slices.Sorted(maps.Keys(other.values)) {
			switch before := first[name]; {
			case strings.HasPrefix(name, "Payload"):
			case before == nil:
				first[name] = other
			case !reflect.DeepEqual(before.values[name], other.values[name]):
				l.add("settings_twice", name+"; the other is in "+before.file)
			}
		}
	}
}

func (l *linter) checkPrivacy(payload map[string]any) {
	services, _ := payload["Services"].(map[string]any)
	granted := make(map[string]bool) // to Parallels Desktop
	for _, service := range slices.Sorted(maps.Keys(services)) {
		entries, _ := services[service].([]any)
		for _, one := range entries {
			entry, _ := one.(map[string]any)
			l.checkIdentity(service, entry)
			if entry["Identifier"] == vendorApplication && allows(entry) {
				granted[service] = true
			}
		}
	}
	misses := slices.ContainsFunc(vendorServices, func(service string) bool { return !granted[service] })
	if len(granted) > 0 && !granted[serviceAllFiles] && misses {
		l.add("services_missing", "")
	}
}

// allows reports whether an entry of the privacy profile grants its service.
func allows(entry map[string]any) bool {
	return entry["Allowed"] == true || entry["Authorization"] == "Allow"
}

func (l *linter) checkIdentity(service string, entry map[string]any) {
	l.checkNames(entry, service+".", identityKeys)
	identifier, _ := entry["Identifier"].(string)
	requirement, _ := entry["CodeRequirement"].(string)
	where := service + " of " + identifier
	switch {
	case strings.TrimSpace(requirement) == "":
		l.add("requirement_missing", where)
	case IsOfOneBuild(requirement):
		l.add("requirement_of_one_build", where)
	case identifier == vendorApplication && !sameRequirement(requirement, platform.ApplicationRequirement):
		l.add("requirement_differs", where)
	}
}

// sameRequirement reports whether two requirements differ in blanks, quotation marks
// and in what 'codesign -d -r -' writes as a comment only.
func sameRequirement(one, other string) bool { return plainRequirement(one) == plainRequirement(other) }

func plainRequirement(requirement string) string {
	plain := strings.NewReplacer("/* exists */", "", " exists", "", `"`, "").Replace(requirement)
	return strings.Join(strings.Fields(plain), " ")
}
