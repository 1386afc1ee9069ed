package localapi

import (
	"net"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
)

type fixedReport struct{ report *SentReport }

func (f fixedReport) SentReport() *SentReport { return f.report }

// Whoever sees all may see what the portal sees, and nobody else.
func TestINV_32_WhatWasSentIsForAdministrators(t *testing.T) {
	t.Parallel()
	told := &SentReport{Schema: Schema, Privacy: protocol.Privacy{NoUserNames: true}, Report: protocol.CheckinRequest{Protocol: protocol.Version}}
	administrator := Actor{UID: 501, Name: "ann", Admin: true}
	for name, c := range map[string]struct {
		source ReportSource
		actor  Actor
		code   protocol.Code
	}{
		"an administrator":       {fixedReport{told}, administrator, ""},
		"a user":                 {fixedReport{told}, Actor{UID: 502, Name: "bob"}, protocol.CodeNotAllowed},
		"before the first":       {fixedReport{}, administrator, protocol.CodeNotReportedYet},
		"a daemon without one":   {nil, administrator, protocol.CodeNotReportedYet},
		"nobody knows who it is": {fixedReport{told}, Actor{Unresolved: true}, protocol.CodeDirectorySilent},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := startDaemonOf(t, Options{Reports: c.source, Authorize: func(Peer) Actor { return c.actor }, Log: zerolog.Nop()},
				func(listener net.Listener) *peerListener { return newPeerListener(listener, 0, uint32(os.Geteuid())) })
			got, err := d.client.SentReport(t.Context())
			if protocol.CodeOf(err) != c.code {
				t.Fatalf("%v, want %q", err, c.code)
			}
			if diff := cmp.Diff(*told, got); c.code == "" && diff != "" {
				t.Error(diff)
			}
		})
	}
}
