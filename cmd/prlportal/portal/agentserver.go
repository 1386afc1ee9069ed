package portal

import (
	"context"
	"os"
	"time"

	"github.com/rs/zerolog"

	"prlagent/cmd/prlportal/storage"
)

// deviceKeeper finds and keeps devices.
type deviceKeeper interface {
	Device(ctx context.Context, key storage.Key) (storage.Device, error)
	Save(ctx context.Context, change storage.Change) error
}

// reportReader reads what devices reported.
type reportReader interface {
	Report(ctx context.Context, deviceID string) (storage.Report, error)
	History(ctx context.Context, deviceID string) (storage.History, error)
}

// agentStore is what the agent plane needs of a storage implementation.
type agentStore interface {
	deviceKeeper
	reportReader
}

// agentServer answers the agents. Its methods are safe for concurrent use.
type agentServer struct {
	config  Config
	store   agentStore
	content *os.Root // heads and policies, read-only
	log     zerolog.Logger
	now     func() time.Time
	sources *limiter // enrollments per network address
	serials *limiter // enrollments per Mac
}

// maxLimited is how many addresses or Macs a limiter remembers.
const maxLimited = 20_000

func newAgentServer(config Config, store agentStore, content *os.Root, log zerolog.Logger, now func() time.Time) *agentServer {
	return &agentServer{
		config: config, store: store, content: content, log: log, now: now,
		sources: newLimiter(config.Enrollments.PerSource, time.Hour, maxLimited),
		serials: newLimiter(config.Enrollments.PerSerial, time.Hour, maxLimited),
	}
}

// routes are the requests of agents.
func (s *agentServer) routes() []route {
	return []route{
		{"POST /v1/enroll", s.enroll},
		{"POST /v1/checkin", s.checkin},
		{"GET /v1/content/heads/{file}", s.head},
		{"GET /v1/content/policies/{file}", s.policy},
	}
}
