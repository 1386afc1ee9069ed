package checkin

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"prlagent/agent/protocol"
)

// Pace of one request (protocol.md 2.11).
const (
	requestLimit   = 60 * time.Second // for one request with its answer
	exchangeLimit  = 3 * time.Minute  // wall clock, for a request, the wait, and its retry
	dialLimit      = 15 * time.Second
	retryBase      = 5 * time.Second
	retryCap       = 30 * time.Minute
	maxRetryWait   = 30 * time.Second // a longer wait is the caller's
	retryAfterLow  = time.Second
	retryAfterHigh = 24 * time.Hour
	probeInterval  = time.Hour // of a revoked or retired device (H04)
	maxProblemBody = 64 << 10  // bytes of an error body that are read
)

// newTransport keeps one connection per host and its TLS session; HTTP/1.1,
// because one small request at a time gains nothing from frames.
func newTransport(certificates []*x509.Certificate, proxy *url.URL) *http.Transport {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	if len(certificates) > 0 {
		config.RootCAs = x509.NewCertPool()
		for _, certificate := range certificates {
			config.RootCAs.AddCert(certificate)
		}
	}
	transport := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: dialLimit}).DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    dialLimit,
		DisableCompression:     true, // answers are unpacked here, within bounds
		MaxIdleConnsPerHost:    1,
		MaxConnsPerHost:        1,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		Protocols:              new(http.Protocols),
	}
	transport.Protocols.SetHTTP1(true)
	if proxy != nil {
		transport.Proxy = http.ProxyURL(proxy)
		transport.OnProxyConnectResponse = checkProxyAnswer
	}
	return transport
}

// checkProxyAnswer tells a proxy that does not connect from a portal that does
// not answer.
func checkProxyAnswer(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
	switch answer.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusProxyAuthRequired:
		return errProxySignIn
	}
	return fmt.Errorf("%w: status %d", errProxyRefused, answer.StatusCode)
}

