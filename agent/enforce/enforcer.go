package enforce

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/lane"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
	"prlagent/store"
)

// Tool is prlctl as one user.
type Tool interface {
	// Set runs one `prlctl set` for a machine; what it says is a hint.
	Set(ctx context.Context, id string, args ...string) error
	Get(ctx context.Context, id string) (prlctl.VM, error)
}

// Files reads what is under a user's control, as that user (H11).
type Files interface {
	LookAtFiles(context.Context, platform.User, []platform.FileQuestion) ([]platform.FileAnswer, error)
}

// Options are what an Enforcer works with.
type Options struct {
	Store *store.Store
	Lanes *lane.Lanes
	// Tool gives prlctl as the user, inside their GUI session if they have one.
	Tool  func(user platform.User, session bool) Tool
	Files Files
	// Preferences gives the preferences of the user's application, inside their GUI
	// session if they have one.
	Preferences func(user platform.User, session bool) PreferenceTool
	// Forced reads what MDM profiles force of them, by uid.
	Forced func(users []platform.User) map[uint32]map[policy.ManagedKey]any
	// Host gives prlsrvctl as the user; nil: the host's switches are left alone.
	Host func(user platform.User, session bool) HostTool
	// Suspend runs `prlctl suspend` for a machine, as the user.
	Suspend func(ctx context.Context, user platform.User, session bool, id string) error
	// Refuse keeps that this version's `prlctl set` does not have a flag.
	Refuse func(version prlctl.Version, flag string) error
	// Posted is called when the settings of an account's machines have been
	// carried out, and Take has the outcome; it must not wait.
	Posted func(uid uint32)
	// Notify asks the Mac to show a user a text in their GUI session.
	Notify func(ctx context.Context, user platform.User, text string) error
	// Reminded is called when TakeReminders has something; it must not wait.
	Reminded func()
	Now      func() time.Time
	Log      zerolog.Logger
}

// Owner is the account whose a machine is.
type Owner struct {
	User    platform.User
	Session bool // it has a GUI session that can be entered
}

// Machine is a virtual machine as a look saw it.
type Machine struct {
	Facts      policy.Machine
	Owner      Owner
	Name       string // for people
	Bundle     string // Mac path; empty if the tool did not say
	ConfigHash string // of the description
}

// Situation is what a plan starts from.
type Situation struct {
	Content            policy.Content
	Enforce            bool // false: monitor mode (H40)
	AllowUnprovenLocks bool
	VendorGates        bool
	NotifyUsers        bool // users are told when machines wait for them

	Trusted      time.Time // the least that the time of day can be (policy.Observed)
	Mark         Mark      // of when the look began
	Version      prlctl.Version
	System       string // version and build of macOS; empty if not known
	Capabilities prlctl.Capabilities
	Closed       protocol.Code // why nothing may be run at all; empty if something may
	Machines     []*Machine
	Whole        bool   // no machine that there is is missing
	Edition      string // of the product; empty if not known
	Accounts     []Account
	// Host is what the look saw of the Mac as a whole: which accounts were listed,
	// and who else manages the updates. The rest of it is the Enforcer's. HostOwner is
	// the account as which its switches are read and set; nil: there is none now.
	Host      policy.Host
	HostOwner *Owner

	forced map[uint32]map[policy.ManagedKey]any // by uid
}

// Enforcer carries the policy out, and remembers what it did. Planning is quick
// and pure; what is to be set then runs in each owner's lane, in goroutines of its
// own, one at a time for each account. It may be used by several goroutines.
type Enforcer struct {
	options Options
	tasks   *lane.Tasks[*Applied]
	// preferenceTasks read and write preferences.
	preferenceTasks *lane.Tasks[*preferencePass]
	running         sync.WaitGroup // what persons do, until they have their answers, and reminders

	mu       sync.Mutex
	memory   policy.Memory
	parsed   parsedDocument
	verdicts map[protocol.VMKey][]*policy.Verdict // of the newest plan that looked at the machine; without a machine: on the document
	reported map[protocol.VMKey][]*policy.Verdict // the same, but for machines that are being set: what is reported of them is what was
	planned  *Planned                             // the newest; nil: there was none
	report   *told                                // that was made last; who makes another puts it there
	released *Released                            // the locks, by a person; nil: they are not
	retries  map[protocol.VMKey]bool              // see takeRetry
	ends     Mark                                 // how often somebody's settings were carried out
	endedAt  map[uint32]Mark                      // by uid, or hostUID: the last of these
	absent   map[uint32]bool                      // by uid: a reminder waits for their GUI session, and that was told
	monitors bool                                 // see Allow
	broken   error                                // why the memory could not be read; nothing is carried out

	readings    map[uint32]*reading // of preferences, by uid
	seenVersion string              // of the product, under a policy that has its updates turned off

	reminded []protocol.Event // about reminders that ended, and not taken

	// hostTurn is held by who reads or sets the host's switches, in front of mu.
	hostTurn     turn
	controls     *policy.ControlsMemory // as it is stored; who changes it puts another one there
	hostOwner    Owner                  // as which the host's switches are read and set
	shown        shownHost
	listedBefore map[uint32]bool // by uid: accounts that were listed for an earlier plan
	leases       []*leaseRecord  // in the order of their numbers
	lastLease    int
	// lentUntil is when a lease of each switch ended last, and listedAt, by uid, when the
	// look began that was planned for last of those that listed the account.
	lentUntil  map[string]Mark
	listedAt   map[uint32]Mark
	stuckLease int // that it was told of last that it cannot be put back
}

