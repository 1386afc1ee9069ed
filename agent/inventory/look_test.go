package inventory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/platform/tool"
	"prlagent/prlctl"
	"prlagent/store"
)

// DESIGN 11: one list per user, one query more per new or changed machine, and
// a quiet look writes nothing.
func TestToolRunsAndCommitsOfALook(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	vm := l.machines["alice"][0]
	commits := func(look func()) int {
		before := l.state.Commits()
		look()
		return int(l.state.Commits() - before)
	}
	steps := []struct {
		name    string
		change  func()
		gets    int
		commits int
	}{
		{"first look", func() {}, 2, 1},
		{"quiet", func() {}, 0, 0},
		{"agent restarted", func() { l.restart() }, 0, 0},
		{"configuration changed", func() { vm.memory = "4096Mb" }, 1, 1},
		{"quiet again", func() {}, 0, 0},
		{"started", func() { vm.state = "running" }, 0, 1},
		{"runs on", func() { vm.uptime += 3600 }, 0, 0},
		{"new machine", func() {
			m := linux()
			m.id = macID
			l.machines["bob"] = append(l.machines["bob"], m)
		}, 1, 1},
		{"one user fails", func() { l.listErr["bob"] = errService }, 0, 1},
		{"fails on", func() {}, 0, 0},
		{"one user is back", func() { delete(l.listErr, "bob") }, 0, 1},
		{"query by id fails", func() { vm.memory, vm.bulkOnly = "2048Mb", true }, 1, 1},
		{"and is asked again", func() { vm.bulkOnly = false }, 1, 1},
		{"and is content", func() {}, 0, 0},
		{"one machine removed", func() { l.machines["bob"] = l.machines["bob"][:1] }, 0, 1},
	}
	for _, step := range steps {
		step.change()
		wantEqual(t, step.name+": commits", commits(func() { l.look() }), step.commits)
		runs := l.runs()
		wantEqual(t, step.name+": lists", runs["list"], 2)
		wantEqual(t, step.name+": queries", runs["get"], step.gets)
		wantEqual(t, step.name+": license", runs["license"], 1)
	}
}

// Two looks at the same Mac are one report, whatever order maps have.
func TestQuietLooksAreOneReport(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for i := range 20 {
		m := linux()
		m.id, m.home = fmt.Sprintf("aaaaaaaa-0000-4000-8000-%012d", i), fmt.Sprintf("/Users/bob/Parallels/%d.pvm", i)
		l.machines["bob"] = append(l.machines["bob"], m)
	}
	before := l.look()
	l.restart()
	after := l.look()
	after.At = before.At
	if diff := cmp.Diff(before, after, cmp.AllowUnexported(Machine{}, prlctl.VM{})); diff != "" {
		t.Errorf("(-first +second):\n%s", diff)
	}
}

// What cannot be believed is shown as unreadable and spoils nothing around it.
func TestH14_UnreadableMachines(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.look()
	neighbor := windows()
	neighbor.id, neighbor.home, neighbor.name = macID, "/Users/alice/Parallels/Neighbor.pvm", "Neighbor"
	fresh := windows()
	fresh.id, fresh.brokenCode = linuxID, prlctl.CodeDuplicateKey
	known := l.machines["alice"][0]
	known.brokenCode = prlctl.CodeWrongType
	l.machines["alice"] = []*machine{known, neighbor, fresh}

	look := l.look()
	wantEqual(t, "the neighbor", row(t, look, "alice", macID).Stale, "")
	kept := row(t, look, "alice", windowsID)
	wantEqual(t, "known before: reason", kept.Stale, protocol.CodeWrongType)
	wantEqual(t, "known before: last known name", kept.Name, "Windows 11")
	wantEqual(t, "known before: state", kept.State, protocol.StateUnknown)
	wantEqual(t, "known before: when it was seen", kept.SeenAt, look.At)
	never := row(t, look, "alice", linuxID)
	wantEqual(t, "never readable: reason", never.Stale, protocol.CodeDuplicateKey)
	wantEqual(t, "never readable: name", never.Name, "")
	wantEqual(t, "listing", userLook(t, look, "alice"), protocol.UserLook{Name: "alice", UID: 501, Code: protocol.CodeUnreadableVM, Count: 3})
	wantEqual(t, "look", look.Code+" "+protocol.Code(look.Detail), "unreadable_vm alice")

	known.brokenCode, fresh.brokenCode = "", ""
	look = l.look()
	wantEqual(t, "readable again", row(t, look, "alice", windowsID).Stale, "")
	wantEqual(t, "readable for the first time", row(t, look, "alice", linuxID).Name, "Windows 11")
	wantEqual(t, "look", look.Code, "")
}

