package checkin

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/protocol"
)

// wire counts what goes through the connections of a transport, as TLS records.
type wire struct {
	up, down, dials atomic.Int64
}

type countedConn struct {
	net.Conn
	wire *wire
}

func (c countedConn) Read(data []byte) (int, error) {
	n, err := c.Conn.Read(data)
	c.wire.down.Add(int64(n))
	return n, err
}

func (c countedConn) Write(data []byte) (int, error) {
	n, err := c.Conn.Write(data)
	c.wire.up.Add(int64(n))
	return n, err
}

func (w *wire) watch(transport *http.Transport) {
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		w.dials.Add(1)
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return countedConn{Conn: conn, wire: w}, nil
	}
}

// take gives and clears the counts.
func (w *wire) take() (up, down, dials int64) {
	return w.up.Swap(0), w.down.Swap(0), w.dials.Swap(0)
}

// secured is a bench whose portal is behind TLS on loopback.
func secured(t *testing.T, change func(*httptest.Server)) (*bench, *httptest.Server, *wire) {
	t.Helper()
	b := newBench(t)
	server := httptest.NewUnstartedServer(b.portal)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{}
	change(server)
	server.StartTLS()
	t.Cleanup(server.Close)
	b.options.ServerURL = parseURL(t, server.URL)
	transport := newTransport([]*x509.Certificate{server.Certificate()}, nil)
	count := &wire{}
	count.watch(transport)
	b.options.Transport = transport
	b.configure()
	return b, server, count
}

func unchanged(*httptest.Server) {}

func TestBytesOfAQuietCheckinOnTheWire(t *testing.T) {
	t.Parallel()
	b, _, count := secured(t, unchanged)
	b.do("agent_start")
	count.take()
	b.do("daily")
	up, down, dials := count.take()
	t.Logf("warm connection: %d B up, %d B down, with TLS records", up, down)
	if up > 700 || dials != 0 {
		t.Errorf("warm: %d bytes up (at most 700), %d new connections", up, dials)
	}
	b.client.Close()
	b.do("daily")
	up, down, dials = count.take()
	t.Logf("resumed TLS: %d B up, %d B down", up, down)
	if up > 2560 || dials != 1 {
		t.Errorf("resumed: %d bytes up (at most 2.5 kB), %d connections", up, dials)
	}
}

func TestTLSSessionsAreResumed(t *testing.T) {
	t.Parallel()
	var resumed atomic.Int64
	b, _, _ := secured(t, func(server *httptest.Server) {
		server.TLS.VerifyConnection = func(state tls.ConnectionState) error {
			if state.DidResume {
				resumed.Add(1)
			}
			return nil
		}
	})
	b.do("agent_start")
	b.client.Close()
	b.do("daily")
	if resumed.Load() != 1 {
		t.Errorf("%d resumed sessions, want 1", resumed.Load())
	}
}

func TestPortalsThatAreNotTrusted(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		change func(*httptest.Server)
		client func(t *testing.T, b *bench, server *httptest.Server)
		code   protocol.Code
	}{
		{"the system's roots do not know it", unchanged, func(_ *testing.T, b *bench, _ *httptest.Server) {
			b.options.Transport = newTransport(nil, nil)
		}, protocol.CodePortalCertificate},
		{"another name", unchanged, func(t *testing.T, b *bench, server *httptest.Server) {
			b.options.ServerURL = parseURL(t, strings.Replace(server.URL, "127.0.0.1", "localhost", 1))
		}, protocol.CodePortalWrongName},
		{"TLS 1.1 at most", func(server *httptest.Server) {
			server.TLS.MinVersion, server.TLS.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		}, func(*testing.T, *bench, *httptest.Server) {}, protocol.CodePortalTLS},
		{"nobody listens", unchanged, func(_ *testing.T, _ *bench, server *httptest.Server) { server.Close() }, protocol.CodePortalUnreachable},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b, server, _ := secured(t, test.change)
			test.client(t, b, server)
			b.configure()
			b.fails(test.code)
			b.portal.wantSent()
		})
	}
}

