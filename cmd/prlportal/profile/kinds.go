package profile

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"prlagent/launchd"
	"prlagent/platform"
	"prlagent/platform/text"
	"prlagent/prlctl"
)

// vendorApplication is the identifier of Parallels Desktop.
const vendorApplication = "com.parallels.desktop.console"

// Services of the privacy control. Full disk access has the other three in it; the
// vendor's guide names those for its application (conformance CFP-19).
const (
	serviceAllFiles = "SystemPolicyAllFiles"
	serviceDesktop  = "SystemPolicyDesktopFolder"
	serviceDocs     = "SystemPolicyDocumentsFolder"
	serviceDownload = "SystemPolicyDownloadsFolder"
)

// vendorServices are the guide's.
var vendorServices = []string{serviceDesktop, serviceDocs, serviceDownload}

// identity is one entry of a service.
func identity(identifier, kind, requirement string) []map[string]any {
	return []map[string]any{{
		"Identifier": identifier, "IdentifierType": kind, "CodeRequirement": requirement, "StaticCode": false, "Allowed": true,
	}}
}

// PPPC lets Parallels Desktop use the folders that the vendor's guide names, and the
// daemon every file, where a requirement of its signature is given: without one
// macOS could not tell it from another program at its place.
func PPPC(requirement string) (Profile, error) {
	services := make(map[string]any)
	for _, service := range vendorServices {
		services[service] = identity(vendorApplication, "bundleID", platform.ApplicationRequirement)
	}
	if requirement != "" {
		checked, err := checkRequirement(requirement)
		if err != nil {
			return Profile{}, err
		}
		services[serviceAllFiles] = identity(launchd.AgentJob().Program, "path", checked)
	}
	return newProfile("pppc", "prlagent: privacy", "Lets Parallels Desktop, and prlagent, read what the privacy control of macOS protects.",
		Payload{Type: typePPPC, Name: "privacy", DisplayName: "Privacy", Settings: map[string]any{"Services": services}}), nil
}

// maxRequirement is the longest requirement in bytes.
const maxRequirement = 4096

// checkRequirement takes a requirement as 'codesign -d -r -' prints it, or without
// what stands before it there.
func checkRequirement(typed string) (string, error) {
	requirement := text.TrimTyped(typed)
	if _, after, labeled := strings.Cut(requirement, "designated =>"); labeled {
		requirement = text.TrimTyped(after)
	}
	switch {
	case requirement == "":
		return "", errors.New("the requirement is empty")
	case len(requirement) > maxRequirement:
		return "", fmt.Errorf("the requirement has more than %d bytes", maxRequirement)
	case strings.ContainsFunc(requirement, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", errors.New("the requirement is more than one line, or has characters that cannot be seen")
	case strings.Count(requirement, `"`)%2 != 0:
		return "", errors.New("the requirement has a quotation mark too many: was it cut off?")
	case strings.ContainsAny(requirement, "“”‘’"):
		return "", errors.New("the requirement has curly quotes, which are none for macOS")
	}
	return requirement, nil
}

// IsOfOneBuild reports whether a requirement names the hash of the code, as that of an
// ad hoc signature does: it changes with every build (facts/macos.md 7).
func IsOfOneBuild(requirement string) bool { return strings.Contains(requirement, "cdhash") }

var teamIDForm = regexp.MustCompile(`^[0-9A-Z]{10}$`)

// LoginItem keeps the daemon on among the login items, where users could switch it
// off. The team is that of the Developer ID that it is signed with; empty: it is
// known by its label only. On macOS 13.0 no other rules than these two worked
// (facts/acting.md 4).
func LoginItem(team string) (Profile, error) {
	rules := []map[string]any{{"RuleType": "LabelPrefix", "RuleValue": launchd.Label, "Comment": "prlagent"}}
	if team != "" {
		if !teamIDForm.MatchString(team) {
			return Profile{}, errors.New("a team has 10 of A-Z and 0-9")
		}
		rules = append(rules, map[string]any{"RuleType": "TeamIdentifier", "RuleValue": team, "Comment": "prlagent"})
	}
	return newProfile("login-item", "prlagent: login item", "Keeps prlagent running in the background.",
		Payload{Type: typeLoginItems, Name: "login-item", DisplayName: "Managed login item", Settings: map[string]any{"Rules": rules}}), nil
}

// SwiftDialog is the application that shows the agent's notifications where it is
// installed: since its version 2.3 by this identifier (swiftDialog's own page about
// notifications).
const SwiftDialog = "au.csiro.dialog"

var bundleIDForm = regexp.MustCompile(`^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$`)

// Notifications lets applications show the notifications that the agent asks them
// for, for some seconds each.
func Notifications(applications []string) (Profile, error) {
	var settings []map[string]any
	for _, application := range applications {
		if !bundleIDForm.MatchString(application) {
			return Profile{}, fmt.Errorf("%q is no identifier of an application, such as %s", text.DisplayValue(application), SwiftDialog)
		}
		settings = append(settings, map[string]any{
			"BundleIdentifier": application, "NotificationsEnabled": true, "ShowInNotificationCenter": true, "ShowInLockScreen": false,
			"AlertType": 1, "BadgesEnabled": false, "SoundsEnabled": false,
		})
	}
	return newProfile("notifications", "prlagent: notifications", "Lets prlagent tell the users of virtual machines what waits for them.",
		Payload{Type: typeNotifications, Name: "notifications", DisplayName: "Notifications", Settings: map[string]any{"NotificationSettings": settings}}), nil
}

// licenseKeyForm is five groups of six (deploy-and-updates.md 6.1), in either letter case.
var licenseKeyForm = regexp.MustCompile(`^[0-9A-Za-z]{6}(-[0-9A-Za-z]{6}){4}$`)

// ErrLicenseKey is the error of a text that is no license key. It does not show it.
var ErrLicenseKey = errors.New("it is no license key: five groups of six letters or digits, joined by hyphens")

// Licensing has Parallels Desktop activated by a license key or, where the key is
// empty, by single sign-on (conformance CFP-12). It is protected against removal
// (CFP-17), and has one identifier, so that a Mac has no two of them (CFP-16).
func Licensing(key string) (Profile, error) {
	settings := map[string]any{"ActivationExperience": prlctl.ExperienceSSO}
	if key != "" {
		key = text.TrimTyped(text.Straighten(key))
		if !licenseKeyForm.MatchString(key) {
			return Profile{}, ErrLicenseKey
		}
		settings = map[string]any{"ActivationExperience": prlctl.ExperienceKey, "LicenseKey": strings.ToUpper(key)}
	}
	made := newProfile("licensing", "Parallels Desktop: license", "Activates Parallels Desktop. Deploy it before the application.",
		Payload{Type: typeLicensing, Name: "license", DisplayName: "Parallels Desktop", Settings: settings})
	made.RemovalDisallowed = true
	return made, nil
}

// Settings is the profile of settings that belong to no portal, without them.
func Settings() Profile {
	made := newProfile("settings", "prlagent: settings", "Settings of prlagent.", Payload{})
	made.Payloads = nil
	return made
}
