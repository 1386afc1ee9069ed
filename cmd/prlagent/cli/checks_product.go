package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

func (m *checkedMac) checkProduct(context.Context) checkResult {
	_, err := os.Lstat(m.mac.Path(prlctl.AppBundle))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return codeResult(protocol.CodePDNotInstalled, "")
	case err != nil:
		return unknownResult(err.Error())
	}
	status, _ := m.status()
	return okResult("%s.", joinParts(", ", prlctl.AppBundle, status.Product.Version, status.Product.Edition, status.Product.State))
}

// dispatcherJob is the product's own job, which its first start makes known to
// launchd (facts/prlctl.md 1.1). A copied application has not done so: it ends
// with the error 15431 (facts/acting.md 4).
const dispatcherJob = "system/com.parallels.desktop.launchdaemon"

func (m *checkedMac) checkProductSetup(ctx context.Context) checkResult {
	printed, err := m.launchctl(ctx, "print", dispatcherJob)
	switch {
	case err != nil:
		return unknownResult(err.Error())
	case printed.ExitCode != 0:
		return codeResult(protocol.CodePDNotSetUp, "")
	}
	return okResult("launchd knows its service.")
}

func (m *checkedMac) checkTools(ctx context.Context) checkResult {
	for _, program := range []string{prlctl.Prlctl, prlctl.Prlsrvctl} {
		err := m.mac.Trusted(ctx, program)
		switch code := protocol.CodeOf(err); {
		case code != "":
			return codeResult(code, path.Base(program))
		case err != nil:
			return unknownResult(err.Error())
		}
	}
	return okResult("prlctl and prlsrvctl do.")
}

// checkLicensingProfile: a profile that comes after the application does not
// activate it (CFP-15).
func (m *checkedMac) checkLicensingProfile(context.Context) checkResult {
	profiles, err := m.profiles()
	status, _ := m.status()
	state := status.Product.State
	switch {
	case err != nil:
		return unknownResult(err.Error())
	case len(profiles) > 0 && profiles[0].WantsKey() && profiles[0].Key == "":
		return codeResult(protocol.CodeProfileWithoutKey, "It is "+profiles[0].Whose()+".")
	case len(profiles) > 0 && profiles[0].Experience != "" && !profiles[0].WantsKey() && !profiles[0].WantsSSO():
		return codeResult(protocol.CodeProfileWord, "It is "+profiles[0].Whose()+".")
	case len(profiles) > 0:
		return okResult("%s says %s.", profiles[0].Whose(), joinOr([]string{profiles[0].Experience}, "nothing of the activation"))
	case state == protocol.ProductSSO || state == protocol.ProductKey:
		return unneededResult("There is none, and Parallels Desktop is activated without.")
	}
	if state == "" {
		return unknownResult("no licensing profile is there, and whether Parallels Desktop is activated without is not known")
	}
	return codeResult(protocol.CodeLicensingProfile, "")
}

func (m *checkedMac) checkLicensingProfiles(context.Context) checkResult {
	profiles, err := m.profiles()
	if err != nil {
		return unknownResult(err.Error())
	}
	if conflict := prlctl.LicensingConflict(profiles); conflict != "" {
		return codeResult(protocol.CodeProfilesDiffer, conflict+".")
	}
	return okResult("%s.", countWords(len(profiles), "licensing profile"))
}

// checkLicenseOfProfile: an installed profile wins over what was deployed with the
// application, and both can be there and say different things (DEP-03). Of the license
// in force the tools show the first and the last group, which is enough to see that.
func (m *checkedMac) checkLicenseOfProfile(context.Context) checkResult {
	profiles, err := m.profiles()
	status, _ := m.status()
	product := status.Product
	switch {
	case err != nil:
		return unknownResult(err.Error())
	case len(profiles) == 0:
		return unneededResult("There is no licensing profile.")
	case product.State == "":
		return unknownResult("the agent does not know the state of the license")
	case product.State == protocol.ProductDeactivated:
		return unneededResult("Parallels Desktop is not activated.")
	case status.Restricted && product.State == protocol.ProductKey && profiles[0].WantsKey():
		return asRoot("by which key it is activated, only administrators are shown")
	case !profiles[0].IsMet(product.State == protocol.ProductSSO, product.License):
		return codeResult(protocol.CodeLicenseDiffers, joinParts(", ", "It is "+product.State, withPrefix("license ", product.License))+".")
	}
	return okResult("%s.", product.State)
}

