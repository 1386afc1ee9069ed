package checkin

import "strings"

// Secrets are hidden also where a text has but a part of one: what quotes a
// stranger may have cut it, at either end.
const (
	shardLength = 8 // bytes of a secret that are not shown in a row
	hidden      = "[secret]"
)

// redactor hides secrets in texts.
type redactor struct {
	shards map[string]bool // all parts of that length of the secrets
	short  []string        // secrets that are shorter
}

func newRedactor(secrets ...string) redactor {
	r := redactor{shards: make(map[string]bool)}
	for _, secret := range secrets {
		if secret != "" && len(secret) < shardLength {
			r.short = append(r.short, secret)
		}
		for at := 0; at+shardLength <= len(secret); at++ {
			r.shards[secret[at:at+shardLength]] = true
		}
	}
	return r
}

// redact is the text without the secrets and parts of them. Redact first, then
// cut: what is cut first cannot be recognized (H62).
func (r redactor) redact(text string) string {
	for _, secret := range r.short {
		text = strings.ReplaceAll(text, secret, hidden)
	}
	var safe strings.Builder
	shown := 0 // up to here the text is in safe
	for at := 0; at+shardLength <= len(text); {
		if !r.shards[text[at:at+shardLength]] {
			at++
			continue
		}
		safe.WriteString(text[shown:at] + hidden)
		for at++; at+shardLength <= len(text) && r.shards[text[at:at+shardLength]]; at++ {
		}
		at += shardLength - 1
		shown = at
	}
	return safe.String() + text[shown:]
}

// isIn reports whether the text holds a secret or a part of one.
func (r redactor) isIn(text string) bool { return r.redact(text) != text }

// secrets are what no text of ours may show, whoever wrote it.
func (c *Client) secrets() redactor {
	secrets := []string{c.currentIdentity().token, c.options.Secret}
	if proxy := c.options.Proxy; proxy != nil && proxy.User != nil {
		password, _ := proxy.User.Password()
		secrets = append(secrets, password)
	}
	return newRedactor(secrets...)
}

// redactedError is an error with a text that is safe to show.
type redactedError struct {
	text string
	err  error
}

// Error gives the safe text.
func (e *redactedError) Error() string { return e.text }

// Unwrap gives what went wrong, to be recognized and not to be shown.
func (e *redactedError) Unwrap() error { return e.err }
