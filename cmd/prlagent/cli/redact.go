package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"

	"prlagent/agent/config"
	"prlagent/agent/localapi"
	"prlagent/platform/safefile"
	"prlagent/platform/text"
	"prlagent/prlctl"
)

// bundleRedactor hides secrets of this Mac in whatever goes into a bundle: those
// that are known, in every form that a program may give them, and what looks
// like one.
type bundleRedactor struct {
	known    text.Redactor
	identity bool // the device's own secrets are among the known
}

// newBundleRedactor knows the secrets of the configuration, of the licensing
// profiles, and of the device, where it may read them.
func newBundleRedactor(root string, c config.Config, profiles []prlctl.LicensingProfile) bundleRedactor {
	secrets := c.Secrets()
	if c.Proxy != nil && c.Proxy.User != nil {
		secrets = append(secrets, c.Proxy.User.String())
	}
	for _, profile := range profiles {
		secrets = append(secrets, profile.Key)
	}
	device, read := identitySecrets(root)
	return bundleRedactor{text.NewRedactor(append(secrets, device...)...), read}
}

const maxIdentity = 64 << 10 // bytes

// identitySecrets are the token and the key of the device, as they stand in
// node.json.
func identitySecrets(root string) (secrets []string, read bool) {
	folder, err := safefile.OpenFolder(filepath.Join(root, localapi.StateFolder))
	if err != nil {
		return nil, os.IsNotExist(err)
	}
	defer folder.Close()
	data, err := folder.ReadFile(filepath.Base(localapi.IdentityFile), maxIdentity)
	if err != nil {
		return nil, os.IsNotExist(err)
	}
	var identity struct {
		Seed  []byte `json:"seed"`
		Token string `json:"token"`
	}
	if json.Unmarshal(data, &identity) != nil {
		return nil, false
	}
	return []string{identity.Token, string(identity.Seed)}, true
}

// secretName is the end of a name that secrets have, whatever is before it:
// EnrollmentSecret, device_token, Proxy-Authorization.
const secretName = `(?:password|passwd|passphrase|passcode|secret|token|authorization|credentials?|(?:api|access|license|private)[_-]?key)`

// looksSecret are patterns of secrets that nobody told us, and what is left of
// them: keys of licenses (five groups of six), names and passwords in URLs, what
// authorizes a request, values that are called secret (in quotes, in quotes within
// quotes, as JSON in a line of the log has them, and without), and private keys.
var looksSecret = []struct {
	pattern func() *regexp.Regexp
	left    string
}{
	{text.Pattern(`\b[0-9A-Za-z]{6}(?:-[0-9A-Za-z]{6}){4}\b`), text.HiddenSecret},
	{text.Pattern(`(?i)\b(bearer|basic|digest|negotiate|ntlm)\s+[0-9A-Za-z._~+/=-]{8,}`), "${1} " + text.HiddenSecret},
	{text.Pattern(`(?i)(` + secretName + `["']?\s*[:=]\s*")[^"\\\n,}\]](?:[^"\\\n]|\\.)*`), "${1}" + text.HiddenSecret},
	{text.Pattern(`(?i)(` + secretName + `\\*["']?\s*[:=]\s*\\+["'])[^"'\\\n]+`), "${1}" + text.HiddenSecret},
	{text.Pattern(`(?i)(` + secretName + `\\*["']?\s*[:=]\s*'?)[^\s"'\\,;&<>{}\[\]]+`), "${1}" + text.HiddenSecret},
	{text.Pattern(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)`), text.HiddenSecret},
	{text.Pattern(`\b([A-Za-z][A-Za-z0-9+.-]*://)[^\s/@"'<>]+@`), "${1}" + text.HiddenSecret + "@"},
}

// redact hides what it knows first: what looks like a secret may be a part of one.
func (r bundleRedactor) redact(data []byte) []byte {
	shown := r.known.Redact(string(data))
	for _, row := range looksSecret {
		shown = row.pattern().ReplaceAllString(shown, row.left)
	}
	return []byte(shown)
}
