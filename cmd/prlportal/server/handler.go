// Package server is the running portal: it joins the agent plane and the admin
// plane on one TLS listener, over one database and one folder of content.
//
// The portal holds no signing key: policies and commands are signed on the
// operator's machine (H31), and what the portal says is never authority.
package server

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/admins"
	"prlagent/cmd/prlportal/agentapi"
	"prlagent/cmd/prlportal/backup"
	"prlagent/cmd/prlportal/blobs"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/metrics"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/webhook"
)

// Parts are what the handler of a site works with.
type Parts struct {
	Config         site.Config
	Store          fleet.Store
	Queue          webhook.Queue // of the same database
	Admins         *admins.Book
	Source         backup.Source // the portal's folder
	Version        string        // of the program
	Record         adminapi.Recorder
	CertificateEnd func() time.Time // when the certificate that is shown expires
	RestoredAt     time.Time        // when the folder was made of a backup; zero: it never was
	Log            zerolog.Logger
	Now            func() time.Time
}

// Portal is a site that answers, and tells a receiver what happens.
type Portal struct {
	Handler http.Handler // of both planes, and of the questions of a load balancer
	Webhook *webhook.Sender
}

// New joins the parts.
func New(parts Parts) Portal {
	devices := fleet.New(parts.Store, fleet.MaxBytes)
	sender := webhook.New(webhook.Parts{
		Folder: parts.Source.Folder, Queue: parts.Queue, Fleet: devices, Freshness: parts.Config.Freshness(), Log: parts.Log, Now: parts.Now,
	})
	uploads := blobs.New(filepath.Join(parts.Source.Folder, site.BlobFolder))
	if err := uploads.Prune(parts.Now()); err != nil {
		parts.Log.Error().Err(err).Msg("old uploads were not removed")
	}
	measured := adminapi.Measured{Requests: metrics.NewRequests(), CertificateEnd: parts.CertificateEnd}
	handler := httpapi.NewHandler(measureAll(measured.Requests, parts.Now, joinRoutes(
		agentapi.New(parts.Config, devices, parts.Source.Content, sender, uploads, parts.RestoredAt, parts.Log, parts.Now),
		adminapi.New(adminapi.Parts{
			Config: parts.Config, Devices: devices, Admins: parts.Admins, Source: parts.Source, Version: parts.Version,
			Record: parts.Record, Measured: measured, Webhook: sender, Blobs: uploads, Log: parts.Log, Now: parts.Now,
		}),
		healthServer{store: devices, log: parts.Log},
	)), parts.Log, parts.Now)
	return Portal{handler, sender}
}

// plane is one part of what the portal answers.
type plane interface{ Routes() []httpapi.Route }

// joinRoutes are the requests of protocol.md 2.3 that this portal answers.
func joinRoutes(planes ...plane) []httpapi.Route {
	var all []httpapi.Route
	for _, part := range planes {
		all = append(all, part.Routes()...)
	}
	return all
}

// measureAll counts the requests of each route, by what they were answered with.
func measureAll(requests *metrics.Requests, now func() time.Time, routes []httpapi.Route) []httpapi.Route {
	measured := make([]httpapi.Route, len(routes))
	for i, route := range routes {
		measured[i] = httpapi.Route{Pattern: route.Pattern, Handle: func(w http.ResponseWriter, r *http.Request) error {
			began, result := now(), protocol.ProblemInternal // of one that panics
			defer func() { requests.Observe(route.Pattern, result, now().Sub(began)) }()
			err := route.Handle(w, r)
			result = resultOf(err)
			return err
		}}
	}
	return measured
}

// resultOf is the word of a metric for how a request ended.
func resultOf(err error) string {
	var problem protocol.Problem
	switch {
	case err == nil:
		return adminapi.ResultOK
	case errors.As(err, &problem):
		return problem.Name()
	}
	return protocol.ProblemInternal
}

// idLister lists devices.
type idLister interface {
	IDs(ctx context.Context, after string, limit int) ([]string, error)
}

// healthServer says whether the portal is alive, and whether it can work.
type healthServer struct {
	store idLister
	log   zerolog.Logger
}

// Routes are the requests of a load balancer.
func (s healthServer) Routes() []httpapi.Route {
	return []httpapi.Route{
		{Pattern: "GET /healthz", Handle: s.healthz},
		{Pattern: "GET /readyz", Handle: s.readyz},
	}
}

func (s healthServer) healthz(w http.ResponseWriter, r *http.Request) error {
	return httpapi.WriteJSON(w, r, http.StatusOK, map[string]string{"status": "ok"})
}

// readyz also asks the store.
func (s healthServer) readyz(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.store.IDs(r.Context(), "", 1); err != nil {
		s.log.Error().Err(err).Msg("store does not answer")
		return protocol.NewProblem(protocol.ProblemUnavailable, "The store does not answer.")
	}
	return s.healthz(w, r)
}
