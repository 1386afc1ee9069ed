package trigger

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"prlagent/agent/protocol"
)

// vmRow is a row of alice's as a look sees it.
func aliceRow(id, state string) protocol.VM {
	return protocol.VM{
		VMKey: protocol.VMKey{ID: id, UID: 501}, Owner: "alice", Bundle: protocol.Bundle{Volume: "v", Inode: 7}, State: state, ConfigHash: "c1",
	}
}

func vmWith(vm protocol.VM, how func(*protocol.VM)) protocol.VM {
	how(&vm)
	return vm
}

var activated = protocol.Product{Installed: true, State: protocol.ProductKey, License: "6J9A5T-******-RN17ZA"}

// seen are the beliefs after a look.
func seen(vms ...protocol.VM) Beliefs {
	beliefs, _ := afterPicture(Beliefs{}, Picture{At: at(0), VMs: vms, Product: activated})
	return beliefs
}

// afterPicture are the beliefs after another look, and its news.
func afterPicture(beliefs Beliefs, picture Picture) (Beliefs, []News) {
	news := beliefs.OnPicture(&picture)
	return beliefs, news
}

// afterState are the beliefs after an event, and what it says.
func afterState(beliefs Beliefs, at time.Time, uid uint32, vmID, state string) (after Beliefs, reason Reason, sure bool) {
	reason, sure = beliefs.OnVMState(at, uid, vmID, state)
	return beliefs, reason, sure
}

// What differs between two looks is a reason, whether an event told it or not.
func TestWhatALookFinds(t *testing.T) {
	t.Parallel()
	stopped, running, suspended := aliceRow("a", protocol.StateStopped), aliceRow("a", protocol.StateRunning), aliceRow("a", protocol.StateSuspended)
	cases := map[string]struct {
		before, now []protocol.VM
		want        []News
	}{
		"nothing":                          {[]protocol.VM{stopped}, []protocol.VM{stopped}, nil},
		"TRG-04 created":                   {nil, []protocol.VM{running}, []News{{VMCreated, "a"}}},
		"TRG-05 started":                   {[]protocol.VM{stopped}, []protocol.VM{running}, []News{{VMStarted, "a"}}},
		"TRG-06 suspended":                 {[]protocol.VM{running}, []protocol.VM{suspended}, []News{{VMSuspended, "a"}}},
		"TRG-06 started and suspended":     {[]protocol.VM{stopped}, []protocol.VM{suspended}, []News{{VMSuspended, "a"}}},
		"TRG-07 resumed":                   {[]protocol.VM{suspended}, []protocol.VM{running}, []News{{VMResumed, "a"}}},
		"TRG-08 shut down":                 {[]protocol.VM{running}, []protocol.VM{stopped}, []News{{VMShutdown, "a"}}},
		"TRG-08 its saved state discarded": {[]protocol.VM{suspended}, []protocol.VM{stopped}, []News{{VMShutdown, "a"}}},
		"TRG-09 changed": {
			[]protocol.VM{stopped}, []protocol.VM{vmWith(stopped, func(vm *protocol.VM) { vm.ConfigHash = "c2" })}, []News{{VMConfigChanged, "a"}},
		},
		"started and changed": {
			[]protocol.VM{stopped}, []protocol.VM{vmWith(running, func(vm *protocol.VM) { vm.ConfigHash = "c2" })},
			[]News{{VMStarted, "a"}, {VMConfigChanged, "a"}},
		},
		"removed": {[]protocol.VM{stopped}, nil, []News{{VMRemoved, "a"}}},
		"another bundle under the id": { // H21
			[]protocol.VM{stopped}, []protocol.VM{vmWith(stopped, func(vm *protocol.VM) { vm.Bundle.Inode = 8 })},
			[]News{{VMConfigChanged, "a"}},
		},
		"another bundle under the id, while it was not readable": {
			[]protocol.VM{stopped, aliceRow("b", protocol.StateStopped)},
			[]protocol.VM{stopped, vmWith(aliceRow("b", protocol.StateStopped), func(vm *protocol.VM) { vm.Bundle = protocol.Bundle{} })}, nil,
		},
		"H21 a renamed account": {
			[]protocol.VM{stopped}, []protocol.VM{vmWith(stopped, func(vm *protocol.VM) { vm.Owner = "alicia" })}, nil,
		},
		"a bundle that was not readable before": {
			[]protocol.VM{vmWith(stopped, func(vm *protocol.VM) { vm.Bundle = protocol.Bundle{} })}, []protocol.VM{stopped}, nil,
		},
		"the id in another account": { // H21
			[]protocol.VM{stopped}, []protocol.VM{stopped, vmWith(running, func(vm *protocol.VM) { vm.UID, vm.Owner = 502, "bob" })}, []News{{VMCreated, "a"}},
		},
		"a state that nobody knows": {
			[]protocol.VM{running}, []protocol.VM{aliceRow("a", protocol.StateUnknown)}, nil,
		},
		"a configuration that was not readable": {
			[]protocol.VM{stopped}, []protocol.VM{vmWith(stopped, func(vm *protocol.VM) { vm.ConfigHash = "" })}, nil,
		},
		"an account that could not be listed": {
			[]protocol.VM{stopped},
			[]protocol.VM{vmWith(running, func(vm *protocol.VM) { vm.Stale, vm.ConfigHash = protocol.CodeServiceDown, "c2" })}, nil,
		},
		"what was never seen but stale": {
			nil, []protocol.VM{vmWith(stopped, func(vm *protocol.VM) { vm.Stale = protocol.CodeServiceDown })}, nil,
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			beliefs, got := afterPicture(seen(test.before...), Picture{At: at(1), VMs: test.now, Product: activated})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if _, again := afterPicture(beliefs, Picture{At: at(2), VMs: test.now, Product: activated}); len(again) != 0 {
				t.Errorf("the same picture again gives %v", again)
			}
		})
	}
}

