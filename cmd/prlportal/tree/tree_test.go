package tree_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/tree"
)

var update = flag.Bool("update", false, "write the golden files anew")

// wantFile is the file of a case that has what is found.
const wantFile = "want"

// Each file of testdata/lint is a folder with something wrong, and what is found.
func TestFindings(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("testdata", "lint", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no cases: %v", err)
	}
	found := make(map[string]bool)
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		folder, want := folderOf(archive)
		read := mustRead(t, folder)
		got := wordsOf(read.Findings)
		for _, finding := range read.Findings {
			found[finding.Rule] = true
		}
		if *update {
			archive.Files = append(slices.DeleteFunc(archive.Files, func(f txtar.File) bool { return f.Name == wantFile }),
				txtar.File{Name: wantFile, Data: []byte(got)})
			if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got != want {
			t.Errorf("%s: found\n%s\nwant\n%s", file, got, want)
		}
	}
	for _, rule := range tree.Rules {
		if !found[rule.Name] && rule.Name != "size" && rule.Name != "no_file" {
			t.Errorf("no case breaks the rule %s", rule.Name)
		}
		if !strings.HasSuffix(rule.Doc, ".") {
			t.Errorf("the rule %s has no sentence", rule.Name)
		}
	}
}

func folderOf(archive *txtar.Archive) (folder fstest.MapFS, want string) {
	folder = make(fstest.MapFS)
	for _, file := range archive.Files {
		if file.Name == wantFile {
			want = string(file.Data)
			continue
		}
		folder[file.Name] = &fstest.MapFile{Data: file.Data}
	}
	return folder, want
}

func wordsOf(findings []tree.Finding) string {
	var words strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&words, "%s:%d:%d: %s: %s: %s: %s\n", f.File, f.Line, f.Column, f.Severity, f.Rule, f.Path, f.Message)
		if f.Doc != "" {
			fmt.Fprintf(&words, "\t%s\n", f.Doc)
		}
	}
	return words.String()
}

