package watch

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"prlagent/agent/trigger"
	"prlagent/platform"
)

// wire is a network that a test changes, and the kernel that tells of it.
type wire struct {
	mu      sync.Mutex
	state   platform.Network
	broken  bool // the state cannot be read
	deaf    bool // the kernel does not tell
	changed func()
	fail    chan struct{} // closed: listening fails
	reads   int
}

func (w *wire) read(context.Context) (platform.Network, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads++
	if w.broken {
		return platform.Network{}, errors.New("no routing table")
	}
	return w.state, nil
}

func (w *wire) changes(ctx context.Context, changed func()) error {
	w.mu.Lock()
	if w.deaf {
		w.mu.Unlock()
		return errors.New("no route socket")
	}
	fail := make(chan struct{})
	w.changed, w.fail = changed, fail
	w.mu.Unlock()
	changed()
	select {
	case <-ctx.Done():
		return nil
	case <-fail:
		return errors.New("the route socket was closed")
	}
}

// set changes the network, and lets the kernel tell it.
func (w *wire) set(state platform.Network) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = state
	if w.changed != nil && !w.deaf {
		w.changed()
	}
}

func (w *wire) breakState(broken bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = broken
}

// deafen ends the kernel's listening, and lets it fail from then on.
func (w *wire) deafen() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deaf = true
	close(w.fail)
}

func (w *wire) hearAgain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deaf = false
}

func (w *wire) readsSoFar() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reads
}

func (w *wire) edges() NetworkEdges {
	return NetworkEdges{State: w.read, Changes: w.changes, Quiet: 5 * time.Second, Poll: 30 * time.Second, Log: zerolog.Nop()}
}

// network makes a state: a gateway, "" for none, of en0, then addresses; every
// network that is up has the resolver of its gateway.
func network(gateway string, addresses ...string) platform.Network {
	var state platform.Network
	if gateway != "" {
		state.Routes = []platform.Route{{Interface: "en0", Gateway: gateway}}
		state.Resolvers = []string{gateway}
	}
	for _, address := range addresses {
		state.Addresses = append(state.Addresses, netip.MustParseAddr(address))
	}
	return state
}

func with(state platform.Network, change func(*platform.Network)) platform.Network {
	state.Routes = append([]platform.Route(nil), state.Routes...)
	state.Resolvers = append([]string(nil), state.Resolvers...)
	change(&state)
	return state
}

var (
	offline = network("")
	home    = network("192.168.1.1", "192.168.1.20")
	office  = network("10.0.0.1", "10.0.7.9")
	// The office of somebody who also has 192.168.1.1 there.
	otherHome = network("192.168.1.1", "192.168.1.77")
	wired     = with(home, func(n *platform.Network) {
		n.Routes = append(n.Routes, platform.Route{Interface: "en5", Gateway: "192.168.1.1"})
	})
	onlyWired = with(home, func(n *platform.Network) { n.Routes[0].Interface = "en5" })
	splitVPN  = with(home, func(n *platform.Network) { n.Resolvers = append([]string{"10.8.0.53"}, n.Resolvers...) })
	fullVPN   = with(home, func(n *platform.Network) { n.Routes[0] = platform.Route{Interface: "utun4"} })
	// Before the user has accepted: an address, a resolver, no way out.
	portal = platform.Network{Addresses: home.Addresses, Resolvers: home.Resolvers}
)