// Configurations that two versions of the product have read do not compare;
// those of the new version do, from the second look on.
func TestTRG_09_ChangesAfterAnUpdateOfTheProduct(t *testing.T) {
	t.Parallel()
	look := func(minute int, version, config string) Picture {
		product := activated
		product.Version = version
		return Picture{At: at(minute), Product: product, VMs: []protocol.VM{
			vmWith(aliceRow("a", protocol.StateStopped), func(vm *protocol.VM) { vm.ConfigHash = config }),
		}}
	}
	beliefs, _ := afterPicture(Beliefs{}, look(0, "26.3.0", "c1"))
	for i, step := range []struct {
		version, config string
		want            []News
	}{
		{"26.3.0", "c2", []News{{VMConfigChanged, "a"}}},
		{"26.4.0", "c3", nil}, // the update: keys came and went
		{"26.4.0", "c3", nil},
		{"26.4.0", "c4", []News{{VMConfigChanged, "a"}}},
		{"", "c5", []News{{VMConfigChanged, "a"}}}, // not readable for once
		{"26.4.0", "c6", []News{{VMConfigChanged, "a"}}},
		{"", "c6", nil},
		{"26.5.0", "c7", nil}, // an update that no look saw
		{"26.5.0", "c8", []News{{VMConfigChanged, "a"}}},
	} {
		var news []News
		if beliefs, news = afterPicture(beliefs, look(1+i, step.version, step.config)); !slices.Equal(news, step.want) {
			t.Errorf("look %d, version %q: got %v, want %v", 1+i, step.version, news, step.want)
		}
	}
}

// What comes back after a stale look is compared with what was known before it.
func TestStaleLooksForgetNothing(t *testing.T) {
	t.Parallel()
	running := aliceRow("a", protocol.StateRunning)
	stale := vmWith(running, func(vm *protocol.VM) { vm.Stale, vm.State = protocol.CodeServiceDown, protocol.StateUnknown })
	beliefs, _ := afterPicture(seen(running), Picture{At: at(1), VMs: []protocol.VM{stale}, Product: activated})
	if _, got := afterPicture(beliefs, Picture{At: at(2), VMs: []protocol.VM{running}, Product: activated}); len(got) != 0 {
		t.Errorf("back as it was: %v", got)
	}
	if _, got := afterPicture(beliefs, Picture{At: at(2), VMs: []protocol.VM{aliceRow("a", protocol.StateStopped)}, Product: activated}); len(got) != 1 || got[0].Reason != VMShutdown {
		t.Errorf("back and stopped: %v", got)
	}
}

