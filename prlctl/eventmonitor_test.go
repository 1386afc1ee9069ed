package prlctl

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/platform/tool"
)

const (
	stateLine  = `{"VM ID":"` + windowsID + `","Event name":"vm_state_changed","Additional info":{"Vm state name":"running"}}`
	configLine = `{"VM ID":"` + windowsID + `","Event name":"vm_config_changed"}`
)

// saying is a program that prints lines and ends.
func saying(result tool.Result, err error, lines ...string) Follow {
	return func(_ context.Context, _ *tool.Command, line func([]byte, bool)) (tool.Result, error) {
		for _, text := range lines {
			line([]byte(text), false)
		}
		return result, err
	}
}

// heard are the events of one stream, and why it ended.
func heard(t *testing.T, follow Follow) (events []Event, err error) {
	t.Helper()
	err = Monitor(t.Context(), follow, func(event Event) { events = append(events, event) })
	if err == nil {
		t.Fatal("a stream that ended well")
	}
	return events, err
}

func TestH10_MonitorRunsInsideTheApplication(t *testing.T) {
	t.Parallel()
	var commands []tool.Command
	_, _ = heard(t, func(_ context.Context, c *tool.Command, _ func([]byte, bool)) (tool.Result, error) {
		commands = append(commands, *c)
		return tool.Result{}, nil
	})
	want := []tool.Command{{
		Path:      "/Applications/Parallels Desktop.app/Contents/MacOS/prlctl",
		Args:      []string{"monitor-events", "--json"},
		MaxOutput: 64 << 10,
	}}
	if diff := cmp.Diff(want, commands); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestH13_LinesThatCannotBeReadOnlySayThatSomethingHappened(t *testing.T) {
	t.Parallel()
	events, _ := heard(t, func(_ context.Context, _ *tool.Command, line func([]byte, bool)) (tool.Result, error) {
		line([]byte("Waiting for events"), false)
		line([]byte(stateLine+"\r"), false)
		line([]byte(configLine), true) // cut: what follows might be another reading
		line([]byte(" \r"), false)
		line([]byte(`{"VM ID":"a","VM ID":"b"}`), false)
		line(nil, true)
		return tool.Result{}, nil
	})
	want := []Event{{}, {windowsID, "vm_state_changed", "running"}, {}, {}, {}}
	if diff := cmp.Diff(want, events); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMonitorSaysWhyItEnded(t *testing.T) {
	t.Parallel()
	const down, unknown = "Login failed: Unable to connect to Parallels Service.", "Unrecognized option: monitor-events"
	cases := map[string]struct {
		follow Follow
		code   string
		exit   int
		text   string
	}{
		"service down":                                {saying(tool.Result{ExitCode: 253}, nil, down), CodeServiceDown, 253, down},
		"service down, without words":                 {saying(tool.Result{ExitCode: 253}, nil), CodeServiceDown, 253, ""},
		"service went down":                           {saying(tool.Result{ExitCode: 1}, nil, "Waiting", stateLine, down), CodeServiceDown, 1, down},
		"old product":                                 {saying(tool.Result{ExitCode: 255}, nil, unknown), CodeUnrecognizedOption, 255, unknown},
		"old product, first words":                    {saying(tool.Result{ExitCode: 255}, nil, "prlctl", unknown), CodeUnrecognizedOption, 255, "prlctl"},
		"a tool that told an event knows the command": {saying(tool.Result{ExitCode: 255}, nil, stateLine, unknown), CodeToolFailed, 255, unknown},
		"edition": {saying(tool.Result{}, nil, "This feature is not available in this edition of Parallels Desktop."),
			CodeEdition, 0, "This feature is not available in this edition of Parallels Desktop."},
		"a user's text in broken JSON": {saying(tool.Result{ExitCode: 1}, nil, `{"VM ID":"`+unknown+`"`), CodeToolFailed, 1, ""},
		"end without a reason":         {saying(tool.Result{}, nil, stateLine), CodeToolFailed, 0, ""},
		"other failure":                {saying(tool.Result{ExitCode: 1}, nil, "Out of luck", "and more"), CodeToolFailed, 1, "Out of luck"},
		"no tool":                      {saying(tool.Result{ExitCode: -1}, &tool.Error{Code: tool.CodeMissing, Path: Prlctl}), tool.CodeMissing, 0, ""},
		"not verified":                 {saying(tool.Result{ExitCode: -1}, &tool.Error{Code: "tools_untrusted", Path: Prlctl}), "tools_untrusted", 0, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := heard(t, c.follow)
			var failed *Error
			if !errors.As(err, &failed) {
				t.Fatalf("%v is no *Error", err)
			}
			if failed.Code != c.code || failed.ExitCode != c.exit || failed.Text != c.text {
				t.Errorf("want %s, %d, %q, got %s, %d, %q", c.code, c.exit, c.text, failed.Code, failed.ExitCode, failed.Text)
			}
		})
	}
}

func TestMonitorEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	err := Monitor(ctx, func(ctx context.Context, _ *tool.Command, _ func([]byte, bool)) (tool.Result, error) {
		cancel()
		<-ctx.Done()
		return tool.Result{ExitCode: -1}, &tool.Error{Code: tool.CodeFailed, Path: Prlctl, Err: ctx.Err()}
	}, func(Event) {})
	if !errors.Is(err, context.Canceled) || errorCode(err) != CodeToolFailed {
		t.Errorf("got %v", err)
	}
}

