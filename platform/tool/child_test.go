package tool

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// The test binary plays the external programs: its first argument is the role.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if play, found := roles[os.Args[1]]; found {
			play(os.Args[2:])
			exit(0)
		}
	}
	goleak.VerifyTestMain(m)
}

// exit skips what the race detector does at the end of a program: it sleeps for
// a second, and what would turn that off is an environment variable.
func exit(code int) { syscall.Exit(code) }

var roles = map[string]func(args []string){
	"report":      report,
	"say":         func(args []string) { fmt.Println(args) },
	"exit-three":  exitThree,
	"print":       func(args []string) { fmt.Print(strings.Repeat("x", len(args[0]))) },
	"print-error": func(args []string) { fmt.Fprint(os.Stderr, strings.Repeat("x", len(args[0]))) },
	"flood":       func([]string) { flood(os.Stdout) },
	"flood-error": func([]string) { flood(os.Stderr) },
	"sleep":       func([]string) { time.Sleep(time.Minute) },
	"kill-itself": func([]string) { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) },
	"stubborn":    func(args []string) { stubborn(args[0], "stubborn-child") },
	"stubborn-child": func(args []string) {
		stubborn(args[0], "")
	},
	"polite-parent": func(args []string) { politeParent(args[0]) },
	"leave-behind":  func(args []string) { leaveBehind(args[0]) },
	"read-all":      readAll,

	"answer":       answer,
	"answer-flood": func([]string) { flood(os.Stdin) },
	"hold-socket": func([]string) { // until the other end is gone
		_, _ = unix.Poll([]unix.PollFd{{Fd: 0}}, int(time.Minute.Milliseconds()))
	},
	"send-files": sendFiles,
	"send-and-sleep": func(args []string) {
		sendFiles(args)
		time.Sleep(time.Minute)
	},
	"answer-and-leave": func([]string) {
		answer(nil)
		leaveHolder()
	},

	"repeat":          func(args []string) { repeat(args[0]) },
	"terminal":        describeTerminal,
	"number":          func(args []string) { number(args[0]) },
	"long-line":       func([]string) { fmt.Println(strings.Repeat("x", 1<<20) + "\nafter") },
	"carriage-return": func([]string) { fmt.Print("one\r\ntwo\r\n\r\nthree\n") },
	"close-terminal":  closeTerminal,
	"hold-terminal":   func(args []string) { holdTerminal(args[0], args[1]) },
	"read-input":      func([]string) { _, _ = io.Copy(io.Discard, os.Stdin) },
}

// sendFiles sends a descriptor of each file, in a message of its own.
func sendFiles(names []string) {
	for _, name := range names {
		file, err := os.Open(name)
		if err == nil {
			err = unix.Sendmsg(0, []byte{' '}, unix.UnixRights(int(file.Fd())), nil, 0)
		}
		if err != nil {
			exit(1)
		}
	}
	_, _ = os.Stdin.WriteString("sent")
}

func report(args []string) {
	input, _ := io.ReadAll(os.Stdin)
	environment := os.Environ()
	slices.Sort(environment)
	folder, _ := os.Getwd()
	fmt.Printf("argv0 %s\nargs %q\nenv %q\nstdin %q\ndir %s\n", os.Args[0], args, environment, input, folder)
}

func exitThree([]string) {
	fmt.Print("to stdout")
	fmt.Fprint(os.Stderr, "to stderr")
	exit(3)
}

func flood(out io.Writer) {
	block := bytes.Repeat([]byte("x"), 64<<10)
	for {
		if _, err := out.Write(block); err != nil {
			return
		}
	}
}

// stubborn ignores SIGTERM, tells the pipe that it is there, and holds it open
// until somebody kills it; a child of its own does the same.
func stubborn(pipe, child string) {
	signal.Ignore(syscall.SIGTERM)
	holdPipe(pipe, child)
}

// politeParent ends at SIGTERM and leaves a stubborn child.
func politeParent(pipe string) { holdPipe(pipe, "stubborn-child") }

func holdPipe(pipe, child string) {
	file, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		panic(err)
	}
	if child != "" {
		command := exec.Command(os.Args[0], child, pipe)
		command.Stdout = os.Stdout
		if err := command.Start(); err != nil {
			panic(err)
		}
	}
	fmt.Fprintln(file, "ready")
	time.Sleep(time.Minute)
}

// leaveBehind ends at once; its child keeps the output open.
func leaveBehind(pipe string) {
	fmt.Print("all said")
	command := exec.Command(os.Args[0], "read-all", pipe)
	command.Stdout = os.Stdout
	if err := command.Start(); err != nil {
		panic(err)
	}
}

func readAll(args []string) {
	file, err := os.Open(args[0])
	if err != nil {
		panic(err)
	}
	_, _ = io.ReadAll(file)
}

// repeat prints every line that it is told through the pipe, at once.
func repeat(pipe string) {
	file, err := os.Open(pipe)
	if err != nil {
		panic(err)
	}
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		fmt.Println(scanner.Text())
	}
}

func number(count string) {
	last, err := strconv.Atoi(count)
	if err != nil {
		panic(err)
	}
	out := bufio.NewWriter(os.Stdout)
	for n := range last {
		fmt.Fprintf(out, "line %d\n", n)
	}
	out.Flush()
}

// describeTerminal tells what only the program on a terminal can know of it.
func describeTerminal([]string) {
	for fd, name := range []string{"input", "output", "error"} {
		mode, err := unix.IoctlGetTermios(fd, getTermios)
		fmt.Printf("%s: terminal %t, echo %t\n", name, err == nil, err == nil && mode.Lflag&unix.ECHO != 0)
	}
	session, _ := unix.Getsid(0)
	controlling, err := os.Open("/dev/tty")
	_ = controlling.Close()
	fmt.Printf("leads its session %t, controlled by the terminal %t\n", session == os.Getpid(), err == nil)
	fmt.Printf("env %q\n", os.Environ())
}

func closeTerminal([]string) {
	for fd := range 3 {
		_ = unix.Close(fd)
	}
	time.Sleep(time.Minute)
}

// holdTerminal leaves a process behind that has the terminal as its output and
// lives until the pipe is closed. Before, it waits for a line from the pipe, so
// that what it printed has been read. A terminal that controls nobody is not
// taken from that process by the kernel.
func holdTerminal(how, pipe string) {
	signal.Ignore(syscall.SIGHUP)
	fmt.Println("ready")
	file, err := os.Open(pipe)
	if err != nil {
		panic(err)
	}
	if _, err := file.Read(make([]byte, 1)); err != nil {
		panic(err)
	}
	if how == "uncontrolled" {
		if err := unix.IoctlSetInt(0, unix.TIOCNOTTY, 0); err != nil {
			panic(err)
		}
	}
	command := exec.Command(os.Args[0], "read-input")
	command.Stdin, command.Stdout = file, os.Stdout
	if err := command.Start(); err != nil {
		panic(err)
	}
}

// answer answers on the standard input with what came there, and prints what
// must not count.
func answer([]string) {
	request, err := io.ReadAll(os.Stdin)
	fmt.Println("printed")
	kind, kindError := unix.GetsockoptInt(0, unix.SOL_SOCKET, unix.SO_TYPE)
	fmt.Fprintf(os.Stdin, "%d bytes, %v, stream %t, %v\n", len(request), err, kind == unix.SOCK_STREAM, kindError)
}

// leaveHolder leaves a process behind that holds the standard input.
func leaveHolder() {
	holder := exec.Command(os.Args[0], "hold-socket")
	holder.Stdin = os.Stdin
	if err := holder.Start(); err != nil {
		exit(1)
	}
}
