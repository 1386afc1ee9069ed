package checkin

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/protocol"
)

// hostile is a Mac that has a policy and something to tell, and what stands
// between it and its portal.
type hostile struct {
	*bench
	count     *wire
	good      *http.Transport
	between   atomic.Pointer[http.HandlerFunc] // answers check-ins in the portal's place
	impatient bool                             // the Mac waits a moment, not a minute
	elsewhere atomic.Int64                     // requests that reached another server
}

func newHostile(t *testing.T) *hostile {
	t.Helper()
	h := &hostile{}
	var server *httptest.Server
	h.bench, server, h.count = secured(t, func(server *httptest.Server) {
		portal := server.Config.Handler
		server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if answer := h.between.Load(); answer != nil && r.URL.Path == "/v1/checkin" {
				(*answer)(w, r)
				return
			}
			portal.ServeHTTP(w, r)
		})
	})
	h.good, _ = h.options.Transport.(*http.Transport)
	h.options.Proxy = nil
	h.options.ContentURL = parseURL(t, server.URL+"/v1/content")
	h.configure()
	h.do("agent_start")
	h.publish("staff", 5, 3)
	h.do("daily")
	h.report.VMs[0].Name = "renamed"
	return h
}

// answers puts a server in the portal's place.
func (h *hostile) answers(with http.HandlerFunc) { h.between.Store(&with) }

// lines changes how the Mac connects.
func (h *hostile) lines(change func(*http.Transport)) {
	line := h.good.Clone()
	change(line)
	h.options.Transport = line
	h.reconnect()
}

func (h *hostile) reconnect() {
	h.client.Close()
	h.configure()
	if h.impatient {
		h.client.retry.HTTPClient.Timeout = 100 * time.Millisecond
	}
}

// heal makes everything as it was.
func (h *hostile) heal() {
	h.between.Store(nil)
	h.impatient = false
	h.options.Transport = h.good
	h.reconnect()
}

// unanswered is the stored report.
func (h *hostile) unanswered() (record pendingRecord) {
	h.t.Helper()
	_, err := pendingRecords.Load(h.options.Store, onlyKey, &record)
	if err != nil {
		h.t.Fatal(err)
	}
	return record
}

func page(status int, header ...string) func(*hostile) {
	return func(h *hostile) {
		h.answers(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1]+r.Header.Get("Authorization"))
			}
			w.WriteHeader(status)
			fmt.Fprintf(w, "<html><body>Please accept the terms. %s", r.Header.Get("Authorization"))
		})
	}
}

func document(contentType, body string, header ...string) func(*hostile) {
	return func(h *hostile) {
		h.answers(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			_, _ = io.WriteString(w, body)
		})
	}
}

// bare takes the connection over from HTTP.
func bare(talk func(net.Conn)) func(*hostile) {
	return func(h *hostile) {
		h.answers(func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				h.t.Error(err)
				return
			}
			defer conn.Close()
			talk(conn)
		})
	}
}

// forever writes until nobody reads any more.
func forever(to io.Writer, piece string) {
	data := []byte(strings.Repeat(piece, 64<<10/len(piece)))
	for {
		if _, err := to.Write(data); err != nil {
			return
		}
	}
}

func endless(status int, header ...string) func(*hostile) {
	return func(h *hostile) {
		h.answers(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			forever(w, " ")
		})
	}
}

func bomb(h *hostile) {
	packed, err := packAlways(bytes.Repeat([]byte(" "), 16<<20))
	if err != nil {
		h.t.Fatal(err)
	}
	document("application/json", string(packed), "Content-Encoding", "gzip")(h)
}

// reset makes the system send RST in place of an orderly end.
func reset(conn net.Conn) {
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
	if secure, is := conn.(*tls.Conn); is {
		if line, is := secure.NetConn().(*net.TCPConn); is {
			_ = line.SetLinger(0)
			_ = line.Close()
		}
	}
}

// silence accepts the request and holds it until the Mac hangs up; it does not
// end the answer then (cutoff_test.go has one that does).
func silence(first string) func(*hostile) {
	return func(h *hostile) {
		h.answers(func(w http.ResponseWriter, r *http.Request) {
			if first != "" {
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, first)
				_ = http.NewResponseController(w).Flush()
			}
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		})
		h.impatient = true
		h.reconnect()
	}
}

// secure changes what the Mac checks of a certificate.
func secure(change func(*tls.Config)) func(*hostile) {
	return func(h *hostile) { h.lines(func(line *http.Transport) { change(line.TLSClientConfig) }) }
}