// A first look finds everything and tells nothing; one after a restart is
// compared with what was known.
func TestTheFirstLookIsNoNews(t *testing.T) {
	t.Parallel()
	rows := []protocol.VM{aliceRow("a", protocol.StateRunning)}
	if _, got := afterPicture(Beliefs{}, Picture{VMs: rows, Product: activated}); len(got) != 0 {
		t.Errorf("first: %v", got)
	}
	remembered := Beliefs{
		Known: true, Product: ProductBelief{State: protocol.ProductDeactivated},
		VMs: []VMBelief{{Key: aliceRow("a", "").VMKey, State: protocol.StateStopped, Config: "c1"}},
	}
	want := []News{{VMStarted, "a"}, {Activation, ""}}
	if _, got := afterPicture(remembered, Picture{VMs: rows, Product: activated}); !slices.Equal(got, want) {
		t.Errorf("after a restart: %v", got)
	}
}

// What an agent before this one believed names no uids. The first look after
// the update takes its machines for the same ones, and still tells what changed.
func TestH21_OlderBeliefsGiveNoFalseNews(t *testing.T) {
	t.Parallel()
	const older = `{"known":true,"product":{"state":"Activated (License Key)"},"vms":[
		{"key":{"vm_id":"a","user_name":"alice","bundle":{"device":16777234,"inode":7}},"seen_by":["bob"],"state":"Stopped","config":"c1"},
		{"key":{"vm_id":"b","user_name":"alice","bundle":{"device":16777234,"inode":8}},"state":"Stopped","config":"c1"}]}`
	var beliefs Beliefs
	if err := json.Unmarshal([]byte(older), &beliefs); err != nil {
		t.Fatal(err)
	}
	now := []protocol.VM{
		vmWith(aliceRow("a", protocol.StateStopped), func(vm *protocol.VM) { vm.SeenBy = []protocol.Account{{UID: 502, Name: "bob"}} }),
		aliceRow("b", protocol.StateRunning),
	}
	after, news := afterPicture(beliefs, Picture{At: at(1), VMs: now, Product: activated})
	if want := []News{{VMStarted, "b"}}; !slices.Equal(news, want) {
		t.Errorf("got %v, want %v", news, want)
	}
	if _, news = afterPicture(after, Picture{At: at(2), VMs: now, Product: activated}); len(news) != 0 {
		t.Errorf("and again %v", news)
	}
}

// An event is believed at once, and the look that follows has nothing to add.
func TestAnEventAndItsLookAreOneReason(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		before string
		events []string
		want   []Reason
		after  string
	}{
		"TRG-05 start":                           {protocol.StateStopped, []string{Transient, protocol.StateRunning}, []Reason{"", VMStarted}, protocol.StateRunning},
		"TRG-06 suspend":                         {protocol.StateRunning, []string{Transient, protocol.StateSuspended}, []Reason{"", VMSuspended}, protocol.StateSuspended},
		"TRG-06 pause":                           {protocol.StateRunning, []string{Transient, protocol.StateSuspended}, []Reason{"", VMSuspended}, protocol.StateSuspended},
		"TRG-07 resume":                          {protocol.StateSuspended, []string{Transient, protocol.StateRunning}, []Reason{"", VMResumed}, protocol.StateRunning},
		"TRG-07 a suspended one that is started": {protocol.StateSuspended, []string{Transient, protocol.StateRunning}, []Reason{"", VMResumed}, protocol.StateRunning},
		"TRG-08 stop":                            {protocol.StateRunning, []string{Transient, protocol.StateStopped}, []Reason{"", VMShutdown}, protocol.StateStopped},
		"told twice":                             {protocol.StateStopped, []string{protocol.StateRunning, protocol.StateRunning}, []Reason{VMStarted, ""}, protocol.StateRunning},
		"a restart":                              {protocol.StateRunning, []string{protocol.StateStopped, protocol.StateRunning}, []Reason{VMShutdown, VMStarted}, protocol.StateRunning},
		"words that mean nothing to us":          {protocol.StateRunning, []string{protocol.StateUnknown, protocol.StateUnknown, protocol.StateUnknown}, []Reason{"", "", ""}, protocol.StateRunning},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			beliefs := seen(aliceRow("a", test.before))
			var got []Reason
			for i, word := range test.events {
				var reason Reason
				beliefs, reason, _ = afterState(beliefs, at(1+i), 501, "a", word)
				got = append(got, reason)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if _, news := afterPicture(beliefs, Picture{At: at(10), VMs: []protocol.VM{aliceRow("a", test.after)}, Product: activated}); len(news) != 0 {
				t.Errorf("the look adds %v", news)
			}
		})
	}
}

