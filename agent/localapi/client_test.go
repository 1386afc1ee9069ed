package localapi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
)

func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	const inTime = "prlagentd does not answer in time."
	cases := []struct {
		name string
		path func(t *testing.T) string
		code protocol.Code
		text string
	}{
		{"no socket", socketPath, protocol.CodeDaemonNotRunning, "prlagentd is not running."},
		{"a stale socket", func(t *testing.T) string {
			path := socketPath(t)
			leaveStale(t, path)
			return path
		}, protocol.CodeDaemonNotRunning, "prlagentd is not running."},
		{"a path that does not fit", func(t *testing.T) string {
			return "/tmp/" + strings.Repeat("x", maxSocketPath)
		}, protocol.CodeDaemonNotRunning, fmt.Sprintf("The socket's path is too long: %d bytes, at most %d.", len("/tmp/")+maxSocketPath, maxSocketPath-1)},
		{"a daemon that hangs", hangingDaemon, protocol.CodeDaemonSilent, inTime},
		{"a daemon that drops the connection", func(t *testing.T) string {
			return crookedDaemon(t, "")
		}, protocol.CodeDaemonSilent, "prlagentd does not answer."},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client, ctx := NewClient(c.path(t)), t.Context()
			if c.text == inTime { // all others end by themselves
				client.followTimeout = 30 * time.Millisecond
				short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
				defer cancel()
				ctx = short
			}
			_, err := client.Status(ctx)
			expectError(t, err, c.code, c.text)
			err = client.Follow(t.Context(), 0, func(protocol.Event) error { return nil })
			expectError(t, err, c.code, c.text)
		})
	}
}

// A daemon whose process is there runs, whatever became of its socket.
func TestADaemonWithoutItsSocket(t *testing.T) {
	t.Parallel()
	for lives, want := range map[bool]protocol.Code{true: protocol.CodeDaemonSilent, false: protocol.CodeDaemonNotRunning} {
		client := NewClient(socketPath(t))
		client.DaemonLives = func() bool { return lives }
		_, err := client.Status(t.Context())
		expectError(t, err, want, want.Text().Text)
	}
}

func expectError(t *testing.T, err error, code protocol.Code, text string) {
	t.Helper()
	var known *Error
	if !errors.As(err, &known) || known.Code != code || !strings.HasPrefix(known.Text, text) || known.Remedy == "" {
		t.Errorf("%#v; want code %s, text %q and a remedy", err, code, text)
	}
}

// hangingDaemon takes connections and says nothing.
func hangingDaemon(t *testing.T) string {
	t.Helper()
	path := socketPath(t)
	listener, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return path
}

// crookedDaemon answers every connection with the same bytes and closes it.
func crookedDaemon(t *testing.T, answer string) string {
	t.Helper()
	path := socketPath(t)
	listener, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			answerCrookedly(connection, answer)
		}
	}()
	t.Cleanup(func() { listener.Close(); <-ended })
	return path
}

func answerCrookedly(connection net.Conn, answer string) {
	defer connection.Close()
	buffer := make([]byte, 4<<10)
	if _, err := connection.Read(buffer); err != nil {
		return
	}
	if _, err := connection.Write([]byte(answer)); err != nil {
		return
	}
}

func TestAnswersThatCannotBeRead(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
	cases := []struct{ name, answer string }{
		{"no JSON", head + "hello"},
		{"two documents", head + "{} {}"},
		{"too deep", head + strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)},
		{"an error without a body", "HTTP/1.1 500 No\r\nConnection: close\r\n\r\n"},
		{"an error without a code", "HTTP/1.1 500 No\r\nConnection: close\r\n\r\n{}"},
		{"an error that does not end", "HTTP/1.1 500 No\r\nConnection: close\r\n\r\n" + strings.Repeat("x", 2*maxBody)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := NewClient(crookedDaemon(t, c.answer)).Status(t.Context())
			expectError(t, err, protocol.CodeInternal, "prlagentd gave an answer that could not be read.")
		})
	}
}

func TestPathsUnderARoot(t *testing.T) {
	t.Parallel()
	cases := []struct{ root, socket, snapshots string }{
		{"", "/var/run/prlagent.sock", "/Library/Application Support/prlagent"},
		{"/tmp/mac", "/tmp/mac/var/run/prlagent.sock", "/tmp/mac/Library/Application Support/prlagent"},
	}
	for _, c := range cases {
		if got := SocketUnder(c.root); got != c.socket {
			t.Errorf("socket under %q: %q", c.root, got)
		}
		if got := SnapshotsUnder(c.root); got != c.snapshots {
			t.Errorf("snapshots under %q: %q", c.root, got)
		}
	}
}

func TestReadSnapshot(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, StatusJSON)
	if _, err := ReadSnapshot(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if err := WriteSnapshots(folder, sampleStatus(), sampleInventory()); err != nil {
		t.Fatal(err)
	}
	status, err := ReadSnapshot(path)
	if err != nil || status.Daemon.Running || status.Counts.VMs != 3 || !status.Restricted {
		t.Errorf("%+v, %v", status, err)
	}
	if err := os.WriteFile(path, []byte(`{"schema":`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSnapshot(path); err == nil {
		t.Error("half a file was read")
	}
}

func TestTheClientKeepsNoConnection(t *testing.T) {
	t.Parallel()
	daemon := startDaemon(t, Actor{Admin: true})
	if response := daemon.raw(t, http.MethodGet, "/v1/status", ""); !response.Close {
		t.Error("the connection stays open")
	}
}

// H53: in the folder of the socket a group may be able to put another socket.
// Nobody is told what that says, root least of all.
func TestH53_NobodyElseAnswersInTheDaemonsPlace(t *testing.T) {
	t.Parallel()
	us := uint32(os.Geteuid())
	for uid, believed := range map[uint32]bool{0: true, us: true, us + 1: false, 501: us == 501} {
		running := startDaemon(t, Actor{Admin: true})
		client := NewClient(running.socket)
		client.peerOf = func(net.Conn) (Peer, error) { return Peer{UID: uid}, nil }
		_, err := client.Status(t.Context())
		var known *Error
		if told := err == nil; told != believed || !told && (!errors.As(err, &known) || known.Code != protocol.CodeDaemonSilent || !errors.Is(err, errStranger)) {
			t.Errorf("uid %d: %v", uid, err)
		}
	}
}
