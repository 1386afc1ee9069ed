package enforce

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	library "howett.net/plist"

	"prlagent/agent/lane"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/platform/plist"
	"prlagent/platform/tool"
	"prlagent/prlctl"
	"prlagent/store"
)

// Keys of the domain in these tests.
const (
	checkKey  = "Application preferences.Check for updates"
	sourceKey = "Application preferences.VolumeLicenseUpdatePolicy"
)

// fakeDefaults is cfprefsd behind /usr/bin/defaults, with the domain of each user.
type fakeDefaults struct {
	t      testing.TB
	mu     sync.Mutex
	binary bool // it exports in the binary format

	domains map[uint32]map[string]any
	files   map[uint32]int // how often the file behind it was written
	calls   []string       // "uid export", "uid write KEY"
	// before and after are told of each call, without the lock.
	before, after func(uid uint32, call string)
	loses         func() bool                       // whether a write is lost; nil: none is
	exit          func(uid uint32, call string) int // nil: 0
	hangs         map[uint32]bool
}

// runnerOf is the programs of one user.
type runnerOf struct {
	*fakeDefaults
	uid uint32
}

func (r runnerOf) Run(ctx context.Context, c *tool.Command) (tool.Result, error) {
	if c.Path != "/usr/bin/defaults" || len(c.Args) < 3 || c.Args[1] != prlctl.PreferenceDomain {
		r.t.Errorf("ran %s %q", c.Path, c.Args)
	}
	if r.hangs[r.uid] {
		<-ctx.Done()
		return tool.Result{ExitCode: -1}, &tool.Error{Code: tool.CodeTimeout, Path: c.Path, Err: ctx.Err()}
	}
	call := c.Args[0]
	if call == "write" {
		call += " " + c.Args[2]
	}
	if r.before != nil {
		r.before(r.uid, call)
	}
	result := r.run(c.Args, call)
	if r.after != nil {
		r.after(r.uid, call)
	}
	return result, nil
}

func (r runnerOf) run(args []string, call string) tool.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, fmt.Sprint(r.uid, " ", call))
	if r.exit != nil && r.exit(r.uid, call) != 0 {
		return tool.Result{ExitCode: r.exit(r.uid, call)}
	}
	switch args[0] {
	case "export":
		return tool.Result{Stdout: r.export()}
	case "write":
		value, err := plist.Decode([]byte(`<plist version="1.0">` + args[3] + `</plist>`))
		if err != nil || len(args) != 4 {
			r.t.Errorf("fragment %q: %v", args, err)
		}
		if r.loses == nil || !r.loses() {
			r.set(r.uid, args[2], value)
		}
		return tool.Result{}
	}
	r.t.Errorf("nobody may run defaults %q", args)
	return tool.Result{ExitCode: 255}
}

func (r runnerOf) export() []byte {
	domain := r.domains[r.uid]
	if domain == nil {
		domain = map[string]any{}
	}
	format := library.XMLFormat
	if r.binary {
		format = library.BinaryFormat
	}
	var out bytes.Buffer
	if err := library.NewEncoderForFormat(&out, format).Encode(domain); err != nil {
		r.t.Errorf("export: %v", err)
	}
	return out.Bytes()
}

// set is a change by whoever may make it. The caller holds the lock.
func (f *fakeDefaults) set(uid uint32, key string, value any) {
	if f.domains[uid] == nil {
		f.domains[uid] = make(map[string]any)
	}
	f.domains[uid][key] = value
	f.files[uid]++
}

// change is a change by somebody else.
func (f *fakeDefaults) change(uid uint32, key string, value any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.set(uid, key, value)
}

func (f *fakeDefaults) domain(uid uint32) map[string]any {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.domains[uid])
}

// count is how many calls there were that begin so, behind the uid.
func (f *fakeDefaults) count(prefix string) (count int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, call := range f.calls {
		if _, rest, _ := strings.Cut(call, " "); strings.HasPrefix(rest, prefix) {
			count++
		}
	}
	return count
}

func (f *fakeDefaults) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = nil
}

// desk is a Mac with an enforcer, whose users have preferences and no machines.
type desk struct {
	*fakeDefaults
	folder   string
	state    *store.Store
	enforcer *Enforcer
	posted   chan uint32
	shown    chan string
	ctx      context.Context
	stop     context.CancelFunc

	content policy.Content
	now     time.Time
	monitor bool
	notify  bool
	users   []platform.User
	runs    map[uint32][]string
	forced  map[uint32]map[policy.ManagedKey]any
	version prlctl.Version
	edition string
	retry   bool
	events  []protocol.Event
}

