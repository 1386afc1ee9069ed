package config

import (
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"prlagent/agent/protocol"
)

// singleValue reads a value into one field, or leaves the field as it is.
func singleValue[T any](read func(any) (T, error), field func(*Config) *T) func(*Config, any) []error {
	return func(c *Config, found any) []error {
		value, err := read(found)
		if err != nil {
			return []error{err}
		}
		*field(c) = value
		return nil
	}
}

// listOf reads an array element by element; an element that cannot be used is
// reported and left out.
func listOf[T any](read func(any) (T, error), field func(*Config) *[]T) func(*Config, any) []error {
	return func(c *Config, found any) []error {
		elements, isArray := found.([]any)
		if !isArray {
			return []error{wrongType(found, "an array")}
		}
		values, problems := make([]T, 0, len(elements)), []error(nil)
		for i, element := range elements {
			value, err := read(element)
			if err != nil {
				problems = append(problems, fmt.Errorf("element %d: %w", i+1, err))
				continue
			}
			values = append(values, value)
		}
		*field(c) = values
		return problems
	}
}

func wrongType(found any, expected string) error {
	return fmt.Errorf("found %s, expected %s", kindWord(found), expected)
}

// kindWord names a property list type as Apple's documentation does.
func kindWord(value any) string {
	switch value.(type) {
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case uint64, int64:
		return "an integer"
	case float64:
		return "a real"
	case []byte:
		return "data"
	case time.Time:
		return "a date"
	case []any:
		return "an array"
	case map[string]any:
		return "a dictionary"
	}
	return "something unknown"
}

func parseBool(found any) (bool, error) {
	value, isBool := found.(bool)
	if !isBool {
		return false, wrongType(found, "a boolean")
	}
	return value, nil
}

// parseServerURL takes https only: the token and the policy hints travel there.
func parseServerURL(found any) (*url.URL, error) {
	text, isString := found.(string)
	if !isString {
		return nil, wrongType(found, "a string with an https URL")
	}
	parsed, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("found a string that is no URL, expected an https URL")
	}
	if parsed.Scheme != "https" {
		return nil, errors.New("found a URL with another scheme, expected https")
	}
	if parsed.Hostname() == "" || parsed.User != nil || parsed.RawQuery != "" || parsed.Fragment != "" {
		return nil, errors.New("found a URL without a host or with a user, query or fragment, expected https://host/path")
	}
	parsed.Path, parsed.RawPath = strings.TrimRight(parsed.Path, "/"), ""
	return parsed, nil
}

func parseProxy(found any) (*url.URL, error) {
	text, isString := found.(string)
	if !isString {
		return nil, wrongType(found, "a string with the proxy's URL")
	}
	parsed, err := url.Parse(text)
	if err != nil || parsed.Hostname() == "" || parsed.Scheme != "http" && parsed.Scheme != "https" {
		return nil, errors.New("found a string that is no URL of a proxy, expected http://host:port or https://host:port")
	}
	return parsed, nil
}

func parseSecret(found any) (Secret, error) {
	text, isString := found.(string)
	if !isString || len(text) > protocol.MaxName {
		return "", wrongType(found, fmt.Sprintf("a string of at most %d bytes", protocol.MaxName))
	}
	return Secret(text), nil
}

// parseName reads an identifier: it ends up in messages, file names and tables.
func parseName(found any) (string, error) {
	text, isString := found.(string)
	if !isString {
		return "", wrongType(found, "a string")
	}
	if text == "" || len(text) > protocol.MaxName || strings.ContainsFunc(text, isUnprintable) {
		return "", fmt.Errorf("found an unusable string, expected 1 to %d printable bytes", protocol.MaxName)
	}
	return text, nil
}

// maxGroup is the longest group id in bytes.
const maxGroup = 64

// parseGroup reads a group id, which is also the name of a file of the content.
func parseGroup(found any) (string, error) {
	id, isString := found.(string)
	if !isString {
		return "", wrongType(found, "a string")
	}
	odd := func(r rune) bool { return !isAlphanumeric(r) && !strings.ContainsRune("._-", r) }
	if id == "" || len(id) > maxGroup || !isAlphanumeric(rune(id[0])) || strings.ContainsFunc(id, odd) {
		return "", fmt.Errorf("found an unusable string, expected 1 to %d of a-z, 0-9, '.', '_' and '-'", maxGroup)
	}
	return id, nil
}