// A flood is taken in, but not all of it is read as JSON; when it is over events
// are read again.
func TestH12_FloodOfLinesIsNotReadAsJSON(t *testing.T) {
	t.Parallel()
	long := []byte(`{"Event name":"vm_added","x":"` + strings.Repeat("x", maxEventLine-40) + `"}`)
	const lines = 20_000
	synctest.Test(t, func(t *testing.T) {
		var read, unread int
		follow := func(_ context.Context, _ *tool.Command, line func([]byte, bool)) (tool.Result, error) {
			for range lines {
				line(long, false)
				time.Sleep(10 * time.Microsecond)
			}
			if unread == 0 || read+unread != lines {
				t.Errorf("%d lines read, %d unread", read, unread)
			}
			time.Sleep(time.Second)
			before := read
			for range 100 {
				line([]byte(stateLine), false)
			}
			if read-before != 100 {
				t.Errorf("after the flood %d of 100 events were read", read-before)
			}
			return tool.Result{}, nil
		}
		began := time.Now()
		_ = Monitor(t.Context(), follow, func(event Event) {
			if event == (Event{}) {
				unread++
			} else {
				read++
			}
		})
		bytesRead := (read - 100) * len(long)
		if most := maxEventBytes + int(time.Since(began)/refillStep)*bytesEachStep; bytesRead > most {
			t.Errorf("%d bytes were read as JSON, at most %d should", bytesRead, most)
		}
	})
}

// What the tool says beside events is kept only up to a cap.
func TestH12_WordsBesideEventsAreCapped(t *testing.T) {
	t.Parallel()
	monitor := eventMonitor{handle: func(Event) {}, readBudget: maxEventBytes, refilledAt: time.Now()}
	for range 1000 {
		monitor.onLine(bytes.Repeat([]byte("x"), 100), false)
	}
	if len(monitor.messages) > maxMessage {
		t.Errorf("%d bytes are kept", len(monitor.messages))
	}
}

func BenchmarkParseEvent(b *testing.B) {
	for b.Loop() {
		if _, err := parseEvent([]byte(stateLine)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFlood is what a line costs of which there are too many.
func BenchmarkFlood(b *testing.B) {
	monitor := eventMonitor{handle: func(Event) {}, refilledAt: time.Now()}
	line := []byte(stateLine)
	for b.Loop() {
		monitor.onLine(line, false)
	}
}
