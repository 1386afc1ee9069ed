// Package agent is the daemon: it wires the parts, owns the loop and the
// lifecycle, and nothing else.
//
// The loop observes, exchanges, converges and reports, level-triggered: events
// are hints that say "look again", the truth is always re-read. Its core is
// step, which is pure; Run puts the machine around it.
package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/checkin"
	"prlagent/agent/command"
	"prlagent/agent/config"
	"prlagent/agent/enforce"
	"prlagent/agent/inventory"
	"prlagent/agent/lane"
	"prlagent/agent/localapi"
	"prlagent/agent/outbox"
	"prlagent/agent/protocol"
	"prlagent/agent/watch"
	"prlagent/platform"
	"prlagent/platform/plist"
	"prlagent/platform/safefile"
	"prlagent/platform/tool"
	"prlagent/prlctl"
	"prlagent/store"
)

// Where the agent's own files are on a Mac (DESIGN 4).
const (
	SupportFolder = localapi.SupportFolder
	StateFolder   = localapi.StateFolder
	IdentityFile  = localapi.IdentityFile
	ChildrenFile  = StateFolder + "/children"
	LocalConfig   = localapi.LocalConfig
	ManagedConfig = localapi.ManagedConfig
	LogFolder     = localapi.LogFolder
	LogFile       = localapi.LogFile
)

// Options are what the daemon's command line decides.
type Options struct {
	Root     string // folder of a simulated Mac, absolute; empty is this Mac
	Config   string // local configuration, as a path on this disk; empty is LocalConfig
	LogLevel string // overrides the configuration's
	Log      *zerolog.Logger
	// IsLeaving is that the agent runs to lift what it has placed, and is then taken off
	// the Mac: no command is begun, and none is gone on with.
	IsLeaving bool
	// OnIdle is told each minute or so in which no look, exchange or plan runs (true), and
	// when the next one has begun (false): what the process does with its memory is its
	// program's. nil: nobody is told.
	OnIdle func(idle bool)
}

// ownCollections are what the loop itself and its looker keep in the store.
func ownCollections() []string {
	own := slices.Concat(command.Collections(), []string{
		inventory.Remembered, inventory.Described, inventory.Probed, eventRing.Name, securityRing.Name,
		schedules.Name, troubleRecords.Name, lifeRecords.Name,
	})
	return append(own, enforce.Collections()...)
}

// allCollections are those and what other packages keep.
func allCollections() []string {
	return slices.Concat(checkin.Collections(), config.Collections(), outbox.Collections(), ownCollections())
}

// storeLockWait is how long a daemon before this one may take to let go of the store.
const storeLockWait = 3 * time.Second

// stopLimit bounds how long a stop waits for the pass that runs.
const stopLimit = 2 * time.Second

// toolGrace is what a program gets to end by itself at a stop. It is shorter than
// stopLimit; what is left then is killed before the daemon is gone, and what a
// hard kill of the daemon leaves at the next start: macOS ends no child with its
// parent.
const toolGrace = stopLimit / 2

// Run is the daemon: it returns when ctx is done, or with the reason why it
// cannot work at all (store.ErrLocked: another one runs).
func Run(ctx context.Context, options *Options) error {
	tools := &tool.Runner{Root: options.Root, Log: *options.Log, Grace: toolGrace}
	mac := platform.New(options.Root, tools)
	if err := prepareFolders(mac); err != nil {
		return err
	}
	state, report, err := openState(ctx, mac, options.Log)
	if err != nil {
		return fmt.Errorf("open state: %w", err)
	}
	defer closeStore(state, options.Log)
	defer tools.KillAll()
	if err := recordChildren(mac, tools, options.Log); err != nil {
		options.Log.Warn().Err(err).Msg("what is started now could outlive a kill")
	}
	events, err := openEventLog(state, options.Log)
	if err != nil {
		return err
	}
	listener, err := localapi.Listen(ctx, localapi.SocketUnder(options.Root))
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	mac.ToolChanged = toolChanges(events, wallClock)
	wired := wire(options, mac, tools, state)
	wired.restoreSocket = listener.Restore
	return newAgent(wired, state, report, events).serve(ctx, listener)
}

