package prlctl

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"prlagent/platform/plist"
	"prlagent/platform/safefile"
)

// Where the profiles of the MDM are on a Mac, and the vendor's domain for them with its
// file (facts/prlctl.md 7).
const (
	ManagedPreferences = "/Library/Managed Preferences"
	LicensingDomain    = "com.parallels.desktop.managedprefs"
	LicensingFile      = LicensingDomain + ".plist"
)

// LicensingProfile is what a profile says of the activation of the product.
type LicensingProfile struct {
	User       string // whose; empty = the Mac's
	Experience string // ActivationExperience: "License Key" or "SSO"
	Key        string // is shown nowhere
}

// What ActivationExperience says, as the vendor spells it. On a Mac the letter case is of
// no account.
const (
	ExperienceSSO = "SSO"
	ExperienceKey = "License Key"
)

// LicenseGuard is the first version that refuses another license key than that of the
// profile (conformance CFP-14).
var LicenseGuard = Version{Major: 20, Minor: 3}

// WantsSSO reports whether the product is to be activated by single sign-on.
func (p LicensingProfile) WantsSSO() bool { return strings.EqualFold(p.Experience, ExperienceSSO) }

// WantsKey reports whether the product is to be activated by a license key.
func (p LicensingProfile) WantsKey() bool { return strings.EqualFold(p.Experience, ExperienceKey) }

// Activation is the way of activation that it names: the vendor's word, or "unknown".
func (p LicensingProfile) Activation() string {
	switch {
	case p.WantsSSO():
		return ExperienceSSO
	case p.WantsKey():
		return ExperienceKey
	}
	return "unknown"
}

// Whose says whose profile it is: "the Mac's", "alice's".
func (p LicensingProfile) Whose() string {
	if p.User == "" {
		return "the Mac's"
	}
	return p.User + "'s"
}

func (p LicensingProfile) agrees(other LicensingProfile) bool {
	return strings.EqualFold(p.Key, other.Key) && strings.EqualFold(p.Experience, other.Experience)
}

// ReadLicensingProfiles reads the Mac's profile and those of its users, whose
// preferences lie in folders of their names (facts/macos.md 5.3). The folder is
// ManagedPreferences, as a path on this disk.
func ReadLicensingProfiles(path string) ([]LicensingProfile, error) {
	folder, err := safefile.OpenFolder(path)
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
	var found []LicensingProfile
	for _, user := range append([]string{""}, names...) {
		if strings.HasSuffix(user, ".plist") {
			continue // a file of the Mac's
		}
		profile, err := readLicensingProfile(path, user)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR): // none, or a file of the Mac's that is called otherwise
		case err != nil:
			return nil, err
		default:
			found = append(found, profile)
		}
	}
	return found, nil
}

func readLicensingProfile(path, user string) (LicensingProfile, error) {
	values, err := ReadManaged(path, user, LicensingFile)
	if err != nil {
		return LicensingProfile{}, err
	}
	profile := LicensingProfile{User: user}
	profile.Experience, _ = values["ActivationExperience"].(string)
	profile.Key, _ = values["LicenseKey"].(string)
	return profile, nil
}

// ReadManaged reads a file of the MDM's profiles, of a user or, with an empty name,
// of the Mac: what it has is forced (facts/macos.md 5.3). The folder is
// ManagedPreferences, as a path on this disk. The error is fs.ErrNotExist where
// nothing is forced.
func ReadManaged(path, user, file string) (map[string]any, error) {
	if strings.Contains(user, "/") || user == ".." {
		return nil, fmt.Errorf("read managed preferences: %w", fs.ErrNotExist)
	}
	folder, err := safefile.OpenFolder(filepath.Join(path, user))
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	data, err := folder.ReadFile(file, plist.MaxSize)
	if err != nil {
		return nil, err
	}
	return plist.DecodeDict(data)
}

// IsMet reports whether a license that is in force is as the profile says, as far as can
// be told: of its key, the tools show the first and the last group at most
// (facts/prlctl.md 4.2).
func (p LicensingProfile) IsMet(bySSO bool, maskedKey string) bool {
	switch {
	case p.WantsSSO():
		return bySSO
	case !p.WantsKey():
		return true
	case bySSO:
		return false
	}
	asked, shown := strings.Split(p.Key, "-"), strings.Split(maskedKey, "-")
	if len(asked) != len(shown) {
		return true // one of the two is not known
	}
	for i, group := range shown {
		if group != "" && !strings.Contains(group, "*") && !strings.EqualFold(group, asked[i]) {
			return false
		}
	}
	return true
}

// LicensingConflict says which two profiles say different things (CFP-16); empty
// = all say the same.
func LicensingConflict(profiles []LicensingProfile) string {
	for _, other := range profiles[min(len(profiles), 1):] {
		if !profiles[0].agrees(other) {
			return fmt.Sprintf("%s and %s", profiles[0].Whose(), other.Whose())
		}
	}
	return ""
}
