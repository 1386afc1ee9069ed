package prlctl

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"prlagent/platform/tool"
)

const windowsID = "f11d8098-10fe-40d9-871e-27af1e66161e"

// scripted answers every command with one result and remembers the commands.
type scripted struct {
	result   tool.Result
	err      error
	commands []tool.Command
}

func (s *scripted) Run(_ context.Context, c *tool.Command) (tool.Result, error) {
	s.commands = append(s.commands, *c)
	return s.result, s.err
}

// queries are all calls of the client.
var queries = map[string]func(*Client) error{
	"List":       func(c *Client) error { _, err := c.List(context.Background()); return err },
	"Get":        func(c *Client) error { _, err := c.Get(context.Background(), windowsID); return err },
	"ServerInfo": func(c *Client) error { _, err := c.ServerInfo(context.Background()); return err },
	"License":    func(c *Client) error { _, err := c.License(context.Background()); return err },
	"Version":    func(c *Client) error { _, err := c.Version(context.Background()); return err },
}

func TestH10_CommandsRunInsideTheApplication(t *testing.T) {
	t.Parallel()
	const inside = "/Applications/Parallels Desktop.app/Contents/MacOS/"
	cases := map[string]struct {
		sample string
		path   string
		args   []string
	}{
		"List":       {"list-bulk.json", inside + "prlctl", []string{"list", "-a", "-i", "--json"}},
		"Get":        {"list-windows-running.json", inside + "prlctl", []string{"list", windowsID, "-i", "--json"}},
		"ServerInfo": {"info.json", inside + "prlsrvctl", []string{"info", "--json"}},
		"License":    {"info-license.json", inside + "prlsrvctl", []string{"info", "--license", "--json"}},
		"Version":    {"version.txt", inside + "prlctl", []string{"--version"}},
	}
	for name, want := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runner := &scripted{result: tool.Result{Stdout: sample(t, want.sample)}}
			if err := queries[name](New(runner)); err != nil {
				t.Fatal(err)
			}
			commands := []tool.Command{{Path: want.path, Args: want.args, Limit: tool.QueryLimit, MaxOutput: maxOutput}}
			if diff := cmp.Diff(commands, runner.commands); diff != "" {
				t.Errorf("commands (-want +got):\n%s", diff)
			}
		})
	}
}

func TestH13_GetAsksOnlyForUUIDs(t *testing.T) {
	t.Parallel()
	for _, id := range []string{
		"", "Windows 11", "--help", "-a", "f11d8098", windowsID + "x", "{" + windowsID, windowsID + "}",
		"g11d8098-10fe-40d9-871e-27af1e66161e", "f11d809810fe40d9871e27af1e66161e", "../../etc/passwd/aaaa-aaaa-aaaa-aaa",
		"f11d8098-10fe-40d9-871e\x0027af1e66161e",
	} {
		runner := &scripted{}
		_, err := New(runner).Get(context.Background(), id)
		if errorCode(err) != CodeInvalidVMID {
			t.Errorf("Get(%q): want %s, got %v", id, CodeInvalidVMID, err)
		}
		if len(runner.commands) != 0 {
			t.Errorf("Get(%q) started %v", id, runner.commands)
		}
		if id != "" && strings.Contains(err.Error(), id) {
			t.Errorf("the error repeats %q: %v", id, err)
		}
	}
	runner := &scripted{result: tool.Result{Stdout: sample(t, "list-windows-running.json")}}
	vm, err := New(runner).Get(context.Background(), "{"+strings.ToUpper(windowsID)+"}")
	if err != nil || vm.ID != windowsID || runner.commands[0].Args[1] != windowsID {
		t.Errorf("braces and capitals: got %q, %v, %v", vm.ID, err, runner.commands)
	}
}

