package prlctl

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"prlagent/platform/tool"
)

// The password is the one secret argument, the machine is named by its id, and nothing
// that the tool could read as something else is given to it.
func TestVMF05_GuestPasswordIsTheSecretArgument(t *testing.T) {
	t.Parallel()
	runner := &scripted{}
	if err := New(runner).SetGuestPassword(context.Background(), "{"+strings.ToUpper(windowsID)+"}", `CORP\Max`, "pass:word -x"); err != nil {
		t.Fatal(err)
	}
	want := tool.Command{Path: Prlctl, Args: []string{"set", windowsID, "--userpasswd"}, SecretArg: `CORP\Max:pass:word -x`, Limit: SetLimit, MaxOutput: maxHelp}
	if diff := cmp.Diff([]tool.Command{want}, runner.commands); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
	for name, c := range map[string]struct{ id, account, password string }{
		"name of a machine": {"Windows 11", "user", "secret"}, "no account": {windowsID, "", "secret"}, "colon": {windowsID, "us:er", "secret"},
		"line end": {windowsID, "us\ner", "secret"}, "option": {windowsID, "--host-admin=x", "secret"}, "zero": {windowsID, "us\x00er", "secret"},
		"long account": {windowsID, strings.Repeat("u", 257), "secret"}, "no password": {windowsID, "user", ""},
		"password with a line end": {windowsID, "user", "sec\nret"}, "password with a zero": {windowsID, "user", "sec\x00--help"},
		"long password": {windowsID, "user", strings.Repeat("p", 1025)}, "no text": {windowsID, "user", "\xff\xfe"},
	} {
		err := New(runner).SetGuestPassword(context.Background(), c.id, c.account, c.password)
		if code := errorCode(err); code != tool.CodeRefused && code != CodeInvalidVMID {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(runner.commands) != 1 {
		t.Errorf("started %v", runner.commands[1:])
	}
}

// What the tool says may repeat the password: no error has a word of it (VMF-05). A
// prompt for an administrator is told as one, also where the tool waited and was killed
// (VMF-06).
func TestVMF05_VMF06_GuestPasswordErrors(t *testing.T) {
	t.Parallel()
	const prompt = "Only host administrator can change user password in the guest OS.\nConfirm your administrator credentials.\nUsername: "
	killed := &tool.Error{Code: tool.CodeTimeout, Path: Prlctl, Err: context.DeadlineExceeded}
	for name, c := range map[string]struct {
		result tool.Result
		err    error
		want   string
	}{
		"repeated":            {tool.Result{ExitCode: 1, Stderr: []byte("An incorrect value for --userpasswd is specified: user:canary-of-a-guest\n")}, nil, CodeToolFailed},
		"prompt, and an end":  {tool.Result{ExitCode: 1, Stdout: []byte(prompt)}, nil, CodeAdminPassword},
		"prompt, and exit 0":  {tool.Result{Stdout: []byte(prompt)}, nil, CodeAdminPassword},
		"prompt, then killed": {tool.Result{ExitCode: -1, Stdout: []byte(prompt)}, killed, CodeAdminPassword},
		"killed":              {tool.Result{ExitCode: -1, Stdout: []byte("user:canary-of-a-guest")}, killed, tool.CodeTimeout},
		"done, says 0":        {tool.Result{Stdout: []byte("The VM has been successfully configured.\n")}, nil, ""},
	} {
		err := New(&scripted{result: c.result, err: c.err}).SetGuestPassword(context.Background(), windowsID, "user", "canary-of-a-guest")
		if errorCode(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error repeats the password: %v", name, err)
		}
	}
}