// What is an edge between two states that lasted, and what is none.
func TestTRG_10_NetworkEdges(t *testing.T) {
	t.Parallel()
	ipv6 := func(address string) platform.Network { return network("192.168.1.1", "192.168.1.20", address) }
	cases := map[string]struct {
		states []platform.Network // the first is there at the start
		want   int
	}{
		"up at the start":                       {[]platform.Network{home}, 0},
		"down at the start":                     {[]platform.Network{offline}, 0},
		"the kernel chatters":                   {[]platform.Network{home, home, home, home}, 0},
		"an idle utun":                          {[]platform.Network{home, home}, 0}, // left out by the platform: equal states
		"VM start creates bridge100":            {[]platform.Network{home, home}, 0}, // the same
		"down to up":                            {[]platform.Network{offline, home}, 1},
		"down":                                  {[]platform.Network{home, offline}, 0},
		"down and up again":                     {[]platform.Network{home, offline, home}, 1},
		"ten times, each long":                  {[]platform.Network{home, offline, home, offline, home, offline, home}, 3},
		"another network":                       {[]platform.Network{home, office}, 1},
		"there and back":                        {[]platform.Network{home, office, home}, 2},
		"another interface":                     {[]platform.Network{home, onlyWired}, 1},
		"a second way out":                      {[]platform.Network{home, wired}, 1},
		"a second way out goes":                 {[]platform.Network{wired, home}, 0},
		"another network with the same gateway": {[]platform.Network{home, otherHome}, 1},
		"a VPN that takes all comes up":         {[]platform.Network{home, fullVPN}, 1},
		"a VPN with resolvers comes up":         {[]platform.Network{home, splitVPN}, 1},
		"a VPN with resolvers goes":             {[]platform.Network{splitVPN, home}, 0},
		"a VPN with resolvers comes again":      {[]platform.Network{home, splitVPN, home, splitVPN}, 2},
		"all resolvers are lost": {[]platform.Network{home,
			with(home, func(n *platform.Network) { n.Resolvers = nil })}, 0},
		"resolvers in another order": {[]platform.Network{splitVPN,
			with(home, func(n *platform.Network) { n.Resolvers = append(n.Resolvers, "10.8.0.53") })}, 0},
		"a resolver while down":                   {[]platform.Network{offline, {Resolvers: []string{"10.8.0.53"}}}, 0},
		"a captive portal":                        {[]platform.Network{offline, portal, portal}, 0},
		"a captive portal, accepted":              {[]platform.Network{offline, portal, home}, 1},
		"an address goes":                         {[]platform.Network{ipv6("2001:db8:1:2::7"), home}, 0},
		"IPv6 comes":                              {[]platform.Network{home, ipv6("2001:db8:1:2::7")}, 1},
		"today's temporary IPv6 address":          {[]platform.Network{ipv6("2001:db8:1:2::7"), ipv6("2001:db8:1:2:aa:bb:cc:dd")}, 0},
		"another IPv6 network":                    {[]platform.Network{ipv6("2001:db8:1:2::7"), ipv6("2001:db8:1:3::7")}, 1},
		"an IPv4 address in the guise of an IPv6": {[]platform.Network{home, network("192.168.1.1", "::ffff:192.168.1.20")}, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				wire := &wire{state: c.states[0]}
				told := watching(t, wire.edges().Watch)
				time.Sleep(time.Minute)
				for _, state := range c.states[1:] {
					wire.set(state)
					time.Sleep(20 * time.Minute)
				}
				synctest.Wait()
				expectNetworkUp(t, told, c.want)
			})
		})
	}
}

func expectNetworkUp(t *testing.T, told *heard, times int) {
	t.Helper()
	var want []Hint
	for range times {
		want = append(want, Hint{Reason: trigger.NetworkUp})
	}
	if diff := cmp.Diff(want, told.take()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// An edge is told when it was quiet for five seconds, not before.
func TestTRG_10_NetworkEdgeWaitsForQuiet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		wire := &wire{state: offline}
		told := watching(t, wire.edges().Watch)
		time.Sleep(time.Minute)
		wire.set(home)
		time.Sleep(4 * time.Second)
		wire.set(home)
		time.Sleep(5*time.Second - 1)
		synctest.Wait()
		expectNetworkUp(t, told, 0)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		expectNetworkUp(t, told, 1)
	})
}

