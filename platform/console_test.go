package platform

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestConsole(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		text string
		want Console
	}{
		"one user":                        {sample(t, "console-one.txt"), Console{"alice", 501, []uint32{501}}},
		"two users, one switched out":     {sample(t, "console-two.txt"), Console{"bob", 502, []uint32{501, 502}}},
		"in the middle of a fast switch":  {sample(t, "console-switching.txt"), Console{Sessions: []uint32{501}}},
		"login window":                    {sample(t, "console-loginwindow.txt"), Console{}},
		"login window over a session":     {sample(t, "console-loginwindow-with-session.txt"), Console{Sessions: []uint32{501}}},
		"setup assistant":                 {sample(t, "console-setup.txt"), Console{}},
		"nobody since the start":          {sample(t, "console-nobody.txt"), Console{}},
		"user name with a line break":     {sample(t, "console-forged-name.txt"), Console{"alice", 501, []uint32{501}}},
		"user name that forges a session": {sample(t, "console-forged-session.txt"), Console{Sessions: []uint32{501, 502}}},
		"with prompts":                    {"> " + strings.ReplaceAll(sample(t, "console-one.txt"), "\n", "\r\n") + "> ", Console{"alice", 501, []uint32{501}}},
		"no sessions named":               {"<dictionary> {\n  Name : alice\n  UID : 501\n}\n", Console{User: "alice", UID: 501}},
		"without the outer braces":        {"Name : alice\nUID : 501\n", Console{User: "alice", UID: 501}},
		"uid of nobody":                   {"Name : alice\nUID : -2\n", Console{}},
		"cut short":                       {sample(t, "console-one.txt")[:100], Console{}},
		"no output":                       {"", Console{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runner := &fakeRunner{answers: map[string]answer{"/usr/sbin/scutil": {stdout: c.text}}}
			console, err := New("", runner).Console(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, console); diff != "" {
				t.Errorf("console (-want +got):\n%s", diff)
			}
			if got := string(runner.asked[0].Stdin); got != "show State:/Users/ConsoleUser\nquit\n" {
				t.Errorf("scutil was fed %q", got)
			}
		})
	}
	t.Run("scutil fails", func(t *testing.T) {
		t.Parallel()
		runner := &fakeRunner{answers: map[string]answer{"/usr/sbin/scutil": {exit: 1}}}
		if _, err := New("", runner).Console(t.Context()); err == nil {
			t.Error("no error")
		}
	})
}

func TestParseDictionary(t *testing.T) {
	t.Parallel()
	value := func(text string, path ...string) string {
		inner := parseDictionary(text)
		for _, key := range path[:len(path)-1] {
			inner = inner.nested[key]
		}
		return inner.values[path[len(path)-1]]
	}
	cases := map[string]struct {
		text string
		path []string
		want string
	}{
		"first of equal keys":           {"a : 1\na : 2", []string{"a"}, "1"},
		"first of equal dictionaries":   {"d : <dictionary> {\na : 1\n}\nd : <dictionary> {\na : 2\nb : 3\n}\nafter : 4", []string{"d", "a"}, "1"},
		"what follows a skipped one":    {"d : <array> {\n}\nd : <array> {\nx : <array> {\n}\n}\nafter : 4", []string{"after"}, "4"},
		"inside a skipped one":          {"d : <array> {\n}\nd : <array> {\nb : 3\n}", []string{"b"}, ""},
		"too many closing braces":       {"}\n}\na : 1", []string{"a"}, "1"},
		"value with a colon":            {"a : b : c", []string{"a"}, "b : c"},
		"value with spaces around":      {"  a :   b  ", []string{"a"}, "b"},
		"empty value":                   {"a : \nb : 1", []string{"b"}, "1"},
		"deeper than anything we read":  {strings.Repeat("d : <array> {\n", 1000) + strings.Repeat("}\n", 1000) + "a : 1", []string{"a"}, "1"},
		"as deep, with the outer brace": {"<dictionary> {\na : 1\n" + strings.Repeat("d : <array> {\n", 1000), []string{"a"}, "1"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := value(c.text, c.path...); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func FuzzConsole(f *testing.F) {
	for _, name := range []string{"one", "two", "loginwindow", "forged-name", "forged-session", "nobody"} {
		f.Add(sample(f, "console-"+name+".txt"))
	}
	f.Fuzz(func(t *testing.T, text string) {
		console := consoleFrom(parseDictionary(text))
		if (console.User == "") != (console.UID == 0) || console.UID != 0 && console.UID < firstUserUID {
			t.Errorf("got user %q with uid %d", console.User, console.UID)
		}
		for _, uid := range console.Sessions {
			if uid < firstUserUID {
				t.Errorf("session of uid %d", uid)
			}
		}
	})
}
