// Package adminapi is the admin plane: lists of devices and virtual machines,
// history and approvals, for those who have the admin token. It holds the
// messages, the server and the operator's client.
package adminapi

import (
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/site"
)

// Server answers those who have the admin token. Its methods are safe for
// concurrent use.
type Server struct {
	config   site.Config
	devices  *fleet.Fleet
	record   Recorder
	measured Measured
	log      zerolog.Logger
	now      func() time.Time
}

// Recorder keeps what administrators decide.
type Recorder interface{ Append(entry audit.Entry) error }

// New makes the server of one site.
func New(config site.Config, devices *fleet.Fleet, record Recorder, measured Measured, log zerolog.Logger, now func() time.Time) *Server {
	return &Server{config: config, devices: devices, record: record, measured: measured, log: log, now: now}
}

// Routes are the requests of admins. Nobody can forget to protect one: they all
// pass through requireAdmin.
func (s *Server) Routes() []httpapi.Route {
	return s.requireAdmin([]httpapi.Route{
		{Pattern: "GET /v1/admin/devices", Handle: s.listDevices},
		{Pattern: "GET /v1/admin/vms", Handle: s.listVMs},
		{Pattern: "GET /metrics", Handle: s.metrics},
		{Pattern: "GET /v1/admin/events", Handle: s.listEvents},
		{Pattern: "GET /v1/admin/devices/{id}", Handle: s.showDevice},
		{Pattern: "GET /v1/admin/devices/{id}/events", Handle: s.listDeviceEvents},
		{Pattern: "GET /v1/admin/devices/{id}/history", Handle: s.deviceHistory},
		{Pattern: "POST /v1/admin/devices/{id}/approve", Handle: s.settle(audit.ActionApprove, s.approve)},
		{Pattern: "POST /v1/admin/devices/{id}/reject", Handle: s.settle(audit.ActionReject, s.reject)},
		{Pattern: "POST /v1/admin/devices/{id}/retire", Handle: s.settle(audit.ActionRetire, s.retire)},
	})
}

// requireAdmin lets only the admin token in.
func (s *Server) requireAdmin(routes []httpapi.Route) []httpapi.Route {
	protected := make([]httpapi.Route, 0, len(routes))
	for _, open := range routes {
		protected = append(protected, httpapi.Route{Pattern: open.Pattern, Handle: func(w http.ResponseWriter, r *http.Request) error {
			if !s.config.AcceptAdmin(httpapi.BearerToken(r)) {
				return protocol.NewProblem(protocol.ProblemUnauthenticated, "")
			}
			return open.Handle(w, r)
		}})
	}
	return protected
}
