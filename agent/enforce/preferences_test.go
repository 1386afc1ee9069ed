package enforce

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/platform/plist"
	"prlagent/prlctl"
)

// slowRetryOfTest is when what failed twice is tried again (H41).
const slowRetryOfTest = time.Hour

const noUpdates = `"update_policy":"None","update_check":"never"`

// UPD-12, UPD-08: every user of the Mac is set, with the right types, also one who
// comes tomorrow.
func TestUPD_12_EveryUserOfTheMac(t *testing.T) {
	t.Parallel()
	d := newDesk(t, noUpdates)
	d.change(501, "mine", "stays")
	d.settle()
	d.want("501 update_policy: in_place", "501 update_check: in_place", "502 update_policy: in_place")
	if report := d.enforcer.Report(&d.content, Gates{}); report.State != protocol.PolicyConverged || report.Counts[protocol.StrengthReverted] != 4 {
		t.Errorf("report %+v", report)
	}
	for _, uid := range []uint32{501, 502} {
		if domain := d.domain(uid); domain[sourceKey] != "None" || domain[checkKey] != uint64(0) {
			t.Errorf("%d has %v", uid, domain)
		}
	}
	if d.domain(501)["mine"] != "stays" {
		t.Error("another key is gone")
	}
	d.users = append(d.users, platform.User{Name: "carol", UID: 503})
	d.settle()
	d.want("503 update_policy: in_place")
	if want := []string{"501 policy_setting_set", "501 policy_setting_set"}; !slices.Equal(slices.DeleteFunc(d.eventWords(), func(e string) bool { return !strings.HasPrefix(e, "501") }), want) {
		t.Errorf("events %q", d.eventWords())
	}
	var keys []protocol.VMKey
	report := d.enforcer.Verdicts()
	report.Each(func(key protocol.VMKey, _ *protocol.VerdictGroup) { keys = append(keys, key) })
	if !slices.Contains(keys, protocol.VMKey{UID: 503}) {
		t.Errorf("the portal is told of %v", keys)
	}
}

// A Mac on which all is as it is wanted costs no write, and no run of defaults but
// one for each user whose file or application is another one, and once a day.
func TestPreferencesThatAreInPlaceCostNothing(t *testing.T) {
	t.Parallel()
	d := newDesk(t, noUpdates)
	d.settle()
	d.forget()
	commits := d.state.Commits()
	count := func(name string, exports int, change func()) {
		t.Helper()
		change()
		d.settle()
		if got := d.count("export"); got != exports || d.count("write") != 0 {
			t.Errorf("%s: %d exports, want %d; calls %q", name, got, exports, d.calls)
		}
		d.forget()
	}
	count("nothing", 0, func() {})
	count("an hour of looks", 0, func() {
		for range 60 {
			d.now = d.now.Add(time.Minute)
			d.settle()
		}
	})
	if d.state.Commits() != commits {
		t.Errorf("%d commits", d.state.Commits()-commits)
	}
	count("alice's file", 1, func() { d.change(501, "mine", "x") })
	count("alice's application begins", 1, func() { d.runs[501] = []string{"7@1"} })
	count("and ends", 1, func() { d.runs[501] = nil })
	count("somebody asks", 2, func() { d.retry = true })
	count("a day later", 2, func() { d.now = d.now.Add(24 * time.Hour) })
	count("another revision that wants the same", 0, func() { d.content = productOf(noUpdates, 8) })
	count("a policy without preferences", 0, func() { d.content = contentOf(`"clipboard":"disconnect"`, 9) })
	if d.state.Commits()-commits > 5 {
		t.Errorf("%d commits", d.state.Commits()-commits)
	}
}

