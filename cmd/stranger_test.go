package cmd_test

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// strangers are what may answer in the portal's place, with its certificate.
var strangers = map[string]http.HandlerFunc{
	"page": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<html><body>Please accept the terms of this network.")
	},
	"redirect": func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://sign-in.example/?from="+r.Header.Get("Authorization"), http.StatusFound)
	},
	"refusal": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "blocked by policy", http.StatusForbidden) },
	"gone":    func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "gone", http.StatusGone) },
}

// meetStranger runs a command while something else listens where the portal,
// which must be stopped, was.
func meetStranger(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || strangers[args[0]] == nil {
		ts.Fatalf("usage: stranger page|redirect|refusal|gone CODE COMMAND…")
	}
	folder := filepath.Join(ts.Getenv("PORTAL"), "portal")
	certificate, err := tls.LoadX509KeyPair(filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key"))
	ts.Check(err)
	listener, err := net.Listen("tcp", strings.TrimPrefix(ts.Getenv("PRLPORTAL_URL"), "https://"))
	ts.Check(err)
	server := &http.Server{
		Handler: strangers[args[0]], ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}},
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.ServeTLS(listener, "", "")
	}()
	defer func() {
		_ = server.Close()
		<-ended
	}()
	expectExit(ts, false, args[1:])
}
