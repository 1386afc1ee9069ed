package checkin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
)

// reachable is a server behind TLS on loopback, and the options that reach it.
func reachable(t *testing.T, portal bool, answer http.HandlerFunc) (*httptest.Server, ReachOptions) {
	t.Helper()
	server := httptest.NewUnstartedServer(answer)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	location, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return server, ReachOptions{URL: location, Certificates: []*x509.Certificate{server.Certificate()}, Portal: portal}
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	protocol.NewProblem(protocol.ProblemNotFound, "").Write(w)
}

// Each step that fails is the last one, with the word that a check-in would have
// for it; those before it say what was seen.
func TestTRG_17_ReachNamesTheStepThatFails(t *testing.T) {
	t.Parallel()
	page := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html>sign in</html>")
	}
	cases := []struct {
		name   string
		portal bool
		answer http.HandlerFunc
		change func(*testing.T, *ReachOptions)
		step   string
		code   protocol.Code
	}{
		{"a portal", true, notFound, nil, ReachAnswer, ""},
		{"a web page in its place", true, page, nil, ReachAnswer, protocol.CodePortalWebPage},
		{"a redirect", true, http.RedirectHandler("https://elsewhere.invalid/", http.StatusFound).ServeHTTP, nil, ReachAnswer, protocol.CodePortalRedirect},
		{"another server", true, http.NotFound, nil, ReachAnswer, protocol.CodePortalOutage},
		{"a page of the vendor", false, page, nil, ReachAnswer, ""},
		{"a redirect of the vendor", false, http.RedirectHandler("https://elsewhere.invalid/", http.StatusFound).ServeHTTP, nil, ReachAnswer, ""},
		{"a network that wants a sign-in", false, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNetworkAuthenticationRequired) },
			nil, ReachAnswer, protocol.CodeNetworkSignIn},
		{"no such name", true, notFound, func(_ *testing.T, o *ReachOptions) { o.URL.Host = "a..b:443" }, ReachName, protocol.CodePortalDNS},
		{"nobody listens", true, notFound, func(_ *testing.T, o *ReachOptions) { o.URL.Host = nobodyListens }, ReachConnect, protocol.CodePortalUnreachable},
		{"another certificate", true, notFound, func(_ *testing.T, o *ReachOptions) { o.Certificates = nil }, ReachTLS, protocol.CodePortalCertificate},
		{"no TLS", true, notFound, func(t *testing.T, o *ReachOptions) {
			plain := httptest.NewServer(http.HandlerFunc(notFound))
			t.Cleanup(plain.Close)
			o.URL.Host = strings.TrimPrefix(plain.URL, "http://")
		}, ReachTLS, protocol.CodePortalTLS},
		{"a proxy that refuses", true, notFound, func(t *testing.T, o *ReachOptions) {
			proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusProxyAuthRequired) }))
			t.Cleanup(proxy.Close)
			o.Proxy, _ = url.Parse(proxy.URL)
		}, ReachTLS, protocol.CodeProxySignIn},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, options := reachable(t, c.portal, c.answer)
			if c.change != nil {
				c.change(t, &options)
			}
			got := Reach(t.Context(), options)
			for _, step := range reachSteps {
				seen, taken := got.Steps[step]
				if step == c.step {
					if !taken || seen.Code != c.code || seen.Detail == "" {
						t.Errorf("%s: %+v, want %q", step, seen, c.code)
					}
					break
				}
				if !taken || seen.Code != "" || seen.Detail == "" {
					t.Errorf("%s comes before: %+v", step, seen)
				}
			}
			if last := got.Steps[ReachAnswer]; c.step != ReachAnswer && last != (ReachedStep{}) {
				t.Errorf("it goes on: %+v", got.Steps)
			}
		})
	}
}

// nobodyListens is an address that no program gets that asks for a free one, as
// other tests do meanwhile.
const nobodyListens = "127.0.0.1:1"

// A server that takes the connection and says nothing costs no more than the
// limit, and the time of day comes along with an answer.
func TestTRG_17_ReachHasALimitAndTellsTheTime(t *testing.T) {
	t.Parallel()
	_, options := reachable(t, true, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", "Mon, 23 Nov 2026 08:00:00 GMT")
		notFound(w, r)
	})
	got := Reach(t.Context(), options)
	if want := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC); !got.ServerTime.Equal(want) || got.AskedAt.IsZero() {
		t.Errorf("%+v", got)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	options.URL = &url.URL{Scheme: "https", Host: silent.Addr().String()}
	limit := &limited{t.Context(), make(chan struct{})}
	go func() {
		defer close(limit.over)
		if connection, err := silent.Accept(); err == nil {
			t.Cleanup(func() { connection.Close() })
			_, _ = connection.Read(make([]byte, 1)) // then its side has connected, too
		}
	}()
	if step := Reach(limit, options).Steps[ReachTLS]; step.Code != protocol.CodePortalTimeout {
		t.Errorf("%+v", step)
	}
}

// limited is a context whose time is over when the test says so.
type limited struct {
	context.Context
	over chan struct{}
}

func (l *limited) Done() <-chan struct{} { return l.over }

func (l *limited) Err() error {
	select {
	case <-l.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// The agent's own transport carries the attempt: the lowest version of TLS is the
// same.
func TestTRG_17_ReachRefusesOldTLS(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(notFound))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	server.StartTLS()
	defer server.Close()
	location, _ := url.Parse(server.URL)
	got := Reach(t.Context(), ReachOptions{URL: location, Certificates: []*x509.Certificate{server.Certificate()}, Portal: true})
	if step := got.Steps[ReachTLS]; step.Code != protocol.CodePortalTLS {
		t.Errorf("%+v", got.Steps)
	}
}