// Where only a look can say what an event means, it says so; a state that passes
// by itself, and one that is known, need none.
func TestWhatNeedsALook(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		id, word string
		sure     bool
	}{
		"a change":                  {"a", protocol.StateRunning, true},
		"what is known":             {"a", protocol.StateStopped, true},
		"a state on the way":        {"a", Transient, true},
		"a word of a later version": {"a", protocol.StateUnknown, false},
		"a bundle that is gone":     {"a", protocol.StateUnknown, false},
		"a machine never seen":      {"b", protocol.StateRunning, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, _, sure := afterState(seen(aliceRow("a", protocol.StateStopped)), at(1), 501, test.id, test.word); sure != test.sure {
				t.Errorf("sure: %t", sure)
			}
		})
	}
}

// A list that was begun before an event is older than it.
func TestALookDoesNotOverruleALaterEvent(t *testing.T) {
	t.Parallel()
	beliefs, reason, _ := afterState(seen(aliceRow("a", protocol.StateStopped)), at(5), 501, "a", protocol.StateRunning)
	if reason != VMStarted {
		t.Fatalf("got %q", reason)
	}
	older := Picture{At: at(4), VMs: []protocol.VM{aliceRow("a", protocol.StateStopped)}, Product: activated}
	beliefs, news := afterPicture(beliefs, older)
	if len(news) != 0 {
		t.Errorf("the older list gives %v", news)
	}
	older.At = at(6)
	if _, news = afterPicture(beliefs, older); !slices.Equal(news, []News{{VMShutdown, "a"}}) {
		t.Errorf("the newer list gives %v", news)
	}
}

// An event reaches the virtual machine that its account means.
func TestWhoseMachineAnEventIsAbout(t *testing.T) {
	t.Parallel()
	own := aliceRow("a", protocol.StateStopped)
	namesake := vmWith(own, func(vm *protocol.VM) { vm.UID, vm.Owner = 502, "bob" })
	shared := vmWith(aliceRow("s", protocol.StateStopped), func(vm *protocol.VM) { vm.SeenBy = []protocol.Account{{UID: 502, Name: "bob"}} })
	cases := map[string]struct {
		account, id string
		want        []Reason // of the same event from alice, bob and carol, one after the other
	}{
		"H21 an id that is in two accounts": {"", "a", []Reason{VMStarted, VMStarted, ""}},
		"one that is shared":                {"", "s", []Reason{VMStarted, "", ""}},
		"one that nobody has":               {"", "x", []Reason{"", "", ""}},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			beliefs := seen(own, namesake, shared)
			for i, account := range []string{"alice", "bob", "carol"} {
				var reason Reason
				if beliefs, reason, _ = afterState(beliefs, at(1), uids[account], test.id, protocol.StateRunning); reason != test.want[i] {
					t.Errorf("from %s: %q, want %q", account, reason, test.want[i])
				}
			}
		})
	}
}

