package platform

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Addresses as a Mac's kernel writes them behind a message: those of the routes
// are of the tests of golang.org/x/net/route, where they were captured.
var (
	noAddress  = []byte{0, 2, 0, 0}
	anyIPv4    = ipv4(0, 0, 0, 0)
	anyIPv6    = slices.Concat([]byte{28, 30}, make([]byte, 26))
	routerIPv4 = ipv4(192, 168, 86, 1)
	routerIPv6 = []byte{ // fe80::f22f:4bff:fe09:3bff of interface 33
		0x1c, 0x1e, 0, 0, 0, 0, 0, 0, 0xfe, 0x80, 0, 0x21, 0, 0, 0, 0, 0xf2, 0x2f, 0x4b, 0xff, 0xfe, 9, 0x3b, 0xff, 0, 0, 0, 0,
	}
	utunLink = []byte{0x14, 0x12, 0x21, 0, 1, 8, 0, 0, 0x75, 0x74, 0x75, 0x6e, 0x34, 0x33, 0x31, 0x39, 0, 0, 0, 0}
	en0Link  = []byte{ // with its hardware address behind the name
		0x14, 0x12, 4, 0, 6, 3, 6, 0, 'e', 'n', '0', 0xf0, 0x18, 0x98, 1, 2, 3, 0, 0, 0,
	}
)

func ipv4(a, b, c, d byte) []byte { return []byte{16, 2, 0, 0, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0} }

// kernelMessage lays a message out by offsets that stand for themselves.
func kernelMessage(kind byte, size, index, flags, set int, values [3]uint32, addresses ...[]byte) []byte {
	data := make([]byte, size)
	data[2], data[3] = 5, kind
	binary.NativeEndian.PutUint16(data[index:], uint16(values[0]))
	binary.NativeEndian.PutUint32(data[flags:], values[1])
	binary.NativeEndian.PutUint32(data[set:], values[2])
	for _, address := range addresses {
		data = append(data, address...)
	}
	binary.NativeEndian.PutUint16(data, uint16(len(data)))
	return data
}

func aboutRoute(kind byte, index, flags, set uint32, addresses ...[]byte) []byte {
	return kernelMessage(kind, 92, 4, 8, 12, [3]uint32{index, flags, set}, addresses...)
}

func aboutAddress(kind byte, index, set uint32, addresses ...[]byte) []byte {
	return kernelMessage(kind, 20, 12, 8, 4, [3]uint32{index, 0, set}, addresses...)
}

func aboutLink(index, flags, set uint32, addresses ...[]byte) []byte {
	return kernelMessage(0xe, 112, 12, 8, 4, [3]uint32{index, flags, set}, addresses...)
}

// Sets of addresses: RTA_DST and so on of net/route.h.
const (
	rtaDestination, rtaGateway, rtaMask, rtaLink, rtaInterface, rtaBroadcast = 0x1, 0x2, 0x4, 0x10, 0x20, 0x80

	toNet = rtaDestination | rtaGateway | rtaMask
)

