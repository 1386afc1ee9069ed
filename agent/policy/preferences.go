package policy

import (
	"prlagent/prlctl"
)

// Pages of the facts that the rows of preferences rely on.
var (
	individual = Evidence{Confirmed, "deploy-and-updates 6.3"} // the guide's Configuring Individual Macs
	acting2    = Evidence{Confirmed, "acting 2"}
	prlctl7    = Evidence{Confirmed, "prlctl 7"}
)

// Keys of the domain of preferences.
const (
	updatePolicyKey = "Application preferences.VolumeLicenseUpdatePolicy"
	updateCheckKey  = "Application preferences.Check for updates"
	downloadKey     = "Application preferences.Download updates automatically"
)

// Values of update_policy beside addresses, which are the product's own words
// (conformance UPD-04: with another case they mean nothing).
const (
	UpdatesOfParallels Value = "Parallels"
	UpdatesOff         Value = "None"
)

// Words of the application about its own controls (conformance UPD-11).
const (
	controlsGreyed  = "the update controls in Parallels Desktop are greyed out"
	controlsEnabled = "the update controls in Parallels Desktop can be used"
)

// anyAddress stands for every address in Preference.Shows.
const anyAddress Value = "address"

// ManagedDomains are the domains whose forced values decide in the place of a
// policy's.
var ManagedDomains = []string{prlctl.PreferenceDomain, prlctl.LicensingDomain}

// UnseenPreferences is what of the preferences of an account the agent does not look
// at, for people. That such a value outranks the one in the user's domain is defaults(1)
// (facts/macos.md 5.1); whether Parallels Desktop asks for it is not known.
const UnseenPreferences = "values that a user has set for this Mac alone (defaults -currentHost, files in Library/Preferences/ByHost): macOS has them outrank the user's other values; whether Parallels Desktop reads them is not known"

// Preferences is the catalogue of preferences: those of the guide's Configuring
// Individual Macs, of its support link and sign-in, then ours.
var Preferences = []Preference{
	{
		Name:   "update_policy",
		Doc:    "Where Parallels Desktop takes its updates from. In an address {major} stands for the major version of the installed product.",
		Values: &Values{Kind: KindAddress, Max: maxAddress, Only: []Meaning{{UpdatesOfParallels, "from the vendor"}, {UpdatesOff, "there are no updates"}}},
		Key:    updatePolicyKey, Shows: []Meaning{{UpdatesOfParallels, controlsEnabled}, {UpdatesOff, controlsGreyed}, {anyAddress, controlsGreyed}},
		Evidence: &individual, Strength: &reverted,
	},
	{
		Name:   "update_branch",
		Doc:    "Which updates the vendor's Business and Enterprise editions get. It is written where update_policy is, so that a policy has one of the two.",
		Values: &Values{Kind: KindChoice, Only: []Meaning{{"pro", "those of the Pro edition, which are earlier"}, {"default", "those of their own edition"}}},
		Key:    updatePolicyKey, Words: []PreferenceWord{
			// The address is captured (facts/prlctl.md 1.1); that it is what the guide
			// calls the Pro location is inferred.
			{"pro", "https://update.parallels.com/desktop/v" + majorTemplate + "/parallels/parallels_updates.xml"},
			{"default", string(UpdatesOfParallels)},
		},
		Shows:         []Meaning{{"pro", controlsGreyed}, {"default", controlsEnabled}},
		NotInStandard: true, Evidence: &Evidence{Inferred, "prlctl 1.1"}, Strength: &reverted,
	},
	{
		Name:   "update_check",
		Doc:    "How often Parallels Desktop asks for updates.",
		Values: &Values{Kind: KindChoice, Only: []Meaning{{"never", "never"}, {"daily", "once a day"}, {"weekly", "once a week"}, {"monthly", "once a month"}}},
		Key:    updateCheckKey, Words: []PreferenceWord{{"never", 0}, {"daily", 1}, {"weekly", 2}, {"monthly", 3}},
		Evidence: &individual, Strength: &reverted,
	},
	{
		Name:   "download_updates",
		Doc:    "true has updates downloaded when they are found; with false the user is only notified.",
		Values: &trueOrFalse,
		Key:    downloadKey, Words: []PreferenceWord{{True, true}, {False, false}},
		Evidence: &individual, Strength: &reverted,
	},
	{
		Name:   "support_url",
		Doc:    "The address that the menu Help opens for support. An empty text has the menu show its default.",
		Values: &Values{Kind: KindAddress, Max: maxAddress, Plain: true, Only: []Meaning{{"", "the default of Parallels Desktop"}}},
		Key:    "SupportRequestUrl", NotInStandard: true,
		Evidence: &individual, Strength: &reverted,
	},
	{
		Name:   "activation_experience",
		Doc:    "What a user is asked for when Parallels Desktop is activated.",
		Values: &Values{Kind: KindChoice, Only: []Meaning{{"sso", "to sign in with an account of the company"}}},
		Key:    "ActivationExperience", ManagedBy: []ManagedKey{{prlctl.LicensingDomain, "ActivationExperience"}},
		Evidence: &acting2, Strength: &reverted,
	},
	{
		Name:   "sso_forced",
		Doc:    "false lets a user choose another way of activation than to sign in.",
		Values: &Values{Kind: KindSwitch, Only: []Meaning{{False, "another way can be chosen"}}},
		Key:    "isSSOExperienceForced", Words: []PreferenceWord{{False, false}},
		ManagedBy: []ManagedKey{{prlctl.LicensingDomain, "ActivationExperience"}},
		Evidence:  &acting2, Strength: &reverted,
	},
	{
		Name: "dock_icon", Doc: "The icon of Parallels Desktop in the Dock.", Ours: true,
		Values: &Values{Kind: KindChoice, Only: []Meaning{{"hidden", "it is hidden"}}},
		Key:    "Application preferences.Dock icon", Words: []PreferenceWord{{"hidden", 2}}, AlsoText: true,
		Evidence: &prlctl7, Strength: &reverted,
	},
	{
		Name: "menu_bar_icon", Doc: "true shows the icon of Parallels Desktop in the menu bar, false hides it.", Ours: true,
		Values: &trueOrFalse,
		Key:    "Application preferences.Show Tray Icon", Words: []PreferenceWord{{True, 1}, {False, 0}}, AlsoText: true,
		Evidence: &prlctl7, Strength: &reverted,
	},
	{
		Name: "hide_message_15077", Doc: "true suppresses the message that Parallels Desktop knows by this number.", Ours: true,
		Values: &Values{Kind: KindSwitch, Only: []Meaning{{True, "it is not shown"}}},
		Key:    "Hidden Messages ID List.15077", Words: []PreferenceWord{{True, 1}}, AlsoText: true,
		Evidence: &prlctl7, Strength: &reverted,
	},
}
