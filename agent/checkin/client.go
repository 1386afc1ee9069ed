package checkin

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-retryablehttp"
	"github.com/rs/zerolog"

	"prlagent/agent/outbox"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/platform/safefile"
	"prlagent/store"
)

// Options are the parts of the configuration and the house that a Client needs.
type Options struct {
	ServerURL  *url.URL // nil: not configured, every Do says so
	ContentURL *url.URL // nil: no policy is fetched
	// ContentFolder is a folder on this disk with what a portal serves as content;
	// empty: ContentURL says where that is.
	ContentFolder string
	Secret        string
	SiteID        string // that the configuration names; empty where it names none
	Group         string // managed; empty = the portal says
	PolicyKeys    []protocol.TrustedKey
	Policy        policy.Dictionary   // of the configuration; wins over signed policies
	Certificates  []*x509.Certificate // replace the system's roots where present
	Proxy         *url.URL            // nil = none
	Privacy       protocol.Privacy    // whose names no event tells; reports come without them
	// Timing has the range of next_checkin_s that is believed (protocol.md 2.11);
	// zero = the default.
	Timing protocol.Timing

	Store        *store.Store
	Outbox       *outbox.Outbox // what the portal must hear beside the report
	IdentityPath string         // node.json, as a path on this disk
	Host         protocol.Host
	Version      string
	Log          zerolog.Logger
	Now          func() time.Time // nil = time.Now
	// Elapsed is the reading of a clock that nobody can set and that begins at
	// zero with the Mac or with the process; nil = the latter.
	Elapsed   func() time.Duration
	Transport http.RoundTripper // nil = the real one
}

// hasHeads reports whether there is a source of signed policies.
func (o *Options) hasHeads() bool {
	return len(o.PolicyKeys) > 0 && (o.ContentURL != nil || o.ContentFolder != "")
}

// Client talks to one portal under one configuration. It is safe for concurrent
// use; one Do runs at a time. All that must outlive it is on disk, so a changed
// configuration is a new Client.
type Client struct {
	options Options
	retry   *retryablehttp.Client
	meter   *requestMeter

	exchangeMutex sync.Mutex // one Do at a time; guards the next five
	askedGroup    string     // group whose head was asked for without a hint
	noCompression bool       // the portal does not take gzip
	refusedGroup  string     // group that an unsigned answer named and that was not believed
	networkChange networkChange
	trimmed       bool // the last report left something of this Mac out

	stateMutex sync.Mutex // guards what follows
	identity   *Identity  // never nil; an empty one before it is loaded
	loaded     bool
	replaced   bool // a damaged identity was replaced, and no Outcome has said so
	folderSeen folderReading
	seen       serverTime // by this client
	anew       anew       // what the next exchange does as if it were the first
	status     attemptStatus
}

// attemptStatus is what State shows beside what is on disk.
type attemptStatus struct {
	condition   protocol.Code // enrollment_pending, device_revoked, device_retired … or empty
	lastAttempt time.Time
	lastCode    protocol.Code
	lastError   string
	retryAt     time.Time
}

// Extra is what a report carries beside the look at the Mac and the outbox.
type Extra struct {
	OpenCommands []protocol.OpenCommand
	Results      []protocol.Result    // not acknowledged yet
	Holds        *protocol.HoldReport // nil: this Mac never had a list of them
	Settler      Settler              // of the results; nil: nobody is told
}

// Settler is told of which results the portal has acknowledged.
type Settler interface {
	// Settle is called in the commit that settles the report which carried them.
	Settle(tx *store.Tx, commandIDs []string) error
	// Settled is called once that is committed.
	Settled(commandIDs []string)
}

// Outcome is how one Do went.
type Outcome struct {
	Code           protocol.Code // empty if everything went well
	Detail         string        // a sentence for people; never a secret
	Requests       int           // HTTP requests that were started
	SentBytes      int           // of request bodies, as sent
	Reply          *protocol.CheckinReply
	SendFull       bool             // the portal asked for everything; it was sent unless there is an error
	ContentChanged bool             // another policy is stored, or it was released
	NextCheckin    time.Duration    // what the portal asked for, clamped; 0 = it did not say
	Splay          time.Duration    // what the portal asked for, for what many Macs do at once; 0 = it did not say
	RetryAfter     time.Duration    // no earlier attempt makes sense; 0 = up to the caller's backoff
	NoRetry        bool             // the failure is one that no repetition mends
	EnrolledNow    bool             // this Do got a token
	Events         []protocol.Event // what the exchange itself noticed: rollback_detected, identity_reset …
}