func mustRead(t testing.TB, folder fs.FS) tree.Tree {
	t.Helper()
	read, err := tree.Read(folder)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// files makes a folder of names and contents, with a site and a group.
func files(pairs ...string) fstest.MapFS {
	folder := fstest.MapFS{
		"site.yaml":           {Data: []byte("primary_group: default\n")},
		"groups/default.yaml": {Data: []byte("name: Default\n")},
	}
	for i := 0; i < len(pairs); i += 2 {
		folder[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return folder
}

// What is published is what the agent reads, with the image in its place, in one
// form whatever the order of the file is.
func TestAPolicyIsPublishedInOneForm(t *testing.T) {
	t.Parallel()
	const image = "name: Windows\nimages:\n  arm64: {url: https://images.example.com/w.zip, format: zip, sha256: " +
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}\n"
	one := mustRead(t, files("golden-images/windows.yaml", image, "policies/finance.yaml",
		"name: Finance\ngroups: [default]\ngolden_image: windows\nvm_settings:\n  other:\n    clipboard: disconnect # a remark\n    max_cpus: 4\n"))
	two := mustRead(t, files("golden-images/windows.yaml", image, "policies/finance.yaml",
		"vm_settings: {other: {max_cpus: 4, \"clipboard\": 'disconnect'}}\ngolden_image: windows\nname: Finance\nschema: 1\ngroups:\n- default\n"))
	if one.Has(tree.Failure) || two.Has(tree.Failure) {
		t.Fatal(wordsOf(append(one.Findings, two.Findings...)))
	}
	first, second := one.Policies[0].Encode(7), two.Policies[0].Encode(7)
	if !bytes.Equal(first, second) {
		t.Errorf("%s\n%s", first, second)
	}
	document, err := policy.Parse(first)
	if err != nil {
		t.Fatal(err)
	}
	if document.PolicyID != "finance" || document.Revision != 7 || document.GoldenImage.Name != "Windows" || document.VMSettings.Other.Settings["max_cpus"] != "4" {
		t.Errorf("%+v", document)
	}
}

func TestPolicyLimits(t *testing.T) {
	t.Parallel()
	half := "description: " + strings.Repeat("a", protocol.MaxPolicy/2) + "\n"
	for name, folder := range map[string]fstest.MapFS{
		"a file beyond the cap": files("policies/a.yaml", "name: "+strings.Repeat("a", protocol.MaxPolicy)),
		"a policy with its image": files("policies/a.yaml", "name: a\ngolden_image: i\n"+half, "golden-images/i.yaml",
			"name: i\nimages: {arm64: {url: https://images.example.com/i.zip, format: zip, sha256: "+strings.Repeat("a", 64)+"}}\n"+half),
	} {
		read := mustRead(t, folder)
		if !slices.ContainsFunc(read.Findings, func(f tree.Finding) bool { return f.Rule == "size" && f.File == "policies/a.yaml" }) {
			t.Errorf("%s: found\n%.500s", name, wordsOf(read.Findings))
		}
	}
	crowded := files()
	for i := range 2001 {
		crowded[fmt.Sprintf("groups/g%d.yaml", i)] = &fstest.MapFile{Data: []byte("name: x")}
	}
	if read := mustRead(t, crowded); len(read.Groups) > 0 || !read.Has(tree.Failure) {
		t.Error("more files are read than may be there")
	}
}

// CFP-05: a block that is turned off keeps its settings in the file, and is absent
// from what is published; turned on, it is as if nothing had been said.
func TestCFP05_ADisabledBlockIsNotPublished(t *testing.T) {
	t.Parallel()
	read := func(flags ...any) tree.Policy {
		t.Helper()
		found := mustRead(t, files("policies/finance.yaml", fmt.Sprintf(`
name: Finance
groups: [default]
security_controls: {no_removal: true%s}
vm_settings:
  other: {max_cpus: 4%s}
  golden_image: {max_cpus: 2%s}
`, flags...)))
		if found.Has(tree.Failure) {
			t.Fatal(wordsOf(found.Findings))
		}
		return found.Policies[0]
	}
	const off, on = ", enabled: false", ", enabled: true"
	plain, allOn := read("", "", ""), read(on, on, on)
	if !bytes.Equal(plain.Encode(1), allOn.Encode(1)) || bytes.Contains(plain.Encode(1), []byte("enabled")) {
		t.Errorf("%s\n%s", plain.Encode(1), allOn.Encode(1))
	}
	some := read(off, off, "")
	if got, want := string(some.Encode(1)), `{"groups":["default"],"name":"Finance","policy_id":"finance","revision":1,"schema":1,"vm_settings":{"golden_image":{"max_cpus":2}}}`; got != want {
		t.Errorf("published\n%s\nwant\n%s", got, want)
	}
	if set := some.Document.VMSettings; len(set.Other.Settings) != 0 || len(set.GoldenImage.Settings) != 1 {
		t.Errorf("%+v", set)
	}
}

// CFP-06: the option of the vendor's configuration profiles, whether major upgrades
// are allowed, is the control no_major_upgrade the other way round. Which of the two
// holds where nothing is said is asked, not guessed.
func TestCFP06_AllowMajorUpgrade(t *testing.T) {
	t.Parallel()
	const updates = "product_updates.allow_major_upgrade: "
	for block, want := range map[string]string{
		`product_updates: {allow_major_upgrade: false}`:                                        `{"no_major_upgrade":true}`,
		`product_updates: {allow_major_upgrade: true}`:                                         `{"no_major_upgrade":false}`,
		`product_updates: {allow_major_upgrade: false, enabled: true}`:                         `{"no_major_upgrade":true}`,
		"product_updates: {allow_major_upgrade: false}\nsecurity_controls: {no_removal: true}": `{"no_major_upgrade":true,"no_removal":true}`,
		`product_updates: {allow_major_upgrade: false, enabled: false}`:                        "note: disabled: product_updates: it is turned off",
		``:                        "",
		`product_updates: {}`:     "error: mandatory: " + updates + "say whether major upgrades are allowed",
		`product_updates: [true]`: "error: value_type: product_updates: ",
		`product_updates: {allow_major_upgrade: "yes"}`:                                                       "error: value_type: " + updates,
		`product_updates: {allow_major_upgrades: true}`:                                                       "error: unknown_member: product_updates.allow_major_upgrades: ",
		"product_updates: {allow_major_upgrade: true}\nsecurity_controls: {no_major_upgrade: true}":           "error: conflict: " + updates + "security_controls.no_major_upgrade says the same",
		"product_updates: {allow_major_upgrade: true}\nsecurity_controls: {no_removal: true, enabled: false}": "error: conflict: " + updates + "security_controls is turned off",
	} {
		found := mustRead(t, files("policies/finance.yaml", "name: Finance\ngroups: [default]\n"+block+"\n"))
		if !strings.HasPrefix(want, "{") && want != "" {
			if words := wordsOf(found.Findings); !strings.Contains(words, want) {
				t.Errorf("%s: found\n%s", block, words)
			}
			if strings.HasPrefix(want, "error") || !bytes.Contains(found.Policies[0].Encode(1), []byte("no_major_upgrade")) {
				continue
			}
		}
		if want = `"security_controls":` + want; strings.HasSuffix(want, ":") {
			want = `"schema":1}`
		}
		if got := string(found.Policies[0].Encode(1)); !strings.Contains(got, want) || found.Has(tree.Failure) || strings.Contains(got, "product_updates") {
			t.Errorf("%s: published %s, want %s\n%s", block, got, want, wordsOf(found.Findings))
		}
	}
}

// A link could lead out of the folder, and is not followed.
func TestLinksAreNotFollowed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "site.yaml"), []byte("primary_group: default"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "groups"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "groups", "default.yaml")); err != nil {
		t.Fatal(err)
	}
	read := mustRead(t, os.DirFS(dir))
	if len(read.Groups) != 0 || !strings.Contains(wordsOf(read.Findings), "groups/default.yaml:1:1: warning: file_name") {
		t.Error(wordsOf(read.Findings))
	}
	if err := os.Mkdir(filepath.Join(dir, "elsewhere"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, make := range map[string]func(path string) error{
		"site.yaml": func(path string) error { return syscall.Mkfifo(path, 0o600) }, // nobody writes into it, ever
		"groups":    func(path string) error { return os.Symlink("elsewhere", path) },
		"policies":  func(path string) error { return os.WriteFile(path, nil, 0o600) },
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.RemoveAll(path), make(path)); err != nil {
			t.Fatal(err)
		}
		if words := wordsOf(mustRead(t, os.DirFS(dir)).Findings); !strings.Contains(words, name+":1:1: error: no_file") {
			t.Errorf("%s: %s", name, words)
		}
	}
}

