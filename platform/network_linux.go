package platform

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const systemResolvers = "/etc/resolv.conf"

// The kernel packs a dump into datagrams of up to 32 KiB.
const netlinkBuffer = 32 << 10

// networkGroups are the changes that Network depends on.
var networkGroups = []int{
	unix.RTNLGRP_LINK,
	unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
	unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
}

// errNotKernel is a message that some program sent to our socket.
var errNotKernel = errors.New("message is not from the kernel")

// openNetlink opens a route socket in the network namespace of the calling
// thread.
func openNetlink(groups ...int) (descriptor int, err error) {
	descriptor, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return -1, fmt.Errorf("open netlink socket: %w", err)
	}
	err = unix.Bind(descriptor, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	for _, group := range groups {
		err = errors.Join(err, unix.SetsockoptInt(descriptor, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group))
	}
	if err != nil {
		unix.Close(descriptor)
		return -1, fmt.Errorf("prepare netlink socket: %w", err)
	}
	return descriptor, nil
}

// receiveNetlink reads one datagram of the kernel.
func receiveNetlink(descriptor int, buffer []byte) ([]byte, error) {
	length, from, err := unix.Recvfrom(descriptor, buffer, unix.MSG_TRUNC)
	if err != nil {
		return nil, err
	}
	if sender, is := from.(*unix.SockaddrNetlink); !is || sender.Pid != 0 {
		return nil, errNotKernel
	}
	if length > len(buffer) {
		return nil, errCutMessage
	}
	return buffer[:length], nil
}

// dumpNetwork gives the links, addresses and default routes that the calling
// thread's network namespace has.
func dumpNetwork() ([]networkMessage, error) {
	return dumpNetlink(unix.RTM_GETLINK, unix.RTM_GETADDR, unix.RTM_GETROUTE)
}

func dumpNetlink(requests ...uint16) ([]networkMessage, error) {
	descriptor, err := openNetlink()
	if err != nil {
		return nil, err
	}
	defer unix.Close(descriptor)
	timeout := unix.Timeval{Sec: 2} // the kernel answers at once
	if err := unix.SetsockoptTimeval(descriptor, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return nil, fmt.Errorf("prepare netlink socket: %w", err)
	}
	dump := &netlinkDump{descriptor: descriptor, buffer: make([]byte, netlinkBuffer)}
	for _, request := range requests {
		if err := dump.requestTable(request); err != nil {
			return nil, fmt.Errorf("ask kernel for its network: %w", err)
		}
	}
	return dump.messages, nil
}

// netlinkDump collects what the kernel answers.
type netlinkDump struct {
	descriptor int
	buffer     []byte
	sequence   uint32
	messages   []networkMessage
}

// requestTable requests one table. One that changed while it was told is asked
// for again.
func (d *netlinkDump) requestTable(kind uint16) error {
	const tries = 5
	var err error
	for range tries {
		before := len(d.messages)
		if err = d.requestOnce(kind); !errors.Is(err, unix.EINTR) {
			return err
		}
		d.messages = d.messages[:before]
	}
	return err
}

func (d *netlinkDump) requestOnce(kind uint16) error {
	d.sequence++
	if err := sendNetlink(d.descriptor, kind, unix.NLM_F_DUMP, d.sequence, make([]byte, unix.SizeofIfInfomsg)); err != nil {
		return err
	}
	var interrupted error
	for done := false; !done; {
		data, err := receiveNetlink(d.descriptor, d.buffer)
		if errors.Is(err, errNotKernel) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		err = eachNetlink(data, func(header netlinkHeader, body []byte) error {
			if header.sequence != d.sequence {
				return nil // of an answer that was given up
			}
			if header.flags&unix.NLM_F_DUMP_INTR != 0 {
				interrupted = unix.EINTR
			}
			done = done || header.kind == unix.NLMSG_DONE
			return d.addAnswer(header, body)
		})
		if err != nil {
			return err
		}
	}
	return interrupted
}

// sendNetlink asks the kernel for something.
func sendNetlink(descriptor int, kind, flags uint16, sequence uint32, body []byte) error {
	message := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	message = binary.NativeEndian.AppendUint16(message, kind)
	message = binary.NativeEndian.AppendUint16(message, flags|unix.NLM_F_REQUEST)
	message = binary.NativeEndian.AppendUint32(message, sequence)
	message = binary.NativeEndian.AppendUint32(message, 0)
	message = append(message, body...)
	return unix.Sendto(descriptor, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// addAnswer keeps what Network needs of an answer.
func (d *netlinkDump) addAnswer(header netlinkHeader, body []byte) error {
	if header.kind == unix.NLMSG_ERROR || header.kind == unix.NLMSG_DONE {
		return netlinkError(body)
	}
	parsed, err := parseNetlink(header, body)
	if err != nil {
		return err
	}
	for i := range parsed {
		message := &parsed[i]
		if message.kind != routeMessage || message.destination.Bits() == 0 {
			d.messages = append(d.messages, *message)
		}
	}
	if len(d.messages) > maxNetworkMessages {
		return errTooManyLinks
	}
	return nil
}

// netlinkError reads the negative error number with which an answer ends.
func netlinkError(body []byte) error {
	if len(body) < 4 {
		return nil
	}
	if number := int32(binary.NativeEndian.Uint32(body)); number < 0 {
		return unix.Errno(-number)
	}
	return nil
}

// watchKernel opens the kernel's notifications in the calling thread's network
// namespace.
func watchKernel() (networkWatch, error) {
	descriptor, err := openNetlink(networkGroups...)
	if err != nil {
		return nil, err
	}
	socket, err := pollableFile(descriptor, "netlink socket")
	if err != nil {
		return nil, err
	}
	links, err := dumpNetlink(unix.RTM_GETLINK)
	if err != nil {
		socket.Close()
		return nil, err
	}
	interfaces := interfaceNames{names: make(map[int]string)}
	for i := range links {
		link := &links[i]
		interfaces.names[link.index] = link.link
	}
	return func(ctx context.Context, tell func()) error {
		buffer := make([]byte, netlinkBuffer)
		return readUntilDone(ctx, socket, func(descriptor int) error {
			data, err := receiveNetlink(descriptor, buffer)
			if errors.Is(err, errNotKernel) {
				return nil
			}
			if errors.Is(err, unix.ENOBUFS) || errors.Is(err, errCutMessage) {
				tell() // something was lost
				return nil
			}
			if err == nil && interfaces.canChangeNetwork(data) {
				tell()
			}
			return err
		})
	}, nil
}

// interfaceNames holds the names of the interfaces by their numbers: the kernel
// reports addresses and routes with numbers only.
type interfaceNames struct{ names map[int]string }

// canChangeNetwork reports whether a datagram can mean a difference. One that
// cannot be read can.
func (n interfaceNames) canChangeNetwork(data []byte) bool {
	matters := false
	err := eachNetlink(data, func(header netlinkHeader, body []byte) error {
		messages, err := parseNetlink(header, body)
		for i := range messages {
			message := &messages[i]
			if message.kind == linkMessage {
				n.names[message.index] = message.link
			}
			matters = matters || message.canChangeNetwork(n.names[message.index])
			if header.kind == unix.RTM_DELLINK {
				delete(n.names, message.index)
			}
		}
		return err
	})
	return matters || err != nil
}
