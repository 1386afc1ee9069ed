// Package inventory looks at the Mac and says what is there: every virtual
// machine of every user with all that was observed of it, the product and the
// host; and the rows of the guide's table (protocol.md 5.1), with a reason for
// every cell that is empty.
//
// A look starts nothing and changes nothing. It runs one list per user, and
// one query more for each virtual machine that is new or whose configuration
// changed: the bulk list leaves the bundle's path out (facts/prlctl.md 2.1),
// so it is remembered. A user who cannot be listed keeps the last known rows,
// marked stale with the reason.
package inventory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/lane"
	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
	"prlagent/store"
)

// Mac says who uses the Mac and what it is.
type Mac interface {
	Users(context.Context) ([]platform.User, error)
	Console(context.Context) (platform.Console, error)
	Host(context.Context) (platform.Host, error)
}

// Files looks at what is under a user's control, as that user (H11). What it
// sees is the user's word.
type Files interface {
	// LookAtFiles answers each question, in order.
	LookAtFiles(context.Context, platform.User, []platform.FileQuestion) ([]platform.FileAnswer, error)
	// UIDOnDisk is who owns the user's files and processes on this machine.
	UIDOnDisk(platform.User) uint32
}

// ProcessTable lists the vendor's processes.
type ProcessTable interface {
	Processes(context.Context) ([]platform.Process, error)
}

// Lister is prlctl as one user.
type Lister interface {
	List(context.Context) (prlctl.Listing, error)
	Get(ctx context.Context, id string) (prlctl.VM, error)
}

// Licensing is prlsrvctl as one user.
type Licensing interface {
	License(context.Context) (prlctl.License, error)
}

// Sources are everything that a look reads.
type Sources struct {
	Mac       Mac
	Files     Files
	Processes ProcessTable
	// Lister gives prlctl as the user, inside their GUI session if they have one.
	Lister func(user platform.User, session bool) Lister
	// Licensing gives prlsrvctl as the user.
	Licensing func(user platform.User, session bool) Licensing
	// AppVersion reads version and build of the installed application;
	// fs.ErrNotExist if it is not installed.
	AppVersion func() (version, build string, err error)
	// Trusted says whether the vendor's tools may be run (H10).
	Trusted func(context.Context) error
}

// DefaultPatience is how long a look waits for one user: the limit of one
// query, and some more for the kill and for the files.
const DefaultPatience = 75 * time.Second

// Collector makes looks. It is used by one goroutine at a time.
type Collector struct {
	sources Sources
	store   *store.Store
	now     func() time.Time
	log     zerolog.Logger
	seen    map[string]time.Time // user -> last time the account was listed by this process
	unused  map[string]time.Time // user -> last time the account showed no trace of the product
	host    platform.Host        // as it was last readable

	described map[string]description // as they are in the store, by its keys; nil until they were read

	lanes    *lane.Lanes
	visits   *lane.Tasks[account]
	licenses *lane.Tasks[licensed]
}

// New returns a collector that remembers in the store between looks, and asks
// the tools in the users' lanes.
func New(sources Sources, lanes *lane.Lanes, state *store.Store, now func() time.Time, log zerolog.Logger) *Collector {
	return &Collector{
		sources: sources, lanes: lanes, store: state, now: now, log: log,
		seen: make(map[string]time.Time), unused: make(map[string]time.Time),
		visits: lane.NewTasks[account](nil), licenses: lane.NewTasks[licensed](nil),
	}
}

// Close waits for everything that still runs for a user. The ctx of the looks
// must have ended.
func (c *Collector) Close() {
	c.visits.Close()
	c.licenses.Close()
}

// Look is what one look found.
type Look struct {
	At        time.Time
	Host      protocol.Host
	Product   protocol.Product
	Users     []protocol.UserLook // accounts that use Parallels Desktop, by uid
	Machines  []Machine           // by owner, id and bundle
	VMs       []protocol.VM       // the rows of Machines, in their order; at most protocol.MaxVMs
	Accounts  []Account           // of those in Users that are there, in their order
	Truncated bool
	Code      protocol.Code // the first thing that kept the look from being whole; empty = it is
	Detail    string        // which user or part that was
}

// Account is what is needed to hear of an account's virtual machines between
// two looks.
type Account struct {
	User    platform.User
	Session bool              // has a GUI session that can be entered
	Bundles map[string]string // id of a virtual machine that it lists -> Mac path of its bundle, where the tool said it
}

// Collect makes one look. It fails only where its own memory cannot be read
// and when ctx ends, because half a look would call everybody's machines
// stale; everything that the Mac does not show is in the look itself, and so
// is a memory that cannot be written.
//
// All users are looked at side by side, and nobody is waited for longer than
// the patience. Who is late keeps the last known rows; what still runs for them
// goes on under ctx, which is the daemon's life, and the next look takes it.
func (c *Collector) Collect(ctx context.Context, patience time.Duration) (Look, error) {
	memory, err := c.remember()
	if err != nil {
		return Look{}, err
	}
	look := &survey{Collector: c, memory: memory, patience: patience, outside: make(map[uint32]bool), Look: Look{At: c.now().UTC()}}
	look.lookAtHost(ctx)
	look.lookAtUsers(ctx)
	look.lookAtProduct(ctx)
	look.lookAtVMs(ctx)
	if err := ctx.Err(); err != nil {
		return Look{}, fmt.Errorf("look at the Mac: %w", err)
	}
	if err := c.keep(memory); err != nil {
		c.log.Error().Err(err).Msg("the next look begins without what this one learned")
		look.lack(first(protocol.CodeOf(err), protocol.CodeInternal), "memory")
	}
	return look.Look, nil
}

