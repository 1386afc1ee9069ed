package sim

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"prlagent/platform/text"
)

// licenseStatuses are the words of an installed license: EXPIRED has been seen,
// GRACED and INVALID are words of the tool's ancestor (captures.md 2).
var licenseStatuses = []string{"ACTIVE", "GRACED", "EXPIRED", "INVALID"}

// noLicense is the console's word for a Mac without one.
const noLicense = "none"

// isInstalled reports whether there is a license, whatever it is worth.
func (p product) isInstalled() bool { return p.LicenseStatus != "" }

// isLicensed reports whether the product works: a license in its grace period is
// still one.
func (p product) isLicensed() bool { return p.LicenseStatus == "ACTIVE" || p.LicenseStatus == "GRACED" }

// setLicenseStatus takes one of licenseStatuses in any case, or noLicense.
func (p *product) setLicenseStatus(word string) error {
	status := strings.ToUpper(word)
	switch {
	case word == noLicense:
		p.LicenseStatus, p.Activation = "", ""
		return nil
	case slices.Contains(licenseStatuses, status):
		p.LicenseStatus = status
		return nil
	}
	return fmt.Errorf("%w: a license is %s or %s, not %q", errUsage, noLicense, strings.ToLower(strings.Join(licenseStatuses, ", ")), word)
}

var licenseKey = text.Pattern(`^[A-Z0-9]{6}(-([A-Z0-9]{6}|\*{6})){3}-[A-Z0-9]{6}$`)

