package tool

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
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
	"exit-three":  exitThree,
	"print":       func(args []string) { fmt.Print(strings.Repeat("x", len(args[0]))) },
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
