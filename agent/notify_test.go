package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/platform/tool"
)

// notifyTools is a Mac on which osascript, and swiftDialog, end as they are told to.
type notifyTools struct {
	platform.Tools
	exit    int
	err     error
	refused bool // swiftDialog is not allowed to show notifications
	runs    []tool.Command
}

func (n *notifyTools) Run(_ context.Context, c *tool.Command) (tool.Result, error) {
	n.runs = append(n.runs, *c)
	if n.refused && slices.Contains(c.Args, swiftDialog) {
		return tool.Result{Stdout: []byte("ERROR: Notifications are not allowed for this application\n")}, nil
	}
	return tool.Result{ExitCode: n.exit, Stderr: []byte("a canary")}, n.err
}

// A text is shown as its user and in their session, within a limit; it is an
// argument of a script that is always the same.
func TestH13_ANotificationIsAnArgument(t *testing.T) {
	t.Parallel()
	const text = `-e "; do shell script "id`
	for name, test := range map[string]struct {
		exit int
		err  error
		code protocol.Code
	}{
		"shown":     {0, nil, ""},
		"not shown": {1, nil, protocol.CodeToolFailed},
		"hangs":     {-1, &tool.Error{Code: tool.CodeTimeout, Err: errors.New("killed")}, protocol.CodeToolTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tools := &notifyTools{exit: test.exit, err: test.err}
			notify := notifierOf(platform.New(t.TempDir(), tools))
			for range 2 {
				if err := notify(t.Context(), platform.User{Name: "canary", UID: 501}, text); protocol.CodeOf(err) != test.code || (err == nil) != (test.code == "") {
					t.Errorf("error %v, want %q", err, test.code)
				}
			}
			want := append([]string{"asuser", "501", "/usr/bin/sudo", "-n", "-H", "-u", "#501", "/usr/bin/osascript"}, slices.Concat(notifyScript, []string{text})...)
			for _, run := range tools.runs {
				if run.Path != "/bin/launchctl" || !slices.Equal(run.Args, want) || run.Limit != notifyLimit || run.MaxOutput == 0 {
					t.Errorf("ran %+v", run)
				}
			}
		})
	}
}

// swiftDialog is preferred where it is installed, and only where nobody but root can
// have put it there; the text is one argument of it.
func TestH13_SwiftDialogOfRootIsPreferred(t *testing.T) {
	t.Parallel()
	const text = "-e New settings; --message x"
	script := slices.Concat([]string{osascript}, notifyScript, []string{text})
	dialog := []string{swiftDialog, "--notification", "--title", notifyTitle, "--message", text}
	for name, test := range map[string]struct {
		spoil   func(program string) error
		refused bool
		err     error
		want    [][]string // programs with their arguments
	}{
		"root's own":                   {nil, false, nil, [][]string{dialog}},
		"one that hangs":               {nil, false, &tool.Error{Code: tool.CodeTimeout, Err: errors.New("killed")}, [][]string{dialog}},
		"one that may not show":        {nil, true, nil, [][]string{dialog, script}},
		"none":                         {os.Remove, false, nil, [][]string{script}},
		"one that all can write":       {func(program string) error { return os.Chmod(program, 0o757) }, false, nil, [][]string{script}},
		"one in a folder for all":      {func(program string) error { return os.Chmod(filepath.Dir(program), 0o777) }, false, nil, [][]string{script}},
		"an application in such a one": {func(program string) error { return os.Chmod(dirs(program, 4), 0o777) }, false, nil, [][]string{script}},
		"a link to what somebody wrote": {func(program string) error {
			return errors.Join(os.Rename(program, program+"2"), os.Symlink(program+"2", program))
		}, false, nil, [][]string{script}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			program := filepath.Join(root, swiftDialog)
			if err := errors.Join(os.MkdirAll(filepath.Dir(program), 0o755), os.WriteFile(program, nil, 0o755)); err != nil {
				t.Fatal(err)
			}
			if test.spoil != nil {
				if err := test.spoil(program); err != nil {
					t.Fatal(err)
				}
			}
			tools := &notifyTools{err: test.err, refused: test.refused}
			err := notifierOf(platform.New(root, tools))(t.Context(), platform.User{Name: "canary", UID: 501}, text)
			if !errors.Is(err, test.err) {
				t.Errorf("error %v", err)
			}
			var ran [][]string
			for _, run := range tools.runs {
				if run.Path != "/bin/launchctl" || strings.Join(run.Args[:6], " ") != "asuser 501 /usr/bin/sudo -n -H -u" || run.Limit != notifyLimit {
					t.Errorf("ran %+v", run)
				}
				ran = append(ran, run.Args[7:])
			}
			if !slices.EqualFunc(ran, test.want, slices.Equal) {
				t.Errorf("ran %q, want %q", ran, test.want)
			}
		})
	}
}

// dirs is the folder so many folders above a path.
func dirs(path string, up int) string {
	for range up {
		path = filepath.Dir(path)
	}
	return path
}
