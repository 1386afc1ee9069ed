package portal

import (
	"context"
	"net/http"
	"os"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
)

// newServer answers both planes and the questions of a load balancer.
func newServer(config Config, store store, content *os.Root, log zerolog.Logger, now func() time.Time) http.Handler {
	fleet := newFleet(store, maxFleetBytes)
	return newHandler(routes(
		newAgentServer(config, fleet, content, log, now),
		newAdminServer(config, fleet, log, now),
		healthServer{store: fleet, log: log},
	), log, now)
}

// plane is one part of what the portal answers.
type plane interface{ routes() []route }

// routes are the requests of protocol.md 2.3 that this portal answers.
func routes(planes ...plane) []route {
	var all []route
	for _, part := range planes {
		all = append(all, part.routes()...)
	}
	return all
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

func (s healthServer) routes() []route {
	return []route{
		{"GET /healthz", s.healthz},
		{"GET /readyz", s.readyz},
	}
}

func (s healthServer) healthz(w http.ResponseWriter, r *http.Request) error {
	return writeJSON(w, r, http.StatusOK, map[string]string{"status": "ok"})
}

// readyz also asks the store.
func (s healthServer) readyz(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.store.IDs(r.Context(), "", 1); err != nil {
		s.log.Error().Err(err).Msg("store does not answer")
		return protocol.NewProblem(protocol.ProblemUnavailable, "The store does not answer.")
	}
	return s.healthz(w, r)
}
