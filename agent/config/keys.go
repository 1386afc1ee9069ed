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

// keyRow is one key: what it is called, how it is read, kept and shown.
type keyRow struct {
	name         string
	valueType    string    // property list type and what it must hold
	form         valueForm // the same for tools
	defaultWords string    // for people
	trusted      bool      // comes from one source as a whole (H05)
	doc          string    // one sentence

	parse             func(*Config, any) []error // reads a value; what fails leaves the default
	show              func(*Config) string       // for people
	exact             func(*Config) string       // everything that matters, for Fingerprint; nil = show
	secret            bool                       // the value may hold one, and is written nowhere
	staysAfterRemoval bool                       // holds the Mac to the policy that it has, also after the file was removed (H06)
}

func (k *keyRow) fingerprintText(c *Config) string {
	if k.exact != nil {
		return k.exact(c)
	}
	return k.show(c)
}

// keyTable lists every key that is read; all others are ignored.
var keyTable = []keyRow{
	{
		name: "ServerURL", valueType: "string, https URL", defaultWords: "", trusted: true,
		form:  urlForm("^https://", "https://portal.example.com:8443"),
		doc:   "The portal to enroll with and to report to; without it the agent observes only.",
		parse: singleValue(parseServerURL, func(c *Config) **url.URL { return &c.ServerURL }),
		show:  func(c *Config) string { return showURL(c.ServerURL) },
	},
	{
		name: "ContentURL", valueType: "string, https URL, or file URL of a folder", defaultWords: "ServerURL/v1/content", trusted: true,
		form:  urlForm("^(https|file):/", "https://web.example.com/prlagent"),
		doc:   "Where the signed policies are: a plain web server will do, and so does a folder on the Mac.",
		parse: singleValue(parseContentURL, func(c *Config) **url.URL { return &c.ContentURL }),
		show:  func(c *Config) string { return showURL(c.ContentURL) },
	},
	{
		name: "EnrollmentSecret", valueType: "string", defaultWords: "", trusted: true,
		form:   valueForm{kind: kindString},
		doc:    "Shared with the portal; it lets a new device ask, and proves nothing else.",
		parse:  hideRefused(singleValue(parseSecret, func(c *Config) *Secret { return &c.EnrollmentSecret })),
		show:   func(c *Config) string { return showSecret(c.EnrollmentSecret) },
		exact:  func(c *Config) string { return c.EnrollmentSecret.Reveal() },
		secret: true,
	},
	{
		name: "SiteID", valueType: "string, UUID", defaultWords: "", trusted: true,
		form:  valueForm{kind: kindString, example: "5f0c2c1e-8a9b-4c57-9c0f-2d8f4f1a7b3e"},
		doc:   "The site of the portal; an enrollment is worth nothing at another one.",
		parse: singleValue(parseSiteID, func(c *Config) *string { return &c.SiteID }),
		show:  func(c *Config) string { return c.SiteID },
	},
	{
		name: "Group", valueType: "string of a-z, 0-9, '.', '_' and '-'", defaultWords: "", trusted: true,
		form:              valueForm{kind: kindString, pattern: "^[a-z0-9][a-z0-9._-]{0,63}$", example: "finance"},
		doc:               "The Mac's group; wins over whatever the portal says.",
		parse:             singleValue(parseGroup, func(c *Config) *string { return &c.Group }),
		show:              func(c *Config) string { return c.Group },
		staysAfterRemoval: true,
	},
	{
		name: "PolicyKeys", valueType: "array of dictionaries {KeyID: string, PublicKey: data}", defaultWords: "none", trusted: true,
		form:  trustedKeysForm(),
		doc:   "Ed25519 keys; a policy counts only if one of them signed its head.",
		parse: hideRefused(listOf(parseTrustedKey, func(c *Config) *[]protocol.TrustedKey { return &c.PolicyKeys })),
		show:  func(c *Config) string { return showKeys(c.PolicyKeys) },
		exact: func(c *Config) string { return exactKeys(c.PolicyKeys) },
	},
	{
		name: "Policy", valueType: "dictionary, a policy document", defaultWords: "the signed policies", trusted: true,
		form:              valueForm{kind: kindDictionary},
		doc:               "The policy itself, in place of signed ones; an empty dictionary says that there is none any more.",
		parse:             parsePolicy,
		show:              showPolicy,
		exact:             func(c *Config) string { return showPolicy(c) + c.Policy.Pointer.SHA256 },
		staysAfterRemoval: true,
	},
	{
		name: "CommandKeys", valueType: "array of dictionaries {KeyID: string, PublicKey: data}", defaultWords: "none", trusted: true,
		form:  trustedKeysForm(),
		doc:   "Ed25519 keys; without one no command runs.",
		parse: hideRefused(listOf(parseTrustedKey, func(c *Config) *[]protocol.TrustedKey { return &c.CommandKeys })),
		show:  func(c *Config) string { return showKeys(c.CommandKeys) },
		exact: func(c *Config) string { return exactKeys(c.CommandKeys) },
	},
	{
		name: "CommandThreshold", valueType: "dictionary {type: integer}", defaultWords: "1 for every type", trusted: true,
		form:  valueForm{kind: kindDictionary, each: &valueForm{kind: kindInteger, bounds: &thresholdRange}, names: commandForm()},
		doc:   "How many different CommandKeys must have signed a command of a type; a type whose number cannot be used is not run.",
		parse: parseThreshold,
		show:  showThreshold,
	},
	{
		name: "AllowedCommands", valueType: "array of strings", defaultWords: strings.Join(defaultCommands(), ", "), trusted: true,
		form:  valueForm{kind: kindArray, each: commandForm()},
		doc:   "Command types that may run on this Mac; all others are rejected.",
		parse: listOf(parseCommand, func(c *Config) *[]string { return &c.AllowedCommands }),
		show:  func(c *Config) string { return strings.Join(c.AllowedCommands, ", ") },
	},
	{
		name: "DestructiveLimit", valueType: "dictionary {Count: integer, WindowHours: integer}", defaultWords: "4 in 24 hours", trusted: true,
		form:  numbersForm(&limitCount, &limitWindow),
		doc:   "How many destructive commands may start in a window; a brake against mistakes.",
		parse: parseDestructiveLimit,
		show: func(c *Config) string {
			return fmt.Sprintf("%d in %d hours", c.DestructiveLimit.Count, c.DestructiveLimit.WindowHours)
		},
	},
	{
		name: "ServerCertificates", valueType: "array of data, DER certificates", defaultWords: "the system's roots", trusted: true,
		form:  valueForm{kind: kindArray, each: &valueForm{kind: kindData}},
		doc:   "The only certificates that a portal's certificate may chain to.",
		parse: listOf(parseCertificate, func(c *Config) *[]*x509.Certificate { return &c.ServerCertificates }),
		show:  showCertificates,
		exact: exactCertificates,
	},
	{
		name: "Mode", valueType: "string, monitor or enforce", defaultWords: ModeMonitor, trusted: true,
		form:              choiceForm(ModeMonitor, ModeEnforce),
		doc:               "monitor observes, plans and reports; enforce applies the policy.",
		parse:             singleValue(oneOfWords(ModeMonitor, ModeEnforce), func(c *Config) *string { return &c.Mode }),
		show:              func(c *Config) string { return c.Mode },
		staysAfterRemoval: true,
	},
	{
		name: "Proxy", valueType: "string, http or https URL", defaultWords: "none",
		form:   urlForm("^https?://", "http://proxy.example.com:3128"),
		doc:    "A proxy for everything the agent sends.",
		parse:  hideProxyRefused(singleValue(parseProxy, func(c *Config) **url.URL { return &c.Proxy })),
		show:   showProxy,
		exact:  exactProxy,
		secret: true,
	},
	{
		name: "VendorGates", valueType: "boolean", defaultWords: "false", trusted: true,
		form:              valueForm{kind: kindBoolean},
		doc:               "Apply no policy below Parallels Desktop 20.1.0, as the vendor's portal; otherwise what a version can do is probed.",
		parse:             singleValue(parseBool, func(c *Config) *bool { return &c.VendorGates }),
		show:              func(c *Config) string { return strconv.FormatBool(c.VendorGates) },
		staysAfterRemoval: true,
	},
	{
		name: "AllowUnprovenLocks", valueType: "boolean", defaultWords: "false", trusted: true,
		form:              valueForm{kind: kindBoolean},
		doc:               "Place locks of virtual machines whose release was not seen on a real Mac yet; one that is stuck must be lifted by hand.",
		parse:             singleValue(parseBool, func(c *Config) *bool { return &c.AllowUnprovenLocks }),
		show:              func(c *Config) string { return strconv.FormatBool(c.AllowUnprovenLocks) },
		staysAfterRemoval: true,
	},
	{
		name: "NotifyUsers", valueType: "boolean", defaultWords: "false",
		form:  valueForm{kind: kindBoolean},
		doc:   "Whether users are told, by a notification in their session and at most weekly, that settings wait for a virtual machine of theirs.",
		parse: singleValue(parseBool, func(c *Config) *bool { return &c.NotifyUsers }),
		show:  func(c *Config) string { return strconv.FormatBool(c.NotifyUsers) },
	},
	{
		name: "ReportUserNames", valueType: "boolean", defaultWords: "true",
		form:  valueForm{kind: kindBoolean},
		doc:   "Whether the portal is told what accounts are called; without, it knows them by their uid.",
		parse: reportedUnless(func(c *Config) *bool { return &c.Privacy.NoUserNames }),
		show:  func(c *Config) string { return strconv.FormatBool(!c.Privacy.NoUserNames) },
	},
	{
		name: "ReportComputerName", valueType: "boolean", defaultWords: "true",
		form:  valueForm{kind: kindBoolean},
		doc:   "Whether the portal is told the Mac's name; without, it knows the Mac by its serial number.",
		parse: reportedUnless(func(c *Config) *bool { return &c.Privacy.NoComputerName }),
		show:  func(c *Config) string { return strconv.FormatBool(!c.Privacy.NoComputerName) },
	},
	{
		name: "LogLevel", valueType: "string, debug, info, warn or error", defaultWords: "info",
		form:  choiceForm(logLevels...),
		doc:   "How much the log says.",
		parse: singleValue(logLevel, func(c *Config) *string { return &c.LogLevel }),
		show:  func(c *Config) string { return c.LogLevel },
	},
	{
		name: timingKey, valueType: "dictionary of numbers, in seconds", defaultWords: "the protocol's pace",
		form:  valueForm{kind: kindDictionary},
		doc:   "Honored only under --root, for tests: " + strings.Join(timingNames(), ", ") + ".",
		parse: parseTiming,
		show:  showTiming,
		exact: func(c *Config) string { return fmt.Sprintf("%+v", c.Timing) },
	},
}

