package sim

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"prlagent/platform/plist"
	"prlagent/platform/text"
)

// newMacOptions describes a Mac to create.
type newMacOptions struct {
	Users          []string // names; uids from 501 on
	LoggedOut      []string // users without a session
	Standard       []string // users who are no administrators
	Console        string   // user on the screen; empty: the first who is logged in
	Empty          bool     // no VMs
	ProductVersion string   // whole, or a major one of releases
	Edition        string   // empty: enterprise
	Intel          bool
	Seed           int64
	ComputerName   string
	NoProcesses    bool     // neither the service nor running VMs have a process
	NoSerial       bool     // the hardware tells no serial number
	Serial         *string  // nil: one of the seed; it may be blank
	License        string   // noLicense or one of licenseStatuses; empty: active
	Assume         []string // NAME=VALUE
}

var userName = text.Pattern(`^[a-z][a-z0-9_-]{0,30}$`)

// versionsByMajor are versions by their major one: those of 15, 16, 18, 26 and 27
// have been seen (facts/prlctl.md 0 and 2, captures.md; of 15 and 16 the numbers
// without the build), the others' builds are invented.
var versionsByMajor = map[string]string{
	"15": "15.1.5-47309", "16": "16.5.1-49187", "18": "18.3.0-53605", "19": "19.4.1-54985", "20": "20.1.1-55740", "26": "26.4.0-57513", "27": "27.0.0-58628",
}

// wholeVersion turns a major version into a whole one and checks it.
func wholeVersion(version string) (string, error) {
	if whole, known := versionsByMajor[version]; known {
		return whole, nil
	}
	if !productVersion().MatchString(version) {
		return "", fmt.Errorf("%w: a version is one of 15, 16, 18, 19, 20, 26 and 27 or looks like 26.4.0-57513, not %q", errUsage, version)
	}
	return version, nil
}

var productVersion = text.Pattern(`^\d{1,3}\.\d{1,3}\.\d{1,3}-\d{1,6}$`)

// createMac makes the folder dir with the Mac's tree, the tools (links to the
// program `executable`) and, unless told otherwise, the five VMs.
func createMac(dir, executable string, wanted newMacOptions) (Mac, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return Mac{}, fmt.Errorf("create Mac: %w", err)
	}
	mac := Mac{Dir: absolute}
	if _, err := os.Lstat(mac.markerPath("")); err == nil {
		return Mac{}, fmt.Errorf("%s is already a simulated Mac", dir)
	}
	state, err := newState(wanted)
	if err != nil {
		return Mac{}, err
	}
	if err := mac.makeTree(state, executable); err != nil {
		return Mac{}, err
	}
	if err := mac.saveState(state); err != nil {
		return Mac{}, err
	}
	return mac, mac.update(func(state *State) error {
		if err := errors.Join(mac.writeProductFiles(state), mac.writeNetwork(state.Network), mac.writeVolume(state)); err != nil || wanted.Empty {
			return err
		}
		return errors.Join(mac.createDefaultVMs(state), mac.createPreferences(state))
	})
}

func newState(wanted newMacOptions) (*State, error) {
	version, err := wholeVersion(wanted.ProductVersion)
	if err != nil {
		return nil, err
	}
	if wanted.Edition == "" {
		wanted.Edition = "enterprise"
	}
	if !slices.Contains(editions, wanted.Edition) {
		return nil, fmt.Errorf("%w: unknown edition %q (one of %v)", errUsage, wanted.Edition, editions)
	}
	state := &State{
		Seed: wanted.Seed, ComputerName: wanted.ComputerName, Intel: wanted.Intel, NoProcesses: wanted.NoProcesses,
		Service:       dispatcherService{Process: !wanted.NoProcesses},
		SerialNumber:  seededSerial(wanted.Seed),
		HardwareUUID:  seededUUID(wanted.Seed, "hardware"),
		DispatcherID:  seededUUID(wanted.Seed, "dispatcher"),
		DispatcherKey: seededUUID(wanted.Seed, "dispatcher hardware"),
		Volume:        newVolume(wanted.Seed),
		BootedAt:      time.Now().Truncate(time.Second),
		NoSerial:      wanted.NoSerial,
		Product: product{Version: version, Edition: wanted.Edition, LicenseStatus: "ACTIVE", Activation: "SSO",
			Synced: true, LicenseUUID: seededUUID(wanted.Seed, "license"), Key: maskedKey, ActivatedAt: "2026-11-20 08:00:00"},
		Network: networkState{Up: true, Resolvers: []string{homeResolver}},
	}
	if wanted.Serial != nil {
		state.SerialNumber = *wanted.Serial
	}
	if wanted.License != "" {
		if err := state.Product.setLicenseStatus(wanted.License); err != nil {
			return nil, err
		}
	}
	for _, setting := range wanted.Assume {
		if err := state.setAssumption(setting); err != nil {
			return nil, err
		}
	}
	return state, state.addUsers(wanted)
}