// newRetryClient retries once, and only an answer that asks for it: after a
// failure of the network the caller's own backoff decides (Go's transport has
// replaced a connection that died while idle by then).
func newRetryClient(transport http.RoundTripper) *retryablehttp.Client {
	return &retryablehttp.Client{
		HTTPClient: &http.Client{
			Transport: transport,
			Timeout:   requestLimit,
			// No redirect is followed: the token goes to one origin only.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		RetryMax:     1,
		RetryWaitMin: retryBase,
		RetryWaitMax: retryCap,
		CheckRetry:   checkRetry,
		Backoff:      retryBackoff,
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
}

// checkRetry is the status table of protocol.md 2.11.
func checkRetry(ctx context.Context, response *http.Response, err error) (bool, error) {
	if err != nil || response == nil || ctx.Err() != nil {
		return false, nil
	}
	if wait, said := retryAfter(response.Header, time.Now()); said && wait > maxRetryWait {
		return false, nil
	}
	switch status := response.StatusCode; status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true, nil
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, http.StatusNetworkAuthenticationRequired:
		return false, nil
	default:
		return status >= 500 && status <= 599, nil
	}
}

// retryBackoff waits as long as the portal asked and up to half as long again, or
// half to all of a capped exponential: the jitter comes after the cap, so that
// a fleet that waits at the cap still spreads (protocol.md 2.11).
func retryBackoff(base, limit time.Duration, attempt int, response *http.Response) time.Duration {
	if response != nil {
		if wait, said := retryAfter(response.Header, time.Now()); said {
			return addJitter(wait)
		}
	}
	wait := min(limit, base<<min(attempt, 20))
	return wait/2 + rand.N(wait/2+1)
}

// addJitter adds up to half: the wait itself is a floor.
func addJitter(wait time.Duration) time.Duration { return wait + rand.N(wait/2+1) }

// retryAfter reads Retry-After, in seconds or as a date, clamped to one second
// and a day.
func retryAfter(header http.Header, now time.Time) (time.Duration, bool) {
	text := header.Get("Retry-After")
	if text == "" {
		return 0, false
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil {
		date, err := http.ParseTime(text)
		if err != nil {
			return 0, false
		}
		seconds = date.Sub(now).Seconds()
	}
	if !(seconds > retryAfterLow.Seconds()) { // also not a number
		return retryAfterLow, true
	}
	return time.Duration(min(seconds, retryAfterHigh.Seconds()) * float64(time.Second)), true
}

// requestMeter counts what goes out.
type requestMeter struct {
	next     http.RoundTripper
	requests atomic.Int64
	sent     atomic.Int64
}

// RoundTrip counts the request and passes it on.
func (m *requestMeter) RoundTrip(request *http.Request) (*http.Response, error) {
	m.requests.Add(1)
	m.sent.Add(max(request.ContentLength, 0))
	return m.next.RoundTrip(request)
}

// CloseIdleConnections passes the wish on.
func (m *requestMeter) CloseIdleConnections() {
	if closer, can := m.next.(interface{ CloseIdleConnections() }); can {
		closer.CloseIdleConnections()
	}
}

func (m *requestMeter) totals() (requests, sent int) {
	return int(m.requests.Load()), int(m.sent.Load())
}

// portalRequest is one request.
type portalRequest struct {
	method     string
	url        *url.URL
	token      string // sent only if url has the origin that the token belongs to
	etag       string
	body       []byte
	media      string // body's media type; empty is JSON's
	digest     []byte // SHA-256 of body; nil: it is not said
	compressed bool   // body is gzip
	limit      int    // bytes of the answer's body, after unpacking
}

// portalAnswer is what came back, whatever the status.
type portalAnswer struct {
	status int
	header http.Header
	body   []byte
}

// sendRequest sends a request and reads its answer, in bounded time and space.
func (c *Client) sendRequest(ctx context.Context, what *portalRequest) (*portalAnswer, error) {
	ctx, stop := limitWallClock(ctx, exchangeLimit, c.options.Now)
	defer stop()
	got, err := c.sendOnce(ctx, what)
	if err != nil && errors.Is(context.Cause(ctx), errOverTime) {
		return nil, networkError(errOverTime)
	}
	return got, err
}

func (c *Client) sendOnce(ctx context.Context, what *portalRequest) (*portalAnswer, error) {
	request, err := c.newRequest(ctx, what)
	if err != nil {
		return nil, withCode(protocol.CodeInternal, err)
	}
	response, err := c.retry.Do(request)
	if err != nil {
		return nil, networkError(err)
	}
	defer response.Body.Close()
	limit := what.limit
	if response.StatusCode >= 300 {
		limit = maxProblemBody
	}
	body, err := readBody(response, limit)
	switch over := cutOff(ctx, response); {
	case response.StatusCode >= 300:
		if err != nil {
			body = nil // what it is does not depend on an unreadable error page
		}
	case over != nil && !errors.Is(err, protocol.ErrTooLarge):
		return nil, networkError(over)
	case err != nil:
		return nil, bodyError(err)
	}
	return &portalAnswer{status: response.StatusCode, header: response.Header, body: body}, nil
}

// cutOff is why an answer had to end, if it did: its time is over, or the agent
// stops. A server that sees its client hang up may still end the answer in good
// order, and half of it then looks like a whole.
func cutOff(ctx context.Context, response *http.Response) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if response.Request == nil {
		return nil
	}
	if deadline, has := response.Request.Context().Deadline(); has && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

func (c *Client) newRequest(ctx context.Context, what *portalRequest) (*retryablehttp.Request, error) {
	var body any
	if what.body != nil {
		body = what.body
	}
	request, err := retryablehttp.NewRequestWithContext(ctx, what.method, what.url.String(), body)
	if err != nil {
		return nil, errors.New("make request")
	}
	header := request.Header
	header.Set("User-Agent", "prlagent/"+c.options.Version)
	header.Set("Accept-Encoding", "gzip")
	// Not sent: it only tells Go's transport that the request may be repeated
	// on a fresh connection when an idle one turns out to be dead.
	header["Idempotency-Key"] = []string{}
	if what.body != nil {
		header.Set("Content-Type", cmp.Or(what.media, "application/json"))
	}
	if what.digest != nil {
		header.Set("Content-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(what.digest)+":") // RFC 9530
	}
	if what.compressed {
		header.Set("Content-Encoding", "gzip")
	}
	if what.etag != "" {
		header.Set("If-None-Match", what.etag)
	}
	if what.token != "" && originOf(what.url) == c.currentIdentity().Origin {
		header.Set("Authorization", "Bearer "+what.token)
	}
	return request, nil
}

// readBody unpacks an answer within limit bytes, packed and unpacked.
func readBody(response *http.Response, limit int) ([]byte, error) {
	var reader io.Reader = response.Body
	switch response.Header.Get("Content-Encoding") {
	case "", "identity":
	case "gzip":
		unpacked, err := gzip.NewReader(io.LimitReader(response.Body, int64(limit)+1))
		if err != nil {
			return nil, fmt.Errorf("unpack answer: %w", err)
		}
		reader = unpacked
	default:
		return nil, errUnknownEncoding
	}
	return protocol.ReadLimited(reader, limit)
}

// mostThorough is the largest body that is worth the best compression, in bytes.
// Of a text of few different signs, which a user can write, it costs seconds for
// each megabyte, and brings little (H51).
const mostThorough = 64 << 10

// compressBody compresses a body if that makes it smaller.
func compressBody(body []byte) ([]byte, bool) {
	level := gzip.BestCompression
	if len(body) > mostThorough {
		level = gzip.DefaultCompression
	}
	var packed bytes.Buffer
	writer, _ := gzip.NewWriterLevel(&packed, level) // the level is valid
	_, _ = writer.Write(body)                        // a Buffer takes everything
	_ = writer.Close()
	if packed.Len() >= len(body) {
		return body, false
	}
	return packed.Bytes(), true
}
