package portal

// patterns are the routes of the whole portal.
func patterns() []string {
	var all []string
	for _, known := range routes(new(agentServer), new(adminServer), healthServer{}) {
		all = append(all, known.pattern)
	}
	return all
}
