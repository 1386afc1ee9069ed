package agent_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"prlagent/agent"
	"prlagent/agent/protocol"
)

// Every code that an error can carry has a row in the one table of codes that
// says what it means and what to do, whichever package the error is from.
func TestCodesOfErrorsHaveWords(t *testing.T) {
	t.Parallel()
	least := map[string]int{
		"../prlctl": 20, "../platform": 1, "../platform/tool": 5, "../platform/plist": 7, "../store": 5,
		"checkin": 20, "localapi": 5,
	}
	packages := parseTree(t)
	for folder := range least {
		if packages[folder] == nil {
			t.Errorf("%s is not there", folder)
		}
	}
	constants := packages["protocol"].constants(t)
	for folder, parsed := range packages {
		codes := parsed.codes(t, constants)
		if len(codes) < least[folder] {
			t.Errorf("%s has only %d codes: %s", folder, len(codes), codes)
		}
		for _, code := range codes {
			wantWords(t, folder, code)
		}
	}
	for _, kind := range protocol.Problems {
		wantWords(t, "problem "+kind.Name, string(kind.Code))
	}
}

func wantWords(t *testing.T, where, code string) {
	t.Helper()
	row := protocol.Code(code).Text()
	if !agent.HasRow(row.Code) || row.Text == "" || row.Remedy == "" {
		t.Errorf("%s: the code %s has the row %+v, want a text and a remedy", where, code, row)
	}
}

// An error type with a code says so by the one method that protocol.CodeOf
// looks for, and nobody else looks for codes.
func TestErrorsWithACodeSaySo(t *testing.T) {
	t.Parallel()
	found := 0
	for folder, parsed := range parseTree(t) {
		for name := range parsed.withCode {
			if !slices.Contains(parsed.methods[name], "Error") {
				continue
			}
			found++
			if !slices.Contains(parsed.methods[name], "ErrorCode") {
				t.Errorf("%s: the error type %s has a code and no method ErrorCode", folder, name)
			}
		}
		if parsed.findsCodes && folder != "protocol" {
			t.Errorf("%s has a CodeOf of its own", folder)
		}
	}
	if found < 6 {
		t.Errorf("only %d error types with a code found", found)
	}
}

// parsedPackage is what these tests know of one folder of Go files.
type parsedPackage struct {
	files      []*ast.File
	methods    map[string][]string // by the receiver's type
	withCode   map[string]bool     // structs that hold a code
	findsCodes bool                // there is a function CodeOf
}

// parseTree parses everything but tests and the simulated Mac, by folder.
func parseTree(t *testing.T) map[string]*parsedPackage {
	t.Helper()
	packages := make(map[string]*parsedPackage)
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "testdata" || entry.Name() == "prlsim"):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		folder := strings.TrimPrefix(filepath.Dir(path), "../agent/")
		if packages[folder] == nil {
			packages[folder] = &parsedPackage{methods: make(map[string][]string), withCode: make(map[string]bool)}
		}
		packages[folder].add(file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return packages
}

func (p *parsedPackage) add(file *ast.File) {
	p.files = append(p.files, file)
	ast.Inspect(file, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.FuncDecl:
			if node.Recv == nil {
				p.findsCodes = p.findsCodes || node.Name.Name == "CodeOf"
				break
			}
			receiver := typeName(node.Recv.List[0].Type)
			p.methods[receiver] = append(p.methods[receiver], node.Name.Name)
		case *ast.TypeSpec:
			if fields, ok := node.Type.(*ast.StructType); ok && holdsCode(fields) {
				p.withCode[node.Name.Name] = true
			}
		}
		return true
	})
}

func holdsCode(fields *ast.StructType) bool {
	return slices.ContainsFunc(fields.Fields.List, func(field *ast.Field) bool {
		kind := typeName(field.Type)
		return (kind == "string" || kind == "Code") && slices.ContainsFunc(field.Names, func(name *ast.Ident) bool {
			return strings.EqualFold(name.Name, "code")
		})
	})
}

// typeName is the name of a type, without pointer and package.
func typeName(expression ast.Expr) string {
	switch expression := expression.(type) {
	case *ast.StarExpr:
		return typeName(expression.X)
	case *ast.SelectorExpr:
		return expression.Sel.Name
	case *ast.Ident:
		return expression.Name
	}
	return ""
}

func (p *parsedPackage) hasCodedError() bool {
	for _, methods := range p.methods {
		if slices.Contains(methods, "ErrorCode") {
			return true
		}
	}
	return false
}

// codes are the values of the package's own Code constants and, if it has an
// error type with a code, the first fields of its coded errors and the codes of
// the contract that it mentions.
func (p *parsedPackage) codes(t *testing.T, contract map[string]string) []string {
	t.Helper()
	if slices.ContainsFunc(p.files, func(file *ast.File) bool { return file.Name.Name == "protocol" }) {
		return nil // the table itself; what carries its codes is Problem
	}
	var codes []string
	for _, value := range p.constants(t) {
		codes = append(codes, value)
	}
	if !p.hasCodedError() {
		return codes
	}
	for _, file := range p.files {
		ast.Inspect(file, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.CompositeLit:
				if typeName(node.Type) == "codedError" && len(node.Elts) > 0 {
					codes = append(codes, word(t, node.Elts[0])...)
				}
			case *ast.SelectorExpr:
				if value, ok := contract[node.Sel.Name]; ok && typeName(node.X) == "protocol" {
					codes = append(codes, value)
				}
			}
			return true
		})
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// constants are the values of the package's Code constants, by name.
func (p *parsedPackage) constants(t *testing.T) map[string]string {
	t.Helper()
	values := make(map[string]string)
	for _, file := range p.files {
		ast.Inspect(file, func(node ast.Node) bool {
			spec, ok := node.(*ast.ValueSpec)
			if !ok || !strings.HasPrefix(spec.Names[0].Name, "Code") || len(spec.Values) != 1 {
				return true
			}
			for _, value := range word(t, spec.Values[0]) {
				values[spec.Names[0].Name] = value
			}
			return true
		})
	}
	return values
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
