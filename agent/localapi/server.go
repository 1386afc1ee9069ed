package localapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/platform/text"
)

// Agent is what the server asks of the daemon. Its answers are whole: the
// server takes away what the asker may not see, and keeps nothing.
type Agent interface {
	Status() *Status
	Inventory() *Inventory
	// Checkin asks for a check-in now; with wait it returns when that pass has
	// ended or ctx is done, else at once.
	Checkin(ctx context.Context, wait bool) CheckinResult
}

// EventSource is the ring of events.
type EventSource interface {
	// EventsSince gives the oldest events after seq, at most limit, and the
	// number to go on with: that of the last event given, else seq.
	EventsSince(seq uint64, limit int) (events []protocol.Event, next uint64, err error)
	// EventsChanged is closed as soon as there is an event after seq.
	EventsChanged(seq uint64) <-chan struct{}
}

// Options are what a server needs.
type Options struct {
	Agent     Agent
	Events    EventSource
	Policy    PolicySource
	Hands     Hands
	Commands  CommandSource    // nil = there are none
	Reports   ReportSource     // nil = nothing is reported
	Placed    PlacedSource     // nil = there is no such question
	Authorize func(Peer) Actor // called once per connection, before its first answer
	Log       zerolog.Logger
}

const (
	maxBody      = 4 << 10 // bytes of a request's body
	maxEventPage = protocol.MaxEvents
	stopTimeout  = 2 * time.Second
)

// Serve answers at the listener (see Listen) until ctx is done, then ends
// follows and waits, closes the listener and every connection, and returns
// nil. Any other end is an error.
func Serve(ctx context.Context, listener net.Listener, options Options) error {
	return serveConnections(ctx, newPeerListener(listener, 0, uint32(os.Geteuid())), options)
}

func serveConnections(ctx context.Context, entrance *peerListener, options Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{
		Handler:           &apiHandler{options},
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          log.New(debugWriter{options.Log}, "", 0),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, connection net.Conn) context.Context {
			return context.WithValue(ctx, peerSessionKey{}, newPeerSession(connection, options.Authorize))
		},
	}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		stopped <- stopServer(server)
	}()
	err := server.Serve(entrance)
	cancel()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, <-stopped)
}

// stopServer lets answers that are on their way out finish.
func stopServer(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return server.Close()
	}
	return nil
}

// debugWriter takes what net/http has to say, which any user can provoke.
type debugWriter struct{ log zerolog.Logger }

func (w debugWriter) Write(line []byte) (int, error) {
	w.log.Debug().Str("server", string(bytes.TrimSpace(line))).Msg("local connection")
	return len(line), nil
}

// peerSession is one connection. The directory is asked outside the accept loop,
// because it may be slow.
type peerSession struct {
	overLimit bool
	peer      Peer
	wait      time.Duration // see peerConn
	rate      *rateLimiter
	actor     func() Actor
}

type peerSessionKey struct{}

func newPeerSession(connection net.Conn, authorize func(Peer) Actor) peerSession {
	known, ok := connection.(*peerConn)
	if !ok {
		return peerSession{overLimit: true, actor: func() Actor { return Actor{} }}
	}
	return peerSession{
		overLimit: known.overLimit, peer: known.peer, wait: known.wait, rate: known.rate,
		actor: sync.OnceValue(func() Actor { return authorize(known.peer) }),
	}
}

// mayAsk counts a request in. If its user asks too often, wait is the time until
// the next one gets an answer.
func (s peerSession) mayAsk() (wait time.Duration, ok bool) {
	if s.wait > 0 {
		return s.wait, false
	}
	return s.rate.take(s.peer.UID)
}

// apiHandler is the API: one row of endpoints per thing to ask.
type apiHandler struct{ options Options }

type apiEndpoint struct {
	path   string
	method string
	admin  bool // refused for everyone else
	named  bool // refused where the directory does not say who asks
	serve  func(*apiHandler, http.ResponseWriter, *http.Request, Actor)
}

