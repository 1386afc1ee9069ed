package agentapi_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/storage"
)

// eventsOf are a device's events as an admin sees them.
func eventsOf(t *testing.T, portal *portaltest.Portal, deviceID string) []fleet.Event {
	t.Helper()
	var list struct{ Events []fleet.Event }
	got := portal.Admin(t, http.MethodGet, "/v1/admin/devices/"+deviceID+"/events?per_page=1000", nil)
	if err := json.Unmarshal(got.Body, &list); err != nil || got.Status != http.StatusOK {
		t.Fatalf("events: %d %s", got.Status, got.Body)
	}
	return list.Events
}

// H70: the portal has the health that the agent reports, from the check-in that
// tells a change of it until the one that tells the next.
func TestH70_HealthIsADeltaLikeTheRest(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	if got := portal.Device(t); got.Health != protocol.Healthy || len(got.Conditions) != 0 {
		t.Errorf("a healthy Mac is %q with %v", got.Health, got.Conditions)
	}
	changed := portal.Device(t).ChangedAt
	rows := portal.VMs(t)["Windows 11"]["changed_at"]

	portal.Clock.Advance(time.Minute)
	since := portal.Clock.Now().Add(-time.Hour)
	m.Report.Health = protocol.HealthReport{State: protocol.Unhealthy, Conditions: []protocol.ReportedCondition{
		{Code: protocol.CodeServiceDown, Since: since, Count: 2},
		{Code: protocol.CodeConfigInvalid, Since: since.Add(1000 * time.Hour), Subject: "Mode"}, // its clock cannot have meant that
	}}
	m.Checkin(t)
	portal.Clock.Advance(time.Minute)
	m.Checkin(t) // says nothing of it
	got := portal.Device(t)
	if got.Health != protocol.Unhealthy || len(got.Conditions) != 2 || !got.Conditions[0].Since.Equal(since) || !got.Conditions[1].Since.IsZero() {
		t.Errorf("an unwell Mac is %q with %+v", got.Health, got.Conditions)
	}
	if !got.ChangedAt.After(changed) {
		t.Error("the device did not change")
	}
	if portal.VMs(t)["Windows 11"]["changed_at"] != rows {
		t.Error("the row of a virtual machine changed, which shows nothing of it")
	}
	if listed, _ := portal.List(t, "devices", url.Values{"filter": {"health=unhealthy", "conditions contains service_down"}}); len(listed) != 1 {
		t.Errorf("%d devices are found by it", len(listed))
	}

	m.Report.Health = protocol.HealthReport{State: protocol.Healthy}
	m.Checkin(t)
	if got := portal.Device(t); got.Health != protocol.Healthy || len(got.Conditions) != 0 {
		t.Errorf("a Mac that got well is %q with %v", got.Health, got.Conditions)
	}
}

