package prlctl

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/platform/tool"
)

// One call, with the machine's id and nothing on its standard input, that is
// killed after 15 s.
func TestH67_SetIsOneBoundedCallWithoutInput(t *testing.T) {
	t.Parallel()
	runner := &scripted{result: tool.Result{Stdout: []byte("The VM has been successfully configured.\n")}}
	if err := New(runner).Set(context.Background(), "{"+windowsID+"}", "--shared-clipboard=off"); err != nil {
		t.Fatal(err)
	}
	want := []tool.Command{{Path: Prlctl, Args: []string{"set", windowsID, "--shared-clipboard=off"}, Limit: 15 * time.Second, MaxOutput: maxHelp}}
	if diff := cmp.Diff(want, runner.commands); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
}

// Nothing is started for what names no machine, or sets nothing: `set ID` alone
// shows the help.
func TestH13_SetRefusesWhatIsNoCall(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]struct {
		id   string
		args []string
		code string
	}{
		"a name":           {"Windows 11", []string{"--shared-clipboard=off"}, CodeInvalidVMID},
		"an option as id":  {"--help", []string{"--shared-clipboard=off"}, CodeInvalidVMID},
		"no option":        {windowsID, nil, tool.CodeRefused},
		"an option of ''.": {windowsID, []string{""}, tool.CodeRefused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runner := &scripted{}
			if err := New(runner).Set(context.Background(), call.id, call.args...); errorCode(err) != call.code {
				t.Errorf("want %s, got %v", call.code, err)
			}
			if len(runner.commands) > 0 {
				t.Errorf("started %v", runner.commands)
			}
		})
	}
}

// What the tool says of a set, whatever its exit code.
func TestSetSaysWhatTheToolMeant(t *testing.T) {
	t.Parallel()
	const credentials = "Failed to configure the virtual machine: The operation failed. To perform this operation, you must enter the host OS administrator's credentials.\n"
	for name, c := range map[string]struct {
		result tool.Result
		code   string
		none   bool
	}{
		"done":                            {tool.Result{Stdout: []byte("Set shared clipboard: off\nThe VM has been successfully configured.\n")}, "", false},
		"a flag that is not there":        {tool.Result{ExitCode: 255, Stderr: []byte("Unrecognized option: --shared-clipboard\n")}, CodeUnrecognizedOption, true},
		"a guest without it":              {tool.Result{ExitCode: 255, Stderr: []byte("\"Pause idle\" is not supported by the guest operating system.\n")}, CodeGuestOS, true},
		"a guest without it, and exit 0":  {tool.Result{Stderr: []byte("\"Pause idle\" is not supported by the guest operating system.\n")}, CodeGuestOS, true},
		"an administrator's password":     {tool.Result{ExitCode: 255, Stderr: []byte(credentials)}, CodeAdminPassword, false},
		"busy":                            {tool.Result{ExitCode: 255, Stderr: []byte("The virtual machine is busy.\n")}, CodeVMBusy, false},
		"the service is down":             {tool.Result{ExitCode: 253}, CodeServiceDown, false},
		"an exit code that nobody knows":  {tool.Result{ExitCode: 17}, CodeToolFailed, false},
		"a lie: an exit code and no word": {tool.Result{ExitCode: 255, Stdout: []byte("The VM has been successfully configured.\n")}, CodeToolFailed, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := New(&scripted{result: c.result}).Set(context.Background(), windowsID, "--shared-clipboard=off")
			if errorCode(err) != c.code || IsNotApplicable(err) != c.none {
				t.Errorf("want %q and %t, got %v", c.code, c.none, err)
			}
		})
	}
}

// The host's switches are set, and a machine is suspended, by one bounded call
// without input, too.
func TestH67_H42_TheHostIsSetAndAMachineSuspendedByOneBoundedCall(t *testing.T) {
	t.Parallel()
	runner := &scripted{}
	client := New(runner)
	if err := client.SetHost(t.Context(), "--require-pwd", "create-vm:on"); err != nil {
		t.Fatal(err)
	}
	if err := client.Suspend(t.Context(), "{"+windowsID+"}"); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"no option": client.SetHost(t.Context()), "an option of ''": client.SetHost(t.Context(), ""), "a name": client.Suspend(t.Context(), "Windows 11"),
	} {
		if err == nil {
			t.Errorf("%s is no error", name)
		}
	}
	want := []tool.Command{
		{Path: Prlsrvctl, Args: []string{"set", "--require-pwd", "create-vm:on"}, Limit: 15 * time.Second, MaxOutput: maxHelp},
		{Path: Prlctl, Args: []string{"suspend", windowsID}, Limit: 2 * time.Minute, MaxOutput: maxHelp},
	}
	if diff := cmp.Diff(want, runner.commands); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
}
