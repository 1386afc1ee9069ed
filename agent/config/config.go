package config

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/url"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

// Config is what the agent goes by. Every field has a usable value, whatever
// the files said.
type Config struct {
	ServerURL          *url.URL // https, without trailing slash; nil = no portal, observe only
	ContentURL         *url.URL // https, ServerURL/v1/content unless set, nil without a ServerURL; or file
	EnrollmentSecret   Secret
	SiteID             string // of the portal's site; empty = any behind ServerURL (H54)
	Group              string // empty = the portal says (H08)
	PolicyKeys         []protocol.TrustedKey
	Policy             policy.Dictionary // wins over signed policies
	CommandKeys        []protocol.TrustedKey
	CommandThreshold   map[string]int // by type: how many CommandKeys must have signed, 1 where none is named; 0: the type is not run
	AllowedCommands    []string
	DestructiveLimit   DestructiveLimit
	ServerCertificates []*x509.Certificate // replace the system's roots where present
	Proxy              *url.URL            // nil = none; may hold a password, never shown
	Mode               string              // ModeMonitor or ModeEnforce
	VendorGates        bool                // the vendor's version gates hold for us too (H43)
	AllowUnprovenLocks bool                // locks whose release was not seen on a real Mac may be placed (H67)
	NotifyUsers        bool                // users are told in their session when machines wait for them (DESIGN 7)
	Privacy            protocol.Privacy    // what the portal is not told
	LogLevel           string              // debug, info, warn or error
	Timing             protocol.Timing     // honored only under --root
	Source             Source              // where the trust keys come from
	Problems           []Problem           // what could not be used, in the order of the table of keys
}

// DestructiveLimit is how many destructive commands may start in a window (H31).
type DestructiveLimit struct {
	Count       int
	WindowHours int
}

// Modes (H40).
const (
	ModeMonitor = protocol.ModeMonitor // observe, plan and report; touch nothing
	ModeEnforce = protocol.ModeEnforce
)

// Source is the file that the trust keys come from (H05).
type Source string

// Sources.
const (
	SourceManaged Source = "managed" // the MDM's profile
	SourceLocal   Source = "local"   // root's config.plist
	SourceNone    Source = "none"
)

// Problem is one thing in a file that could not be used.
type Problem struct {
	Key  string        `json:"key"` // name of the key; the file's path where the whole file is meant
	Code protocol.Code `json:"code"`
	Text string        `json:"text"` // what was found, with its value unless it may hold a secret, and what was expected
}

// ContentFolder is the folder on this Mac that ContentURL names; empty if it names
// a server, or nothing.
func (c *Config) ContentFolder() string {
	if c.ContentURL == nil || c.ContentURL.Scheme != "file" {
		return ""
	}
	return c.ContentURL.Path
}

// WithLogLevel is the configuration with the level of a flag or an environment
// variable; empty changes nothing, an unknown level is a Problem.
func (c *Config) WithLogLevel(level string) *Config {
	if level == "" {
		return c
	}
	with := *c
	parsed, err := logLevel(level)
	if err != nil {
		with.Problems = append(c.Problems[:len(c.Problems):len(c.Problems)],
			Problem{Key: "LogLevel", Code: protocol.CodeConfigInvalid, Text: "in the flag --log-level: " + err.Error()})
		return &with
	}
	with.LogLevel = parsed
	return &with
}

// Fingerprint is 32 hex digits that change when anything that matters changes:
// any key's value, or the source. It is made by hashing, so no value can be
// read from it; it is meant for comparing, not for showing.
func (c *Config) Fingerprint() string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%q\n", c.Source)
	for i := range keyTable {
		key := &keyTable[i]
		fmt.Fprintf(sum, "%s=%q\n", key.name, key.fingerprintText(c))
	}
	return hex.EncodeToString(sum.Sum(nil))[:32]
}
