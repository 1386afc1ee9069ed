package protocol

import (
	"net/url"
	"strings"
)

// OriginOf is the scheme, host and port of a location; empty for none. A token
// is bound to it, and an enrollment names it as the one it is meant for (H54).
func OriginOf(location *url.URL) string {
	if location == nil {
		return ""
	}
	port := location.Port()
	if port == "" {
		port = "443"
	}
	return location.Scheme + "://" + strings.ToLower(location.Hostname()) + ":" + port
}
