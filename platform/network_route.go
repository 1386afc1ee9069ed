package platform

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"net/netip"
)

// The messages of a Mac's route socket and of its routing tables, struct
// rt_msghdr and rt_msghdr2 of the SDK's net/route.h, if_msghdr and ifa_msghdr of
// its net/if.h. Each begins with its length in 16 bits, a version and a type;
// numbers are in the machine's byte order.
const (
	routeHeader  = 4
	routeVersion = 5 // RTM_VERSION

	interfaceUp   = 0x1        // IFF_UP
	routeHost     = 0x4        // RTF_HOST
	routeRejects  = 0x8        // RTF_REJECT
	routeSwallows = 0x1000     // RTF_BLACKHOLE
	routeScoped   = 0x01000000 // RTF_IFSCOPE
)

// routeForm is how a message is laid out: where the interface's number, the
// flags and the set of addresses stand, and behind how many bytes the addresses.
type routeForm struct {
	kind                             messageKind
	index, flags, addressesSet, size int
}

// routeFormOf is that of a type of messages that Network depends on. Others tell of
// multicast addresses, of failed lookups (RTM_MISS), and answer somebody's question
// (RTM_GET).
func routeFormOf(messageType byte) (form routeForm, known bool) {
	switch messageType {
	case 0x1, 0x2, 0x3, // RTM_ADD, RTM_DELETE, RTM_CHANGE
		0x5, 0x6, 0x14: // RTM_LOSING, RTM_REDIRECT, RTM_GET2: in a dump
		return routeForm{routeMessage, 4, 8, 12, 92}, true
	case 0xc, 0xd: // RTM_NEWADDR, RTM_DELADDR
		return routeForm{addressMessage, 12, 8, 4, 20}, true
	case 0xe: // RTM_IFINFO
		return routeForm{linkMessage, 12, 8, 4, 112}, true
	}
	return routeForm{}, false
}

var (
	errRouteMessage = errors.New("message of the kernel is cut short")
	errRouteTable   = errors.New("messages of the kernel are cut short")
)

// parseRouteTable reads a table message by message. One that makes no sense does
// not cost the others: it is an error only if none does.
func parseRouteTable(table []byte) ([]networkMessage, error) {
	messages, understood, err := parseRouteMessages(table)
	if understood == 0 || errors.Is(err, errRouteTable) {
		return nil, err
	}
	return messages, nil
}

// parseRouteMessages reads messages, one behind the other; err is about the last
// one that makes no sense.
func parseRouteMessages(data []byte) (messages []networkMessage, understood int, err error) {
	for len(data) >= routeHeader {
		length := int(binary.NativeEndian.Uint16(data))
		if length < routeHeader || length > len(data) {
			return messages, understood, errRouteTable
		}
		message, known, failed := parseRouteMessage(data[:length])
		if failed != nil {
			err = failed
		} else {
			understood++
		}
		if known {
			messages = append(messages, message)
		}
		data = data[length:]
	}
	return messages, understood, err
}

// parseRouteMessage reads one message; known is false for one that Network does
// not depend on, and for an RTM_IFINFO that does not name its interface, which
// is how the kernel says that only flags changed ([I]); routes and addresses
// follow.
func parseRouteMessage(data []byte) (message networkMessage, known bool, err error) {
	form, listed := routeFormOf(data[3])
	if data[2] != routeVersion || !listed {
		return networkMessage{}, false, nil
	}
	if len(data) < form.size {
		return networkMessage{}, false, errRouteMessage
	}
	addresses, err := parseRouteAddresses(binary.NativeEndian.Uint32(data[form.addressesSet:]), data[form.size:])
	if err != nil {
		return networkMessage{}, false, err
	}
	flags := binary.NativeEndian.Uint32(data[form.flags:])
	message = networkMessage{kind: form.kind, index: int(binary.NativeEndian.Uint16(data[form.index:])), link: addresses[atLink].link}
	switch form.kind {
	case linkMessage:
		if !addresses[atLink].present {
			return networkMessage{}, false, nil
		}
		message.up = flags&interfaceUp != 0
	case addressMessage:
		message.address = addresses[atInterface].ip
	case routeMessage:
		message.scoped, message.gateway = flags&routeScoped != 0, addresses[atGateway].ip
		if flags&(routeRejects|routeSwallows) != 0 {
			message.kind = otherMessage
		}
		message.destination = prefixOf(addresses[atDestination].ip, addresses[atMask], flags&routeHost != 0)
	}
	return message, true, nil
}

