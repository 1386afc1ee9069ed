package platform

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"sync"
)

// Network is how this Mac reaches the world: what must change before somebody
// can say that the network came up.
type Network struct {
	Routes    []Route      // the default routes, sorted, each once
	Addresses []netip.Addr // routable: neither loopback nor link-local; sorted, each once
	Resolvers []string     // addresses of DNS servers in the order in which they are asked
}

// Route is one default route.
type Route struct {
	Interface string // en0, utun4
	Gateway   string // its address; "" where the interface itself is the way
}

// Up reports whether there is a default route. On a Mac there is none before the
// user has accepted a captive portal (facts/macos.md 2.5).
func (n Network) Up() bool { return len(n.Routes) > 0 }

// Equal reports whether nothing is different between the two.
func (n Network) Equal(other Network) bool {
	return slices.Equal(n.Routes, other.Routes) &&
		slices.Equal(n.Addresses, other.Addresses) &&
		slices.Equal(n.Resolvers, other.Resolvers)
}

// Network reads the state of the network. Interfaces that say nothing about the
// way to the world (linkFamilies) are left out.
//
// A simulated Mac has no kernel of its own: there the file of the resolvers
// stands for the network, which is up when the file names one, over a route of
// the interface en0.
func (m *Machine) Network(ctx context.Context) (Network, error) {
	if err := ctx.Err(); err != nil {
		return Network{}, err
	}
	resolvers, err := m.resolvers()
	if err != nil {
		return Network{}, fmt.Errorf("read resolvers: %w", err)
	}
	if m.root != "" {
		return simulatedNetwork(resolvers), nil
	}
	messages, err := dumpNetwork()
	if err != nil {
		return Network{}, fmt.Errorf("read routing tables: %w", err)
	}
	return networkFrom(messages, resolvers), nil
}

func simulatedNetwork(resolvers []string) Network {
	network := Network{Resolvers: resolvers}
	if len(resolvers) > 0 {
		network.Routes = []Route{{Interface: "en0"}}
	}
	return network
}

// networkFrom puts a dump of the kernel's tables together.
func networkFrom(messages []networkMessage, resolvers []string) Network {
	links := make(map[int]networkMessage)
	for i := range messages {
		message := &messages[i]
		if message.kind == linkMessage {
			links[message.index] = *message
		}
	}
	network := Network{Resolvers: resolvers}
	for i := range messages {
		message := &messages[i]
		link := links[message.index]
		switch {
		case !link.up:
		case message.kind == addressMessage && isRoutable(message.address) && relevanceOf(link.link) == relevantLink:
			network.Addresses = append(network.Addresses, message.address)
		case message.kind == routeMessage && message.isDefaultRoute(relevanceOf(link.link)):
			network.Routes = append(network.Routes, Route{Interface: link.link, Gateway: message.gatewayText()})
		}
	}
	addresses, routes := network.Addresses, network.Routes
	sort.SliceStable(addresses, func(i, j int) bool { return addresses[i].Less(addresses[j]) })
	sort.SliceStable(routes, func(i, j int) bool {
		return cmp.Or(cmp.Compare(routes[i].Interface, routes[j].Interface), cmp.Compare(routes[i].Gateway, routes[j].Gateway)) < 0
	})
	network.Addresses, network.Routes = slices.Compact(addresses), slices.Compact(routes)
	return network
}

// networkWatch says when something may have changed, until ctx is done or its
// source fails. It owns what it reads from and closes it.
type networkWatch func(ctx context.Context, tell func()) error

// NetworkChanges calls changed once as soon as it watches, and from then on
// after every message of the kernel that can mean a difference in Network, and
// after every change of the resolvers' file. Many messages can make one call,
// and most calls mean nothing: compare what Network gives. All calls come from
// the caller's goroutine, so nothing else happens during one; what is said
// meanwhile makes one more.
//
// It blocks until ctx is done, then it gives nil. An error means that the kernel
// no longer tells. On Linux it watches the network namespace of the calling
// thread.
func (m *Machine) NetworkChanges(ctx context.Context, changed func()) error {
	watches, err := m.openNetworkWatches()
	if err != nil {
		return fmt.Errorf("watch the network: %w", err)
	}
	var reading sync.WaitGroup
	defer reading.Wait()
	watching, stop := context.WithCancel(ctx)
	defer stop()

	notice := make(chan struct{}, 1)
	tell := func() {
		select {
		case notice <- struct{}{}:
		default:
		}
	}
	failed := make(chan error, len(watches))
	for _, watch := range watches {
		reading.Go(func() { failed <- watch(watching, tell) })
	}
	for tell(); ctx.Err() == nil; {
		select {
		case <-ctx.Done():
		case err := <-failed:
			if ctx.Err() == nil {
				return fmt.Errorf("watch the network: %w", err)
			}
		case <-notice:
			changed()
		}
	}
	return nil
}

// openNetworkWatches opens everything that Network depends on. After an error
// nothing is left open.
func (m *Machine) openNetworkWatches() ([]networkWatch, error) {
	if m.root != "" {
		file, err := watchFile(m.resolversPath())
		return []networkWatch{file}, err
	}
	kernel, err := watchKernel()
	if err != nil {
		return nil, err
	}
	file, err := watchFile(m.resolversPath())
	if err != nil {
		closed, stop := context.WithCancel(context.Background())
		stop()
		_ = kernel(closed, func() {}) // it closes what it has opened
		return nil, err
	}
	return []networkWatch{kernel, file}, nil
}
