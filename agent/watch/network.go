package watch

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/trigger"
	"prlagent/platform"
)

// NetworkEdges tells when the Mac came onto a network (facts/macos.md 2.3): a
// way out where there was none, another way out, or a resolver that was not
// there before, as with a VPN. What the kernel says is only a hint to read the
// state again; the states are compared.
type NetworkEdges struct {
	State func(context.Context) (platform.Network, error)
	// Changes calls back for whatever the kernel says of interfaces, addresses
	// and routes. It blocks until ctx is done, or fails.
	Changes func(context.Context, func()) error
	Quiet   time.Duration // without a change before the state is read; 5 s on a Mac
	Poll    time.Duration // between two reads while Changes fails; 30 s on a Mac
	Log     zerolog.Logger
}

// Watch tells NetworkUp at each edge until ctx is done. It returns nil: while
// Changes fails the state is read every Poll. The first state that can be read
// is the baseline and no edge.
//
// A change waits until it was quiet for Quiet, so that a network that goes and
// comes back within that time is nothing; one that never is quiet is compared
// every 6 × Quiet. Behind a captive portal a Mac has no default route, hence is
// not up, until a person accepted (facts/macos.md 2.5).
func (n NetworkEdges) Watch(ctx context.Context, tell func(Hint)) error {
	changed := make(chan struct{}, 1)
	var following sync.WaitGroup
	following.Go(func() { n.follow(ctx, changed) })
	defer following.Wait()
	burst := newQuiet(n.Quiet)
	defer burst.stopTimer()

	var network networkComparison
	network.readState(ctx, n)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			burst.onEvent()
			continue
		case <-burst.C:
			burst.endBurst()
		}
		edge, ok := network.readState(ctx, n)
		if edge {
			tell(Hint{Reason: trigger.NetworkUp})
		}
		if !ok {
			burst.fireAgain(n.Poll)
		}
	}
}

// follow passes the kernel's changes on. Each try to listen begins with a
// change of its own: what came before the kernel listened is found that way,
// and while it never listens the state is still read every Poll.
func (n NetworkEdges) follow(ctx context.Context, changed chan<- struct{}) {
	signal := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	for {
		signal()
		err := n.Changes(ctx, signal)
		if ctx.Err() != nil {
			return
		}
		n.Log.Warn().Err(err).Dur("retry_in", n.Poll).Msg("the kernel does not tell changes of the network")
		if !sleepOrDone(ctx, n.Poll) {
			return
		}
	}
}

// networkComparison holds the state that was read last.
type networkComparison struct {
	last    platform.Network
	known   bool // there is one
	failing bool
}

// readState reads the state and reports whether it is an edge. It is not ok
// when the state could not be read: then the last one stays.
func (c *networkComparison) readState(ctx context.Context, n NetworkEdges) (edge, ok bool) {
	now, err := n.State(ctx)
	if err != nil {
		if !c.failing && ctx.Err() == nil {
			n.Log.Warn().Err(err).Msg("cannot read the state of the network")
		}
		c.failing = true
		return false, false
	}
	edge = c.known && cameUp(c.last, now)
	c.last, c.known, c.failing = now, true, false
	return edge, true
}

// cameUp reports whether the Mac came onto a network between two states. What is
// lost is none, nor is what stays the same.
func cameUp(before, now platform.Network) bool {
	if !now.Up() {
		return false
	}
	return !before.Up() ||
		hasGained(before.Routes, now.Routes) ||
		hasGained(before.Resolvers, now.Resolvers) ||
		hasGained(subnetsOf(before.Addresses), subnetsOf(now.Addresses))
}

// hasGained reports whether now has something that before has not.
func hasGained[T comparable](before, now []T) bool {
	return slices.ContainsFunc(now, func(one T) bool { return !slices.Contains(before, one) })
}

// subnetsOf is what tells one network from another behind gateways that have the
// same address, as at home and in the office: the whole IPv4 address, and of an
// IPv6 address the first 64 bits, because the rest is made up anew every day
// (temporary addresses, RFC 8981).
func subnetsOf(addresses []netip.Addr) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(addresses))
	for _, address := range addresses {
		address = address.Unmap()
		bits := 64
		if address.Is4() {
			bits = 32
		}
		if subnet, err := address.Prefix(bits); err == nil {
			out = append(out, subnet)
		}
	}
	return out
}
