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
	Users(context.Context) (platform.Users, error)
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
	// Trusted reports, by a nil error, that the vendor's tools may be run (H10).
	Trusted func(context.Context) error
	// NeedsConfig reports whether a policy needs what only config.pvs says of the
	// machine with this description; nil: none does. Looks at several users ask at
	// once.
	NeedsConfig func(*prlctl.VM) bool
	// NeedsSpace reports whether a policy needs what the bundle of the machine with this
	// description takes of its disk; nil: none does.
	NeedsSpace func(*prlctl.VM) bool
	// NeedsPreferences reports whether a policy needs to know when the preferences of
	// the accounts change; nil: none does.
	NeedsPreferences func() bool
}

// DefaultPatience is how long a look waits for one user: the limit of one
// query, and some more for the kill and for the files.
const DefaultPatience = 75 * time.Second

// Collector makes looks. It is used by one goroutine at a time.
type Collector struct {
	sources     Sources
	store       *store.Store
	now         func() time.Time
	log         zerolog.Logger
	listedAt    map[uint32]time.Time // by uid: last time the account was listed by this process
	unusedSince map[uint32]time.Time // by uid: last time the account showed no trace of the product
	unlooked    unlookedAccounts
	preferences map[uint32]string // by uid: of the account's preferences, see Account
	host        platform.Host     // as it was last readable

	descriptions map[string]*description // as they are in the store, by its keys; nil until they were read

	visiting visiting

	lanes    *lane.Lanes
	visits   *lane.Tasks[*visitOutcome]
	licenses *lane.Tasks[*licenseAnswer]
}

// New returns a collector that remembers in the store between looks, and asks
// the tools in the users' lanes.
func New(sources Sources, lanes *lane.Lanes, state *store.Store, now func() time.Time, log zerolog.Logger) *Collector {
	return &Collector{
		sources: sources, lanes: lanes, store: state, now: now, log: log,
		listedAt: make(map[uint32]time.Time), unusedSince: make(map[uint32]time.Time), unlooked: newUnlooked(),
		preferences: make(map[uint32]string),
		visits:      lane.NewTasks[*visitOutcome](nil), licenses: lane.NewTasks[*licenseAnswer](nil),
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
	Machines  []Machine           // by owner and id
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
	Console bool              // sits at the Mac
	Bundles map[string]string // id of a virtual machine that it lists -> Mac path of its bundle, where the tool said it
	// Preferences is another text after each change of the file behind the account's
	// preferences of the application; empty if nobody has looked.
	Preferences string
	// Runs names the runs of the application that go on for the account, eight at
	// most: a run has another name than every one before it.
	Runs []string
}

// Collect makes one look. It fails only where its own memory cannot be read
// and when ctx ends, because half a look would call everybody's machines
// stale; everything that the Mac does not show is in the look itself, and so
// is a memory that cannot be written.
//
// All users are looked at side by side, and nobody is waited for longer than
// the patience. Who is late keeps the last known rows; what still runs for them
// goes on under ctx, which is the daemon's life, and the next look takes it.
func (c *Collector) Collect(ctx context.Context, patience time.Duration) (*Look, error) {
	known, err := c.loadKnown()
	if err != nil {
		return nil, err
	}
	l := &look{
		collector: c, known: known, patience: patience,
		outsideSession: make(map[uint32]bool), result: &Look{At: c.now().UTC()},
	}
	l.lookAtHost(ctx)
	l.lookAtUsers(ctx)
	l.lookAtProduct(ctx)
	l.lookAtVMs(ctx)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("look at the Mac: %w", err)
	}
	if err := c.saveKnown(known); err != nil {
		c.log.Error().Err(err).Msg("the next look begins without what this one learned")
		l.noteIncomplete(cmp.Or(protocol.CodeOf(err), protocol.CodeInternal), "memory")
	}
	return l.result, nil
}

// Recall gives what is remembered of the last look, for the time before the
// first one of this process: every row is stale, and At is zero. It runs no
// tools; of the product it says what the application's bundle does.
func (c *Collector) Recall() (*Look, error) {
	known, err := c.loadKnown()
	if err != nil {
		return nil, err
	}
	l := &look{collector: c, known: known, result: &Look{}}
	if l.lookAtVersion(); l.result.Product.Installed {
		l.noteProductGaps(protocol.CodeNotLookedYet, licenseColumns...)
	}
	for _, user := range known.users() {
		machines := known.ofUser(user.UID)
		listed := &protocol.UserLook{
			Name: user.Name, UID: user.UID, Count: len(machines), At: c.lastListed(user, machines), Code: protocol.CodeNotLookedYet,
		}
		l.keepStale(user, machines, listed)
		l.result.Users = append(l.result.Users, *listed)
	}
	l.makeRows()
	return l.result, nil
}

// look is one look in the making.
type look struct {
	collector      *Collector
	result         *Look
	known          knownMachines
	patience       time.Duration // with one user
	toolsRefused   protocol.Code // why the vendor's tools may not be run; empty = they may
	users          []platform.User
	others         []platform.User // records of accounts that are not looked at
	knowsUsers     bool            // the directory said who there is
	console        platform.Console
	outsideSession map[uint32]bool       // users whose session cannot be entered
	found          []*Machine            // as the accounts list them
	listedByID     map[string][]*Machine // the same, once the users are visited
	runners        []uint32              // uids that run a virtual machine
	processes      []platform.Process    // the vendor's
}

// noteIncomplete notes why the look is not whole; the first reason stands.
func (l *look) noteIncomplete(code protocol.Code, detail string) {
	if l.result.Code == "" {
		l.result.Code, l.result.Detail = code, detail
	}
}