// An object without an id may be any of the machines that are missing: none of
// them is called removed.
func TestH14_MachineThatHidesItsID(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.look()
	vm := l.machines["alice"][0]
	vm.brokenCode = prlctl.CodeNoID
	look := l.look()
	wantEqual(t, "stale", row(t, look, "alice", windowsID).Stale, protocol.CodeNoID)
	wantEqual(t, "the other account", row(t, look, "bob", linuxID).Stale, "")
	vm.brokenCode = ""
	wantEqual(t, "stale once it shows itself", row(t, l.look(), "alice", windowsID).Stale, "")
}

func TestAccountsWithoutTracesAreNotListed(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	carol := platform.User{Name: "carol", UID: 503, Home: "/Users/carol"}
	l.users = append(l.users, carol)
	l.files["/Users/carol"] = file{uid: 503}
	l.look()
	wantEqual(t, "lists", l.runs()["list"], 2)

	wantEqual(t, "who was asked for traces", l.callsOf("carol"), "look carol")
	l.look()
	wantEqual(t, "and is not asked again at once", l.callsOf("carol"), "")
	for _, trace := range prlctl.UsageTraces {
		l.files["/Users/carol/"+trace] = file{uid: 503}
		l.now = l.now.Add(unusedFor)
		wantEqual(t, "accounts, one with "+trace, len(l.look().Users), 3)
		delete(l.files, "/Users/carol/"+trace)
		l.now = l.now.Add(unusedFor)
		wantEqual(t, "accounts", len(l.look().Users), 2)
	}
	l.console.Sessions = []uint32{501, 503}
	wantEqual(t, "accounts, one with a session", len(l.look().Users), 3)
	l.console.Sessions = nil
	l.machines["carol"] = []*machine{windows()}
	l.files["/Users/carol/Parallels"] = file{uid: 503}
	l.now = l.now.Add(unusedFor)
	l.look()
	delete(l.files, "/Users/carol/Parallels")
	wantEqual(t, "accounts, one with known machines", len(l.look().Users), 3)
}

func TestINV_02_ASessionThatCannotBeEnteredIsAskedFromOutside(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.noEntry = true
	look := l.look()
	wantEqual(t, "code", look.Code, "")
	wantEqual(t, "stale", row(t, look, "alice", windowsID).Stale, "")
	wantEqual(t, "product", look.Product.State, protocol.ProductKey)
	wantEqual(t, "calls", l.callsOf("alice"), "list alice, list alice, get alice "+windowsID+", look alice, license alice")
	wantEqual(t, "calls", l.callsOf("bob"), "look bob, list bob, get bob "+linuxID+", look bob")

	l.listErr["alice"] = &prlctl.Error{Code: prlctl.CodeServiceDown}
	l.noEntry = false
	l.look()
	if got := strings.Count(strings.Join(l.calls, ","), "list alice"); got != 1 {
		t.Errorf("a service that is down was asked %d times", got)
	}
}

// The tools of a user who has a session run within it, each of them; where it
// turns out that it cannot be entered, all that follow run without.
func TestINV_02_EveryQueryRunsWhereTheSessionIs(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		noEntry bool
		inside  string
	}{
		"a session":                  {false, "list alice, get alice " + windowsID + ", license alice"},
		"one that cannot be entered": {true, "list alice"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.noEntry = test.noEntry
			look := l.look()
			wantEqual(t, "calls within a session", strings.Join(l.inside, ", "), test.inside)
			wantEqual(t, "tools, which only the query by id may name", row(t, look, "alice", windowsID).ToolsVersion, "26.4.0-57513")
			wantEqual(t, "bundles", len(look.Accounts[0].Bundles), 1)
		})
	}
}

