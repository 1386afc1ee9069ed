package cmd_test

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// slowFront answers in the portal's place, with its certificate: each request
// waits before the portal gets it.
type slowFront struct {
	behind *reservedPort // where the portal itself listens
	server *http.Server
	ended  chan struct{}
	asked  chan struct{} // a request waits
}

// startSlowPortal starts the portal, which must be stopped, behind a front that
// holds each request for a while. The operator's commands reach it directly.
func startSlowPortal(ts *testscript.TestScript, delay time.Duration) {
	s := stageOf(ts)
	if s.portal == nil {
		ts.Fatalf("nobody knows the portal yet")
	}
	folder := filepath.Join(ts.Getenv("PORTAL"), "portal")
	certificate, err := tls.LoadX509KeyPair(filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key"))
	ts.Check(err)
	behind, err := reservePort()
	ts.Check(err)
	servePortal(ts, behind.address)
	target, err := url.Parse(ts.Getenv("PRLPORTAL_URL"))
	ts.Check(err)
	listener, err := net.Listen("tcp", s.portal.address)
	ts.Check(err)
	s.front = newSlowFront(target, delay, certificate)
	s.front.behind = behind
	go s.front.serve(listener)
}

func newSlowFront(target *url.URL, delay time.Duration, certificate tls.Certificate) *slowFront {
	quiet := log.New(io.Discard, "", 0)
	portal := httputil.NewSingleHostReverseProxy(target)
	portal.ErrorLog = quiet
	portal.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // on loopback, at a port that is ours
	front := &slowFront{ended: make(chan struct{}), asked: make(chan struct{}, 1)}
	front.server = &http.Server{
		ErrorLog: quiet, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case front.asked <- struct{}{}:
			default:
			}
			select {
			case <-time.After(delay):
				portal.ServeHTTP(w, r)
			case <-r.Context().Done():
			}
		}),
	}
	return front
}

func (f *slowFront) serve(listener net.Listener) {
	defer close(f.ended)
	_ = f.server.ServeTLS(listener, "", "")
}

// closeFront ends what is slow for the portal, and with it what waits there.
func (s *stage) closeFront() {
	if s.front == nil {
		return
	}
	_ = s.front.server.Close()
	<-s.front.ended
	s.front.behind.release()
	s.front = nil
}

// awaitAsked waits until a request waits.
func (f *slowFront) awaitAsked(ts *testscript.TestScript) {
	select {
	case <-f.asked:
	case <-time.After(readyLimit):
		ts.Fatalf("nobody has asked the portal")
	}
}