// Flaps that end where they began are nothing; flaps that end elsewhere are one
// edge; those with long pauses are edges one by one, which the loop coalesces.
func TestTRG_10_TenFlaps(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		begin, end platform.Network
		pause      time.Duration
		want       int
	}{
		"up, within the quiet time":   {home, home, time.Second, 0},
		"down, within the quiet time": {offline, home, time.Second, 1},
		"to another network":          {home, office, time.Second, 1},
		"to nothing":                  {home, offline, time.Second, 0},
		"with long pauses":            {home, home, 10 * time.Second, 10},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				wire := &wire{state: c.begin}
				told := watching(t, wire.edges().Watch)
				time.Sleep(time.Minute)
				for range 10 {
					wire.set(offline)
					time.Sleep(c.pause)
					wire.set(home)
					time.Sleep(c.pause)
				}
				wire.set(c.end)
				time.Sleep(time.Minute)
				synctest.Wait()
				expectNetworkUp(t, told, c.want)
			})
		})
	}
}

// A network that is never quiet is compared every 30 s all the same, and its
// state is not read more often than that.
func TestTRG_10_FlappingForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		wire := &wire{state: offline}
		told := watching(t, wire.edges().Watch)
		time.Sleep(time.Minute)
		before := wire.readsSoFar()
		for range 600 {
			wire.set(home)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		expectNetworkUp(t, told, 1)
		if reads := wire.readsSoFar() - before; reads < 19 || reads > 20 {
			t.Errorf("%d reads in 10 minutes, want one every 30 s", reads)
		}
	})
}

// A quiet network is not read at all while the kernel tells its changes.
func TestQuietNetworkIsNotRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		wire := &wire{state: home}
		watching(t, wire.edges().Watch)
		time.Sleep(24 * time.Hour)
		if reads := wire.readsSoFar(); reads != 2 {
			t.Errorf("%d reads in a day, want the baseline and one when the kernel listens", reads)
		}
	})
}

// Without a route socket the state is polled; an edge is found within a poll
// and told once, also around the moments when the socket fails and comes back.
func TestTRG_10_WithoutTheKernel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		wire := &wire{state: home}
		told := watching(t, wire.edges().Watch)
		time.Sleep(time.Minute)
		wire.deafen()
		wire.set(office)
		time.Sleep(35 * time.Second)
		synctest.Wait()
		expectNetworkUp(t, told, 1)

		before := wire.readsSoFar()
		time.Sleep(10 * time.Minute)
		if reads := wire.readsSoFar() - before; reads < 17 || reads > 20 {
			t.Errorf("%d reads in 10 minutes, want one every 30 s", reads)
		}
		wire.set(offline)
		time.Sleep(40 * time.Second)
		wire.set(home)
		wire.hearAgain()
		time.Sleep(40 * time.Second)
		synctest.Wait()
		expectNetworkUp(t, told, 1)

		wire.set(office)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		expectNetworkUp(t, told, 1)
	})
}

// A state that cannot be read is no state: neither down, nor an edge when it
// can be read again. At the start it delays the baseline.
func TestUnreadableNetworkIsNoEdge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		wire := &wire{state: home, broken: true}
		var log bytes.Buffer
		edges := wire.edges()
		edges.Log = zerolog.New(&log)
		told := watching(t, edges.Watch)
		time.Sleep(time.Hour)
		wire.breakState(false)
		time.Sleep(time.Minute)
		wire.breakState(true)
		wire.set(home)
		time.Sleep(time.Hour)
		wire.breakState(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		expectNetworkUp(t, told, 0)

		wire.breakState(true)
		wire.set(office)
		time.Sleep(time.Minute)
		wire.breakState(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		expectNetworkUp(t, told, 1)
		if lines := strings.Count(log.String(), "\n"); lines != 3 {
			t.Errorf("%d lines in the log, want one for each time that it could not be read:\n%s", lines, log.String())
		}
	})
}
