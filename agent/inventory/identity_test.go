package inventory

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/store"
)

// changesOf are what two looks say of what came, went and changed, in short.
func changesOf(before, now *Look) []string {
	var said []string
	for _, change := range protocol.CompareVMs(before.VMs, now.VMs, now.Truncated) {
		switch {
		case change.Came():
			said = append(said, change.Now.Name+" came")
		case change.Went():
			said = append(said, change.Before.Name+" went")
		case change.BundleChanged():
			said = append(said, change.Now.Name+" has another bundle")
		}
	}
	return said
}

// What became of a Mac between two looks, and what is the same in spite of it.
func TestH21_INV_02_IdentityThatLasts(t *testing.T) {
	t.Parallel()
	const other = "11111111-9C3B-4B7E-8D55-6A0F4C1B7D21"
	cases := map[string]struct {
		change func(*lab)
		want   []string
	}{
		"a reboot numbers the disks anew":              {func(l *lab) { l.device = 17 }, nil},
		"a reboot, of a disk without an id that lasts": {func(l *lab) { l.volume, l.device = "", 17 }, nil},
		"a restart of the agent":                       {func(l *lab) { l.restart() }, nil},
		"a reboot and a restart of the agent":          {func(l *lab) { l.device = 17; l.restart() }, nil},
		"a bundle that was restored from a copy": {
			func(l *lab) { l.bundle(windows().home, 501, 999) }, []string{"Windows 11 has another bundle"},
		},
		"a restore while the agent did not run": {
			func(l *lab) { l.bundle(windows().home, 501, 999); l.restart() }, []string{"Windows 11 has another bundle"},
		},
		"another volume, as after a migration": {
			func(l *lab) { l.volume = other }, []string{"Windows 11 has another bundle", "Ubuntu has another bundle"},
		},
		"a bundle that moved on its volume": {func(l *lab) {
			moved := "/Users/alice/Desktop/Windows 11.pvm"
			l.files[moved], l.files[moved+"/VmInfo.pvi"] = l.files[windows().home], l.files[windows().home+"/VmInfo.pvi"]
			delete(l.files, windows().home)
			l.machines["alice"][0].home, l.machines["alice"][0].memory = moved, "4096Mb"
		}, nil},
		"a bundle that cannot be looked at": {func(l *lab) { delete(l.files, windows().home) }, nil},
		"an account that was renamed": {func(l *lab) {
			l.users[0].Name = "alicia"
			l.machines["alicia"] = l.machines["alice"]
		}, nil},
		"an account that was renamed and cannot be listed": {func(l *lab) {
			l.users[0].Name = "alicia"
			l.listErr["alicia"] = errService
		}, nil},
		"two accounts that swapped their names": {func(l *lab) {
			l.users[0].Name, l.users[1].Name = "bob", "alice"
			l.machines["alice"], l.machines["bob"] = l.machines["bob"], l.machines["alice"]
		}, nil},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.users = slices.Clone(l.users)
			before := l.look()
			test.change(l)
			after := l.look()
			wantEqual(t, "what changed", fmt.Sprint(changesOf(before, after)), fmt.Sprint(test.want))
			for i, vm := range after.VMs {
				wantEqual(t, "key", vm.VMKey, before.VMs[i].VMKey)
				wantEqual(t, "name of the owner", vm.Owner, l.users[i].Name)
			}
			wantEqual(t, "the next look", len(changesOf(after, l.look())), 0)
		})
	}
}

// A disk without an id that lasts says so, by the number that it has in this
// boot.
func TestH21_VolumeWithoutALastingID(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.volume = ""
	wantEqual(t, "bundle", row(t, l.look(), "alice", windowsID).Bundle, protocol.Bundle{Device: 1, Inode: 100})
}

// A shared machine stays one row over a reboot, though one of its accounts
// cannot be listed, and what is known of it is of the boot before.
func TestH21_SharedMachineOverAReboot(t *testing.T) {
	t.Parallel()
	for name, volume := range map[string]string{"on a disk with an id": disk, "on one without": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.shared(501)
			l.volume = volume
			before := l.look()
			l.device = 17
			l.listErr["bob"] = errService
			l.restart()
			after := l.look()
			wantEqual(t, "rows", len(after.VMs), 1)
			wantEqual(t, "what changed", len(changesOf(before, after)), 0)
			wantEqual(t, "seen by", fmt.Sprint(after.VMs[0].SeenBy), "[{502 bob}]")
		})
	}
}

