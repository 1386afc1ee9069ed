package platform

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/net/route"
	"golang.org/x/sys/unix"
)

const systemResolvers = macResolvers

// routeBuffer is what one message fits in (facts/macos.md 2.2).
const routeBuffer = 2 << 10

// dumpNetwork gives the links, addresses and routes of the kernel.
func dumpNetwork() ([]networkMessage, error) {
	links, err := dumpRoutes(unix.NET_RT_IFLIST, everyLink)
	if err != nil {
		return nil, fmt.Errorf("ask kernel for interfaces: %w", err)
	}
	routes, err := dumpRoutes(unix.NET_RT_DUMP2, everyLink)
	if err != nil {
		return nil, fmt.Errorf("ask kernel for routes: %w", err)
	}
	return append(links, routes...), nil
}

// everyLink asks for a table of all interfaces, not of the one with a number.
const everyLink = 0

func dumpRoutes(table route.RIBType, index int) ([]networkMessage, error) {
	data, err := route.FetchRIB(unix.AF_UNSPEC, table, index)
	if err != nil {
		return nil, err
	}
	return parseRouteTable(data)
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
			if err == nil && routesCanChangeNetwork(buffer[:length], askLinkName) {
				tell()
			}
			return err
		})
	}, nil
}

// askLinkName looks an interface up by its number. One that is gone has no name.
func askLinkName(index int) string {
	links, err := dumpRoutes(unix.NET_RT_IFLIST, index)
	if err != nil {
		return ""
	}
	return linkNameIn(links, index)
}
