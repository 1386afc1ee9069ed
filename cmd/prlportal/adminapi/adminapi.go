// Package adminapi is the admin plane: lists of devices and virtual machines,
// history, decisions, admins and backups, for those who have an admin's token. It
// holds the messages, the server and the operator's client.
package adminapi

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/admins"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/backup"
	"prlagent/cmd/prlportal/content"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/limit"
	"prlagent/cmd/prlportal/site"
)

// Server answers those who have an admin's token. Its methods are safe for
// concurrent use.
type Server struct {
	config   site.Config
	devices  *fleet.Fleet
	admins   *admins.Book
	source   backup.Source
	content  *content.Folder
	version  string
	record   Recorder
	measured Measured
	webhook  webhookSender
	blobs    blobReader
	tests    *limit.Buckets // of the webhook, of all admins together
	log      zerolog.Logger
	now      func() time.Time

	backingUp sync.Mutex
	deciding  sync.Mutex // of commands, from the line of the record until it is kept
}

// Parts are what a server works with.
type Parts struct {
	Config   site.Config
	Devices  *fleet.Fleet
	Admins   *admins.Book
	Source   backup.Source // the portal's folder
	Version  string        // of the program, for backups
	Record   Recorder
	Measured Measured
	Webhook  webhookSender
	Blobs    blobReader
	Log      zerolog.Logger
	Now      func() time.Time
}

// Recorder keeps what administrators decide.
type Recorder interface {
	Append(entry audit.Entry) error
	Mark() audit.Mark // of the newest line
	LinesOf(commandID string) ([]audit.Line, error)
}

// New makes the server of one site.
func New(parts Parts) *Server {
	return &Server{
		config: parts.Config, devices: parts.Devices, admins: parts.Admins, source: parts.Source, content: content.NewFolder(parts.Source.Content), version: parts.Version,
		record: parts.Record, measured: parts.Measured, webhook: parts.Webhook, blobs: parts.Blobs, tests: limit.NewBuckets(mostTests, time.Minute, 1),
		log: parts.Log, now: parts.Now,
	}
}

// endpoint is one row of the table of who may ask for what.
type endpoint struct {
	pattern string
	role    admins.Role
	handle  httpapi.Handle
}

// endpoints are the requests of admins, each with the least role that may make it.
func (s *Server) endpoints() []endpoint {
	return []endpoint{
		{"GET /v1/admin/devices", admins.Viewer, s.listDevices},
		{"GET /v1/admin/vms", admins.Viewer, s.listVMs},
		{"GET /v1/admin/devices/{id}/history", admins.Viewer, s.deviceHistory},
		{"GET /metrics", admins.Viewer, s.metrics},
		{"GET /v1/admin/events", admins.Viewer, s.listEvents},
		{"GET /v1/admin/devices/{id}", admins.Viewer, s.showDevice},
		{"GET /v1/admin/devices/{id}/events", admins.Viewer, s.listDeviceEvents},
		{"GET /v1/admin/devices/{id}/verdicts", admins.Viewer, s.showVerdicts},
		{"GET /v1/admin/journal/events", admins.Viewer, s.streamEvents},
		{"GET /v1/admin/journal/verdicts", admins.Viewer, s.streamVerdicts},
		{"GET /v1/admin/compliance", admins.Viewer, s.showCompliance},
		{"GET /v1/admin/licenses", admins.Viewer, s.showLicenses},
		{"GET /v1/admin/policies/status", admins.Viewer, s.showPolicyStatus},
		{"POST /v1/admin/policies/diff", admins.Operator, s.showDiff},
		{"GET /v1/admin/certificates", admins.Viewer, s.listCertificates},
		{"POST /v1/admin/devices/{id}/approve", admins.Approver, s.settle(audit.ActionApprove, s.approve)},
		{"POST /v1/admin/devices/{id}/reject", admins.Approver, s.settle(audit.ActionReject, s.reject)},
		{"POST /v1/admin/devices/{id}/retire", admins.Approver, s.settle(audit.ActionRetire, s.retire)},
		{"GET /v1/admin/admins", admins.Approver, s.listAdmins},
		{"POST /v1/admin/admins", admins.Approver, s.addAdmin},
		{"POST /v1/admin/admins/{name}/revoke", admins.Approver, s.revokeAdmin},
		{"GET /v1/admin/backup", admins.Approver, s.sendBackup},
		{"POST /v1/admin/devices/{id}/confirm", admins.Approver, s.settle(audit.ActionConfirm, s.confirm)},
		{"GET /v1/admin/devices/{id}/holds", admins.Viewer, s.showHolds},
		{"GET /v1/admin/commands", admins.Viewer, s.listCommands},
		{"POST /v1/admin/commands", admins.Operator, s.issueCommand},
		{"GET /v1/admin/commands/{id}", admins.Viewer, s.showCommand},
		{"GET /v1/admin/commands/{id}/evidence", admins.Operator, s.showEvidence},
		{"GET /v1/admin/commands/{id}/blob", admins.Operator, s.sendBlob},
		{"POST /v1/admin/commands/{id}/approve", admins.Approver, s.approveCommand},
		{"POST /v1/admin/commands/{id}/cancel", admins.Operator, s.cancelCommand},
		{"POST /v1/admin/commands/{id}/confirm", admins.Approver, s.confirmCommand},
		{"GET /v1/admin/command-keys", admins.Viewer, s.showCommandKeys},
		{"POST /v1/admin/command-keys", admins.Approver, s.setCommandKeys},
		{"GET /v1/admin/webhook", admins.Viewer, s.showWebhook},
		{"POST /v1/admin/webhook/test", admins.Operator, s.testWebhook},
		{"GET /v1/admin/content", admins.Viewer, s.listContent},
		{"POST /v1/admin/content", admins.Operator, s.addContent},
	}
}

// Routes are the requests of admins. Nobody can forget to protect one: they all
// pass through require, with the role of their row.
func (s *Server) Routes() []httpapi.Route {
	var routes []httpapi.Route
	for _, row := range s.endpoints() {
		routes = append(routes, httpapi.Route{Pattern: row.pattern, Handle: s.require(row.role, row.handle)})
	}
	return routes
}

// require lets in who has a token with at least that role, and no other.
func (s *Server) require(role admins.Role, handle httpapi.Handle) httpapi.Handle {
	return func(w http.ResponseWriter, r *http.Request) error {
		who, known := s.admins.Find(httpapi.BearerToken(r))
		if !known {
			return protocol.NewProblem(protocol.ProblemUnauthenticated, "")
		}
		httpapi.SetAdmin(w, who.Name)
		if !who.Role.Includes(role) {
			return protocol.NewProblem(protocol.ProblemNotAllowed, "This needs the role "+string(role)+"; "+who.Name+" is "+string(who.Role)+".")
		}
		return handle(w, r.WithContext(context.WithValue(r.Context(), adminKey{}, who)))
	}
}

type adminKey struct{}

// adminOf is who makes the request.
func adminOf(r *http.Request) admins.Admin {
	who, _ := r.Context().Value(adminKey{}).(admins.Admin)
	return who
}
