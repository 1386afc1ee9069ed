package trigger_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"prlagent/agent/protocol"
	"prlagent/agent/trigger"
	"prlagent/agent/watch"
	"prlagent/platform"
)

// cable is the network of a namespace that is the test's own: two interfaces
// that are joined, of which en0 is the Mac's.
type cable struct {
	t          *testing.T
	descriptor int // rtnetlink(7)
	namespace  int
	peer, en0  uint32 // indexes
}

// ownCable moves the test's goroutine into a new network namespace. The
// goroutine keeps its thread, and both end with the test.
func ownCable(t *testing.T) *cable {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("this account may not make a network namespace: %v", err)
	}
	namespace, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	descriptor, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = unix.Close(descriptor), unix.Close(namespace) })
	w := &cable{t: t, descriptor: descriptor, namespace: namespace, peer: 1001, en0: 1002}
	const peerOfVeth = 1 // VETH_INFO_PEER of linux/veth.h
	w.do(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, link(w.en0, 0), attribute(unix.IFLA_IFNAME, []byte("en0\x00")),
		attribute(unix.IFLA_LINKINFO, attribute(unix.IFLA_INFO_KIND, []byte("veth")), attribute(unix.IFLA_INFO_DATA,
			attribute(peerOfVeth, link(w.peer, 0), attribute(unix.IFLA_IFNAME, []byte("peer0\x00"))))))
	address := []byte{192, 0, 2, 7}
	w.do(unix.RTM_NEWADDR, unix.NLM_F_CREATE,
		native([]byte{unix.AF_INET, 24, 0, unix.RT_SCOPE_UNIVERSE}, w.en0), attribute(unix.IFA_LOCAL, address), attribute(unix.IFA_ADDRESS, address))
	return w
}

// up gives the Mac a network; the kernel removes the route by itself.
func (w *cable) up() {
	w.t.Helper()
	w.do(unix.RTM_NEWLINK, 0, link(w.peer, unix.IFF_UP))
	w.do(unix.RTM_NEWLINK, 0, link(w.en0, unix.IFF_UP))
	w.do(unix.RTM_NEWROUTE, unix.NLM_F_CREATE, []byte{
		unix.AF_INET, 0, 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_STATIC, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST, 0, 0, 0, 0,
	}, attribute(unix.RTA_OIF, native(nil, w.en0)), attribute(unix.RTA_GATEWAY, []byte{192, 0, 2, 1}))
}

func (w *cable) down() {
	w.t.Helper()
	w.do(unix.RTM_NEWLINK, 0, link(w.en0, 0))
}

// do asks the kernel for something, and waits until it is done.
func (w *cable) do(kind, flags uint16, body ...[]byte) {
	w.t.Helper()
	whole := slices.Concat(body...)
	message := native(nil, uint32(unix.SizeofNlMsghdr+len(whole)))
	message = binary.NativeEndian.AppendUint16(message, kind)
	message = binary.NativeEndian.AppendUint16(message, flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	message = append(native(native(message, 0), 0), whole...)
	if err := unix.Sendto(w.descriptor, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		w.t.Fatal(err)
	}
	answer := make([]byte, 8192)
	read, _, err := unix.Recvfrom(w.descriptor, answer, 0)
	if err != nil || read < unix.SizeofNlMsghdr+4 {
		w.t.Fatalf("%d bytes of an answer: %v", read, err)
	}
	if code := int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:])); code != 0 {
		w.t.Fatalf("message %d: %v", kind, unix.Errno(-code))
	}
}

func native(data []byte, value uint32) []byte { return binary.NativeEndian.AppendUint32(data, value) }

// link is struct ifinfomsg; of the flags only IFF_UP is asked for.
func link(index, flags uint32) []byte {
	return native(native(native(make([]byte, 4), index), flags), unix.IFF_UP)
}

func attribute(kind uint16, values ...[]byte) []byte {
	value := slices.Concat(values...)
	data := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofRtAttr+len(value)))
	data = append(binary.NativeEndian.AppendUint16(data, kind), value...)
	return append(data, make([]byte, -len(data)&3)...)
}

// inside runs something on a thread in the namespace. The thread ends with it.
func (w *cable) inside(run func() error) error {
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(w.namespace, unix.CLONE_NEWNET); err != nil {
			ended <- err
			return
		}
		ended <- run()
	}()
	return <-ended
}