func TestGetTakesOnlyTheMachineItAskedFor(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ output, code string }{
		"another machine": {`[{"ID":"11111111-1111-4111-8111-111111111111"}]`, CodeOutputInvalid},
		"two machines":    {`[{"ID":"` + windowsID + `"},{"ID":"11111111-1111-4111-8111-111111111111"}]`, CodeOutputInvalid},
		"none":            {`[]`, CodeVMNotFound},
		"duplicate key":   {`[{"ID":"` + windowsID + `","State":"running","State":"stopped"}]`, CodeDuplicateKey},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := New(&scripted{result: tool.Result{Stdout: []byte(c.output)}}).Get(context.Background(), windowsID)
			if errorCode(err) != c.code {
				t.Errorf("want %s, got %v", c.code, err)
			}
		})
	}
}

func TestFailuresHaveCodes(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		result tool.Result
		want   Error
	}{
		"service down": {
			tool.Result{ExitCode: 253, Stderr: []byte("Login failed: Unable to connect to Parallels Service.\n")},
			Error{Code: CodeServiceDown, ExitCode: 253, Text: "Login failed: Unable to connect to Parallels Service."},
		},
		"service down with another exit code": {
			tool.Result{ExitCode: 1, Stderr: []byte("Login failed: Unable to connect to Parallels Service.")},
			Error{Code: CodeServiceDown, ExitCode: 1, Text: "Login failed: Unable to connect to Parallels Service."},
		},
		"service down without words": {
			tool.Result{ExitCode: 253},
			Error{Code: CodeServiceDown, ExitCode: 253},
		},
		"no such machine": {
			tool.Result{ExitCode: 255, Stderr: []byte("Failed to get VM config: The virtual machine could not be found. The virtual machine is not registered in the virtual machine directory on your Mac.\n")},
			Error{Code: CodeVMNotFound, ExitCode: 255, Text: "Failed to get VM config: The virtual machine could not be found. The virtual machine is not registered in the virtual machine directory on your Mac."},
		},
		"unknown flag": {
			tool.Result{ExitCode: 255, Stderr: []byte("\nUnrecognized option: --json\nUsage: …\n")},
			Error{Code: CodeUnrecognizedOption, ExitCode: 255, Text: "Unrecognized option: --json"},
		},
		"edition on standard output": {
			tool.Result{ExitCode: 1, Stdout: []byte("This feature is not available in this edition of Parallels Desktop. \n")},
			Error{Code: CodeEdition, ExitCode: 1, Text: "This feature is not available in this edition of Parallels Desktop."},
		},
		"edition without an exit code": {
			tool.Result{Stdout: []byte("This feature is not available in this edition of Parallels Desktop. \n")},
			Error{Code: CodeEdition, Text: "This feature is not available in this edition of Parallels Desktop."},
		},
		"busy": {
			tool.Result{ExitCode: 255, Stderr: []byte("Unable to perform the action because the virtual machine is busy. The virtual machine is being cloned.")},
			Error{Code: CodeVMBusy, ExitCode: 255, Text: "Unable to perform the action because the virtual machine is busy. The virtual machine is being cloned."},
		},
		"synchronizing": {
			tool.Result{ExitCode: 1, Stderr: []byte("Data synchronization is currently in progress")},
			Error{Code: CodeVMBusy, ExitCode: 1, Text: "Data synchronization is currently in progress"},
		},
		"canceled": {
			tool.Result{ExitCode: 255, Stderr: []byte("Failed to restart the VM: Operation canceled.")},
			Error{Code: CodeOperationCanceled, ExitCode: 255, Text: "Failed to restart the VM: Operation canceled."},
		},
		"broken license": {
			tool.Result{Stdout: []byte("PrlHandle_FromString: Invalid argument. An invalid argument was passed.\n")},
			Error{Code: CodeLicenseUnreadable, Text: "PrlHandle_FromString: Invalid argument. An invalid argument was passed."},
		},
		"anything else": {
			tool.Result{ExitCode: 9, Stderr: []byte("no\tidea\u202e " + strings.Repeat("x", 500) + "\nsecond line")},
			Error{Code: CodeToolFailed, ExitCode: 9, Text: "no idea  " + strings.Repeat("x", maxTextLine-9)},
		},
		"a license key in words": {
			tool.Result{ExitCode: 9, Stderr: []byte("bad key 6J9A5T-AAAAAA-BBBBBB-CCCCCC-RN17ZA given")},
			Error{Code: CodeToolFailed, ExitCode: 9, Text: "bad key 6J9A5T-******-******-******-RN17ZA given"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for query, ask := range queries {
				var got *Error
				if err := ask(New(&scripted{result: c.result})); !errors.As(err, &got) {
					t.Fatalf("%s: want an *Error, got %v", query, err)
				}
				if diff := cmp.Diff(c.want, *got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", query, diff)
				}
			}
		})
	}
}

