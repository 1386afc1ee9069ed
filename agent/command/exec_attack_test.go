package command

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/lane"
	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
)

// What a machine looks like that is gone, and of which it cannot be known: a bundle on a
// volume that is not there was not looked for.
func TestCMD_08_H25_AVolumeThatIsNotThereIsNoProof(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*protocol.Bundle)
		bundle string // where it was at the last look
	}{
		"its volume was ejected":     {func(b *protocol.Bundle) { b.Volume, b.Device = "0123ABCD", 0 }, "/Volumes/Stick/w.pvm"},
		"nobody knows where it was":  {func(b *protocol.Bundle) { b.Volume, b.Device = "0123ABCD", 0 }, ""},
		"a volume without an id":     {func(b *protocol.Bundle) { b.Volume, b.Device = "", 987654321 }, "/Volumes/Stick/w.pvm"},
		"nothing is said of volumes": {func(b *protocol.Bundle) { b.Volume, b.Device = "", 0 }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newTestMac(t)
			command := m.command("vm.delete", protocol.DeleteParams{})
			c.change(&command.Target.Bundle)
			m.unregister(aliceUID, vmID)
			m.check(os.Rename(m.path(aliceBundle), m.path("/elsewhere")))
			mac := m.mac()
			mac.LastBundle = func(protocol.VMKey) string { return c.bundle }
			ready, _, err := carryOut(t, NewDeletion(DeleteOptions{Mac: mac}), command)
			if protocol.CodeOf(err) != protocol.CodeNotObservable || ready.State != "" {
				t.Errorf("got %+v, %v", ready, err)
			}
		})
	}
}

// A user who unregisters the machine between two attempts, and keeps a disk of it, is
// found out by what the first attempt has on record.
func TestH23_H25_AMachineThatGoesBetweenTwoAttempts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		keeps bool
		code  protocol.Code
	}{
		"with all of it":  {false, protocol.CodeVerifiedAbsent},
		"a disk was kept": {true, protocol.CodeTargetChanged},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newTestMac(t)
			m.needsFindFiles()
			executor, job := deletionOn(m), &Job{Command: m.command("vm.delete", protocol.DeleteParams{}), Attempt: 1}
			ready, err := executor.Prepare(t.Context(), job)
			m.check(err)
			job.Intent, m.ignores["delete"] = ready.Intent, true
			_ = executor.Act(t.Context(), job)
			if seen, err := executor.Verify(t.Context(), job); err != nil || seen.State != "" {
				t.Fatalf("got %+v, %v", seen, err)
			}
			if c.keeps {
				m.check(os.Link(m.path(aliceBundle+"/w-0.hdd/w-0.hds"), m.path("/Users/alice/kept")))
			}
			m.unregister(aliceUID, vmID)
			m.check(os.RemoveAll(m.path(aliceBundle)))
			if ready, err = executor.Prepare(t.Context(), job); err != nil || ready.Code != c.code {
				t.Errorf("got %+v, %v", ready, err)
			}
		})
	}
}

// An owner who has removed all traces of the product from the account is listed all the
// same: without that no list is complete.
func TestH25_TheOwnerIsListedWhateverTracesAreLeft(t *testing.T) {
	t.Parallel()
	m := newTestMac(t)
	m.after["delete"] = func() error {
		m.listFails[aliceUID] = &prlctl.Error{Code: prlctl.CodeServiceDown}
		return errors.Join(os.RemoveAll(m.path("/Users/alice/Parallels")), os.RemoveAll(m.path("/Users/alice/Library")))
	}
	_, seen, err := carryOut(t, deletionOn(m), m.command("vm.delete", protocol.DeleteParams{}))
	if protocol.CodeOf(err) != protocol.CodeServiceDown {
		t.Errorf("got %+v, %v", seen, err)
	}
}

