package server

import (
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/agentapi"
)

// Patterns are the routes of the whole portal.
func Patterns() []string {
	var all []string
	for _, known := range joinRoutes(new(agentapi.Server), new(adminapi.Server), healthServer{}) {
		all = append(all, known.Pattern)
	}
	return all
}