// Places of addresses in a message: RTAX_DST, RTAX_GATEWAY, RTAX_NETMASK,
// RTAX_IFP, RTAX_IFA of net/route.h.
const (
	atDestination = 0
	atGateway     = 1
	atMask        = 2
	atLink        = 4
	atInterface   = 5
	routePlaces   = 8 // RTAX_MAX
)

// routeAddress is one address behind a message.
type routeAddress struct {
	present bool
	ip      netip.Addr // without its zone
	link    string     // name of an interface
}

// Families of addresses, of the SDK's sys/socket.h.
const (
	familyIPv4 = 2
	familyLink = 18
	familyIPv6 = 30
)

// parseRouteAddresses reads the addresses of a set, in the order of its bits.
// Each begins with its length, which can be 0, and its family, and takes whole
// words of 4 bytes.
func parseRouteAddresses(set uint32, data []byte) (addresses [routePlaces]routeAddress, err error) {
	family := byte(0) // of the destination, which the mask shares
	for place := range routePlaces {
		if set&(1<<place) == 0 {
			continue
		}
		if len(data) < 4 {
			break // the kernel says more than it tells
		}
		length := int(data[0])
		if length > len(data) {
			return addresses, errRouteMessage
		}
		own := data[1]
		if place == atDestination {
			family = own
		}
		if place == atMask {
			own = family // its own is part of the mask
		}
		addresses[place] = parseRouteAddress(own, data[:length])
		data = data[min(max(4, (length+3)&^3), len(data)):]
	}
	return addresses, nil
}

// parseRouteAddress reads struct sockaddr_in, sockaddr_in6 or sockaddr_dl. Zero
// bytes at the end may be cut off.
func parseRouteAddress(family byte, data []byte) routeAddress {
	address := routeAddress{present: true}
	cut := func(at int) []byte { return data[min(at, len(data)):] }
	switch family {
	case familyIPv4:
		var ip [4]byte
		copy(ip[:], cut(4)) // sin_addr
		address.ip = netip.AddrFrom4(ip)
	case familyIPv6:
		var ip [16]byte
		copy(ip[:], cut(8)) // sin6_addr
		if isLinkScoped(ip) {
			ip[2], ip[3] = 0, 0 // where the kernel keeps the interface's number
		}
		address.ip = netip.AddrFrom16(ip)
	case familyLink:
		if name := cut(8); len(data) >= 8 && int(data[5]) <= len(name) { // sdl_nlen, sdl_data
			address.link = string(name[:data[5]])
		}
	}
	return address
}

// isLinkScoped reports whether an IPv6 address is one of its link or interface.
func isLinkScoped(ip [16]byte) bool {
	return ip[0] == 0xfe && ip[1]&0xc0 == 0x80 || ip[0] == 0xff && (ip[1]&0x0f == 1 || ip[1]&0x0f == 2)
}

// prefixOf is a route's destination; invalid where the mask does not tell.
func prefixOf(destination netip.Addr, mask routeAddress, host bool) netip.Prefix {
	switch {
	case !destination.IsValid():
		return netip.Prefix{}
	case host:
		return netip.PrefixFrom(destination, destination.BitLen())
	case !mask.ip.IsValid():
		return netip.Prefix{}
	}
	ones := 0
	octets := mask.ip.AsSlice()
	for _, octet := range octets {
		ones += bits.LeadingZeros8(^octet)
		if octet != 0xff {
			break
		}
	}
	for place, octet := range octets {
		if left := min(max(ones-8*place, 0), 8); octet != ^byte(0xff>>left) {
			return netip.Prefix{} // with holes
		}
	}
	return netip.PrefixFrom(destination, ones)
}

// routesCanChangeNetwork reports whether what the route socket said can mean a
// difference. What cannot be read can. The name of an interface is asked for
// only when all depends on it.
func routesCanChangeNetwork(data []byte, nameOf func(index int) string) bool {
	messages, _, err := parseRouteMessages(data)
	for i := range messages {
		message := &messages[i]
		name := message.link
		if !message.canChangeNetwork(name) {
			continue
		}
		if name == "" && message.index != 0 {
			name = nameOf(message.index)
		}
		if message.canChangeNetwork(name) {
			return true
		}
	}
	return err != nil
}

// linkNameIn is the name of the interface with a number; empty if it is not
// among them.
func linkNameIn(links []networkMessage, index int) string {
	for i := range links {
		link := &links[i]
		if link.kind == linkMessage && link.index == index {
			return link.link
		}
	}
	return ""
}