// Where the vendor's service goes on with what the daemon before this one began, the
// bundle is waited for; it is no failure yet.
func TestCMD_12_ADeletionThatStillGoesOnAfterACrash(t *testing.T) {
	t.Parallel()
	m := newTestMac(t)
	job := &Job{Command: m.command("vm.delete", protocol.DeleteParams{}), Attempt: 1, BegunAt: m.now}
	ready, err := deletionOn(m).Prepare(t.Context(), job)
	m.check(err)
	job.Intent = ready.Intent
	m.unregister(aliceUID, vmID)
	m.now = m.now.Add(time.Second)
	if seen, err := deletionOn(m).Verify(t.Context(), job); protocol.CodeOf(err) != protocol.CodeNotDone {
		t.Errorf("got %+v, %v", seen, err)
	}
	m.now = m.now.Add(prlctl.DeleteLimit)
	if seen, err := deletionOn(m).Verify(t.Context(), job); err != nil || seen.Code != protocol.CodeNotDone || seen.State != protocol.CommandFailed {
		t.Errorf("afterwards: %+v, %v", seen, err)
	}
}

// Two deletions at once: what the one has lifted is not put back under the other's hands.
func TestSEC_10_H68_TwoDeletionsLiftForThemselves(t *testing.T) {
	t.Parallel()
	m := newTestMac(t)
	lifted := 0
	d := NewDeletion(DeleteOptions{
		Mac:                 m.mac(),
		RemovalAsksPassword: func(context.Context, *Account) (bool, error) { return lifted == 0, nil },
		Lift: func(context.Context, time.Time) (func(context.Context) error, error) {
			lifted++
			return func(context.Context) error { lifted--; return nil }, nil
		},
	})
	one, two := &deletion{Deletion: d, mac: m.mac(), account: &Account{}}, &deletion{Deletion: d, mac: m.mac(), account: &Account{}}
	restoreOne, err := one.lift(t.Context())
	m.check(err)
	restoreTwo, err := two.lift(t.Context())
	m.check(err, restoreOne(t.Context()))
	if lifted != 1 {
		t.Errorf("%d are lifted while one deletion goes on", lifted)
	}
	m.check(restoreTwo(t.Context()))
	if lifted != 0 {
		t.Errorf("%d are lifted afterwards", lifted)
	}
}

// The minute that a guest gets to shut down is a minute, also where each look at it takes
// some seconds.
func TestCMD_07_TheGraceIsAMinuteHoweverSlowTheTools(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tool := &stubbornGuest{}
		mac := &Mac{
			Directory: noProcesses{}, Lanes: lane.New(), Log: zerolog.Nop(),
			Now:   func() time.Time { return testNow.Add(-time.Duration(tool.looks) * time.Hour) }, // somebody sets the clock back all the time
			Tool:  func(*Account) VMTool { return tool },
			Pause: func(_ context.Context, wait time.Duration) { time.Sleep(wait) },
		}
		began := time.Now()
		s := stopping{mac: mac, account: &Account{}, id: vmID}
		if err := s.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := tool.killedAt.Sub(began); took < graceToStop || took > graceToStop+10*time.Second {
			t.Errorf("the guest had %s", took)
		}
	})
}

type noProcesses struct{ Directory }

func (noProcesses) Processes(context.Context) ([]platform.Process, error) { return nil, nil }

// stubbornGuest does not shut down; each look at it takes five seconds.
type stubbornGuest struct {
	VMTool
	looks    int
	killedAt time.Time
}

func (g *stubbornGuest) Get(context.Context, string) (prlctl.VM, error) {
	time.Sleep(5 * time.Second)
	g.looks++
	if g.killedAt.IsZero() {
		return prlctl.VM{ID: vmID, State: prlctl.StateRunning}, nil
	}
	return prlctl.VM{ID: vmID, State: prlctl.StateStopped}, nil
}
func (g *stubbornGuest) Stop(context.Context, string) error { return nil }
func (g *stubbornGuest) Kill(context.Context, string) error { g.killedAt = time.Now(); return nil }
