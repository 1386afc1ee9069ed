package localapi

import (
	"errors"
	"net"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
)

func samplePlaced() Placed {
	return Placed{Schema: Schema, Holds: 1, Autostarts: 2, Locks: 3, Switches: []string{"--require-pwd create-vm"}, Leases: 1}
}

type fixedPlaced struct{ err error }

func (f fixedPlaced) Placed() (Placed, error) { return samplePlaced(), f.err }

// Whoever may act sees what would be left behind, and nobody else.
func TestH47_WhatWasPlacedIsForAdministrators(t *testing.T) {
	t.Parallel()
	administrator := Actor{UID: 501, Name: "ann", Admin: true}
	for name, c := range map[string]struct {
		source PlacedSource
		actor  Actor
		code   protocol.Code
	}{
		"an administrator":       {fixedPlaced{}, administrator, ""},
		"a user":                 {fixedPlaced{}, Actor{UID: 502, Name: "bob"}, protocol.CodeNotAllowed},
		"nobody knows who it is": {fixedPlaced{}, Actor{Unresolved: true}, protocol.CodeDirectorySilent},
		"the store is broken":    {fixedPlaced{errors.New("broken")}, administrator, protocol.CodeInternal},
		"a daemon without it":    {nil, administrator, protocol.CodeBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := startDaemonOf(t, Options{Placed: c.source, Authorize: func(Peer) Actor { return c.actor }, Log: zerolog.Nop()},
				func(listener net.Listener) *peerListener { return newPeerListener(listener, 0, uint32(os.Geteuid())) })
			got, err := d.client.Placed(t.Context())
			if protocol.CodeOf(err) != c.code {
				t.Fatalf("%v, want %q", err, c.code)
			}
			if diff := cmp.Diff(samplePlaced(), got); c.code == "" && diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestH47_WhatWasPlacedInWords(t *testing.T) {
	t.Parallel()
	for want, placed := range map[string]Placed{
		"":                            {},
		"1 hold of a virtual machine": {Holds: 1},
		"2 holds of virtual machines, 1 lock of a virtual machine":           {Holds: 2, Locks: 1},
		"1 switch of the Mac (--require-pwd add-vm)":                         {Switches: []string{"--require-pwd add-vm"}},
		"1 autostart to be put back, 2 controls that are lifted for a while": {Autostarts: 1, Leases: 2},
	} {
		if got := placed.Words(); got != want || placed.IsEmpty() != (want == "") {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
