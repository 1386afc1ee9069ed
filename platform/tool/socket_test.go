package tool

import (
	"bytes"
	"errors"
	"os"
	"testing"
	"time"
)

// A program with a socket for its standard input answers on it: what it prints
// does not count, and neither end waits for more than there is.
func TestH60_AnswerOnASocket(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		command Command
		stdout  string
		code    string
	}{
		"question and answer":  {Command{Args: []string{"answer"}, Stdin: []byte("question")}, "8 bytes, <nil>, stream true, <nil>\n", ""},
		"large question":       {Command{Args: []string{"answer"}, Stdin: bytes.Repeat([]byte("x"), 1<<20)}, "1048576 bytes, <nil>, stream true, <nil>\n", ""},
		"no question":          {Command{Args: []string{"answer"}}, "0 bytes, <nil>, stream true, <nil>\n", ""},
		"question not read":    {Command{Args: []string{"say"}, Stdin: bytes.Repeat([]byte("x"), 1<<20)}, "", ""},
		"left somebody behind": {Command{Args: []string{"answer-and-leave"}, Stdin: []byte("question")}, "8 bytes, <nil>, stream true, <nil>\n", ""},
		"endless answer":       {Command{Args: []string{"answer-flood"}, MaxOutput: 1000}, "", CodeTooLarge},
		"never answers":        {Command{Args: []string{"sleep"}, Limit: 50 * time.Millisecond}, "", CodeTimeout},
		"program is missing":   {Command{Path: "/nothing/here"}, "", CodeMissing},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.command.Socket = true
			if c.command.Path == "" {
				c.command.Path = testBinary(t)
			}
			runner := &Runner{Grace: 200 * time.Millisecond}
			result, err := runner.Run(t.Context(), &c.command)
			if c.code != "" {
				requireCode(t, err, c.code)
				return
			}
			if err != nil || string(result.Stdout) != c.stdout {
				t.Errorf("got %q, %v", result.Stdout, err)
			}
		})
	}
}

func TestH60_AFollowedProgramHasNoSocket(t *testing.T) {
	t.Parallel()
	_, err := new(Runner).Follow(t.Context(), &Command{Path: testBinary(t), Args: []string{"answer"}, Socket: true}, func([]byte, bool) {})
	requireCode(t, err, CodeRefused)
}

// No other program inherits an end.
func TestH60_SocketEndsAreClosedOnExec(t *testing.T) {
	t.Parallel()
	ours, theirs, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	defer theirs.Close()
	result, err := new(Runner).Run(t.Context(), &Command{Path: "/bin/sh", Args: []string{"-c", "ls -l /proc/self/fd | grep -c socket:"}})
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("no shell")
	}
	if err != nil || string(result.Stdout) != "0\n" {
		t.Errorf("a program has %q sockets, %v", result.Stdout, err)
	}
}