// UPD-09, H44: written at once, waits for the restart, checked when the application
// quits and at its next launch. The application writes at its quit what it had read.
func TestUPD_09_H44_WhileTheApplicationRuns(t *testing.T) {
	t.Parallel()
	d := newDesk(t, noUpdates)
	d.change(501, sourceKey, "Parallels")
	d.runs[501] = []string{"7@1"}
	d.settle()
	d.want("501 update_policy: pending pending_restart", "502 update_policy: in_place")
	if report := d.enforcer.Report(&d.content, Gates{}); report.State != protocol.PolicyConverging {
		t.Errorf("state %s", report.State)
	}
	// It quits, and our write is lost.
	d.runs[501] = nil
	d.change(501, sourceKey, "Parallels")
	d.settle()
	d.want("501 update_policy: in_place")
	if d.domain(501)[sourceKey] != "None" || !slices.Contains(d.eventWords(), "501 policy_setting_restored") || !slices.Contains(d.eventWords(), "501 policy_setting_changed") {
		t.Errorf("domain %v, events %q", d.domain(501), d.eventWords())
	}
	d.runs[501] = []string{"8@2"}
	d.settle()
	d.want("501 update_policy: in_place")
}

// A restart knows what waits for a restart of the application, and writes nothing.
func TestPreferencesSurviveARestart(t *testing.T) {
	t.Parallel()
	d := newDesk(t, noUpdates)
	d.change(501, sourceKey, "Parallels")
	d.runs[501] = []string{"7@1"}
	d.settle()
	told := d.enforcer.Verdicts()
	d.stop()
	d.enforcer.Close()
	if err := d.state.Close(); err != nil {
		t.Fatal(err)
	}
	d.forget()
	again := deskOn(t, d.fakeDefaults, d.folder, noUpdates)
	again.runs[501] = []string{"7@1"}
	if planned, err := again.enforcer.Plan(again.situation()); err != nil || planned.ReportChanged {
		t.Errorf("before anything is read the portal is told something else (%v)", err)
	}
	again.settle()
	again.want("501 update_policy: pending pending_restart", "502 update_check: in_place")
	if again.count("write") > 0 || fmt.Sprint(again.enforcer.Verdicts()) != fmt.Sprint(told) {
		t.Errorf("calls %q", again.calls)
	}
	if call := again.memoryOf(501, "update_policy", sourceKey); call.Prior != `"Parallels"` || call.Word != `"None"` {
		t.Errorf("memory %+v", call)
	}
}

func (d *desk) memoryOf(uid uint32, setting, key string) policy.CallMemory {
	memory := d.enforcer.recall(policy.AccountKey(uid)).Setting(setting)
	return *memory.Call(key)
}

// H40, POL-11, H47: monitor mode writes nothing, and neither does the end of a policy:
// the values stay.
func TestPOL_11_ReleaseLeavesPreferences(t *testing.T) {
	t.Parallel()
	d := newDesk(t, noUpdates)
	d.monitor = true
	d.settle()
	d.want("501 update_policy: pending monitor_mode")
	if view := d.enforcer.View(); len(view.PreferenceSteps) != 4 || d.count("write") > 0 {
		t.Errorf("%d steps, calls %q", len(view.PreferenceSteps), d.calls)
	}
	d.monitor = false
	d.settle()
	d.forget()
	d.content = policy.Content{Verified: true, HeadVersion: 8, Released: true}
	d.settle()
	if len(d.calls) > 0 || d.domain(501)[sourceKey] != "None" || len(d.enforcer.memory) > 0 {
		t.Errorf("calls %q, remembered %v", d.calls, d.enforcer.memory)
	}
}

// CFP-10: a forced value is managed, and nothing is written below it; when it is gone
// the policy decides again.
func TestCFP_10_ForcedPreferences(t *testing.T) {
	t.Parallel()
	d := newDesk(t, noUpdates)
	d.forced = map[uint32]map[policy.ManagedKey]any{501: {{Domain: prlctl.PreferenceDomain, Key: checkKey}: uint64(1)}}
	d.settle()
	d.want("501 update_check: not_applicable managed", "502 update_check: in_place", "501 update_policy: in_place")
	if _, has := d.domain(501)[checkKey]; has {
		t.Error("it was written")
	}
	d.forced = nil
	d.settle()
	d.want("501 update_check: in_place")
}

