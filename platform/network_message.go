package platform

import "net/netip"

// messageKind is what the kernel speaks about.
type messageKind int

const (
	otherMessage messageKind = iota // nothing that Network depends on
	linkMessage
	addressMessage
	routeMessage
)

// networkMessage is one thing that a kernel says about its network, in a dump of
// its tables or when it changes. Both systems' own forms are translated to it.
type networkMessage struct {
	kind  messageKind
	index int    // of the interface; 0: not named
	link  string // its name, where the message has it
	up    bool   // of a link: it can carry traffic

	address netip.Addr // of an address message

	destination netip.Prefix // of a route; invalid: not told
	gateway     netip.Addr   // of a route; invalid: the interface itself
	scoped      bool         // of a route: only for sockets that are bound to its interface
}

// isRoutable reports whether an address leads beyond its own link.
func isRoutable(address netip.Addr) bool { return address.IsGlobalUnicast() }

// isDefaultRoute reports whether a route over a link of that relevance leads to
// the world. Scoped routes do not (facts/macos.md 2.2). Neither does the IPv6
// one to a link-local neighbor that an idle tunnel keeps ([I]; with an address
// of its VPN's network as the gateway, or with none, it counts).
func (m *networkMessage) isDefaultRoute(link linkRelevance) bool {
	if m.kind != routeMessage || m.scoped || !m.destination.IsValid() || m.destination.Bits() != 0 {
		return false
	}
	return link == relevantLink || link == tunnelLink && !m.gateway.IsLinkLocalUnicast()
}

// gatewayText gives the gateway without the zone, which is the interface.
func (m *networkMessage) gatewayText() string {
	if !m.gateway.IsValid() || m.gateway.IsUnspecified() {
		return ""
	}
	return m.gateway.WithZone("").String()
}

// canChangeNetwork reports whether a change that the kernel told can make a
// difference to Network. The kinds that are passed over are those of
// facts/macos.md 2.2: failed lookups, multicast addresses, routes to link-local
// places, and all that happens on irrelevant links. A tunnel's routes matter,
// whatever they lead to: with them a VPN brings its resolvers. So does its end:
// Linux does not say that the IPv4 routes over it went too.
func (m *networkMessage) canChangeNetwork(link string) bool {
	concern := relevanceOf(link)
	switch m.kind {
	case linkMessage:
		return concern == relevantLink || concern == tunnelLink && !m.up
	case addressMessage:
		return concern == relevantLink && (!m.address.IsValid() || isRoutable(m.address))
	case routeMessage:
		return concern != irrelevantLink && !isLocalDestination(m.destination)
	}
	return false
}

func isLocalDestination(destination netip.Prefix) bool {
	address := destination.Addr()
	return address.IsLinkLocalUnicast() || address.IsMulticast() || address.IsLoopback()
}
