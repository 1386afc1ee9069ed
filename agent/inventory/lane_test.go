package inventory

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A look waits for a user who hangs as long as its patience, and the next one
// only shortly; everybody else's rows are complete, and so is the license.
func TestH12_AUserWhoHangsDelaysNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.look()
		hold := make(chan struct{})
		l.holds = map[string]chan struct{}{"alice": hold}
		l.machines["bob"][0].name = "Renamed"
		l.machines["alice"][0].name = "Also renamed"

		look, took := l.timed()
		wantEqual(t, "how long the first look waits", took, DefaultPatience)
		wantEqual(t, "bob", row(t, look, "bob", linuxID).Name+string(row(t, look, "bob", linuxID).Stale), "Renamed")
		wantEqual(t, "alice", userLook(t, look, "alice").Code, protocol.CodeUserLate)
		wantEqual(t, "alice's row", row(t, look, "alice", windowsID).Stale, protocol.CodeUserLate)
		wantEqual(t, "look", look.Code+" "+protocol.Code(look.Detail), "user_late alice")
		wantEqual(t, "product", look.Product.State, protocol.ProductKey)
		wantEqual(t, "who was asked for the license", l.callsOf("bob"), "list bob, get bob "+linuxID+", look bob, license bob")

		look, took = l.timed()
		wantEqual(t, "how long the second look waits", took, DefaultPatience/10)
		wantEqual(t, "alice", userLook(t, look, "alice").Code, protocol.CodeUserLate)
		wantEqual(t, "calls as alice, who has one that runs", l.callsOf("alice"), "")

		// The late answer is there now. It counts as what is known, and is not
		// taken for the truth of today: alice is asked again.
		close(hold)
		synctest.Wait()
		l.holds["alice"] = make(chan struct{})
		look, _ = l.timed()
		late := row(t, look, "alice", windowsID)
		wantEqual(t, "late answer", late.Name+" "+string(late.Stale), "Also renamed user_late")
		wantEqual(t, "rows", names(look), "alice/Also renamed bob/Renamed")

		close(l.holds["alice"])
		synctest.Wait()
		l.holds = nil
		look, took = l.timed()
		wantEqual(t, "how long a look at users who answer takes", took, 0)
		wantEqual(t, "look", look.Code, "")
		wantEqual(t, "rows", names(look), "alice/Also renamed bob/Renamed")
		wantEqual(t, "lists as alice", l.callsOf("alice"), "list alice, look alice, license alice")
	})
}

// A license that nobody answered for is not known: neither in the look that
// waited for it in vain, nor in those that find the query still running. It is
// no deactivation.
func TestINV_19_H12_ALicenseThatIsNotAnsweredIsNotKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		wantEqual(t, "before", l.look().Product.State, protocol.ProductKey)
		l.holdLicense = make(chan struct{})
		for nth, want := range []int{1, 1, 0} { // alice is asked, then bob, then nobody
			look := l.look()
			if product := look.Product; product.State != "" || product.License != "" || product.Gaps["pd_state"] != protocol.CodeUserLate {
				t.Errorf("look %d: %+v", nth, product)
			}
			wantEqual(t, "code", look.Code, protocol.CodeUserLate)
			wantEqual(t, "queries", l.runs()["license"], want)
		}
		close(l.holdLicense)
		synctest.Wait()
		l.holdLicense = nil
		wantEqual(t, "afterwards", l.look().Product.State, protocol.ProductKey)
	})
}

// timed is a look and how long it took.
func (l *lab) timed() (*Look, time.Duration) {
	l.t.Helper()
	began := time.Now()
	look := l.look()
	return look, time.Since(began)
}

func TestH12_ManyUsersWhoHangDelayNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		hold := make(chan struct{})
		l.holds = make(map[string]chan struct{})
		for i := range 9 {
			user := platform.User{Name: fmt.Sprintf("user%d", i), UID: uint32(600 + i), Home: fmt.Sprintf("/Users/user%d", i)}
			l.console.Sessions = append(l.console.Sessions, user.UID)
			l.users = append([]platform.User{user}, l.users...)
			l.holds[user.Name] = hold
		}
		look := l.look()
		wantEqual(t, "bob", userLook(t, look, "bob").Code, "")
		wantEqual(t, "alice", userLook(t, look, "alice").Code, "")
		close(hold)
	})
}

// A late answer that stands on a memory which was discarded since, because it
// was another Mac's, is discarded too (H02).
func TestH12_LateAnswerOfAForgottenMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.look()
		hold := make(chan struct{})
		l.holds = map[string]chan struct{}{"alice": hold}
		l.look()
		err := l.state.Update(func(tx *store.Tx) error {
			return errors.Join(records.Delete(tx, recordKey(alice.UID, windowsID)), records.Delete(tx, recordKey(bob.UID, linuxID)))
		})
		if err != nil {
			t.Fatal(err)
		}
		close(hold)
		synctest.Wait()
		l.holds["alice"] = make(chan struct{})
		look := l.look()
		wantEqual(t, "rows", names(look), "bob/Ubuntu")
		wantEqual(t, "alice", userLook(t, look, "alice").Code, protocol.CodeUserLate)
		close(l.holds["alice"])
	})
}

// The daemon ends: whatever runs for a user ends with it, and is waited for.
func TestH12_NothingRunsBehindTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.holds = map[string]chan struct{}{"alice": make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := l.collector.Collect(ctx, time.Second); err != nil {
			t.Fatal(err)
		}
		cancel()
		l.collector.Close()
		commits := l.state.Commits()
		if _, err := l.collector.Collect(ctx, time.Second); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		wantEqual(t, "commits", l.state.Commits(), commits)
		l.collector.Close()
	})
}

// Whoever asks while a look waits learns for whom, and for how long.
func TestH12_WhoIsWaitedForIsSaid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.look()
		hold := make(chan struct{})
		l.holds = map[string]chan struct{}{"alice": hold}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			l.look()
		}()
		synctest.Wait()
		waiting := l.collector.Visiting()
		if len(waiting) != 1 || waiting[0].User.Name != "alice" || waiting[0].Until.Sub(waiting[0].Since) != DefaultPatience {
			t.Errorf("waited for are %+v", waiting)
		}
		<-ended
		if waiting := l.collector.Visiting(); len(waiting) != 0 {
			t.Errorf("after the look %+v are waited for", waiting)
		}
		close(hold)
		synctest.Wait()
	})
}