// TRG-02, TRG-03, GRP-11, LIC-07: what becomes of the license, look by look.
func TestTRG_02_TRG_03_GRP_11_LIC_07_Licenses(t *testing.T) {
	t.Parallel()
	key := func(license string) protocol.Product {
		return protocol.Product{Installed: true, State: protocol.ProductKey, License: license}
	}
	sso := protocol.Product{Installed: true, State: protocol.ProductSSO}
	off := protocol.Product{Installed: true, State: protocol.ProductDeactivated}
	dark := protocol.Product{Installed: true} // the service is down, or the license unreadable
	none := protocol.Product{}
	cases := map[string]struct {
		looks []protocol.Product
		want  []Reason // of each look after the first
	}{
		"TRG-02 a first activation":          {[]protocol.Product{off, key("A")}, []Reason{Activation}},
		"TRG-02 installed and activated":     {[]protocol.Product{none, dark, sso}, []Reason{"", Activation}},
		"TRG-03 activated again":             {[]protocol.Product{key("A"), off, key("A")}, []Reason{"", Reactivation}},
		"TRG-03 twice":                       {[]protocol.Product{off, key("A"), off, key("A")}, []Reason{Activation, "", Reactivation}},
		"GRP-11 another key":                 {[]protocol.Product{key("A"), key("B")}, []Reason{Reactivation}},
		"a key, then single sign-on":         {[]protocol.Product{key("A"), sso}, []Reason{Reactivation}},
		"LIC-07 nothing changes":             {[]protocol.Product{sso, sso, sso}, []Reason{"", ""}},
		"LIC-06 another edition":             {[]protocol.Product{sso, {Installed: true, State: protocol.ProductSSO, Edition: "business"}}, []Reason{""}},
		"unreadable for a while":             {[]protocol.Product{sso, dark, sso}, []Reason{"", ""}},
		"gone for a moment, as in an update": {[]protocol.Product{key("A"), none, dark, key("A")}, []Reason{"", "", ""}},
		"the tool does not show the key":     {[]protocol.Product{key("A"), key(""), key("")}, []Reason{"", ""}},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			beliefs, _ := afterPicture(Beliefs{}, Picture{Product: test.looks[0]})
			var got []Reason
			for _, product := range test.looks[1:] {
				var news []News
				beliefs, news = afterPicture(beliefs, Picture{Product: product})
				reason := Reason("")
				if len(news) > 0 {
					reason = news[0].Reason
				}
				got = append(got, reason)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// Copies of Beliefs share what is never changed in place: whoever holds one keeps
// what they hold.
func TestBeliefsAreAValue(t *testing.T) {
	t.Parallel()
	before := seen(aliceRow("a", protocol.StateStopped), aliceRow("b", protocol.StateStopped))
	afterState(before, at(1), 501, "a", protocol.StateRunning)
	afterPicture(before, Picture{At: at(1), VMs: []protocol.VM{aliceRow("b", protocol.StateRunning)}, Product: activated})
	if _, again, _ := afterState(before, at(1), 501, "a", protocol.StateRunning); again != VMStarted {
		t.Errorf("an older value changed: %q", again)
	}
}

// Whatever is told and seen in any order, the reasons of one machine are a way
// from its first state to its last: none is lost, none told twice.
func TestReasonsAreAWayThroughTheStates(t *testing.T) {
	t.Parallel()
	targets := map[Reason]string{
		VMStarted: protocol.StateRunning, VMResumed: protocol.StateRunning, VMSuspended: protocol.StateSuspended, VMShutdown: protocol.StateStopped,
	}
	rapid.Check(t, func(t *rapid.T) {
		beliefs := seen(aliceRow("a", protocol.StateStopped))
		now, truth := at(0), protocol.StateStopped
		told := truth
		follow := func(reason Reason) {
			if reason == "" {
				return
			}
			if targets[reason] == told {
				t.Fatalf("%s, although it was %s already", reason, told)
			}
			told = targets[reason]
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(time.Second)
			truth = rapid.SampledFrom([]string{protocol.StateRunning, protocol.StateSuspended, protocol.StateStopped}).Draw(t, "state")
			if rapid.Bool().Draw(t, "told") {
				var reason Reason
				beliefs, reason, _ = afterState(beliefs, now, 501, "a", truth)
				follow(reason)
			}
			if rapid.Bool().Draw(t, "seen") {
				var news []News
				beliefs, news = afterPicture(beliefs, Picture{At: now.Add(time.Millisecond), VMs: []protocol.VM{aliceRow("a", truth)}, Product: activated})
				for _, one := range news {
					follow(one.Reason)
				}
			}
		}
		_, news := afterPicture(beliefs, Picture{At: now.Add(time.Second), VMs: []protocol.VM{aliceRow("a", truth)}, Product: activated})
		for _, one := range news {
			follow(one.Reason)
		}
		if told != truth {
			t.Fatalf("the portal was told that it is %s; it is %s", told, truth)
		}
	})
}
