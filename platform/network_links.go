package platform

import (
	"strconv"
	"strings"
)

// linkRelevance is what an interface can say about the way to the world.
type linkRelevance int

const (
	relevantLink   linkRelevance = iota
	tunnelLink                   // its default route counts, its addresses do not
	irrelevantLink               // nothing on it counts
)

// linkFamily is a family of interfaces: a name and a number of at least from.
type linkFamily struct {
	name        string
	firstNumber int
	relevance   linkRelevance
	source      string
}

// linkFamilies are the interfaces that come, go and talk all day without a
// network having come up. macOS always has several idle utun; a VPN over one is
// seen by its default route and its resolvers (DESIGN 5).
var linkFamilies = []linkFamily{
	{"llw", 0, irrelevantLink, "facts/macos.md 2.2 [C]: low-latency WLAN"},
	{"awdl", 0, irrelevantLink, "facts/macos.md 2.2 [C]: AirDrop"},
	{"gif", 0, irrelevantLink, "facts/macos.md 2.2 [C]: generic tunnel"},
	{"XHC", 0, irrelevantLink, "facts/macos.md 2.2 [C]: USB controller"},
	{"anpi", 0, irrelevantLink, "facts/macos.md 2.2 [C]: Apple's own USB network"},
	{"lo", 0, irrelevantLink, "facts/macos.md 2.2 [C]: loopback"},
	{"utun", 0, tunnelLink, "facts/macos.md 2.2 [C], as a VPN DESIGN 5"},
	{"ipsec", 0, tunnelLink, "facts/macos.md 2.2 [C], as a VPN DESIGN 5"},
	{"vnic", 0, irrelevantLink, "facts/macos.md 2.2 [I]: Parallels' host-only and shared networks; exact name [U]"},
	{"vmenet", 0, irrelevantLink, "facts/macos.md 2.2 [I]: a virtual machine's end of a shared network; exact name [U]"},
	// bridge0 is the Mac's Thunderbolt bridge, a network like any other.
	{"bridge", 100, irrelevantLink, "facts/macos.md 2.2 [I]: the bridges of shared networks; exact name [U]"},
}

// relevanceOf knows an interface by its name. One that is not in the table, or
// whose name is not known, is relevant: a look too many does no harm.
func relevanceOf(name string) linkRelevance {
	family := strings.TrimRight(name, "0123456789")
	digits := name[len(family):]
	number, err := strconv.Atoi(digits)
	if err != nil && digits != "" {
		return relevantLink
	}
	for _, link := range linkFamilies {
		if link.name == family && number >= link.firstNumber {
			return link.relevance
		}
	}
	return relevantLink
}
