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
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/config"
	"prlagent/agent/inventory"
	"prlagent/agent/localapi"
	"prlagent/platform"
	"prlagent/platform/plist"
	"prlagent/platform/safefile"
	"prlagent/platform/tool"
	"prlagent/prlctl"
	"prlagent/store"
)

// Where the agent's own files are on a Mac (DESIGN 4).
const (
	SupportFolder = "/Library/Application Support/prlagent"
	StateFolder   = SupportFolder + "/state"
	IdentityFile  = StateFolder + "/node.json"
	LocalConfig   = SupportFolder + "/config.plist"
	ManagedConfig = "/Library/Managed Preferences/org.prlagent.agent.plist"
	LogFolder     = "/Library/Logs/prlagent"
	LogFile       = LogFolder + "/prlagentd.log"
)

// Options are what the daemon's command line decides.
type Options struct {
	Root     string // folder of a simulated Mac, absolute; empty is this Mac
	Config   string // local configuration, as a path on this disk; empty is LocalConfig
	LogLevel string // overrides the configuration's
	Log      zerolog.Logger
}

// stopLimit bounds how long a stop waits for the pass that runs.
const stopLimit = 2 * time.Second

// Run is the daemon: it returns when ctx is done, or with the reason why it
// cannot work at all (store.ErrLocked: another one runs).
func Run(ctx context.Context, options Options) error {
	options.Log = options.Log.Level(zerolog.DebugLevel)
	tools := &tool.Runner{Root: options.Root, Log: options.Log}
	mac := platform.New(options.Root, tools)
	if err := prepareFolders(mac); err != nil {
		return err
	}
	state, report, err := store.Open(ctx, mac.Path(StateFolder), store.Options{
		Log: options.Log, LockWait: 3 * time.Second,
		Collections: []string{inventory.Remembered, marks.Name(), eventRing.Name()},
	})
	if err != nil {
		return fmt.Errorf("open state: %w", err)
	}
	defer closeStore(state, options.Log)
	journal, err := openJournal(state, options.Log)
	if err != nil {
		return err
	}
	listener, err := localapi.Listen(ctx, localapi.SocketUnder(options.Root))
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	a := newAgent(options, mac, tools, state, report, journal)
	return a.serve(ctx, listener)
}

// agent is the running daemon. Its fields are set once; what changes belongs
// to the loop's goroutine, travels with a pass, or is published in the view.
type agent struct {
	options   Options
	mac       *platform.Machine
	tools     *tool.Runner
	store     *store.Store
	collector *inventory.Collector
	journal   *journal
	view      *view
	questions chan question
	log       zerolog.Logger
	started   time.Time
	opened    store.Report
}

func newAgent(options Options, mac *platform.Machine, tools *tool.Runner, state *store.Store, report store.Report, journal *journal) *agent {
	a := &agent{
		options: options, mac: mac, tools: tools, store: state, journal: journal, log: options.Log,
		questions: make(chan question), started: wallClock(), opened: report, view: &view{},
	}
	a.collector = inventory.New(sourcesOf(mac), state, wallClock, options.Log)
	return a
}

// wallClock is the time of day without the monotonic reading, which stops
// while a Mac sleeps (facts/macos.md 2.4).
func wallClock() time.Time { return time.Now().Round(0) }

// sourcesOf says where on this Mac a look gets its facts from.
func sourcesOf(mac *platform.Machine) inventory.Sources {
	client := func(user platform.User, session bool) *prlctl.Client { return prlctl.New(mac.As(user, session)) }
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

// appVersion reads the bundle of the application, which answers while the
// service is down (facts/macos.md 8).
func appVersion(mac *platform.Machine) (version, build string, err error) {
	data, err := safefile.ReadFile(mac.Path(prlctl.AppBundle+"/Contents/Info.plist"), plist.MaxSize)
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

// loadConfig reads the configuration anew; it never fails as a whole.
func (a *agent) loadConfig() config.Config {
	local := a.options.Config
	if local == "" {
		local = a.mac.Path(LocalConfig)
	}
	return config.Load(config.Paths{
		Managed:    a.mac.Path(ManagedConfig),
		Local:      local,
		LocalOwner: ownerUID(a.options.Root),
		Root:       a.options.Root != "",
	}).WithLogLevel(a.options.LogLevel)
}

// prepareFolders makes the agent's own folders. Modes are set on purpose: the
// job's umask is 077, and the snapshot's folder must be readable by all.
func prepareFolders(mac *platform.Machine) error {
	for folder, mode := range map[string]fs.FileMode{SupportFolder: 0o755, StateFolder: 0o700} {
		path := mac.Path(folder)
		if err := os.MkdirAll(path, 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
		if err := os.Chmod(path, mode); err != nil {
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

func closeStore(state *store.Store, log zerolog.Logger) {
	if err := state.Close(); err != nil {
		log.Error().Err(err).Msg("close state")
	}
}
