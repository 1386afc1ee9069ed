package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"prlagent/platform/text"
)

// maxValueShown is how much of a refused value a person sees, in bytes.
const maxValueShown = 80

// refusedValue is a value that could not be used, with the reason.
type refusedValue struct {
	reason error
	value  any
}

// Error is the reason and the value; what may be a password in a URL is hidden.
func (r *refusedValue) Error() string {
	if value := showRefused(r.value); value != "" {
		return r.reason.Error() + ": " + value
	}
	return r.reason.Error()
}

// Unwrap is the reason.
func (r *refusedValue) Unwrap() error { return r.reason }

// hideRefused makes a reader of a key that never shows what it refuses.
func hideRefused(parse func(*Config, any) []error) func(*Config, any) []error {
	return func(c *Config, found any) []error {
		problems := parse(c, found)
		for i, problem := range problems {
			var refused *refusedValue
			if errors.As(problem, &refused) {
				problems[i] = refused.reason
			}
		}
		return problems
	}
}

// plainProxy is a proxy, or what was meant as one, that has no room for a password.
var plainProxy = regexp.MustCompile(`^([A-Za-z0-9+.-]+://)?[A-Za-z0-9.-]+(:[0-9]{1,5})?/?$`)

// hideProxyRefused makes a reader of a proxy that shows what it refuses if there
// can be no password in it, and otherwise at most what is behind the last @.
func hideProxyRefused(parse func(*Config, any) []error) func(*Config, any) []error {
	return func(c *Config, found any) []error {
		problems := parse(c, found)
		for _, problem := range problems {
			var refused *refusedValue
			if errors.As(problem, &refused) {
				if value, isString := refused.value.(string); isString && !plainProxy.MatchString(value[strings.LastIndexByte(value, '@')+1:]) {
					refused.value = text.HiddenSecret
				}
			}
		}
		return problems
	}
}

// showRefused is a value for people; empty for what has no short form.
func showRefused(value any) string {
	switch value := value.(type) {
	case string:
		return fmt.Sprintf("%q", shorten(hidePassword(value), maxValueShown))
	case []byte:
		return fmt.Sprintf("%d bytes", len(value))
	case time.Time:
		return value.UTC().Format(time.RFC3339)
	case []any, map[string]any:
		return ""
	}
	return fmt.Sprint(value)
}

// hidePassword hides what may be a secret in a URL, or in what was meant as one:
// everything before the last @, a query and a fragment.
func hidePassword(shown string) string {
	if at := strings.LastIndexByte(shown, '@'); at >= 0 {
		scheme, _, has := strings.Cut(shown[:at], "://")
		if !has {
			scheme = ""
		} else {
			scheme += "://"
		}
		shown = scheme + text.HiddenSecret + shown[at:]
	}
	if end := strings.IndexAny(shown, "?#"); end >= 0 {
		shown = shown[:end+1] + text.HiddenSecret
	}
	return shown
}
