package sim

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// prlsrvctl plays the command line of the product and its license.
func prlsrvctl(in *invocation) int {
	if slices.Equal(in.args, []string{"--version"}) {
		version, build := in.state.Product.versionAndBuild()
		in.printLinef("prlsrvctl version %s (%s)", version, build)
		return 0
	}
	if in.state.assumes("help_without_service", "works") {
		if code, answered := in.wantsHelp(); answered {
			return code
		}
	}
	if code, stop := in.applyFaults(); stop {
		return code
	}
	if code, answered := in.wantsHelp(); answered {
		return code
	}
	switch action := strings.Join(in.args[:min(2, len(in.args))], " "); {
	case len(in.args) > 0 && in.args[0] == "info":
		return serverInfo(in, in.args[1:])
	case action == "user list":
		return userList(in, in.args[2:])
	case len(in.args) == 1 && in.args[0] == "update-license":
		return updateLicense(in)
	case len(in.args) == 0:
		return in.failf(exitRefused, "Usage: prlsrvctl <action> [options]")
	}
	return in.failf(exitRefused, "Unrecognized option: %s", in.args[0])
}

func serverInfo(in *invocation, options []string) int {
	var asJSON, license bool
	for _, option := range options {
		switch option {
		case "-j", "--json":
			asJSON = true
		case "--license":
			license = true
		case "-f", "--full":
		default:
			return in.failf(exitRefused, "Unrecognized option: %s", option)
		}
	}
	// Of the Standard edition only "may be prepended" is known for this tool,
	// facts/prlctl.md 4.2.
	in.printEditionGate()
	if license {
		return licenseInfo(in, asJSON)
	}
	info := in.state.serverKeysOfVersion(in.state.serverDocument(in.caller))
	if asJSON {
		return in.printAnswer(encodeJSON(info))
	}
	for _, member := range info {
		switch value := member.Value.(type) {
		case string:
			in.printLinef("%s: %s", member.Key, value)
		case orderedObject:
			in.printLinef("%s: %s", member.Key, quotedText(value))
		}
	}
	return 0
}

// quotedText is how the text form prints a section: state='valid' key='…'
// (facts/prlctl.md 4.1).
func quotedText(members orderedObject) string {
	var words []string
	for _, member := range members {
		if value, ok := member.Value.(string); ok {
			words = append(words, member.Key+"='"+value+"'")
		}
	}
	return strings.Join(words, " ")
}

var licenseKey = regexp.MustCompile(`^[A-Z0-9]{6}(-([A-Z0-9]{6}|\*{6})){3}-[A-Z0-9]{6}$`)

// maskKey hides the middle of a license key as current versions show it.
func maskKey(key string) (string, error) {
	if !licenseKey.MatchString(key) {
		return "", fmt.Errorf("%w: a key has five groups of six capital letters and digits, not %q", errUsage, key)
	}
	return key[:6] + "-******-******-******-" + key[len(key)-6:], nil
}

// activateLicense activates the license by a key or, without one, by single
// sign-on. Each key is another license.
func (s *State) activateLicense(key, edition string) error {
	product := &s.Product
	activation, shown, license := "SSO", maskedKey, "license"
	if key != "" {
		var err error
		if shown, err = maskKey(key); err != nil {
			return err
		}
		activation, license = "LIC_KEY", "license "+key
	}
	product.Active, product.Synced, product.Edition = true, false, edition
	product.Activation, product.Key, product.LicenseUUID = activation, shown, seededUUID(s.Seed, license)
	product.ActivatedAt = time.Now().UTC().Format(time.DateTime)
	return nil
}

// maskedKey is how current versions show a license key (facts/prlctl.md 4.1).
const maskedKey = "6J9A5T-******-******-******-RN17ZA"

// serverDocument is `info --json` (facts/prlctl.md 4.1).
func (s *State) serverDocument(caller string) orderedObject {
	license := orderedObject{{"state", "valid"}, {"key", s.Product.Key}, {"restricted", "false"}}
	if !s.Product.Active {
		license = orderedObject{{"state", "invalid"}, {"key", ""}, {"restricted", "true"}}
	}
	signedIn := s.Product.Active && s.Product.Activation == "SSO"
	return orderedObject{
		{"ID", s.DispatcherID}, {"Hostname", "127.0.0.1"}, {"Version", "Desktop " + s.Product.Version},
		{"OS", "macOS " + macOSVersion + "(" + macOSBuild + ")"}, {"Build flags", ""}, {"Started as service", "on"},
		{"VM home", homeOf(caller) + "/Parallels"}, {"Memory limit", orderedObject{{"mode", "auto"}}},
		{"Minimal security level", "low"}, {"Manage settings for new users", "allow"}, {"CEP mechanism", "off"},
		{"Verbose log", "off"}, {"Log rotation", "on"}, {"External device auto connect", "ask"},
		{"Web portal domain", "parallels.com"}, {"Host ID", ""}, {"Allow attach screenshots", "on"},
		{"Custom password protection", "off"}, {"Preferences are locked", "off"},
		{"Disable deleting report archive", "off"}, {"Add serial port output to report", "off"},
		{"License", license}, {"Hardware Id", "{" + s.DispatcherKey + "}"}, {"Signed In", yesNo(signedIn)},
		{"Hardware info", orderedObject{
			{"/dev/disk0", orderedObject{{"name", "APPLE SSD (disk0)"}, {"type", "hdd"}}},
			{"/dev/disk0s1", orderedObject{{"name", ""}, {"type", "hdd-part"}}},
			{"en0", orderedObject{{"name", "Wi-Fi"}, {"type", "net"}}},
		}},
	}
}

