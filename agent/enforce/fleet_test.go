package enforce

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// fleetPolicy has a row that is live, one that waits for a rest, and one that needs
// the machine shut down.
const fleetPolicy = `"clipboard":"disconnect","network":"host_only","asset_tag":"F-1"},"max_wait_h":720,"golden_image":{`

// A fleet of which four of five only ever suspend: live rows converge at the first
// resume, the rest has a dated deferral and converges after one stop, and nobody is
// reminded twice in a week, over restarts either.
func TestVMS41_AFleetThatOnlySuspends(t *testing.T) {
	macs := 1000
	if testing.Short() {
		macs = 40
	}
	const shares = 8 // that run side by side: each Mac waits for its disk
	var reminders atomic.Int64
	t.Run("macs", func(t *testing.T) {
		for share := range shares {
			t.Run(fmt.Sprint(share), func(t *testing.T) {
				t.Parallel()
				for i := share; i < macs && !t.Failed(); i += shares {
					synctest.Test(t, func(t *testing.T) { reminders.Add(int64(liveOnAMac(t, i))) })
				}
			})
		}
	})
	if total := int(reminders.Load()); total < macs*4/5 {
		t.Errorf("%d reminders of %d Macs", total, macs)
	}
}

// liveOnAMac is five weeks of one Mac's only machine. It gives how often its user was
// reminded.
func liveOnAMac(t *testing.T, number int) (reminders int) {
	mac := &fakeMac{t: t, vms: make(map[protocol.VMKey]*fakeVM)}
	mac.add(alice)
	l := labOn(t, mac, memoryFolder(t), fleetPolicy)
	vm, stops := l.vmOf(501), number%5 == 0
	vm.state = prlctl.StateSuspended
	l.converge()
	for _, setting := range []string{"clipboard", "network", "asset_tag"} {
		l.wantVerdict(setting, "deferred vm_suspended")
	}
	time.Sleep(time.Duration(1+number%48) * time.Hour)
	vm.state = prlctl.StateRunning // its first resume
	began := time.Now()
	l.converge()
	l.wantVerdict("clipboard", "in_place")
	l.wantVerdict("network", "in_place")
	l.wantVerdict("asset_tag", "deferred vm_running")
	waiting := l.on("asset_tag")
	if waiting.Wait.Since.IsZero() || waiting.Wait.Since.After(began) || waiting.Wait.Deadline.Sub(waiting.Wait.Since) != 720*time.Hour {
		t.Errorf("it waits since %v until %v", waiting.Wait.Since, waiting.Wait.Deadline)
	}
	last := began // the first is told with the plan of the resume
	for day := 1; day <= 33; day += 5 {
		time.Sleep(120 * time.Hour)
		vm.state = prlctl.StateSuspended
		if stops {
			vm.state = prlctl.StateStopped
		}
		l.converge()
		vm.state = prlctl.StateRunning
		if day == 16 && number%10 < 2 {
			next := labOn(t, l.fakeMac, copyState(t, l.folder), "")
			next.content = l.content
			l = next
		}
		planned, _ := l.apply()
		for _, event := range planned.Events {
			if event.Type != eventReminder {
				continue
			}
			reminders++
			if event.At.Sub(last) < 7*24*time.Hour || event.Data["deadline"] == "" {
				t.Errorf("reminded at %v, before at %v: %v", event.At, last, event.Data)
			}
			last = event.At
		}
	}
	if stops && reminders > 0 {
		t.Errorf("%d reminders of a machine that is shut down", reminders)
	}
	vm.state = prlctl.StateStopped
	l.converge()
	l.wantVerdict("asset_tag", "in_place")
	if sets := l.sets(); len(sets) != 3 {
		t.Errorf("sets %s", fmt.Sprint(sets))
	}
	return reminders
}

// memoryFolder is a folder in memory, where the system has such a thing: a thousand
// Macs have a thousand disks.
func memoryFolder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("/dev/shm", "fleet")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	return folder
}
