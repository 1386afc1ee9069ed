package checkin

import "prlagent/platform/text"

// secrets are what no text of ours may show, whoever wrote it.
func (c *Client) secrets() text.Redactor {
	secrets := []string{c.currentIdentity().token, c.options.Secret}
	if proxy := c.options.Proxy; proxy != nil && proxy.User != nil {
		password, _ := proxy.User.Password()
		secrets = append(secrets, password)
	}
	return text.NewRedactor(secrets...)
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