// Whatever is in a file, reading ends, what is found has a place in it, and what
// has no failure is what an agent reads.
func FuzzRead(f *testing.F) {
	seeds, err := filepath.Glob(filepath.Join("testdata", "lint", "*.txtar"))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range seeds {
		archive, err := txtar.ParseFile(seed)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			f.Add(file.Data)
		}
	}
	for _, seed := range []string{
		"a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: [*c,*c]", "<<: {name: x}", "? [a]\n: b", "--- a\n--- b", "!!binary aGk=", "%YAML 9.9\n---\n",
		"name: \"\\uD800\"", strings.Repeat("[", 2000), strings.Repeat("a: {", 200), "name: .inf\nrevision: 0x1F", "\xff\xfe", "name: |+\n\n\n", "!!str {a: b}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		folder := files("policies/a.yaml", string(data), "golden-images/i.yaml", string(data), "groups/g.yaml", string(data))
		read, err := tree.Read(folder)
		if err != nil {
			t.Fatal(err)
		}
		lines := bytes.Count(data, []byte("\n")) + bytes.Count(data, []byte("\r")) + strings.Count(string(data), "\u0085") +
			strings.Count(string(data), "\u2028") + strings.Count(string(data), "\u2029") + 2
		for _, found := range read.Findings {
			if found.Line < 1 || found.Line > lines || found.Column < 1 {
				t.Errorf("%+v is no place in %q", found, data)
			}
		}
		if read.Has(tree.Failure) {
			return
		}
		for i := range read.Policies {
			if _, err := policy.Parse(read.Policies[i].Encode(3)); err != nil {
				t.Errorf("no failure, and the agent refuses: %v", err)
			}
		}
	})
}