func isAlphanumeric(r rune) bool { return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' }

func isUnprintable(r rune) bool { return !unicode.IsPrint(r) }

func oneOfWords(words ...string) func(any) (string, error) {
	expected := "one of " + strings.Join(words, ", ")
	return func(found any) (string, error) {
		text, isString := found.(string)
		if !isString {
			return "", wrongType(found, expected)
		}
		if !slices.Contains(words, text) {
			return "", errors.New("found another word, expected " + expected)
		}
		return text, nil
	}
}

func logLevel(found any) (string, error) { return oneOfWords("debug", "info", "warn", "error")(found) }

func parseTrustedKey(found any) (protocol.TrustedKey, error) {
	entry, isDictionary := found.(map[string]any)
	if !isDictionary {
		return protocol.TrustedKey{}, wrongType(found, "a dictionary {KeyID, PublicKey}")
	}
	id, isString := entry["KeyID"].(string)
	if !isString {
		return protocol.TrustedKey{}, fmt.Errorf("KeyID: %w", wrongTypeIn(entry, "KeyID", "a string"))
	}
	raw, isData := entry["PublicKey"].([]byte)
	if !isData {
		return protocol.TrustedKey{}, fmt.Errorf("PublicKey: %w", wrongTypeIn(entry, "PublicKey", "data"))
	}
	if len(raw) != ed25519.PublicKeySize {
		return protocol.TrustedKey{}, fmt.Errorf("PublicKey: found %d bytes, expected %d", len(raw), ed25519.PublicKeySize)
	}
	key := ed25519.PublicKey(raw)
	if protocol.KeyID(key) != id {
		return protocol.TrustedKey{}, errors.New("KeyID: found the id of another key, expected the first 16 hex digits of PublicKey's SHA-256")
	}
	return protocol.TrustedKey{ID: id, Key: key}, nil
}

func wrongTypeIn(dictionary map[string]any, key, expected string) error {
	value, present := dictionary[key]
	if !present {
		return errors.New("found nothing, expected " + expected)
	}
	return wrongType(value, expected)
}

func parseCertificate(found any) (*x509.Certificate, error) {
	raw, isData := found.([]byte)
	if !isData {
		return nil, wrongType(found, "data with a DER certificate")
	}
	parsed, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, errors.New("found data that is no certificate, expected DER")
	}
	return parsed, nil
}

func parseDestructiveLimit(c *Config, found any) []error {
	entry, isDictionary := found.(map[string]any)
	if !isDictionary {
		return []error{wrongType(found, "a dictionary {Count, WindowHours}")}
	}
	return append(
		parseWhole(entry, limitCount, &c.DestructiveLimit.Count),
		parseWhole(entry, limitWindow, &c.DestructiveLimit.WindowHours)...)
}

func parseTiming(c *Config, found any) []error {
	entry, isDictionary := found.(map[string]any)
	if !isDictionary {
		return []error{wrongType(found, "a dictionary")}
	}
	problems := parseWhole(entry, bucketSize, &c.Timing.BucketSize)
	for _, row := range protocol.Timings() {
		value, present := entry[row.Name]
		if !present {
			continue
		}
		given, isNumber := asNumber(value)
		if !isNumber {
			problems = append(problems, fmt.Errorf("%s: %w", row.Name, wrongType(value, "a number of seconds")))
			continue
		}
		clamped := min(max(given, row.Minimum), row.Maximum)
		*row.Field(&c.Timing) = protocol.Seconds(clamped)
		if clamped != given {
			problems = append(problems, fmt.Errorf("%s: out of range, %g seconds are used", row.Name, clamped))
		}
	}
	return problems
}

// parseWhole reads a whole number of a dictionary, clamped to its bound.
func parseWhole(entry map[string]any, limits intRange, field *int) []error {
	value, present := entry[limits.name]
	if !present {
		return nil
	}
	given, isNumber := asNumber(value)
	if !isNumber || given != math.Trunc(given) {
		return []error{fmt.Errorf("%s: %w", limits.name, wrongType(value, "an integer"))}
	}
	clamped := min(max(given, float64(limits.minimum)), float64(limits.maximum))
	*field = int(clamped)
	if clamped != given {
		return []error{fmt.Errorf("%s: out of range, %d is used", limits.name, *field)}
	}
	return nil
}

func asNumber(value any) (float64, bool) {
	switch value := value.(type) {
	case uint64:
		return float64(value), true
	case int64:
		return float64(value), true
	case float64:
		return value, !math.IsNaN(value) && !math.IsInf(value, 0)
	}
	return 0, false
}
