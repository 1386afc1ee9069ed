package config

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"prlagent/agent/protocol"
)

// Key is one row of the table of keys, as documentation and `prlagent config`
// show it.
type Key struct {
	Name    string
	Type    string // property list type and what it must hold
	Default string
	Trust   bool   // comes from one source as a whole (H05)
	Doc     string // one sentence
}

// Keys lists every key that is read; all others are ignored.
func Keys() []Key {
	list := make([]Key, len(keys))
	for i, key := range keys {
		list[i] = key.Key
	}
	return list
}

// keyRow adds to a Key how it is read and shown.
type keyRow struct {
	Key
	parse  func(*Config, any) []error // reads a value; what fails leaves the default
	show   func(Config) string        // for people
	whole  func(Config) string        // everything that matters, for Fingerprint; nil = show
	secret bool                       // the value may hold one, and is written nowhere
	stays  bool                       // upholds the policy that the Mac has, also after the file was removed (H06)
}

func (k keyRow) exact(c Config) string {
	if k.whole != nil {
		return k.whole(c)
	}
	return k.show(c)
}

var keys = []keyRow{
	{
		Key: Key{"ServerURL", "string, https URL", "", true,
			"The portal to enroll with and to report to; without it the agent observes only."},
		parse: single(parseServerURL, func(c *Config) **url.URL { return &c.ServerURL }),
		show:  func(c Config) string { return showURL(c.ServerURL) },
	},
	{
		Key: Key{"ContentURL", "string, https URL", "ServerURL/v1/content", true,
			"Where the signed policies are fetched; a plain web server will do."},
		parse: single(parseServerURL, func(c *Config) **url.URL { return &c.ContentURL }),
		show:  func(c Config) string { return showURL(c.ContentURL) },
	},
	{
		Key: Key{"EnrollmentSecret", "string", "", true,
			"Shared with the portal; it lets a new device ask, and proves nothing else."},
		parse:  single(parseSecret, func(c *Config) *Secret { return &c.EnrollmentSecret }),
		show:   func(c Config) string { return showSecret(c.EnrollmentSecret) },
		whole:  func(c Config) string { return c.EnrollmentSecret.Reveal() },
		secret: true,
	},
	{
		Key: Key{"Group", "string of a-z, 0-9, '.', '_' and '-'", "", true,
			"The Mac's group; wins over whatever the portal says."},
		parse: single(parseGroup, func(c *Config) *string { return &c.Group }),
		show:  func(c Config) string { return c.Group },
		stays: true,
	},
	{
		Key: Key{"PolicyKeys", "array of dictionaries {KeyID: string, PublicKey: data}", "none", true,
			"Ed25519 keys; a policy counts only if one of them signed its head."},
		parse: list(parseTrustedKey, func(c *Config) *[]protocol.TrustedKey { return &c.PolicyKeys }),
		show:  func(c Config) string { return showKeys(c.PolicyKeys) },
		whole: func(c Config) string { return wholeKeys(c.PolicyKeys) },
	},
	{
		Key: Key{"CommandKeys", "array of dictionaries {KeyID: string, PublicKey: data}", "none", true,
			"Ed25519 keys; without one no command runs."},
		parse: list(parseTrustedKey, func(c *Config) *[]protocol.TrustedKey { return &c.CommandKeys }),
		show:  func(c Config) string { return showKeys(c.CommandKeys) },
		whole: func(c Config) string { return wholeKeys(c.CommandKeys) },
	},
	{
		Key: Key{"AllowedCommands", "array of strings", strings.Join(defaultCommands(), ", "), true,
			"Command types that may run on this Mac; all others are rejected."},
		parse: list(parseName, func(c *Config) *[]string { return &c.AllowedCommands }),
		show:  func(c Config) string { return strings.Join(c.AllowedCommands, ", ") },
	},
	{
		Key: Key{"DestructiveLimit", "dictionary {Count: integer, WindowHours: integer}", "4 in 24 hours", true,
			"How many destructive commands may start in a window; a brake against mistakes."},
		parse: parseDestructiveLimit,
		show: func(c Config) string {
			return fmt.Sprintf("%d in %d hours", c.DestructiveLimit.Count, c.DestructiveLimit.WindowHours)
		},
	},
	{
		Key: Key{"ServerCertificates", "array of data, DER certificates", "the system's roots", true,
			"The only certificates that a portal's certificate may chain to."},
		parse: list(parseCertificate, func(c *Config) *[]*x509.Certificate { return &c.ServerCertificates }),
		show:  showCertificates,
		whole: wholeCertificates,
	},
	{
		Key: Key{"Mode", "string, monitor or enforce", ModeMonitor, true,
			"monitor observes, plans and reports; enforce applies the policy."},
		parse: single(oneOf(ModeMonitor, ModeEnforce), func(c *Config) *string { return &c.Mode }),
		show:  func(c Config) string { return c.Mode },
		stays: true,
	},
	{
		Key: Key{"Proxy", "string, http or https URL", "none", false,
			"A proxy for everything the agent sends."},
		parse:  single(parseProxy, func(c *Config) **url.URL { return &c.Proxy }),
		show:   showProxy,
		whole:  wholeProxy,
		secret: true,
	},
	{
		Key: Key{"VendorGates", "boolean", "false", true,
			"Apply no policy below Parallels Desktop 20.1.0, as the vendor's portal; otherwise what a version can do is probed."},
		parse: single(parseBool, func(c *Config) *bool { return &c.VendorGates }),
		show:  func(c Config) string { return strconv.FormatBool(c.VendorGates) },
		stays: true,
	},
	{
		Key: Key{"LogLevel", "string, debug, info, warn or error", "info", false,
			"How much the log says."},
		parse: single(logLevel, func(c *Config) *string { return &c.LogLevel }),
		show:  func(c Config) string { return c.LogLevel },
	},
	{
		Key: Key{timingKey, "dictionary of numbers, in seconds", "the protocol's pace", false,
			"Honored only under --root, for tests: " + strings.Join(timingNames(), ", ") + "."},
		parse: parseTiming,
		show:  func(c Config) string { return fmt.Sprintf("%+v", c.Timing) },
	},
}

// timingKey is the one key that depends on how the agent was started.
const timingKey = "Timing"

// defaultCommands are the types that need no listing (DESIGN 8).
func defaultCommands() []string {
	return protocol.CommandNames(func(c protocol.CommandType) bool { return !c.Listed })
}

// defaults is the configuration of a Mac on which nobody configured anything.
func defaults() Config {
	c := Config{
		AllowedCommands: defaultCommands(),
		Mode:            ModeMonitor,
		LogLevel:        "info",
		Source:          SourceNone,
		Timing:          protocol.DefaultTiming(),
	}
	c.DestructiveLimit.Count = limitCount.standard
	c.DestructiveLimit.WindowHours = limitWindow.standard
	return c
}

// bound is a whole number's default and the range it is clamped to.
type bound struct {
	name                       string
	standard, minimum, maximum int
}

var (
	limitCount  = bound{"Count", 4, 0, 1000}
	limitWindow = bound{"WindowHours", 24, 1, 24 * 365}
	bucketSize  = bound{"BucketSize", protocol.DefaultTiming().BucketSize, 1, 1000}
)

func timingNames() []string {
	names := []string{bucketSize.name}
	for _, row := range protocol.Timings() {
		names = append(names, row.Name)
	}
	slices.Sort(names)
	return names
}
