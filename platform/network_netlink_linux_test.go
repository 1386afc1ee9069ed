package platform

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

var compareMessages = cmp.Comparer(func(a, b networkMessage) bool { return a == b })

func parseAll(data []byte) (messages []networkMessage, err error) {
	err = eachNetlink(data, func(header netlinkHeader, body []byte) error {
		some, err := parseNetlink(header, body)
		messages = append(messages, some...)
		return err
	})
	return messages, err
}

var (
	everywhere4 = netip.MustParsePrefix("0.0.0.0/0")
	everywhere6 = netip.MustParsePrefix("::/0")
)

func hop(index byte, gateway ...byte) []byte {
	length := byte(unix.SizeofRtNexthop)
	var attributes []byte
	if gateway != nil {
		attributes = routeAttribute(unix.RTA_GATEWAY, gateway)
	}
	data := []byte{0, 0, 0, 0, 0, 0, 0, 0}
	copy(data, routeAttribute(0, make([]byte, int(length)-unix.SizeofRtAttr+len(attributes)))[:2])
	copy(data[4:], number(0, uint32(index))[4:])
	return append(data, attributes...)
}

func TestTRG_10_ParseRouteMessages(t *testing.T) {
	t.Parallel()
	ofBlackhole := routeBody(everywhere4, unix.RT_TABLE_MAIN)
	ofBlackhole[7] = unix.RTN_BLACKHOLE
	ofBridge := linkBody(4, unix.IFF_UP)
	ofBridge[0] = unix.AF_BRIDGE
	cases := map[string]struct {
		data []byte
		want []networkMessage
		bad  bool
	}{
		"nothing": {},
		"interface": {
			data: netlinkMessage(unix.RTM_NEWLINK, linkBody(4, unix.IFF_UP|unix.IFF_RUNNING), routeAttribute(unix.IFLA_IFNAME, []byte("en0\x00"))),
			want: []networkMessage{link(4, "en0")},
		},
		"interface without a wire": {
			data: netlinkMessage(unix.RTM_NEWLINK, linkBody(4, unix.IFF_UP), routeAttribute(unix.IFLA_IFNAME, []byte("en0\x00"))),
			want: []networkMessage{down(link(4, "en0"))},
		},
		"port of a bridge": {data: netlinkMessage(unix.RTM_NEWLINK, ofBridge)},
		"address": {
			data: netlinkMessage(unix.RTM_NEWADDR, addressBody(4, netip.MustParsePrefix("192.0.2.7/24"), 0), routeAttribute(unix.IFA_ADDRESS, []byte{192, 0, 2, 7})),
			want: []networkMessage{address(4, "192.0.2.7")},
		},
		"address with a peer": {
			data: netlinkMessage(unix.RTM_NEWADDR, addressBody(4, netip.MustParsePrefix("192.0.2.7/32"), 0),
				routeAttribute(unix.IFA_ADDRESS, []byte{192, 0, 2, 1}), routeAttribute(unix.IFA_LOCAL, []byte{192, 0, 2, 7})),
			want: []networkMessage{address(4, "192.0.2.7")},
		},
		"address that is not tried yet": {
			data: netlinkMessage(unix.RTM_NEWADDR, addressBody(4, everywhere6, 0), number(unix.IFA_FLAGS, unix.IFA_F_TENTATIVE)),
		},
		"default route": {
			data: netlinkMessage(unix.RTM_NEWROUTE, routeBody(everywhere4, unix.RT_TABLE_MAIN),
				number(unix.RTA_OIF, 4), routeAttribute(unix.RTA_GATEWAY, []byte{192, 0, 2, 1})),
			want: []networkMessage{routeTo(4, "0.0.0.0/0", "192.0.2.1")},
		},
		"IPv6 default route without a gateway": {
			data: netlinkMessage(unix.RTM_DELROUTE, routeBody(everywhere6, unix.RT_TABLE_MAIN), number(unix.RTA_OIF, 4)),
			want: []networkMessage{routeTo(4, "::/0", "")},
		},
		"route to a network": {
			data: netlinkMessage(unix.RTM_NEWROUTE, routeBody(netip.MustParsePrefix("192.0.2.0/24"), unix.RT_TABLE_MAIN),
				routeAttribute(unix.RTA_DST, []byte{192, 0, 2, 0}), number(unix.RTA_OIF, 4)),
			want: []networkMessage{routeTo(4, "192.0.2.0/24", "")},
		},
		"default route over two interfaces": {
			data: netlinkMessage(unix.RTM_NEWROUTE, routeBody(everywhere4, unix.RT_TABLE_MAIN),
				routeAttribute(unix.RTA_MULTIPATH, hop(4, 192, 0, 2, 1), hop(5))),
			want: []networkMessage{routeTo(4, "0.0.0.0/0", "192.0.2.1"), routeTo(5, "0.0.0.0/0", "")},
		},
		"route of another table": {
			data: netlinkMessage(unix.RTM_NEWROUTE, routeBody(everywhere4, unix.RT_TABLE_LOCAL), number(unix.RTA_OIF, 4)),
		},
		"route of a table with a large number": {
			data: netlinkMessage(unix.RTM_NEWROUTE, routeBody(everywhere4, unix.RT_TABLE_MAIN), number(unix.RTA_TABLE, 1000), number(unix.RTA_OIF, 4)),
		},
		"route to nowhere":   {data: netlinkMessage(unix.RTM_NEWROUTE, ofBlackhole, number(unix.RTA_OIF, 4))},
		"other message":      {data: netlinkMessage(unix.RTM_NEWNEIGH, []byte{1})},
		"cut header":         {data: make([]byte, 15), bad: true},
		"length of nothing":  {data: make([]byte, 16), bad: true},
		"longer than told":   {data: netlinkMessage(unix.RTM_NEWLINK, linkBody(4, 0))[:20], bad: true},
		"cut link":           {data: netlinkMessage(unix.RTM_NEWLINK, make([]byte, 8)), bad: true},
		"cut address":        {data: netlinkMessage(unix.RTM_NEWADDR, make([]byte, 4)), bad: true},
		"cut route":          {data: netlinkMessage(unix.RTM_NEWROUTE, make([]byte, 8)), bad: true},
		"attribute too long": {data: netlinkMessage(unix.RTM_NEWLINK, linkBody(4, 0), []byte{200, 0, 3, 0}), want: []networkMessage{{kind: linkMessage, index: 4}}, bad: true},
		"attribute of zero":  {data: netlinkMessage(unix.RTM_NEWROUTE, routeBody(everywhere4, unix.RT_TABLE_MAIN), make([]byte, 4)), bad: true},
		"cut hop": {
			data: netlinkMessage(unix.RTM_NEWROUTE, routeBody(everywhere4, unix.RT_TABLE_MAIN), routeAttribute(unix.RTA_MULTIPATH, []byte{200, 0, 0, 0, 4, 0, 0, 0})),
			bad:  true,
		},
		"more bits than the address has": {
			data: netlinkMessage(unix.RTM_NEWROUTE, []byte{unix.AF_INET, 33, 0, 0, unix.RT_TABLE_MAIN, 0, 0, unix.RTN_UNICAST, 0, 0, 0, 0}),
			bad:  true,
		},
	}
	for name, c := range cases {
		messages, err := parseAll(c.data)
		if (err != nil) != c.bad {
			t.Errorf("%s: got error %v", name, err)
		}
		if diff := cmp.Diff(c.want, messages, compareMessages); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestDumpIsBounded(t *testing.T) {
	t.Parallel()
	dump := &netlinkDump{messages: make([]networkMessage, maxNetworkMessages)}
	header := netlinkHeader{kind: unix.RTM_NEWROUTE}
	toHome := slices.Concat(routeBody(netip.MustParsePrefix("192.0.2.0/24"), unix.RT_TABLE_MAIN), number(unix.RTA_OIF, 4))
	if err := dump.addAnswer(header, toHome); err != nil {
		t.Errorf("a route that is not kept: %v", err)
	}
	outside := slices.Concat(routeBody(everywhere4, unix.RT_TABLE_MAIN), number(unix.RTA_OIF, 4))
	if err := dump.addAnswer(header, outside); err != errTooManyLinks {
		t.Errorf("one too many: %v", err)
	}
}

func FuzzRouteMessages(f *testing.F) {
	f.Add(netlinkMessage(unix.RTM_NEWLINK, linkBody(4, unix.IFF_UP), routeAttribute(unix.IFLA_IFNAME, []byte("en0\x00"))))
	f.Add(netlinkMessage(unix.RTM_NEWADDR, addressBody(4, netip.MustParsePrefix("192.0.2.7/24"), 0), routeAttribute(unix.IFA_LOCAL, []byte{192, 0, 2, 7})))
	f.Add(netlinkMessage(unix.RTM_NEWROUTE, routeBody(everywhere6, unix.RT_TABLE_MAIN), number(unix.RTA_OIF, 4)))
	f.Add(netlinkMessage(unix.RTM_NEWROUTE, routeBody(everywhere4, unix.RT_TABLE_MAIN),
		routeAttribute(unix.RTA_MULTIPATH, hop(4, 192, 0, 2, 1), hop(5))))
	f.Fuzz(func(t *testing.T, data []byte) {
		messages, _ := parseAll(data)
		if len(messages) > len(data) {
			t.Errorf("%d messages from %d bytes", len(messages), len(data))
		}
		for _, message := range messages {
			if message.kind == routeMessage && !message.destination.IsValid() {
				t.Errorf("a route to nowhere: %+v", message)
			}
		}
		interfaceNames{names: map[int]string{}}.canChangeNetwork(data)
		network := networkFrom(append(messages, link(4, "en0")), nil)
		if !network.Equal(networkFrom(append(messages, link(4, "en0")), nil)) {
			t.Error("the same tables give another network")
		}
	})
}
