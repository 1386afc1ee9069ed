package prlctl

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"prlagent/platform/tool"
)

// What each verb starts: the machine by its id, the flags behind it, and an answer on
// the standard input only where the tool asks for one (facts/acting.md 1).
func TestCMD_01_H13_VerbsNameMachinesByID(t *testing.T) {
	t.Parallel()
	onID := func(c *Client) map[string]func(context.Context, string) error {
		return map[string]func(context.Context, string) error{
			"start": c.Start, "stop": c.Stop, "kill": c.Kill, "drop state": c.DropState, "pause": c.Pause,
			"restart": c.Restart, "delete": c.Delete, "suspend": c.Suspend, "autostart off": c.AutostartOff,
		}
	}
	for name, want := range map[string]tool.Command{
		"start":         {Args: []string{"start", windowsID}, Limit: StartLimit},
		"stop":          {Args: []string{"stop", windowsID}, Limit: StopLimit},
		"kill":          {Args: []string{"stop", windowsID, "--kill"}, Limit: KillLimit},
		"drop state":    {Args: []string{"stop", windowsID, "--drop-state"}, Limit: KillLimit},
		"pause":         {Args: []string{"pause", windowsID}, Limit: KillLimit},
		"restart":       {Args: []string{"restart", windowsID}, Limit: RestartLimit},
		"delete":        {Args: []string{"delete", windowsID}, Limit: DeleteLimit, Stdin: []byte("y\n")},
		"suspend":       {Args: []string{"suspend", windowsID}, Limit: SuspendLimit},
		"autostart off": {Args: []string{"set", windowsID, "--autostart", "off"}, Limit: SetLimit},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runner := &scripted{}
			verb := onID(New(runner))[name]
			if err := verb(context.Background(), "{"+windowsID+"}"); err != nil {
				t.Fatal(err)
			}
			want.Path, want.MaxOutput = Prlctl, maxHelp
			if diff := cmp.Diff([]tool.Command{want}, runner.commands); diff != "" {
				t.Errorf("commands (-want +got):\n%s", diff)
			}
			for _, id := range []string{"Windows 11", "--help", "", "*"} {
				if err := verb(context.Background(), id); errorCode(err) != CodeInvalidVMID {
					t.Errorf("%q: want %s, got %v", id, CodeInvalidVMID, err)
				}
			}
			if len(runner.commands) != 1 {
				t.Errorf("started %v", runner.commands[1:])
			}
		})
	}
}

// That network errors are passed over is never the agent's own choice.
func TestLIC_01_DeactivateSkipsNetworkErrorsOnlyIfAsked(t *testing.T) {
	t.Parallel()
	for skip, want := range map[bool][]string{false: {"deactivate-license"}, true: {"deactivate-license", "--skip-network-errors"}} {
		runner := &scripted{result: tool.Result{Stdout: []byte("The license has been successfully deactivated.\n")}}
		if err := New(runner).DeactivateLicense(context.Background(), skip); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]tool.Command{{Path: Prlsrvctl, Args: want, Limit: LicenseLimit, MaxOutput: maxHelp}}, runner.commands); diff != "" {
			t.Errorf("skip %t (-want +got):\n%s", skip, diff)
		}
	}
}

// What the tools say where they do not do it.
func TestCMD_04_RefusalsOfVerbsHaveCodes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		result tool.Result
		code   string
	}{
		"done":           {tool.Result{}, ""},
		"service down":   {tool.Result{ExitCode: 253, Stderr: []byte("Login failed: Unable to connect to Parallels Service.\n")}, CodeServiceDown},
		"not his":        {tool.Result{ExitCode: 255, Stderr: []byte("Failed to get VM config: The virtual machine could not be found.")}, CodeVMNotFound},
		"canceled":       {tool.Result{ExitCode: 255, Stderr: []byte("Failed to restart the VM: Operation canceled.\n")}, CodeOperationCanceled},
		"being cloned":   {tool.Result{ExitCode: 255, Stderr: []byte("Failed to remove the VM: Unable to perform the action because the virtual machine is busy. The virtual machine is being cloned.")}, CodeVMBusy},
		"encrypted":      {tool.Result{Stdout: []byte("Virtual machine 'a' is encrypted - password required to continue operation\nPlease enter password: ")}, CodeVMPassword},
		"administrator":  {tool.Result{ExitCode: 255, Stderr: []byte("The operation failed. To perform this operation, you must enter the host OS administrator's credentials.\n")}, CodeAdminPassword},
		"another reason": {tool.Result{ExitCode: 255, Stderr: []byte("Failed to remove the VM: Permission denied.\n")}, CodeToolFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := errorCode(New(&scripted{result: c.result}).Delete(context.Background(), windowsID)); got != c.code {
				t.Errorf("want %q, got %q", c.code, got)
			}
		})
	}
}
