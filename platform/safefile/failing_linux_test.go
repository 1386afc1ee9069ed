package safefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A disk that fails is played by a child of which the kernel refuses system
// calls (seccomp, as far as Linux lets any process do that to itself) or a file
// of more than a few bytes.
const (
	failureVariable = "SAFEFILE_TEST_FAILURE"
	targetVariable  = "SAFEFILE_TEST_TARGET"
	noFailures      = "there are no failures to be had" // what the child prints where it may not
)

// failures make the system fail from now on; the folder is that of the target.
var failures = map[string]func(folder string) error{
	"write": func(string) error {
		return unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 4, Max: 4})
	},
	"chmod": func(string) error { return refuse(unix.SYS_FCHMOD, nil) },
	"sync":  func(string) error { return refuse(unix.SYS_FSYNC, nil) },
	"sync of the folder": func(folder string) error {
		directory, err := os.Open(folder)
		if err != nil {
			return err
		}
		descriptor := uint32(directory.Fd()) // WriteFile opens the folder first, and gets the same again
		return errors.Join(directory.Close(), refuse(unix.SYS_FSYNC, &descriptor))
	},
}

func TestMain(m *testing.M) {
	fail, child := failures[os.Getenv(failureVariable)]
	if !child {
		os.Exit(m.Run())
	}
	target := os.Getenv(targetVariable)
	if err := fail(filepath.Dir(target)); err != nil {
		fmt.Println(noFailures, err)
		syscall.Exit(0)
	}
	err := WriteFile(target, []byte("new content"), 0o644)
	var failed *fs.PathError
	var cause syscall.Errno
	if errors.As(err, &failed) && errors.As(err, &cause) {
		fmt.Printf("%s: %v\n", failed.Op, cause)
	}
	syscall.Exit(0) // os.Exit waits a second in a program built with -race
}

// refuse makes a system call fail with EIO in all threads of this process; with
// a descriptor, only for that one.
func refuse(call uint32, descriptor *uint32) error {
	const offsetOfNumber, offsetOfArgument = 0, 16
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	skipUnless := func(value uint32, skipped uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: skipped}
	}
	answer := func(what uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: what} }

	program := []unix.SockFilter{load(offsetOfNumber), skipUnless(call, 1)}
	if descriptor != nil {
		program = []unix.SockFilter{load(offsetOfNumber), skipUnless(call, 3), load(offsetOfArgument), skipUnless(*descriptor, 1)}
	}
	program = append(program, answer(unix.SECCOMP_RET_ERRNO|uint32(unix.EIO)), answer(unix.SECCOMP_RET_ALLOW))
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&filter)))
	if errno != 0 {
		return errno
	}
	return nil
}

// A write that the system refuses in part is an error, and leaves the old
// content; only when the new one has taken its place there is no way back.
func TestFailingDisk(t *testing.T) {
	t.Parallel()
	cases := []struct{ failure, said, content string }{
		{"write", "write: file too large", "old"},
		{"chmod", "write: input/output error", "old"},
		{"sync", "write: input/output error", "old"},
		{"sync of the folder", "sync folder of: input/output error", "new content"},
	}
	for _, c := range cases {
		t.Run(c.failure, func(t *testing.T) {
			t.Parallel()
			target := filepath.Join(t.TempDir(), "target")
			if err := WriteFile(target, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			child := exec.CommandContext(t.Context(), os.Args[0])
			child.Env = append(os.Environ(), failureVariable+"="+c.failure, targetVariable+"="+target)
			output, err := child.Output()
			if err != nil {
				t.Fatal(err)
			}
			said := strings.TrimSpace(string(output))
			if strings.HasPrefix(said, noFailures) {
				t.Skip(said)
			}
			if said != c.said {
				t.Errorf("WriteFile says %q, want %q", said, c.said)
			}
			if data, err := os.ReadFile(target); err != nil || string(data) != c.content {
				t.Errorf("the target has %q, %v, want %q", data, err, c.content)
			}
			requireNoLeftovers(t, filepath.Dir(target))
		})
	}
}