// maskKey hides the middle of a license key as current versions show it.
func maskKey(key string) (string, error) {
	if !licenseKey().MatchString(key) {
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
	product.LicenseStatus, product.Synced, product.Edition = "ACTIVE", false, edition
	product.Activation, product.Key, product.LicenseUUID = activation, shown, seededUUID(s.Seed, license)
	product.ActivatedAt = time.Now().UTC().Format(time.DateTime)
	return nil
}

// maskedKey is how current versions show a license key (facts/prlctl.md 4.1).
const maskedKey = "6J9A5T-******-******-******-RN17ZA"

// serverLicense is the license's section of `info` (facts/prlctl.md 4.1). Only
// "valid" is known of its words.
func (s *State) serverLicense() orderedObject {
	product := s.Product
	switch {
	case product.isLicensed():
		return orderedObject{{"state", "valid"}, {"key", product.Key}, {"restricted", "false"}}
	case product.isInstalled() && s.assumes("server_license_state", "status"):
		return orderedObject{{"state", strings.ToLower(product.LicenseStatus)}, {"key", product.Key}, {"restricted", "true"}}
	}
	return orderedObject{{"state", "invalid"}, {"key", ""}, {"restricted", "true"}}
}

// licenseHeader stands before the text form with a license and without one, and
// noLicensesInstalled follows it there (captures.md 4.1: 15 and 26.3.3).
const (
	licenseHeader       = "Searching for installed licenses..."
	noLicensesInstalled = "No licenses installed."
)

// licenseInfo plays `info --license [--json]`.
func licenseInfo(in *invocation, asJSON bool) int {
	if !in.state.Product.isInstalled() {
		return in.printNoLicense(asJSON)
	}
	document := in.state.licenseDocument(in.state.hasFault("standard_edition", in.caller))
	if asJSON {
		return in.printAnswer(encodeJSON(document))
	}
	in.printLinef("%s", licenseHeader)
	for _, member := range document {
		in.printLinef("    %s=%s", member.Key, strings.ReplaceAll(encodeJSON(member.Value), `\/`, "/"))
	}
	return 0
}

// printNoLicense is the answer where no license is installed. Its text is
// captured, its exit code is not, and what it is in JSON is inferred from the
// ancestor: an object without members (captures.md 4.1). The third answer has
// been seen with a license that was absent or broken (facts/prlctl.md 4.2).
func (in *invocation) printNoLicense(asJSON bool) int {
	code := decimalValue(in.state.assumedValue("no_license_exit"))
	switch answer := in.state.assumedValue("no_license_json"); {
	case asJSON && answer == "error":
		return in.failf(exitRefused, "PrlHandle_FromString: Invalid argument. An invalid argument was passed.")
	case asJSON && answer == "empty_object":
		in.printAnswer("{\n}")
	default:
		in.printLinef("%s\n%s", licenseHeader, noLicensesInstalled)
	}
	return code
}

// licenseDocument is `info --license --json` (facts/prlctl.md 4.2).
func (s *State) licenseDocument(standard bool) orderedObject {
	product := s.Product
	if standard {
		product.Edition = "standard"
	}
	if !product.Synced && s.assumes("activation_type", "after_update") {
		product.Activation = ""
	}
	cpus, memory := 32, 131072
	if product.Edition == "standard" { // captures.md 4.1
		cpus, memory = 4, 8192
	}
	expires, graceEnds := s.licensePeriods(time.Now())
	if s.assumes("license_dates", "date") {
		expires, graceEnds = expires[:len(time.DateOnly)], graceEnds[:len(time.DateOnly)]
	}
	if product.majorVersion() <= lastFlatVersion {
		return product.oldLicense(expires, graceEnds, cpus, memory)
	}
	document := orderedObject{
		{"status", product.LicenseStatus}, {"serial", product.Key}, {"expiration", expires},
		{"main_period_ends_at", expires}, {"grace_period_ends_at", graceEnds},
		{"cpu_total", cpus}, {"max_memory", memory}, {"edition", product.Edition},
		{"is_trial", "no"}, {"is_volume", "yes"}, {"advanced_restrictions", "disabled"}, {"deferred_activation", "disabled"},
		{"uuid", product.LicenseUUID}, {"activation_type", product.Activation},
	}
	if s.Product.majorVersion() < 20 && s.assumes("activation_type_key", "since_20") {
		return document.without("activation_type")
	}
	return document
}

// oldLicense has the keys of 11.2, without activation_type and uuid
// (captures.md 3). The values of three of them are invented.
func (p product) oldLicense(expires, graceEnds string, cpus, memory int) orderedObject {
	return orderedObject{
		{"status", p.LicenseStatus}, {"serial", p.Key}, {"organization", "Example"}, {"expiration", expires}, {"graceperiod", graceEnds},
		{"cpu_total", cpus}, {"max_memory", memory}, {"edition", p.Edition}, {"is_confirmed", "yes"}, {"is_volume", "yes"},
		{"advanced_restrictions", "disabled"}, {"deferred_activation", "disabled"},
	}
}

// licensePeriods are the ends of the main period and of the grace period, on
// the side of now that the status says.
func (s *State) licensePeriods(now time.Time) (expires, graceEnds string) {
	day := func(days int) string { return now.UTC().AddDate(0, 0, days).Format(time.DateOnly) + " 00:00:00" }
	switch s.Product.LicenseStatus {
	case "GRACED":
		return day(-4), day(10)
	case "EXPIRED":
		return day(-30), day(-16)
	}
	return "2027-11-20 00:00:00", "2027-12-04 00:00:00"
}

func updateLicense(in *invocation) int {
	if !in.state.Product.isInstalled() {
		return in.failf(exitRefused, "Failed to update the license: The license is not activated.")
	}
	err := in.mac.update(func(state *State) error { state.Product.Synced = true; return nil })
	if err != nil {
		return in.failWith(err)
	}
	in.printLinef("The license has been successfully updated.")
	return 0
}

// licensesFile is /Library/Preferences/Parallels/licenses.json
// (facts/prlctl.md 4.3, captures.md 4.5): a JSON text inside a JSON object.
func (s *State) licensesFile() ([]byte, error) {
	license := ""
	if s.Product.isInstalled() {
		inner, err := json.Marshal(s.innerLicense())
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

func (s *State) innerLicense() map[string]any {
	expires, graceEnds := s.licensePeriods(time.Now())
	status := s.Product.LicenseStatus
	return map[string]any{
		"name": "Parallels Desktop for Mac " + s.Product.Edition, "uuid": s.Product.LicenseUUID, "lic_key": s.Product.Key,
		"product_version": fmt.Sprintf("%d.*", s.Product.majorVersion()), "is_trial": false, "is_suspended": false,
		"is_expired": status == "EXPIRED", "is_grace_period": status == "GRACED",
		"is_sublicense": false, "edition": licenseEditions[s.Product.Edition], "product": 7,
		"main_period_ends_at": expires, "grace_period_ends_at": graceEnds,
		// The members of info are captured, their values are not.
		"info": map[string]any{"deferred_activation": "disabled", "status": slices.Index(licenseStatuses, status), "status_str": status},
		"hosts": []map[string]any{{"name": s.ComputerName, "hw_id": s.DispatcherKey,
			"product_version": s.Product.majorVersion(), "activated_at": s.Product.ActivatedAt}},
	}
}

// licenseEditions are the integers of licenses.json; that of enterprise is
// unknown (facts/prlctl.md 4.3).
var licenseEditions = map[string]int{"standard": 1, "business": 2, "pro": 3, "enterprise": 4}
