package protocol

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
)

// inodeOf is a bundle on a volume whose id lasts.
func inodeOf(volume string, inode uint64) Bundle { return Bundle{Volume: volume, Inode: inode} }

func TestH21_WhatIsAnotherBundle(t *testing.T) {
	t.Parallel()
	const disk, other = "0E5C2F1A-9C3B-4B7E-8D55-6A0F4C1B7D21", "11111111-9C3B-4B7E-8D55-6A0F4C1B7D21"
	cases := map[string]struct {
		before, now Bundle
		want        bool
	}{
		"the same":                                  {inodeOf(disk, 7), inodeOf(disk, 7), false},
		"restored from a copy":                      {inodeOf(disk, 7), inodeOf(disk, 8), true},
		"on another volume":                         {inodeOf(disk, 7), inodeOf(other, 7), true},
		"not readable now":                          {inodeOf(disk, 7), Bundle{}, false},
		"not readable before":                       {Bundle{}, inodeOf(disk, 7), false},
		"after a reboot, without an id that lasts":  {Bundle{Device: 1, Inode: 7}, Bundle{Device: 2, Inode: 7}, false},
		"a copy, without an id that lasts":          {Bundle{Device: 1, Inode: 7}, Bundle{Device: 1, Inode: 8}, true},
		"kept by an agent that knew no volume's id": {Bundle{Device: 1, Inode: 7}, inodeOf(disk, 7), false},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, back := test.now.IsOther(test.before), test.before.IsOther(test.now); got != test.want || back != test.want {
				t.Errorf("got %t, and %t the other way round", got, back)
			}
		})
	}
}

// rowOf is a row of an account, in short.
func rowOf(id string, uid uint32, how ...func(*VM)) VM {
	vm := VM{VMKey: VMKey{ID: id, UID: uid}, Owner: fmt.Sprint("user", uid), State: StateStopped}
	for _, change := range how {
		change(&vm)
	}
	return vm
}

// What identifies a machine between two looks is its id and whose it is; its
// bundle and the account's name may change (H21).
func TestH21_WhatTwoLooksCompare(t *testing.T) {
	t.Parallel()
	bundle := func(b Bundle) func(*VM) { return func(vm *VM) { vm.Bundle = b } }
	named := func(name string) func(*VM) { return func(vm *VM) { vm.Owner = name } }
	seenBy := func(uids ...uint32) func(*VM) {
		return func(vm *VM) {
			for _, uid := range uids {
				vm.SeenBy = append(vm.SeenBy, Account{UID: uid})
			}
		}
	}
	unread := func(vm *VM) { vm.Stale = CodeUnreadableVM }
	cases := map[string]struct {
		before, now []VM
		want        []string
	}{
		"restored from a copy": {
			[]VM{rowOf("a", 501, bundle(inodeOf("v", 7)))}, []VM{rowOf("a", 501, bundle(inodeOf("v", 8)))}, []string{"a/501 stays, another bundle"},
		},
		"renamed account":             {[]VM{rowOf("a", 501, named("alice"))}, []VM{rowOf("a", 501, named("alicia"))}, []string{"a/501 stays"}},
		"a name that went to another": {[]VM{rowOf("a", 501, named("bob"))}, []VM{rowOf("a", 502, named("bob"))}, []string{"a/502 came", "a/501 went"}},
		"one id in two accounts":      {[]VM{rowOf("a", 501)}, []VM{rowOf("a", 501), rowOf("a", 502)}, []string{"a/501 stays", "a/502 came"}},
		"one of two went":             {[]VM{rowOf("a", 501), rowOf("a", 502)}, []VM{rowOf("a", 502)}, []string{"a/502 stays", "a/501 went"}},
		"shared, in another's name":   {[]VM{rowOf("a", 501, seenBy(502))}, []VM{rowOf("a", 502)}, []string{"a/502 stays"}},
		"shared, and now two rows":    {[]VM{rowOf("a", 501, seenBy(502))}, []VM{rowOf("a", 501), rowOf("a", 502)}, []string{"a/501 stays"}},
		"shared, and the row that is left was never read": {
			[]VM{rowOf("a", 501, seenBy(502)), rowOf("a", 502)}, []VM{rowOf("a", 502, unread)}, []string{"a/502 stays"},
		},
		"shared, and the row that was there was never read": {
			[]VM{rowOf("a", 501, unread)}, []VM{rowOf("a", 502, seenBy(501))}, []string{"a/502 came"},
		},
		"kept without a uid":             {[]VM{rowOf("a", 0)}, []VM{rowOf("a", 501)}, []string{"a/501 stays"}},
		"kept without a uid, two of one": {[]VM{rowOf("a", 0), rowOf("a", 0)}, []VM{rowOf("a", 501), rowOf("a", 502)}, []string{"a/501 stays", "a/502 stays"}},
		"kept without a uid, gone":       {[]VM{rowOf("a", 0)}, []VM{rowOf("b", 501)}, []string{"b/501 came", "a/0 went"}},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, change := range CompareVMs(test.before, test.now, false) {
				switch {
				case change.Came():
					got = append(got, change.Now.VMKey.String()+" came")
				case change.Went():
					got = append(got, change.Before.VMKey.String()+" went")
				case change.BundleChanged():
					got = append(got, change.Now.VMKey.String()+" stays, another bundle")
				default:
					got = append(got, change.Now.VMKey.String()+" stays")
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// A row of an agent before this one is read: it names no uid, and of who shares
// a machine it has the names only.
func TestH21_OlderRowIsRead(t *testing.T) {
	t.Parallel()
	const older = `{"vm_id":"a","user_name":"alice","bundle":{"device":16777234,"inode":7},"seen_by":["bob"],"vm_name":"Windows","vm_state":"Stopped","vm_source":"Other"}`
	var vm VM
	if err := json.Unmarshal([]byte(older), &vm); err != nil {
		t.Fatal(err)
	}
	if vm.UID != 0 || vm.Owner != "alice" || vm.Bundle.Device != 16777234 || !slices.Equal(vm.SeenBy, []Account{{Name: "bob"}}) {
		t.Errorf("%+v", vm)
	}
	if vm.IsListedBy(0) {
		t.Error("nobody lists it")
	}
}

// What the portal acknowledged before keys had a uid cannot be named any more:
// one full report heals it.
func TestH21_OlderBaselineIsHealedByAFullReport(t *testing.T) {
	t.Parallel()
	const older = `{"hash":"318a4ccd57bfcab4c4c24773f17c85a8","parts":{},"vms":{"a/alice/1.7":{"key":{"vm_id":"a","user_name":"alice","bundle":{"device":1,"inode":7}},"hash":"x"}}}`
	var base Baseline
	if err := json.Unmarshal([]byte(older), &base); err != nil {
		t.Fatal(err)
	}
	report := sampleReport()
	var request CheckinRequest
	healed, err := report.Fill(&request, base)
	if err != nil || !request.Inventory.Full || request.Inventory.Base != "" || len(request.Inventory.Removed) != 0 || len(request.Inventory.VMs) != 2 {
		t.Errorf("%+v, %v", request.Inventory, err)
	}
	var next CheckinRequest
	if _, err := report.Fill(&next, healed); err != nil || next.Inventory.Full {
		t.Errorf("the next report is %+v, %v", next.Inventory, err)
	}
}
