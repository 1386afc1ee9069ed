package server

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"sync"

	"prlagent/cmd/prlportal/limit"
)

// How many connections may be open. Each takes some 50 kB, a request or not. The
// Macs behind one address come and go within seconds, so that hundreds of them
// serve many thousands.
const (
	maxConnectionsPerSource = 512
	maxConnections          = 4096
)

// connectionLimiter keeps the number of open connections within bounds (H56): of
// too many it closes the one that waits for a next request, or else for the rest
// of its first one, for longest. It is one of the same source; where there are too
// many of all, of the source that has most. So a new one is always answered,
// whoever holds the others.
type connectionLimiter struct {
	perSource, total int

	mutex   sync.Mutex
	byConn  map[net.Conn]*openConnection
	sources map[string]*source
}

// source is one network's connections.
type source struct {
	idle list.List // of net.Conn that were answered; longest in front
	busy list.List // of net.Conn that are new, send a request or are being answered; longest in front
}

func (s *source) len() int { return s.idle.Len() + s.busy.Len() }

// openConnection is where a connection stands.
type openConnection struct {
	source string
	in     *list.List
	place  *list.Element
}

func newConnectionLimiter(perSource, total int) *connectionLimiter {
	return &connectionLimiter{
		perSource: perSource, total: total,
		byConn: make(map[net.Conn]*openConnection), sources: make(map[string]*source),
	}
}

// onState follows a connection; it is http.Server.ConnState.
func (c *connectionLimiter) onState(conn net.Conn, state http.ConnState) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	switch state {
	case http.StateNew:
		name := limit.Network(hostOf(conn.RemoteAddr()))
		c.makeRoom(name)
		c.add(conn, name)
	case http.StateActive:
		c.move(conn, func(s *source) *list.List { return &s.busy })
	case http.StateIdle:
		c.move(conn, func(s *source) *list.List { return &s.idle })
	case http.StateHijacked, http.StateClosed:
		c.forget(conn)
	}
}

func (c *connectionLimiter) add(conn net.Conn, name string) {
	from := c.sources[name]
	if from == nil {
		from = new(source)
		c.sources[name] = from
	}
	c.byConn[conn] = &openConnection{source: name, in: &from.busy, place: from.busy.PushBack(conn)}
}

// move puts a connection at the end of another list; one that was closed to make
// room is known no more.
func (c *connectionLimiter) move(conn net.Conn, to func(*source) *list.List) {
	open, known := c.byConn[conn]
	if !known {
		return
	}
	open.in.Remove(open.place)
	open.in = to(c.sources[open.source])
	open.place = open.in.PushBack(conn)
}

func (c *connectionLimiter) forget(conn net.Conn) {
	open, known := c.byConn[conn]
	if !known {
		return
	}
	delete(c.byConn, conn)
	open.in.Remove(open.place)
	if c.sources[open.source].len() == 0 {
		delete(c.sources, open.source)
	}
}

// makeRoom closes a connection if one more of this source is one too many.
func (c *connectionLimiter) makeRoom(name string) {
	if from := c.sources[name]; from != nil && from.len() >= c.perSource {
		c.closeOne(from)
		return
	}
	if len(c.byConn) < c.total {
		return
	}
	var largest *source
	for _, from := range c.sources {
		if largest == nil || from.len() > largest.len() {
			largest = from
		}
	}
	c.closeOne(largest)
}

func (c *connectionLimiter) closeOne(from *source) {
	victim := from.idle.Front()
	if victim == nil {
		victim = from.busy.Front()
	}
	conn := victim.Value.(net.Conn)
	c.forget(conn)
	abort(conn)
}

// abort closes a connection at once: no farewell of TLS, for which a client that
// reads nothing could let us wait, and nothing that the kernel would keep.
func abort(conn net.Conn) {
	if secure, isTLS := conn.(*tls.Conn); isTLS {
		conn = secure.NetConn()
	}
	if plain, isTCP := conn.(*net.TCPConn); isTCP {
		_ = plain.SetLinger(0)
	}
	_ = conn.Close()
}

func hostOf(address net.Addr) string {
	host, _, err := net.SplitHostPort(address.String())
	if err != nil {
		return address.String()
	}
	return host
}
