package agent

import (
	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

// noteSent keeps what an exchange is about to tell, for people who ask (INV-32).
func (a *agent) noteSent(report *protocol.Report, privacy protocol.Privacy) {
	a.view.sent.Store(&localapi.SentReport{Schema: localapi.Schema, At: wallClock().UTC(), Privacy: privacy, Report: reportInFull(report)})
}

// SentReport is the last report as a whole: what a portal that knows nothing of
// this Mac would get. On the wire it is only what changed. It is nil before the
// first exchange of this daemon.
func (a *agent) SentReport() *localapi.SentReport { return a.view.sent.Load() }

func reportInFull(report *protocol.Report) protocol.CheckinRequest {
	request := protocol.CheckinRequest{Protocol: protocol.Version}
	told := *report // the request leads into it, and the exchange goes on with its own
	if _, err := told.Fill(&request, protocol.Baseline{}); err != nil {
		return protocol.CheckinRequest{Protocol: protocol.Version} // it is JSON by construction
	}
	return request
}
