package agent

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/checkin"
	"prlagent/agent/command"
	"prlagent/agent/config"
	"prlagent/agent/inventory"
	"prlagent/agent/localapi"
	"prlagent/agent/outbox"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/agent/trigger"
	"prlagent/agent/watch"
	"prlagent/platform"
	"prlagent/prlctl"
	"prlagent/store"
)

// probedMac is a policyMac whose plans wait for what the tools say of themselves.
func probedMac(t *testing.T) (m *policyMac, answer chan struct{}) {
	t.Helper()
	m, answer = newPolicyMac(t, config.ModeEnforce), make(chan struct{})
	m.mac.change(func(mac *fakeMac) {
		mac.look.Accounts = []inventory.Account{{User: platform.User{Name: "alice", UID: 501}}}
		mac.look.Users = []protocol.UserLook{{Name: "alice", UID: 501, Count: 1}}
	})
	m.parts.probe = func(ctx context.Context, _ inventory.Account, _ prlctl.Version) (found prlctl.Capabilities, err error) {
		select {
		case <-answer:
		case <-ctx.Done():
			err = ctx.Err()
		}
		return found, err
	}
	return m, answer
}

// H40: what is wanted no more when a plan ends is not done, though it was when the plan
// began.
func TestH40_APlanOfBefore(t *testing.T) {
	head := func(shape func(*policy.Content)) func(*policyMac, *config.Config) {
		return func(m *policyMac, _ *config.Config) {
			m.portal.change(func(f *fakePortal) { f.shape = shape })
		}
	}
	for name, change := range map[string]func(*policyMac, *config.Config){
		"nothing":                         func(*policyMac, *config.Config) {},
		"the configuration only monitors": func(_ *policyMac, c *config.Config) { c.Mode = config.ModeMonitor },
		"the head only monitors":          head(func(content *policy.Content) { content.Mode = protocol.ModeMonitor }),
		"the policy is released":          head(func(content *policy.Content) { content.Released, content.Document = true, nil }),
		"another policy": head(func(content *policy.Content) {
			content.Pointer.Revision++
			content.Document = []byte(strings.Replace(clipboardPolicy, `"clipboard": "disconnect"`, `"network": "host_only"`, 1))
		}),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, answer := probedMac(t)
				var current atomic.Pointer[config.Config]
				current.Store(m.parts.loadConfig())
				m.parts.loadConfig = current.Load
				m.portal.hold = make(chan struct{})
				defer m.run(t)()
				synctest.Wait()                                                     // a plan is made, and an exchange runs
				m.mac.change(func(mac *fakeMac) { mac.hold = make(chan struct{}) }) // a look would be planned for anew
				next := *current.Load()
				change(m, &next)
				current.Store(&next)
				m.inbox.Tell(watch.Hint{Reason: trigger.ProfileChanged})
				synctest.Wait()
				close(m.portal.hold)
				synctest.Wait()
				close(answer)
				time.Sleep(10 * time.Second)
				if sets := m.setsSince(time.Time{}); (len(sets) > 0) != (name == "nothing") {
					t.Errorf("%d sets", len(sets))
				}
			})
		})
	}
}

// What came while a plan was made is planned for though that plan fails.
func TestWhatCameDuringAPlanThatFailsIsPlannedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newPolicyMac(t, config.ModeEnforce)
		ctx, cancel := context.WithCancel(t.Context())
		l := newLoop(ctx, m.agent)
		l.portal.client = m.portal.again(m.outbox)
		l.known.configuration, l.known.look = m.parts.loadConfig(), m.mac.look
		l.known.look.At = wallClock()
		l.converge(trigger.Set{})
		l.converge(trigger.Set{})
		ended := <-l.plans
		ended.err = errors.New("the disk is full")
		if l.onPlanned(ended); l.planning == nil {
			t.Error("nothing is planned")
		} else {
			<-l.plans
		}
		cancel()
		m.parts.enforcer.Close()
	})
}

