package agent

import (
	"net/url"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/config"
	"prlagent/agent/localapi"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/agent/watch"
)

// H40: enforced is only what both the profile and the signed head allow, and
// 'policy show' says whose word it is that it is not.
func TestH40_TheWeakerModeIsInForce(t *testing.T) {
	for _, c := range []struct{ profile, head, inForce, of string }{
		{config.ModeEnforce, "", config.ModeEnforce, policy.FromConfiguration},
		{config.ModeEnforce, protocol.ModeEnforce, config.ModeEnforce, policy.FromConfiguration},
		{config.ModeEnforce, protocol.ModeMonitor, config.ModeMonitor, policy.FromHead},
		{config.ModeMonitor, protocol.ModeEnforce, config.ModeMonitor, policy.FromConfiguration},
		{config.ModeMonitor, protocol.ModeMonitor, config.ModeMonitor, policy.FromConfiguration},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := newPolicyMac(t, c.profile)
			m.portal.shape = func(content *policy.Content) { content.Mode = c.head }
			defer m.run(t)()
			time.Sleep(time.Hour)
			if sets := m.setsSince(time.Time{}); (len(sets) > 0) != (c.inForce == config.ModeEnforce) {
				t.Errorf("%+v: %d sets", c, len(sets))
			}
			shown := m.Policy()
			if shown.Mode != c.inForce || shown.InForce.Mode != c.inForce || shown.InForce.ModeOf != c.of || m.Status().PolicyInForce != shown.InForce {
				t.Errorf("%+v: shown %s, %+v", c, shown.Mode, shown.InForce)
			}
		})
	}
}

// A head that is signed anew with another mode, and nothing else, is obeyed at
// once.
func TestH40_AnotherModeOfTheHeadIsObeyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newPolicyMac(t, config.ModeEnforce)
		before, after, brings := protocol.ModeMonitor, protocol.ModeMonitor, 0
		m.portal.shape = func(content *policy.Content) {
			if content.Mode = before; len(m.portal.got) >= brings {
				content.Mode = after
			}
		}
		defer m.run(t)()
		time.Sleep(time.Hour)
		for _, next := range []string{protocol.ModeEnforce, protocol.ModeMonitor} {
			began := wallClock()
			m.portal.change(func(f *fakePortal) { before, after, brings = after, next, len(f.got)+1 })
			m.ask(t)
			if synctest.Wait(); next == protocol.ModeMonitor { // what a user changes is left alone from now on
				if shown := m.Policy(); shown.Mode != next {
					t.Errorf("shown %s", shown.Mode)
				}
				m.becomes("on")
				m.inbox.Tell(watch.Hint{UID: 501, VMID: policyVM})
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if sets := m.setsSince(began); (len(sets) == 1) != (next == protocol.ModeEnforce) {
				t.Errorf("%s: %d sets", next, len(sets))
			}
		}
	})
}

// Ten days before the head expires it is a condition with a remedy, and afterwards
// another; the policy stays in force, and a renewed head ends both.
func TestAHeadThatRunsOutIsACondition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newPolicyMac(t, config.ModeEnforce)
		m.becomes("off")
		expires := wallClock().Add(policy.ExpiryNotice + 2*time.Hour)
		m.portal.shape = func(content *policy.Content) {
			now := wallClock()
			content.Source, content.ExpiresAt = policy.FromHead, expires
			content.Expired, content.ExpiresSoon = !now.Before(expires), !now.Add(policy.ExpiryNotice).Before(expires)
		}
		defer m.run(t)()
		has := func(code protocol.Code) bool {
			return slices.ContainsFunc(m.Status().Health.Conditions, func(c localapi.Condition) bool {
				return c.Code == code && c.Remedy != "" && c.Detail != ""
			})
		}
		for _, step := range []struct {
			after       string
			soon, stale bool
		}{{"an hour", false, false}, {"two hours more", true, false}, {"31 days", false, true}} {
			time.Sleep(time.Hour)
			switch {
			case step.soon:
				time.Sleep(time.Hour)
			case step.stale: // the days in between are spared
				m.portal.change(func(*fakePortal) { expires = wallClock().Add(-24 * time.Hour) })
				time.Sleep(time.Minute)
			}
			synctest.Wait()
			if has(protocol.CodeContentExpiring) != step.soon || has(protocol.CodeContentStale) != step.stale {
				t.Errorf("after %s: %+v", step.after, m.Status().Health)
			}
			if step.stale && m.Status().Policy.Code != protocol.CodeContentStale {
				t.Errorf("policy %+v", m.Status().Policy)
			}
			began := wallClock() // the policy is obeyed all the time
			m.becomes("on")
			m.inbox.Tell(watch.Hint{UID: 501, VMID: policyVM})
			time.Sleep(time.Minute)
			synctest.Wait()
			if len(m.setsSince(began)) != 1 {
				t.Errorf("after %s: a user's change is not put back", step.after)
			}
		}
		m.portal.change(func(*fakePortal) { expires = wallClock().Add(30 * 24 * time.Hour) })
		m.ask(t)
		synctest.Wait()
		if has(protocol.CodeContentExpiring) || has(protocol.CodeContentStale) {
			t.Errorf("renewed: %+v", m.Status().Health)
		}
		var told []string
		for _, event := range allEvents(t, m.daemon) {
			if event.Code == protocol.CodeContentExpiring || event.Code == protocol.CodeContentStale {
				told = append(told, event.Type+" "+string(event.Code))
			}
		}
		want := []string{"condition_began content_expiring", "condition_began content_stale", "condition_ended content_expiring", "condition_ended content_stale"}
		slices.Sort(told)
		if !slices.Equal(told, want) {
			t.Errorf("events %q", told)
		}
	})
}

