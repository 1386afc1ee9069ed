package localapi

import (
	"net"
	"sync"
	"time"
)

// Connections at a time. Root and the daemon's own user are not counted, so
// nobody else can keep an administrator with sudo out.
const (
	servedPerUser  = 16  // get answers
	openPerUser    = 32  // those above servedPerUser get too_many_requests, those above this nothing
	openForOthers  = 256 // all users that are counted together
	headerTimeout  = 5 * time.Second
	idleTimeout    = 10 * time.Second
	writeTimeout   = 10 * time.Second
	maxHeaderBytes = 8 << 10
)

// peerListener is a listener that knows its peers and counts their connections,
// and what they cost.
type peerListener struct {
	net.Listener
	exempt map[uint32]bool
	peerOf func(net.Conn) (Peer, error)
	rate   *rateLimiter

	mutex sync.Mutex
	open  map[uint32]int
	total int
}

func newPeerListener(listener net.Listener, exempt ...uint32) *peerListener {
	exempted := make(map[uint32]bool)
	for _, uid := range exempt {
		exempted[uid] = true
	}
	return &peerListener{
		Listener: listener, exempt: exempted, open: make(map[uint32]int),
		peerOf: peerOf, rate: newRateLimiter(time.Now, exempted),
	}
}

// Accept gives the next connection that may stay; the others are closed.
func (l *peerListener) Accept() (net.Conn, error) {
	for {
		connection, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer, err := l.peerOf(connection)
		if err != nil {
			connection.Close()
			continue
		}
		wait, inTime := l.rate.take(peer.UID)
		if !inTime && !l.rate.mayTell(peer.UID) {
			connection.Close()
			continue
		}
		number, ok := l.admitConnection(peer.UID)
		if !ok {
			connection.Close()
			continue
		}
		return &peerConn{
			Conn: connection, peer: peer, overLimit: number > servedPerUser, wait: wait,
			rate: l.rate, leave: l.leaveFunc(peer.UID),
		}, nil
	}
}

// admitConnection counts a connection in; number is how many its user has with it, 0
// for a user who is not counted.
func (l *peerListener) admitConnection(uid uint32) (number int, ok bool) {
	if l.exempt[uid] {
		return 0, true
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.open[uid] >= openPerUser || l.total >= openForOthers {
		return 0, false
	}
	l.open[uid]++
	l.total++
	return l.open[uid], true
}

// leaveFunc counts the connection out, once.
func (l *peerListener) leaveFunc(uid uint32) func() {
	return sync.OnceFunc(func() {
		if l.exempt[uid] {
			return
		}
		l.mutex.Lock()
		defer l.mutex.Unlock()
		l.total--
		if l.open[uid]--; l.open[uid] == 0 {
			delete(l.open, uid)
		}
	})
}

// peerConn is a connection whose user is known.
type peerConn struct {
	net.Conn
	peer      Peer
	overLimit bool          // its user has too many: it gets a refusal and nothing else
	wait      time.Duration // its user asks too often, and may again after this
	rate      *rateLimiter
	leave     func()
}

// Close gives the place back.
func (c *peerConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