func TestServerCertificatesReplaceTheRoots(t *testing.T) {
	t.Parallel()
	pool := newTransport([]*x509.Certificate{httptestCertificate(t)}, nil).TLSClientConfig.RootCAs
	only := x509.NewCertPool()
	only.AddCert(httptestCertificate(t))
	if !pool.Equal(only) {
		t.Error("other roots are trusted beside the configured ones")
	}
	if newTransport(nil, nil).TLSClientConfig.RootCAs != nil {
		t.Error("without certificates the system's roots are meant")
	}
}

func httptestCertificate(t *testing.T) *x509.Certificate {
	t.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	return server.Certificate()
}

// A connection that died while idle is replaced without a failure, and without
// asking the portal twice.
func TestADeadIdleConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	b, server, count := secured(t, unchanged)
	b.do("agent_start")
	b.portal.sent()
	count.take()
	server.CloseClientConnections()
	b.do("daily")
	b.portal.wantSent("POST /v1/checkin")
	if _, _, dials := count.take(); dials != 1 {
		t.Errorf("%d connections", dials)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(elsewhere.Close)
	b, _, _ := secured(t, unchanged)
	b.do("agent_start")
	for _, status := range []int{301, 302, 303, 307, 308} {
		b.portal.on("POST /v1/checkin", func(w http.ResponseWriter) {
			w.Header().Set("Location", elsewhere.URL)
			w.WriteHeader(status)
		})
		b.fails(protocol.CodePortalRedirect)
	}
	if reached.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

func TestProxyIsUsed(t *testing.T) {
	t.Parallel()
	transport := newTransport(nil, parseURL(t, "http://proxy.example:3128"))
	request, err := http.NewRequest(http.MethodGet, "https://portal.example", nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := transport.Proxy(request)
	if err != nil || got.Host != "proxy.example:3128" {
		t.Errorf("%v %v", got, err)
	}
	if newTransport(nil, nil).Proxy != nil {
		t.Error("the environment must not name a proxy")
	}
}

func TestAnAnswerThatAsksForItIsRetriedOnce(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name     string
		answers  []scripted
		requests int
		code     protocol.Code
	}{
		{"one outage", []scripted{plainAnswer(502, "text/html", "x")}, 2, ""},
		{"ours, unavailable", []scripted{problem(protocol.ProblemUnavailable)}, 2, ""},
		{"two outages", []scripted{plainAnswer(502, "text/html", "x"), plainAnswer(502, "text/html", "x")}, 2, protocol.CodePortalOutage},
		{"busy twice", []scripted{problem(protocol.ProblemRateLimited), problem(protocol.ProblemRateLimited)}, 2, protocol.CodePortalBusy},
		{"not implemented", []scripted{plainAnswer(501, "text/html", "x")}, 1, protocol.CodePortalOutage},
		{"a client's error", []scripted{plainAnswer(404, "text/html", "x")}, 1, protocol.CodePortalOutage},
		{"come back in an hour", []scripted{func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "3600")
			problem(protocol.ProblemUnavailable)(w)
		}}, 1, protocol.CodePortalBusy},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.do("agent_start")
			b.portal.sent()
			for _, answer := range test.answers {
				b.portal.on("POST /v1/checkin", answer)
			}
			outcome, err := b.try("daily")
			if outcome.Code != test.code || (err == nil) != (test.code == "") || outcome.Requests != test.requests {
				t.Errorf("code %q, %d requests, error %v", outcome.Code, outcome.Requests, err)
			}
			sent := b.portal.sent()
			if len(sent) == 2 && !bytes.Equal(sent[0].body, sent[1].body) {
				t.Error("the retry has another body")
			}
			if waits := outcome.RetryAfter > 0; waits != strings.Contains(test.name, "hour") {
				t.Errorf("retry after %v", outcome.RetryAfter)
			}
		})
	}
}

