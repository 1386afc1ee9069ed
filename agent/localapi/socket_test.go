package localapi

import (
	"errors"
	"net"
	"os"
	"testing"
)

func listen(t *testing.T, path string) *Socket {
	t.Helper()
	socket, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return socket
}

func restore(t *testing.T, socket *Socket, want bool) {
	t.Helper()
	if restored, err := socket.Restore(t.Context()); err != nil || restored != want {
		t.Fatalf("restored %t, %v; want %t", restored, err, want)
	}
}

// A file that was removed under a daemon is made again: whoever waits for the
// next connection gets it, and the one that is open goes on.
func TestARemovedSocketIsMadeAgain(t *testing.T) {
	t.Parallel()
	path := socketPath(t)
	socket := listen(t, path)
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			connection, err := socket.Accept()
			if err != nil {
				return
			}
			accepted <- connection
		}
	}()
	connect := func() (client, server net.Conn) {
		client, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		return client, <-accepted
	}
	restore(t, socket, false)
	client, server := connect()
	for range 2 {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		restore(t, socket, true)
		restore(t, socket, false)
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o666 {
			t.Fatalf("%v, %v", info, err)
		}
		again, other := connect()
		again.Close()
		other.Close()
	}
	if _, err := server.Write([]byte("x")); err != nil {
		t.Errorf("the open connection: %v", err)
	}
	client.Close()
	server.Close()
	if err := socket.Close(); err != nil {
		t.Fatal(err)
	}
	if _, open := <-accepted; open {
		t.Error("it still accepts")
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket stays: %v", err)
	}
	restore(t, socket, false) // a closed one is not made again
}

func TestASocketIsNotMadeAgainOverSomethingElse(t *testing.T) {
	t.Parallel()
	path := socketPath(t)
	socket := listen(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other := listen(t, path)
	if _, err := socket.Restore(t.Context()); !errors.Is(err, errInUse) {
		t.Errorf("over another daemon's: %v", err)
	}
	if err := socket.Close(); err != nil || !other.isThere() {
		t.Errorf("another daemon's socket is gone, %v", err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	third := listen(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := third.Restore(t.Context()); !errors.Is(err, errNotSocket) {
		t.Errorf("over a file: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	restore(t, third, true)
}
