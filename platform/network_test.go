package platform

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"prlagent/platform/safefile"
)

func link(index int, name string) networkMessage {
	return networkMessage{kind: linkMessage, index: index, link: name, up: true}
}

func address(index int, text string) networkMessage {
	return networkMessage{kind: addressMessage, index: index, address: netip.MustParseAddr(text)}
}

func routeTo(index int, destination, gateway string) networkMessage {
	message := networkMessage{kind: routeMessage, index: index, destination: netip.MustParsePrefix(destination)}
	if gateway != "" {
		message.gateway = netip.MustParseAddr(gateway)
	}
	return message
}

func scopedRouteTo(index int, destination, gateway string) networkMessage {
	message := routeTo(index, destination, gateway)
	message.scoped = true
	return message
}

func down(message networkMessage) networkMessage {
	message.up = false
	return message
}

func addresses(texts ...string) (parsed []netip.Addr) {
	for _, text := range texts {
		parsed = append(parsed, netip.MustParseAddr(text))
	}
	return parsed
}

var compareAddresses = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func TestTRG_10_NetworkFromTheKernelsTables(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		messages []networkMessage
		want     Network
	}{
		"nothing":  {},
		"loopback": {messages: []networkMessage{link(1, "lo0"), address(1, "127.0.0.1"), address(1, "192.0.2.1")}},
		"at home": {
			messages: []networkMessage{
				link(4, "en0"), address(4, "fe80::1"), address(4, "192.0.2.7"), address(4, "2001:db8::7"),
				routeTo(4, "192.0.2.0/24", ""), routeTo(4, "0.0.0.0/0", "192.0.2.1"), routeTo(4, "::/0", "fe80::2"),
			},
			want: Network{
				Routes:    []Route{{"en0", "192.0.2.1"}, {"en0", "fe80::2"}},
				Addresses: addresses("192.0.2.7", "2001:db8::7"),
			},
		},
		"an address but no way out, as behind a captive portal": {
			messages: []networkMessage{link(4, "en0"), address(4, "192.0.2.7"), routeTo(4, "192.0.2.0/24", "")},
			want:     Network{Addresses: addresses("192.0.2.7")},
		},
		"self-assigned address": {messages: []networkMessage{link(4, "en0"), address(4, "169.254.3.4")}},
		"two ways out, told twice and out of order": {
			messages: []networkMessage{
				routeTo(5, "0.0.0.0/0", "198.51.100.1"), routeTo(4, "0.0.0.0/0", "192.0.2.1"), routeTo(4, "0.0.0.0/0", "192.0.2.1"),
				address(5, "198.51.100.7"), address(4, "192.0.2.7"), address(4, "192.0.2.7"), link(5, "en1"), link(4, "en0"),
			},
			want: Network{
				Routes:    []Route{{"en0", "192.0.2.1"}, {"en1", "198.51.100.1"}},
				Addresses: addresses("192.0.2.7", "198.51.100.7"),
			},
		},
		"a way only for sockets of its interface": {
			messages: []networkMessage{link(4, "en0"), scopedRouteTo(4, "0.0.0.0/0", "192.0.2.1")},
		},
		"interface is down": {
			messages: []networkMessage{down(link(4, "en0")), address(4, "192.0.2.7"), routeTo(4, "0.0.0.0/0", "192.0.2.1")},
		},
		"interface is unknown": {messages: []networkMessage{address(4, "192.0.2.7"), routeTo(4, "0.0.0.0/0", "192.0.2.1")}},
		"idle tunnels": {
			messages: []networkMessage{
				link(9, "utun0"), address(9, "fe80::9"), address(9, "192.0.2.99"),
				scopedRouteTo(9, "::/0", "fe80::"), routeTo(9, "::/0", "fe80::"),
			},
		},
		"VPN that carries everything": {
			messages: []networkMessage{link(9, "utun4"), address(9, "203.0.113.5"), routeTo(9, "0.0.0.0/0", "")},
			want:     Network{Routes: []Route{{Interface: "utun4"}}},
		},
		"VPN that carries one network": {
			messages: []networkMessage{link(9, "utun4"), address(9, "203.0.113.5"), routeTo(9, "10.0.0.0/8", "")},
		},
		"networks of virtual machines": {
			messages: []networkMessage{
				link(9, "vnic0"), address(9, "10.211.55.2"), routeTo(9, "0.0.0.0/0", "10.211.55.1"),
				link(10, "bridge100"), address(10, "192.168.64.1"), link(11, "vmenet0"), address(11, "192.168.65.1"),
			},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := networkFrom(c.messages, nil)
			if diff := cmp.Diff(c.want, got, compareAddresses); diff != "" {
				t.Errorf("network (-want +got):\n%s", diff)
			}
			if got.Up() != (len(c.want.Routes) > 0) {
				t.Errorf("up: %v with %v", got.Up(), got.Routes)
			}
		})
	}
}

