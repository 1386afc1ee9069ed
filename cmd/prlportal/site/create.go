package site

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/admins"
	"prlagent/cmd/prlportal/secret"
	"prlagent/platform/safefile"
)

// HeadLifetime is how long a head counts before it must be signed again
// (protocol.md 2.4).
const HeadLifetime = 30 * 24 * time.Hour

// DefaultPort is what serve listens on and what the first URL names.
const DefaultPort = "8443"

// FirstAdmin is the admin that init makes.
const FirstAdmin = "operator"

// Both folders hold secrets: git is told to leave them out, wherever they are put.
const (
	IgnoreFile = ".gitignore"
	ignoreAll  = "*\n"
)

// Options are what a site is made from.
type Options struct {
	Name         string
	Hosts        []string // names and addresses of the certificate; the first one is in the URL
	PrimaryGroup string
	DefaultGroup string // of the enrollment secret; empty = none
	Now          time.Time
}

// Create makes the site's two folders in dir; neither may exist.
func (s Options) Create(dir string) (Config, error) {
	if err := s.Validate(); err != nil {
		return Config{}, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Config{}, fmt.Errorf("make folder: %w", err)
	}
	if err := makeFolders(dir); err != nil {
		return Config{}, err
	}
	enrollmentSecret := secret.New()
	config := s.newConfig(enrollmentSecret)
	files, err := s.siteFiles(config, enrollmentSecret)
	if err != nil {
		return Config{}, err
	}
	for name, content := range files {
		if err := safefile.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return Config{}, fmt.Errorf("write %s: %w", name, err)
		}
	}
	return config, nil
}

// Validate says what is missing or wrong before anything is made.
func (s Options) Validate() error {
	if !protocol.ValidName(s.PrimaryGroup) || s.DefaultGroup != "" && !protocol.ValidName(s.DefaultGroup) {
		return errors.New("a group id is 1 to 64 of a-z 0-9 . _ - and does not begin with a dot")
	}
	if strings.TrimSpace(s.Name) == "" {
		return errors.New("a site needs a name")
	}
	_, err := ParseHosts(s.Hosts)
	return err
}

// ContentFolders are in the content folder, also where there is nothing in them.
var ContentFolders = []string{HeadFolder, PolicyFolder}

// makeFolders refuses to touch a site that is there already.
func makeFolders(dir string) error {
	for _, name := range []string{PortalFolder, OperatorFolder} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); errors.Is(err, os.ErrExist) {
			return fmt.Errorf("%s exists already; nothing was changed", filepath.Join(dir, name))
		} else if err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	for _, name := range ContentFolders {
		if err := os.MkdirAll(filepath.Join(dir, PortalFolder, ContentFolder, name), 0o700); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	return nil
}

func (s Options) newConfig(enrollmentSecret string) Config {
	groups := []GroupConfig{{ID: s.PrimaryGroup, Name: s.PrimaryGroup}}
	if s.DefaultGroup != "" && s.DefaultGroup != s.PrimaryGroup {
		groups = append(groups, GroupConfig{ID: s.DefaultGroup, Name: s.DefaultGroup})
	}
	hosts, _ := ParseHosts(s.Hosts) // they are valid
	address := url.URL{Scheme: "https", Host: net.JoinHostPort(hosts[0], DefaultPort)}
	return Config{
		SiteID:            uuid.NewString(),
		Name:              s.Name,
		URL:               address.String(),
		PrimaryGroup:      s.PrimaryGroup,
		Groups:            groups,
		EnrollmentSecrets: []EnrollmentSecret{{SHA256: secret.Hash(enrollmentSecret), DefaultGroup: s.DefaultGroup}},
		NextCheckinSecs:   3600,
		SplaySecs:         300,
		Enrollments:       EnrollmentLimits{PerSource: 600, PerSerial: 12},
	}
}

