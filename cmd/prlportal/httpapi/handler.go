// Package httpapi is what the portal's planes share of HTTP: bodies within
// bounds, problems as answers, JSON, and a log without secrets.
package httpapi

import (
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/limit"
	"prlagent/platform/text"
)

// SourceAddress is where the request came from, without the port.
func SourceAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// Handle answers a request, or gives what is wrong as a protocol.Problem.
type Handle func(http.ResponseWriter, *http.Request) error

// Route is one row of a table of endpoints.
type Route struct {
	Pattern string // of http.ServeMux
	Handle  Handle
}

// NewHandler answers the routes, and everything else with a problem.
func NewHandler(routes []Route, log zerolog.Logger, now func() time.Time) http.Handler {
	r := requestResponder{
		log: log, now: now,
		refused: limit.NewBuckets(refusedPerHour, time.Hour, refusedSources), noticed: limit.NewBuckets(1, time.Hour, refusedSources),
	}
	mux := http.NewServeMux()
	for _, known := range routes {
		mux.HandleFunc(known.Pattern, r.answerErrors(known.Handle))
	}
	mux.HandleFunc("/", r.answerErrors(func(http.ResponseWriter, *http.Request) error {
		return protocol.NewProblem(protocol.ProblemNotFound, "")
	}))
	return r.logRequests(mux)
}

// requestResponder turns errors into answers and tells the log of requests.
type requestResponder struct {
	log     zerolog.Logger
	now     func() time.Time
	refused *limit.Buckets // lines about those who prove nothing, per network
	noticed *limit.Buckets // and that there are more of them
}

// What anybody can make the log say, without a token, in an hour.
const (
	refusedPerHour = 600
	refusedSources = 10_000
)

// answerErrors turns the error of a handler into a problem. An error that is
// not a protocol.Problem is a failure of the portal, logged and not shown,
// unless the client has gone.
func (p requestResponder) answerErrors(handle Handle) http.HandlerFunc {
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

// statusRecorder remembers the status for the log.
type statusRecorder struct {
	http.ResponseWriter
	status int
	admin  string
}

func (r *statusRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// SetAdmin has the line of the request say which admin it came from.
func SetAdmin(w http.ResponseWriter, name string) {
	if recorded, is := w.(*statusRecorder); is {
		recorded.admin = name
	}
}

// Unwrap lets a handler set the deadlines of the connection.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// logRequests writes one line per request: its route and never its headers, query
// or body, which may hold secrets. Those that came too often are debug lines: who
// refused them says so, once.
func (p requestResponder) logRequests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := p.now()
		recorded := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(recorded, r)
		level := zerolog.InfoLevel
		if recorded.status == http.StatusTooManyRequests || recorded.admin == "" && p.isTooMuch(recorded.status, r) {
			level = zerolog.DebugLevel
		}
		line := p.log.WithLevel(level).Str("route", r.Pattern).Int("status", recorded.status).Str("source", SourceAddress(r))
		if recorded.admin != "" {
			line = line.Str("admin", recorded.admin)
		}
		line.Dur("ms", p.now().Sub(began)).Msg("request")
	})
}

// isTooMuch reports whether there were too many lines already about requests of
// this network that prove nothing: they must not fill the disk.
func (p requestResponder) isTooMuch(status int, r *http.Request) bool {
	if status != http.StatusUnauthorized && status != http.StatusNotFound {
		return false
	}
	network := limit.Network(SourceAddress(r))
	if _, allowed := p.refused.Take(network, p.now()); allowed {
		return false
	}
	if _, first := p.noticed.Take(network, p.now()); first {
		p.log.Warn().Str("source", SourceAddress(r)).Msg("too many requests without a valid token; further ones are debug lines")
	}
	return true
}

// WriteTimeout is how long an answer may take to be written, and each part of a
// stream.
const WriteTimeout = 60 * time.Second

// NewLog is the portal's log. Whatever a line of it has of Macs and of those
// who connect can neither steer a terminal nor fill the disk (H15).
func NewLog(out io.Writer, level zerolog.Level) zerolog.Logger {
	return zerolog.New(text.LogWriter{Out: out}).Level(level).With().Timestamp().Logger()
}