func atTime(year int) func(*tls.Config) {
	return func(config *tls.Config) {
		config.Time = func() time.Time { return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC) }
		config.ClientSessionCache = nil
	}
}

// dials fails every connection.
func dials(err error) func(*hostile) {
	return func(h *hostile) {
		h.lines(func(line *http.Transport) {
			line.DialContext = func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
			}
		})
	}
}

// port is what listens on the portal's address instead.
func port(says string) func(*hostile) {
	return func(h *hostile) {
		h.lines(func(line *http.Transport) {
			line.DialContext = func(context.Context, string, string) (net.Conn, error) {
				mac, other := net.Pipe()
				go func() {
					defer other.Close()
					_, _ = other.Read(make([]byte, 1))
					go func() { _, _ = io.Copy(io.Discard, other) }()
					_, _ = io.WriteString(other, says)
				}()
				return mac, nil
			}
		})
	}
}

// proxied sends everything through a proxy that does not let it pass.
func proxied(status int) func(*hostile) {
	return func(h *hostile) {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, r.Header.Get("Proxy-Authorization"))
		}))
		h.t.Cleanup(proxy.Close)
		location := parseURL(h.t, proxy.URL)
		location.User = url.UserPassword("canary-user", "canary-password")
		h.options.Transport = newTransport(nil, location)
		h.reconnect()
	}
}

func redirected(scheme string) func(*hostile) {
	return func(h *hostile) {
		other := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { h.elsewhere.Add(1) }))
		if other.Start(); scheme == "https" {
			other.Close()
			other = httptest.NewTLSServer(other.Config.Handler)
		}
		h.t.Cleanup(other.Close)
		page(http.StatusTemporaryRedirect, "Location", other.URL+"/v1/checkin?token=")(h)
	}
}

