package platform

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/platform/tool"
)

const prlctlPath = "/Applications/Parallels Desktop.app/Contents/MacOS/prlctl"

func requireCode(t *testing.T, err error, code string) {
	t.Helper()
	var toolError *tool.Error
	if !errors.As(err, &toolError) || toolError.Code != code {
		t.Errorf("got %v, want the code %s", err, code)
	}
}

// trustingMachine has verified its prlctl.
func trustingMachine(t *testing.T, tools Tools) *Machine {
	t.Helper()
	machine := New(t.TempDir(), tools)
	place(t, machine.root, prlctlPath, "program")
	for path, isProgram := range map[string]bool{VendorBundle: false, prlctlPath: true} {
		state, err := machine.programState(t.Context(), path, isProgram)
		errorsAreFatal(t, err)
		machine.trusted[path] = state
	}
	return machine
}

func TestH13_ProgramsRunAsTheUserByNumber(t *testing.T) {
	t.Parallel()
	alice := User{Name: "alice; rm -rf /", UID: 501, Home: "/Users/alice"}
	asked := &tool.Command{
		Path: prlctlPath, Args: []string{"set", "id", "--name=two words; $(x)"},
		Stdin: []byte("in"), Limit: time.Minute, MaxOutput: 7,
	}
	sudo := []string{"-n", "-H", "-u", "#501", prlctlPath, "set", "id", "--name=two words; $(x)"}
	cases := map[string]struct {
		session bool
		path    string
		args    []string
	}{
		"without a session": {false, "/usr/bin/sudo", sudo},
		"in the session":    {true, "/bin/launchctl", append([]string{"asuser", "501", "/usr/bin/sudo"}, sudo...)},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := *asked
			want.Path, want.Args = c.path, c.args
			runner := &fakeRunner{answers: map[string]answer{line(&want): {stdout: "out", exit: 3}}}
			result, err := trustingMachine(t, runner).As(alice, c.session).Run(t.Context(), asked)
			if err != nil || result.ExitCode != 3 || string(result.Stdout) != "out" {
				t.Errorf("got %+v, %v", result, err)
			}
			if diff := cmp.Diff([]tool.Command{want}, runner.asked); diff != "" {
				t.Errorf("what was started (-want +got):\n%s", diff)
			}
		})
	}
}

// VMF-05: a secret argument is read by the one program before the vendor's, and is in the
// arguments of none that starts it; the tool's signature is checked all the same.
func TestVMF05_ASecretArgumentIsInNoOtherProgramsArguments(t *testing.T) {
	t.Parallel()
	const secret = "user:canary-of-a-guest"
	asked := &tool.Command{Path: prlctlPath, Args: []string{"set", "id", "--userpasswd"}, SecretArg: secret, Limit: time.Second}
	through := []string{"-n", "-H", "-u", "#501", "/usr/bin/xargs", "-0", prlctlPath, "set", "id", "--userpasswd"}
	for session, want := range map[bool]tool.Command{
		false: {Path: "/usr/bin/sudo", Args: through, Stdin: []byte(secret + "\x00"), Limit: time.Second},
		true:  {Path: "/bin/launchctl", Args: append([]string{"asuser", "501", "/usr/bin/sudo"}, through...), Stdin: []byte(secret + "\x00"), Limit: time.Second},
	} {
		runner := &fakeRunner{answers: map[string]answer{line(&want): {stdout: "out"}}}
		if _, err := trustingMachine(t, runner).As(User{UID: 501}, session).Run(t.Context(), asked); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]tool.Command{want}, runner.asked); diff != "" {
			t.Errorf("what was started (-want +got):\n%s", diff)
		}
	}
	_, err := (&tool.Runner{}).Run(t.Context(), asked)
	requireCode(t, err, tool.CodeRefused)
}

func TestH13_FollowedProgramsRunAsTheUserByNumber(t *testing.T) {
	t.Parallel()
	asked := &tool.Command{Path: prlctlPath, Args: []string{"monitor-events", "--json"}, MaxOutput: 7}
	sudo := []string{"-n", "-H", "-u", "#501", prlctlPath, "monitor-events", "--json"}
	cases := map[string]struct {
		session bool
		path    string
		args    []string
	}{
		"without a session": {false, "/usr/bin/sudo", sudo},
		"in the session":    {true, "/bin/launchctl", append([]string{"asuser", "501", "/usr/bin/sudo"}, sudo...)},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := *asked
			want.Path, want.Args = c.path, c.args
			runner := &fakeRunner{answers: map[string]answer{line(&want): {stdout: "one\ntwo\n", exit: 3}}}
			var lines []string
			result, err := trustingMachine(t, runner).Follow(t.Context(), User{UID: 501}, c.session, asked, func(text []byte, _ bool) {
				lines = append(lines, string(text))
			})
			if err != nil || result.ExitCode != 3 || !slices.Equal(lines, []string{"one", "two"}) {
				t.Errorf("got %+v, %q, %v", result, lines, err)
			}
			if diff := cmp.Diff([]tool.Command{want}, runner.asked); diff != "" {
				t.Errorf("what was started (-want +got):\n%s", diff)
			}
		})
	}
}

func TestH13_NothingRunsAsAServiceAccount(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		uid     uint32
		command *tool.Command
	}{
		"root":                      {0, &tool.Command{Path: prlctlPath}},
		"last service account":      {500, &tool.Command{Path: prlctlPath}},
		"relative path":             {501, &tool.Command{Path: "prlctl"}},
		"option in place of a path": {501, &tool.Command{Path: "-u"}},
		"path that is not clean":    {501, &tool.Command{Path: "/Applications/../tmp/prlctl"}},
		"environment":               {501, &tool.Command{Path: prlctlPath, Env: []string{"HOME=/tmp"}}},
		"two secrets in one":        {501, &tool.Command{Path: prlctlPath, SecretArg: "user:one\x00--help"}},
		"a secret and an input":     {501, &tool.Command{Path: prlctlPath, SecretArg: "user:one", Stdin: []byte("y\n")}},
	}
	for name, c := range cases {
		for _, session := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				runner := &fakeRunner{}
				machine, user := New("", runner), User{Name: "alice", UID: c.uid}
				_, err := machine.As(user, session).Run(t.Context(), c.command)
				requireCode(t, err, tool.CodeRefused)
				_, err = machine.Follow(t.Context(), user, session, c.command, func([]byte, bool) {})
				requireCode(t, err, tool.CodeRefused)
				if len(runner.asked) != 0 {
					t.Errorf("it ran: %v", runner.asked)
				}
			})
		}
	}
}