// checkLicenseGuard: from 20.3.0 on the product refuses another key than the profile's
// (CFP-14).
func (m *checkedMac) checkLicenseGuard(context.Context) checkResult {
	profiles, err := m.profiles()
	if err != nil {
		return unknownResult(err.Error())
	}
	if !slices.ContainsFunc(profiles, prlctl.LicensingProfile.WantsKey) {
		return unneededResult("No licensing profile names a license key.")
	}
	status, _ := m.status()
	version, err := prlctl.ParseVersion(status.Product.Version)
	switch {
	case err != nil:
		return unknownResult("the version of Parallels Desktop is not known")
	case version.Compare(prlctl.LicenseGuard) < 0:
		return codeResult(protocol.CodeLicenseUnguarded, "It is "+status.Product.Version+".")
	}
	return okResult("It is %s.", status.Product.Version)
}

// checkPrivacyProfile has codesign compare the application with the requirement that
// the vendor's guide gives for a privacy profile (CFP-19). Whether one is installed
// cannot be seen from here.
func (m *checkedMac) checkPrivacyProfile(ctx context.Context) checkResult {
	err := m.mac.TrustedApplication(ctx)
	switch code := protocol.CodeOf(err); {
	case code == protocol.CodeToolsUntrusted:
		return codeResult(protocol.CodePrivacyRule, "")
	case err != nil:
		return unknownResult(err.Error())
	}
	return okResult("codesign finds the requirement met; whether such a profile is installed cannot be seen from here.")
}

// checkActivation has words for the user where only the user can go on (LIC-11).
func (m *checkedMac) checkActivation(context.Context) checkResult {
	status, err := m.status()
	profiles, _ := m.profiles() // the check of the profiles says why not
	state := status.Product.State
	switch {
	case err != nil:
		return unknownResult("there is neither a daemon nor a snapshot")
	case state == "":
		return unknownResult("the agent does not know the state of the license")
	case state != protocol.ProductDeactivated:
		return okResult("%s.", state)
	case slices.ContainsFunc(profiles, prlctl.LicensingProfile.WantsSSO):
		return codeResult(protocol.CodeContinueWithSSO, "Its state is "+state+".")
	}
	code := status.Product.Gaps["pd_state"]
	if code == "" {
		code = protocol.CodePDDeactivated
	}
	return codeResult(code, "Its state is "+state+".")
}

// checkSingleApplication only explains: nothing on a Mac says for sure that the
// mode is on (SAM-06).
func (m *checkedMac) checkSingleApplication(context.Context) checkResult {
	return checkResult{Outcome: outcomeNote, Text: "If this Mac was deployed with enable_single_application_mode, a deployment without it does not turn it off: " +
		"remove Parallels Desktop and the virtual machine of the mode, then deploy anew. Whether it is on cannot be seen from here."}
}

// lastWithExtensions is the last macOS on which the product brings kernel
// extensions that a person or a profile must approve (VMF-14).
const lastWithExtensions = "10.15"

func (m *checkedMac) checkKernelExtensions(ctx context.Context) checkResult {
	host, _ := m.mac.Host(ctx) // what is missing is empty
	switch {
	case host.MacOSVersion == "":
		return unknownResult("the version of macOS is not known")
	case !isUpTo(host.MacOSVersion, lastWithExtensions):
		return unneededResult("macOS " + host.MacOSVersion + " needs none.")
	}
	return checkResult{Outcome: outcomeNote, Text: "macOS " + host.MacOSVersion + " runs virtual machines only after the kernel extensions of Parallels were approved, " +
		"in System Preferences or by a profile of the payload com.apple.syspolicy.kernel-extension-policy with the team 4C6364ACXT."}
}

// isUpTo reports whether a version is not newer than another one in the parts
// that the other has.
func isUpTo(version, last string) bool {
	parts := strings.Split(version, ".")
	for i, part := range strings.Split(last, ".") {
		limit, _ := strconv.Atoi(part)
		number := 0
		if i < len(parts) {
			number, _ = strconv.Atoi(parts[i])
		}
		if number != limit {
			return number < limit
		}
	}
	return true
}