// SEC-14, SEC-15: who else decides on updates takes the control against major upgrades
// out of force, and it is back when nobody does.
func TestSEC14_SEC15_WhoElseDecidesOnUpdates(t *testing.T) {
	t.Parallel()
	policyKey := policy.ManagedKey{Domain: prlctl.PreferenceDomain, Key: sourceKey}
	for name, c := range map[string]struct {
		members string
		forced  map[policy.ManagedKey]any
		want    string
	}{
		"nobody":                        {`"update_policy":"None"`, nil, "in_place"},
		"SEC-14 a server of the policy": {`"update_policy":"https://updates.example.com"`, nil, "not_applicable local_update_server"},
		"SEC-14 a server of a profile":  {``, map[policy.ManagedKey]any{policyKey: "https://updates.example.com"}, "not_applicable local_update_server"},
		"SEC-15 a profile":              {``, map[policy.ManagedKey]any{policyKey: "None"}, "not_applicable mdm"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, c.members)
			d.controlled("no_major_upgrade")
			d.forced = map[uint32]map[policy.ManagedKey]any{502: c.forced}
			d.settle()
			d.want("0 no_major_upgrade: " + c.want)
			if d.forced = nil; c.forced != nil {
				d.settle()
				d.want("0 no_major_upgrade: in_place")
			}
		})
	}
}

// controlled adds a security control to the policy.
func (d *desk) controlled(control string) {
	d.content.Document = bytes.Replace(d.content.Document, []byte(`"product"`), []byte(`"security_controls":{"`+control+`":true},"product"`), 1)
	d.content.Pointer = protocol.PointTo("finance", 7, d.content.Document)
}

// observed is what is said beside a control.
func (d *desk) observed(control string) string {
	for _, one := range d.enforcer.View().Settings {
		if one.Verdict.Setting == control && one.Verdict.Beside != nil {
			return one.Verdict.Beside.Observed
		}
	}
	return ""
}

// SEC-14: a local update server that a user has set by hand is one as well, without
// any preference in the policy: their preferences are read for the control alone, and
// not written. A product that then moves is no violation, also after a restart.
func TestSEC14_AUserSetsAnUpdateServer(t *testing.T) {
	t.Parallel()
	d := newDesk(t, ``)
	d.controlled("no_major_upgrade")
	d.settle()
	d.want("0 no_major_upgrade: in_place")
	d.change(502, sourceKey, "https://updates.example.com/desktop.xml")
	d.settle()
	d.want("0 no_major_upgrade: not_applicable local_update_server")
	if want := "accounts with an update server that neither the policy nor a profile has set: 1"; d.observed("no_major_upgrade") != want {
		t.Errorf("observed %q", d.observed("no_major_upgrade"))
	}
	d.version.Major++
	d.settle()
	d.stop()
	d.enforcer.Close()
	_ = d.state.Close()
	next := deskOn(t, d.fakeDefaults, d.folder, ``)
	next.content, next.version = d.content, d.version
	next.pass() // before anything is read
	next.want("0 no_major_upgrade: not_applicable local_update_server")
	next.settle()
	if violations := next.enforcer.Violations(); violations != 0 {
		t.Errorf("%d violations", violations)
	}
	next.change(502, sourceKey, "Parallels")
	next.settle()
	next.want("0 no_major_upgrade: failed major_upgrade")
	if writes := next.count("write"); writes != 0 {
		t.Errorf("%d writes", writes)
	}
}

