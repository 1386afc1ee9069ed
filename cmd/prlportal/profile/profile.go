// Package profile makes, signs and checks configuration profiles for Macs: the
// agent's own settings, and what the MDM has to say of it to macOS and to
// Parallels Desktop.
//
// The keys are those of Apple's schemas (apple/device-management: mdm/profiles,
// TopLevel.yaml, CommonPayloadKeys.yaml and a file for each payload) as
// facts/macos.md 5.3 and 7 and facts/acting.md 4 have them, and of the vendor's
// manifest (facts/prlctl.md 7). No Mac has taken one of these profiles yet.
package profile

import (
	"fmt"
	"maps"
	"strings"

	"github.com/google/uuid"

	"prlagent/platform/plist"
	"prlagent/prlctl"
)

// Types of payloads.
const (
	typeConfiguration = "Configuration" // of the profile itself
	typePPPC          = "com.apple.TCC.configuration-profile-policy"
	typeLoginItems    = "com.apple.servicemanagement"
	typeNotifications = "com.apple.notificationsettings"
	typeLicensing     = prlctl.LicensingDomain
	// typeCustomSettings has settings of any domain, as some MDMs deliver them.
	typeCustomSettings = "com.apple.ManagedClient.preferences"
)

// Payload is one payload of a profile.
type Payload struct {
	Type        string
	Name        string // the last part of its identifier
	DisplayName string
	Settings    map[string]any // without what every payload has
}

// Profile is a configuration profile for a whole Mac. macOS takes the place of one
// with another of the same identifier, and updates payloads with the same
// identifier and UUID: both derive from names, so that a profile that is made again
// replaces the one before it.
type Profile struct {
	Identifier   string
	DisplayName  string
	Description  string
	Organization string // empty: none is named
	// Namespace and Variant are what the UUIDs derive from, with the payloads' names.
	Namespace uuid.UUID
	Variant   string
	// RemovalDisallowed has macOS ask for an administrator before it removes a profile
	// that was installed by hand; one that an MDM installed, no user can remove.
	RemovalDisallowed bool
	Payloads          []Payload
}

// namespace is that of the profiles that belong to no site.
var namespace = uuid.NewSHA1(uuid.Nil, []byte("org.prlagent.profile"))

// newProfile is a profile of a kind that belongs to no site.
func newProfile(kind, displayName, description string, payload Payload) Profile {
	return Profile{
		Identifier: "org.prlagent.profile." + kind, DisplayName: displayName, Description: description,
		Namespace: namespace, Variant: kind, Payloads: []Payload{payload},
	}
}

func (p Profile) derive(what string) string {
	return strings.ToUpper(uuid.NewSHA1(p.Namespace, []byte(what+"/"+p.Variant)).String())
}

// Encode is the profile as an XML property list, the same for the same profile.
func (p Profile) Encode() ([]byte, error) {
	var payloads []map[string]any
	for _, one := range p.Payloads {
		payload := maps.Clone(one.Settings)
		maps.Copy(payload, map[string]any{
			"PayloadType":        one.Type,
			"PayloadVersion":     1,
			"PayloadIdentifier":  p.Identifier + "." + one.Name,
			"PayloadUUID":        p.derive(one.Name),
			"PayloadDisplayName": one.DisplayName,
		})
		payloads = append(payloads, payload)
	}
	document := map[string]any{
		"PayloadType":        typeConfiguration,
		"PayloadVersion":     1,
		"PayloadIdentifier":  p.Identifier,
		"PayloadUUID":        p.derive("profile"),
		"PayloadDisplayName": p.DisplayName,
		"PayloadDescription": p.Description,
		"PayloadScope":       "System",
		"PayloadContent":     payloads,
	}
	if p.Organization != "" {
		document["PayloadOrganization"] = p.Organization
	}
	if p.RemovalDisallowed {
		document["PayloadRemovalDisallowed"] = true
	}
	data, err := plist.EncodeXML(document)
	if err != nil {
		return nil, fmt.Errorf("encode profile: %w", err)
	}
	return data, nil
}
