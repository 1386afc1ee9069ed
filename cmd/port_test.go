package cmd_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// reservedPort is a TCP port on loopback that nobody else gets while a script
// runs, whether or not something listens there: a socket that is bound to it and
// takes no connections. Whoever connects in the meantime is refused. With
// SO_REUSEADDR on both sides Linux lets a program of the script listen there
// too, and gives the port to none that asks for a free one. Other systems do not
// share an address in that way: there it is only a port that was free.
type reservedPort struct {
	address string
	socket  int
}

func reservePort() (*reservedPort, error) {
	socket, err := openSocket()
	if err != nil {
		return nil, fmt.Errorf("reserve port: %w", os.NewSyscallError("socket", err))
	}
	port, err := bindFree(socket)
	if err != nil || runtime.GOOS != "linux" {
		_ = syscall.Close(socket)
		socket = -1
	}
	if err != nil {
		return nil, fmt.Errorf("reserve port: %w", err)
	}
	return &reservedPort{net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), socket}, nil
}

// openSocket opens a socket that no program of the script inherits.
func openSocket() (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(socket)
	}
	return socket, err
}

// bindFree binds a socket to a free port of loopback.
func bindFree(socket int) (port int, err error) {
	if err := syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return 0, os.NewSyscallError("setsockopt", err)
	}
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}
	bound, err := syscall.Getsockname(socket)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	return bound.(*syscall.SockaddrInet4).Port, nil
}

func (p *reservedPort) release() {
	if p.socket >= 0 {
		_ = syscall.Close(p.socket)
	}
}

// TestReservedPort: nobody answers at a reserved port until a program of the
// script listens there, which it can again and again; nobody else gets it.
func TestReservedPort(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("a bound address is not shared here")
	}
	port, err := reservePort()
	if err != nil {
		t.Fatal(err)
	}
	defer port.release()
	for range 2 {
		// A program that another test is just starting has our sockets until it is itself.
		for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
			caller, err := net.Dial("tcp", port.address)
			if errors.Is(err, syscall.ECONNREFUSED) {
				break
			}
			if err == nil {
				_ = caller.Close()
			}
			if time.Since(began) > time.Minute {
				t.Fatalf("nobody listens, and a caller gets %v", err)
			}
		}
		listener, err := net.Listen("tcp", port.address)
		if err != nil {
			t.Fatal(err)
		}
		caller, err := net.Dial("tcp", port.address)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = caller.Close(), listener.Close()
	}
	stranger, err := openSocket()
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(stranger)
	address, err := syscall.Getsockname(port.socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(stranger, address); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a program that does not share gets the port: %v", err)
	}
}