// SEC-17: values that the policy manages stay as they are set: whatever a user changes
// is put back at the next trigger, for each user, and counted; each time is an event,
// and beside no_preferences, whose dialog nothing of ours closes, stands how often.
// What the policy does not manage is the user's.
func TestSEC17_PreferenceValuesStayAsSet(t *testing.T) {
	t.Parallel()
	d := newDesk(t, noUpdates)
	d.controlled("no_preferences")
	d.settle()
	d.want("0 no_preferences: unsupported not_enforceable")
	if got, want := d.observed("no_preferences"), "preferences in the policy: 2; times that one was found changed: 0, in accounts: 0"; got != want {
		t.Errorf("observed %q", got)
	}
	d.events = nil
	for _, edit := range []struct {
		uid   uint32
		key   string
		value any
	}{{501, sourceKey, "Parallels"}, {501, checkKey, uint64(3)}, {502, checkKey, "0"}, {501, "SupportRequestUrl", "https://mine.example"}} {
		d.now = d.now.Add(2 * time.Hour)
		d.change(edit.uid, edit.key, edit.value)
		d.settle()
	}
	for _, uid := range []uint32{501, 502} {
		if domain := d.domain(uid); domain[sourceKey] != "None" || domain[checkKey] != uint64(0) {
			t.Errorf("%d has %v", uid, domain)
		}
	}
	if d.domain(501)["SupportRequestUrl"] != "https://mine.example" {
		t.Error("what is not managed was changed")
	}
	d.pass()
	if drifts := d.enforcer.Drifts(); drifts != 3 {
		t.Errorf("%d drifts are counted", drifts)
	}
	if got, want := d.observed("no_preferences"), "preferences in the policy: 2; times that one was found changed: 3, in accounts: 2"; got != want {
		t.Errorf("observed %q", got)
	}
	restored := slices.DeleteFunc(d.eventWords(), func(word string) bool { return !strings.HasSuffix(word, eventRestored) })
	if want := []string{"501 " + eventRestored, "501 " + eventRestored, "502 " + eventRestored}; !slices.Equal(restored, want) {
		t.Errorf("events %q", d.eventWords())
	}
	d.want("501 update_policy: in_place", "501 update_check: in_place", "502 update_check: in_place")

	// Without preferences in the policy, nobody knows what they should be.
	d.content = productOf(``, 8)
	d.controlled("no_preferences")
	d.settle()
	if got, want := d.observed("no_preferences"), "the policy has no preferences that could be seen to change"; got != want {
		t.Errorf("observed %q", got)
	}
}

// UPD-03: with updates turned off, a version that moves is an event; once.
func TestUPD_03_TheProductMovesAllTheSame(t *testing.T) {
	t.Parallel()
	moved := func(d *desk) int {
		return len(slices.DeleteFunc(d.eventWords(), func(e string) bool { return !strings.Contains(e, "updated_against_policy") }))
	}
	d := newDesk(t, noUpdates)
	d.settle()
	d.version.Major++
	d.settle()
	d.settle()
	if moved(d) != 1 {
		t.Errorf("events %q", d.eventWords())
	}
	d.enforcer.Recall() // as after a restart
	d.version.Minor++
	d.settle()
	if moved(d) != 2 {
		t.Errorf("events %q", d.eventWords())
	}
	allowed := newDesk(t, `"update_policy":"Parallels"`)
	allowed.settle()
	allowed.version.Major++
	allowed.settle()
	if moved(allowed) != 0 {
		t.Errorf("events %q", allowed.eventWords())
	}
}

// What the tool says is a hint: a refusal that took effect is in place, a success
// that did not is tried again, then once an hour.
func TestPreferencesThatAreNotWritten(t *testing.T) {
	t.Parallel()
	d := newDesk(t, `"update_check":"never"`)
	d.users = []platform.User{alice}
	d.loses = func() bool { return true }
	d.settle()
	d.want("501 update_check: failed preference_lost")
	if d.count("write") != 2 || !slices.Equal(d.eventWords(), []string{"501 policy_setting_failed preference_lost"}) {
		t.Errorf("calls %q, events %q", d.calls, d.eventWords())
	}
	d.forget()
	d.settle()
	if len(d.calls) > 0 {
		t.Errorf("at once again: %q", d.calls)
	}
	d.now = d.now.Add(time.Hour)
	d.loses = nil
	d.exit = func(_ uint32, call string) int {
		if strings.HasPrefix(call, "export") {
			return 1
		}
		return 0
	}
	d.settle()
	d.want("501 update_check: unknown tool_failed")
	d.exit = nil
	d.now = d.now.Add(time.Hour)
	d.settle()
	d.want("501 update_check: in_place")
}

