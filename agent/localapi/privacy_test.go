package localapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/protocol"
)

func TestH16_AuthorizeLocalDecides(t *testing.T) {
	t.Parallel()
	type account struct {
		name   string
		groups []string
	}
	directory := map[uint32]account{
		0:   {"root", []string{"0"}},
		501: {"alice", []string{"20", "80", "12"}},
		502: {"bob", []string{"20", "8", "800"}},
		503: {"owner", []string{"20"}},
	}
	a := peerAuthorizer{owner: 503, adminGroup: "80", account: func(uid uint32) (string, []string, error) {
		found, ok := directory[uid]
		if !ok {
			return "", []string{"80"}, errors.New("unknown user")
		}
		return found.name, found.groups, nil
	}}
	cases := []struct {
		name string
		uid  uint32
		want Actor
	}{
		{"root", 0, Actor{UID: 0, Admin: true, Root: true}},
		{"a member of the admin group", 501, Actor{UID: 501, Name: "alice", Admin: true}},
		{"a user whose gid only looks like it", 502, Actor{UID: 502, Name: "bob"}},
		{"the owner of a simulated Mac", 503, Actor{UID: 503, Admin: true, Root: true}},
		{"a uid that the directory does not know", 999, Actor{UID: 999}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := a.actorOf(Peer{UID: c.uid}); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

func TestH16_NoAdminGroupHasNoMembers(t *testing.T) {
	t.Parallel()
	a := peerAuthorizer{owner: 503, account: func(uint32) (string, []string, error) { return "bob", []string{""}, nil }}
	if a.actorOf(Peer{UID: 502}).Admin {
		t.Error("a user became admin by a group that does not exist")
	}
}

func TestH16_TheRealDirectoryKnowsUs(t *testing.T) {
	t.Parallel()
	uid := uint32(os.Geteuid())
	if !AuthorizeLocal(uid)(Peer{UID: uid}).Admin {
		t.Error("the owner is no admin")
	}
}

// secretsOf are texts of the samples that a stranger must not get by any way.
var secretsOf = map[string][]string{
	"status": {"alice", "bob", "C02SECRET1", "5A1C0B8E", "ABC123", "dev-7f3a", "i/o timeout", "192.0.2.7", "CheckinInterval", "prlctl", "ep-01", "Windows"},
	"vms":    {"Windows 11", "000000000001", "000000000002", "000000000003", "alice", "bob"},
	"events": {"alice", "bob", "Windows 11", "i/o timeout", "vm_started", "user_not_listed"},
}

func TestH16_AStrangerSeesHealthAndCountsOnly(t *testing.T) {
	t.Parallel()
	for _, actor := range []Actor{{UID: 504, Name: "mallory"}, {UID: 501, Name: ""}, {}} {
		documents := map[string]any{
			"status": statusFor(actor, sampleStatus()),
			"vms":    inventoryFor(actor, sampleInventory()),
			"events": eventsFor(actor, sampleEvents()),
		}
		for name, document := range documents {
			data, err := json.Marshal(document)
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range secretsOf[name] {
				if strings.Contains(string(data), secret) {
					t.Errorf("actor %q sees %q in %s", actor.Name, secret, name)
				}
			}
		}
	}
}

func TestH16_AnOwnerlessRowBelongsToNobody(t *testing.T) {
	t.Parallel()
	inventory := &Inventory{Rows: []protocol.Row{{VM: protocol.VM{Name: "orphan", SeenBy: []protocol.Account{{}}}}}}
	if got := inventoryFor(Actor{}, inventory); len(got.Rows) != 0 {
		t.Errorf("a nameless actor sees %d rows", len(got.Rows))
	}
}

func TestH16_AUserSeesTheirOwn(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		actor  Actor
		rows   []string
		events []uint64
		marked bool
	}{
		{"the owner of two", Actor{UID: 501, Name: "alice"}, []string{"…01", "…02"}, []uint64{1, 3, 4}, true},
		{"one with a VM and a shared one", Actor{UID: 502, Name: "bob"}, []string{"…02", "…03"}, []uint64{1, 2, 4}, true},
		{"a renamed account", Actor{UID: 501, Name: "alicia"}, []string{"…01", "…02"}, []uint64{1, 3, 4}, true},
		{"who took a name over", Actor{UID: 504, Name: "alice"}, nil, []uint64{1, 4}, true},
		{"an administrator", Actor{UID: 503, Name: "carol", Admin: true}, []string{"…01", "…02", "…03"}, []uint64{1, 2, 3, 4}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			inventory := inventoryFor(c.actor, sampleInventory())
			var rows []string
			for _, row := range inventory.Rows {
				rows = append(rows, "…"+row.ID[len(row.ID)-2:])
			}
			var events []uint64
			for _, event := range eventsFor(c.actor, sampleEvents()) {
				events = append(events, event.Seq)
			}
			if diff := cmp.Diff(c.rows, rows); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.events, events); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			if inventory.Restricted != c.marked {
				t.Errorf("restricted is %t", inventory.Restricted)
			}
		})
	}
}

func TestH16_EventsKeepTheirDataForAdminsAndTheirUser(t *testing.T) {
	t.Parallel()
	about := func(actor Actor, seq int) map[string]string {
		for _, event := range eventsFor(actor, sampleEvents()) {
			if event.Seq == uint64(seq) {
				return event.Data
			}
		}
		return nil
	}
	if about(Actor{UID: 501, Name: "alice"}, 3)["vm_name"] != "Windows 11" {
		t.Error("alice does not see her own event's data")
	}
	if data := about(Actor{UID: 501, Name: "alice"}, 4); data != nil {
		t.Errorf("alice sees the agent's data %v", data)
	}
	if about(Actor{Admin: true}, 4)["detail"] != "i/o timeout" {
		t.Error("an admin does not see the agent's data")
	}
	if sampleEvents()[3].Data == nil {
		t.Error("the ring's own event lost its data")
	}
}

func TestH16_OverTheSocketEveryoneGetsTheirPart(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name     string
		actor    Actor
		rows     int
		passSeen bool
		checkin  protocol.Code
	}{
		{"administrator", Actor{UID: 503, Name: "carol", Admin: true}, 3, true, ""},
		{"user", Actor{UID: 502, Name: "bob"}, 2, false, protocol.CodeNotAllowed},
		{"unknown uid", Actor{}, 0, false, protocol.CodeNotAllowed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			daemon := startDaemon(t, c.actor)
			status, err := daemon.client.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if (status.Pass != nil) != c.passSeen || status.Restricted == c.passSeen {
				t.Errorf("pass %v, restricted %t", status.Pass, status.Restricted)
			}
			inventory, err := daemon.client.Inventory(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(inventory.Rows) != c.rows {
				t.Errorf("%d rows, want %d", len(inventory.Rows), c.rows)
			}
			_, err = daemon.client.Checkin(t.Context(), false)
			if protocol.CodeOf(err) != c.checkin {
				t.Errorf("checkin: %v, want code %q", err, c.checkin)
			}
			if asked := daemon.agent.asked.Load(); (asked > 0) != c.actor.Admin {
				t.Errorf("the agent was asked %d times", asked)
			}
		})
	}
}

func TestH16_ARefusalIsA403WithItsCode(t *testing.T) {
	t.Parallel()
	daemon := startDaemon(t, Actor{UID: 502, Name: "bob"})
	response := daemon.raw(t, http.MethodPost, "/v1/checkin", `{}`)
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("status %d, want 403", response.StatusCode)
	}
	if err := readRefusal(response); protocol.CodeOf(err) != protocol.CodeNotAllowed {
		t.Errorf("%v", err)
	}
}
