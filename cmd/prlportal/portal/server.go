package portal

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/portal/storage"
)

// deviceStore finds and keeps devices.
type deviceStore interface {
	Device(ctx context.Context, key storage.Key) (storage.Device, error)
	IDs(ctx context.Context, after string, limit int) ([]string, error)
	Save(ctx context.Context, change storage.Change) error
}

// reportStore reads what devices reported.
type reportStore interface {
	Report(ctx context.Context, deviceID string) (storage.Report, error)
	History(ctx context.Context, deviceID string) (storage.History, error)
}

// store is everything that the server needs of a storage implementation.
type store interface {
	deviceStore
	reportStore
}

// server answers both planes. Its methods are safe for concurrent use.
type server struct {
	config  Config
	store   store
	fleet   *fleet   // the same store, for reading tables
	content *os.Root // heads and policies, read-only
	log     zerolog.Logger
	now     func() time.Time
	sources *limiter // enrollments per network address
	serials *limiter // enrollments per Mac
}

// maxLimited is how many addresses or Macs a limiter remembers.
const maxLimited = 20_000

func newServer(config Config, store store, content *os.Root, log zerolog.Logger, now func() time.Time) *server {
	fleet := newFleet(store, maxFleetBytes)
	return &server{
		config: config, store: fleet, fleet: fleet, content: content, log: log, now: now,
		sources: newLimiter(config.Enrollments.PerSource, time.Hour, maxLimited),
		serials: newLimiter(config.Enrollments.PerSerial, time.Hour, maxLimited),
	}
}

// route is one row of the table of endpoints.
type route struct {
	pattern string // of http.ServeMux
	handle  func(http.ResponseWriter, *http.Request) error
}

// routes are the requests of protocol.md 2.3 that this portal answers.
func (s *server) routes() []route {
	return []route{
		{"POST /v1/enroll", s.enroll},
		{"POST /v1/checkin", s.checkin},
		{"GET /v1/content/heads/{file}", s.head},
		{"GET /v1/content/policies/{file}", s.policy},
		{"GET /v1/admin/devices", s.listDevices},
		{"GET /v1/admin/vms", s.listVMs},
		{"GET /v1/admin/devices/{id}/history", s.deviceHistory},
		{"POST /v1/admin/devices/{id}/approve", s.approve},
		{"GET /healthz", s.healthz},
		{"GET /readyz", s.readyz},
	}
}

// adminPlane begins the path of every route that asks for the admin token.
const adminPlane = "/v1/admin/"

// handler answers the routes. Nobody can forget to protect one: the path alone
// decides it.
func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	for _, route := range s.routes() {
		handle := route.handle
		if _, path, _ := strings.Cut(route.pattern, " "); strings.HasPrefix(path, adminPlane) {
			handle = s.admin(handle)
		}
		mux.HandleFunc(route.pattern, s.answer(handle))
	}
	mux.HandleFunc("/", s.answer(func(http.ResponseWriter, *http.Request) error {
		return protocol.NewProblem(protocol.ProblemNotFound, "")
	}))
	return s.logged(mux)
}

// answer turns the error of a handler into a problem. An error that is not a
// protocol.Problem is a failure of the portal, logged and not shown, unless
// the client has gone.
func (s *server) answer(handle func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if cause := recover(); cause != nil {
				s.log.Error().Str("route", r.Pattern).Interface("cause", cause).Msg("handler panicked")
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
			s.log.WithLevel(level).Str("route", r.Pattern).Err(err).Msg("request failed")
			problem = protocol.NewProblem(protocol.ProblemInternal, "")
		}
		writeProblem(w, problem)
	}
}

// retryAfterHeader says in how many seconds a client may ask again.
const retryAfterHeader = "Retry-After"

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
func (s *server) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := s.now()
		recorded := &recorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(recorded, r)
		s.log.Info().Str("route", r.Pattern).Int("status", recorded.status).
			Str("source", sourceAddress(r)).Dur("ms", s.now().Sub(began)).Msg("request")
	})
}

func (s *server) healthz(w http.ResponseWriter, r *http.Request) error {
	return writeJSON(w, r, http.StatusOK, map[string]string{"status": "ok"})
}

// readyz also asks the store.
func (s *server) readyz(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.store.IDs(r.Context(), "", 1); err != nil {
		s.log.Error().Err(err).Msg("store does not answer")
		return protocol.NewProblem(protocol.ProblemUnavailable, "The store does not answer.")
	}
	return s.healthz(w, r)
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