// Alice has a machine, and bob has registered another bundle of hers under the
// same id. Both are hers by the disk; each row is its lister's, so that no two
// have one key.
func TestH21_TwoBundlesOfOneOwnerUnderOneID(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	copied := windows()
	copied.home, copied.name = "/Users/Shared/Windows 11.pvm", "Copy"
	l.machines["bob"] = []*machine{copied}
	l.bundle(copied.home, 501, 201)
	before := l.look()
	wantEqual(t, "rows", names(before), "alice/Windows 11 bob/Copy")
	keys := map[protocol.VMKey]bool{}
	for _, m := range before.Machines {
		keys[m.Key()] = true
		wantEqual(t, "owner of "+m.VM.Name+" on the disk", *m.Bundle.Owner, 501)
	}
	wantEqual(t, "keys", len(keys), 2)
	l.restart()
	wantEqual(t, "what changed", len(changesOf(before, l.look())), 0)
}

// Bob's tools can name alice's path, and his process can say that the folder
// there is alice's; without its inode that is no share in the machine.
func TestH21_H17_APathIsNoProofOfASharedMachine(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	forged := windows()
	forged.name = "as bob says"
	l.machines["bob"] = []*machine{forged}
	l.claims = map[string]file{"bob " + forged.home: {inode: 999, uid: 501}}
	look := l.look()
	wantEqual(t, "rows", names(look), "alice/Windows 11 bob/as bob says")
	wantEqual(t, "seen by", len(row(t, look, "alice", windowsID).SeenBy), 0)
	l.listErr["alice"] = errService
	wantEqual(t, "who describes it while alice cannot be listed", row(t, l.look(), "alice", windowsID).Name, "Windows 11")
}

// What an agent before this one remembered names accounts by their names, and
// bundles by the numbers of a boot. It is read, shown, and replaced by the first
// look, which finds nothing new.
func TestH21_OlderMemoryIsHealed(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	before := l.look()
	l.makeMemoryOlder(before)
	l.restart()
	recalled, err := l.collector.Recall()
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "recalled", names(recalled), names(before))
	wantEqual(t, "recalled bundle", recalled.VMs[0].Bundle, protocol.Bundle{Device: 16777234, Inode: 100})
	for i := range recalled.VMs {
		recalled.VMs[i].Stale = "" // to be compared
	}
	after := l.look()
	wantEqual(t, "what changed", len(changesOf(recalled, after)), 0)
	wantEqual(t, "queries", l.runs()["get"], 0)
	wantEqual(t, "bundle", after.VMs[0].Bundle, protocol.Bundle{Volume: disk, Inode: 100})
	var keys []string
	err = l.state.View(func(tx *store.Tx) error {
		return recordKeys.Each(tx, func(key string, _ *struct{}) error { keys = append(keys, key); return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "records", fmt.Sprint(keys), fmt.Sprintf("[501/%s 502/%s]", windowsID, linuxID))
}

// makeMemoryOlder leaves in the store what an agent before this one did.
func (l *lab) makeMemoryOlder(seen *Look) {
	l.t.Helper()
	err := l.state.Update(func(tx *store.Tx) error {
		for i := range seen.Machines {
			m := &seen.Machines[i]
			key, older := recordKey(m.User.UID, m.VM.ID), recordOf(m)
			older.Identity = protocol.Bundle{Device: 16777234, Inode: older.Identity.Inode}
			raw, err := json.Marshal(m.VM)
			if err != nil {
				return err
			}
			for _, err := range []error{
				records.Delete(tx, key), descriptions.Delete(tx, key),
				records.Put(tx, m.User.Name+"/"+m.VM.ID, older),
				descriptions.Put(tx, m.User.Name+"/"+m.VM.ID, &storedDescription{m.ConfigHash, raw}),
			} {
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		l.t.Fatal(err)
	}
}

// Whoever sits at the Mac is a uid; what it is called, the directory says.
func TestINV_02_NamesAreTheDirectorys(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.console.User = "Alice Long Name"
	look := l.look()
	wantEqual(t, "who sits at the Mac", look.Host.ConsoleUser, "alice")
	wantEqual(t, "asked for the license", slices.Contains(l.calls, "license alice"), true)
	l.console = platform.Console{User: "guest", UID: 201}
	wantEqual(t, "whom the directory does not know", l.look().Host.ConsoleUser, "guest")
}
