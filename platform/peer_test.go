package platform

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// kernelCredentials are laid out as a Mac's kernel does it.
func kernelCredentials(version, uid uint32) []byte {
	data := binary.NativeEndian.AppendUint32(nil, version)
	data = binary.NativeEndian.AppendUint32(data, uid)
	data = binary.NativeEndian.AppendUint16(data, 2) // groups
	data = append(data, 0, 0)
	for _, group := range []uint32{20, 80} {
		data = binary.NativeEndian.AppendUint32(data, group)
	}
	return append(data, make([]byte, 14*4)...)
}

func TestParseCredentials(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		data []byte
		uid  uint32
		bad  bool
	}{
		"root":            {data: kernelCredentials(0, 0)},
		"alice":           {data: kernelCredentials(0, 501), uid: 501},
		"nobody":          {data: kernelCredentials(0, 4294967294), uid: 4294967294},
		"another version": {data: kernelCredentials(1, 0), bad: true},
		"nothing":         {bad: true},
		"cut short":       {data: kernelCredentials(0, 501)[:75], bad: true},
		"longer":          {data: append(kernelCredentials(0, 501), 0), bad: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if uid, err := parseCredentials(c.data); uid != c.uid || (err != nil) != c.bad {
				t.Errorf("got %d, %v", uid, err)
			}
		})
	}
}

func FuzzParseCredentials(f *testing.F) {
	f.Add(kernelCredentials(0, 501))
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, data []byte) {
		if uid, err := parseCredentials(data); err == nil && !slices.Equal(binary.NativeEndian.AppendUint32(nil, uid), data[4:8]) {
			t.Errorf("got %d", uid)
		}
	})
}

// Who made a socketpair is its peer, at both ends; what is no connected unix
// socket has none.
func TestPeerOf(t *testing.T) {
	t.Parallel()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	errorsAreFatal(t, err)
	for _, end := range pair {
		t.Cleanup(func() { unix.Close(end) })
		if peer, err := PeerOf(end); err != nil || peer.UID != uint32(os.Geteuid()) || peer.PID != os.Getpid() {
			t.Errorf("got %+v, %v", peer, err)
		}
	}
	lonely, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	errorsAreFatal(t, err)
	defer unix.Close(lonely)
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	errorsAreFatal(t, err)
	defer file.Close()
	for name, descriptor := range map[string]int{"not connected": lonely, "a file": int(file.Fd()), "closed": 1 << 20} {
		if peer, err := PeerOf(descriptor); err == nil && (peer.UID == 0 || peer.UID == uint32(os.Geteuid())) {
			t.Errorf("%s: %+v", name, peer)
		}
	}
}
