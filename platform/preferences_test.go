package platform

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"prlagent/platform/plist"
	"prlagent/platform/tool"
)

const testDomain = "com.parallels.Parallels Desktop"

// UPD-08, CUS-01, CUS-02: a key is one literal argument, and a value one fragment
// with its type.
func TestUPD_08_PreferencesAreWrittenWithTheirType(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, key string
		value     any
		want      string
	}{
		{"a text", "Application preferences.VolumeLicenseUpdatePolicy", "None", "<string>None</string>"},
		{"UPD-05 a number", "Application preferences.Check for updates", 2, "<integer>2</integer>"},
		{"UPD-06 a truth", "Application preferences.Download updates automatically", false, "<false/>"},
		{"CUS-02 an empty text", "SupportRequestUrl", "", "<string/>"},
		{"what XML escapes", "SupportRequestUrl", `https://x.example/?a=1&b=<2>"'`, "<string>https://x.example/?a=1&amp;b=&lt;2&gt;&#34;&#39;</string>"},
		{"a key with braces", "{f11d8098-10fe-40d9-871e-27af1e66161e}.0.Console $(id) `id`", true, "<true/>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			runner := &recordingRunner{}
			if err := NewPreferences(runner, testDomain).Write(context.Background(), c.key, c.value); err != nil {
				t.Fatal(err)
			}
			want := []tool.Command{{Path: "/usr/bin/defaults", Args: []string{"write", testDomain, c.key, c.want}, Limit: preferencesLimit, MaxOutput: plist.MaxSize}}
			if diff := cmp.Diff(want, runner.asked); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPreferencesThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, domain, key string
		value             any
	}{
		{"a key that is an option", testDomain, "-array", "x"},
		{"no key", testDomain, "", "x"},
		{"a key with a line end", testDomain, "a\nb", "x"},
		{"a key that is no text", testDomain, "a\xff", "x"},
		{"a long key", testDomain, strings.Repeat("k", 513), "x"},
		{"a long value", testDomain, "k", strings.Repeat("v", 9<<10)},
		{"a value with a control character", testDomain, "k", "\x01"},
		{"a value of another type", testDomain, "k", []any{"x"}},
		{"a dictionary", testDomain, "k", map[string]any{"a": "b"}},
		{"all domains", "-g", "k", "x"},
		{"a path", "/Library/Preferences/x", "k", "x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			runner := &recordingRunner{}
			err := NewPreferences(runner, c.domain).Write(context.Background(), c.key, c.value)
			if err == nil || len(runner.asked) > 0 {
				t.Errorf("error %v, ran %v", err, runner.asked)
			}
		})
	}
}

func TestPreferencesAreExported(t *testing.T) {
	t.Parallel()
	empty, err := plist.EncodeXML(map[string]any{})
	if err != nil {
		t.Fatal(err)
	}
	full, err := plist.EncodeXML(map[string]any{"a.b c": 1, "{x}": "y"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		result tool.Result
		err    error
		want   map[string]any
		code   string
	}{
		{"a domain", tool.Result{Stdout: full}, nil, map[string]any{"a.b c": uint64(1), "{x}": "y"}, ""},
		{"an empty one", tool.Result{Stdout: empty}, nil, map[string]any{}, ""},
		{"one that is not there", tool.Result{ExitCode: 1, Stderr: []byte("Domain com.x does not exist\n")}, nil, map[string]any{}, ""},
		{"a refusal", tool.Result{ExitCode: 1, Stderr: []byte("no")}, nil, nil, tool.CodeFailed},
		{"nothing", tool.Result{}, nil, nil, plist.CodeEmpty},
		{"a text", tool.Result{Stdout: []byte("secret of the user")}, nil, nil, plist.CodeInvalid},
		{"a list", tool.Result{Stdout: []byte("<plist><array/></plist>")}, nil, nil, plist.CodeWrongType},
		{"too much", tool.Result{}, &tool.Error{Code: tool.CodeTooLarge, Err: errors.New("x")}, nil, tool.CodeTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			runner := &recordingRunner{result: c.result, err: c.err}
			got, err := NewPreferences(runner, testDomain).Export(context.Background())
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			var coded interface{ ErrorCode() string }
			if c.code == "" != (err == nil) || err != nil && (!errors.As(err, &coded) || coded.ErrorCode() != c.code || strings.Contains(err.Error(), "secret")) {
				t.Errorf("error %v, want %q", err, c.code)
			}
			if args := strings.Join(runner.asked[0].Args, "|"); args != "export|"+testDomain+"|-" {
				t.Errorf("ran %s", args)
			}
		})
	}
}

// recordingRunner gives one answer to everything.
type recordingRunner struct {
	asked  []tool.Command
	result tool.Result
	err    error
}

func (r *recordingRunner) Run(_ context.Context, c *tool.Command) (tool.Result, error) {
	r.asked = append(r.asked, *c)
	return r.result, r.err
}
