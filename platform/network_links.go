package platform

import (
	"strconv"
	"strings"
)

// interest is what an interface can say about the way to the world.
type interest int

const (
	interesting interest = iota
	tunnel               // its default route counts, its addresses do not
	boring               // nothing on it counts
)

// boringLink is a family of interfaces: a name and a number of at least from.
type boringLink struct {
	name   string
	from   int
	is     interest
	source string
}

// boringLinks are the interfaces that come, go and talk all day without a
// network having come up. macOS always has several idle utun; a VPN over one is
// seen by its default route and its resolvers (DESIGN 5).
var boringLinks = []boringLink{
	{"llw", 0, boring, "facts/macos.md 2.2 [C]: low-latency WLAN"},
	{"awdl", 0, boring, "facts/macos.md 2.2 [C]: AirDrop"},
	{"gif", 0, boring, "facts/macos.md 2.2 [C]: generic tunnel"},
	{"XHC", 0, boring, "facts/macos.md 2.2 [C]: USB controller"},
	{"anpi", 0, boring, "facts/macos.md 2.2 [C]: Apple's own USB network"},
	{"lo", 0, boring, "facts/macos.md 2.2 [C]: loopback"},
	{"utun", 0, tunnel, "facts/macos.md 2.2 [C], as a VPN DESIGN 5"},
	{"ipsec", 0, tunnel, "facts/macos.md 2.2 [C], as a VPN DESIGN 5"},
	{"vnic", 0, boring, "facts/macos.md 2.2 [I]: Parallels' host-only and shared networks; exact name [U]"},
	{"vmenet", 0, boring, "facts/macos.md 2.2 [I]: a virtual machine's end of a shared network; exact name [U]"},
	// bridge0 is the Mac's Thunderbolt bridge, a network like any other.
	{"bridge", 100, boring, "facts/macos.md 2.2 [I]: the bridges of shared networks; exact name [U]"},
}

// interestOf knows an interface by its name. One that is not in the table, or
// whose name is not known, is interesting: too much looking does no harm.
func interestOf(name string) interest {
	family := strings.TrimRight(name, "0123456789")
	digits := name[len(family):]
	number, err := strconv.Atoi(digits)
	if err != nil && digits != "" {
		return interesting
	}
	for _, link := range boringLinks {
		if link.name == family && number >= link.from {
			return link.is
		}
	}
	return interesting
}
