package localapi

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/protocol"
)

// hangingDirectory is a directory service that answers nobody until it is
// released.
type hangingDirectory struct {
	asked   atomic.Int32
	release chan struct{}
}

func (h *hangingDirectory) account(uint32) (string, []string, error) {
	h.asked.Add(1)
	<-h.release
	return "alice", []string{"80"}, nil
}

// H66: who is root is decided by the uid, without asking anybody.
func TestH66_RootNeedsNoDirectory(t *testing.T) {
	t.Parallel()
	hangs := &hangingDirectory{release: make(chan struct{})}
	asked := &directory{account: hangs.account, patience: time.Hour}
	us := uint32(os.Geteuid())
	authorize := peerAuthorizer{owner: us, adminGroup: "80", account: asked.lookUp}.actorOf
	for _, uid := range []uint32{0, us} {
		if got := authorize(Peer{UID: uid}); !got.Admin || got.Unresolved {
			t.Errorf("uid %d: %+v", uid, got)
		}
	}
	d := startDaemonAuthorizing(t, authorize, func(listener net.Listener) *peerListener { return newPeerListener(listener, 0, us) })
	_, status := d.client.Status(t.Context())
	_, inventory := d.client.Inventory(t.Context())
	_, events := d.client.Events(t.Context(), 0)
	_, checkin := d.client.Checkin(t.Context(), true)
	if err := errors.Join(status, inventory, events, checkin); err != nil {
		t.Error(err)
	}
	if got := hangs.asked.Load(); got != 0 {
		t.Errorf("the directory was asked %d times", got)
	}
}

// H66: a look-up has a deadline; each user is asked about once at a time, and not
// more than a few users are.
func TestH66_LookUpsHaveADeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hangs := &hangingDirectory{release: make(chan struct{})}
		asked := &directory{account: hangs.account, patience: directoryPatience}
		authorize := peerAuthorizer{owner: 500, adminGroup: "80", account: asked.lookUp}.actorOf
		for i := range 10 {
			before := time.Now()
			if got := authorize(Peer{UID: 501}); got != (Actor{UID: 501, Unresolved: true}) || time.Since(before) != directoryPatience {
				t.Errorf("question %d: %+v after %v", i, got, time.Since(before))
			}
		}
		if got := hangs.asked.Load(); got != 1 {
			t.Errorf("the directory was asked %d times about one user", got)
		}
		for uid := range uint32(100) {
			if got := authorize(Peer{UID: 1000 + uid}); !got.Unresolved || got.Admin || got.Name != "" {
				t.Errorf("uid %d: %+v", 1000+uid, got)
			}
		}
		if got := hangs.asked.Load(); got != maxLookUps {
			t.Errorf("the directory was asked %d times, want %d", got, maxLookUps)
		}
		close(hangs.release)
		synctest.Wait()
		if got := authorize(Peer{UID: 501}); got != (Actor{UID: 501, Name: "alice", Admin: true}) {
			t.Errorf("once it answers: %+v", got)
		}
	})
}

// H66: a user whom the directory does not tell gets health, and for the rest the
// reason and what to do.
func TestH66_AUserIsToldThatTheDirectoryIsSilent(t *testing.T) {
	t.Parallel()
	authorize := func(peer Peer) Actor { return Actor{UID: peer.UID, Unresolved: true} }
	d := startDaemonAuthorizing(t, authorize, func(listener net.Listener) *peerListener { return newPeerListener(listener) })
	status, err := d.client.Status(t.Context())
	if err != nil || status.Health.State == "" || len(status.Users) != 0 {
		t.Errorf("the status: %+v, %v", status, err)
	}
	_, inventory := d.client.Inventory(t.Context())
	_, events := d.client.Events(t.Context(), 0)
	_, checkin := d.client.Checkin(t.Context(), false)
	for _, err := range []error{inventory, events, checkin} {
		var refusal *Error
		if !errors.As(err, &refusal) || refusal.Code != protocol.CodeDirectorySilent || refusal.Remedy == "" {
			t.Errorf("got %v", err)
		}
	}
	if got := d.agent.asked.Load(); got != 0 {
		t.Errorf("%d check-ins were begun", got)
	}
}
