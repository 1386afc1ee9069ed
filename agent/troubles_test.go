package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/checkin"
	"prlagent/agent/inventory"
	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/agent/trigger"
	"prlagent/agent/watch"
)

// history are the events of the given types, oldest first.
func (d daemon) history(t *testing.T, types ...string) (found []protocol.Event) {
	t.Helper()
	events, _, err := d.eventLog.EventsSince(0, protocol.MaxEvents)
	if err != nil {
		t.Fatal(err)
	}
	for _, event := range events {
		if slices.Contains(types, event.Type) {
			found = append(found, event)
		}
	}
	return found
}

// wantHistory compares the events of the given types with "type code" each.
func (d daemon) wantHistory(t *testing.T, types []string, want ...string) []protocol.Event {
	t.Helper()
	got := d.history(t, types...)
	var words []string
	for _, event := range got {
		words = append(words, strings.TrimSpace(event.Type+" "+string(event.Code)+" "+event.Data["user_name"]))
	}
	if !slices.Equal(words, want) {
		t.Errorf("events %q, want %q", words, want)
	}
	return got
}

var userEventTypes = []string{"user_failing", "user_back", "vm_stale", "vm_state"}

// lookOf is what a look finds of two users with a hundred machines each, whose
// tools fail for a reason, or do not.
func lookOf(code protocol.Code) *inventory.Look {
	look := &inventory.Look{Host: testHost}
	for i, name := range []string{"alice", "bob"} {
		uid := uint32(501 + i)
		look.Users = append(look.Users, protocol.UserLook{Name: name, UID: uid, Code: code, Count: 100})
		for id := range 100 {
			vm := protocol.VM{VMKey: protocol.VMKey{ID: fmt.Sprint(id), UID: uid}, Owner: name, Name: fmt.Sprint(id), State: protocol.StateStopped, RawState: "stopped"}
			if code != "" {
				vm.State, vm.Stale, vm.SeenAt = protocol.StateUnknown, code, time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
			}
			look.VMs = append(look.VMs, vm)
		}
	}
	return look
}

// An outage of the service is one event for each user at its begin and one at its
// end, however many machines they have and however often is looked.
func TestAnOutageIsTwoEventsOfEachUser(t *testing.T) {
	skipHours(t)
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		d.mac.look = lookOf("")
		defer d.run(t)()
		synctest.Wait()
		d.mac.change(func(mac *fakeMac) { mac.look = lookOf(protocol.CodeServiceDown) })
		began := wallClock()
		for range 3 {
			d.ask(t)
			time.Sleep(20 * time.Minute)
		}
		events := d.wantHistory(t, userEventTypes, "user_failing service_down alice", "user_failing service_down bob")
		if since, err := time.Parse(time.RFC3339, events[0].Data["since"]); err != nil || since.Sub(began).Abs() > time.Minute {
			t.Errorf("failing since %s, want %s", events[0].Data["since"], began)
		}
		d.mac.change(func(mac *fakeMac) { mac.look = lookOf("") })
		d.ask(t)
		events = d.wantHistory(t, userEventTypes, "user_failing service_down alice", "user_failing service_down bob",
			"user_back service_down alice", "user_back service_down bob")
		if lasted := events[2].Data["lasted"]; !strings.HasPrefix(lasted, "1h0m") {
			t.Errorf("it lasted %s", lasted)
		}
	})
}

// What passes by itself is no event.
func TestWhatPassesByItselfIsNoEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		defer d.run(t)()
		synctest.Wait()
		d.portal.answer(checkin.Outcome{Code: protocol.CodePortalUnreachable})
		d.inbox.Tell(watch.Hint{Reason: trigger.NetworkUp})
		time.Sleep(roaming / 2)
		d.portal.answer(checkin.Outcome{})
		time.Sleep(time.Hour)
		synctest.Wait()
		d.wantHistory(t, []string{"checkins_failing", "checkins_back"})
	})
}

// Check-ins that fail are one event, whatever the reasons are one after another,
// and one when they arrive again. A restart in between is neither.
func TestFailingCheckinsAreTwoEventsOverARestart(t *testing.T) {
	types := []string{"checkins_failing", "checkins_back"}
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		stop := d.run(t)
		synctest.Wait()
		began := wallClock()
		for _, code := range []protocol.Code{protocol.CodePortalUnreachable, protocol.CodePortalDNS, protocol.CodePortalTimeout} {
			d.portal.answer(checkin.Outcome{Code: code})
			d.ask(t)
			time.Sleep(time.Hour)
		}
		d.wantHistory(t, types, "checkins_failing portal_unreachable")
		stop()
		d = d.again(t)
		d.portal.hold = make(chan struct{})
		stop = d.run(t)
		time.Sleep(time.Second)
		synctest.Wait() // the first exchange of the new daemon hangs
		health := d.Status().Health
		if health.State != localapi.Degraded || len(health.Conditions) == 0 || health.Conditions[0].Since.Sub(began).Abs() > time.Minute {
			t.Errorf("after a restart, and before anything is known, the health is %+v, want degraded since %s", health, began)
		}
		d.wantHistory(t, types, "checkins_failing portal_unreachable")
		d.portal.answer(checkin.Outcome{})
		close(d.portal.hold)
		time.Sleep(2 * time.Hour) // the backoff of before goes on
		synctest.Wait()
		events := d.wantHistory(t, types, "checkins_failing portal_unreachable", "checkins_back portal_unreachable")
		if lasted, err := time.ParseDuration(events[len(events)-1].Data["lasted"]); err != nil || lasted < 3*time.Hour {
			t.Errorf("it lasted %s, %v", lasted, err)
		}
		stop()
	})
}

