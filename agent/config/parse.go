package config

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/platform/text"
)

// singleValue reads a value into one field, or leaves the field as it is.
func singleValue[T any](read func(any) (T, error), field func(*Config) *T) func(*Config, any) []error {
	return func(c *Config, found any) []error {
		value, err := read(found)
		if err != nil {
			return []error{&refusedValue{err, found}}
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
			return []error{&refusedValue{wrongType(found, "an array"), found}}
		}
		values, problems := make([]T, 0, len(elements)), []error(nil)
		for i, element := range elements {
			value, err := read(element)
			if err != nil {
				problems = append(problems, &refusedValue{fmt.Errorf("element %d: %w", i+1, err), element})
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

// parseBool takes an integer as CFPreferencesGetAppBooleanValue does: anything
// but 0 is true.
func parseBool(found any) (bool, error) {
	switch value := found.(type) {
	case bool:
		return value, nil
	case uint64:
		return value != 0, nil
	case int64:
		return value != 0, nil
	}
	return false, wrongType(found, "a boolean")
}

// reportedUnless reads whether something is reported. What cannot be read counts
// as no: what a portal has been told is not taken back.
func reportedUnless(withheld func(*Config) *bool) func(*Config, any) []error {
	return func(c *Config, found any) []error {
		reported, err := parseBool(found)
		*withheld(c) = !reported
		if err != nil {
			return []error{&refusedValue{fmt.Errorf("%w; until then it is not reported", err), found}}
		}
		return nil
	}
}

// typedText is a string without what comes along when it is typed or pasted.
func typedText(found any) (value string, isString bool) {
	value, isString = found.(string)
	return text.TrimTyped(value), isString
}

// parseServerURL takes https only: the token and the policy hints travel there.
func parseServerURL(found any) (*url.URL, error) {
	typed, isString := typedText(found)
	if !isString {
		return nil, wrongType(found, "a string with an https URL")
	}
	parsed, err := url.Parse(typed)
	if err != nil {
		return nil, errors.New("found a string that is no URL, expected an https URL such as https://host/path")
	}
	if parsed.Scheme == "" {
		return nil, errors.New("found no scheme, expected https://host/path")
	}
	if parsed.Scheme != "https" {
		return nil, errors.New("found a URL with another scheme, expected https")
	}
	if parsed.Hostname() == "" || parsed.User != nil || parsed.RawQuery != "" || parsed.Fragment != "" {
		return nil, errors.New("found a URL without a host or with a user, query or fragment, expected https://host/path")
	}
	if !usablePort(parsed) {
		return nil, errors.New("found a port out of range, expected 1 to 65535")
	}
	if oddHost(parsed) {
		return nil, errors.New("found a host with a character that no host has, expected letters, digits, hyphens and dots")
	}
	parsed.Path, parsed.RawPath = strings.TrimRight(parsed.Path, "/"), ""
	parsed.Host = strings.ToLower(parsed.Host)
	return parsed, nil
}

// parseContentURL takes a folder of this Mac too. What is in it is signed.
func parseContentURL(found any) (*url.URL, error) {
	typed, isString := typedText(found)
	parsed, err := url.Parse(typed)
	if !isString || err != nil || parsed.Scheme != "file" {
		return parseServerURL(found)
	}
	folder := path.Clean(parsed.Path)
	if !path.IsAbs(parsed.Path) || strings.TrimRight(parsed.Path, "/") != folder || *parsed != (url.URL{Scheme: "file", Path: parsed.Path, RawPath: parsed.RawPath}) {
		return nil, errors.New("found a file URL that is not just a folder, expected such as file:///Library/Folder/content")
	}
	return &url.URL{Scheme: "file", Path: folder}, nil
}

// parsePolicy reads a policy. One that cannot be used is known to be there: what
// was in force before stays.
func parsePolicy(c *Config, found any) (problems []error) {
	entry, isDictionary := found.(map[string]any)
	if !isDictionary {
		c.Policy = policy.Dictionary{Given: true, Refused: true}
		return []error{&refusedValue{wrongType(found, "a dictionary with a policy"), found}}
	}
	dictionary, refused := policy.ReadDictionary(entry)
	c.Policy = dictionary
	for _, problem := range refused[:min(len(refused), maxNamesShown)] {
		problems = append(problems, problem)
	}
	return problems
}

// oddHost reports whether a host has a character that looks like one of a host's,
// or like nothing at all: a dash of a text editor, a blank without width. Such a
// host is never found.
func oddHost(location *url.URL) bool {
	return strings.ContainsFunc(location.Hostname(), func(r rune) bool {
		return !unicode.In(r, unicode.Letter, unicode.Mark, unicode.Digit) && !strings.ContainsRune("-._:%", r)
	})
}

func usablePort(location *url.URL) bool {
	if location.Port() == "" {
		return true
	}
	port, err := strconv.ParseUint(location.Port(), 10, 16)
	return err == nil && port != 0
}

func parseProxy(found any) (*url.URL, error) {
	typed, isString := typedText(found)
	if !isString {
		return nil, wrongType(found, "a string with the proxy's URL")
	}
	parsed, err := url.Parse(typed)
	if err != nil || parsed.Hostname() == "" || parsed.Scheme != "http" && parsed.Scheme != "https" || !usablePort(parsed) || oddHost(parsed) {
		return nil, errors.New("found a string that is no URL of a proxy, expected http://host:port or https://host:port")
	}
	return parsed, nil
}

func parseSecret(found any) (Secret, error) {
	typed, isString := typedText(found)
	if !isString || len(typed) > protocol.MaxName {
		return "", wrongType(found, fmt.Sprintf("a string of at most %d bytes", protocol.MaxName))
	}
	return Secret(typed), nil
}

// parseCommand reads the type of a command. One that this version does not have
// is for a later one; a misspelled one is refused.
func parseCommand(found any) (string, error) {
	name, err := parseName(found)
	if err != nil {
		return "", err
	}
	name = strings.ToLower(name)
	known := protocol.CommandNames(func(*protocol.CommandType) bool { return true })
	if near := nearestName(name, known, misspelledByOne); near != "" && !slices.Contains(known, name) {
		return "", errors.New("found no type of command, expected " + near)
	}
	return name, nil
}

// parseName reads an identifier: it ends up in messages, file names and tables.
func parseName(found any) (string, error) {
	typed, isString := typedText(found)
	if !isString {
		return "", wrongType(found, "a string")
	}
	if typed == "" || len(typed) > protocol.MaxName || strings.ContainsFunc(typed, isUnprintable) {
		return "", fmt.Errorf("found an unusable string, expected 1 to %d printable bytes", protocol.MaxName)
	}
	return typed, nil
}

// parseSiteID reads the id of a site, which 'prlportal init' makes.
func parseSiteID(found any) (string, error) {
	id, isString := typedText(found)
	if !isString {
		return "", wrongType(found, "a string")
	}
	if id = strings.ToLower(id); !protocol.ValidName(id) {
		return "", errors.New("found an unusable string, expected the site_id of the portal's config.json")
	}
	return id, nil
}

// maxGroup is the longest group id in bytes.
const maxGroup = 64

// parseGroup reads a group id, which is also the name of a file of the content.
func parseGroup(found any) (string, error) {
	id, isString := typedText(found)
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
		typed, isString := typedText(found)
		if !isString {
			return "", wrongType(found, expected)
		}
		typed = strings.ToLower(typed)
		if !slices.Contains(words, typed) {
			return "", errors.New("found another word, expected " + expected)
		}
		return typed, nil
	}
}

func logLevel(found any) (string, error) { return oneOfWords(logLevels...)(found) }

func parseTrustedKey(found any) (protocol.TrustedKey, error) {
	entry, isDictionary := found.(map[string]any)
	if !isDictionary {
		return protocol.TrustedKey{}, wrongType(found, "a dictionary {KeyID, PublicKey}")
	}
	id, isString := typedText(entry["KeyID"])
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
	if right := protocol.KeyID(key); right != strings.ToLower(id) {
		return protocol.TrustedKey{}, fmt.Errorf("KeyID: found the id of another key, %q; expected %s, the first 16 hex digits of PublicKey's SHA-256",
			shorten(id, maxNameShown), right)
	}
	return protocol.TrustedKey{ID: protocol.KeyID(key), Key: key}, nil
}

func wrongTypeIn(dictionary map[string]any, key, expected string) error {
	value, present := dictionary[key]
	if !present {
		for _, problem := range unknownNames(dictionary, key) {
			return fmt.Errorf("found nothing, expected %s; %w", expected, problem)
		}
		return errors.New("found nothing, expected " + expected)
	}
	return wrongType(value, expected)
}

func parseCertificate(found any) (*x509.Certificate, error) {
	raw, isData := found.([]byte)
	if !isData {
		return nil, wrongType(found, "data with a DER certificate")
	}
	if block, rest := pem.Decode(raw); block != nil && len(bytes.TrimSpace(rest)) == 0 { // a .pem as data
		raw = block.Bytes
	}
	parsed, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, errors.New("found data that is no certificate, expected one in DER or PEM")
	}
	return parsed, nil
}

func parseDestructiveLimit(c *Config, found any) []error {
	entry, isDictionary := found.(map[string]any)
	if !isDictionary {
		return []error{&refusedValue{wrongType(found, "a dictionary {Count, WindowHours}"), found}}
	}
	return slices.Concat(
		parseWhole(entry, limitCount, &c.DestructiveLimit.Count),
		parseWhole(entry, limitWindow, &c.DestructiveLimit.WindowHours),
		unknownNames(entry, limitCount.name, limitWindow.name))
}

// parseThreshold reads how many keys a type of command needs. What cannot be read
// asks for more than there is: who wrote it wanted more than one key.
func parseThreshold(c *Config, found any) (problems []error) {
	c.CommandThreshold = make(map[string]int)
	entry, isDictionary := found.(map[string]any)
	known := protocol.CommandNames(func(*protocol.CommandType) bool { return true })
	if !isDictionary {
		for _, name := range known {
			c.CommandThreshold[name] = 0
		}
		return []error{&refusedValue{fmt.Errorf("%w; no command is run", wrongType(found, "a dictionary {type: integer}")), found}}
	}
	for _, name := range slices.Sorted(maps.Keys(entry)) {
		kind, err := parseCommand(name)
		if err != nil {
			if near := nearestName(strings.ToLower(text.TrimTyped(name)), known, misspelledByOne); near != "" {
				c.CommandThreshold[near] = 0
			}
			problems = append(problems, &refusedValue{fmt.Errorf("%w; until then none of that type is run", err), name})
			continue
		}
		needed, isNumber := asNumber(entry[name])
		if !isNumber || needed != math.Trunc(needed) || needed < 1 || needed > float64(thresholdRange.maximum) {
			c.CommandThreshold[kind] = 0
			problems = append(problems, &refusedValue{fmt.Errorf("%s: found no number of keys, expected 1 to %d; commands of this type are not run", shorten(kind, maxNameShown), thresholdRange.maximum), entry[name]})
			continue
		}
		if before, twice := c.CommandThreshold[kind]; twice && (before == 0 || before > int(needed)) {
			continue // written twice, in other letters: the stricter one counts
		}
		c.CommandThreshold[kind] = int(needed)
	}
	return problems
}

func parseTiming(c *Config, found any) []error {
	entry, isDictionary := found.(map[string]any)
	if !isDictionary {
		return []error{&refusedValue{wrongType(found, "a dictionary"), found}}
	}
	problems := append(parseWhole(entry, bucketSize, &c.Timing.BucketSize), unknownNames(entry, timingNames()...)...)
	for _, row := range protocol.Timings() {
		value, present := entry[row.Name]
		if !present {
			continue
		}
		given, isNumber := asNumber(value)
		if !isNumber {
			problems = append(problems, &refusedValue{fmt.Errorf("%s: %w", row.Name, wrongType(value, "a number of seconds")), value})
			continue
		}
		clamped := min(max(given, row.Minimum), row.Maximum)
		*row.Field(&c.Timing) = protocol.Seconds(clamped)
		if clamped != given {
			problems = append(problems, &refusedValue{fmt.Errorf("%s: out of range, %g seconds are used", row.Name, clamped), value})
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
		return []error{&refusedValue{fmt.Errorf("%s: %w", limits.name, wrongType(value, "an integer")), value}}
	}
	clamped := min(max(given, float64(limits.minimum)), float64(limits.maximum))
	*field = int(clamped)
	if clamped != given {
		return []error{&refusedValue{fmt.Errorf("%s: out of range, %d is used", limits.name, *field), value}}
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