// parsedDocument is the policy that was parsed last.
type parsedDocument struct {
	sha256   string
	document *policy.Document // nil: it cannot be read
	code     protocol.Code    // why
}

// New returns an enforcer that remembers in the store.
func New(options Options) *Enforcer {
	e := &Enforcer{
		options: options, tasks: lane.NewTasks[*Applied](options.Posted), preferenceTasks: lane.NewTasks[*preferencePass](options.Posted),
		hostTurn: make(turn, 1),
	}
	e.Recall()
	return e
}

// Recall begins with what is in the store, as at the start, and after the store
// was erased.
func (e *Enforcer) Recall() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.verdicts, e.reported = make(map[protocol.VMKey][]*policy.Verdict), make(map[protocol.VMKey][]*policy.Verdict)
	e.endedAt, e.absent, e.planned = make(map[uint32]Mark), make(map[uint32]bool), nil
	e.retries = make(map[protocol.VMKey]bool)
	e.readings, e.shown, e.listedBefore = make(map[uint32]*reading), shownHost{}, nil
	e.broken = errors.Join(e.loadMemory(), e.loadControls())
	if e.broken != nil {
		e.options.Log.Error().Err(e.broken).Msg("recall what was done for the policy")
	}
}

// Close waits for everything that still runs. The ctx of Apply, SetByHand and
// ReleaseLocks must have ended.
func (e *Enforcer) Close() {
	e.running.Wait()
	e.tasks.Close()
	e.preferenceTasks.Close()
}

// Mark is a moment in the work of an Enforcer. It is no time: clocks are set back.
type Mark uint64

// Mark is the moment now.
func (e *Enforcer) Mark() Mark {
	e.mu.Lock()
	now := e.ends
	e.mu.Unlock()
	return now
}

// Unsettled reports whether the machines of an account were being set at some
// moment since: a look that began then may have seen the one and not the other.
func (e *Enforcer) Unsettled(uid uint32, since Mark) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.unsettled(uid, since)
}

func (e *Enforcer) unsettled(uid uint32, since Mark) bool {
	return e.tasks.Pending(uid) || e.endedAt[uid] > since
}

// document is the policy in force; nil if there is none.
func (e *Enforcer) document() *policy.Document {
	e.mu.Lock()
	document := e.parsed.document
	e.mu.Unlock()
	return document
}

// NeedsConfig reports whether the policy in force needs what only config.pvs says
// of the machine with this description.
func (e *Enforcer) NeedsConfig(vm *prlctl.VM) bool {
	document := e.document()
	return document != nil && document.ReadsFile(vm)
}

// NeedsSpace reports whether the policy in force needs to know what the bundle of the
// machine with this description takes of its disk.
func (e *Enforcer) NeedsSpace(vm *prlctl.VM) bool {
	document := e.document()
	return document != nil && document.EncryptsLater(vm)
}

// Adopt makes the content's document the one that NeedsConfig goes by, and reports
// whether there is one that manages anything.
func (e *Enforcer) Adopt(content *policy.Content) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.parse(content)
	document := e.parsed.document
	return document != nil && (document.ManagesVMs() || document.ManagesControls())
}

// Allow says whether the policy may be carried out, as the configuration and the content
// are now (H40). What a plan of before began, or is about to, ends before its next step.
func (e *Enforcer) Allow(isEnforced bool) {
	e.mu.Lock()
	e.monitors = !isEnforced
	e.mu.Unlock()
}

// SetsVMs reports whether the document in force has settings of virtual machines,
// for which it has to be known what the tools can set.
func (e *Enforcer) SetsVMs() bool {
	document := e.document()
	return document != nil && document.ManagesVMs()
}

// parse parses the content's document, if it is another one. What cannot be read
// leaves the last good one in force: whoever fetched it has checked it, so only
// another version of the agent could fail.
func (e *Enforcer) parse(content *policy.Content) {
	if !content.InForce() {
		e.parsed = parsedDocument{}
		return
	}
	if e.parsed.sha256 == content.Pointer.SHA256 && e.parsed.sha256 != "" {
		return
	}
	next := parsedDocument{sha256: content.Pointer.SHA256, document: e.parsed.document}
	if document, err := policy.Parse(content.Document); err != nil {
		next.code = protocol.CodePolicyInvalid
		e.options.Log.Error().Err(err).Msg("read the policy that is in force")
	} else {
		next.document = document
	}
	e.parsed = next
}
