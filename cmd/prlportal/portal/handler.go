package portal

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
)

// handle answers a request, or gives what is wrong as a protocol.Problem.
type handle func(http.ResponseWriter, *http.Request) error

// route is one row of a table of endpoints.
type route struct {
	pattern string // of http.ServeMux
	handle  handle
}

// newHandler answers the routes, and everything else with a problem.
func newHandler(routes []route, log zerolog.Logger, now func() time.Time) http.Handler {
	r := responder{log: log, now: now}
	mux := http.NewServeMux()
	for _, known := range routes {
		mux.HandleFunc(known.pattern, r.answer(known.handle))
	}
	mux.HandleFunc("/", r.answer(func(http.ResponseWriter, *http.Request) error {
		return protocol.NewProblem(protocol.ProblemNotFound, "")
	}))
	return r.logged(mux)
}

// responder turns errors into answers and tells the log of requests.
type responder struct {
	log zerolog.Logger
	now func() time.Time
}

// answer turns the error of a handler into a problem. An error that is not a
// protocol.Problem is a failure of the portal, logged and not shown, unless
// the client has gone.
func (p responder) answer(handle handle) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if cause := recover(); cause != nil {
				p.log.Error().Str("route", r.Pattern).Interface("cause", cause).Msg("handler panicked")
				protocol.NewProblem(protocol.ProblemInternal, "").Write(w)
			}
		}()
		err := handle(w, r)
		if err == nil {
			return
		}
		var problem protocol.Problem
		if !errors.As(err, &problem) {
			level := zerolog.ErrorLevel
			if r.Context().Err() != nil {
				level = zerolog.DebugLevel
			}
			p.log.WithLevel(level).Str("route", r.Pattern).Err(err).Msg("request failed")
			problem = protocol.NewProblem(protocol.ProblemInternal, "")
		}
		writeProblem(w, problem)
	}
}

func writeProblem(w http.ResponseWriter, problem protocol.Problem) {
	if problem.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	problem.Write(w)
}

// recorder remembers the status for the log.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets a handler set the deadlines of the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// logged writes one line per request: its route and never its headers, query
// or body, which may hold secrets.
func (p responder) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := p.now()
		recorded := &recorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(recorded, r)
		p.log.Info().Str("route", r.Pattern).Int("status", recorded.status).
			Str("source", sourceAddress(r)).Dur("ms", p.now().Sub(began)).Msg("request")
	})
}

// bearerToken is the token of the Authorization header; empty if there is none.
func bearerToken(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return token
}

// worthCompressing is the size from which gzip saves a packet.
const worthCompressing = 1400

// writeJSON sends v, compressed if that pays and the client can read it.
func writeJSON(w http.ResponseWriter, r *http.Request, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	if len(body) >= worthCompressing && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		header.Set("Content-Encoding", "gzip")
		body = compress(body)
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that is gone is no failure of ours
	return nil
}

func compress(body []byte) []byte {
	var out bytes.Buffer
	writer := gzip.NewWriter(&out)
	_, _ = writer.Write(body) // a bytes.Buffer takes everything
	_ = writer.Close()
	return out.Bytes()
}