// exchangeError is the type of every error of Do.
type exchangeError struct {
	Code       protocol.Code
	RetryAfter time.Duration // 0 = the portal did not say
	Err        error
}

// withCode is an error of Do.
func withCode(code protocol.Code, err error) error { return &exchangeError{Code: code, Err: err} }

// Error gives the code and the explanation.
func (e *exchangeError) Error() string { return string(e.Code) + ": " + e.Err.Error() }

// ErrorCode gives the code.
func (e *exchangeError) ErrorCode() string { return string(e.Code) }

// Unwrap gives the explanation alone.
func (e *exchangeError) Unwrap() error { return e.Err }

// explainError gives an error in words, without the code that stands beside it.
// The portal has a say in it, so it is cut to length, and secrets that it was
// sent and gives back are not repeated.
func (c *Client) explainError(err error) string {
	var failure *exchangeError
	if errors.As(err, &failure) {
		err = failure.Err
	}
	return protocol.CutText(strings.ToValidUTF8(c.secrets().Redact(err.Error()), ""), protocol.MaxText)
}

// New makes a client. Nothing is sent before the first Do.
func New(options Options) *Client {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Elapsed == nil {
		start := time.Now()
		options.Elapsed = func() time.Duration { return time.Since(start) }
	}
	if options.Timing == (protocol.Timing{}) {
		options.Timing = protocol.DefaultTiming()
	}
	c := &Client{options: options, identity: &Identity{}}
	c.meter = &requestMeter{next: options.Transport}
	if c.meter.next == nil {
		c.meter.next = newTransport(options.Certificates, options.Proxy)
	}
	c.retry = newRetryClient(c.meter)
	if options.ServerURL != nil {
		_ = c.loadIdentity() // Do tries again and reports
	}
	return c
}

// Close gives back idle connections.
func (c *Client) Close() { c.retry.HTTPClient.CloseIdleConnections() }

// currentIdentity is the identity in use, which nobody changes.
func (c *Client) currentIdentity() *Identity {
	c.stateMutex.Lock()
	who := c.identity
	c.stateMutex.Unlock()
	return who
}

// loadIdentity reads node.json once. A damaged file is kept beside the new one.
func (c *Client) loadIdentity() error {
	c.stateMutex.Lock()
	defer c.stateMutex.Unlock()
	if c.loaded {
		return nil
	}
	path := c.options.IdentityPath
	who, err := LoadIdentity(path, &c.options.Host)
	switch {
	case errors.Is(err, errDamaged) && who != nil:
		c.options.Log.Warn().Str("code", string(protocol.CodeIdentityReset)).Msg("the identity on disk is damaged; a new one is made")
		if err := replaceDamaged(path, who); err != nil {
			return withCode(protocol.CodeIdentityUnreadable, err)
		}
		c.replaced = true
	case errors.Is(err, ErrForeign):
		return withCode(protocol.CodeIdentityReset, err)
	case errors.Is(err, errHostUnknown):
		return withCode(protocol.CodeMacUnidentified, err)
	case err != nil:
		return withCode(protocol.CodeIdentityUnreadable, err)
	}
	c.identity, c.loaded = who, true
	return nil
}

// replaceDamaged keeps a damaged identity beside the new one: what cannot be kept
// is not overwritten.
func replaceDamaged(path string, fresh *Identity) error {
	folder, err := safefile.OpenFolder(filepath.Dir(path))
	if err == nil {
		name := filepath.Base(path)
		err = errors.Join(folder.Rename(name, name+".damaged"), folder.Close())
	}
	if err != nil {
		return fmt.Errorf("keep the damaged identity: %w", err)
	}
	return fresh.Save(path)
}

