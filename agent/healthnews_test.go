package agent

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/platform/plist"
	"prlagent/prlctl"
)

// told are the words of health that the portal got, with the time of each.
func (d daemon) told() (words []string, at []time.Time) {
	for _, one := range d.portal.checkins() {
		words, at = append(words, one.report.Health.State), append(at, one.at)
	}
	return words, at
}

// An outage that nobody asks about is at the portal soon after it counts as one,
// by one check-in; so is its end; and between them there is none (H70).
func TestH70_AnOutageReachesThePortalByItself(t *testing.T) {
	skipHours(t)
	synctest.Test(t, func(t *testing.T) {
		c := settings(t)
		d := newDaemon(t, c)
		d.mac.look = lookOf("")
		defer d.run(t)()
		time.Sleep(10 * time.Minute)
		d.mac.change(func(mac *fakeMac) { mac.look = lookOf(protocol.CodeServiceDown) })
		for len(d.Status().Users) == 0 || d.Status().Users[0].Code != protocol.CodeServiceDown {
			time.Sleep(time.Second) // until the look that sees it
		}
		seen, soon := wallClock(), restarting+c.Timing.Splay+c.Timing.MinimumGap+c.Timing.Tick
		if soon >= c.Timing.SafetyNet {
			t.Fatal("the next look could tell it")
		}
		time.Sleep(c.Timing.SafetyNet)
		words, at := d.told()
		if last := len(words) - 1; words[last] != protocol.Degraded || at[last].Sub(seen) > soon {
			t.Fatalf("the portal was told %v at %v, the outage was seen at %v", words, at, seen)
		}
		time.Sleep(2 * time.Hour)
		if more, _ := d.told(); len(more) != len(words) {
			t.Errorf("told %v in an outage, want nothing after the first %d", more, len(words))
		}
		d.mac.change(func(mac *fakeMac) { mac.look = lookOf("") })
		time.Sleep(c.Timing.SafetyNet + c.Timing.Splay + c.Timing.MinimumGap + c.Timing.Tick)
		if after, _ := d.told(); len(after) != len(words)+1 || after[len(words)] != protocol.Healthy {
			t.Errorf("told %v after the outage", after)
		}
	})
}

// Who asks for a check-in sees what is wrong at once, and so does the portal by
// that very check-in (H70).
func TestH70_ACheckinThatAPersonWantsTellsWhatThePersonSees(t *testing.T) {
	skipHours(t)
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		d.mac.look = lookOf("")
		defer d.run(t)()
		synctest.Wait()
		d.mac.change(func(mac *fakeMac) { mac.look = lookOf(protocol.CodeServiceDown) })
		d.ask(t)
		time.Sleep(time.Hour)
		if words, _ := d.told(); !slices.Equal(words, []string{protocol.Healthy, protocol.Degraded}) {
			t.Errorf("told %v, want the truth in the check-in that was asked for, and no other", words)
		}
	})
}

// What an exchange itself brings to light, and what is seen while it runs, follows
// behind the gap, once (H70).
func TestH70_WhatAnExchangeBringsToLightFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := settings(t)
		d := newDaemon(t, c)
		defer d.run(t)()
		time.Sleep(10 * time.Minute)
		d.portal.hold = make(chan struct{})
		d.portal.change(func(portal *fakePortal) { portal.policy.Code = "" })
		go d.ask(t)
		synctest.Wait()
		d.portal.change(func(portal *fakePortal) { portal.policy.Code = protocol.CodeContentStale })
		time.Sleep(2 * c.Timing.Tick) // people see it already
		close(d.portal.hold)
		time.Sleep(c.Timing.MinimumGap + c.Timing.Splay + c.Timing.Tick)
		words, _ := d.told()
		if words[len(words)-1] != protocol.Degraded {
			t.Errorf("told %v", words)
		}
		time.Sleep(6 * time.Hour)
		if more, _ := d.told(); len(more) != len(words) {
			t.Errorf("told %v, want nothing after the first %d", more, len(words))
		}
	})
}

// Two licensing profiles that say different things make the agent unhealthy, and
// the portal is told; the names of people stay here (CFP-16).
func TestCFP_16_TwoLicensingProfilesAreACondition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		profile := func(folder, experience string) {
			t.Helper()
			path := filepath.Join(d.parts.managedPreferences, folder, prlctl.LicensingFile)
			data, err := plist.EncodeXML(map[string]any{"ActivationExperience": experience})
			if err == nil {
				err = os.MkdirAll(filepath.Dir(path), 0o700)
			}
			if err == nil {
				err = os.WriteFile(path, data, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		profile("", "SSO")
		profile("alice", "sso")
		defer d.run(t)()
		d.ask(t)
		if health := d.Status().Health; health.State != localapi.Healthy {
			t.Fatalf("two profiles that say the same: %+v", health)
		}
		if said := d.Status().Licensing; said == nil || *said != (localapi.LicensingProfile{Activation: "SSO", Count: 2}) {
			t.Errorf("CFP-12: the status says %+v of the profiles", said)
		}
		profile("alice", "License Key")
		time.Sleep(10 * time.Minute)
		d.ask(t)
		health := d.Status().Health
		if health.State != localapi.Unhealthy || health.Conditions[0].Code != protocol.CodeProfilesDiffer || health.Conditions[0].Detail != "the Mac's and alice's" {
			t.Errorf("two profiles that differ: %+v", health)
		}
		reports := d.portal.checkins()
		told := reports[len(reports)-1].report.Health.Conditions
		if len(told) != 1 || told[0].Code != protocol.CodeProfilesDiffer || told[0].Subject != "" {
			t.Errorf("the portal is told %+v", told)
		}
		profile("alice", "SSO")
		time.Sleep(10 * time.Minute)
		d.ask(t)
		if health := d.Status().Health; health.State != localapi.Healthy {
			t.Errorf("afterwards: %+v", health)
		}
	})
}