// H70: a word that the portal does not know is not repeated, and neither is one of
// an agent that took the place of another and tells none.
func TestH70_HealthOfOtherAgents(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	send := func(change func(*protocol.CheckinRequest)) {
		t.Helper()
		m.Base = protocol.Baseline{}
		request, _ := m.Next(t)
		change(&request)
		body, err := json.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		if got := portal.Call(t, http.MethodPost, "/v1/checkin", body, "Authorization", "Bearer "+m.Token); got.Status != http.StatusOK {
			t.Fatalf("check-in: %d %s", got.Status, got.Body)
		}
	}
	send(func(q *protocol.CheckinRequest) { q.Health = nil })
	if got := portal.Device(t); got.Health != "" {
		t.Errorf("of an agent that tells none: %q", got.Health)
	}
	change := storage.Change{Device: storedDevice(t, portal, m.DeviceID), Report: &storage.Report{Health: protocol.HealthReport{State: "splendid"}}}
	if err := portal.Store.Save(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	if got, _ := (fleet.Scan{Now: portal.Clock.Now(), Freshness: time.Hour}).Device(change.Device, *change.Report, storage.CommandLog{}); got.Health != fleet.HealthUnknown {
		t.Errorf("of an agent of the future: %q", got.Health)
	}
}

func storedDevice(t *testing.T, portal *portaltest.Portal, id string) storage.Device {
	t.Helper()
	device, err := portal.Store.Device(t.Context(), storage.ByID(id))
	if err != nil {
		t.Fatal(err)
	}
	return device
}

// H70: a Mac that is not heard of is stale, whatever it said last, until it is heard
// of again.
func TestH70_AMacThatIsNotHeardOfIsStale(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
	m.Enroll(t, http.StatusCreated)
	if got := portal.Device(t).Health; got != "" {
		t.Errorf("just enrolled, it is %q", got)
	}
	m.Checkin(t)
	freshness := portal.Config.Freshness()
	for _, step := range []struct {
		after time.Duration
		want  string
	}{{freshness, protocol.Healthy}, {time.Second, fleet.HealthStale}, {1000 * time.Hour, fleet.HealthStale}} {
		portal.Clock.Advance(step.after)
		if got := portal.Device(t); got.Health != step.want {
			t.Errorf("last heard of at %v it is %q, want %q", got.LastCheckinAt, got.Health, step.want)
		}
	}
	if listed, _ := portal.List(t, "devices", url.Values{"filter": {"health=stale"}}); len(listed) != 1 {
		t.Errorf("%d devices are stale", len(listed))
	}
	m.Checkin(t)
	if got := portal.Device(t).Health; got != protocol.Healthy {
		t.Errorf("heard of again it is %q", got)
	}
}

// What a Mac tells is kept, whatever becomes of the rest of the report, and once.
func TestEventsAreKept(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	at := portal.Clock.Now().Add(-time.Hour)
	request, _ := m.Next(t)
	request.Events = []protocol.Event{
		{Seq: 1, At: at, Type: "service_down", Code: protocol.CodeServiceDown, Data: map[string]string{"user_name": "alice"}},
		{Seq: 2, At: at.Add(10_000 * time.Hour), Type: "vm_removed"}, // its clock cannot have meant that
	}
	request.Inventory.Hash, request.Inventory.Base, request.Inventory.Full = "other", "unknown", false
	for range 2 { // the second one is the repeat of a request whose answer was lost
		got := m.Send(t, request)
		var reply protocol.CheckinReply
		got.Decode(t, &reply)
		if reply.Inventory != protocol.InventorySendFull {
			t.Fatalf("check-in: %d %s", got.Status, got.Body)
		}
	}
	portal.Clock.Advance(time.Hour)
	m.CheckinWith(t, request.Events[0], protocol.Event{Seq: 3, At: portal.Clock.Now(), Type: "service_back"})
	events := eventsOf(t, portal, m.DeviceID)
	if len(events) != 3 {
		t.Fatalf("%d events are kept, want 3: %+v", len(events), events)
	}
	first, second, third := events[0], events[1], events[2]
	if first.Type != "service_down" || !first.At.Equal(at) || first.Data["user_name"] != "alice" || first.MacSerial != m.Serial || first.ID != m.DeviceID+".1" {
		t.Errorf("the first is %+v", first)
	}
	if !second.At.IsZero() || !second.ReceivedAt.Equal(portaltest.Morning) || third.ID != m.DeviceID+".3" {
		t.Errorf("the others are %+v and %+v", second, third)
	}
	if listed, about := portal.List(t, "events", url.Values{"since": {"-30m"}}); len(listed) != 1 || about.Incomplete {
		t.Errorf("since half an hour: %v, %+v", listed, about)
	}
}

// H56: a Mac that tells as much as it can, over and over, has its share of the store
// and no more; who looks for older events is told that they are gone.
func TestH56_AStormOfEventsHasAnEnd(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	var seq uint64
	for range 5 {
		var events []protocol.Event
		for range protocol.MaxEvents {
			seq++
			events = append(events, protocol.Event{Seq: seq, At: portal.Clock.Now(), Type: "vm_renamed", Data: map[string]string{"vm_name": strings.Repeat("ä", 100)}})
		}
		portal.Clock.Advance(time.Minute)
		m.CheckinWith(t, events...)
	}
	kept, err := portal.Store.Events(t.Context(), m.DeviceID)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := protocol.Encode(kept)
	if err != nil || len(encoded) > storage.MaxEventsBytes+4<<10 {
		t.Errorf("the log has %d bytes, %v", len(encoded), err)
	}
	if newest := kept.Events[len(kept.Events)-1]; newest.Event.Seq != seq {
		t.Errorf("the newest that is kept is %d of %d", newest.Event.Seq, seq)
	}
	if _, about := portal.List(t, "events", url.Values{"since": {"-1h"}}); !about.Incomplete {
		t.Error("nobody says that events are gone")
	}
}

// H70: a health is whole in itself, and is known also where the rows that came with
// it fit nothing that the portal has.
func TestH70_HealthNeedsNoBase(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	m.Report.Health = protocol.HealthReport{State: protocol.Degraded}
	request, _ := m.Next(t)
	request.Inventory.Base = "unknown"
	var reply protocol.CheckinReply
	m.Send(t, request).Decode(t, &reply)
	if got := portal.Device(t).Health; reply.Inventory != protocol.InventorySendFull || got != protocol.Degraded {
		t.Errorf("answered with %s, it is %q", reply.Inventory, got)
	}
}
