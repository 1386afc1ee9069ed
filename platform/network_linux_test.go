package platform

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// kernel lets a test change the network of a namespace that is its own.
type kernel struct {
	t          *testing.T
	descriptor int
	sequence   uint32
	namespace  int
}

// ownNetwork moves the test's goroutine into a new network namespace. The
// goroutine keeps its thread, and both end with the test.
func ownNetwork(t *testing.T) *kernel {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("this account may not make a network namespace: %v", err)
	}
	namespace, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	descriptor, err := openNetlink()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { errorsAreFatal(t, unix.Close(descriptor), unix.Close(namespace)) })
	return &kernel{t: t, descriptor: descriptor, namespace: namespace}
}

// follow watches the namespace from another goroutine.
func (k *kernel) follow() *followed {
	k.t.Helper()
	return follow(k.t, New("", nil), func() error {
		runtime.LockOSThread()
		return unix.Setns(k.namespace, unix.CLONE_NEWNET)
	})
}

// do changes something and waits for the kernel's word that it is done.
func (k *kernel) do(kind, flags uint16, body ...[]byte) {
	k.t.Helper()
	k.sequence++
	err := sendNetlink(k.descriptor, kind, flags|unix.NLM_F_ACK, k.sequence, slices.Concat(body...))
	if err != nil {
		k.t.Fatal(err)
	}
	data, err := receiveNetlink(k.descriptor, make([]byte, netlinkBuffer))
	if err != nil {
		k.t.Fatal(err)
	}
	errorsAreFatal(k.t, eachNetlink(data, func(_ netlinkHeader, body []byte) error { return netlinkError(body) }))
}

const create = unix.NLM_F_CREATE | unix.NLM_F_EXCL

// addPair makes two interfaces that are joined by a wire.
func (k *kernel) addPair(name, other string) {
	k.t.Helper()
	const peerOfVeth = 1 // VETH_INFO_PEER of linux/veth.h
	peer := routeAttribute(peerOfVeth, linkBody(0, 0), routeAttribute(unix.IFLA_IFNAME, []byte(other)))
	k.do(unix.RTM_NEWLINK, create, linkBody(0, 0), routeAttribute(unix.IFLA_IFNAME, []byte(name)),
		routeAttribute(unix.IFLA_LINKINFO, routeAttribute(unix.IFLA_INFO_KIND, []byte("veth")), routeAttribute(unix.IFLA_INFO_DATA, peer)))
}

func (k *kernel) index(name string) int {
	k.t.Helper()
	links, err := dumpNetlink(unix.RTM_GETLINK)
	if err != nil {
		k.t.Fatal(err)
	}
	for _, link := range links {
		if link.link == name {
			return link.index
		}
	}
	k.t.Fatalf("no interface %s", name)
	return 0
}

func (k *kernel) setUp(names ...string) {
	k.t.Helper()
	for _, name := range names {
		k.do(unix.RTM_NEWLINK, 0, linkBody(k.index(name), unix.IFF_UP))
	}
}

func (k *kernel) setDown(name string) {
	k.t.Helper()
	k.do(unix.RTM_NEWLINK, 0, linkBody(k.index(name), 0))
}

func (k *kernel) remove(name string) {
	k.t.Helper()
	k.do(unix.RTM_DELLINK, 0, linkBody(k.index(name), 0))
}

func (k *kernel) addAddress(name, text string) {
	k.t.Helper()
	prefix := netip.MustParsePrefix(text)
	k.do(unix.RTM_NEWADDR, create, addressBody(k.index(name), prefix, unix.IFA_F_NODAD), routeAttribute(unix.IFA_LOCAL, prefix.Addr().AsSlice()))
}

// addDefaultRoute leads to the world; one of a lesser metric goes first.
func (k *kernel) addDefaultRoute(name, gateway string, metric uint32) {
	k.t.Helper()
	k.do(unix.RTM_NEWROUTE, create, routeBody(netip.MustParsePrefix("0.0.0.0/0"), unix.RT_TABLE_MAIN),
		number(unix.RTA_OIF, uint32(k.index(name))), number(unix.RTA_PRIORITY, metric),
		routeAttribute(unix.RTA_GATEWAY, netip.MustParseAddr(gateway).AsSlice()))
}