func TestParseRouteMessage(t *testing.T) {
	t.Parallel()
	prefix, address := netip.MustParsePrefix, netip.MustParseAddr
	const up, gatewayRoute, host, scoped = 0x8863, 0x803, 0x807, 0x01000803
	cases := map[string]struct {
		data  []byte
		want  networkMessage
		other bool // nothing that Network depends on
		bad   bool
	}{
		"default route": {
			data: aboutRoute(1, 4, gatewayRoute, toNet, anyIPv4, routerIPv4, noAddress),
			want: networkMessage{kind: routeMessage, index: 4, destination: prefix("0.0.0.0/0"), gateway: address("192.168.86.1")},
		},
		"default route in a dump, with its interface": {
			data: aboutRoute(0x14, 4, gatewayRoute, toNet|rtaLink, anyIPv4, routerIPv4, noAddress, en0Link),
			want: networkMessage{kind: routeMessage, index: 4, link: "en0", destination: prefix("0.0.0.0/0"), gateway: address("192.168.86.1")},
		},
		"scoped default route over IPv6": {
			data: aboutRoute(1, 13, scoped, toNet, anyIPv6, routerIPv6, []byte{2, 30, 0, 0}),
			want: networkMessage{kind: routeMessage, index: 13, scoped: true, destination: prefix("::/0"), gateway: address("fe80::f22f:4bff:fe09:3bff")},
		},
		"destination without bytes": {
			data: aboutRoute(1, 33, gatewayRoute, toNet, []byte{0, 30, 0, 0}, routerIPv6, []byte{14, 30, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 0, 0}),
			want: networkMessage{kind: routeMessage, index: 33, destination: prefix("::/48"), gateway: address("fe80::f22f:4bff:fe09:3bff")},
		},
		"net over a link, the mask's family is mask": {
			data: aboutRoute(2, 4, 0x1, toNet, ipv4(192, 168, 86, 0), en0Link, []byte{7, 255, 255, 255, 255, 255, 255, 0}),
			want: networkMessage{kind: routeMessage, index: 4, destination: prefix("192.168.86.0/24")},
		},
		"net over a tunnel": {
			data: aboutRoute(3, 33, 0x1, toNet, ipv4(100, 113, 0, 0), utunLink, []byte{6, 2, 0, 0, 255, 255, 0, 0}),
			want: networkMessage{kind: routeMessage, index: 33, destination: prefix("100.113.0.0/16")},
		},
		"mask that ends inside of a byte": {
			data: aboutRoute(1, 4, 0x1, toNet, ipv4(10, 1, 192, 0), routerIPv4, []byte{7, 0, 0, 0, 255, 255, 192, 0}),
			want: networkMessage{kind: routeMessage, index: 4, destination: prefix("10.1.192.0/18"), gateway: address("192.168.86.1")},
		},
		"mask with holes": {
			data: aboutRoute(1, 4, 0x1, toNet, ipv4(10, 0, 0, 0), routerIPv4, []byte{7, 0, 0, 0, 255, 0, 255, 0}),
			want: networkMessage{kind: routeMessage, index: 4, gateway: address("192.168.86.1")},
		},
		"mask with a hole in a byte": {
			data: aboutRoute(1, 4, 0x1, toNet, ipv4(10, 0, 0, 0), routerIPv4, []byte{6, 0, 0, 0, 255, 0xa0, 0, 0}),
			want: networkMessage{kind: routeMessage, index: 4, gateway: address("192.168.86.1")},
		},
		"no mask": {
			data: aboutRoute(1, 4, 0x3, rtaDestination|rtaGateway, anyIPv4, routerIPv4),
			want: networkMessage{kind: routeMessage, index: 4, gateway: address("192.168.86.1")},
		},
		"host": {
			data: aboutRoute(1, 4, host, rtaDestination|rtaGateway, ipv4(1, 2, 3, 4), routerIPv4),
			want: networkMessage{kind: routeMessage, index: 4, destination: prefix("1.2.3.4/32"), gateway: address("192.168.86.1")},
		},
		"rejecting": {
			data: aboutRoute(1, 4, 0x80b, toNet, anyIPv4, routerIPv4, noAddress),
			want: networkMessage{kind: otherMessage, index: 4, destination: prefix("0.0.0.0/0"), gateway: address("192.168.86.1")},
		},
		"swallowing": {
			data: aboutRoute(1, 4, 0x1803, toNet, anyIPv4, routerIPv4, noAddress),
			want: networkMessage{kind: otherMessage, index: 4, destination: prefix("0.0.0.0/0"), gateway: address("192.168.86.1")},
		},
		"no addresses":         {data: aboutRoute(1, 4, 0, 0), want: networkMessage{kind: routeMessage, index: 4}},
		"announced and absent": {data: aboutRoute(1, 4, 0, 0xff), want: networkMessage{kind: routeMessage, index: 4}},
		"address comes": {
			data: aboutAddress(0xc, 4, rtaMask|rtaLink|rtaInterface|rtaBroadcast, []byte{7, 255, 0, 0, 255, 255, 255, 0}, en0Link, ipv4(192, 168, 86, 20), ipv4(192, 168, 86, 255)),
			want: networkMessage{kind: addressMessage, index: 4, link: "en0", address: address("192.168.86.20")},
		},
		"address goes":      {data: aboutAddress(0xd, 4, rtaInterface, routerIPv6), want: networkMessage{kind: addressMessage, index: 4, address: address("fe80::f22f:4bff:fe09:3bff")}},
		"address of a link": {data: aboutAddress(0xc, 4, rtaInterface, en0Link), want: networkMessage{kind: addressMessage, index: 4, link: ""}},
		"link is up":        {data: aboutLink(4, up, rtaLink, en0Link), want: networkMessage{kind: linkMessage, index: 4, link: "en0", up: true}},
		"link is down":      {data: aboutLink(4, 0x8862, rtaLink, en0Link), want: networkMessage{kind: linkMessage, index: 4, link: "en0"}},
		"name is cut":       {data: aboutLink(4, up, rtaLink, []byte{12, 18, 4, 0, 6, 5, 0, 0, 'e', 'n', '0', '1'}), want: networkMessage{kind: linkMessage, index: 4, up: true}},
		"link without name": {data: aboutLink(4, up, 0), other: true},
		"lookup failed":     {data: aboutRoute(7, 4, gatewayRoute, toNet, anyIPv4, routerIPv4, noAddress), other: true},
		"answer":            {data: aboutRoute(4, 4, gatewayRoute, toNet, anyIPv4, routerIPv4, noAddress), other: true},
		"multicast":         {data: []byte{4, 0, 5, 0xf}, other: true},
		"another version":   {data: append([]byte{4, 0, 6}, 1), other: true},
		"header only":       {data: []byte{4, 0, 5, 1}, bad: true},
		"cut short":         {data: aboutRoute(1, 4, 0, 0)[:91], bad: true},
		"address cut short": {data: aboutRoute(1, 4, 0, rtaDestination, anyIPv4[:15]), bad: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			message, known, err := parseRouteMessage(c.data)
			if (err != nil) != c.bad || known == (c.other || c.bad) {
				t.Errorf("known %t, %v", known, err)
			}
			compare := cmp.Options{cmp.AllowUnexported(networkMessage{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })}
			if diff := cmp.Diff(c.want, message, compare); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseRouteTable(t *testing.T) {
	t.Parallel()
	good := aboutRoute(0x14, 4, 0x803, toNet, anyIPv4, routerIPv4, noAddress)
	senseless := aboutRoute(0x14, 4, 0, rtaDestination, anyIPv4[:15])
	cases := map[string]struct {
		table    []byte
		messages int
		bad      bool
	}{
		"several":                  {slices.Concat(good, aboutLink(4, 1, rtaLink, en0Link), good), 3, false},
		"others are passed over":   {slices.Concat([]byte{4, 0, 5, 0xf}, good), 1, false},
		"one makes no sense":       {slices.Concat(senseless, good), 1, false},
		"none makes sense":         {slices.Concat(senseless, senseless), 0, true},
		"nothing":                  {nil, 0, false},
		"cut short":                {slices.Concat(good, good[:50]), 0, true},
		"message without a length": {slices.Concat(good, []byte{0, 0, 5, 1}), 0, true},
		"rest of a few bytes":      {slices.Concat(good, []byte{0, 0}), 1, false},
	}
	for name, c := range cases {
		messages, err := parseRouteTable(c.table)
		if len(messages) != c.messages || (err != nil) != c.bad {
			t.Errorf("%s: %d messages, %v", name, len(messages), err)
		}
	}
}

// The interface's name is asked for only where all depends on it.
func TestRoutesCanChangeNetwork(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		data  []byte
		names map[int]string
		want  bool
		asked int
	}{
		"default route":                {aboutRoute(1, 4, 0x803, toNet, anyIPv4, routerIPv4, noAddress), map[int]string{4: "en0"}, true, 1},
		"over an irrelevant interface": {aboutRoute(1, 4, 0x803, toNet, anyIPv4, routerIPv4, noAddress), map[int]string{4: "awdl0"}, false, 1},
		"its interface is named":       {aboutRoute(1, 4, 0x803, toNet|rtaLink, anyIPv4, routerIPv4, noAddress, en0Link), nil, true, 0},
		"link-local destination":       {aboutRoute(1, 4, 0x807, rtaDestination, ipv4(169, 254, 1, 2)), nil, false, 0},
		"lookup failed":                {aboutRoute(7, 4, 0x803, toNet, anyIPv4, routerIPv4, noAddress), nil, false, 0},
		"no sense":                     {aboutRoute(1, 4, 0, rtaDestination, anyIPv4[:15]), nil, true, 0},
		"cut short":                    {aboutRoute(1, 4, 0, 0)[:50], nil, true, 0},
		"nothing":                      {nil, nil, false, 0},
	}
	for name, c := range cases {
		asked := 0
		got := routesCanChangeNetwork(c.data, func(index int) string { asked++; return c.names[index] })
		if got != c.want || asked != c.asked {
			t.Errorf("%s: %t after %d questions, want %t after %d", name, got, asked, c.want, c.asked)
		}
	}
	links := []networkMessage{{kind: addressMessage, index: 4, link: "en9"}, {kind: linkMessage, index: 4, link: "en0"}}
	if linkNameIn(links, 4) != "en0" || linkNameIn(links, 5) != "" {
		t.Errorf("names %q, %q", linkNameIn(links, 4), linkNameIn(links, 5))
	}
}

func FuzzParseRouteMessages(f *testing.F) {
	f.Add(aboutRoute(1, 4, 0x803, toNet|rtaLink, anyIPv4, routerIPv4, noAddress, en0Link))
	f.Add(slices.Concat(aboutLink(4, 1, rtaLink, en0Link), aboutAddress(0xc, 33, rtaInterface|rtaLink, utunLink, routerIPv6)))
	f.Add(aboutRoute(0x14, 33, 1, toNet, ipv4(100, 113, 0, 0), utunLink, []byte{6, 2, 0, 0, 255, 255, 0, 0}))
	f.Fuzz(func(t *testing.T, data []byte) {
		messages, understood, err := parseRouteMessages(data)
		if len(messages) > understood || len(messages)*routeHeader > len(data) {
			t.Errorf("%d messages of %d, %v", len(messages), understood, err)
		}
		for _, message := range messages {
			if len(message.link) > 255 || message.destination.IsValid() && message.destination.Bits() > 128 {
				t.Errorf("%+v", message)
			}
			_ = message.canChangeNetwork(message.link)
		}
		_ = networkFrom(messages, nil)
	})
}
