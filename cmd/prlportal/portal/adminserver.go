package portal

import (
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
)

// adminServer answers those who have the admin token. Its methods are safe for
// concurrent use.
type adminServer struct {
	config Config
	fleet  *fleet
	log    zerolog.Logger
	now    func() time.Time
}

func newAdminServer(config Config, fleet *fleet, log zerolog.Logger, now func() time.Time) *adminServer {
	return &adminServer{config: config, fleet: fleet, log: log, now: now}
}

// routes are the requests of admins. Nobody can forget to protect one: they all
// pass through protect.
func (s *adminServer) routes() []route {
	return s.protect([]route{
		{"GET /v1/admin/devices", s.listDevices},
		{"GET /v1/admin/vms", s.listVMs},
		{"GET /v1/admin/devices/{id}/history", s.deviceHistory},
		{"POST /v1/admin/devices/{id}/approve", s.approve},
	})
}

// protect lets only the admin token in.
func (s *adminServer) protect(routes []route) []route {
	protected := make([]route, 0, len(routes))
	for _, open := range routes {
		protected = append(protected, route{open.pattern, func(w http.ResponseWriter, r *http.Request) error {
			if !s.config.acceptAdmin(bearerToken(r)) {
				return protocol.NewProblem(protocol.ProblemUnauthenticated, "")
			}
			return open.handle(w, r)
		}})
	}
	return protected
}