func (l *look) lookAtHost(ctx context.Context) {
	host, err := l.collector.sources.Mac.Host(ctx)
	if err != nil {
		l.collector.log.Warn().Err(err).Msg("some facts of the host are not readable")
		l.noteIncomplete(codeOf(err), "host")
		fillKnown(&host, &l.collector.host)
	}
	l.collector.host = host
	shown := &l.result.Host
	shown.ComputerName, shown.Serial, shown.HardwareUUID = host.ComputerName, host.Serial, host.HardwareUUID
	shown.Model, shown.CPU = host.Model, host.CPU
	shown.MacOS, shown.MacOSBuild = host.MacOSVersion, host.MacOSBuild
}

// fillKnown fills what could not be read now with what was read before.
func fillKnown(host, known *platform.Host) {
	host.ComputerName = cmp.Or(host.ComputerName, known.ComputerName)
	host.Serial = cmp.Or(host.Serial, known.Serial)
	host.HardwareUUID = cmp.Or(host.HardwareUUID, known.HardwareUUID)
	host.Model = cmp.Or(host.Model, known.Model)
	host.MacOSVersion = cmp.Or(host.MacOSVersion, known.MacOSVersion)
	host.MacOSBuild = cmp.Or(host.MacOSBuild, known.MacOSBuild)
	host.CPU = cmp.Or(host.CPU, known.CPU)
}

func (l *look) lookAtUsers(ctx context.Context) {
	users, err := l.collector.sources.Mac.Users(ctx)
	switch {
	case err != nil:
		l.collector.log.Warn().Err(err).Msg("the users of the Mac are not readable")
		l.noteIncomplete(codeOf(err), "users")
		l.users = l.known.users()
	case len(users.People) == 0: // a directory that knows nobody is no proof that all are gone
		l.users = l.known.users()
	default:
		l.known.keepOnly(users.People)
		l.users, l.others, l.knowsUsers = users.People, users.Others, true
	}
	console, err := l.collector.sources.Mac.Console(ctx)
	if err != nil {
		l.collector.log.Warn().Err(err).Msg("the sessions of the Mac are not readable")
		l.noteIncomplete(codeOf(err), "sessions")
	}
	l.console = console
	l.result.Host.ConsoleUser = l.nameOfConsole()
}

// nameOfConsole is what the directory calls whoever sits at the Mac; for an account
// that it does not know, what the system says.
func (l *look) nameOfConsole() string {
	for _, user := range l.users {
		if l.atConsole(user) {
			return user.Name
		}
	}
	return l.console.User
}

func (l *look) atConsole(user platform.User) bool {
	return l.console.User != "" && user.UID == l.console.UID
}

func (l *look) inSession(user platform.User) bool {
	return slices.Contains(l.console.Sessions, user.UID) && !l.outsideSession[user.UID]
}

// lookAtVMs visits every account that uses the product, asks one of them for
// the license, then makes the rows.
func (l *look) lookAtVMs(ctx context.Context) {
	visited := l.visitUsers(ctx)
	if l.result.Product.Installed {
		l.readLicense(ctx, visited)
	}
	l.takeVisits(visited)
	l.compareWithProcesses(ctx)
	l.nameUnlooked()
	l.makeRows()
}

// makeRows makes the machines of what was found, and their rows.
func (l *look) makeRows() {
	l.result.Accounts = l.accounts()
	l.result.Machines = l.machines()
	l.result.VMs = rowsOf(l.result.Machines, &l.result.Product)
	if all := l.result.VMs; len(all) > protocol.MaxVMs {
		l.result.VMs = fairShare(all, protocol.MaxVMs)
		l.noteLeftOut(all)
	}
}

// noteLeftOut notes whose rows did not fit, and how many.
func (l *look) noteLeftOut(all []protocol.VM) {
	missing := make(map[uint32]int)
	for _, row := range all {
		missing[row.UID]++
	}
	for _, row := range l.result.VMs {
		missing[row.UID]--
	}
	for i := range l.result.Users {
		listed := &l.result.Users[i]
		if listed.LeftOut += missing[listed.UID]; missing[listed.UID] > 0 {
			listed.Code = cmp.Or(listed.Code, protocol.CodeVMLimit)
			l.noteTruncated(listed.Who())
		}
	}
}

// accounts say where to listen: what is read here is the users' word.
func (l *look) accounts() []Account {
	var accounts []Account
	for _, user := range l.users {
		if !l.isListed(user.UID) {
			continue
		}
		account := Account{
			User: user, Session: l.inSession(user), Console: l.atConsole(user), Bundles: make(map[string]string),
			Preferences: l.collector.preferences[user.UID], Runs: l.applicationRuns(user),
		}
		for id, m := range l.known.ofUser(user.UID) {
			if m.Bundle.Path != "" {
				account.Bundles[id] = m.Bundle.Path
			}
		}
		accounts = append(accounts, account)
	}
	return accounts
}

// isListed reports whether the look says something of the account.
func (l *look) isListed(uid uint32) bool {
	for i := range l.result.Users {
		if l.result.Users[i].UID == uid {
			return true
		}
	}
	return false
}

func (l *look) noteTruncated(detail string) {
	l.result.Truncated = true
	l.noteIncomplete(protocol.CodeVMLimit, detail)
}

// fairShare cuts rows, which are in order, to a number of them, so that an
// account with many takes no room from one with few (H12).
func fairShare(rows []protocol.VM, limit int) []protocol.VM {
	count := make(map[uint32]int)
	for _, row := range rows {
		count[row.UID]++
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
	kept, taken := make([]protocol.VM, 0, limit), make(map[uint32]int)
	for _, row := range rows {
		if taken[row.UID]++; taken[row.UID] <= each {
			kept = append(kept, row)
		}
	}
	return kept
}
