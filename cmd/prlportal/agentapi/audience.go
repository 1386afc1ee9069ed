package agentapi

import (
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/site"
)

// checkAudience holds that an enrollment is meant for this portal, and of today
// (H54). So one that another portal received, or that somebody kept, is worth
// nothing here.
func checkAudience(config site.Config, request protocol.EnrollRequest, now time.Time) (protocol.RequestID, error) {
	none := protocol.RequestID{}
	switch {
	case request.Origin == "":
		return none, protocol.NewProblem(protocol.ProblemWrongPortal, "It does not name a portal: the agent is too old, and needs an update.")
	case !config.AcceptsOrigin(request.Origin):
		return none, protocol.NewProblem(protocol.ProblemWrongPortal, "It names an address that is none of this portal's.")
	case request.SiteID != "" && !strings.EqualFold(request.SiteID, config.SiteID):
		return none, protocol.NewProblem(protocol.ProblemWrongPortal, "It names another site.")
	}
	id, err := protocol.ParseRequestID(request.RequestID)
	if err != nil {
		return none, httpapi.InvalidField("request_id", "The request id is not a UUID of version 7.")
	}
	// An id of the far future would keep every later one of the device out.
	if now.Sub(request.SentAt).Abs() > protocol.EnrollmentLife || id.Time().Sub(now) > protocol.EnrollmentLife {
		return none, protocol.NewProblem(protocol.ProblemEnrollmentStale, "By the portal's clock it is "+now.Format(time.RFC3339)+".")
	}
	return id, nil
}

// checkNewer holds that no request comes twice: the ids of a device's key rise.
// Last is empty where a portal before this one took the last one.
func checkNewer(id protocol.RequestID, last string) error {
	before, err := protocol.ParseRequestID(last)
	if err != nil || id.After(before) {
		return nil
	}
	problem := protocol.NewProblem(protocol.ProblemEnrollmentReplay, "")
	problem.Expected = uint64(before.Time().UnixMilli()) + 1
	return problem
}
