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
		code  Reason
	}{
		"missing": {func(t *testing.T, folder string) { remove(t, filepath.Join(folder, name)) }, ReasonProgramMissing},
		"a link": {func(t *testing.T, folder string) {
			remove(t, filepath.Join(folder, name))
			if err := os.Symlink("/bin/sh", filepath.Join(folder, name)); err != nil {
				t.Fatal(err)
			}
		}, ReasonProgramUnreadable},
		"a folder": {func(t *testing.T, folder string) {
			remove(t, filepath.Join(folder, name))
			writeFile(t, filepath.Join(folder, name, "x"), nil)
		}, ReasonProgramUnreadable},
		"for Linux":               {content([]byte("\x7fELF\x02\x01\x01")), ReasonNotMachO},
		"empty":                   {content(nil), ReasonNotMachO},
		"a script":                {content([]byte("#!/bin/sh\n")), ReasonNotMachO},
		"half a head":             {content(sample[:40]), ReasonNotMachO},
		"a library":               {change(func(p *pkgtest.Program) { p.Type = macho.TypeDylib }), ReasonNotMachO},
		"universal already":       {content(universal), ReasonAlreadyUniversal},
		"for Intel":               {change(func(p *pkgtest.Program) { p.CPU = macho.CpuAmd64 }), ReasonWrongArchitecture},
		"for another processor":   {change(func(p *pkgtest.Program) { p.CPU = macho.CpuPpc64 }), ReasonWrongArchitecture},
		"another program of ours": {change(func(p *pkgtest.Program) { p.Path = "prlagent/cmd/prlagent" }), ReasonNotOurProgram},
		"a program of others":     {change(func(p *pkgtest.Program) { p.Path = "example.com/prlagentd" }), ReasonNotOurProgram},
		"without a signature":     {change(func(p *pkgtest.Program) { p.Unsigned = true }), ReasonUnsigned},
		"another version":         {change(func(p *pkgtest.Program) { p.Version = "1.2.4" }), ReasonOtherVersion},
		"a longer version":        {change(func(p *pkgtest.Program) { p.Version = "1.2.30" }), ReasonOtherVersion},
		"a version of more parts": {change(func(p *pkgtest.Program) { p.Version = "1.2.3.4" }), ReasonOtherVersion},
		"a version with a suffix": {change(func(p *pkgtest.Program) { p.Version = "1.2.3-rc1" }), ReasonOtherVersion},
		"another commit":          {change(func(p *pkgtest.Program) { p.Revision = "123456" }), ReasonOtherSource},
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

func expectRefusal(t *testing.T, what string, files []File, err error, code Reason) {
	t.Helper()
	var refusal *Refusal
	if len(files) != 0 || !errors.As(err, &refusal) || refusal.Reason != code || refusal.Remedy() == "" || !strings.Contains(err.Error(), "("+string(code)+")") {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

func TestVersionsOfPackages(t *testing.T) {
	t.Parallel()
	folder := t.TempDir() // so that what is no version is refused before the programs are missed
	for version, code := range map[string]Reason{
		"1.2": ReasonProgramMissing, "0.0.1": ReasonProgramMissing, "10.20.30.40": ReasonProgramMissing, "999999999.0": ReasonProgramMissing,
		"": ReasonInvalidVersion, "1": ReasonInvalidVersion, "1.": ReasonInvalidVersion, ".1": ReasonInvalidVersion, "1..2": ReasonInvalidVersion, "v1.2": ReasonInvalidVersion,
		"1.2-rc1": ReasonInvalidVersion, "01.2": ReasonInvalidVersion, "1.2.3.4.5": ReasonInvalidVersion, "1000000000.0": ReasonInvalidVersion, "devel": ReasonInvalidVersion,
		"1.2\n": ReasonInvalidVersion, "1.2\n1.3": ReasonInvalidVersion, "1.2;id": ReasonInvalidVersion, "１.２": ReasonInvalidVersion, "$(id).1": ReasonInvalidVersion,
	} {
		files, err := Build(Options{Programs: folder, Version: version})
		expectRefusal(t, version, files, err, code)
	}
	files, err := Build(Options{Programs: folder, Version: "1.1", AllowDowngradeTo: "1.2"})
	expectRefusal(t, "permission for another version", files, err, ReasonOtherDowngrade)
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
		if spec, is := node.(*ast.ValueSpec); is && len(spec.Names) == 1 && strings.HasPrefix(spec.Names[0].Name, "Reason") {
			codes++
			value := strings.Trim(spec.Values[0].(*ast.BasicLit).Value, `"`)
			if remedies[Reason(value)] == "" {
				t.Errorf("%s has no remedy", value)
			}
		}
		return true
	})
	if codes != len(remedies) || codes < 10 {
		t.Errorf("%d codes, %d remedies", codes, len(remedies))
	}
}