// H12: a user whose defaults hangs delays nobody.
func TestH12_AUserWhoseDefaultsHangs(t *testing.T) {
	t.Parallel()
	d := newDesk(t, noUpdates)
	d.hangs[501] = true
	planned, err := d.enforcer.Plan(d.situation())
	if err != nil {
		t.Fatal(err)
	}
	d.enforcer.Apply(d.ctx, planned)
	if uid := <-d.posted; uid != 502 {
		t.Errorf("%d is done first", uid)
	}
	if d.domain(502)[sourceKey] != "None" {
		t.Error("bob has nothing")
	}
	again, err := d.enforcer.Plan(d.situation())
	if err != nil || len(again.Accounts) != 2 {
		t.Errorf("plan %+v, %v", again, err)
	}
	d.want("502 update_policy: pending not_looked_yet") // until it is taken
	d.stop()
}

// Whatever a domain has, only the managed keys are others afterwards, in XML and in
// the binary format, and no other user's.
func TestOnlyManagedKeysDiffer(t *testing.T) {
	t.Parallel()
	d := newDesk(t, noUpdates+`,"download_updates":true,"support_url":"https://it.example.com/?a=1&b=<2>","menu_bar_icon":false`)
	managed := []string{sourceKey, checkKey, "Application preferences.Download updates automatically", "SupportRequestUrl", "Application preferences.Show Tray Icon"}
	number := uint32(1000)
	rapid.Check(t, func(r *rapid.T) {
		d.binary = rapid.Bool().Draw(r, "binary")
		number += 2
		d.users = []platform.User{{Name: "one", UID: number}, {Name: "two", UID: number + 1}}
		before := make(map[uint32]any)
		for _, user := range d.users {
			domain := rapid.MapOfN(domainKeys(managed), domainValues(2), 0, 12).Draw(r, "domain")
			data, err := plist.EncodeXML(domain)
			if err != nil {
				r.Fatal(err)
			}
			d.domains[user.UID], _ = plist.DecodeDict(data)
			before[user.UID] = d.domain(user.UID)
		}
		d.settle()
		for _, user := range d.users {
			after, was := d.domain(user.UID), before[user.UID].(map[string]any)
			if after[sourceKey] != "None" || after[checkKey] != uint64(0) || after[managed[2]] != true || after[managed[4]] != uint64(0) && after[managed[4]] != "0" {
				r.Fatalf("not as it is wanted: %v", after)
			}
			for _, key := range managed {
				delete(after, key)
				delete(was, key)
			}
			if !plist.Equal(was, after) {
				r.Fatalf("before %v, after %v", was, after)
			}
		}
	})
}

// domainKeys are keys of a domain, some of them those that the policy manages.
func domainKeys(managed []string) *rapid.Generator[string] {
	return rapid.OneOf(rapid.SampledFrom(managed),
		rapid.SampledFrom([]string{"a.b", "{f11d8098-10fe-40d9-871e-27af1e66161e}.0.x", "Application preferences", "Application preferences.Check for updates ", "ключ", "é", "é"}),
		rapid.StringMatching(`[A-Za-z .{}<&"']{1,20}`))
}

// domainValues are values of every type.
func domainValues(depth int) *rapid.Generator[any] {
	kinds := []*rapid.Generator[any]{
		rapid.Map(rapid.StringMatching(`[ -~é]{0,20}`), func(v string) any { return v }),
		rapid.Map(rapid.Bool(), func(v bool) any { return v }),
		rapid.Map(rapid.SampledFrom([]int64{0, 1, 2, 3, -1, math.MinInt64, math.MaxInt64}), func(v int64) any { return v }),
		rapid.Map(rapid.SampledFrom([]uint64{0, 2, math.MaxUint64}), func(v uint64) any { return v }),
		rapid.Map(rapid.Float64Range(-1e6, 1e6), func(v float64) any { return v }),
		rapid.Map(rapid.Int64Range(0, 1<<32), func(v int64) any { return time.Unix(v, 0).UTC() }),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 20), func(v []byte) any { return v }),
	}
	if depth > 0 {
		kinds = append(kinds,
			rapid.Map(rapid.SliceOfN(rapid.Deferred(func() *rapid.Generator[any] { return domainValues(depth - 1) }), 0, 3), func(v []any) any { return v }),
			rapid.Map(rapid.MapOfN(rapid.StringMatching(`[a-z]{1,5}`), rapid.Deferred(func() *rapid.Generator[any] { return domainValues(depth - 1) }), 0, 3), func(v map[string]any) any { return v }))
	}
	return rapid.OneOf(kinds...)
}