// What a look found and the gap keeps from being told is told once that is over, though
// the policy that is planned meanwhile has no news.
func TestWhatThePortalLacksOutlivesAPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newPolicyMac(t, config.ModeEnforce)
		m.becomes("off")
		defer m.run(t)()
		time.Sleep(time.Hour)
		m.ask(t)
		before := len(m.portal.checkins())
		m.portal.change(func(portal *fakePortal) { portal.untold = true })
		m.inbox.Tell(watch.Hint{UID: 501})
		time.Sleep(2 * protocol.DefaultTiming().MinimumGap)
		synctest.Wait()
		if len(m.portal.checkins()) == before {
			t.Error("the portal was told nothing")
		}
	})
}

// H02: who asks while it turns out that the state is another Mac's gets an answer.
func TestH02_AQuestionDuringTheLookThatErases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		other := protocol.Host{Serial: "C02OTHER", HardwareUUID: "00000000-0000-0000-0000-000000000002"}
		if _, err := checkin.LoadIdentity(d.parts.identity, &other); err != nil {
			t.Fatal(err)
		}
		hold := make(chan struct{})
		d.mac.hold = hold
		defer d.run(t)()
		synctest.Wait()
		asked := wallClock()
		answers := make(chan localapi.CheckinResult, 1)
		go func() { answers <- d.ask(t) }()
		synctest.Wait()
		close(hold)
		if answer := <-answers; !answer.Reported || wallClock().Sub(asked) > time.Minute {
			t.Errorf("after %s: %+v", wallClock().Sub(asked), answer)
		}
	})
}

// again is the portal as a client of its own has it.
func (f *fakePortal) again(box *outbox.Outbox) *fakePortal {
	f.outbox = box
	return f
}

// A portal that is configured while an exchange with the one of before runs is told
// everything within the gap, whatever that one answers.
func TestAnotherPortalDuringAnExchange(t *testing.T) {
	for name, outcome := range map[string]checkin.Outcome{
		"all is well":        {},
		"a refusal for good": {Code: protocol.CodePortalRefused, NoRetry: true},
		"a floor":            {Code: protocol.CodePortalBusy, RetryAfter: 20 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first := settings(t)
				d := newDaemon(t, first)
				second := first
				second.ServerURL = &url.URL{Scheme: "https", Host: "other.example.com"}
				other := &fakePortal{policy: d.portal.policy, untold: true}
				var current atomic.Pointer[config.Config]
				current.Store(&first)
				d.parts.loadConfig = current.Load
				d.parts.connect = func(c *config.Config, _ protocol.Host, _ *store.Store, box *outbox.Outbox) exchanger {
					if c.ServerURL.Host == second.ServerURL.Host {
						return other.again(box)
					}
					return d.portal.again(box)
				}
				d.portal.hold, d.portal.outcome = make(chan struct{}), outcome
				defer d.run(t)()
				synctest.Wait() // the first exchange hangs
				current.Store(&second)
				time.Sleep(40 * time.Second)
				close(d.portal.hold)
				time.Sleep(protocol.DefaultTiming().MinimumGap)
				synctest.Wait()
				if got := other.checkins(); len(got) == 0 || len(d.portal.checkins()) != 1 {
					t.Errorf("%d and %d check-ins", len(d.portal.checkins()), len(got))
				}
			})
		})
	}
}

// slowFolder is a portal whose folder of policies takes its time to be read.
type slowFolder struct {
	*fakePortal
	read chan struct{}
}

func (s *slowFolder) Refresh(ctx context.Context, retry bool) []protocol.Event {
	<-s.read
	return s.fakePortal.Refresh(ctx, retry)
}