// hostileServers is what a Mac meets that moves around, and what it must call it.
var hostileServers = []struct {
	name    string
	arrange func(*hostile)
	code    protocol.Code
}{
	{"garbage in place of HTTP", bare(func(conn net.Conn) { _, _ = io.WriteString(conn, "\x00\x01canary\r\n\r\n") }), protocol.CodePortalOutage},
	{"garbage in place of JSON", document("application/json", "\x00\x01canary"), protocol.CodePortalReplyInvalid},
	{"half of the JSON", document("application/json", `{"inventory":"o`), protocol.CodePortalReplyInvalid},
	{"half a body", bare(func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
	}), protocol.CodePortalInterrupted},
	{"half a packed body", document("application/json", "\x1f\x8b\x08\x00\x00\x00\x00\x00", "Content-Encoding", "gzip"), protocol.CodePortalInterrupted},
	{"10 GB announced", endless(http.StatusOK, "Content-Length", fmt.Sprint(10<<30)), protocol.CodePortalReplyTooLarge},
	{"10 GB unannounced", endless(http.StatusOK), protocol.CodePortalReplyTooLarge},
	{"10 GB of an error page", endless(http.StatusForbidden), protocol.CodePortalOutage},
	{"an error page that cannot be unpacked", func(h *hostile) {
		page(http.StatusForbidden, "Content-Encoding", "gzip ")(h)
	}, protocol.CodePortalOutage},
	{"10 GB of headers", bare(func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
		forever(conn, "X-Canary: canary\r\n")
	}), protocol.CodePortalOutage},
	{"a gzip bomb", bomb, protocol.CodePortalReplyTooLarge},
	{"a redirect to http", redirected("http"), protocol.CodePortalRedirect},
	{"a redirect elsewhere", redirected("https"), protocol.CodePortalRedirect},
	{"a certificate of nobody we know", secure(func(c *tls.Config) { c.RootCAs = x509.NewCertPool() }), protocol.CodePortalCertificate},
	{"a certificate for another name", secure(func(c *tls.Config) { c.ServerName = "portal.example.org" }), protocol.CodePortalWrongName},
	{"a certificate that has expired", secure(atTime(2200)), protocol.CodePortalExpired},
	{"a certificate that is not valid yet", secure(atTime(1960)), protocol.CodePortalExpired},
	{"plain HTTP on the port", port("HTTP/1.1 302 Found\r\nLocation: http://canary.example/\r\n\r\n"), protocol.CodePortalTLS},
	{"garbage on the port", port("SSH-2.0-canary\r\n"), protocol.CodePortalTLS},
	{"nothing on the port", port(""), protocol.CodePortalInterrupted},
	{"a web page", page(http.StatusOK), protocol.CodePortalWebPage},
	{"text", document("text/plain", "canary"), protocol.CodePortalReplyInvalid},
	{"a 302", page(http.StatusFound, "Location", "https://canary.example/?token="), protocol.CodePortalRedirect},
	{"a proxy's 401", page(http.StatusUnauthorized, "WWW-Authenticate", "Basic realm="), protocol.CodePortalOutage},
	{"a proxy's 403", page(http.StatusForbidden), protocol.CodePortalOutage},
	{"a proxy's 404", page(http.StatusNotFound), protocol.CodePortalOutage},
	{"a proxy's 407", page(http.StatusProxyAuthRequired), protocol.CodeProxySignIn},
	{"a proxy's 410", page(http.StatusGone), protocol.CodePortalOutage},
	{"a proxy's 502", page(http.StatusBadGateway), protocol.CodePortalOutage},
	{"a network's 511", page(http.StatusNetworkAuthenticationRequired), protocol.CodeNetworkSignIn},
	{"a proxy that wants a password", proxied(http.StatusProxyAuthRequired), protocol.CodeProxySignIn},
	{"a proxy that does not connect", proxied(http.StatusForbidden), protocol.CodeProxyRefused},
	{"a reset in the middle", bare(reset), protocol.CodePortalInterrupted},
	{"an end before the answer", bare(func(net.Conn) {}), protocol.CodePortalInterrupted},
	{"no answer", silence(""), protocol.CodePortalTimeout},
	{"a body that does not end", silence("{"), protocol.CodePortalTimeout},
	{"a name that is not known", dials(&net.DNSError{Err: "no such host", Name: "portal.example", IsNotFound: true}), protocol.CodePortalDNS},
	{"a DNS server that does not answer", dials(&net.DNSError{Err: "i/o timeout", Name: "portal.example", IsTimeout: true}), protocol.CodePortalDNS},
	{"nobody listens", dials(syscall.ECONNREFUSED), protocol.CodePortalUnreachable},
	{"no route", dials(syscall.ENETUNREACH), protocol.CodePortalUnreachable},
	{"packets that vanish", dials(syscall.ETIMEDOUT), protocol.CodePortalTimeout},
	{"a time that is a secret", func(h *hostile) {
		h.answers(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"inventory":"ok","server_time":%q}`, r.Header.Get("Authorization"))
		})
	}, protocol.CodePortalReplyInvalid},
}

// Whatever stands in the portal's place: it gets a name, and nothing is lost,
// nothing is forgotten, and who we are stays as it is.
func TestH04_HostileServers(t *testing.T) {
	t.Parallel()
	for _, test := range hostileServers {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t)
			identity, policy := readFile(t, h.options.IdentityPath), h.client.Content()
			rows := h.portal.rows
			test.arrange(h)
			h.count.take()
			outcome, err := h.try("vm_started")
			h.wantFailure(outcome, err, test.code)
			if _, down, _ := h.count.take(); down > 3<<20 {
				t.Errorf("%d bytes were read", down)
			}
			waiting := h.unanswered()
			h.crash()
			h.reconnect()
			outcome, err = h.try("vm_suspended")
			h.wantFailure(outcome, err, test.code)
			if diff := cmp.Diff(waiting, h.unanswered()); diff != "" {
				t.Errorf("the report that waits is another one: %s", diff)
			}
			if now := readFile(t, h.options.IdentityPath); !bytes.Equal(now, identity) {
				t.Error("node.json changed")
			}
			if diff := cmp.Diff(policy, h.client.Content()); diff != "" {
				t.Errorf("the policy changed: %s", diff)
			}
			if got := h.elsewhere.Load(); got != 0 {
				t.Errorf("%d requests went elsewhere", got)
			}
			h.wantRecovery(waiting, rows)
		})
	}
}

// wantFailure holds one attempt against what must be true of each.
func (h *hostile) wantFailure(outcome *Outcome, err error, code protocol.Code) {
	h.t.Helper()
	state := h.client.State()
	if err == nil || outcome.Code != code || state.LastCode != code {
		h.t.Fatalf("%v, code %q, status %q; want %q", err, outcome.Code, state.LastCode, code)
	}
	if text := code.Text(); text.Remedy == "" || text.Severity == protocol.Info {
		h.t.Errorf("%s tells nobody what to do: %+v", code, text)
	}
	if state.Enrollment != EnrollmentDone || !state.Unanswered || outcome.RetryAfter < 0 || outcome.RetryAfter > 36*time.Hour {
		h.t.Errorf("state %+v, retry after %s", state, outcome.RetryAfter)
	}
	if outcome.Reply != nil || h.sentEvents() != 0 {
		h.t.Error("something counts as acknowledged")
	}
	shown, _ := json.Marshal(state)
	for what, text := range map[string]string{"the log": h.log.String(), "the detail": outcome.Detail, "the error": err.Error(), "the state": string(shown)} {
		if strings.Contains(text, "canary") && what != "the error" {
			h.t.Errorf("%s shows a secret: %s", what, text)
		}
		if strings.ContainsAny(text, "\x00\x01\x1b") || what == "the detail" && (text == "" || len(text) > protocol.MaxText) {
			h.t.Errorf("%s is unfit for a terminal: %q", what, text)
		}
	}
}

// wantRecovery is the portal as it was: it gets the report of before, byte for
// byte, and then everything else.
func (h *hostile) wantRecovery(waiting pendingRecord, rows int) {
	h.t.Helper()
	h.portal.sent()
	h.heal()
	h.do("daily")
	h.do("daily")
	var reasons []string
	last := waiting.Sequence - 1
	for i, request := range h.portal.sent() {
		if request.what != "POST /v1/checkin" {
			h.t.Errorf("after it: %s", request.what)
			continue
		}
		report := request.checkin(h.t)
		if i == 0 && !bytes.Equal(request.body, waiting.Body) {
			h.t.Errorf("the report of before is not the first:\n%s\n%s", request.body, waiting.Body)
		}
		if report.Sequence != last+1 {
			h.t.Errorf("number %d after %d", report.Sequence, last)
		}
		last = report.Sequence
		for _, trigger := range report.Triggers {
			reasons = append(reasons, trigger.Reason)
		}
	}
	if got := strings.Join(reasons, " "); !strings.Contains(got, "vm_started") || strings.Count(got, "vm_started") != 1 {
		h.t.Errorf("the portal heard %s", got)
	}
	if h.portal.rows <= rows {
		h.t.Error("the portal has no new row")
	}
	if got := h.client.State(); got.Unanswered || got.LastCode != "" || got.Enrollment != EnrollmentDone {
		h.t.Errorf("afterwards: %+v", got)
	}
}

func TestProtocol19_RetryAfterIsClampedToADay(t *testing.T) {
	t.Parallel()
	for _, asked := range []string{"1000000000", "1e300", "Inf", "9223372037", "Fri, 31 Dec 9999 23:59:59 GMT"} {
		for name, answer := range map[string]scripted{
			"ours": problem(protocol.ProblemUnavailable), "a proxy's": plainAnswer(503, "text/html", "busy"),
		} {
			t.Run(name+" "+asked, func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				b.do("agent_start")
				b.portal.on("POST /v1/checkin", func(w http.ResponseWriter) {
					w.Header().Set("Retry-After", asked)
					answer(w)
				})
				outcome, err := b.try("daily")
				if err == nil || outcome.Requests != 1 || outcome.RetryAfter < retryAfterHigh || outcome.RetryAfter > retryAfterHigh*3/2 {
					t.Errorf("%v, %d requests, retry after %s", err, outcome.Requests, outcome.RetryAfter)
				}
				if at := b.client.State().RetryAt; at.After(b.now.Add(retryAfterHigh * 3 / 2)) {
					t.Errorf("the next attempt is at %s", at)
				}
				b.do("manual") // a person need not wait
			})
		}
	}
}

// Every secret is a canary here, and everything in between sends back what it
// was sent; wantFailure looks into log, detail and state after each attempt.
func TestProtocol20_CanariesAreInNoLog(t *testing.T) {
	skipLarge(t)
	t.Parallel()
	h := newHostile(t)
	h.options.Log = h.options.Log.Level(-1)
	seed := h.client.currentIdentity().key.Seed()
	for _, name := range []string{protocol.ProblemInternal, protocol.ProblemEnrollmentClosed, protocol.ProblemDeviceUnknown} {
		h.answers(func(w http.ResponseWriter, r *http.Request) {
			protocol.NewProblem(name, "you sent "+r.Header.Get("Authorization")+" "+theSecret).Write(w)
		})
		h.reconnect()
		outcome, err := h.try("daily")
		if err == nil || strings.Contains(outcome.Detail, "canary") {
			t.Errorf("%v, detail %q", err, outcome.Detail)
		}
	}
	for _, test := range hostileServers {
		test.arrange(h)
		_, _ = h.try("daily")
		h.heal()
	}
	if text := h.log.String(); !strings.Contains(text, "check-in") || len(text) < 1000 {
		t.Fatalf("the log says %q", text)
	}
	for _, secret := range []string{"canary", theSecret, fmt.Sprintf("%x", seed), fmt.Sprint(seed), h.client.currentIdentity().token} {
		if strings.Contains(h.log.String(), secret) {
			t.Errorf("the log holds %s", secret)
		}
	}
}
