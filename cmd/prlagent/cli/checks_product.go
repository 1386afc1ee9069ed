package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"prlagent/agent/protocol"
	"prlagent/platform/plist"
	"prlagent/platform/safefile"
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

// licensingProfile is what a profile says of the activation (facts/prlctl.md 7:
// the domain com.parallels.desktop.managedprefs).
type licensingProfile struct {
	user       string // whose; empty = the Mac's
	experience string
	key        string // is shown nowhere
}

const managedPreferences = "/Library/Managed Preferences"

const licensingFile = "com.parallels.desktop.managedprefs.plist"

// readLicensingProfiles reads the Mac's profile and those of its users, whose
// preferences lie in folders of their names (facts/macos.md 5.3).
func (m *checkedMac) readLicensingProfiles() ([]licensingProfile, error) {
	folder, err := safefile.OpenFolder(m.mac.Path(managedPreferences))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	names, err := folder.Names()
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var found []licensingProfile
	for _, user := range append([]string{""}, names...) {
		if strings.HasSuffix(user, ".plist") {
			continue // a file of the Mac's
		}
		profile, err := m.readLicensingProfile(user)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		default:
			found = append(found, profile)
		}
	}
	return found, nil
}

func (m *checkedMac) readLicensingProfile(user string) (licensingProfile, error) {
	folder, err := safefile.OpenFolder(m.mac.Path(path.Join(managedPreferences, user)))
	if err != nil {
		return licensingProfile{}, err
	}
	defer folder.Close()
	data, err := folder.ReadFile(licensingFile, plist.MaxSize)
	if err != nil {
		return licensingProfile{}, err
	}
	values, err := plist.DecodeDict(data)
	if err != nil {
		return licensingProfile{}, err
	}
	profile := licensingProfile{user: user}
	profile.experience, _ = values["ActivationExperience"].(string)
	profile.key, _ = values["LicenseKey"].(string)
	return profile, nil
}

func (p licensingProfile) wantsSSO() bool { return strings.EqualFold(p.experience, "sso") }

func (p licensingProfile) who() string {
	if p.user == "" {
		return "the Mac's"
	}
	return p.user + "'s"
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
	case len(profiles) > 0:
		return okResult("%s says %s.", profiles[0].who(), joinOr([]string{profiles[0].experience}, "nothing of the activation"))
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
	for _, other := range profiles[min(len(profiles), 1):] {
		first := profiles[0]
		if other.key != first.key || !strings.EqualFold(other.experience, first.experience) {
			return codeResult(protocol.CodeProfilesDiffer, fmt.Sprintf("%s and %s.", first.who(), other.who()))
		}
	}
	return okResult("%s.", countWords(len(profiles), "licensing profile"))
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
	case slices.ContainsFunc(profiles, licensingProfile.wantsSSO):
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