func TestOutputWithoutAnswer(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"a":[`, maxDepth) + `1`
	cases := map[string]struct{ output, code string }{
		"nothing":           {"", CodeOutputInvalid},
		"blanks":            {" \r\n\x00", CodeOutputInvalid},
		"text":              {"UUID STATUS IP_ADDR NAME\n", CodeOutputInvalid},
		"truncated":         {`[{"ID":"` + windowsID + `","Name":"Win`, CodeOutputInvalid},
		"cut array":         {`[{"ID":"` + windowsID + `"}`, CodeOutputInvalid},
		"too deep":          {`[` + deep, CodeOutputTooDeep},
		"too large":         {`[{"ID":"` + strings.Repeat("a", maxOutput), CodeOutputTooLarge},
		"too many values":   {`[{"a":[` + strings.Repeat("0,", maxValues) + `0]}]`, CodeOutputTooLarge},
		"too many machines": {`[` + strings.Repeat("{},", maxObjects) + `{}]`, CodeOutputTooLarge},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := New(&scripted{result: tool.Result{Stdout: []byte(c.output)}}).List(context.Background())
			if errorCode(err) != c.code {
				t.Errorf("want %s, got %v", c.code, err)
			}
			if strings.Contains(err.Error(), windowsID) {
				t.Errorf("the error repeats the output: %v", err)
			}
		})
	}
}

func TestH14_MessagesAreLookedForOnlyBeforeTheJSON(t *testing.T) {
	t.Parallel()
	output := `[{"ID":"11111111-1111-4111-8111-111111111111","Name":"Unable to connect to Parallels Service","Description":"This feature is not available in this edition of Parallels Desktop."}`
	_, err := New(&scripted{result: tool.Result{Stdout: []byte(output)}}).List(context.Background())
	if errorCode(err) != CodeOutputInvalid {
		t.Errorf("a name inside broken JSON was taken for a message: %v", err)
	}
	_, err = New(&scripted{result: tool.Result{Stdout: []byte(output + "]"), ExitCode: 7}}).List(context.Background())
	if errorCode(err) != CodeToolFailed || strings.Contains(err.Error(), "connect") {
		t.Errorf("a name inside JSON was taken for a message: %v", err)
	}
	listing := listed(t, []byte(output+"]\nThis feature is not available in this edition of Parallels Desktop."))
	if diff := cmp.Diff([]string{NoteTextAroundJSON}, listing.Notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}

func TestRunnerErrorsKeepTheirCode(t *testing.T) {
	t.Parallel()
	cause := &tool.Error{Code: "tool_timeout", Path: Prlctl, Err: os.ErrDeadlineExceeded}
	cases := map[string]struct {
		err  error
		code string
	}{
		"a tool.Error": {cause, "tool_timeout"},
		"another":      {context.Canceled, CodeToolFailed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := New(&scripted{err: c.err}).List(context.Background())
			if errorCode(err) != c.code || !errors.Is(err, c.err) {
				t.Errorf("want %s around %v, got %v", c.code, c.err, err)
			}
		})
	}
}

// inTurn answers one command after the other, the last result again and again.
type inTurn struct {
	results  []tool.Result
	commands []tool.Command
}

func (r *inTurn) Run(_ context.Context, c *tool.Command) (tool.Result, error) {
	result := r.results[min(len(r.commands), len(r.results)-1)]
	r.commands = append(r.commands, *c)
	return result, nil
}
