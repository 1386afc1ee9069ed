package prlctl

import (
	"context"
	"errors"
	"strings"
	"testing"

	"prlagent/platform/tool"
)

func TestParseVersion(t *testing.T) {
	t.Parallel()
	cases := []struct {
		text string
		want Version
	}{
		{"26.3.2 (57398)", Version{26, 3, 2, 57398}},
		{"26.4.0-57513", Version{26, 4, 0, 57513}},
		{"Desktop 26.3.2-57398", Version{26, 3, 2, 57398}},
		{"prlctl version 14.0.1 (45154)\n", Version{14, 0, 1, 45154}},
		{"27.0.0", Version{27, 0, 0, 0}},
		{"20.1", Version{20, 1, 0, 0}},
	}
	for _, c := range cases {
		if got, err := ParseVersion(c.text); err != nil || got != c.want {
			t.Errorf("%q: want %v, got %v, %v", c.text, c.want, got, err)
		}
	}
	for _, text := range []string{
		"", "26", "v", "26.x.1", "26.3.2 (57398) beta", "1.2.3.4", "x26.3.2", "123456.0.0", "26.3.2 (9999999999)",
		strings.Repeat(" ", maxVersionText) + "26.3.2",
	} {
		if got, err := ParseVersion(text); !errors.Is(err, errNotVersion) {
			t.Errorf("%q: want an error, got %v", text, got)
		}
	}
}

func TestVersionOrder(t *testing.T) {
	t.Parallel()
	ordered := []Version{{}, {19, 4, 1, 54985}, {20, 0, 0, 1}, {20, 1, 0, 0}, {26, 1, 0, 57000}, {26, 1, 0, 57001}, {27, 0, 0, 0}}
	for i, low := range ordered {
		for j, high := range ordered {
			want := 0
			if i < j {
				want = -1
			}
			if i > j {
				want = 1
			}
			if got := low.Compare(high); got != want {
				t.Errorf("%v and %v: want %d, got %d", low, high, want, got)
			}
		}
	}
	if got := (Version{26, 1, 0, 0}).Compare(Version{26, 1, 0, 57000}); got != 0 {
		t.Errorf("an unknown build was compared: %d", got)
	}
}

func TestVersionText(t *testing.T) {
	t.Parallel()
	want := map[string]Version{"26.3.2 (57398)": {26, 3, 2, 57398}, "20.1.0": {20, 1, 0, 0}, "": {}}
	for text, version := range want {
		if got := version.String(); got != text {
			t.Errorf("want %q, got %q", text, got)
		}
	}
}

func TestVersionCommand(t *testing.T) {
	t.Parallel()
	cases := map[string]Version{
		"version.txt":                  {26, 3, 2, 57398},
		"version-standard-edition.txt": {14, 0, 1, 45154},
	}
	for name, want := range cases {
		client := New(&scripted{result: tool.Result{Stdout: sample(t, name)}})
		if got, err := client.Version(context.Background()); err != nil || got != want {
			t.Errorf("%s: want %v, got %v, %v", name, want, got, err)
		}
	}
}