// A configuration that vanishes, is removed and comes back is told each time.
func TestAVanishedConfigurationIsTold(t *testing.T) {
	types := []string{"configuration_vanished", "configuration_back", "configuration_changed"}
	synctest.Test(t, func(t *testing.T) {
		p := newProfiled(t)
		defer p.run(t)()
		synctest.Wait()
		p.remove(t)
		time.Sleep(5 * time.Minute)
		p.wantHistory(t, types, "configuration_vanished profile_missing")
		time.Sleep(time.Hour)
		p.wantHistory(t, types, "configuration_vanished profile_missing", "configuration_vanished profile_removed")
		p.install(t)
		time.Sleep(time.Minute)
		synctest.Wait()
		p.wantHistory(t, types, "configuration_vanished profile_missing", "configuration_vanished profile_removed", "configuration_back profile_removed")
	})
}

// A Mac that waits for its approval says so once, and when it is enrolled.
func TestAnEnrollmentIsTold(t *testing.T) {
	skipHours(t)
	types := []string{"enrollment_pending", "enrollment_refused", "enrolled", "checkins_failing"}
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		d.portal.outcome = checkin.Outcome{Code: protocol.CodeEnrollmentPending}
		defer d.run(t)()
		time.Sleep(6 * time.Hour)
		d.wantHistory(t, types, "enrollment_pending enrollment_pending")
		d.portal.answer(checkin.Outcome{EnrolledNow: true})
		d.ask(t)
		d.portal.answer(checkin.Outcome{})
		time.Sleep(6 * time.Hour)
		d.wantHistory(t, types, "enrollment_pending enrollment_pending", "enrolled")
	})
}

// Whoever can make check-ins fail and succeed at will does not flush what else
// happened.
func TestTheRecordSurvivesAStormOfTroubles(t *testing.T) {
	t.Parallel()
	var quota eventQuota
	now, kept := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC), 0
	for range 10_000 {
		now = now.Add(time.Second)
		for _, event := range quota.limitTroubles([]protocol.Event{newEvent(now, "checkins_failing", protocol.CodePortalCertificate)}, now) {
			if event.Type == "checkins_failing" {
				kept++
			}
		}
	}
	if most := userEventBurst + 3*userEventsAnHour; kept > most || kept < userEventBurst {
		t.Errorf("%d events of 10,000 in three hours are kept, want at most %d", kept, most)
	}
	alarm := newEvent(now, "condition_began", protocol.CodeToolsUntrusted)
	if got := quota.limitTroubles([]protocol.Event{alarm}, now); len(got) != 1 {
		t.Error("a security event was left out")
	}
}

// A daemon that ends says why; one that was killed is found by the next.
func TestTheEndOfADaemonIsTold(t *testing.T) {
	t.Parallel()
	told := func(d daemon, ctx context.Context, err error) string { return d.stopEvent(ctx, err).Data["reason"] }
	d := newDaemon(t, settings(t))
	signaled, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("terminated signal received"))
	if got := told(d, signaled, nil); got != "terminated signal received" {
		t.Errorf("after a signal: %s", got)
	}
	if got := told(d, t.Context(), errors.New("the state database is damaged")); got != "the state database is damaged" {
		t.Errorf("after a failure: %s", got)
	}
	if events := d.startEvents(); events[0].Data["reason"] != "" {
		t.Errorf("the first start: %+v", events)
	}
	d.eventLog.add(d.startEvents()...)
	d.eventLog.add(d.stopEvent(signaled, nil))
	if events := d.startEvents(); events[0].Data["reason"] != "" {
		t.Errorf("a start after a stop: %+v", events)
	}
	d.eventLog.add(d.startEvents()...)
	if events := d.startEvents(); !strings.Contains(events[0].Data["reason"], "killed") {
		t.Errorf("a start after a kill: %+v", events)
	}
}

