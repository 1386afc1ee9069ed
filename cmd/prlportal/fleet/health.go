package fleet

import (
	"slices"
	"strings"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// Words of a device's health beside those of a running agent.
const (
	// HealthStale says that the Mac was not heard of for longer than it should be:
	// it sleeps, it is off, its network or its agent is down. Nobody here knows which.
	HealthStale   = "stale"
	HealthUnknown = "unknown" // its agent says a word that this portal does not know
)

// HealthWords are all words of a device's health, best first.
var HealthWords = []string{protocol.Healthy, protocol.Degraded, protocol.Unhealthy, HealthStale, HealthUnknown}

// healthOf is how the Mac is, as far as anybody knows now. It is empty of one that
// is retired, that has just enrolled, or whose agent does not tell it.
func (s Scan) healthOf(device storage.Device, reported string) string {
	switch {
	case device.IsRetired():
		return ""
	case s.isStale(device.HeardAt()):
		return HealthStale
	case reported == "" || slices.Contains(HealthWords[:3], reported):
		return reported
	}
	return HealthUnknown
}

// conditionCodes is the codes of conditions in their order.
func conditionCodes(conditions []protocol.ReportedCondition) string {
	codes := make([]string, len(conditions))
	for i, condition := range conditions {
		codes[i] = string(condition.Code)
	}
	return strings.Join(codes, ", ")
}

// missingVMs is how many virtual machines the Mac has and no row is for: a report
// holds protocol.MaxVMs, and has an end in bytes.
func missingVMs(report storage.Report) int {
	missing := 0
	for _, user := range report.Users {
		if user.IsLookedAt() {
			missing += min(max(user.LeftOut, 0), maxMissing)
		}
	}
	return missing
}

// maxMissing bounds what is believed of one user.
const maxMissing = 1_000_000