func (s *State) addUsers(wanted newMacOptions) error {
	if len(wanted.Users) == 0 {
		return fmt.Errorf("%w: a Mac has at least one user", errUsage)
	}
	for i, name := range wanted.Users {
		if err := s.checkUserName(name); err != nil {
			return err
		}
		s.Users = append(s.Users, macUser{
			Name: name, FullName: string(name[0]-'a'+'A') + name[1:] + " Example", UID: firstUID + i,
			LoggedIn: !slices.Contains(wanted.LoggedOut, name), Standard: slices.Contains(wanted.Standard, name),
		})
	}
	for _, name := range append(slices.Concat(wanted.LoggedOut, wanted.Standard), wanted.Console) {
		if _, known := s.userByName(name); name != "" && !known {
			return fmt.Errorf("%w: no user %q among the users", errUsage, name)
		}
	}
	s.Console = wanted.Console
	if console, ok := s.userByName(s.Console); ok && !console.LoggedIn {
		return fmt.Errorf("%w: %s cannot be on the screen and logged out", errUsage, s.Console)
	}
	if s.Console == "" {
		s.Console = s.firstLoggedIn()
	}
	return nil
}

func (s *State) firstLoggedIn() string {
	for _, user := range s.Users {
		if user.LoggedIn {
			return user.Name
		}
	}
	return ""
}

func (m Mac) makeTree(state *State, executable string) error {
	folders := []string{
		"/" + markerFolder, sharedVMHome, "/Library/Preferences/Parallels", "/Library/Managed Preferences",
		"/Library/Application Support", "/Library/Logs", "/Library/LaunchDaemons", "/usr/local/bin",
		"/var/run", "/var/root", "/private/tmp", "/tmp",
	}
	for _, user := range state.Users {
		folders = append(folders, user.home()+"/Parallels", user.home()+"/Library/Preferences")
	}
	if err := m.makeFolders(folders...); err != nil {
		return err
	}
	if err := m.installTools(executable); err != nil {
		return err
	}
	return m.writePlist("/System/Library/CoreServices/SystemVersion.plist", map[string]any{
		"ProductBuildVersion": macOSBuild, "ProductCopyright": "1983-2026 Apple Inc.", "ProductName": "macOS",
		"ProductUserVisibleVersion": macOSVersion, "ProductVersion": macOSVersion, "iOSSupportVersion": macOSVersion,
	})
}

func (m Mac) makeFolders(folders ...string) error {
	for _, folder := range folders {
		if err := os.MkdirAll(m.Path(folder), 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	return nil
}

// firstUID is the uid of the first account that is made on a Mac.
const firstUID = 501

const (
	macOSVersion = "26.4.1"
	macOSBuild   = "25E253"
)

// writeProductFiles renders what the product keeps outside the VMs: the
// application's Info.plist and licenses.json.
func (m Mac) writeProductFiles(state *State) error {
	version, build := state.Product.versionAndBuild()
	err := m.writePlist(appFolder+"/Contents/Info.plist", map[string]any{
		"CFBundleIdentifier": "com.parallels.desktop.console", "CFBundleName": "Parallels Desktop",
		"CFBundleExecutable": "prl_client_app", "CFBundlePackageType": "APPL",
		"CFBundleShortVersionString": version, "CFBundleVersion": build,
	})
	if err != nil {
		return err
	}
	licenses, err := state.licensesFile()
	if err != nil {
		return err
	}
	return writeFile(m.Path("/Library/Preferences/Parallels/licenses.json"), licenses)
}

// writePlist leaves a file alone that says the same: what changes the license
// does not touch the application.
func (m Mac) writePlist(macPath string, value map[string]any) error {
	content, err := plist.EncodeXML(value)
	if err != nil {
		return fmt.Errorf("encode %s: %w", macPath, err)
	}
	if was, err := os.ReadFile(m.Path(macPath)); err == nil && bytes.Equal(was, content) {
		return nil
	}
	return writeFile(m.Path(macPath), content)
}

// createDefaultVMs makes the VMs of a new Mac: three of the first user, one of
// the second (if there is one), and a shared one.
func (m Mac) createDefaultVMs(state *State) error {
	first, second := state.Users[0].Name, state.Users[min(1, len(state.Users)-1)].Name
	defaults := []newVMOptions{
		{OS: "win-11", Owner: first, State: "running"},
		{OS: "ubuntu", Owner: first, State: "suspended", Description: "dev box"},
		{OS: "macosx", Owner: first},
		{OS: "win-11", Owner: second, Tools: "outdated", Encrypted: true},
		{OS: "debian", Owner: first, Name: "Team Linux", Shared: true},
	}
	for _, wanted := range defaults {
		if wanted.Encrypted && first == second {
			continue
		}
		if _, err := m.createVM(state, wanted); err != nil {
			return errors.Join(errors.New("create default VMs"), err)
		}
	}
	return nil
}
