package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

const canaryGuest = "canary of a guest"

// root is who uses sudo.
var rootActor = localapi.Actor{Admin: true, Root: true}

// passwd runs 'prlagent vm passwd' with an input.
func passwd(t *testing.T, root string, input io.Reader, arguments ...string) screen {
	t.Helper()
	p, stdout, stderr := testProgram(map[string]string{"PRLAGENT_ROOT": root})
	p.stdin = input
	code := p.run(t.Context(), append([]string{"vm", "passwd"}, arguments...))
	return screen{stdout.String(), stderr.String(), code}
}

// VMF-05, VMF-06: what is asked of the daemon, and what is said of its answer; the
// password is shown nowhere.
func TestVMF05_VMF06_PasswdPages(t *testing.T) {
	t.Parallel()
	for golden, c := range map[string]struct {
		outcome string
		code    protocol.Code
		exit    int
	}{
		"passwd-asked.txt":   {localapi.PasswordAsked, protocol.CodePasswordUnproven, exitHealthy},
		"passwd-prompt.txt":  {localapi.PasswordRefused, protocol.CodeAdminPassword, exitDegraded},
		"passwd-stopped.txt": {localapi.PasswordRefused, protocol.CodeNeedsRunning, exitDegraded},
		"passwd-unknown.txt": {localapi.PasswordUnknown, protocol.CodeToolTimeout, exitDegraded},
	} {
		t.Run(golden, func(t *testing.T) {
			t.Parallel()
			daemon, root := sampleDaemon(t), mac(t)
			daemon.password = localapi.PasswordResult{Schema: localapi.Schema, VMKey: protocol.VMKey{ID: aliceID, UID: 501}, Name: "Win", Owner: "alice", Outcome: c.outcome, Code: c.code}
			daemon.serve(t, root, rootActor)
			got := passwd(t, root, strings.NewReader(canaryGuest+"\r\n"), "--vm", "{"+strings.ToUpper(aliceID)+"}", "--user", `CORP\max`)
			if got.code != c.exit || got.stderr != "" || strings.Contains(got.stdout, "canary") {
				t.Errorf("%+v", got)
			}
			checkGolden(t, golden, got.stdout)
			want := localapi.PasswordRequest{VM: aliceID, User: `CORP\max`, Password: canaryGuest}
			if len(daemon.passwords) != 1 || daemon.passwords[0] != want {
				t.Errorf("asked for %d, %s", len(daemon.passwords), daemon.passwords)
			}
		})
	}
}