// Recall gives what is remembered of the last look, for the time before the
// first one of this process: every row is stale, and At is zero. It runs no
// tools; of the product it says what the application's bundle does.
func (c *Collector) Recall() (Look, error) {
	memory, err := c.remember()
	if err != nil {
		return Look{}, err
	}
	look := &survey{Collector: c, memory: memory}
	if look.lookAtVersion(); look.Product.Installed {
		look.lackProduct(protocol.CodeNotLookedYet, licenseColumns...)
	}
	for _, user := range memory.users() {
		known := memory.of(user.Name)
		listed := protocol.UserLook{
			Name: user.Name, UID: user.UID, Count: len(known), At: c.lastListed(user, known), Code: protocol.CodeNotLookedYet,
		}
		look.keepStale(user, known, listed)
		look.Users = append(look.Users, listed)
	}
	look.settle()
	return look.Look, nil
}

// survey is one look in the making.
type survey struct {
	*Collector
	Look
	memory   memory
	patience time.Duration // with one user
	refused  protocol.Code // why the vendor's tools may not be run; empty = they may
	users    []platform.User
	console  platform.Console
	outside  map[uint32]bool // users whose session cannot be entered
	found    []*Machine      // as the accounts list them
}

// lack notes why the look is not whole; the first reason stands.
func (s *survey) lack(code protocol.Code, detail string) {
	if s.Code == "" {
		s.Code, s.Detail = code, detail
	}
}

func (s *survey) lookAtHost(ctx context.Context) {
	host, err := s.sources.Mac.Host(ctx)
	if err != nil {
		s.log.Warn().Err(err).Msg("some facts of the host are not readable")
		s.lack(codeOf(err), "host")
		host = orKnown(host, s.host)
	}
	s.Collector.host = host
	s.Host = protocol.Host{
		ComputerName: host.ComputerName,
		Serial:       host.Serial,
		HardwareUUID: host.HardwareUUID,
		Model:        host.Model,
		MacOS:        host.MacOSVersion,
		MacOSBuild:   host.MacOSBuild,
		CPU:          host.CPU,
	}
}

// orKnown fills what could not be read now with what was read before.
func orKnown(host, known platform.Host) platform.Host {
	return platform.Host{
		ComputerName: first(host.ComputerName, known.ComputerName),
		Serial:       first(host.Serial, known.Serial),
		HardwareUUID: first(host.HardwareUUID, known.HardwareUUID),
		Model:        first(host.Model, known.Model),
		MacOSVersion: first(host.MacOSVersion, known.MacOSVersion),
		MacOSBuild:   first(host.MacOSBuild, known.MacOSBuild),
		CPU:          first(host.CPU, known.CPU),
	}
}

func (s *survey) lookAtUsers(ctx context.Context) {
	users, err := s.sources.Mac.Users(ctx)
	switch {
	case err != nil:
		s.log.Warn().Err(err).Msg("the users of the Mac are not readable")
		s.lack(codeOf(err), "users")
		users = s.memory.users()
	case len(users) == 0: // a directory that knows nobody is no proof that all are gone
		users = s.memory.users()
	default:
		s.memory.keepOnly(users)
	}
	s.users = users
	console, err := s.sources.Mac.Console(ctx)
	if err != nil {
		s.log.Warn().Err(err).Msg("the sessions of the Mac are not readable")
		s.lack(codeOf(err), "sessions")
	}
	s.console = console
	s.Host.ConsoleUser = console.User
}

func (s *survey) inSession(user platform.User) bool {
	return slices.Contains(s.console.Sessions, user.UID) && !s.outside[user.UID]
}

// lookAtVMs visits every account that uses the product, asks one of them for
// the license, then makes the rows.
func (s *survey) lookAtVMs(ctx context.Context) {
	all := s.attendAll(ctx)
	if s.Product.Installed {
		s.readLicense(ctx, all)
	}
	s.take(all)
	s.judgeStates(ctx)
	s.settle()
}

// settle makes the machines of what was found, and their rows.
func (s *survey) settle() {
	s.Accounts = s.accounts()
	s.Machines = s.machines()
	s.VMs = rowsOf(s.Machines, s.Product)
	if len(s.VMs) > protocol.MaxVMs {
		s.VMs = share(s.VMs, protocol.MaxVMs)
		s.truncate("")
	}
}

// accounts say where to listen: what is read here is the users' word.
func (s *survey) accounts() []Account {
	var accounts []Account
	for _, user := range s.users {
		if !slices.ContainsFunc(s.Users, func(look protocol.UserLook) bool { return look.UID == user.UID }) {
			continue
		}
		account := Account{User: user, Session: s.inSession(user), Bundles: make(map[string]string)}
		for id, m := range s.memory.of(user.Name) {
			if m.Bundle.Path != "" {
				account.Bundles[id] = m.Bundle.Path
			}
		}
		accounts = append(accounts, account)
	}
	return accounts
}

func (s *survey) truncate(detail string) {
	s.Truncated = true
	s.lack(protocol.CodeVMLimit, detail)
}

// share cuts rows, which are in order, to a number of them, so that an account
// with many takes no room from one with few (H12).
func share(rows []protocol.VM, limit int) []protocol.VM {
	count := make(map[string]int)
	for _, row := range rows {
		count[row.Owner]++
	}
	fits := func(each int) bool {
		total := 0
		for _, rows := range count {
			total += min(rows, each)
		}
		return total <= limit
	}
	each := limit
	for !fits(each) {
		each--
	}
	kept, taken := make([]protocol.VM, 0, limit), make(map[string]int)
	for _, row := range rows {
		if taken[row.Owner]++; taken[row.Owner] <= each {
			kept = append(kept, row)
		}
	}
	return kept
}

// first returns the first value that is not empty.
func first[T ~string](values ...T) T { return cmp.Or(values...) }