// takeReplaced reports whether a damaged identity was replaced, once.
func (c *Client) takeReplaced() bool {
	c.stateMutex.Lock()
	replaced := c.replaced
	c.replaced = false
	c.stateMutex.Unlock()
	return replaced
}

// adoptIdentity saves a changed identity, then uses it.
func (c *Client) adoptIdentity(who *Identity) error {
	c.stateMutex.Lock()
	defer c.stateMutex.Unlock()
	if err := who.Save(c.options.IdentityPath); err != nil {
		return err
	}
	c.identity = who
	return nil
}

// noteRequest remembers the id of an enrollment that is about to be sent. It is
// written with what the portal answers.
func (c *Client) noteRequest(id protocol.RequestID) {
	c.stateMutex.Lock()
	who := *c.identity
	who.lastRequest = id
	c.identity = &who
	c.stateMutex.Unlock()
}

// Do is one check-in: it enrolls if it must, sends what is left unanswered, then
// the report, and fetches new content. The error has a code and is nil if the
// portal has acknowledged the report; a failure of the content alone is in the
// Outcome and in Policy.
//
// What the outbox carries goes out once: with the report, which is stored before
// it is sent, or it is in the outbox still.
func (c *Client) Do(ctx context.Context, report *protocol.Report, extra Extra) (*Outcome, error) {
	c.exchangeMutex.Lock()
	defer c.exchangeMutex.Unlock()
	requests, sent := c.meter.totals()
	e := &exchange{client: c, ctx: ctx, report: report.Cut(), extra: extra, reacted: make(map[string]bool), anew: c.takeAnew()}
	c.networkChange.noteChanges(c.options.Outbox.Carried())
	err := e.run()
	c.returnAnew(e.anew)
	requestsNow, sentNow := c.meter.totals()
	e.outcome.Requests, e.outcome.SentBytes = requestsNow-requests, sentNow-sent
	err = c.recordOutcome(e, err)
	outcome := e.outcome // which needs nothing else of the exchange
	return &outcome, err
}

// Acknowledged reports whether the portal has acknowledged exactly this report.
// It is true without a portal, and where the store cannot say: that is no
// reason to talk.
func (c *Client) Acknowledged(report *protocol.Report) bool {
	if c.options.ServerURL == nil {
		return true
	}
	found, _, err := readStoredState(c.options.Store, originOf(c.options.ServerURL), c.options.Privacy, c.options.Now())
	if err != nil {
		return true
	}
	now, err := report.Cut().Baseline()
	return err != nil || now.Hash == found.baseline.Hash
}

// recordOutcome notes how an exchange ended, for State and for the log.
func (c *Client) recordOutcome(e *exchange, err error) error {
	now, line := c.options.Now(), c.options.Log.Info()
	var failure *exchangeError
	if err != nil && !errors.As(err, &failure) {
		failure = &exchangeError{Code: cmp.Or(protocol.CodeOf(err), protocol.CodeInternal), Err: err}
	}
	if failure != nil {
		failure = c.withNetworkExcuse(failure)
		e.outcome.Code, e.outcome.Detail, e.outcome.RetryAfter = failure.Code, c.explainError(failure), failure.RetryAfter
		e.outcome.NoRetry = isPermanent(failure)
		failure = &exchangeError{Code: failure.Code, RetryAfter: failure.RetryAfter, Err: &redactedError{e.outcome.Detail, failure.Err}}
		line = c.options.Log.Warn()
	}
	c.stateMutex.Lock()
	defer c.stateMutex.Unlock()
	c.status.lastAttempt, c.status.retryAt = now, time.Time{}
	if failure != nil {
		c.status.condition = conditionOf(failure.Code, c.status.condition)
	} else {
		c.status.condition = ""
	}
	if e.outcome.RetryAfter > 0 {
		c.status.retryAt = now.Add(e.outcome.RetryAfter)
	}
	c.status.lastCode, c.status.lastError = e.outcome.Code, e.outcome.Detail
	line.Str("code", string(e.outcome.Code)).Str("detail", e.outcome.Detail).
		Int("requests", e.outcome.Requests).Int("sent_bytes", e.outcome.SentBytes).Msg("check-in")
	if failure == nil {
		return nil
	}
	return failure
}