// DESIGN 1, protocol.md 3.1 M0: a Mac without a portal obeys the policy of its
// profile, puts back what a user changes, and is healthy: nobody wants reports.
func TestAPolicyWithoutAPortal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newPolicyMac(t, config.ModeEnforce)
		configuration := m.parts.loadConfig()
		configuration.ServerURL, configuration.ContentURL = nil, nil
		m.parts.loadConfig = func() *config.Config { return configuration }
		m.portal.shape = func(content *policy.Content) { content.Source = policy.FromConfiguration }
		defer m.run(t)()
		for range 3 {
			began := wallClock()
			m.becomes("on")
			m.inbox.Tell(watch.Hint{UID: 501, VMID: policyVM})
			time.Sleep(time.Hour)
			synctest.Wait()
			if sets := m.setsSince(began); len(sets) != 1 || sets[0].Sub(began) > time.Minute {
				t.Errorf("set %v", sets)
			}
		}
		status := m.Status()
		if len(m.portal.checkins()) > 0 || status.Health.State != localapi.Healthy || slices.ContainsFunc(status.Health.Conditions, func(c localapi.Condition) bool { return c.Code == protocol.CodeNotConfigured }) {
			t.Errorf("%d check-ins, health %+v", len(m.portal.checkins()), status.Health)
		}
		if status.Policy.State != protocol.PolicyConverged || status.PolicyInForce.Source != policy.FromConfiguration {
			t.Errorf("policy %+v, %+v", status.Policy, status.PolicyInForce)
		}
	})
}

// A folder of signed policies is looked at with each look and each tick; what has
// changed in it is obeyed within a minute, and its events are told.
func TestAFolderIsReadWhenItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newPolicyMac(t, config.ModeEnforce)
		configuration := m.parts.loadConfig()
		configuration.ServerURL, configuration.Group, configuration.ContentURL = nil, "finance", &url.URL{Scheme: "file", Path: "/Library/Policies"}
		m.parts.loadConfig = func() *config.Config { return configuration }
		revision := uint64(0)
		m.portal.shape = func(content *policy.Content) {
			content.Source, content.Verified = policy.FromHead, revision > 0
			content.Pointer = protocol.PolicyPointer{PolicyID: "finance", Revision: revision, SHA256: string(rune('a' + revision))}
		}
		defer m.run(t)()
		time.Sleep(time.Hour)
		m.portal.change(func(f *fakePortal) {
			if f.reread < 100 {
				t.Errorf("it was read %d times in an hour", f.reread)
			}
			f.found = func() { revision = 1 }
			f.noticed = []protocol.Event{newEvent(wallClock(), "head_missing", protocol.CodeHeadMissing)}
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		if sets := m.setsSince(time.Time{}); len(sets) != 1 {
			t.Errorf("%d sets", len(sets))
		}
		if !slices.ContainsFunc(allEvents(t, m.daemon), func(e protocol.Event) bool { return e.Code == protocol.CodeHeadMissing }) {
			t.Error("the event is not told")
		}
	})
}

func allEvents(t *testing.T, d daemon) []protocol.Event {
	t.Helper()
	events, _, err := d.eventLog.EventsSince(0, 10*protocol.MaxEvents)
	if err != nil {
		t.Fatal(err)
	}
	return events
}
