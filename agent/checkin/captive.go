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
var captiveSigns = []protocol.Code{
	protocol.CodePortalCertificate, protocol.CodePortalWrongName, protocol.CodePortalExpired, protocol.CodePortalTLS,
	protocol.CodePortalRedirect, protocol.CodePortalWebPage, protocol.CodeNetworkSignIn,
}

// networkChange is when the network changed last, and which change has been taken
// for a captive network already. Each change excuses one failure.
type networkChange struct {
	changed, excused time.Time
}

// noteChanges notes the changes among the triggers.
func (s *networkChange) noteChanges(triggers []protocol.Trigger) {
	for i := range triggers {
		if trigger := &triggers[i]; slices.Contains(networkReasons, trigger.Reason) && trigger.LastAt.After(s.changed) {
			s.changed = trigger.LastAt
		}
	}
}

// excuseFailure reports whether a failure may be the network's and no reason for
// alarm, and notes that it was excused.
func (s *networkChange) excuseFailure(code protocol.Code, now time.Time) bool {
	recent := !s.changed.IsZero() && now.Sub(s.changed).Abs() <= captiveWindow
	if !slices.Contains(captiveSigns, code) || !recent || s.excused.Equal(s.changed) {
		return false
	}
	s.excused = s.changed
	return true
}

// withNetworkExcuse is the failure as it stands after a change of the network.
func (c *Client) withNetworkExcuse(failure *exchangeError) *exchangeError {
	if !c.networkChange.excuseFailure(failure.Code, c.options.Now()) {
		return failure
	}
	return &exchangeError{Code: protocol.CodePossiblyCaptive, RetryAfter: max(failure.RetryAfter, captiveRetry), Err: failure.Err}
}
