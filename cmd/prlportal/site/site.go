// Package site is a portal's site on disk: its two folders, the configuration,
// the keys, and how init makes them.
package site

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/secret"
	"prlagent/platform/safefile"
)

// The two folders of a site: what serve may read, and what only the operator
// needs. The second one can live on another machine (H31).
const (
	PortalFolder   = "portal"
	OperatorFolder = "operator"
)

// Files of the portal's folder.
const (
	ConfigFile          = "config.json"
	DatabaseFile        = "portal.db"
	CertificateFile     = "tls.crt"
	TLSKeyFile          = "tls.key"
	NextCertificateFile = "tls-next.pem" // certificate and key that replace tls.crt and tls.key
	AdminsFile          = "admins.json"
	AuditFile           = "audit.log" // what administrators decided
	BlobFolder          = "blobs"     // what Macs uploaded on request
	ContentFolder       = "content"
	HeadFolder          = "heads"    // in the content folder
	PolicyFolder        = "policies" // in the content folder
)

// Files of the operator's folder.
const (
	SiteFile       = "site.json"
	PolicyKeyFile  = "policy.key"
	CommandKeyFile = "command.key"
	SecretFile     = "enrollment.secret"
	AdminTokenFile = "admin.token"
	TrustFile      = "portal.crt" // what the portal shows, as this machine knows it
)

// maxSiteFile is the largest of a site's small files, in bytes.
const maxSiteFile = 256 << 10

// Config is the portal's own configuration, config.json. It has no secret in
// the clear: a copy of the file opens nothing.
type Config struct {
	SiteID            string             `json:"site_id"`
	Name              string             `json:"name"`
	URL               string             `json:"url"`               // where agents and the operator reach the portal
	Origins           []string           `json:"origins,omitempty"` // further URLs under which agents reach it, as through a proxy (H54)
	PrimaryGroup      string             `json:"primary_group"`
	Groups            []GroupConfig      `json:"groups"`
	EnrollmentSecrets []EnrollmentSecret `json:"enrollment_secrets"`           // two while one replaces the other
	AdminTokenSHA256  string             `json:"admin_token_sha256,omitempty"` // of a site from before admins had names
	NextCheckinSecs   int                `json:"next_checkin_s"`
	SplaySecs         int                `json:"splay_s"`
	StaleAfterSecs    int                `json:"stale_after_s,omitempty"` // see Freshness
	Enrollments       EnrollmentLimits   `json:"enrollment_limits"`
	Checkins          CheckinLimits      `json:"checkin_limits,omitzero"`
}

// GroupConfig gives a group a name for people.
type GroupConfig struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// EnrollmentSecret is one accepted secret, known by its SHA-256 in hex.
type EnrollmentSecret struct {
	SHA256       string `json:"sha256"`
	DefaultGroup string `json:"default_group,omitempty"`
}

// EnrollmentLimits are enrollments per hour, allowed in one go and refilled
// evenly. Many Macs can share one source address.
type EnrollmentLimits struct {
	PerSource int `json:"per_source_per_hour"`
	PerSerial int `json:"per_serial_per_hour"`
}

// CheckinLimits are check-ins per hour, allowed in one go and refilled evenly.
type CheckinLimits struct {
	PerDevice int `json:"per_device_per_hour"` // 0 is defaultCheckinsPerHour
}

// defaultCheckinsPerHour is ten times what an agent does that nobody hurries
// (protocol.md 2.11), so that a person who asks for check-ins is not refused.
const defaultCheckinsPerHour = 120

// CheckinsPerHour is how many check-ins one device may do in an hour.
func (c Config) CheckinsPerHour() int { return cmp.Or(c.Checkins.PerDevice, defaultCheckinsPerHour) }

// OperatorSite is site.json: what the operator's commands know of the site
// without asking a portal, which could lie.
type OperatorSite struct {
	SiteID string `json:"site_id"`
	Name   string `json:"name"`
	URL    string `json:"url"`
}

var (
	// ErrNoSite says that what was looked for is no site's folder.
	ErrNoSite = errors.New("there is no site here; make one with 'prlportal init'")
	errConfig = errors.New("config.json cannot be used")
)

// ServedFolder is the portal's folder, given either itself or its site's folder.
func ServedFolder(dir string) string {
	if folder, found := findFolder(dir, PortalFolder, ConfigFile); found {
		return folder
	}
	return dir
}

// FindPortal is the portal's folder, given either itself or its site's folder.
func FindPortal(dir string) (folder string, found bool) {
	return findFolder(dir, PortalFolder, ConfigFile)
}

// NoSite is ErrNoSite of a folder that has not the file; where it has the other
// half of a site, it says so.
func NoSite(dir, file string) error {
	other, half := FindOperator(dir)
	words := "the operator's folder, and this works in the portal's: on the server, give --dir " + PortalFolder
	if file == SiteFile {
		other, half = FindPortal(dir)
		words = "the portal's folder, and this works in the operator's: with you, give --dir " + OperatorFolder
	}
	if half {
		return fmt.Errorf("%s is %s (it has no %s)", other, words, file)
	}
	return fmt.Errorf("%w (no %s in %s)", ErrNoSite, file, dir)
}

// FindOperator is the operator's folder, given either itself or its site's folder.
func FindOperator(dir string) (folder string, found bool) {
	return findFolder(dir, OperatorFolder, SiteFile)
}

