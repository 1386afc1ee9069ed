package site

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform/safefile"
)

// Files of the webhook in the portal's folder.
const (
	WebhookFile       = "webhook.json"
	WebhookSecretFile = "webhook.secret"
)

// Webhook is where the portal sends what happens, and what it signs that with.
type Webhook struct {
	URL     string          `json:"url"`
	SetAt   time.Time       `json:"set_at"` // a receiver that wanted none any more is asked again from then on
	Secrets []WebhookSecret `json:"-"`      // the present one first
}

// WebhookSecret is a key of signatures. It has no way to be printed or encoded.
type WebhookSecret struct {
	key   []byte
	Until time.Time // when it signs no more; zero: it is the present one
}

// webhookSecretPrefix begins a secret as the specification of Standard Webhooks has
// it; base64 of the key follows.
const webhookSecretPrefix = "whsec_"

// Sizes of a key, in bytes, as the specification has them.
const (
	minWebhookKey = 24
	maxWebhookKey = 64
	newWebhookKey = 32
)

// WebhookOverlap is how long a secret that was replaced signs as well.
const WebhookOverlap = 24 * time.Hour

// Errors of the webhook's files. None shows what is in a file.
var (
	ErrNoWebhook      = errors.New("there is no webhook; give it a URL with 'prlportal webhook set'")
	ErrWebhookURL     = errors.New("a webhook's URL begins with https://, or with http:// and a host of loopback, and has no user and no fragment")
	ErrWebhookSecret  = errors.New("a webhook's secret is " + webhookSecretPrefix + " and base64 of 24 to 64 bytes")
	ErrWebhookRotated = errors.New("the secret before the present one still signs; wait for its end, or give --now where the receiver has the present one")
)

// Format keeps the secret out of whatever is printed.
func (WebhookSecret) Format(state fmt.State, _ rune) { _, _ = state.Write([]byte("[secret]")) }

// MarshalJSON keeps the secret out of whatever is encoded.
func (WebhookSecret) MarshalJSON() ([]byte, error) { return []byte(`"[secret]"`), nil }

// Key is what signs.
func (s WebhookSecret) Key() []byte { return s.key }

// ParseWebhookURL checks a URL of a webhook.
func ParseWebhookURL(typed string) (*url.URL, error) {
	location, err := url.Parse(typed)
	if err != nil || location.Hostname() == "" || location.User != nil || location.Fragment != "" || location.Opaque != "" {
		return nil, ErrWebhookURL // the error of url.Parse has the URL
	}
	if location.Scheme == "https" || location.Scheme == "http" && isLoopbackHost(location.Hostname()) {
		return location, nil
	}
	return nil, ErrWebhookURL
}

// IsSameReceiver reports whether two URLs are of one server, which one secret is for.
func IsSameReceiver(a, b string) bool {
	first, err := url.Parse(a)
	second, other := url.Parse(b)
	return err == nil && other == nil && protocol.OriginOf(first) == protocol.OriginOf(second)
}

func isLoopbackHost(host string) bool {
	address := net.ParseIP(host)
	return host == "localhost" || address != nil && address.IsLoopback()
}

// ParseWebhookSecret reads a secret as it is written.
func ParseWebhookSecret(written string) (WebhookSecret, error) {
	encoded, begins := strings.CutPrefix(written, webhookSecretPrefix)
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !begins || err != nil || len(key) < minWebhookKey || len(key) > maxWebhookKey {
		return WebhookSecret{}, ErrWebhookSecret
	}
	return WebhookSecret{key: key}, nil
}

// NewWebhookSecret makes a secret.
func NewWebhookSecret() WebhookSecret {
	key := make([]byte, newWebhookKey)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	return WebhookSecret{key: key}
}

