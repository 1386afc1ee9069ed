package platform

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const vmAppPath = "/Applications/Parallels Desktop.app/Contents/MacOS/Parallels VM.app/Contents/MacOS/prl_vm_app"

func TestProgramIsReadOncePerInstance(t *testing.T) {
	t.Parallel()
	var reads int
	answer := vmAppPath
	var known programCache
	ask := func(asked programInstance) string {
		return known.lookUp(asked, func() runningProgram { reads++; return runningProgram{path: answer} }).path
	}
	first := programInstance{pid: 7, started: 1, uid: 501, name: "prl_vm_app", argsAddress: 1}
	second := programInstance{pid: 9, started: 1, uid: 501, name: "prl_vm_app", argsAddress: 1}
	step := func(what string, asked programInstance, path string, wantReads int) {
		t.Helper()
		reads = 0
		if got := ask(asked); got != path || reads != wantReads {
			t.Errorf("%s: got %q after %d reads, want %q after %d", what, got, reads, path, wantReads)
		}
		known.endCall()
	}
	step("new", first, vmAppPath, 1)
	step("known", first, vmAppPath, 0)

	answer = "/opt/other"
	changed := []func(*programInstance){
		func(i *programInstance) { i.pid = 8 },
		func(i *programInstance) { i.started = 2 },
		func(i *programInstance) { i.uid = 502 },
		func(i *programInstance) { i.name = "prl_client_app" },
		func(i *programInstance) { i.argsAddress = 2 },
	}
	for index, change := range changed {
		other := first
		change(&other)
		step(fmt.Sprintf("change %d", index), other, "/opt/other", 1)
	}
	step("forgotten meanwhile", first, "/opt/other", 1)

	answer = ""
	step("not readable yet", second, "", 1)
	step("still not readable", second, "", 1)
	answer = vmAppPath
	step("readable", second, vmAppPath, 1)
	step("known at last", second, vmAppPath, 0)
}

// What the kernel holds delays neither the other processes nor the next call
// for long, is asked for once, and counts as soon as it is there.
func TestH61_AProcessThatTheKernelHoldsDelaysNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var known programCache
		release := make(chan struct{})
		var asked atomic.Int64
		held := func() runningProgram { asked.Add(1); <-release; return runningProgram{path: vmAppPath} }
		quick := func() runningProgram { return runningProgram{path: "/quick"} }
		instance := func(pid int, uid uint32) programInstance { return programInstance{pid: pid, uid: uid} }
		for call := range 3 {
			begun := time.Now()
			if got := known.lookUp(instance(1000+call, 503), quick); got.path != "/quick" {
				t.Errorf("call %d: the one before is %+v", call, got)
			}
			for pid := range 20 {
				if got := known.lookUp(instance(pid, 501), held); got.path != "" {
					t.Errorf("call %d: %d is %+v", call, pid, got)
				}
			}
			if got := known.lookUp(instance(2000+call, 502), quick); got.path != "/quick" {
				t.Errorf("call %d: another user's is %+v", call, got)
			}
			known.endCall()
			want := readLimit + (maxReadsOfUser-1)*leastReadTime
			if call > 0 {
				want = 0
			}
			if took := time.Since(begun); took != want {
				t.Errorf("call %d took %s, want %s", call, took, want)
			}
			if asked.Load() != maxReadsOfUser {
				t.Errorf("call %d: %d reads are held, want %d", call, asked.Load(), maxReadsOfUser)
			}
		}
		close(release)
		synctest.Wait()
		known.endCall()
		for pid := range maxReadsOfUser {
			if got := known.lookUp(instance(pid, 501), held); got.path != vmAppPath {
				t.Errorf("%d is %+v once the kernel let it go", pid, got)
			}
		}
		if asked.Load() != maxReadsOfUser || len(known.reading) != 0 {
			t.Errorf("%d reads, %d left", asked.Load(), len(known.reading))
		}
	})
}