// laterServerKeys are not in the capture of version 13 (facts/prlctl.md 4.1);
// since when they are there is not known.
var laterServerKeys = []string{
	"Build flags", "Preferences are locked", "Disable deleting report archive", "Add serial port output to report",
}

func (s *State) serverKeysOfVersion(info orderedObject) orderedObject {
	if s.Product.majorVersion() >= 20 || s.assumes("server_keys", "all") {
		return info
	}
	for _, key := range laterServerKeys {
		info = info.without(key)
	}
	return info
}

func homeOf(account string) string {
	if account == rootUser {
		return "/var/root"
	}
	return "/Users/" + account
}

func licenseInfo(in *invocation, asJSON bool) int {
	if !in.state.Product.Active && in.state.assumes("deactivated_license", "error") {
		return in.failf(exitRefused, "PrlHandle_FromString: Invalid argument. An invalid argument was passed.")
	}
	document := in.state.licenseDocument(in.state.hasFault("standard_edition", in.caller))
	if asJSON {
		return in.printAnswer(encodeJSON(document))
	}
	for _, member := range document {
		in.printLinef("%s=%s", member.Key, strings.ReplaceAll(encodeJSON(member.Value), `\/`, "/"))
	}
	return 0
}

// licenseDocument is `info --license --json` (facts/prlctl.md 4.2). Status words
// other than ACTIVE have not been seen.
func (s *State) licenseDocument(standard bool) orderedObject {
	product := s.Product
	key, licenseStatus := product.Key, "ACTIVE"
	if !product.Active {
		key, licenseStatus, product.Activation = "", "INACTIVE", ""
	}
	if standard {
		product.Edition = "standard"
	}
	if !product.Synced && s.assumes("activation_type", "after_update") {
		product.Activation = ""
	}
	expires, graceEnds := "2027-11-20 00:00:00", "2027-12-04 00:00:00"
	if s.assumes("license_dates", "date") {
		expires, graceEnds = "2027-11-20", "2027-12-04"
	}
	document := orderedObject{
		{"status", licenseStatus}, {"serial", key}, {"expiration", expires},
		{"main_period_ends_at", expires}, {"grace_period_ends_at", graceEnds},
		{"cpu_total", 32}, {"max_memory", 131072}, {"edition", product.Edition},
		{"is_trial", "no"}, {"is_volume", "yes"}, {"advanced_restrictions", ""}, {"deferred_activation", ""},
		{"uuid", product.LicenseUUID}, {"activation_type", product.Activation},
	}
	if s.Product.majorVersion() < 20 && s.assumes("activation_type_key", "since_20") {
		return document.without("activation_type")
	}
	return document
}

func updateLicense(in *invocation) int {
	if !in.state.Product.Active {
		return in.failf(exitRefused, "Failed to update the license: The license is not activated.")
	}
	err := in.mac.update(func(state *State) error { state.Product.Synced = true; return nil })
	if err != nil {
		return in.failWith(err)
	}
	in.printLinef("The license has been successfully updated.")
	return 0
}

// userList is `user list` (facts/prlctl.md 1.3).
func userList(in *invocation, options []string) int {
	rows := []orderedObject{}
	for _, user := range in.state.Users {
		rows = append(rows, orderedObject{{"NAME", user.Name}, {"MNG_SETTINGS", "allow"}, {"DEF_VM_HOME", user.home() + "/Parallels"}})
	}
	switch {
	case len(options) == 0:
		in.printLinef("%-16s%-14s%s", "NAME", "MNG_SETTINGS", "DEF_VM_HOME")
		for _, row := range rows {
			in.printLinef("%-16s%-14s%s", row[0].Value, row[1].Value, row[2].Value)
		}
		return 0
	case len(options) == 1 && (options[0] == "-j" || options[0] == "--json"):
		return in.printAnswer(encodeJSON(rows))
	}
	return in.failf(exitRefused, "Unrecognized option: %s", options[0])
}

// licensesFile is /Library/Preferences/Parallels/licenses.json
// (facts/prlctl.md 4.3): a JSON text inside a JSON object.
func (s *State) licensesFile() ([]byte, error) {
	license := ""
	if s.Product.Active {
		inner, err := json.Marshal(map[string]any{
			"name": "Parallels Desktop for Mac " + s.Product.Edition, "uuid": s.Product.LicenseUUID, "lic_key": s.Product.Key,
			"product_version": s.Product.majorVersion(), "is_trial": false, "is_suspended": false, "is_expired": false,
			"is_grace_period": false, "is_sublicense": false, "edition": licenseEditions[s.Product.Edition], "product": 7,
			"main_period_ends_at": "2027-11-20 00:00:00", "grace_period_ends_at": "2027-12-04 00:00:00",
			"hosts": []map[string]any{{"name": s.ComputerName, "hw_id": s.DispatcherKey,
				"product_version": s.Product.majorVersion(), "activated_at": s.Product.ActivatedAt}},
		})
		if err != nil {
			return nil, fmt.Errorf("encode license: %w", err)
		}
		license = string(inner)
	}
	outer, err := json.Marshal(map[string]any{"license": license, "publicCerts": "", "signature": ""})
	if err != nil {
		return nil, fmt.Errorf("encode license: %w", err)
	}
	return outer, nil
}

// licenseEditions are the integers of licenses.json; that of enterprise is
// unknown (facts/prlctl.md 4.3).
var licenseEditions = map[string]int{"standard": 1, "business": 2, "pro": 3, "enterprise": 4}