// Where the files of each account's machines are is known after a look: whoever
// listens to their events reads them there (TRG-09). A machine whose bundle the
// tool did not name has none.
func TestTRG_09_ALookSaysWhereTheBundlesAre(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	nameless := windows()
	nameless.id, nameless.home = macID, ""
	l.machines["alice"] = append(l.machines["alice"], nameless)
	want := []Account{
		{User: alice, Session: true, Console: true, Bundles: map[string]string{windowsID: windows().home}},
		{User: bob, Bundles: map[string]string{linuxID: linux().home}},
	}
	for _, look := range []*Look{l.look(), l.look()} { // the second one from memory
		if diff := cmp.Diff(want, look.Accounts); diff != "" {
			t.Errorf("accounts (-want +got):\n%s", diff)
		}
	}
}

func TestAccountThatIsDeletedFromTheMac(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.look()
	l.users = []platform.User{alice}
	wantEqual(t, "rows", names(l.look()), "alice/Windows 11")
	l.users = []platform.User{alice, bob}
	l.listErr["bob"] = errService
	wantEqual(t, "rows once the name is back", names(l.look()), "alice/Windows 11")
}

// A directory that does not answer is no reason to forget anybody.
func TestDirectoryDoesNotAnswer(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.look()
	l.users, l.usersErr = nil, errors.New("dscl hangs")
	look := l.look()
	wantEqual(t, "rows", names(look), "alice/Windows 11 bob/Ubuntu")
	wantEqual(t, "stale", row(t, look, "bob", linuxID).Stale, "")
	wantEqual(t, "look", look.Code+" "+protocol.Code(look.Detail), "tool_failed users")
}

// directory is a Mac whose dscl prints one text.
type directory string

func (d directory) Run(context.Context, *tool.Command) (tool.Result, error) {
	return tool.Result{Stdout: []byte(d)}, nil
}

func (d directory) Follow(context.Context, *tool.Command, func([]byte, bool)) (tool.Result, error) {
	return tool.Result{}, errors.ErrUnsupported
}

// A list of users that cannot be read says by its code what is wrong with it.
func TestDirectoryPrintsNonsense(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, printed string
		want          protocol.Code
	}{
		{"nothing", "", protocol.CodePlistEmpty},
		{"no property list", "<dscl_cmd> DS Error: -14090", protocol.CodePlistInvalid},
		{"a list that is cut short", `<plist version="1.0"><array><dict>`, protocol.CodePlistInvalid},
		{"a dictionary", `<plist version="1.0"><dict/></plist>`, protocol.CodePlistWrongType},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			users, err := platform.New(t.TempDir(), directory(c.printed)).Users(t.Context())
			l.users, l.usersErr = users.People, err
			look := l.look()
			wantEqual(t, "look", look.Code+" "+protocol.Code(look.Detail), c.want+" users")
		})
	}
}

// One empty answer of the directory must not cost every row.
func TestDirectoryThatKnowsNobody(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.look()
	l.users = nil
	wantEqual(t, "rows", names(l.look()), "alice/Windows 11 bob/Ubuntu")
}

// A look that is cut off says nothing and is not remembered: it would call
// everybody's machines stale.
func TestLookThatIsCutOff(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.look()
	commits := l.state.Commits()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	l.listErr["alice"], l.listErr["bob"] = context.Canceled, context.Canceled
	if _, err := l.collector.Collect(ctx, DefaultPatience); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	wantEqual(t, "commits", l.state.Commits(), commits)
}

// A memory that cannot be written costs queries, not the look; one that cannot
// be read costs the look, since every machine would seem new.
func TestMemoryFails(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	full, _, err := store.Open(context.Background(), t.TempDir()+"/state", store.Options{MaxSize: 1 << 16, Collections: []string{Remembered}})
	if err != nil {
		t.Fatal(err)
	}
	l.state = full
	l.restart()
	for i := range protocol.MaxVMs - 1 {
		m := windows()
		m.id, m.home = fmt.Sprintf("aaaaaaaa-0000-4000-8000-%012d", i), fmt.Sprintf("/Users/alice/Parallels/%d.pvm", i)
		l.machines["alice"] = append(l.machines["alice"][:i:i], m)
	}
	look := l.look()
	wantEqual(t, "look", look.Code+" "+protocol.Code(look.Detail), "store_full memory")
	wantEqual(t, "rows", len(look.VMs), protocol.MaxVMs)
	if err := full.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.collector.Collect(context.Background(), DefaultPatience); err == nil {
		t.Error("a look without its memory")
	}
}