// A rival: the application and others write before and after each of our calls, and
// take back what we wrote, in a thousand ways. A lost write is seen and done again,
// and no key of anybody else is lost or another one.
func TestARivalWriter(t *testing.T) {
	t.Parallel()
	interleavings := 1000
	if testing.Short() {
		interleavings = 100
	}
	d := newDesk(t, noUpdates)
	lost := 0
	for seed := range interleavings {
		chance := rand.New(rand.NewPCG(uint64(seed), 13))
		uid := uint32(2000 + seed)
		d.users, d.events = []platform.User{{Name: "user", UID: uid}}, nil
		theirs, takesBack := map[string]any{}, 1+chance.IntN(2)
		rival := func(_ uint32, _ string) {
			switch chance.IntN(4) {
			case 0: // the application keeps something of its own
				key := fmt.Sprintf("{%d}.%d.Place", chance.IntN(3), chance.IntN(3))
				theirs[key] = uint64(chance.IntN(100))
				d.change(uid, key, theirs[key])
			case 1: // it writes what it had read at its launch
				if takesBack > 0 {
					takesBack--
					lost++
					d.change(uid, []string{sourceKey, checkKey}[chance.IntN(2)], "Parallels")
				}
			case 2: // it quits, or is launched
				d.runs[uid] = nil
				if chance.IntN(2) == 0 {
					d.runs[uid] = []string{fmt.Sprint(chance.IntN(1000), "@1")}
				}
			}
		}
		d.before, d.after = rival, rival
		d.pass()
		d.pass()
		d.before, d.after = nil, nil
		d.runs[uid] = nil
		d.settle()
		d.now = d.now.Add(slowRetryOfTest) // what was lost twice in a row is tried once an hour
		d.settle()
		d.want(fmt.Sprint(uid, " update_policy: in_place"), fmt.Sprint(uid, " update_check: in_place"))
		domain := d.domain(uid)
		if domain[sourceKey] != "None" || domain[checkKey] != uint64(0) {
			t.Fatalf("interleaving %d: %v, calls %q", seed, domain, d.calls)
		}
		delete(domain, sourceKey)
		delete(domain, checkKey)
		if !plist.Equal(domain, theirs) {
			t.Fatalf("interleaving %d: theirs are %v, and were %v", seed, domain, theirs)
		}
		d.forget()
		delete(d.domains, uid)
	}
	if lost < interleavings/2 {
		t.Errorf("only %d writes were taken back", lost)
	}
}

// What others change while we write is told, with the keys, and is no failure.
func TestOthersWriteMeanwhile(t *testing.T) {
	t.Parallel()
	d := newDesk(t, `"update_check":"never"`)
	d.users = []platform.User{alice}
	d.change(501, "stays", "x")
	d.change(501, "goes", "x")
	d.before = func(uid uint32, call string) {
		if call == "write "+checkKey {
			d.change(uid, "comes", uint64(1))
			d.mu.Lock()
			delete(d.domains[uid], "goes")
			d.mu.Unlock()
		}
	}
	d.settle()
	d.want("501 update_check: in_place")
	at := slices.IndexFunc(d.events, func(e protocol.Event) bool { return e.Type == eventMoved })
	if at < 0 || d.events[at].Data["keys"] != "2" || d.events[at].Code != protocol.CodePreferencesMoved {
		t.Errorf("events %+v", d.events)
	}
}

