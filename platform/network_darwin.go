package platform

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/net/route"
	"golang.org/x/sys/unix"
)

const systemResolvers = macResolvers

// routeBuffer is what one message fits in (facts/macos.md 2.2).
const routeBuffer = 2 << 10

// dumpNetwork gives the links, addresses and routes of the kernel.
func dumpNetwork() ([]networkMessage, error) {
	links, err := dumpRoutes(unix.NET_RT_IFLIST, unix.NET_RT_IFLIST, everyLink)
	if err != nil {
		return nil, fmt.Errorf("ask kernel for interfaces: %w", err)
	}
	// Dumped as one type and parsed as another: facts/macos.md 2.2.
	routes, err := dumpRoutes(unix.NET_RT_DUMP2, unix.NET_RT_IFLIST2, everyLink)
	if err != nil {
		return nil, fmt.Errorf("ask kernel for routes: %w", err)
	}
	return append(links, routes...), nil
}

// everyLink asks for a table of all interfaces, not of the one with a number.
const everyLink = 0

// dumpRoutes parses a table message by message: one that the parser does not
// understand must not cost the others.
func dumpRoutes(fetched, parsed route.RIBType, index int) ([]networkMessage, error) {
	table, err := route.FetchRIB(unix.AF_UNSPEC, fetched, index)
	if err != nil {
		return nil, err
	}
	var messages []networkMessage
	understood, failed := 0, error(nil)
	for len(table) >= 4 {
		length := int(binary.NativeEndian.Uint16(table))
		if length < 4 || length > len(table) {
			return nil, errors.New("message of the kernel is cut short")
		}
		some, err := parseRoutes(parsed, table[:length])
		if err != nil {
			failed = err
		} else {
			understood++
		}
		messages = append(messages, some...)
		table = table[length:]
	}
	if understood == 0 {
		return nil, failed
	}
	return messages, nil
}

// parseRoutes is guarded: the parser has panicked on real Macs (facts/macos.md
// 2.2).
func parseRoutes(as route.RIBType, data []byte) (messages []networkMessage, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			messages, err = nil, fmt.Errorf("parse message of the kernel: %v", reason)
		}
	}()
	parsed, err := route.ParseRIB(as, data)
	if err != nil {
		return nil, fmt.Errorf("parse message of the kernel: %w", err)
	}
	for _, message := range parsed {
		messages = append(messages, translateMessage(message))
	}
	return messages, nil
}

// translateMessage gives the other kind for what Network does not depend on:
// multicast addresses, failed lookups (RTM_MISS), answers to somebody's
// question (RTM_GET). The parser passes over an RTM_IFINFO that does not name
// its interface, which is how the kernel says that only flags changed ([I]);
// routes and addresses follow.
func translateMessage(message route.Message) networkMessage {
	switch message := message.(type) {
	case *route.InterfaceMessage:
		return networkMessage{kind: linkMessage, index: message.Index, link: message.Name, up: message.Flags&unix.IFF_UP != 0}
	case *route.InterfaceAddrMessage:
		return networkMessage{
			kind: addressMessage, index: message.Index,
			link: linkName(message.Addrs), address: addressAt(message.Addrs, unix.RTAX_IFA),
		}
	case *route.RouteMessage:
		return translateRoute(message)
	}
	return networkMessage{}
}

// routeKinds are the messages that tell of a route; RTM_GET2 is that of a dump.
var routeKinds = map[int]messageKind{
	unix.RTM_ADD: routeMessage, unix.RTM_DELETE: routeMessage, unix.RTM_CHANGE: routeMessage,
	unix.RTM_GET2: routeMessage, unix.RTM_REDIRECT: routeMessage, unix.RTM_LOSING: routeMessage,
}

// translateRoute takes no route for one that only rejects.
func translateRoute(message *route.RouteMessage) networkMessage {
	translated := networkMessage{
		kind:    routeKinds[message.Type],
		index:   message.Index,
		link:    linkName(message.Addrs),
		scoped:  message.Flags&unix.RTF_IFSCOPE != 0,
		gateway: addressAt(message.Addrs, unix.RTAX_GATEWAY),
	}
	if message.Flags&(unix.RTF_REJECT|unix.RTF_BLACKHOLE) != 0 {
		translated.kind = otherMessage
	}
	destination := addressAt(message.Addrs, unix.RTAX_DST)
	if bits, known := maskBits(message, destination); known {
		translated.destination = netip.PrefixFrom(destination, bits)
	}
	return translated
}

// maskBits counts the bits of a route's mask; that of a host has none.
func maskBits(message *route.RouteMessage, destination netip.Addr) (bits int, known bool) {
	if !destination.IsValid() {
		return 0, false
	}
	if message.Flags&unix.RTF_HOST != 0 {
		return destination.BitLen(), true
	}
	mask := addressAt(message.Addrs, unix.RTAX_NETMASK)
	if !mask.IsValid() {
		return 0, false
	}
	bits, all := net.IPMask(mask.AsSlice()).Size()
	return bits, all == destination.BitLen()
}

// addressAt gives the address in one place of a message, without its zone.
func addressAt(addresses []route.Addr, place int) netip.Addr {
	if place >= len(addresses) {
		return netip.Addr{}
	}
	switch address := addresses[place].(type) {
	case *route.Inet4Addr:
		return netip.AddrFrom4(address.IP)
	case *route.Inet6Addr:
		return netip.AddrFrom16(address.IP)
	}
	return netip.Addr{}
}

// linkName gives the interface's name where a message has it.
func linkName(addresses []route.Addr) string {
	if len(addresses) > unix.RTAX_IFP {
		if link, is := addresses[unix.RTAX_IFP].(*route.LinkAddr); is {
			return link.Name
		}
	}
	return ""
}

// watchKernel opens the route socket.
func watchKernel() (networkWatch, error) {
	descriptor, err := unix.Socket(unix.AF_ROUTE, unix.SOCK_RAW, unix.AF_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("open route socket: %w", err)
	}
	unix.CloseOnExec(descriptor)
	socket, err := pollableFile(descriptor, "route socket")
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, tell func()) error {
		buffer := make([]byte, routeBuffer)
		return readUntilDone(ctx, socket, func(descriptor int) error {
			length, err := unix.Read(descriptor, buffer)
			if errors.Is(err, unix.ENOBUFS) {
				tell() // something was lost
				return nil
			}
			if err == nil && routesCanChangeNetwork(buffer[:length]) {
				tell()
			}
			return err
		})
	}, nil
}

// routesCanChangeNetwork reports whether a message can mean a difference. One
// that cannot be read can. The name of an interface is looked up only when all
// depends on it.
func routesCanChangeNetwork(data []byte) bool {
	messages, err := parseRoutes(unix.NET_RT_IFLIST2, data)
	for _, message := range messages {
		if message.canChangeNetwork(message.link) && message.canChangeNetwork(nameOf(message)) {
			return true
		}
	}
	return err != nil
}

// nameOf looks an interface up that a message has only the number of. One that
// is gone has no name.
func nameOf(message networkMessage) string {
	if message.link != "" || message.index == everyLink {
		return message.link
	}
	links, err := dumpRoutes(unix.NET_RT_IFLIST, unix.NET_RT_IFLIST, message.index)
	if err != nil {
		return ""
	}
	for _, link := range links {
		if link.kind == linkMessage && link.index == message.index {
			return link.link
		}
	}
	return ""
}
