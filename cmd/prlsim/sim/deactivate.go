package sim

import (
	"slices"
	"strings"
)

// deactivateLicense plays `prlsrvctl deactivate-license`, which gives the seat back at
// the license server, or with --skip-network-errors gives the license up here also where
// that cannot be reached (facts/prlctl.md 1.3). Its text of success is captured
// (captures.md 4.1), the others are invented.
func deactivateLicense(in *invocation, options []string) int {
	if unknown := slices.IndexFunc(options, func(option string) bool { return option != "--skip-network-errors" }); unknown >= 0 {
		return in.failf(exitRefused, "Unrecognized option: %s", options[unknown])
	}
	fail := func(err error) int { return in.failWith(toolErrorf("Failed to deactivate the license: %v", err)) }
	if !in.state.Product.isInstalled() {
		return fail(toolError(noLicensesInstalled))
	}
	seat := "seat freed"
	if !in.state.Network.Up {
		if len(options) == 0 && in.state.assumes("deactivate_offline", "refused") {
			return fail(toolError("Unable to connect to the license server. Check your network connection."))
		}
		seat = "seat kept"
	}
	return in.act("deactivate-license", "The license has been successfully deactivated.", fail, func(state *State) error {
		if !state.Product.isInstalled() {
			return toolError(noLicensesInstalled)
		}
		state.addEffect("deactivate-license", nil, seat)
		if err := state.Product.setLicenseStatus(noLicense); err != nil {
			return err
		}
		return in.mac.writeProductFiles(state)
	})
}

// licensingDomain is that of the profile which activates the product by itself
// (facts/prlctl.md 7).
const licensingDomain = "com.parallels.desktop.managedprefs"

// activateByProfile activates a product without a license when a user launches the
// application, with the key of a profile, if the license server can be reached. That
// this happens at a launch is inferred from the profile's "auto-activation".
func (m Mac) activateByProfile(state *State, account string) error {
	if state.Product.isInstalled() || !state.Network.Up || state.assumes("profile_activation", "never") {
		return nil
	}
	forced, err := m.preferencesInSession(state, account).forced(licensingDomain)
	if err != nil {
		return err
	}
	key, _ := forced["LicenseKey"].(string)
	if !licenseKey().MatchString(strings.ToUpper(key)) {
		return nil
	}
	if err := state.activateLicense(strings.ToUpper(key), state.Product.Edition); err != nil {
		return err
	}
	state.addEffect("activate-license", nil, "by a profile, for "+account)
	return m.writeProductFiles(state)
}