// openState opens the store. One of a later version of the agent is put aside where the
// package that brought this version back has allowed it.
func openState(ctx context.Context, mac *platform.Machine, log *zerolog.Logger) (*store.Store, store.Report, error) {
	permission := mac.Path(localapi.DowngradeFile)
	allowed := isDowngrade(permission)
	state, report, err := store.Open(ctx, mac.Path(StateFolder), store.Options{
		Log: *log, LockWait: storeLockWait, Collections: allCollections(), ReplaceNewer: allowed,
	})
	if err == nil && allowed {
		if err := os.Remove(permission); err != nil {
			log.Warn().Err(err).Msg("forget the permission to put a later state aside")
		}
	}
	return state, report, err
}

// isDowngrade reports whether the file of root's names this version.
func isDowngrade(permission string) bool {
	version, _ := localapi.BuildVersion()
	named, err := safefile.ReadTrustedFile(permission, uint32(os.Geteuid()), 64)
	return err == nil && strings.TrimSpace(string(named)) == version
}

// looker looks at the Mac, and remembers what it saw.
type looker interface {
	Collect(ctx context.Context, patience time.Duration) (*inventory.Look, error)
	Recall() (*inventory.Look, error)
	Visiting() []inventory.Visiting
	Close()
}

// agent is the running daemon. Its fields are set once; what changes belongs
// to the loop's goroutine, travels with a pass, or is published in the view.
type agent struct {
	parts     parts
	store     *store.Store
	opened    store.Report
	eventLog  *eventLog
	quota     eventQuota
	outbox    *outbox.Outbox
	schedule  *scheduleKeeper
	commands  *commands
	view      *view
	inbox     *watch.Inbox
	questions chan question
	hands     chan handQuestion
	started   time.Time
}

// parts are what the daemon is wired of; tests put others in their place.
type parts struct {
	log        *zerolog.Logger
	isLeaving  bool
	onIdle     func(idle bool)
	owner      uint32 // who plays root
	authorize  func(localapi.Peer) localapi.Actor
	snapshots  string // folder, as a path on this disk
	identity   string // node.json, as a path on this disk
	looker     looker
	loadConfig func() *config.Config // never fails as a whole
	connect    func(*config.Config, protocol.Host, *store.Store, *outbox.Outbox) exchanger
	sources    []watch.Source
	follow     func([]inventory.Account) (beyond []uint32) // after each look: whose events are wanted; gives whose are not heard
	enforcer   *enforce.Enforcer
	applied    <-chan struct{}             // settings of some account have been carried out
	executors  map[string]command.Executor // of the commands that act on the Mac, by type
	acted      *actedOn                    // what these know of the loop; nil: nothing
	held       command.HoldOptions         // what holds need of the Mac
	guests     guests                      // what setting passwords in guests needs
	probe      func(context.Context, inventory.Account, prlctl.Version) (prlctl.Capabilities, error)
	streams    func() []watch.StreamState // of events; nil = there are none
	toolRuns   func() map[string]uint64
	setLevel   func(string)            // of the log; the words of the configuration
	awake      func() config.AwakeTime // nil = not known

	ownFolders         []string // that nobody but root may be able to change, as paths on this disk
	managedPreferences string   // folder of the MDM's profiles, as a path on this disk

	restoreSocket func(context.Context) (restored bool, err error) // if something removed its file
}

func newAgent(wired parts, state *store.Store, report store.Report, events *eventLog) *agent {
	box := outbox.New(state, events, lasts)
	a := &agent{
		parts: wired, store: state, opened: report, eventLog: events, outbox: box, view: &view{shown: make(chan struct{})},
		schedule: &scheduleKeeper{store: state, outbox: box, log: wired.log}, inbox: watch.NewInbox(),
		questions: make(chan question), hands: make(chan handQuestion), started: wallClock(),
	}
	a.commands = newCommands(a)
	return a
}

