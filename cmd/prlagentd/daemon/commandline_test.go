package daemon

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// What a person sees of every command; hidden ones are not in the list.
func TestHelp(t *testing.T) {
	t.Parallel()
	for _, c := range (&invocation{}).commands() {
		name := "prlagentd"
		if c.name != "" {
			name = c.name
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden := filepath.Join("testdata", "help", name+".txt")
			shown := output(t, strings.Fields(c.name+" --help")...)
			if *update {
				if err := os.WriteFile(golden, []byte(shown), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if shown != string(want) {
				t.Errorf("got\n%s\nwant\n%s", shown, want)
			}
			if asked := output(t, strings.Fields("help "+c.name)...); asked != shown {
				t.Errorf("help shows\n%s\n--help shows\n%s", asked, shown)
			}
			if c.name == "" && output(t) != shown {
				t.Error("without any word it shows no help")
			}
			if c.example == "" && !c.hidden {
				t.Error("it has no example")
			}
		})
	}
}

// output gives what a command prints that must succeed.
func output(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := runProgram(args, &stdout, &stderr); code != exitOK || stderr.Len() > 0 {
		t.Fatalf("%q ends with %d: %s", args, code, stderr.String())
	}
	return stdout.String()
}

func TestVersionIsPrintedBothWays(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"version"}, {"--version"}, {"--root", "run", "version"}, {"version", "--json=false"}} {
		if printed := output(t, args...); !strings.HasPrefix(printed, "prlagentd ") {
			t.Errorf("%q prints %q", args, printed)
		}
	}
	for _, args := range [][]string{{"version", "--json"}, {"--json", "version"}, {"version", "--json=true"}, {"--root=x", "version", "--config", "y", "--json"}} {
		if printed := output(t, args...); !strings.HasPrefix(printed, `{"arch":`) {
			t.Errorf("%q prints %q", args, printed)
		}
	}
}

func TestWrongUsage(t *testing.T) {
	t.Parallel()
	cases := []struct{ typed, complaint string }{
		{"nonsense", `"nonsense" makes no sense after "prlagentd"`},
		{"-", `"-" makes no sense after "prlagentd"`},
		{"-- run", `"run" makes no sense after "prlagentd"`},
		{"run more", `"more" makes no sense after "prlagentd run"`},
		{"run -- --root", `"--root" makes no sense after "prlagentd run"`},
		{"--version more", `"more" makes no sense after "prlagentd"`},
		{"version run", `"run" makes no sense after "prlagentd version"`},
		{"help NONSENSE", `there is no command "NONSENSE"`},
		{"help run more", `there is no command "run more"`},
		{"run --nonsense", "unknown flag: --nonsense"},
		{"run --nonsense=secret", "unknown flag: --nonsense"},
		{"run -root x", "unknown flag: -root"},
		{"run -x", "unknown flag: -x"},
		{"run -hx", "unknown flag: -hx"},
		{"run ---root", "unknown flag: ---root"},
		{"run --json", "unknown flag: --json"},
		{"--json", "unknown flag: --json"},
		{"version --version", "unknown flag: --version"},
		{"--version run", "unknown flag: --version"},
		{"--root", "flag needs an argument: --root"},
		{"run --log-level", "flag needs an argument: --log-level"},
		{"version --json=x", `invalid argument "x" for "--json" flag: invalid syntax`},
	}
	for _, c := range cases {
		t.Run(c.typed, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			code := runProgram(strings.Fields(c.typed), &stdout, &stderr)
			want := "prlagentd: " + c.complaint + ": wrong usage\n  → See 'prlagentd help'.\n"
			if code != exitUsage || stderr.String() != want || stdout.Len() > 0 {
				t.Errorf("exit code %d with %q, want %q", code, stderr.String(), want)
			}
		})
	}
}

// A flag counts wherever it stands, and more than its environment twin.
func TestFlagsAndTheirTwins(t *testing.T) {
	t.Setenv("PRLAGENT_ROOT", "twin")
	t.Setenv("PRLAGENT_CONFIG", "twin")
	t.Setenv("PRLAGENT_LOG_LEVEL", "twin")
	cases := []struct{ typed, root, config, logLevel string }{
		{"version", "twin", "twin", "twin"},
		{"version --root a --config=b --log-level c", "a", "b", "c"},
		{"--root a --config=b version --log-level c", "a", "b", "c"},
		{"--root version version", "version", "twin", "twin"},
		{"version --root --config", "--config", "twin", "twin"},
		{"version --config=", "twin", "", "twin"},
		{"version --config=a=b --root a --root b", "b", "a=b", "twin"},
	}
	for _, c := range cases {
		t.Run(c.typed, func(t *testing.T) {
			i := &invocation{stdout: new(bytes.Buffer)}
			if err := i.execute(strings.Fields(c.typed)); err != nil {
				t.Fatal(err)
			}
			if i.root != c.root || i.config != c.config || i.logLevel != c.logLevel {
				t.Errorf("got %q, %q, %q", i.root, i.config, i.logLevel)
			}
		})
	}
}
