package localapi

import (
	"net"
	"os"
	"testing"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
)

func sampleCommands() *CommandList {
	return &CommandList{Schema: Schema, Commands: []Command{{
		CommandID: "0194f3b6-0000-7000-8000-000000000001", Type: "vm.delete",
		Target:   protocol.CommandTarget{DeviceID: "device-1", MacSerial: "C02TEST", UID: 501, Owner: "anna", VMID: "vm-1", VMName: "Windows 11"},
		IssuedAt: at("08:00:00"), ExpiresAt: at("20:00:00"), IssuedBy: "Olga", Reason: "stolen",
		State: protocol.CommandSucceeded, Code: protocol.CodeVerifiedAbsent, Text: protocol.CodeVerifiedAbsent.Text().Text,
		Since: at("08:42:00"), Attempts: 1, StartedAt: at("08:41:00"), EndedAt: at("08:42:00"), Acknowledged: true,
		Observed: map[string]string{"volume": "mounted"},
		History: []CommandStep{
			{At: at("08:40:00"), State: protocol.CommandAcknowledged},
			{At: at("08:40:00"), State: protocol.CommandDeferred, Code: protocol.CodeWaitsForStop},
			{At: at("08:41:00"), State: protocol.CommandRunning},
			{At: at("08:42:00"), State: protocol.CommandSucceeded, Code: protocol.CodeVerifiedAbsent},
		},
	}, {
		CommandID: "0194f3b6-0000-7000-8000-000000000002", Type: "inventory.refresh", State: protocol.CommandAcknowledged, Since: at("08:43:00"),
		Target:  protocol.CommandTarget{DeviceID: "device-1", MacSerial: "C02TEST"},
		History: []CommandStep{{At: at("08:43:00"), State: protocol.CommandAcknowledged}},
	}}}
}

type fixedCommands struct{}

func (fixedCommands) Commands(string) (*CommandList, error) { return sampleCommands(), nil }

// A user sees what happens to their own machines, and not who wanted it and why.
func TestH16_CommandsOfOthersAreNotShown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		actor Actor
		want  int
		by    string
	}{
		"administrator": {Actor{Admin: true, UID: 0, Name: "root"}, 2, "Olga"},
		"owner":         {Actor{UID: 501, Name: "anna"}, 1, ""},
		"another user":  {Actor{UID: 502, Name: "ben"}, 0, ""},
		"nobody known":  {Actor{UID: 501}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list := commandsFor(c.actor, sampleCommands())
			if len(list.Commands) != c.want || list.Restricted == c.actor.Admin {
				t.Fatalf("%d commands, restricted %t", len(list.Commands), list.Restricted)
			}
			if c.want > 0 && list.Commands[0].IssuedBy != c.by {
				t.Errorf("issued by %q, want %q", list.Commands[0].IssuedBy, c.by)
			}
		})
	}
}

func TestCommandsTravelWhole(t *testing.T) {
	t.Parallel()
	d := startDaemonOf(t, Options{Commands: fixedCommands{}, Authorize: func(Peer) Actor { return Actor{Admin: true, Name: "root"} }, Log: zerolog.Nop()},
		func(listener net.Listener) *peerListener { return newPeerListener(listener, 0, uint32(os.Geteuid())) })
	list, err := d.client.Commands(t.Context(), "0194f3b6")
	if err != nil || len(list.Commands) != 2 || len(list.Commands[0].History) != 4 {
		t.Fatalf("%+v, %v", list, err)
	}
	if _, err := d.client.Commands(t.Context(), "../status"); err == nil {
		t.Error("an id that is none is taken")
	}
}
