package localapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
)

const canaryPassword = "canary-of-a-guest"

// Only root sets a password of a guest (DESIGN 4): a member of the admin group who does
// not use sudo may not, and nobody is quoted.
func TestVMF05_H16_OnlyRootSetsAGuestsPassword(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		actor   Actor
		request PasswordRequest
		want    protocol.Code
	}{
		"root":                      {Actor{Admin: true, Root: true}, PasswordRequest{VM: "vm-1", User: "max", Password: canaryPassword}, ""},
		"a member of the admins":    {Actor{UID: 503, Name: "carol", Admin: true}, PasswordRequest{VM: "vm-1", User: "max", Password: canaryPassword}, protocol.CodeNotAllowed},
		"the owner of the machine":  {Actor{UID: 501, Name: "alice"}, PasswordRequest{VM: "vm-1", User: "max", Password: canaryPassword}, protocol.CodeNotAllowed},
		"no account":                {Actor{Admin: true, Root: true}, PasswordRequest{VM: "vm-1", Password: canaryPassword}, protocol.CodeBadRequest},
		"no machine":                {Actor{Admin: true, Root: true}, PasswordRequest{User: "max", Password: canaryPassword}, protocol.CodeBadRequest},
		"no password":               {Actor{Admin: true, Root: true}, PasswordRequest{VM: "vm-1", User: "max"}, protocol.CodeBadRequest},
		"more than a request takes": {Actor{Admin: true, Root: true}, PasswordRequest{VM: "vm-1", User: "max", Password: GuestPassword(strings.Repeat(canaryPassword, 1000))}, protocol.CodeBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			d := startDaemonOf(t, Options{Authorize: func(Peer) Actor { return c.actor }, Log: zerolog.New(&log).Level(zerolog.DebugLevel)},
				func(listener net.Listener) *peerListener { return newPeerListener(listener, 0, uint32(os.Geteuid())) })
			result, err := d.client.GuestPassword(t.Context(), c.request)
			if protocol.CodeOf(err) != c.want || (c.want == "") != (result.Outcome == PasswordAsked) || (c.want == "") != (d.agent.asked.Load() == 1) {
				t.Errorf("%+v, %v, asked %d times", result, err, d.agent.asked.Load())
			}
			if err := d.stop(); err != nil {
				t.Error(err)
			}
			var known *Error
			if errors.As(err, &known) && strings.Contains(known.Text+known.Remedy, "canary") || strings.Contains(log.String(), "canary") {
				t.Errorf("the password is in %v or in the log %s", err, log.String())
			}
		})
	}
}

// The password is itself only where it goes to the daemon.
func TestVMF05_NoVerbShowsAGuestsPassword(t *testing.T) {
	t.Parallel()
	request := PasswordRequest{VM: "vm-1", User: "max", Password: canaryPassword}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if shown := fmt.Sprintf(verb, request) + fmt.Sprintf(verb, &request) + fmt.Sprintf(verb, request.Password); strings.Contains(shown, "canary") || strings.Contains(shown, "63616e617279") {
			t.Errorf("%s shows %s", verb, shown)
		}
	}
	if sent, err := json.Marshal(request); err != nil || !strings.Contains(string(sent), canaryPassword) {
		t.Errorf("it does not get to the daemon: %v", err)
	}
}
