package localapi

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// pipeListener gives connections that are no sockets, whose time is the test's.
type pipeListener struct {
	connections chan net.Conn
	closed      chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case connection := <-l.connections:
		return connection, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { close(l.closed); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// A user who says nothing, or sends a byte now and then, holds a place for some
// seconds only, whatever part of a request that is.
func TestASlowUserIsDropped(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]string{
		"nothing": "", "a header": "GET /v1/status HTTP/1.1\r\nX: ",
		"a body": "POST /v1/checkin HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				pipes := &pipeListener{connections: make(chan net.Conn), closed: make(chan struct{})}
				entrance := newPeerListener(pipes)
				entrance.peerOf = func(net.Conn) (Peer, error) { return Peer{UID: 504}, nil }
				options := Options{
					Agent: &fakeAgent{}, Events: newRing(), Log: zerolog.Nop(),
					Authorize: func(Peer) Actor { return Actor{UID: 504, Admin: true} },
				}
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- serveConnections(ctx, entrance, options) }()
				ours, theirs := net.Pipe()
				pipes.connections <- theirs
				go func() { _, _ = ours.Read(make([]byte, 4<<10)) }() // what it is told
				started, err := time.Now(), error(nil)
				if begin != "" {
					_, err = ours.Write([]byte(begin))
				}
				for err == nil && time.Since(started) < time.Minute {
					time.Sleep(time.Second) // of the bubble
					_, err = ours.Write([]byte("x"))
				}
				if held := time.Since(started); err == nil || held > headerTimeout+2*time.Second {
					t.Errorf("the place was held for %s, %v", held, err)
				}
				stop()
				if err := <-ended; err != nil || entrance.total != 0 {
					t.Errorf("%d places are taken, %v", entrance.total, err)
				}
				ours.Close()
			})
		})
	}
}