func findFolder(dir, name, file string) (folder string, found bool) {
	for _, folder := range []string{filepath.Join(dir, name), dir} {
		if _, err := os.Stat(filepath.Join(folder, file)); err == nil {
			return folder, true
		}
	}
	return "", false
}

// LoadConfig reads and checks the portal's configuration.
func LoadConfig(folder string) (Config, error) {
	var config Config
	if err := readJSONFile(filepath.Join(folder, ConfigFile), &config); err != nil {
		return Config{}, err
	}
	return config, config.validate()
}

func (c Config) validate() error {
	switch {
	case c.SiteID == "":
		return fmt.Errorf("%w: site_id is missing", errConfig)
	case !protocol.ValidName(c.PrimaryGroup):
		return fmt.Errorf("%w: primary_group is not a group id", errConfig)
	case c.AdminTokenSHA256 != "" && len(c.AdminTokenSHA256) != 64:
		return fmt.Errorf("%w: admin_token_sha256 is not a SHA-256", errConfig)
	case c.Enrollments.PerSource < 1 || c.Enrollments.PerSerial < 1:
		return fmt.Errorf("%w: enrollment_limits must be positive", errConfig)
	case c.StaleAfterSecs < 0:
		return fmt.Errorf("%w: stale_after_s must not be negative", errConfig)
	case c.Checkins.PerDevice < 0:
		return fmt.Errorf("%w: checkin_limits must not be negative", errConfig)
	}
	for _, group := range c.Groups {
		if !protocol.ValidName(group.ID) {
			return fmt.Errorf("%w: groups has an id that is no group id", errConfig)
		}
	}
	for _, origin := range c.Origins {
		if location, err := url.Parse(origin); err != nil || location.Scheme != "https" || location.Host == "" {
			return fmt.Errorf("%w: origins has a value that is no https URL", errConfig)
		}
	}
	for _, secret := range c.EnrollmentSecrets {
		if len(secret.SHA256) != 64 || secret.DefaultGroup != "" && !protocol.ValidName(secret.DefaultGroup) {
			return fmt.Errorf("%w: an enrollment secret is not valid", errConfig)
		}
	}
	return nil
}

// Group gives a group id its name.
func (c Config) Group(id, source string) protocol.Group {
	group := protocol.Group{ID: id, Source: source}
	for _, known := range c.Groups {
		if known.ID == id {
			group.Name = known.Name
		}
	}
	return group
}

// LoadOperatorSite reads site.json of the operator's folder.
func LoadOperatorSite(folder string) (OperatorSite, error) {
	var site OperatorSite
	err := readJSONFile(filepath.Join(folder, SiteFile), &site)
	return site, err
}

func readJSONFile(path string, v any) error {
	data, err := safefile.ReadFile(path, maxSiteFile)
	if errors.Is(err, fs.ErrNotExist) {
		return NoSite(filepath.Dir(path), filepath.Base(path))
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("decode %s: %w", filepath.Base(path), err)
	}
	return nil
}

// Freshness is how old a report may be: twice the cadence in force, with its
// jitter (protocol.md 5.1). Without a cadence of the portal's own the guide's
// daily check is in force; agents follow one of five minutes to a day. An operator
// whose Macs are away for longer says otherwise.
func (c Config) Freshness() time.Duration {
	if c.StaleAfterSecs > 0 {
		return time.Duration(c.StaleAfterSecs) * time.Second
	}
	const day = 24 * time.Hour
	cadence := day
	if c.NextCheckinSecs > 0 {
		cadence = min(max(time.Duration(c.NextCheckinSecs)*time.Second, 5*time.Minute), day)
	}
	return 2*cadence + time.Duration(max(c.SplaySecs, 0))*time.Second
}

// AcceptsOrigin reports whether the portal is reached at an origin, which is as
// protocol.OriginOf gives it.
func (c Config) AcceptsOrigin(origin string) bool {
	return origin != "" && slices.ContainsFunc(append([]string{c.URL}, c.Origins...), func(known string) bool {
		location, err := url.Parse(known)
		return err == nil && protocol.OriginOf(location) == origin
	})
}

// AcceptSecret finds the enrollment secret among those that are accepted, in a
// time that does not depend on which one fits.
func (c Config) AcceptSecret(given string) (defaultGroup string, accepted bool) {
	for _, known := range c.EnrollmentSecrets {
		if secret.Matches(given, known.SHA256) {
			defaultGroup, accepted = known.DefaultGroup, true
		}
	}
	return defaultGroup, accepted
}

// headSuffix ends the name of a group's head.
const headSuffix = ".dsse.json"

// HeadPath is where a group's head lies in the content folder.
func HeadPath(group string) string { return filepath.Join(HeadFolder, group+headSuffix) }

// PolicyPath is where a policy document lies in the content folder.
func PolicyPath(name string) string { return filepath.Join(PolicyFolder, name) }

// GroupOfHead is the group whose head has this file name.
func GroupOfHead(file string) (group string, isHead bool) {
	group, isHead = strings.CutSuffix(file, headSuffix)
	return group, isHead && protocol.ValidName(group)
}

// ListeningFile holds the URL of the portal that runs, or ran last: the
// operator's commands on the same machine find it there.
const ListeningFile = "listening"

// LocalTokenFile holds the admin token of this machine, which counts while the
// portal runs.
const LocalTokenFile = "local.token"