var apiEndpoints = []apiEndpoint{
	{"/v1/status", http.MethodGet, false, false, (*apiHandler).serveStatus},
	{"/v1/vms", http.MethodGet, false, true, (*apiHandler).serveInventory},
	{"/v1/policy", http.MethodGet, false, true, (*apiHandler).servePolicy},
	{"/v1/commands", http.MethodGet, false, true, (*apiHandler).serveCommands},
	{"/v1/events", http.MethodGet, false, true, (*apiHandler).serveEvents},
	{"/v1/checkin", http.MethodPost, true, true, (*apiHandler).serveCheckin},
	{"/v1/byhand", http.MethodPost, true, true, (*apiHandler).serveByHand},
	{"/v1/passwd", http.MethodPost, true, true, (*apiHandler).serveGuestPassword},
	{"/v1/report", http.MethodGet, true, true, (*apiHandler).serveSentReport},
	{"/v1/placed", http.MethodGet, true, true, (*apiHandler).servePlaced},
}

// endpointAt is nil where there is nothing at a path.
func endpointAt(path string) *apiEndpoint {
	for i := range apiEndpoints {
		if apiEndpoints[i].path == path {
			return &apiEndpoints[i]
		}
	}
	return nil
}

// ServeHTTP finds the endpoint and decides whether the actor may use it.
func (h *apiHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	caller, ok := r.Context().Value(peerSessionKey{}).(peerSession)
	if !ok || caller.overLimit {
		w.Header().Set("Connection", "close")
		h.writeRefusal(w, http.StatusTooManyRequests, protocol.CodeTooManyRequests, "You have too many open connections.")
		return
	}
	if wait, ok := caller.mayAsk(); !ok {
		h.refuseForNow(w, wait)
		return
	}
	w = &countedWriter{ResponseWriter: w, charge: func(units int) { caller.rate.charge(caller.peer.UID, units) }}
	found := endpointAt(r.URL.Path)
	if found == nil {
		h.writeRefusal(w, http.StatusNotFound, protocol.CodeBadRequest, "There is nothing at this path.")
		return
	}
	if r.Method != found.method {
		w.Header().Set("Allow", found.method)
		h.writeRefusal(w, http.StatusMethodNotAllowed, protocol.CodeBadRequest, "This path takes "+found.method+" only.")
		return
	}
	actor := caller.actor()
	if found.named && actor.Unresolved {
		h.writeRefusal(w, http.StatusServiceUnavailable, protocol.CodeDirectorySilent, "")
		return
	}
	if found.admin && !actor.Admin {
		// Not louder: any user could flood the log with it.
		h.options.Log.Debug().Str("user", text.Display(actor.Name)).Str("path", r.URL.Path).Msg("refused a local request")
		h.writeRefusal(w, http.StatusForbidden, protocol.CodeNotAllowed, "")
		return
	}
	found.serve(h, w, r, actor)
}

func (h *apiHandler) serveStatus(w http.ResponseWriter, _ *http.Request, actor Actor) {
	h.writeAnswer(w, http.StatusOK, statusFor(actor, h.options.Agent.Status()))
}

func (h *apiHandler) serveInventory(w http.ResponseWriter, _ *http.Request, actor Actor) {
	h.writeAnswer(w, http.StatusOK, inventoryFor(actor, h.options.Agent.Inventory()))
}

func (h *apiHandler) serveCheckin(w http.ResponseWriter, r *http.Request, _ Actor) {
	var request checkinRequest
	body, err := protocol.ReadLimited(r.Body, maxBody)
	if err == nil && len(body) > 0 {
		err = protocol.Decode(body, maxBody, &request)
	}
	if err != nil {
		h.writeRefusal(w, http.StatusBadRequest, protocol.CodeBadRequest, fmt.Sprintf("The body is not a check-in request: %v.", err))
		return
	}
	if err := stayOpen(w); err != nil {
		return
	}
	h.writeAnswer(w, http.StatusOK, h.options.Agent.Checkin(r.Context(), request.Wait))
}

