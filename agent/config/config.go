package config

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/url"
	"time"

	"prlagent/agent/protocol"
)

// Config is what the agent goes by. Every field has a usable value, whatever
// the files said.
type Config struct {
	ServerURL          *url.URL // https, without trailing slash; nil = no portal, observe only
	ContentURL         *url.URL // https; ServerURL/v1/content unless set; nil without a ServerURL
	EnrollmentSecret   Secret
	Group              string // empty = the portal says (H08)
	PolicyKeys         []protocol.TrustedKey
	CommandKeys        []protocol.TrustedKey
	AllowedCommands    []string
	DestructiveLimit   DestructiveLimit
	ServerCertificates []*x509.Certificate // replace the system's roots where present
	Proxy              *url.URL            // nil = none; may hold a password, never shown
	Mode               string              // ModeMonitor or ModeEnforce
	VendorGates        bool                // the vendor's version gates hold for us too (H43)
	LogLevel           string              // debug, info, warn or error
	Timing             Timing
	Source             Source    // where the trust keys come from
	Problems           []Problem // what could not be used, in the order of the table of keys
}

// DestructiveLimit is how many destructive commands may start in a window (H31).
type DestructiveLimit struct {
	Count       int
	WindowHours int
}

// Modes (H40).
const (
	ModeMonitor = "monitor" // observe, plan and report; touch nothing
	ModeEnforce = "enforce"
)

// Source is the file that the trust keys come from (H05).
type Source string

// Sources.
const (
	SourceManaged Source = "managed" // the MDM's profile
	SourceLocal   Source = "local"   // root's config.plist
	SourceNone    Source = "none"
)

// Timing is the agent's pace (protocol.md 2.11). It is configurable only under
// --root, for tests that cannot wait (DESIGN 4).
type Timing struct {
	Debounce        time.Duration // events within it are one
	MinimumGap      time.Duration // between two check-ins
	BucketSize      int           // check-ins that may come as a burst
	BucketRefill    time.Duration // one more check-in each
	Splay           time.Duration // longest random wait, unless the portal says
	SafetyNet       time.Duration // from one look to the next, whatever no event has told
	Poll            time.Duration // of the process table
	NetworkSettle   time.Duration // how long the network must be quiet before it is judged
	WakeStay        time.Duration // how long the Mac must stay awake before it counts as awake
	EchoWait        time.Duration // how long after a query its echoes may come
	StreamRetry     time.Duration // first wait before an event stream is started again, doubled each time
	StreamRetryCap  time.Duration
	WakeSplay       time.Duration // the same after a sleep that missed the daily slot
	NetworkQuiet    time.Duration // network_up counts only this long after a success
	Tick            time.Duration // how often the wall clock is compared with the due times
	Daily           time.Duration // the guide's daily check
	CadenceMinimum  time.Duration // lowest next_checkin_s that is believed
	CadenceMaximum  time.Duration // highest
	RetryBase       time.Duration // first wait after a failure
	RetryCap        time.Duration // longest wait after a failure
	CircuitAfter    time.Duration // failing this long, attempts are rare
	CircuitInterval time.Duration // how rare
	ProfileGrace    time.Duration // how long a missing profile stays in force (H06)
	UserLook        time.Duration // how long a look waits for one user (H12)
}

// Problem is one thing in a file that could not be used.
type Problem struct {
	Key  string        `json:"key"` // name of the key; the file's path where the whole file is meant
	Code protocol.Code `json:"code"`
	Text string        `json:"text"` // found and expected types; never a value
}

// WithLogLevel is the configuration with the level of a flag or an environment
// variable; empty changes nothing, an unknown level is a Problem.
func (c Config) WithLogLevel(level string) Config {
	if level == "" {
		return c
	}
	parsed, err := logLevel(level)
	if err != nil {
		c.Problems = append(c.Problems[:len(c.Problems):len(c.Problems)],
			Problem{Key: "LogLevel", Code: protocol.CodeConfigInvalid, Text: "in the flag --log-level: " + err.Error()})
		return c
	}
	c.LogLevel = parsed
	return c
}

// Fingerprint is 32 hex digits that change when anything that matters changes:
// any key's value, or the source. It is made by hashing, so no value can be
// read from it; it is meant for comparing, not for showing.
func (c Config) Fingerprint() string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%q\n", c.Source)
	for _, key := range keys {
		fmt.Fprintf(sum, "%s=%q\n", key.Name, key.exact(c))
	}
	return hex.EncodeToString(sum.Sum(nil))[:32]
}

// Value is one key as it is in force.
type Value struct {
	Key   Key
	Value string // for people; secrets and passwords hidden, keys by their ids
}

// Values lists every key with the value in force, in the order of Keys.
func (c Config) Values() []Value {
	values := make([]Value, len(keys))
	for i, key := range keys {
		values[i] = Value{Key: key.Key, Value: key.show(c)}
	}
	return values
}