// ReadWebhookSecret reads the secret that a file begins with.
func ReadWebhookSecret(path string) (WebhookSecret, error) {
	data, err := safefile.ReadFile(path, maxSiteFile)
	if err != nil {
		return WebhookSecret{}, fmt.Errorf("read secret: %w", err)
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
	return ParseWebhookSecret(strings.TrimSpace(first))
}

// LoadWebhook reads the webhook of the portal's folder; ErrNoWebhook if it has none.
func LoadWebhook(folder string) (Webhook, error) {
	var hook Webhook
	data, err := safefile.ReadFile(filepath.Join(folder, WebhookFile), maxSiteFile)
	if errors.Is(err, fs.ErrNotExist) {
		return hook, ErrNoWebhook
	}
	if err != nil {
		return hook, fmt.Errorf("read %s: %w", WebhookFile, err)
	}
	if json.Unmarshal(data, &hook) != nil {
		return hook, fmt.Errorf("decode %s: %w", WebhookFile, errConfig)
	}
	if _, err := ParseWebhookURL(hook.URL); err != nil {
		return hook, fmt.Errorf("read %s: %w", WebhookFile, err)
	}
	hook.Secrets, err = loadWebhookSecrets(folder)
	return hook, err
}

// maxWebhookSecrets is the present secret and the one before.
const maxWebhookSecrets = 2

// loadWebhookSecrets reads a line for each secret: the secret, and behind a blank until
// when one that was replaced signs.
func loadWebhookSecrets(folder string) (secrets []WebhookSecret, err error) {
	data, err := safefile.ReadFile(filepath.Join(folder, WebhookSecretFile), maxSiteFile)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", WebhookSecretFile, err)
	}
	for line := range strings.Lines(strings.TrimSpace(string(data))) {
		words := strings.Fields(line)
		if len(words) == 0 || len(words) > 2 || len(words) == 2 == (len(secrets) == 0) || len(secrets) == maxWebhookSecrets {
			return nil, fmt.Errorf("read %s: %w", WebhookSecretFile, ErrWebhookSecret)
		}
		secret, err := ParseWebhookSecret(words[0])
		if err == nil && len(words) == 2 {
			secret.Until, err = time.Parse(time.RFC3339, words[1])
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", WebhookSecretFile, ErrWebhookSecret)
		}
		secrets = append(secrets, secret)
	}
	if len(secrets) == 0 {
		return nil, fmt.Errorf("read %s: %w", WebhookSecretFile, ErrWebhookSecret)
	}
	return secrets, nil
}

// Signing are the secrets that sign at a time.
func (w Webhook) Signing(now time.Time) (signing []WebhookSecret) {
	for _, secret := range w.Secrets {
		if secret.Until.IsZero() || now.Before(secret.Until) {
			signing = append(signing, secret)
		}
	}
	return signing
}

// Save writes the webhook, its secrets first: a portal that runs takes a URL only
// with them.
func (w Webhook) Save(folder string) error {
	data, err := json.MarshalIndent(w, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", WebhookFile, err)
	}
	var lines bytes.Buffer
	for _, secret := range w.Secrets {
		lines.WriteString(webhookSecretPrefix + base64.StdEncoding.EncodeToString(secret.key))
		if !secret.Until.IsZero() {
			lines.WriteString(" " + secret.Until.UTC().Format(time.RFC3339))
		}
		lines.WriteByte('\n')
	}
	if err := safefile.WriteFile(filepath.Join(folder, WebhookSecretFile), lines.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", WebhookSecretFile, err)
	}
	if err := safefile.WriteFile(filepath.Join(folder, WebhookFile), append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", WebhookFile, err)
	}
	return nil
}

// Rotate makes a secret the present one. The one before signs as well for as long as
// overlap says; another rotation meanwhile is ErrWebhookRotated, unless nothing is to
// overlap.
func (w *Webhook) Rotate(next WebhookSecret, overlap time.Duration, now time.Time) error {
	signing := w.Signing(now)
	if overlap > 0 && len(signing) > 1 {
		return ErrWebhookRotated
	}
	secrets := []WebhookSecret{next}
	if overlap > 0 && len(signing) > 0 {
		before := signing[0]
		before.Until = now.Add(overlap).UTC().Truncate(time.Second)
		secrets = append(secrets, before)
	}
	w.Secrets = secrets
	return nil
}

// RemoveWebhook takes the webhook's files away; ErrNoWebhook if there are none.
func RemoveWebhook(folder string) error {
	err := os.Remove(filepath.Join(folder, WebhookFile))
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNoWebhook
	}
	if err == nil {
		err = os.Remove(filepath.Join(folder, WebhookSecretFile))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove webhook: %w", err)
	}
	return nil
}

// WebhookStamp changes when a file of the webhook is replaced.
func WebhookStamp(folder string) string {
	return safefile.Stamp(filepath.Join(folder, WebhookFile)) + " " + safefile.Stamp(filepath.Join(folder, WebhookSecretFile))
}