// What could be read as something else, or is no password, is refused before anything is
// asked; so is everybody but root. There is no way to give the password as an argument.
func TestVMF05_PasswdIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		actor     localapi.Actor
		input     string
		arguments []string
		code      int
		words     string
	}{
		"by its name":        {rootActor, canaryGuest, []string{"--vm", "Windows 11", "--user", "max"}, exitUsage, "is not the id of a machine"},
		"no user":            {rootActor, canaryGuest, []string{"--vm", aliceID}, exitUsage, "the account has no name"},
		"colon":              {rootActor, canaryGuest, []string{"--vm", aliceID, "--user", "max:x"}, exitUsage, "colon"},
		"line end":           {rootActor, canaryGuest, []string{"--vm", aliceID, "--user", "max\nx"}, exitUsage, "line end"},
		"option":             {rootActor, canaryGuest, []string{"--vm", aliceID, "--user=--host-admin"}, exitUsage, "dash"},
		"empty":              {rootActor, "", []string{"--vm", aliceID, "--user", "max"}, exitUsage, "there is no password"},
		"empty line":         {rootActor, "\n", []string{"--vm", aliceID, "--user", "max"}, exitUsage, "there is no password"},
		"two lines":          {rootActor, canaryGuest + "\nmore", []string{"--vm", aliceID, "--user", "max"}, exitUsage, "more than one line"},
		"too long":           {rootActor, strings.Repeat(canaryGuest, 100), []string{"--vm", aliceID, "--user", "max"}, exitUsage, "too long"},
		"as an argument":     {rootActor, "", []string{"--vm", aliceID, "--user", "max", canaryGuest}, exitUsage, "the password comes from the standard input"},
		"an admin, no sudo":  {admin, canaryGuest, []string{"--vm", aliceID, "--user", "max"}, exitRefused, "You may not do this"},
		"somebody":           {user, canaryGuest, []string{"--vm", aliceID, "--user", "max"}, exitRefused, "You may not do this"},
		"a flag that is not": {rootActor, canaryGuest, []string{"--vm", aliceID, "--password", "x"}, exitUsage, "unknown flag: --password"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			daemon, root := sampleDaemon(t), mac(t)
			daemon.serve(t, root, c.actor)
			got := passwd(t, root, strings.NewReader(c.input), c.arguments...)
			if got.code != c.code || !strings.Contains(got.stderr, c.words) || len(daemon.passwords) != 0 || got.stdout != "" {
				t.Errorf("%+v, asked %d times", got, len(daemon.passwords))
			}
			if strings.Contains(got.stderr, "canary") {
				t.Errorf("the password is shown: %s", got.stderr)
			}
		})
	}
	if got := passwd(t, mac(t), strings.NewReader(canaryGuest), "--vm", aliceID, "--user", "max"); got.code != exitNotRunning {
		t.Errorf("without a daemon: %+v", got)
	}
}

// On a terminal the password is asked for twice and not shown, and the terminal is as
// before at the end, also of who gives up.
func TestVMF05_PasswdOnATerminal(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		typed []string
		want  string
		words string
	}{
		"the same twice": {[]string{canaryGuest, canaryGuest}, canaryGuest, ""},
		"two":            {[]string{canaryGuest, "another"}, "", "not the same"},
		"given up":       {nil, "", "context canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ours, theirs, err := pty.Open()
			if err != nil {
				t.Skip(err)
			}
			defer ours.Close()
			p, _, _ := testProgram(nil)
			p.stdin = theirs
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			shown := make(chan string, 1)
			go func() {
				content, _ := io.ReadAll(ours)
				shown <- string(content)
			}()
			before := isEchoing(t, theirs)
			prompts := make(chan string, 4)
			p.stderr = promptWriter(prompts)
			answer := func() {
				line := c.typed[0]
				c.typed = c.typed[1:]
				for isEchoing(t, theirs) { // until then it would be shown
					time.Sleep(time.Millisecond)
				}
				_, _ = io.WriteString(ours, line+"\n")
			}
			if c.typed == nil {
				answer = cancel
			}
			go func() {
				for prompt := range prompts {
					if strings.HasSuffix(prompt, ": ") {
						answer()
					}
				}
			}()
			defer close(prompts)
			got, err := p.readPassword(ctx, "max")
			if got != c.want || (err == nil) != (c.words == "") || err != nil && !strings.Contains(err.Error(), c.words) {
				t.Errorf("%q, %v", got, err)
			}
			if before != isEchoing(t, theirs) {
				t.Error("the terminal is not as before")
			}
			if errors.Is(err, context.Canceled) {
				_, _ = io.WriteString(ours, "\n") // what still reads ends, as it does with the program
			}
			theirs.Close()
			if said := <-shown; strings.Contains(said, "canary") {
				t.Errorf("the terminal shows %q", said)
			}
		})
	}
}

// promptWriter hands over each text that is written.
type promptWriter chan<- string

func (w promptWriter) Write(text []byte) (int, error) {
	w <- string(text)
	return len(text), nil
}

func isEchoing(t *testing.T, terminal *os.File) bool {
	t.Helper()
	settings, err := unix.IoctlGetTermios(int(terminal.Fd()), getTerminal)
	return err == nil && settings.Lflag&unix.ECHO != 0
}
