package protocol

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Every code has its row, and every row is of a code.
func TestCodesTableIsComplete(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "code.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := make(map[Code]bool)
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Code") {
			return true
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		if !ok {
			return true
		}
		word, err := strconv.Unquote(literal.Value)
		if err != nil {
			t.Fatal(err)
		}
		if declared[Code(word)] {
			t.Errorf("%s is declared twice", word)
		}
		declared[Code(word)] = true
		return true
	})
	if len(declared) < 80 {
		t.Fatalf("only %d codes found", len(declared))
	}
	for code := range declared {
		if !hasRow(code) {
			t.Errorf("%s has no row", code)
		}
	}
	for i, row := range Codes {
		if !declared[row.Code] {
			t.Errorf("the row of %s is of no code", row.Code)
		}
		if row.Code.Text() != Codes[i] {
			t.Errorf("%s has two rows", row.Code)
		}
	}
}

// hasRow reports whether the table has a code.
func hasRow(code Code) bool {
	return slices.ContainsFunc(Codes, func(row CodeText) bool { return row.Code == code })
}

var wordOfCode = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

func TestCodesHaveWords(t *testing.T) {
	t.Parallel()
	for _, text := range Codes {
		code := text.Code
		if !wordOfCode.MatchString(string(code)) {
			t.Errorf("%q is no lower_snake word", code)
		}
		if text.Severity != Info && text.Severity != Warning && text.Severity != Failure {
			t.Errorf("%s has the severity %q", code, text.Severity)
		}
		for what, sentence := range map[string]string{"text": text.Text, "remedy": text.Remedy} {
			empty := sentence == "" && what == "remedy"
			if !empty && (len(sentence) < 10 || !strings.HasSuffix(sentence, ".") && !strings.Contains(sentence, ": ")) {
				t.Errorf("the %s of %s is %q", what, code, sentence)
			}
		}
		if text.Severity == Failure && text.Remedy == "" {
			t.Errorf("%s is a failure that nobody can mend", code)
		}
	}
	if got := Code("of_the_future").Text(); got.Text != "of_the_future" || got.Severity != Warning {
		t.Errorf("a code without a row is shown as %+v", got)
	}
}

// A gap's reason and a problem's code are codes with a row.
func TestProblemsHaveCodes(t *testing.T) {
	t.Parallel()
	for _, kind := range Problems {
		if !hasRow(kind.Code) {
			t.Errorf("%s has the code %q", kind.Name, kind.Code)
		}
	}
}

// stamped is an error of a package that knows no Code.
type stamped string

func (s stamped) Error() string     { return "it failed" }
func (s stamped) ErrorCode() string { return string(s) }

func TestCodeOf(t *testing.T) {
	t.Parallel()
	plain := errors.New("plain")
	cases := []struct {
		name string
		err  error
		want Code
	}{
		{"no error", nil, ""},
		{"an error without a code", plain, ""},
		{"an error with one", stamped("tool_failed"), CodeToolFailed},
		{"wrapped", fmt.Errorf("list users: %w", stamped("plist_invalid")), CodePlistInvalid},
		{"joined", errors.Join(plain, fmt.Errorf("read: %w", stamped("store_io"))), CodeStoreIO},
		{"the first of several", errors.Join(stamped("tool_timeout"), stamped("store_io")), CodeToolTimeout},
		{"the outermost of several", fmt.Errorf("%w: %w", stamped("store_denied"), stamped("tool_failed")), CodeStoreDenied},
		{"a problem of the portal", fmt.Errorf("send: %w", NewProblem(ProblemRateLimited, "")), CodePortalBusy},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := CodeOf(c.err); got != c.want {
				t.Errorf("%v has the code %q, want %q", c.err, got, c.want)
			}
		})
	}
}
