package pkg

import (
	"debug/macho"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"prlagent/cmd/prlportal/pkg/pkgtest"
)

// Nothing but our own programs, for the right kind of Mac, of the version, becomes a
// package; and who is refused is told why and what to do.
func TestProgramsThatAreRefused(t *testing.T) {
	t.Parallel()
	const name = "darwin-arm64/prlagentd"
	change := func(edit func(*pkgtest.Program)) func(*testing.T, string) {
		return func(t *testing.T, folder string) {
			program := pkgtest.Programs()[name]
			edit(&program)
			writeFile(t, filepath.Join(folder, name), program.Encode())
		}
	}
	content := func(data []byte) func(*testing.T, string) {
		return func(t *testing.T, folder string) { writeFile(t, filepath.Join(folder, name), data) }
	}
	sample := pkgtest.Programs()[name].Encode()
	universal := join([]slice{{data: pkgtest.Programs()["darwin-amd64/prlagentd"].Encode()}, {data: sample}})
	for what, test := range map[string]struct {
		spoil func(t *testing.T, folder string)
		code  Code
	}{
		"missing": {func(t *testing.T, folder string) { remove(t, filepath.Join(folder, name)) }, CodeProgramMissing},
		"a link": {func(t *testing.T, folder string) {
			remove(t, filepath.Join(folder, name))
			if err := os.Symlink("/bin/sh", filepath.Join(folder, name)); err != nil {
				t.Fatal(err)
			}
		}, CodeProgramUnreadable},
		"a folder": {func(t *testing.T, folder string) {
			remove(t, filepath.Join(folder, name))
			writeFile(t, filepath.Join(folder, name, "x"), nil)
		}, CodeProgramUnreadable},
		"for Linux":               {content([]byte("\x7fELF\x02\x01\x01")), CodeNotMachO},
		"empty":                   {content(nil), CodeNotMachO},
		"a script":                {content([]byte("#!/bin/sh\n")), CodeNotMachO},
		"half a head":             {content(sample[:40]), CodeNotMachO},
		"a library":               {change(func(p *pkgtest.Program) { p.Type = macho.TypeDylib }), CodeNotMachO},
		"universal already":       {content(universal), CodeAlreadyUniversal},
		"for Intel":               {change(func(p *pkgtest.Program) { p.CPU = macho.CpuAmd64 }), CodeWrongArchitecture},
		"for another processor":   {change(func(p *pkgtest.Program) { p.CPU = macho.CpuPpc64 }), CodeWrongArchitecture},
		"another program of ours": {change(func(p *pkgtest.Program) { p.Path = "prlagent/cmd/prlagent" }), CodeNotOurProgram},
		"a program of others":     {change(func(p *pkgtest.Program) { p.Path = "example.com/prlagentd" }), CodeNotOurProgram},
		"without a signature":     {change(func(p *pkgtest.Program) { p.Unsigned = true }), CodeUnsigned},
		"another version":         {change(func(p *pkgtest.Program) { p.Version = "1.2.4" }), CodeOtherVersion},
		"a longer version":        {change(func(p *pkgtest.Program) { p.Version = "1.2.30" }), CodeOtherVersion},
		"a version of more parts": {change(func(p *pkgtest.Program) { p.Version = "1.2.3.4" }), CodeOtherVersion},
		"a version with a suffix": {change(func(p *pkgtest.Program) { p.Version = "1.2.3-rc1" }), CodeOtherVersion},
		"another commit":          {change(func(p *pkgtest.Program) { p.Revision = "123456" }), CodeOtherSource},
	} {
		folder := pkgtest.Write(t, pkgtest.Programs())
		test.spoil(t, folder)
		files, err := Build(Options{Programs: folder, Version: pkgtest.Version})
		expectRefusal(t, what, files, err, test.code)
	}
}

func writeFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o755); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
}

func expectRefusal(t *testing.T, what string, files []File, err error, code Code) {
	t.Helper()
	var refusal *Refusal
	if len(files) != 0 || !errors.As(err, &refusal) || refusal.Code != code || refusal.Remedy() == "" || !strings.Contains(err.Error(), "("+string(code)+")") {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

func TestVersionsOfPackages(t *testing.T) {
	t.Parallel()
	folder := t.TempDir() // so that what is no version is refused before the programs are missed
	for version, code := range map[string]Code{
		"1.2": CodeProgramMissing, "0.0.1": CodeProgramMissing, "10.20.30.40": CodeProgramMissing, "999999999.0": CodeProgramMissing,
		"": CodeInvalidVersion, "1": CodeInvalidVersion, "1.": CodeInvalidVersion, ".1": CodeInvalidVersion, "1..2": CodeInvalidVersion, "v1.2": CodeInvalidVersion,
		"1.2-rc1": CodeInvalidVersion, "01.2": CodeInvalidVersion, "1.2.3.4.5": CodeInvalidVersion, "1000000000.0": CodeInvalidVersion, "devel": CodeInvalidVersion,
		"1.2\n": CodeInvalidVersion, "1.2\n1.3": CodeInvalidVersion, "1.2;id": CodeInvalidVersion, "１.２": CodeInvalidVersion, "$(id).1": CodeInvalidVersion,
	} {
		files, err := Build(Options{Programs: folder, Version: version})
		expectRefusal(t, version, files, err, code)
	}
	files, err := Build(Options{Programs: folder, Version: "1.1", AllowDowngradeTo: "1.2"})
	expectRefusal(t, "permission for another version", files, err, CodeOtherDowngrade)
}

// Every code has a remedy, and there is no remedy without a code.
func TestCodesHaveRemedies(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "refusal.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	codes := 0
	ast.Inspect(file, func(node ast.Node) bool {
		if spec, is := node.(*ast.ValueSpec); is && len(spec.Names) == 1 && strings.HasPrefix(spec.Names[0].Name, "Code") {
			codes++
			value := strings.Trim(spec.Values[0].(*ast.BasicLit).Value, `"`)
			if remedies[Code(value)] == "" {
				t.Errorf("%s has no remedy", value)
			}
		}
		return true
	})
	if codes != len(remedies) || codes < 10 {
		t.Errorf("%d codes, %d remedies", codes, len(remedies))
	}
}
