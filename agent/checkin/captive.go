package checkin

import (
	"slices"
	"time"

	"prlagent/agent/protocol"
)

// Pace of a network that may want a sign-in (facts/macos.md 2.5).
const (
	captiveWindow = 10 * time.Minute // how long a change of the network is a reason
	captiveRetry  = time.Minute
)

// networkReasons are the triggers that come with another network.
var networkReasons = []string{"network_up", "wake"}

// captiveSigns are what a network that wants a sign-in first does to a request.
// Each is an alarm where the network has been the same for a while.
var captiveSigns = map[protocol.Code]bool{
	protocol.CodePortalCertificate: true,
	protocol.CodePortalWrongName:   true,
	protocol.CodePortalExpired:     true,
	protocol.CodePortalTLS:         true,
	protocol.CodePortalRedirect:    true,
	protocol.CodePortalWebPage:     true,
	protocol.CodeNetworkSignIn:     true,
}

// networkChange is when the network changed last, and which change has been taken
// for a captive network already. Each change excuses one failure.
type networkChange struct {
	changed, excused time.Time
}

// noteChanges notes the changes among the triggers.
func (s networkChange) noteChanges(triggers []protocol.Trigger) networkChange {
	for _, trigger := range triggers {
		if slices.Contains(networkReasons, trigger.Reason) && trigger.LastAt.After(s.changed) {
			s.changed = trigger.LastAt
		}
	}
	return s
}

// excuseFailure reports whether a failure may be the network's and no reason for
// alarm.
func (s networkChange) excuseFailure(code protocol.Code, now time.Time) (networkChange, bool) {
	recent := !s.changed.IsZero() && now.Sub(s.changed).Abs() <= captiveWindow
	if !captiveSigns[code] || !recent || s.excused.Equal(s.changed) {
		return s, false
	}
	s.excused = s.changed
	return s, true
}

// withNetworkExcuse is the failure as it stands after a change of the network.
func (c *Client) withNetworkExcuse(failure *exchangeError) *exchangeError {
	now, may := c.networkChange.excuseFailure(failure.Code, c.options.Now())
	if c.networkChange = now; !may {
		return failure
	}
	return &exchangeError{Code: protocol.CodePossiblyCaptive, RetryAfter: max(failure.RetryAfter, captiveRetry), Err: failure.Err}
}