func (h *apiHandler) serveEvents(w http.ResponseWriter, r *http.Request, actor Actor) {
	query := r.URL.Query()
	since, err := parseSequence(query.Get("since"))
	if err != nil {
		h.writeRefusal(w, http.StatusBadRequest, protocol.CodeBadRequest, "since is not a number.")
		return
	}
	if query.Get("follow") == "1" {
		h.followEvents(w, r, actor, since)
		return
	}
	events, next, err := h.options.Events.EventsSince(since, maxEventPage)
	if err != nil {
		h.writeFailure(w, err)
		return
	}
	h.writeAnswer(w, http.StatusOK, EventList{Schema: Schema, Events: eventsFor(actor, events), Next: next})
}

// followEvents writes each event as one line of JSON until the client leaves or
// the server stops. A client that does not read is dropped after writeTimeout.
func (h *apiHandler) followEvents(w http.ResponseWriter, r *http.Request, actor Actor, since uint64) {
	if err := stayOpen(w); err != nil {
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	control := http.NewResponseController(w)
	for {
		events, next, err := h.options.Events.EventsSince(since, maxEventPage)
		if err != nil {
			h.options.Log.Error().Err(err).Msg("read events for a local follower")
			return
		}
		if writeLines(w, control, eventsFor(actor, events)) != nil {
			return
		}
		if next > since {
			since = next
			continue
		}
		select {
		case <-r.Context().Done():
			return
		case <-h.options.Events.EventsChanged(since):
		}
	}
}

// stayOpen lifts the time limit for reading a request, which net/http would
// otherwise take for the client's leaving while a long answer is on its way.
func stayOpen(w http.ResponseWriter) error {
	return http.NewResponseController(w).SetReadDeadline(time.Time{})
}

// writeLines also flushes when there is nothing to say, so that the client
// knows at once that it was let in.
func writeLines(w io.Writer, control *http.ResponseController, events []protocol.Event) error {
	if err := control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	encoder := json.NewEncoder(w)
	for _, event := range events {
		if err := encoder.Encode(event); err != nil {
			return err
		}
	}
	return control.Flush()
}

func parseSequence(text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	return strconv.ParseUint(text, 10, 64)
}

// writeFailure answers for a defect or a trouble of the daemon; the cause is
// for the log.
func (h *apiHandler) writeFailure(w http.ResponseWriter, err error) {
	h.options.Log.Error().Err(err).Msg("local request failed")
	h.writeRefusal(w, http.StatusInternalServerError, protocol.CodeInternal, "")
}

// writeRefusal answers with the code's words, or with text where it says more.
func (h *apiHandler) writeRefusal(w http.ResponseWriter, status int, code protocol.Code, text string) {
	words := code.Text()
	if text == "" {
		text = words.Text
	}
	h.writeAnswer(w, status, ErrorBody{Code: code, Text: text, Remedy: words.Remedy})
}

// refuseForNow tells a user who asks too often when to ask again.
func (h *apiHandler) refuseForNow(w http.ResponseWriter, wait time.Duration) {
	seconds := int(math.Ceil(wait.Seconds()))
	w.Header().Set("Connection", "close")
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
	h.writeAnswer(w, http.StatusTooManyRequests, ErrorBody{
		Code: protocol.CodeTooManyRequests, Text: "You ask prlagentd too often.",
		Remedy: fmt.Sprintf("Ask again in %d s; root is not held up.", seconds), RetryAfterS: seconds,
	})
}

// countedWriter charges for each answerUnit of an answer.
type countedWriter struct {
	http.ResponseWriter
	charge func(units int)
	sent   int // bytes
}

// Write writes a part of the answer.
func (w *countedWriter) Write(part []byte) (int, error) {
	before := w.sent
	w.sent += len(part)
	w.charge(w.sent/answerUnit - before/answerUnit)
	return w.ResponseWriter.Write(part)
}

// Unwrap is for http.ResponseController.
func (w *countedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (h *apiHandler) writeAnswer(w http.ResponseWriter, status int, document any) {
	data, err := json.Marshal(document)
	if err != nil {
		h.options.Log.Error().Err(err).Msg("encode local answer")
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)+1))
	w.WriteHeader(status)
	if _, err := w.Write(append(data, '\n')); err != nil {
		h.options.Log.Debug().Err(err).Msg("local client left")
	}
}
