package agent

import (
	"context"
	"errors"
	"slices"
	"testing"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/platform/tool"
)

// notifyTools is a Mac on which osascript ends as it is told to.
type notifyTools struct {
	platform.Tools
	exit int
	err  error
	runs []tool.Command
}

func (n *notifyTools) Run(_ context.Context, c tool.Command) (tool.Result, error) {
	n.runs = append(n.runs, c)
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