func TestBackoffSpreadsAfterTheCap(t *testing.T) {
	t.Parallel()
	after := func(value string) *http.Response {
		return &http.Response{Header: http.Header{"Retry-After": {value}}}
	}
	cases := []struct {
		name      string
		attempt   int
		response  *http.Response
		low, high time.Duration
	}{
		{"first", 0, nil, 2500 * time.Millisecond, 5 * time.Second},
		{"third", 2, nil, 10 * time.Second, 20 * time.Second},
		{"at the cap", 60, nil, 15 * time.Minute, 30 * time.Minute},
		{"as asked", 0, after("10"), 10 * time.Second, 15 * time.Second},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			different := false
			first := retryBackoff(retryBase, retryCap, test.attempt, test.response)
			for range 200 {
				wait := retryBackoff(retryBase, retryCap, test.attempt, test.response)
				if wait < test.low || wait > test.high {
					t.Fatalf("%v, want %v to %v", wait, test.low, test.high)
				}
				different = different || wait != first
			}
			if !different {
				t.Error("no jitter")
			}
		})
	}
}

func TestRetryAfterIsClamped(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	cases := []struct {
		text string
		want time.Duration
		said bool
	}{
		{"", 0, false}, {"soon", 0, false}, {"120", 2 * time.Minute, true}, {"0", time.Second, true}, {"-5", time.Second, true},
		{"1000000000", 24 * time.Hour, true}, {"99999999999999999999999", 24 * time.Hour, true}, {"NaN", time.Second, true},
		{"Inf", 24 * time.Hour, true}, {"Mon, 23 Nov 2026 08:01:00 GMT", time.Minute, true}, {"Mon, 23 Nov 2020 08:01:00 GMT", time.Second, true},
	}
	for _, test := range cases {
		got, said := retryAfter(http.Header{"Retry-After": {test.text}}, now)
		if got != test.want || said != test.said {
			t.Errorf("%q: %v %t, want %v %t", test.text, got, said, test.want, test.said)
		}
	}
}

// A portal that accepts a request and never answers costs a minute, not a day.
func TestARequestEndsAfterItsLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := newRetryClient(silent{})
		started := time.Now()
		_, err := client.Get("https://portal.example")
		if err == nil || time.Since(started) != requestLimit {
			t.Errorf("after %v: %v", time.Since(started), err)
		}
	})
}

// silent never answers.
type silent struct{}

func (silent) RoundTrip(request *http.Request) (*http.Response, error) {
	<-request.Context().Done()
	return nil, request.Context().Err()
}

func TestErrorsDoNotQuoteTheAddress(t *testing.T) {
	t.Parallel()
	inner := errors.New("refused")
	err := networkError(&url.Error{Op: "Post", URL: "https://canary.example/?canary", Err: inner})
	if strings.Contains(err.Error(), "canary") || !errors.Is(err, inner) {
		t.Error(err)
	}
}

func TestSmallBodiesAreNotPacked(t *testing.T) {
	t.Parallel()
	if body, packed := compressBody([]byte(`{}`)); packed || string(body) != `{}` {
		t.Errorf("%q %t", body, packed)
	}
}

// FuzzAnswers feeds every parser of the portal's answers.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"inventory":"ok","group":{"id":"staff"}}`))
	f.Add([]byte(`{"state":"approved","device_id":"d","token":"t"}`))
	f.Add([]byte(`{"type":"urn:prlagent:problem:device-retired","status":410}`))
	f.Add([]byte("\x1f\x8b"))
	client := &Client{identity: &Identity{}, options: Options{Now: time.Now, Secret: theSecret}}
	f.Fuzz(func(t *testing.T, data []byte) {
		got := &portalAnswer{status: http.StatusGone, header: http.Header{"Content-Type": {"application/json"}}, body: data}
		if reply, err := client.parseReply(got); err == nil && len(reply.Commands) > protocol.MaxCommandReply {
			t.Error("too many commands")
		}
		if reply, err := parseEnrollReply(got); err == nil && reply.State == protocol.EnrollApproved && !plainText(reply.Token) {
			t.Errorf("token %q", reply.Token)
		}
		if client.refusalError(got) == nil {
			t.Error("an error status is no error")
		}
		response := &http.Response{Header: http.Header{"Content-Encoding": {"gzip"}}, Body: io.NopCloser(bytes.NewReader(data))}
		if body, err := readBody(response, 1000); err == nil && len(body) > 1000 {
			t.Errorf("%d bytes", len(body))
		}
	})
}