func productOf(members string, revision uint64) policy.Content {
	document := fmt.Sprintf(`{"schema":1,"policy_id":"finance","revision":%d,"name":"Finance","groups":["finance"],"product":{%s}}`, revision, members)
	return policy.Content{Verified: true, HeadVersion: revision, Document: []byte(document), Pointer: protocol.PointTo("finance", revision, []byte(document))}
}

// newDesk is a Mac of alice and bob, with a policy of preferences.
func newDesk(t testing.TB, members string) *desk {
	t.Helper()
	defaults := &fakeDefaults{t: t, domains: make(map[uint32]map[string]any), files: make(map[uint32]int), hangs: make(map[uint32]bool)}
	return deskOn(t, defaults, t.TempDir(), members)
}

func deskOn(t testing.TB, defaults *fakeDefaults, folder, members string) *desk {
	t.Helper()
	state, _, err := store.Open(context.Background(), filepath.Join(folder, "state"), store.Options{Log: zerolog.Nop(), Collections: Collections()})
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{
		fakeDefaults: defaults, folder: folder, state: state, posted: make(chan uint32, 100), shown: make(chan string, 100),
		content: productOf(members, 7), now: time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC), users: []platform.User{alice, bob},
		runs: make(map[uint32][]string), version: version, edition: "enterprise",
	}
	d.ctx, d.stop = context.WithCancel(context.Background())
	d.enforcer = New(Options{
		Store: state, Lanes: lane.New(), Now: func() time.Time { return d.now }, Log: zerolog.Nop(),
		Preferences: func(user platform.User, _ bool) PreferenceTool {
			return platform.NewPreferences(runnerOf{defaults, user.UID}, prlctl.PreferenceDomain)
		},
		Forced: func([]platform.User) map[uint32]map[policy.ManagedKey]any { return d.forced },
		Posted: func(uid uint32) { d.posted <- uid }, Reminded: func() {},
		Notify: func(_ context.Context, user platform.User, text string) error {
			d.shown <- fmt.Sprint(user.UID, " ", text)
			return nil
		},
	})
	t.Cleanup(func() {
		d.stop()
		d.enforcer.Close()
		_ = state.Close()
	})
	return d
}

// situation is what a look at the Mac sees.
func (d *desk) situation() *Situation {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &Situation{
		Content: d.content, Enforce: !d.monitor, NotifyUsers: d.notify, Mark: d.enforcer.Mark(), Version: d.version, Edition: d.edition, Whole: true,
	}
	for _, user := range d.users {
		s.Accounts = append(s.Accounts, Account{
			Owner: Owner{User: user, Session: true}, File: fmt.Sprint("file ", d.files[user.UID]), Runs: d.runs[user.UID], RetryNow: d.retry,
		})
	}
	return s
}

// pass is one look with the plan after it, and what follows from that. It gives how
// many accounts were read or written.
func (d *desk) pass() int {
	d.t.Helper()
	planned, err := d.enforcer.Plan(d.situation())
	if err != nil {
		d.t.Fatal(err)
	}
	d.events = append(d.events, planned.Events...)
	d.enforcer.Apply(d.ctx, planned)
	for range planned.work {
		<-d.posted
	}
	events, _ := d.enforcer.TakePreferences()
	d.events = append(d.events, events...)
	return len(planned.work)
}

// settle looks until nothing is read or written any more.
func (d *desk) settle() {
	d.t.Helper()
	for range 20 {
		if d.pass() == 0 {
			return
		}
		d.retry = false
	}
	d.t.Fatalf("it does not end: %v", d.calls)
}

// verdicts are how it stands, by uid and preference.
func (d *desk) verdicts() map[string]string {
	found := make(map[string]string)
	for _, one := range d.enforcer.View().Settings {
		found[fmt.Sprintf("%d %s", one.Verdict.VM.UID, one.Verdict.Setting)] = strings.TrimSpace(one.Verdict.Verdict + " " + string(one.Verdict.Code))
	}
	return found
}

func (d *desk) want(verdicts ...string) {
	d.t.Helper()
	got := d.verdicts()
	for _, want := range verdicts {
		key, verdict, _ := strings.Cut(want, ": ")
		if got[key] != verdict {
			d.t.Errorf("%s is %q, want %q", key, got[key], verdict)
		}
	}
}

// eventsOf are the types of the events so far, each with its code.
func (d *desk) eventWords() (words []string) {
	for _, event := range d.events {
		words = append(words, strings.TrimSpace(event.Data["uid"]+" "+event.Type+" "+string(event.Code)))
	}
	return words
}
