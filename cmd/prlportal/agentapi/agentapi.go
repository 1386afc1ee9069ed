// Package agentapi answers the agents: enrollment, check-in and signed content,
// as package protocol has them.
//
// A request is decided by a function over the device's record and kept in one
// commit of package storage.
package agentapi

import (
	"context"
	"hash/fnv"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/limit"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
)

// deviceKeeper finds and keeps devices.
type deviceKeeper interface {
	Device(ctx context.Context, key storage.Key) (storage.Device, error)
	ID(ctx context.Context, key storage.Key) (string, error)
	LiveIDs(ctx context.Context, serial string, limit int) ([]string, error)
	Save(ctx context.Context, change storage.Change) error
}

// reportReader reads what devices reported.
type reportReader interface {
	Report(ctx context.Context, deviceID string) (storage.Report, error)
	History(ctx context.Context, deviceID string) (storage.History, error)
	Events(ctx context.Context, deviceID string) (storage.EventLog, error)
	Verdicts(ctx context.Context, deviceID string) (storage.Verdicts, error)
}

// commandReader reads the commands of devices.
type commandReader interface {
	Commands(ctx context.Context, deviceID string) (storage.CommandLog, error)
	CommandEnvelopes(ctx context.Context, deviceID, commandID string) (storage.CommandEnvelopes, error)
	CommandDevice(ctx context.Context, commandID string) (deviceID string, err error)
}

// Store is what the agent plane needs of a storage implementation.
type Store interface {
	deviceKeeper
	reportReader
	commandReader
}

// announcer makes the messages of a webhook of what happens on Macs.
type announcer interface {
	Tells(event protocol.Event) bool
	Messages(device storage.Device, computerName string, events []storage.KeptEvent) ([]storage.Outgoing, error)
	TellCommands(ctx context.Context, change *storage.Change) error
	Wake() // there may be a new one
}

// Server answers the agents. Its methods are safe for concurrent use.
type Server struct {
	config  site.Config
	store   Store
	content *os.Root // heads and policies, read-only
	webhook announcer
	blobs   blobKeeper
	log     zerolog.Logger
	now     func() time.Time
	// restoredAt is when the portal was put back to an older state; zero: never.
	restoredAt time.Time

	sourceBuckets   *limit.Buckets // enrollments per network
	serialBuckets   *limit.Buckets // enrollments per Mac
	unprovenBuckets *limit.Buckets // per network, enrollments that prove neither a key nor the secret
	enrollTurns     limit.Turns    // to read and verify an enrollment
	deviceBuckets   *limit.Buckets // check-ins per device
	deviceSlots     *limit.Slots   // check-ins per device that are under way
	decodeTurns     limit.Turns    // to unpack and decode a check-in
	noticeBuckets   *limit.Buckets // lines of the log about a device that asks too often
	deviceUploads   *limit.Slots   // uploads per device that are under way
	allUploads      *limit.Slots   // of all devices
	uploadBuckets   *limit.Buckets // uploads per device
	serialLocks     serialLocks
}

// serialLocks let one enrollment of a serial number be decided at a time: two that
// find it unknown would make two devices of it (H57).
type serialLocks [64]sync.Mutex

func (l *serialLocks) of(serial string) *sync.Mutex {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(strings.ToUpper(serial)))
	return &l[sum.Sum32()%uint32(len(l))]
}

// maxLimited is how many networks, Macs or devices are remembered that asked.
const maxLimited = 20_000

// New makes the server of one site; content is its folder of heads and policies, and
// restoredAt is when it was put back to an older state, zero if it never was.
func New(config site.Config, store Store, content *os.Root, webhook announcer, blobs blobKeeper, restoredAt time.Time, log zerolog.Logger, now func() time.Time) *Server {
	perHour := func(burst int) *limit.Buckets { return limit.NewBuckets(burst, time.Hour, maxLimited) }
	return &Server{
		config: config, store: store, content: content, webhook: webhook, blobs: blobs, restoredAt: restoredAt, log: log, now: now,
		sourceBuckets:   perHour(config.Enrollments.PerSource),
		serialBuckets:   perHour(config.Enrollments.PerSerial),
		unprovenBuckets: perHour(config.Enrollments.PerSource),
		enrollTurns:     limit.NewTurns(runtime.GOMAXPROCS(0)),
		deviceBuckets:   perHour(config.CheckinsPerHour()),
		deviceSlots:     limit.NewSlots(checkinsUnderWay),
		decodeTurns:     limit.NewTurns(runtime.GOMAXPROCS(0)),
		noticeBuckets:   perHour(1),
		deviceUploads:   limit.NewSlots(1),
		allUploads:      limit.NewSlots(uploadsAtATime),
		uploadBuckets:   perHour(uploadsPerHour),
	}
}

// Routes are the requests of agents.
func (s *Server) Routes() []httpapi.Route {
	return []httpapi.Route{
		{Pattern: "POST /v1/enroll", Handle: s.handleEnroll},
		{Pattern: "POST /v1/checkin", Handle: s.handleCheckin},
		{Pattern: "PUT /v1/blobs/{sha256}", Handle: s.takeBlob},
		{Pattern: "GET /v1/content/heads/{file}", Handle: s.serveHead},
		{Pattern: "GET /v1/content/policies/{file}", Handle: s.servePolicy},
	}
}