func TestTRG_10_EachPartOfANetworkMakesADifference(t *testing.T) {
	t.Parallel()
	whole := func() Network {
		return Network{
			Routes:    []Route{{"en0", "192.0.2.1"}},
			Addresses: addresses("192.0.2.7"),
			Resolvers: []string{"192.0.2.1", "192.0.2.2"},
		}
	}
	if !whole().Equal(whole()) {
		t.Error("a network differs from itself")
	}
	cases := map[string]func(*Network){
		"interface":          func(n *Network) { n.Routes[0].Interface = "en1" },
		"gateway":            func(n *Network) { n.Routes[0].Gateway = "192.0.2.254" },
		"one more route":     func(n *Network) { n.Routes = append(n.Routes, Route{Interface: "utun4"}) },
		"address":            func(n *Network) { n.Addresses = addresses("192.0.2.8") },
		"resolver":           func(n *Network) { n.Resolvers[0] = "198.51.100.1" },
		"order of resolvers": func(n *Network) { n.Resolvers[0], n.Resolvers[1] = n.Resolvers[1], n.Resolvers[0] },
	}
	for name, change := range cases {
		changed := whole()
		change(&changed)
		if changed.Equal(whole()) {
			t.Errorf("%s makes no difference", name)
		}
	}
}

func TestTRG_10_InterfacesOfNoInterest(t *testing.T) {
	t.Parallel()
	cases := map[string]linkRelevance{
		"en0": relevantLink, "eth0": relevantLink, "ppp0": relevantLink, "bridge0": relevantLink, "bridge99": relevantLink,
		"": relevantLink, "7": relevantLink, "lowpan0": relevantLink, "vnicx": relevantLink, "en99999999999999999999": relevantLink,
		"lo": irrelevantLink, "lo0": irrelevantLink, "awdl0": irrelevantLink, "llw0": irrelevantLink, "gif0": irrelevantLink, "XHC20": irrelevantLink, "anpi1": irrelevantLink,
		"vnic0": irrelevantLink, "vnic1": irrelevantLink, "bridge100": irrelevantLink, "bridge101": irrelevantLink, "vmenet3": irrelevantLink,
		"utun0": tunnelLink, "utun12": tunnelLink, "ipsec0": tunnelLink,
	}
	for name, want := range cases {
		if got := relevanceOf(name); got != want {
			t.Errorf("%q: got %d, want %d", name, got, want)
		}
	}
	for _, link := range linkFamilies {
		if link.source == "" || link.relevance == relevantLink {
			t.Errorf("%s: a row says why, and what for", link.name)
		}
	}
}

