package checkin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"

	"prlagent/agent/protocol"
)

// ReachOptions name a server and the way to it.
type ReachOptions struct {
	URL          *url.URL
	Certificates []*x509.Certificate // replace the system's roots where present
	Proxy        *url.URL            // nil = none
	// Portal says that the server must answer as a portal does; of another one any
	// answer will do.
	Portal bool
}

// Steps on the way to a server, in their order.
const (
	ReachName    = "name"    // its name, or the proxy's, has an address
	ReachConnect = "connect" // somebody listens there
	ReachTLS     = "tls"     // it has the right certificate
	ReachAnswer  = "answer"  // it answers
)

var reachSteps = []string{ReachName, ReachConnect, ReachTLS, ReachAnswer}

// Reached is how far an attempt came.
type Reached struct {
	Steps map[string]ReachedStep // those that were taken
	// ServerTime is the time of day by the answer; zero without one.
	ServerTime time.Time
	AskedAt    time.Time // by this Mac's clock, when the answer came
	ViaProxy   bool
}

// ReachedStep is one step that was taken.
type ReachedStep struct {
	Code   protocol.Code // why it failed; empty = it did not
	Detail string        // what was seen; no secret is in it
}

// Reach tries to reach a server as the agent does: over the same transport, by
// the same certificates and proxy, and with the same words for what is wrong. It
// asks without a token and follows no redirect. ctx bounds it.
func Reach(ctx context.Context, options ReachOptions) Reached {
	trace := &reachTrace{reached: Reached{Steps: make(map[string]ReachedStep), ViaProxy: options.Proxy != nil}}
	transport := newTransport(options.Certificates, options.Proxy)
	defer transport.CloseIdleConnections()
	client := newRetryClient(transport).HTTPClient
	target := options.URL
	if options.Portal {
		target = target.JoinPath("v1", "checkin")
	}
	request, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace.hooks()), http.MethodGet, target.String(), nil)
	if err != nil {
		return trace.failed(withCode(protocol.CodeInternal, errors.New("make request")))
	}
	response, err := client.Do(request)
	if err != nil {
		return trace.failed(networkError(err))
	}
	defer response.Body.Close()
	return trace.answered(response, options.Portal)
}

// reachTrace notes what net/http tells of its way. Its hooks may be called at the
// same time, and after the request has ended.
type reachTrace struct {
	mu      sync.Mutex
	reached Reached
	ended   bool
}

func (t *reachTrace) note(step string, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended {
		t.reached.Steps[step] = ReachedStep{Detail: fmt.Sprintf(format, args...)}
	}
}

func (t *reachTrace) hooks() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		DNSDone: func(info httptrace.DNSDoneInfo) {
			if info.Err == nil && len(info.Addrs) > 0 {
				t.note(ReachName, "it has the address %s", info.Addrs[0].String())
			}
		},
		ConnectStart: func(_, address string) {
			t.mu.Lock()
			defer t.mu.Unlock()
			if _, known := t.reached.Steps[ReachName]; !known && !t.ended {
				t.reached.Steps[ReachName] = ReachedStep{Detail: "it is the address " + address}
			}
		},
		ConnectDone: func(_, address string, err error) {
			if err == nil {
				t.note(ReachConnect, "%s takes connections", address)
			}
		},
		TLSHandshakeDone: func(state tls.ConnectionState, err error) {
			if err == nil && len(state.PeerCertificates) > 0 {
				certificate := state.PeerCertificates[0]
				t.note(ReachTLS, "%s, its certificate ends %s", tls.VersionName(state.Version), certificate.NotAfter.UTC().Format(time.DateOnly))
			}
		},
	}
}

// failed ends the attempt at the first step that was not taken.
func (t *reachTrace) failed(err error) Reached {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	failure := ReachedStep{Code: protocol.CodePortalUnreachable, Detail: err.Error()}
	var known *exchangeError
	if errors.As(err, &known) {
		failure = ReachedStep{Code: known.Code, Detail: protocol.CutText(known.Err.Error(), protocol.MaxText)}
	}
	for _, step := range reachSteps {
		if _, taken := t.reached.Steps[step]; !taken {
			t.reached.Steps[step] = failure
			break
		}
	}
	return t.reached
}

// answered ends the attempt with an answer, whatever it says.
func (t *reachTrace) answered(response *http.Response, portal bool) Reached {
	body, _ := readBody(response, maxProblemBody) // what it is shows in its beginning
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.reached.AskedAt = time.Now()
	t.reached.ServerTime, _ = http.ParseTime(response.Header.Get("Date"))
	t.reached.Steps[ReachAnswer] = judgeAnswer(&portalAnswer{status: response.StatusCode, header: response.Header, body: body}, portal)
	return t.reached
}

// judgeAnswer tells a portal from what may stand in its place. Whoever asks a
// portal without a token gets a problem of our own table.
func judgeAnswer(got *portalAnswer, portal bool) ReachedStep {
	status := fmt.Sprintf("status %d", got.status)
	if code := foreignStatus(got.status); code != "" && (portal || code == protocol.CodeNetworkSignIn || code == protocol.CodeProxySignIn) {
		return ReachedStep{code, status}
	}
	if !portal {
		return ReachedStep{Detail: status}
	}
	if problem, ours := protocol.ParseProblem(got.status, got.header.Get("Content-Type"), got.body); ours {
		return ReachedStep{Detail: "a portal, which asks for an identity (" + problem.Name() + ")"}
	}
	if errors.Is(got.checkMedia(), errWebPage) {
		return ReachedStep{protocol.CodePortalWebPage, status}
	}
	return ReachedStep{protocol.CodePortalOutage, "something that is not the portal answered with " + status}
}
