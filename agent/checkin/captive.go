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

// suspicion is when the network changed last, and which change has been taken
// for a captive network already. Each change excuses one failure.
type suspicion struct {
	changed, used time.Time
}

// noteChanges notes the changes among the triggers.
func (s suspicion) noteChanges(triggers []protocol.Trigger) suspicion {
	for _, trigger := range triggers {
		if slices.Contains(networkReasons, trigger.Reason) && trigger.LastAt.After(s.changed) {
			s.changed = trigger.LastAt
		}
	}
	return s
}

// excuse says whether a failure may be the network's and no reason for alarm.
func (s suspicion) excuse(code protocol.Code, now time.Time) (suspicion, bool) {
	recent := !s.changed.IsZero() && now.Sub(s.changed).Abs() <= captiveWindow
	if !captiveSigns[code] || !recent || s.used.Equal(s.changed) {
		return s, false
	}
	s.used = s.changed
	return s, true
}

// excused is the failure as it stands after a change of the network.
func (c *Client) excused(failure *Error) *Error {
	now, may := c.network.excuse(failure.Code, c.options.Now())
	if c.network = now; !may {
		return failure
	}
	return &Error{Code: protocol.CodePossiblyCaptive, RetryAfter: max(failure.RetryAfter, captiveRetry), Err: failure.Err}
}
