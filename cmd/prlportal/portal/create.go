package portal

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/secret"
	"prlagent/platform/safefile"
)

// headLifetime is how long a head counts before it must be signed again
// (protocol.md 2.4).
const headLifetime = 30 * 24 * time.Hour

// defaultPort is what serve listens on and what the first URL names.
const defaultPort = "8443"

// newSite is what a site is made from.
type newSite struct {
	name         string
	hosts        []string // names and addresses of the certificate; the first one is in the URL
	primaryGroup string
	defaultGroup string // of the enrollment secret; empty = none
	now          time.Time
}

// make creates the site's two folders in dir; neither may exist.
func (s newSite) make(dir string) (Config, error) {
	if err := s.check(); err != nil {
		return Config{}, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Config{}, fmt.Errorf("make folder: %w", err)
	}
	if err := makeFolders(dir); err != nil {
		return Config{}, err
	}
	enrollmentSecret, adminToken := secret.New(), secret.New()
	config := s.config(enrollmentSecret, adminToken)
	files, err := s.files(config, enrollmentSecret, adminToken)
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

// check says what is missing or wrong before anything is made.
func (s newSite) check() error {
	if !validGroupID(s.primaryGroup) || s.defaultGroup != "" && !validGroupID(s.defaultGroup) {
		return errors.New("a group id is 1 to 64 of a-z 0-9 . _ - and begins with a letter or digit")
	}
	if len(s.hosts) == 0 || s.name == "" {
		return errors.New("a site needs a name and at least one host")
	}
	return nil
}

// makeFolders refuses to touch a site that is there already.
func makeFolders(dir string) error {
	for _, name := range []string{portalFolder, operatorFolder} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); errors.Is(err, os.ErrExist) {
			return fmt.Errorf("%s exists already; nothing was changed", filepath.Join(dir, name))
		} else if err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	for _, name := range []string{headFolder, policyFolder} {
		if err := os.MkdirAll(filepath.Join(dir, portalFolder, contentFolder, name), 0o700); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	return nil
}

func (s newSite) config(enrollmentSecret, adminToken string) Config {
	groups := []GroupConfig{{ID: s.primaryGroup, Name: s.primaryGroup}}
	if s.defaultGroup != "" && s.defaultGroup != s.primaryGroup {
		groups = append(groups, GroupConfig{ID: s.defaultGroup, Name: s.defaultGroup})
	}
	address := url.URL{Scheme: "https", Host: net.JoinHostPort(s.hosts[0], defaultPort)}
	return Config{
		SiteID:            uuid.NewString(),
		Name:              s.name,
		URL:               address.String(),
		PrimaryGroup:      s.primaryGroup,
		Groups:            groups,
		EnrollmentSecrets: []EnrollmentSecret{{SHA256: secret.Hash(enrollmentSecret), DefaultGroup: s.defaultGroup}},
		AdminTokenSHA256:  secret.Hash(adminToken),
		NextCheckinSecs:   3600,
		SplaySecs:         300,
		Enrollments:       EnrollmentLimits{PerSource: 600, PerSerial: 12},
	}
}

// files are the site's files by their path below its folder.
func (s newSite) files(config Config, enrollmentSecret, adminToken string) (map[string][]byte, error) {
	policyKey, policyPEM, err := newSigningKey()
	if err != nil {
		return nil, err
	}
	_, commandPEM, err := newSigningKey()
	if err != nil {
		return nil, err
	}
	certificate, tlsKey, err := newCertificate(s.name, s.hosts, s.now)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{
		filepath.Join(operatorFolder, policyKeyFile):  policyPEM,
		filepath.Join(operatorFolder, commandKeyFile): commandPEM,
		filepath.Join(operatorFolder, secretFile):     []byte(enrollmentSecret + "\n"),
		filepath.Join(portalFolder, certificateFile):  certificate,
		filepath.Join(portalFolder, tlsKeyFile):       tlsKey,
		filepath.Join(portalFolder, adminTokenFile):   []byte(adminToken + "\n"),
	}
	for _, group := range config.Groups {
		head, err := firstHead(config.SiteID, group.ID, s.now, policyKey)
		if err != nil {
			return nil, err
		}
		files[filepath.Join(portalFolder, contentFolder, headPath(group.ID))] = head
	}
	return addJSONFiles(files, config)
}

func addJSONFiles(files map[string][]byte, config Config) (map[string][]byte, error) {
	for name, value := range map[string]any{
		filepath.Join(portalFolder, configFile): config,
		filepath.Join(operatorFolder, siteFile): OperatorSite{SiteID: config.SiteID, Name: config.Name, URL: config.URL},
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
		IssuedAt: issued, ExpiresAt: issued.Add(headLifetime),
	})
	if err != nil {
		return nil, fmt.Errorf("encode head: %w", err)
	}
	return protocol.Sign(protocol.PayloadHead, payload, key).JSON()
}