// comeUp gives the Mac its usual network.
func (k *kernel) comeUp() {
	k.t.Helper()
	k.setUp("peer0", "en0")
	k.addDefaultRoute("en0", "192.0.2.1", 100)
}

// atHome is what comeUp leads to. The resolvers are this machine's own.
func atHome(n Network) bool {
	return n.Equal(Network{
		Routes: []Route{{"en0", "192.0.2.1"}}, Addresses: addresses("192.0.2.7"), Resolvers: n.Resolvers,
	})
}

func TestTRG_10_AnInterfaceComesUp(t *testing.T) {
	t.Parallel()
	k := ownNetwork(t)
	f := k.follow()
	f.until(t, "the first state", isDown)

	k.addPair("en0", "peer0")
	k.addAddress("en0", "192.0.2.7/24")
	k.comeUp()
	f.until(t, "the network", atHome)
	k.remove("en0")
	f.until(t, "its end", func(n Network) bool { return !n.Up() && len(n.Addresses) == 0 })
	f.end(t)
}

func TestTRG_10_AnInterfaceFlapsTenTimes(t *testing.T) {
	t.Parallel()
	k := ownNetwork(t)
	k.addPair("en0", "peer0")
	k.addAddress("en0", "192.0.2.7/24")
	k.comeUp()
	f := k.follow()
	f.until(t, "the network", atHome)

	for range 10 {
		k.setDown("en0")
		f.until(t, "down", isDown)
		k.comeUp()
		f.until(t, "up", atHome)
	}
	for range 10 {
		k.setDown("en0")
		k.comeUp()
	}
	f.until(t, "the network after quick flaps", atHome)
	if network, err := New("", nil).Network(t.Context()); err != nil || !atHome(network) {
		t.Errorf("at the end: %+v, %v", network, err)
	}
	f.end(t)
}

func TestTRG_10_TheWireIsPulled(t *testing.T) {
	t.Parallel()
	k := ownNetwork(t)
	k.addPair("en0", "peer0")
	k.addAddress("en0", "192.0.2.7/24")
	k.comeUp()
	f := k.follow()
	f.until(t, "the network", atHome)

	k.setDown("peer0") // en0 keeps its address and its route, and carries nothing
	f.until(t, "down", isDown)
	k.setUp("peer0")
	f.until(t, "up", atHome)
	f.end(t)
}

func TestTRG_10_NetworksOfVirtualMachinesAndTunnels(t *testing.T) {
	t.Parallel()
	k := ownNetwork(t)
	k.addPair("en0", "peer0")
	k.addAddress("en0", "192.0.2.7/24")
	k.comeUp()
	f := k.follow()
	f.until(t, "the network", atHome)

	k.addPair("vnic0", "vmenet0")
	k.addAddress("vnic0", "10.211.55.2/24")
	k.setUp("vnic0", "vmenet0")
	k.addDefaultRoute("vnic0", "10.211.55.1", 200)
	k.addPair("utun0", "utun1")
	k.addAddress("utun0", "203.0.113.5/24")
	k.setUp("utun0", "utun1")
	if network, err := New("", nil).Network(t.Context()); err != nil || !atHome(network) {
		t.Errorf("beside a VM's network and an idle tunnel: %+v, %v", network, err)
	}

	k.addDefaultRoute("utun0", "203.0.113.1", 50)
	f.until(t, "the VPN", func(n Network) bool {
		want := Network{
			Routes:    []Route{{"en0", "192.0.2.1"}, {"utun0", "203.0.113.1"}},
			Addresses: addresses("192.0.2.7"), Resolvers: n.Resolvers,
		}
		return n.Equal(want)
	})
	k.remove("utun0")
	f.until(t, "the end of the VPN", atHome)
	f.end(t)
}