// The portal hears of what lasts, and of nothing that a report that arrives
// disproves.
func TestTheReportHasTheHealth(t *testing.T) {
	skipHours(t)
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		defer d.run(t)()
		synctest.Wait()
		d.portal.answer(checkin.Outcome{Code: protocol.CodePortalUnreachable})
		d.mac.change(func(mac *fakeMac) { mac.look = lookOf(protocol.CodeServiceDown) })
		d.ask(t)
		d.portal.answer(checkin.Outcome{})
		time.Sleep(time.Hour)
		d.ask(t)
		reports := d.portal.checkins()
		health := reports[len(reports)-1].report.Health
		if health.State != protocol.Degraded || len(health.Conditions) != 1 || health.Conditions[0].Code != protocol.CodeServiceDown || health.Conditions[0].Count != 2 {
			t.Errorf("reported is %+v", health)
		}
		if first := reports[0].report.Health; first.State != protocol.Healthy || len(first.Conditions) != 0 {
			t.Errorf("the first report says %+v", first)
		}
		if subject := health.Conditions[0].Subject; subject != "" {
			t.Errorf("the report of the health names %q", subject)
		}
	})
}

// What is not shown yet, what follows from something else, and what explains a state
// only is no event; what is shown, is.
func TestWhichConditionsAreEvents(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	down, missing, explanation := protocol.CodeServiceDown, protocol.CodeToolsUntrusted, protocol.CodeLocallyManaged
	for name, c := range map[string]struct {
		active []protocol.Code
		shown  bool
		want   string
	}{
		"it is shown":             {[]protocol.Code{down}, true, "service_down"},
		"it may pass by itself":   {[]protocol.Code{down}, false, ""},
		"it follows from another": {[]protocol.Code{down, missing}, true, "tools_untrusted"},
		"it explains a state":     {[]protocol.Code{explanation}, true, ""},
	} {
		var active []*activeCode
		for _, code := range c.active {
			active = append(active, &activeCode{Code: code, Since: now, shown: c.shown})
		}
		events, open := new(troubles).change(active, now)
		var codes []string
		for _, event := range events {
			codes = append(codes, string(event.Code))
		}
		if got := strings.Join(codes, " "); got != c.want || len(open) != len(events) {
			t.Errorf("%s: events of %q, %d open; want %q", name, got, len(open), c.want)
		}
	}
}

// Why check-ins did not arrive is known to the next daemon, also where the portal
// refused.
func TestFailingIsRecalled(t *testing.T) {
	t.Parallel()
	for where, want := range map[topic]protocol.Code{
		topicPortal: protocol.CodePortalTimeout, topicEnrollment: protocol.CodePortalTimeout, topicExchange: "", topicMac: "", topicUser: "",
	} {
		open := map[string]*activeCode{"x": {Code: protocol.CodePortalTimeout, Topic: where}}
		if got := (&troubles{open: open}).failing(); got != want {
			t.Errorf("of %q: %q, want %q", where, got, want)
		}
	}
}

// What is one condition is one record, and what is not has another name.
func TestOneConditionHasOneName(t *testing.T) {
	t.Parallel()
	named := []struct {
		one  activeCode
		name string
	}{
		{activeCode{Topic: topicPortal, Code: protocol.CodePortalTimeout, Subject: "x", UID: 1}, "portal//"},
		{activeCode{Topic: topicPortal, Code: protocol.CodePortalDNS}, "portal//"},
		{activeCode{Topic: topicProfile, Code: protocol.CodeProfileMissing}, "profile//"},
		{activeCode{Topic: topicUser, Code: protocol.CodeServiceDown, Subject: "alice", UID: 501}, "user//501"},
		{activeCode{Topic: topicUser, Code: protocol.CodeToolTimeout, Subject: "alice of old", UID: 501}, "user//501"},
		{activeCode{Topic: topicUser, Code: protocol.CodeServiceDown, Subject: "root"}, "user//0"},
		{activeCode{Code: protocol.CodeVMLimit, Subject: "alice", UID: 501}, "/vm_limit/501"},
		{activeCode{Code: protocol.CodeVMLimit, Subject: "alice of old", UID: 501}, "/vm_limit/501"},
		{activeCode{Code: protocol.CodeVMLimit, Subject: "alice"}, "/vm_limit/alice"},
		{activeCode{Code: protocol.CodeServiceDown}, "/service_down/"},
		{activeCode{Topic: topicConfiguration, Code: protocol.CodeConfigInvalid, Subject: "Policy"}, "configuration/config_invalid/Policy"},
	}
	for _, a := range named {
		if got := a.one.name(); got != a.name {
			t.Errorf("%+v is %q, want %q", a.one, got, a.name)
		}
		for _, b := range named {
			if same := a.one.isSame(&b.one); same != (a.name == b.name) {
				t.Errorf("%q and %q are the same: %t", a.name, b.name, same)
			}
		}
	}
}