// What is configured while the policy of before is being read, under which no client is
// made anew: another portal is told all of it, the one of before nothing more.
func TestAnotherPortalDuringARefresh(t *testing.T) {
	for name, then := range map[string]*url.URL{ // while the exchange waits
		"another portal":     {Scheme: "https", Host: "other.example.com"},
		"and then no portal": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first := settings(t)
				d := newDaemon(t, first)
				second, third := first, first
				second.ServerURL, third.ServerURL = &url.URL{Scheme: "https", Host: "other.example.com"}, then
				other, slow := &fakePortal{policy: d.portal.policy}, &slowFolder{d.portal, make(chan struct{})}
				var current atomic.Pointer[config.Config]
				current.Store(&first)
				d.parts.loadConfig = current.Load
				d.parts.connect = func(c *config.Config, _ protocol.Host, _ *store.Store, box *outbox.Outbox) exchanger {
					if c.ServerURL != first.ServerURL {
						return other.again(box)
					}
					d.portal.again(box)
					return slow
				}
				defer d.run(t)()
				time.Sleep(protocol.DefaultTiming().MinimumGap) // the first exchange has ended, the refresh has not
				current.Store(&second)
				answers := make(chan localapi.CheckinResult, 1)
				go func() { answers <- d.ask(t) }()
				synctest.Wait()
				current.Store(&third)
				time.Sleep(protocol.DefaultTiming().MinimumGap)
				close(slow.read)
				if answer := <-answers; answer.Reported != (then != nil) || len(d.portal.checkins()) != 1 {
					t.Errorf("%+v, %d check-ins with the one of before", answer, len(d.portal.checkins()))
				}
				got := other.checkins()
				if isTold := len(got) > 0 && trigger.SetOf(got[0].triggers).Has(trigger.ProfileChanged); isTold != (then != nil) {
					t.Errorf("check-ins %v", reasons(got))
				}
				if status := d.Status(); slices.ContainsFunc(status.Health.Conditions, func(c localapi.Condition) bool { return c.Code == protocol.CodeMacUnidentified }) {
					t.Errorf("%+v", status.Health.Conditions)
				}
			})
		})
	}
}

// A daemon that is stopped while an exchange waits for that does not wait for it.
func TestAStopWhileAnExchangeWaitsForARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := settings(t)
		d := newDaemon(t, first)
		second := first
		second.ServerURL = &url.URL{Scheme: "https", Host: "other.example.com"}
		slow := &slowFolder{d.portal, make(chan struct{})}
		var current atomic.Pointer[config.Config]
		current.Store(&first)
		d.parts.loadConfig = current.Load
		d.parts.connect = func(_ *config.Config, _ protocol.Host, _ *store.Store, box *outbox.Outbox) exchanger {
			d.portal.again(box)
			return slow
		}
		stop := d.run(t)
		time.Sleep(protocol.DefaultTiming().MinimumGap)
		current.Store(&second)
		time.Sleep(protocol.DefaultTiming().Tick)
		synctest.Wait()
		began := wallClock()
		time.AfterFunc(time.Second/2, func() { close(slow.read) })
		if stop(); wallClock().Sub(began) > time.Second {
			t.Errorf("it took %s", wallClock().Sub(began))
		}
	})
}

// An exchange that runs while a command asks the next one for the policy is not that one,
// though it begins after the command.
func TestARefreshIsNotWhatBeganBeforeItWasAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		commands, done := newDaemon(t, settings(t)).commands, &moments{}
		commands.portal = &fakePortal{}
		job := &command.Job{BegunAt: wallClock()}
		time.Sleep(time.Second)
		exchangeBegan := wallClock()
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		executor := &refresh{commands, done, func(commandPortal) { done.note(exchangeBegan) }}
		if err := executor.Act(ctx, job); err == nil {
			t.Error("it is said to be done")
		}
	})
}

// A tick is not left out because something else came first, as what the sources tell at
// the same moments.
func TestATickThatSomethingCameBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoop(t.Context(), newDaemon(t, settings(t)).agent)
		tick := protocol.DefaultTiming().Tick
		l.state.Timing.Tick = tick
		for _, step := range []struct {
			since  time.Duration
			ticked bool
			want   time.Duration
		}{
			{0, false, tick}, {tick - time.Second, false, time.Second}, {time.Second, false, 0}, {time.Second, false, 0},
			{0, true, tick - time.Second}, {tick, true, tick - time.Second}, {3 * tick, false, 0}, {0, true, tick - time.Second},
		} {
			time.Sleep(step.since)
			if step.ticked {
				l.ticked = time.Since(l.began)
			}
			if got := l.pause(); got != step.want {
				t.Errorf("%+v: %s", step, got)
			}
		}
	})
}