func TestTRG_10_NewsThatNobodyShouldHear(t *testing.T) {
	t.Parallel()
	home := netip.MustParsePrefix("192.0.2.0/24")
	linkNews := func(index int, name string) []byte {
		return netlinkMessage(unix.RTM_NEWLINK, linkBody(index, unix.IFF_UP), routeAttribute(unix.IFLA_IFNAME, []byte(name+"\x00")))
	}
	addressNews := func(index int) []byte {
		return netlinkMessage(unix.RTM_NEWADDR, addressBody(index, home, 0), routeAttribute(unix.IFA_LOCAL, []byte{192, 0, 2, 7}))
	}
	cases := map[string]struct {
		data []byte
		want bool
	}{
		"known interface":              {addressNews(4), true},
		"interface of VMs":             {addressNews(9), false},
		"unknown interface":            {addressNews(99), true},
		"new interface of VMs":         {slices.Concat(linkNews(10, "vnic1"), addressNews(10)), false},
		"VM's first, then another one": {slices.Concat(linkNews(10, "vnic1"), addressNews(4)), true},
		"neighbor":                     {netlinkMessage(unix.RTM_NEWNEIGH, linkBody(4, 0)), false},
		"cannot be read":               {[]byte{1, 2, 3}, true},
	}
	for name, c := range cases {
		interfaces := interfaceNames{names: map[int]string{4: "en0", 9: "vnic0"}}
		if got := interfaces.canChangeNetwork(c.data); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestMessagesOfAnotherProgramAreRefused(t *testing.T) {
	t.Parallel()
	ours, err := openNetlink()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ours)
	theirs, err := openNetlink()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(theirs)
	name, err := unix.Getsockname(ours)
	if err != nil {
		t.Fatal(err)
	}
	forged := netlinkMessage(unix.RTM_NEWLINK, linkBody(4, unix.IFF_UP))
	if err := unix.Sendto(theirs, forged, 0, name); err != nil {
		t.Skipf("this account may not speak to another's netlink socket: %v", err)
	}
	if data, err := receiveNetlink(ours, make([]byte, netlinkBuffer)); !errors.Is(err, errNotKernel) {
		t.Errorf("got %x, %v", data, err)
	}
}

func TestTheWatchedFolderVanishes(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	machine := New(root, nil)
	if err := machine.NetworkChanges(t.Context(), func() {}); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("without a folder: %v", err)
	}
	folder := filepath.Dir(filepath.Join(root, macResolvers))
	errorsAreFatal(t, os.MkdirAll(folder, 0o755))
	f := follow(t, machine, nothing)
	f.until(t, "the first state", isDown)
	errorsAreFatal(t, os.Remove(folder))
	if err := <-f.ended; err == nil {
		t.Error("watching a folder that is gone ended without an error")
	}
}

func routeAttribute(kind uint16, values ...[]byte) []byte {
	value := slices.Concat(values...)
	data := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofRtAttr+len(value)))
	data = binary.NativeEndian.AppendUint16(data, kind)
	return padded(append(data, value...))
}

func number(kind uint16, value uint32) []byte {
	return routeAttribute(kind, binary.NativeEndian.AppendUint32(nil, value))
}

func padded(data []byte) []byte {
	return append(data, make([]byte, alignedLength(len(data))-len(data))...)
}

func netlinkMessage(kind uint16, body ...[]byte) []byte {
	whole := slices.Concat(body...)
	data := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(whole)))
	data = binary.NativeEndian.AppendUint16(data, kind)
	data = append(data, make([]byte, 10)...) // flags, sequence, sender
	return padded(append(data, whole...))
}

// linkBody is struct ifinfomsg; of the flags only IFF_UP is asked for.
func linkBody(index int, flags uint32) []byte {
	data := binary.NativeEndian.AppendUint32(make([]byte, 4, unix.SizeofIfInfomsg), uint32(index))
	data = binary.NativeEndian.AppendUint32(data, flags)
	return binary.NativeEndian.AppendUint32(data, unix.IFF_UP)
}

func family(address netip.Addr) byte {
	if address.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// addressBody is struct ifaddrmsg.
func addressBody(index int, prefix netip.Prefix, flags byte) []byte {
	data := []byte{family(prefix.Addr()), byte(prefix.Bits()), flags, unix.RT_SCOPE_UNIVERSE}
	return binary.NativeEndian.AppendUint32(data, uint32(index))
}

// routeBody is struct rtmsg.
func routeBody(destination netip.Prefix, table byte) []byte {
	return []byte{
		family(destination.Addr()), byte(destination.Bits()), 0, 0,
		table, unix.RTPROT_STATIC, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST, 0, 0, 0, 0,
	}
}