// UPD-09, H44: a user whose application has to be restarted is told so, and one whose
// value was put back, each once and at most once a day; nobody ends the application.
func TestUPD_09_UsersAreTold(t *testing.T) {
	t.Parallel()
	d := newDesk(t, noUpdates)
	d.notify = true
	d.runs[501] = []string{"7@1"}
	told := func(name string, want ...string) {
		t.Helper()
		d.settle()
		d.settle()
		d.enforcer.running.Wait()
		var got []string
		for range len(d.shown) {
			got = append(got, <-d.shown)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: told %q, want %q", name, got, want)
		}
	}
	told("restart", "501 "+restartText)
	d.now = d.now.Add(48 * time.Hour)
	told("two days later")
	d.runs[501] = nil
	told("it has quit")
	d.change(502, checkKey, uint64(2))
	told("bob changes something", "502 "+putBackText)
	d.now = d.now.Add(time.Minute)
	d.change(502, checkKey, uint64(2))
	told("and again")
	d.now = d.now.Add(25 * time.Hour)
	told("a day later", "502 "+putBackText)
	d.enforcer.Recall()
	told("after a restart")
	d.notify = false
	d.now = d.now.Add(25 * time.Hour)
	d.change(502, checkKey, uint64(3))
	told("nobody is to be told")
	if events := d.enforcer.TakeReminders(); len(events) != 3 || events[0].Data["notification"] != reminderAsked {
		t.Errorf("events %+v", events)
	}
}

// A kill at any moment leaves nothing that the next daemon does not put right: the
// first value that was there is remembered, and what others wrote stays.
func TestPreferencesAfterAKill(t *testing.T) {
	t.Parallel()
	for kill := 1; kill <= 14; kill++ {
		d := newDesk(t, noUpdates)
		d.users = []platform.User{alice}
		d.change(501, sourceKey, "Parallels")
		d.change(501, "mine", "x")
		moments := 0
		var folder string
		var domain map[string]any
		moment := func(uint32, string) {
			if moments++; moments == kill {
				folder, domain = copyState(t, d.folder), d.domain(501)
			}
		}
		d.before, d.after = moment, moment
		d.settle()
		d.before, d.after = nil, nil
		if folder == "" {
			if kill < 8 {
				t.Fatalf("there are only %d moments", moments)
			}
			return
		}
		d.domains[501] = domain
		again := deskOn(t, d.fakeDefaults, folder, noUpdates)
		again.users = d.users
		again.settle()
		again.want("501 update_policy: in_place", "501 update_check: in_place")
		call := again.memoryOf(501, "update_policy", sourceKey)
		if now := again.domain(501); now[sourceKey] != "None" || now[checkKey] != uint64(0) || now["mine"] != "x" || call.Prior != `"Parallels"` || call.Drifts > 0 {
			t.Errorf("killed at %d: %v, remembered %+v", kill, now, call)
		}
	}
}

// H15, H51: whatever a user writes under a managed key, what is told of it is short,
// steers no terminal, and the value is put right. A domain that cannot be believed is
// told with its reason, and nothing is written blindly.
func TestPreferencesOfAHostileUser(t *testing.T) {
	t.Parallel()
	d := newDesk(t, `"update_policy":"None"`)
	d.users = []platform.User{alice}
	deep := any("end")
	for range 60 {
		deep = []any{deep}
	}
	for name, value := range map[string]any{
		"long": strings.Repeat("x", 1<<20), "a terminal": "\x1b[2J\u202eevil\n", "deep": deep, "none like it": "none",
		"data": []byte{0, 1}, "a number": uint64(1), "a date": time.Unix(1, 0).UTC(), "a dictionary": map[string]any{"None": "None"},
	} {
		d.now = d.now.Add(3 * time.Hour) // not contended
		d.binary = true                  // XML has no control characters
		d.change(501, sourceKey, value)
		d.events = nil
		d.settle()
		d.want("501 update_policy: in_place")
		for _, event := range d.events {
			for key, text := range event.Data {
				if len(text) > 8<<10 || strings.ContainsAny(text, "\x1b\n\u202e") {
					t.Errorf("%s: %s is %q", name, key, text[:min(len(text), 200)])
				}
			}
		}
		if d.domain(501)[sourceKey] != "None" {
			t.Errorf("%s: %v", name, d.domain(501)[sourceKey])
		}
	}
	d.forget()
	d.change(501, "mine", strings.Repeat("x", 5<<20))
	d.settle()
	d.want("501 update_policy: unknown plist_too_large")
	if d.count("write") > 0 {
		t.Errorf("calls %q", d.calls)
	}
}
