package enforce

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/prlctl"
	"prlagent/store"
)

// errKilled is what a tool says that was killed at its limit.
var errKilled = &prlctl.Error{Code: string(protocol.CodeToolTimeout)}

// takeLate has what was set take effect after a while: of the host, or of the machines of
// an account.
func (m *fakeMac) takeLate(wait time.Duration, uid uint32, args []string) {
	time.AfterFunc(wait, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		for key, vm := range m.vms {
			if key.UID == uid {
				vm.set(m.t, args, m.fileWait)
			}
		}
		if action, word, _ := strings.Cut(args[len(args)-1], ":"); uid == hostUID {
			m.passwords = slices.DeleteFunc(m.passwords, func(one string) bool { return one == action })
			if word == "on" {
				m.passwords = append(m.passwords, action)
			}
		}
	})
}

// killFirst has the first tool that sets something killed, and take effect some time later.
// It gives where the state of then is.
func (l *lab) killFirst(t *testing.T) (boundary *string) {
	boundary = new(string)
	l.answer = func(uid uint32, args []string) (bool, error) {
		if *boundary == "" {
			l.takeLate(20*time.Second, uid, args)
			*boundary = copyState(t, l.folder)
			return false, errKilled
		}
		return true, nil
	}
	return boundary
}

// startAgain is another daemon on the same Mac, with a state of before.
func (l *lab) startAgain(folder string) *lab {
	next := labOn(l.t, l.fakeMac, folder, "")
	next.content, next.locks = l.content, true
	next.enforcer.Adopt(&next.content)
	return next
}

// live goes on as the agent does, for a time: with a look whenever a plan wants one.
func (l *lab) live(length time.Duration) {
	l.t.Helper()
	for end := time.Now().Add(length); time.Now().Before(end); {
		l.enforcer.RestoreLeases(l.ctx)
		planned, applied := l.apply()
		if len(applied) > 0 {
			continue
		}
		next := end
		if !planned.NextAt.IsZero() && planned.NextAt.Before(end) {
			next = planned.NextAt
		}
		time.Sleep(max(time.Second, time.Until(next)))
	}
}

// ways are those in which what was placed is not wanted any more.
var ways = map[string]func(*lab){
	"by another policy": func(l *lab) { l.content = contentOf(`"clipboard":"disconnect"`, 8) },
	"by false":          func(l *lab) { l.content = contentOf(`"no_config_changes":false`, 8) },
	"by a release":      func(l *lab) { l.content.Released = true },
	"by a person": func(l *lab) {
		reply := make(chan []*Handed, 1)
		if _, err := l.enforcer.ReleaseLocks(l.ctx, l.situation(), "carol", reply); err != nil {
			l.t.Fatal(err)
		}
		for {
			select {
			case uid := <-l.posted:
				l.enforcer.Take(uid)
			case handed := <-reply:
				for _, one := range handed {
					if one.Outcome != policy.HandDone {
						l.t.Errorf("told: %+v", one)
					}
				}
				for len(l.posted) > 0 {
					l.enforcer.Take(<-l.posted)
				}
				return
			}
		}
	},
}

// H47: a lock, or a switch of the host, that takes effect after the tool was killed, or the
// agent was, is lifted as well if nobody wants it by then, and not told as lifted before.
func TestH47_WhatComesLateIsLifted(t *testing.T) {
	t.Parallel()
	for what, document := range map[string]string{"a switch": "", "a lock": `"no_config_changes":true`} {
		for how, release := range ways {
			for _, isKilled := range []bool{false, true} {
				name := what + " " + how
				if isKilled {
					name += " after a restart"
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						l := newLab(t, document)
						if document == "" {
							l.content = controlsContent(`"no_removal":true`, 7)
						}
						l.locks, l.version = true, version
						delete(l.vms, l.vmOf(502).key)
						boundary := l.killFirst(t)
						l.apply()
						if isKilled {
							l = l.startAgain(*boundary)
						}
						release(l)
						l.live(5 * time.Minute)
						if placed := l.placed(); l.asked() != "" || l.vmOf(501).show("Security/Configuration is locked") != "off" || placed.Locks+len(placed.Switches) > 0 {
							t.Errorf("asked %q, locked %s, placed %+v, sets %q", l.asked(), l.vmOf(501).show("Security/Configuration is locked"), placed, l.sets())
						}
					})
				})
			}
		}
	}
}

// placed is what the store has of what would stay behind.
func (l *lab) placed() (placed Placed) {
	l.t.Helper()
	err := l.state.View(func(tx *store.Tx) (err error) {
		placed, err = PlacedIn(tx)
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return placed
}

// H68: a switch that is lifted for the agent's own work after the tool was killed, or the
// agent was, is put back, also one that is not the agent's.
func TestH68_WhatIsLiftedLateIsPutBack(t *testing.T) {
	t.Parallel()
	for name, isKilled := range map[string]bool{"the tool is killed": false, "and the agent": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newControlsLab(t, `"one_provisioned_per_user":true`)
				l.passwords = []string{"remove-vm"} // an administrator's
				l.apply()
				boundary := l.killFirst(t)
				l.enforcer.LookAtHost(l.ctx, l.situation())
				if _, err := l.enforcer.TakeLease(l.ctx, "test", []string{"remove-vm"}, time.Now().Add(time.Hour)); err == nil {
					t.Error("a lease that lifted nothing")
				}
				if isKilled {
					l = l.startAgain(*boundary)
				}
				l.live(2 * time.Minute)
				l.wantAsked("remove-vm")
				l.wantNoLease()
			})
		})
	}
}