func TestTRG_10_ChangesThatMatter(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		message networkMessage
		link    string
		want    bool
	}{
		"interface":                   {link(4, "en0"), "en0", true},
		"interface of a tunnel":       {link(9, "utun3"), "utun3", false},
		"end of a tunnel":             {down(link(9, "utun3")), "utun3", true},
		"interface of VMs":            {link(9, "vnic0"), "vnic0", false},
		"AirDrop":                     {link(9, "awdl0"), "awdl0", false},
		"address":                     {address(4, "192.0.2.7"), "en0", true},
		"address, interface not told": {address(4, "192.0.2.7"), "", true},
		"address that is not told":    {networkMessage{kind: addressMessage}, "en0", true},
		"link-local address":          {address(4, "fe80::1"), "en0", false},
		"address of VMs":              {address(4, "10.211.55.2"), "vnic0", false},
		"address of a tunnel":         {address(4, "203.0.113.5"), "utun4", false},
		"default route":               {routeTo(4, "0.0.0.0/0", "192.0.2.1"), "en0", true},
		"route that is not told":      {networkMessage{kind: routeMessage}, "en0", true},
		"route of a VPN":              {routeTo(4, "10.0.0.0/8", ""), "utun4", true},
		"route to VMs":                {routeTo(4, "10.211.55.0/24", ""), "bridge100", false},
		"link-local route":            {routeTo(4, "fe80::/64", ""), "en0", false},
		"IPv4 link-local route":       {routeTo(4, "169.254.0.0/16", ""), "en0", false},
		"multicast route":             {routeTo(4, "ff00::/8", ""), "en0", false},
		"route to this machine":       {routeTo(4, "127.0.0.0/8", ""), "en0", false},
		"failed lookup":               {networkMessage{}, "en0", false},
	}
	for name, c := range cases {
		if got := c.message.canChangeNetwork(c.link); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestTRG_10_ParseResolvers(t *testing.T) {
	t.Parallel()
	many := strings.Repeat("nameserver 192.0.2.1\n", 3*maxResolvers)
	cases := map[string]struct {
		file string
		want []string
	}{
		"nothing": {},
		"as configd writes it": {
			"#\n# macOS Notice\n#\nsearch example.com\nnameserver 2001:db8::1\nnameserver 192.0.2.1\n",
			[]string{"2001:db8::1", "192.0.2.1"},
		},
		"order is kept":          {"nameserver 192.0.2.2\nnameserver 192.0.2.1\n", []string{"192.0.2.2", "192.0.2.1"}},
		"zone":                   {"nameserver fe80::1%en0\n", []string{"fe80::1%en0"}},
		"tabs, no line end":      {"\tnameserver\t192.0.2.1", []string{"192.0.2.1"}},
		"other spelling of IPv6": {"nameserver 2001:DB8:0::1\n", []string{"2001:db8::1"}},
		"no address":             {"nameserver\nnameserver example.com\nnameserver 192.0.2.256\n", nil},
		"other lines":            {"options ndots:1\n;nameserver 192.0.2.1\n# nameserver 192.0.2.1\n", nil},
		"too many":               {many, strings.Fields(strings.Repeat("192.0.2.1 ", maxResolvers))},
	}
	for name, c := range cases {
		if diff := cmp.Diff(c.want, parseResolvers([]byte(c.file))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestTRG_10_NetworkOfASimulatedMac(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	machine := New(root, nil)
	if network, err := machine.Network(t.Context()); err != nil || network.Up() {
		t.Errorf("without a file: %+v, %v", network, err)
	}
	place(t, root, macResolvers, "search example.com\n")
	if network, err := machine.Network(t.Context()); err != nil || network.Up() {
		t.Errorf("without a resolver: %+v, %v", network, err)
	}
	place(t, root, macResolvers, "nameserver 192.0.2.1\n")
	network, err := machine.Network(t.Context())
	want := Network{Routes: []Route{{Interface: "en0"}}, Resolvers: []string{"192.0.2.1"}}
	if err != nil || !network.Up() || !network.Equal(want) {
		t.Errorf("with a resolver: %+v, %v", network, err)
	}
}

func TestTRG_10_ResolversThatCannotBeTrusted(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		prepare func(path string) error
		want    error
	}{
		"link out of the Mac": {func(path string) error { return os.Symlink("/etc/passwd", path) }, safefile.ErrSymlink},
		"too large":           {func(path string) error { return os.WriteFile(path, make([]byte, maxResolversFile+1), 0o644) }, safefile.ErrTooLarge},
		"folder":              {func(path string) error { return os.Mkdir(path, 0o755) }, safefile.ErrNotRegular},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), macResolvers)
			errorsAreFatal(t, os.MkdirAll(filepath.Dir(path), 0o755), c.prepare(path))
			root := strings.TrimSuffix(path, macResolvers)
			if network, err := New(root, nil).Network(t.Context()); !errors.Is(err, c.want) || network.Up() {
				t.Errorf("got %+v, %v; want %v", network, err, c.want)
			}
		})
	}
}