// watched is the real source over the real kernel, with the real step behind it.
type watched struct {
	*trigger.Simulation
	t     *testing.T
	reads chan platform.Network
	hints chan watch.Hint
}

// watch runs the source until the test ends.
func (w *cable) watch(s *trigger.Simulation) *watched {
	w.t.Helper()
	mac := platform.New("", nil)
	seen := &watched{Simulation: s, t: w.t, reads: make(chan platform.Network, 1000), hints: make(chan watch.Hint, 1000)}
	edges := watch.NetworkEdges{
		State: func(ctx context.Context) (now platform.Network, err error) {
			err = w.inside(func() (err error) { now, err = mac.Network(ctx); return err })
			if err == nil {
				seen.reads <- now
			}
			return now, err
		},
		Changes: func(ctx context.Context, changed func()) error {
			return w.inside(func() error { return mac.NetworkChanges(ctx, changed) })
		},
		Quiet: 20 * time.Millisecond, Poll: 30 * time.Second, Log: zerolog.Nop(),
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- edges.Watch(ctx, func(hint watch.Hint) { seen.hints <- hint }) }()
	w.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			w.t.Errorf("watching ended with %v", err)
		}
	})
	return seen
}

// settles waits until the source has read a state.
func (w *watched) settles(up bool) {
	w.t.Helper()
	patience := time.NewTimer(30 * time.Second)
	defer patience.Stop()
	for {
		select {
		case now := <-w.reads:
			if now.Up() == up && (!up || slices.Contains(now.Addresses, netip.AddrFrom4([4]byte{192, 0, 2, 7}))) {
				return
			}
		case <-patience.C:
			w.t.Fatalf("the source never saw a network that is up: %t", up)
		}
	}
}

// hears passes what the source told on, and gives how many hints there were.
func (w *watched) hears() (many int) {
	w.t.Helper()
	for {
		select {
		case hint := <-w.hints:
			w.Tell(trigger.SourceEvent{Reason: hint.Reason, UID: hint.UID})
			many++
		default:
			return many
		}
	}
}

// An interface that comes up, on a Mac that was off the network for an hour, is
// one check-in inside the splay; ten flaps after it are none more.
func TestTRG_10_ACableComesUpAndFlaps(t *testing.T) {
	w := ownCable(t)
	seen := w.watch(trigger.Lived(t))
	seen.settles(false)
	w.up()
	seen.settles(true)
	from := seen.Now()
	w.down() // the hint of the first edge is told before this is read
	seen.settles(false)
	if many := seen.hears(); many != 1 {
		t.Fatalf("%d hints of one edge", many)
	}
	seen.Until(from.Add(protocol.DefaultTiming().Splay + 30*time.Second))
	exchanges := seen.Exchanges()
	if len(exchanges) != 1 || len(exchanges[0]) != 1 || exchanges[0][0] != trigger.NetworkUp {
		t.Fatalf("check-ins: %+v", exchanges)
	}
	hints := 0
	for range 10 {
		w.up()
		seen.settles(true)
		w.down()
		seen.settles(false)
		hints += seen.hears()
		seen.Until(seen.Now().Add(10 * time.Second))
	}
	if hints != 10 {
		t.Errorf("%d hints of ten slow flaps", hints)
	}
	seen.Until(seen.Now().Add(2 * time.Hour))
	if exchanges := seen.Exchanges(); len(exchanges) != 1 {
		t.Errorf("check-ins after the flaps: %+v", exchanges[1:])
	}
}

// Ten quick flaps of a Mac that was off the network for an hour are one check-in.
func TestTRG_10_ACableFlapsTenTimes(t *testing.T) {
	for name, pause := range map[string]bool{"quick": false, "slow": true} {
		t.Run(name, func(t *testing.T) {
			w := ownCable(t)
			seen := w.watch(trigger.Lived(t))
			seen.settles(false)
			for range 10 {
				w.up()
				if pause {
					seen.settles(true)
				}
				w.down()
				if pause {
					seen.settles(false)
				}
			}
			w.up()
			seen.settles(true)
			w.down()
			seen.settles(false)
			if seen.hears() == 0 {
				t.Fatal("no hint")
			}
			seen.Until(seen.Now().Add(2 * time.Hour))
			exchanges := seen.Exchanges()
			if len(exchanges) != 1 || len(exchanges[0]) != 1 || exchanges[0][0] != trigger.NetworkUp {
				t.Errorf("check-ins: %s", fmt.Sprint(exchanges))
			}
		})
	}
}