// H12: an account with many machines takes no room from one with few, what is
// known stays, and the number of queries has an end.
func TestH12_FairSharesOfTheReport(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.look()
	for i := range 1000 { // their ids sort before the one that is known
		m := windows()
		m.id, m.home = fmt.Sprintf("00000000-0000-4000-8000-%012d", i), fmt.Sprintf("/Users/alice/Parallels/%d.pvm", i)
		l.machines["alice"] = slices.Insert(l.machines["alice"], 0, m)
	}
	look := l.look()
	wantEqual(t, "rows", len(look.VMs), protocol.MaxVMs)
	wantEqual(t, "truncated", look.Truncated, true)
	wantEqual(t, "look", look.Code, protocol.CodeVMLimit)
	wantEqual(t, "queries", l.runs()["get"], protocol.MaxVMs-1)
	row(t, look, "bob", linuxID)
	wantEqual(t, "known among the kept ones", l.collectorKnows(alice, windowsID), true)
	before := reportOf(t, look)
	wantEqual(t, "queries of a quiet look", func() int { look = l.look(); return l.runs()["get"] }(), 0)
	wantEqual(t, "report of a quiet look", reportOf(t, look), before)
}

func (l *lab) collectorKnows(user platform.User, id string) bool {
	known, err := l.collector.loadKnown()
	if err != nil {
		l.t.Fatal(err)
	}
	return known[user.UID][id] != nil
}

func TestH12_Share(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ have, want []int }{
		"one takes all":     {[]int{300}, []int{200}},
		"few keep theirs":   {[]int{300, 5}, []int{195, 5}},
		"equal":             {[]int{150, 150}, []int{100, 100}},
		"three":             {[]int{500, 80, 10}, []int{110, 80, 10}},
		"nothing to cut":    {[]int{100, 100}, []int{100, 100}},
		"odd ones are left": {[]int{101, 101, 101}, []int{66, 66, 66}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var rows []protocol.VM
			for account, count := range c.have {
				for i := range count {
					rows = append(rows, protocol.VM{VMKey: protocol.VMKey{UID: uint32(account), ID: fmt.Sprintf("%03d", i)}})
				}
			}
			got := make([]int, len(c.have))
			for _, row := range fairShare(rows, protocol.MaxVMs) {
				got[row.UID]++
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// BenchmarkQuietLook1000VMs is a look at five accounts with 200 machines each
// that finds nothing new, without the tools' own time.
func BenchmarkQuietLook1000VMs(b *testing.B) {
	l := newLab(b)
	l.users, l.machines = nil, map[string][]*machine{}
	for account := range 5 {
		user := platform.User{Name: fmt.Sprintf("user%d", account), UID: uint32(501 + account), Home: fmt.Sprintf("/Users/user%d", account)}
		l.users = append(l.users, user)
		l.files[user.Home+"/Parallels"] = file{uid: user.UID}
		for i := range 200 {
			m := windows()
			m.id, m.home = fmt.Sprintf("%08d-0000-4000-8000-%012d", account, i), fmt.Sprintf("%s/Parallels/%d.pvm", user.Home, i)
			l.machines[user.Name] = append(l.machines[user.Name], m)
			l.bundle(m.home, user.UID, uint64(1000*account+i+1))
			l.windowsInfo(m.home, windowsPro, "22621")
		}
	}
	listings := map[string]prlctl.Listing{}
	for _, user := range l.users {
		listing, _ := asUser{l.fakeMac, user, false}.List(context.Background())
		listings[user.Name] = listing
	}
	l.collector.sources.Lister = func(user platform.User, _ bool) Lister {
		return printed{asUser{l.fakeMac, user, false}, listings[user.Name]}
	}
	if _, err := l.collector.Collect(context.Background(), DefaultPatience); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.collector.Collect(context.Background(), DefaultPatience); err != nil {
			b.Fatal(err)
		}
	}
}

// printed lists what was read before.
type printed struct {
	asUser
	listing prlctl.Listing
}

func (p printed) List(context.Context) (prlctl.Listing, error) { return p.listing, nil }