// wire says what the daemon is made of on a Mac.
func wire(options *Options, mac *platform.Machine, tools *tool.Runner, state *store.Store) parts {
	identity, keeper, awake := mac.Path(IdentityFile), config.NewKeeper(state), awakeClock(options.Log)
	timing := loadConfig(options, mac, keeper, awake()).Timing // of the sources; it does not change on a Mac
	acted, lanes := &actedOn{}, lane.New()
	streams := streamsOf(mac, timing, acted.onEvent, options.Log)
	enforcer, applied := enforcerOf(mac, streams, lanes, state, options.Log)
	sources := sourcesOf(mac, streams)
	sources.NeedsConfig, sources.NeedsSpace, sources.NeedsPreferences = enforcer.NeedsConfig, enforcer.NeedsSpace, enforcer.NeedsPreferences
	return parts{
		log: options.Log, isLeaving: options.IsLeaving, onIdle: options.OnIdle, owner: ownerUID(options.Root), authorize: localapi.AuthorizeLocal(ownerUID(options.Root)),
		snapshots: localapi.SnapshotsUnder(options.Root), identity: identity,
		looker:     inventory.New(sources, lanes, state, wallClock, *options.Log),
		sources:    listen(mac, streams, []string{mac.Path(ManagedConfig), localConfig(options, mac)}, timing, options.Log),
		follow:     func(accounts []inventory.Account) []uint32 { return streams.SetUsers(followed(accounts)) },
		loadConfig: func() *config.Config { return loadConfig(options, mac, keeper, awake()) },
		connect: func(c *config.Config, host protocol.Host, state *store.Store, box *outbox.Outbox) exchanger {
			version, _ := localapi.BuildVersion()
			return checkin.New(checkin.Options{
				ServerURL: c.ServerURL, ContentURL: c.ContentURL, Secret: c.EnrollmentSecret.Reveal(), SiteID: c.SiteID, Group: c.Group,
				PolicyKeys: c.PolicyKeys, Policy: c.Policy, ContentFolder: folderOf(mac, c), Certificates: c.ServerCertificates, Proxy: c.Proxy,
				Timing: c.Timing, Privacy: c.Privacy,
				Store: state, Outbox: box, IdentityPath: identity, Host: host, Version: version, Log: *options.Log, Now: wallClock,
			})
		},
		executors: executorsOf(mac, streams, lanes, enforcer, acted, timing, options.Log), acted: acted,
		held: heldOn(mac, streams, timing), guests: guestsOf(mac, streams, lanes),
		enforcer: enforcer, applied: applied, probe: proberOf(mac, streams, lanes, state),
		streams:  streams.States,
		toolRuns: tools.Runs,
		setLevel: setLogLevel,
		awake:    awake,

		ownFolders:         append(localapi.OwnFoldersUnder(options.Root), filepath.Dir(localConfig(options, mac))),
		managedPreferences: mac.Path(prlctl.ManagedPreferences),
	}
}

// folderOf is the folder of signed policies that a configuration names, as a path
// on this disk; empty if it names none.
func folderOf(mac *platform.Machine, c *config.Config) string {
	if folder := c.ContentFolder(); folder != "" {
		return mac.Path(folder)
	}
	return ""
}

// recordChildren ends what a daemon before this one left running when it was
// killed hard, and has what this one starts written down. Only the daemon that
// holds the store may do so.
func recordChildren(mac *platform.Machine, tools *tool.Runner, log *zerolog.Logger) error {
	ended, err := platform.EndLeftovers(mac.Path(ChildrenFile))
	for _, pid := range ended {
		log.Warn().Int("pid", pid).Msg("ended what an agent that was killed had left running")
	}
	record, openError := platform.OpenChildRecord(mac.Path(ChildrenFile))
	if openError == nil {
		tools.Children = record
	}
	return errors.Join(err, openError)
}

// toolChangesEvery is how often it is told that the vendor's tools are exchanged
// under the agent's hands: who can do so at will must not flush other events.
const toolChangesEvery = time.Hour

// toolChanges tells that a run of one of the vendor's tools does not count (H58).
func toolChanges(events *eventLog, clock func() time.Time) func(macPath string) {
	var mu sync.Mutex
	var told time.Time
	discarded := 0 // since then
	return func(macPath string) {
		mu.Lock()
		defer mu.Unlock()
		discarded++
		now := clock()
		if age := now.Sub(told); age >= 0 && age < toolChangesEvery {
			return
		}
		events.add(newEvent(now, string(protocol.CodeToolsChanged), protocol.CodeToolsChanged,
			"tool", path.Base(macPath), "discarded_runs", strconv.Itoa(discarded)))
		told, discarded = now, 0
	}
}

// setLogLevel holds for every logger of the program, so that a change of the
// profile takes effect without a restart.
func setLogLevel(word string) {
	if level, err := zerolog.ParseLevel(word); err == nil {
		zerolog.SetGlobalLevel(level)
	}
}

// wallClock is the time of day without the monotonic reading, which stops
// while a Mac sleeps (facts/macos.md 2.4).
func wallClock() time.Time { return time.Now().Round(0) }

