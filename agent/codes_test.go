package agent_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"prlagent/agent/protocol"
)

// Every code that a package below gives to its errors has a row in the one
// table of codes, whoever shows it.
func TestCodesOfTheLayersBelowHaveRows(t *testing.T) {
	t.Parallel()
	for folder, least := range map[string]int{
		"../prlctl": 20, "../platform": 1, "../platform/tool": 5, "../platform/plist": 7, "../store": 5,
	} {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			t.Parallel()
			codes := codesIn(t, folder)
			if len(codes) < least {
				t.Fatalf("only %d codes found: %s", len(codes), codes)
			}
			for _, code := range codes {
				if _, ok := protocol.Codes[protocol.Code(code)]; !ok {
					t.Errorf("%s has no row", code)
				}
			}
		})
	}
}

// codesIn are the values of a package's Code constants, and the first field of
// its coded errors.
func codesIn(t *testing.T, folder string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.ValueSpec:
				if strings.HasPrefix(node.Names[0].Name, "Code") && len(node.Values) == 1 {
					codes = append(codes, word(t, node.Values[0])...)
				}
			case *ast.CompositeLit:
				if kind, ok := node.Type.(*ast.Ident); ok && kind.Name == "codedError" && len(node.Elts) > 0 {
					codes = append(codes, word(t, node.Elts[0])...)
				}
			}
			return true
		})
	}
	return codes
}

func word(t *testing.T, expression ast.Expr) []string {
	t.Helper()
	literal, ok := expression.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return nil
	}
	text, err := strconv.Unquote(literal.Value)
	if err != nil {
		t.Fatal(err)
	}
	return []string{text}
}
