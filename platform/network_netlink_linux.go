package platform

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// maxNetworkMessages bounds a dump: links, addresses and default routes.
const maxNetworkMessages = 1 << 16

var (
	errCutMessage   = errors.New("message of the kernel is cut short")
	errTooManyLinks = errors.New("too many interfaces, addresses or default routes")
)

// netlinkHeader begins every message: length, type, flags, sequence, sender.
type netlinkHeader struct {
	kind, flags uint16
	sequence    uint32
}

// eachNetlink calls handle for every message of a datagram (rtnetlink(7)).
func eachNetlink(data []byte, handle func(header netlinkHeader, body []byte) error) error {
	for len(data) > 0 {
		if len(data) < unix.SizeofNlMsghdr {
			return errCutMessage
		}
		length := int64(binary.NativeEndian.Uint32(data))
		if length < unix.SizeofNlMsghdr || length > int64(len(data)) {
			return errCutMessage
		}
		header := netlinkHeader{
			kind:     binary.NativeEndian.Uint16(data[4:]),
			flags:    binary.NativeEndian.Uint16(data[6:]),
			sequence: binary.NativeEndian.Uint32(data[8:]),
		}
		if err := handle(header, data[unix.SizeofNlMsghdr:length]); err != nil {
			return err
		}
		data = data[min(alignedLength(int(length)), len(data)):]
	}
	return nil
}

// alignedLength rounds up to the 4 bytes on which messages and attributes begin.
func alignedLength(length int) int {
	return (length + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1)
}

// parseNetlink reads the body of one message. A route over several interfaces
// gives one message for each. What Network does not depend on gives none.
func parseNetlink(header netlinkHeader, body []byte) ([]networkMessage, error) {
	switch header.kind { // what makes and what removes a thing have the same form
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return parseNetlinkLink(body)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return parseNetlinkAddress(body)
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return parseNetlinkRoute(body)
	}
	return nil, nil
}

func parseNetlinkLink(body []byte) ([]networkMessage, error) {
	if len(body) < unix.SizeofIfInfomsg {
		return nil, errCutMessage
	}
	if body[0] != unix.AF_UNSPEC {
		return nil, nil // a bridge speaks about its ports
	}
	const carries = unix.IFF_UP | unix.IFF_RUNNING
	message := networkMessage{
		kind:  linkMessage,
		index: int(int32(binary.NativeEndian.Uint32(body[4:]))),
		up:    binary.NativeEndian.Uint32(body[8:])&carries == carries,
	}
	err := eachAttribute(body[unix.SizeofIfInfomsg:], func(kind uint16, value []byte) error {
		if kind == unix.IFLA_IFNAME {
			message.link = unix.ByteSliceToString(value)
		}
		return nil
	})
	return []networkMessage{message}, err
}

// parseNetlinkAddress passes over an IPv6 address that the kernel has not tried
// yet: it says so again when it has.
func parseNetlinkAddress(body []byte) ([]networkMessage, error) {
	if len(body) < unix.SizeofIfAddrmsg {
		return nil, errCutMessage
	}
	flags := uint32(body[2])
	message := networkMessage{kind: addressMessage, index: int(binary.NativeEndian.Uint32(body[4:]))}
	var local, address netip.Addr
	err := eachAttribute(body[unix.SizeofIfAddrmsg:], func(kind uint16, value []byte) error {
		switch {
		case kind == unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(value)
		case kind == unix.IFA_ADDRESS:
			address, _ = netip.AddrFromSlice(value)
		case kind == unix.IFA_FLAGS && len(value) == 4:
			flags = binary.NativeEndian.Uint32(value)
		}
		return nil
	})
	if flags&unix.IFA_F_TENTATIVE != 0 {
		return nil, err
	}
	message.address = address
	if local.IsValid() { // on a point-to-point link the other one is the peer's
		message.address = local
	}
	return []networkMessage{message}, err
}

// netlinkHop is one way of a route.
type netlinkHop struct {
	index   int
	gateway netip.Addr
}

func parseNetlinkRoute(body []byte) ([]networkMessage, error) {
	if len(body) < unix.SizeofRtMsg {
		return nil, errCutMessage
	}
	family, bits, table, kind := body[0], int(body[1]), uint32(body[4]), body[7]
	cloned := binary.NativeEndian.Uint32(body[8:])&unix.RTM_F_CLONED != 0
	destination, known := unspecifiedAddress(family)
	if !known || kind != unix.RTN_UNICAST || cloned {
		return nil, nil
	}
	hops := make([]netlinkHop, 1)
	err := eachAttribute(body[unix.SizeofRtMsg:], func(kind uint16, value []byte) error {
		switch {
		case kind == unix.RTA_DST:
			destination, _ = netip.AddrFromSlice(value)
		case kind == unix.RTA_TABLE && len(value) == 4:
			table = binary.NativeEndian.Uint32(value)
		case kind == unix.RTA_MULTIPATH:
			return eachHop(value, func(hop netlinkHop) { hops = append(hops, hop) })
		default:
			hops[0].setAttribute(kind, value)
		}
		return nil
	})
	if err != nil || table != unix.RT_TABLE_MAIN {
		return nil, err
	}
	prefix, err := destination.Prefix(bits)
	if err != nil {
		return nil, err
	}
	var messages []networkMessage
	for _, hop := range hops {
		if hop.index != 0 {
			messages = append(messages, networkMessage{
				kind: routeMessage, index: hop.index, destination: prefix, gateway: hop.gateway,
			})
		}
	}
	return messages, nil
}

func unspecifiedAddress(family uint8) (address netip.Addr, known bool) {
	switch family {
	case unix.AF_INET:
		return netip.IPv4Unspecified(), true
	case unix.AF_INET6:
		return netip.IPv6Unspecified(), true
	}
	return netip.Addr{}, false
}

func (h *netlinkHop) setAttribute(kind uint16, value []byte) {
	switch {
	case kind == unix.RTA_OIF && len(value) == 4:
		h.index = int(int32(binary.NativeEndian.Uint32(value)))
	case kind == unix.RTA_GATEWAY:
		h.gateway, _ = netip.AddrFromSlice(value)
	}
}

// eachHop reads the ways of a route that has several: each begins with its
// length, flags, weight and interface.
func eachHop(data []byte, handle func(netlinkHop)) error {
	for len(data) >= unix.SizeofRtNexthop {
		length := int(binary.NativeEndian.Uint16(data))
		if length < unix.SizeofRtNexthop || length > len(data) {
			return errCutMessage
		}
		hop := netlinkHop{index: int(int32(binary.NativeEndian.Uint32(data[4:])))}
		err := eachAttribute(data[unix.SizeofRtNexthop:length], func(kind uint16, value []byte) error {
			hop.setAttribute(kind, value)
			return nil
		})
		if err != nil {
			return err
		}
		handle(hop)
		data = data[min(alignedLength(length), len(data)):]
	}
	return nil
}

// eachAttribute reads attributes: length, type, value, padding.
func eachAttribute(data []byte, handle func(kind uint16, value []byte) error) error {
	for len(data) >= unix.SizeofRtAttr {
		length := int(binary.NativeEndian.Uint16(data))
		if length < unix.SizeofRtAttr || length > len(data) {
			return errCutMessage
		}
		kind := binary.NativeEndian.Uint16(data[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		if err := handle(kind, data[unix.SizeofRtAttr:length]); err != nil {
			return err
		}
		data = data[min(alignedLength(length), len(data)):]
	}
	return nil
}