func TestNetworkWhenNobodyWaitsForIt(t *testing.T) {
	t.Parallel()
	done, stop := context.WithCancel(t.Context())
	stop()
	if _, err := New("", nil).Network(done); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// followed is a NetworkChanges that runs in a goroutine of its own.
type followed struct {
	states chan Network // what Network gave at each call
	ended  chan error
	stop   context.CancelFunc
}

// follow watches a machine's network until the test ends. prepare runs in the
// goroutine before it watches.
func follow(t *testing.T, machine *Machine, prepare func() error) *followed {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	f := &followed{states: make(chan Network), ended: make(chan error, 1), stop: stop}
	changed := func() {
		network, err := machine.Network(ctx)
		if err != nil {
			return // the test waits for a state, and says so when none comes
		}
		select {
		case f.states <- network:
		case <-ctx.Done():
		}
	}
	go func() {
		if err := prepare(); err != nil {
			f.ended <- err
			return
		}
		f.ended <- machine.NetworkChanges(ctx, changed)
	}()
	t.Cleanup(stop)
	return f
}

func nothing() error { return nil }

// until reads states up to one that is accepted, and counts them.
func (f *followed) until(t *testing.T, what string, accept func(Network) bool) (calls int) {
	t.Helper()
	patience := time.NewTimer(30 * time.Second)
	defer patience.Stop()
	var last Network
	for {
		select {
		case last = <-f.states:
			if calls++; accept(last) {
				return calls
			}
		case err := <-f.ended:
			t.Fatalf("watching ended with %v", err)
		case <-patience.C:
			t.Fatalf("%s never came; the last of %d states is %+v", what, calls, last)
		}
	}
}

func (f *followed) end(t *testing.T) {
	t.Helper()
	f.stop()
	if err := <-f.ended; err != nil {
		t.Errorf("watching ended with %v", err)
	}
}

func isUp(n Network) bool   { return n.Up() }
func isDown(n Network) bool { return !n.Up() }

func TestTRG_10_ChangesOfASimulatedMac(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	path := filepath.Join(root, macResolvers)
	errorsAreFatal(t, os.MkdirAll(filepath.Dir(path), 0o755))
	f := follow(t, New(root, nil), nothing)
	f.until(t, "the first state", isDown)

	place(t, root, macResolvers, "nameserver 192.0.2.1\n")
	f.until(t, "a written file", isUp)
	errorsAreFatal(t, os.Remove(path))
	f.until(t, "a removed file", isDown)
	errorsAreFatal(t, safefile.WriteFile(path, []byte("nameserver 192.0.2.2\n"), 0o644))
	f.until(t, "a replaced file", isUp)
	errorsAreFatal(t, os.Rename(path, path+"-"))
	f.until(t, "a file under another name", isDown)
	f.end(t)
}

func TestTRG_10_NothingIsLeftOfAWatch(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	root := t.TempDir()
	errorsAreFatal(t, os.MkdirAll(filepath.Dir(filepath.Join(root, macResolvers)), 0o755))
	for name, root := range map[string]string{"this machine": "", "simulated Mac": root} {
		before := openDescriptors(t)
		for range 20 {
			f := follow(t, New(root, nil), nothing)
			f.until(t, "the first state", func(Network) bool { return true })
			f.end(t)
		}
		if after := openDescriptors(t); after > before {
			t.Errorf("%s: %d open descriptors, before %d", name, after, before)
		}
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}

func TestNetworkChangesThatEndedBefore(t *testing.T) {
	t.Parallel()
	done, stop := context.WithCancel(t.Context())
	stop()
	calls := 0
	if err := New("", nil).NetworkChanges(done, func() { calls++ }); err != nil || calls != 0 {
		t.Errorf("got %d calls, %v", calls, err)
	}
}

func BenchmarkNetwork(b *testing.B) {
	machine := New("", nil)
	for b.Loop() {
		if _, err := machine.Network(b.Context()); err != nil && !errors.Is(err, fs.ErrPermission) {
			b.Fatal(err)
		}
	}
}

// BenchmarkNetworkChangesStop is the time from the end of ctx until nothing is
// left.
func BenchmarkNetworkChangesStop(b *testing.B) {
	for b.Loop() {
		ctx, stop := context.WithCancel(b.Context())
		if err := New("", nil).NetworkChanges(ctx, stop); err != nil {
			b.Fatal(err)
		}
	}
}