// sourcesOf says where on this Mac a look gets its facts from.
func sourcesOf(mac *platform.Machine, streams *watch.VMEvents) inventory.Sources {
	client := func(user platform.User, session bool) *prlctl.Client { return clientAs(mac, streams, user, session) }
	return inventory.Sources{
		Mac: mac, Files: mac, Processes: mac,
		Lister:     func(user platform.User, session bool) inventory.Lister { return client(user, session) },
		Licensing:  func(user platform.User, session bool) inventory.Licensing { return client(user, session) },
		AppVersion: func() (string, string, error) { return appVersion(mac) },
		Trusted: func(ctx context.Context) error {
			return errors.Join(mac.Trusted(ctx, prlctl.Prlctl), mac.Trusted(ctx, prlctl.Prlsrvctl))
		},
	}
}

// clientAs is the vendor's tools as one user.
func clientAs(mac *platform.Machine, streams *watch.VMEvents, user platform.User, session bool) *prlctl.Client {
	return prlctl.New(&announced{mac.As(user, session), func() func() { return streams.Reading(user.UID) }, streams.Changed})
}

// appVersion reads the bundle of the application, which answers while the
// service is down (facts/macos.md 8).
func appVersion(mac *platform.Machine) (version, build string, err error) {
	data, err := mac.ReadFile(context.Background(), prlctl.AppBundle+"/Contents/Info.plist", plist.MaxSize)
	if err != nil {
		return "", "", fmt.Errorf("read application version: %w", err)
	}
	info, err := plist.DecodeDict(data)
	if err != nil {
		return "", "", fmt.Errorf("read application version: %w", err)
	}
	version, _ = info["CFBundleShortVersionString"].(string)
	build, _ = info["CFBundleVersion"].(string)
	return version, build, nil
}

// loadConfig reads the configuration anew; what has just disappeared stays in
// force for a while (H06).
func loadConfig(options *Options, mac *platform.Machine, keeper *config.Keeper, awake config.AwakeTime) *config.Config {
	return keeper.Load(config.Paths{
		Managed:    mac.Path(ManagedConfig),
		Local:      localConfig(options, mac),
		LocalOwner: ownerUID(options.Root),
		Root:       options.Root != "",
	}, wallClock(), awake).WithLogLevel(options.LogLevel)
}

// awakeClock asks the kernel once, and goes on by Go's own clock, which stands
// still while a Mac sleeps as the kernel's does (facts/macos.md 2.4).
func awakeClock(log *zerolog.Logger) func() config.AwakeTime {
	boot, awake, err := platform.AwakeTime()
	if err != nil {
		log.Warn().Err(err).Msg("how long this Mac is awake is not known; after a restart the patience with a missing profile begins anew")
	}
	began := time.Now()
	return func() config.AwakeTime { return config.AwakeTime{Boot: boot, Awake: awake + time.Since(began)} }
}

func localConfig(options *Options, mac *platform.Machine) string {
	if options.Config != "" {
		return options.Config
	}
	return mac.Path(LocalConfig)
}

// prepareFolders makes the agent's own folders. Modes are set on purpose: the
// job's umask is 077, and the snapshot's folder must be readable by all.
func prepareFolders(mac *platform.Machine) error {
	for _, own := range []struct {
		folder string
		mode   fs.FileMode
	}{{SupportFolder, 0o755}, {StateFolder, 0o700}} {
		made, err := safefile.MakeFolder(mac.Path(own.folder), 0o755)
		if err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
		if err := errors.Join(made.Chmod(own.mode), made.Close()); err != nil {
			return fmt.Errorf("set mode of folder: %w", err)
		}
	}
	return os.MkdirAll(filepath.Dir(localapi.SocketUnder(mac.Path("/"))), 0o755)
}

// ownerUID is who plays root: root, or below a root who we are.
func ownerUID(root string) uint32 {
	if root == "" {
		return 0
	}
	return uint32(os.Geteuid())
}

// countRuns is how often tools were started since the daemon was.
func (a *agent) countRuns() (total uint64) {
	for _, runs := range a.parts.toolRuns() {
		total += runs
	}
	return total
}

func closeStore(state *store.Store, log *zerolog.Logger) {
	if err := state.Close(); err != nil {
		log.Error().Err(err).Msg("close state")
	}
}
