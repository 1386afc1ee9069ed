package protocol

import "time"

// Words of a running agent's health, best first. What is said of one that does
// not answer is the words of whoever asks it (H70).
const (
	Healthy   = "healthy"
	Degraded  = "degraded"  // a warning: someone should look
	Unhealthy = "unhealthy" // a failure: a duty of the agent is not being done
)

// HealthReport is how the agent is, as its portal should know it. What a report
// that arrives disproves is not in it, and neither is what may still pass by
// itself, so that it differs from one report to the next only where the Mac does.
type HealthReport struct {
	State      string              `json:"state"`                // Healthy, Degraded or Unhealthy
	Conditions []ReportedCondition `json:"conditions,omitempty"` // worst first, each code once
}

// ReportedCondition is one code that is true of a Mac. It names no person: whose
// tools fail is in the report's users.
type ReportedCondition struct {
	Code  Code      `json:"code"`
	Since time.Time `json:"since,omitzero"`
	// Count is how many users, keys or folders it is true of; 0 = it is of the Mac.
	Count   int    `json:"count,omitempty"`
	Subject string `json:"subject,omitempty"` // the key of the configuration, or the folder, if it is about one
}

func (h *HealthReport) cut() {
	cutTexts(h)
	h.Conditions = cutEach(h.Conditions, MaxConditions)
}