// siteFiles are the site's files by their path below its folder.
func (s Options) siteFiles(config Config, enrollmentSecret string) (map[string][]byte, error) {
	policyKey, policyPEM, err := newSigningKey()
	if err != nil {
		return nil, err
	}
	commandKey, commandPEM, err := newSigningKey()
	if err != nil {
		return nil, err
	}
	hosts, err := ParseHosts(s.Hosts)
	if err != nil {
		return nil, err
	}
	certificate, tlsKey, err := newCertificate(s.Name, hosts, s.Now)
	if err != nil {
		return nil, err
	}
	first, adminToken, err := admins.New(FirstAdmin, admins.Approver, "init", s.Now)
	if err != nil {
		return nil, err
	}
	book, err := admins.Encode([]admins.Admin{first})
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{
		filepath.Join(OperatorFolder, PolicyKeyFile):  policyPEM,
		filepath.Join(OperatorFolder, CommandKeyFile): commandPEM,
		filepath.Join(OperatorFolder, SecretFile):     []byte(enrollmentSecret + "\n"),
		filepath.Join(OperatorFolder, AdminTokenFile): []byte(adminToken + "\n"),
		filepath.Join(OperatorFolder, TrustFile):      certificate,
		filepath.Join(OperatorFolder, IgnoreFile):     []byte(ignoreAll),
		filepath.Join(PortalFolder, IgnoreFile):       []byte(ignoreAll),
		filepath.Join(PortalFolder, AdminsFile):       book,
		filepath.Join(PortalFolder, CertificateFile):  certificate,
		filepath.Join(PortalFolder, TLSKeyFile):       tlsKey,
	}
	for _, group := range config.Groups {
		head, err := firstHead(config.SiteID, group.ID, s.Now, policyKey)
		if err != nil {
			return nil, err
		}
		files[filepath.Join(PortalFolder, ContentFolder, HeadPath(group.ID))] = head
	}
	keys := PolicyKeys{SiteID: config.SiteID, Version: 1, Keys: PublicHalves([]ed25519.PrivateKey{policyKey})}
	if files[filepath.Join(PortalFolder, ContentFolder, PolicyKeysFile)], err = keys.Sign(policyKey); err != nil {
		return nil, err
	}
	commandKeys := CommandKeys{SiteID: config.SiteID}
	if err := commandKeys.Add(CommandKey{Key: commandKey.Public().(ed25519.PublicKey), Person: FirstAdmin, AddedAt: s.Now.UTC().Truncate(time.Second)}); err != nil {
		return nil, err
	}
	registered, err := commandKeys.Sign(policyKey)
	if err != nil {
		return nil, err
	}
	files[filepath.Join(PortalFolder, ContentFolder, CommandKeysFile)], files[filepath.Join(OperatorFolder, CommandKeysFile)] = registered, registered
	return addJSONFiles(files, config)
}

func addJSONFiles(files map[string][]byte, config Config) (map[string][]byte, error) {
	for name, value := range map[string]any{
		filepath.Join(PortalFolder, ConfigFile): config,
		filepath.Join(OperatorFolder, SiteFile): OperatorSite{SiteID: config.SiteID, Name: config.Name, URL: config.URL},
	} {
		content, err := json.MarshalIndent(value, "", "  ")
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", name, err)
		}
		files[name] = append(content, '\n')
	}
	return files, nil
}

// firstHead says that the group has no policy; from it on, versions rise.
func firstHead(siteID, groupID string, now time.Time, key ed25519.PrivateKey) ([]byte, error) {
	issued := now.UTC().Truncate(time.Second)
	payload, err := json.Marshal(protocol.Head{
		SiteID: siteID, GroupID: groupID, HeadVersion: 1,
		IssuedAt: issued, ExpiresAt: issued.Add(HeadLifetime),
	})
	if err != nil {
		return nil, fmt.Errorf("encode head: %w", err)
	}
	return protocol.Sign(protocol.PayloadHead, payload, key).JSON()
}