// timingKey is the one key that depends on how the agent was started.
const timingKey = "Timing"

// defaultCommands are the types that need no listing (DESIGN 8).
func defaultCommands() []string {
	return protocol.CommandNames(func(c *protocol.CommandType) bool { return !c.Listed })
}

// defaultConfig is the configuration of a Mac on which nobody configured
// anything.
func defaultConfig() *Config {
	c := &Config{
		AllowedCommands: defaultCommands(),
		Mode:            ModeMonitor,
		LogLevel:        "info",
		Source:          SourceNone,
		Timing:          protocol.DefaultTiming(),
	}
	c.DestructiveLimit.Count = limitCount.defaultValue
	c.DestructiveLimit.WindowHours = limitWindow.defaultValue
	return c
}

// logLevels are the words of LogLevel.
var logLevels = []string{"debug", "info", "warn", "error"}

// intRange is a whole number's default and the range it is clamped to.
type intRange struct {
	name                           string
	defaultValue, minimum, maximum int
}

var (
	limitCount  = intRange{"Count", 4, 0, 1000}
	limitWindow = intRange{"WindowHours", 24, 1, 24 * 365}
	bucketSize  = intRange{"BucketSize", protocol.DefaultTiming().BucketSize, 1, 1000}
	// thresholdRange is how many keys can be asked for of one type of command.
	thresholdRange = intRange{"Keys", 1, 1, 16}
)

func timingNames() []string {
	names := []string{bucketSize.name}
	for _, row := range protocol.Timings() {
		names = append(names, row.Name)
	}
	slices.Sort(names)
	return names
}
