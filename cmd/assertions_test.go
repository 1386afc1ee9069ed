package cmd_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// steps are the parts of a path: .name, [index], [len], [*] and [name=value].
var steps = regexp.MustCompile(`\.([^.\[\]]+)|\[([^\]]*)\]`)

// What may be wrong with a value.
var (
	errMissing = errors.New("there is no such value")
	errDiffers = errors.New("it is another")
)

// find gives the values at a path; more than one only behind [*] or a filter.
func find(document, path string) ([]any, error) {
	var root any
	decoder := json.NewDecoder(strings.NewReader(document))
	decoder.UseNumber()
	if err := decoder.Decode(&root); err != nil {
		return nil, fmt.Errorf("that is not JSON: %w", err)
	}
	values := []any{root}
	matches := steps.FindAllStringSubmatch(path, -1)
	if strings.Join(slices.Collect(func(yield func(string) bool) {
		for _, match := range matches {
			if !yield(match[0]) {
				return
			}
		}
	}), "") != path {
		return nil, fmt.Errorf("path %q makes no sense", path)
	}
	for _, match := range matches {
		var next []any
		for _, value := range values {
			next = append(next, follow(value, match[1], match[2])...)
		}
		if values = next; len(values) == 0 {
			return nil, fmt.Errorf("%s: %w", path, errMissing)
		}
	}
	return values, nil
}

// follow goes one step down.
func follow(value any, name, bracket string) []any {
	if object, is := value.(map[string]any); is && name != "" {
		if inner, there := object[name]; there {
			return []any{inner}
		}
		return nil
	}
	list, is := value.([]any)
	if !is || name != "" {
		return nil
	}
	index, err := strconv.Atoi(bracket)
	switch {
	case bracket == "len":
		return []any{json.Number(strconv.Itoa(len(list)))}
	case bracket == "*":
		return list
	case err == nil && index < len(list):
		return list[index : index+1]
	case err == nil:
		return nil
	}
	var found []any
	for _, element := range list {
		if fits(element, bracket) {
			found = append(found, element)
		}
	}
	return found
}

// fits says whether an object has all of name=value,name=value.
func fits(element any, filter string) bool {
	object, _ := element.(map[string]any)
	for condition := range strings.SplitSeq(filter, ",") {
		name, value, _ := strings.Cut(condition, "=")
		if text(object[name]) != value {
			return false
		}
	}
	return object != nil
}

// text is a JSON value as a script writes it.
func text(value any) string {
	if plain, is := value.(string); is {
		return plain
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return err.Error()
	}
	return strings.TrimSpace(out.String())
}

// holds compares a value with what a script expects.
func holds(got, wanted string) (bool, error) {
	switch {
	case strings.HasPrefix(wanted, "~"):
		return regexp.MatchString(wanted[1:], got)
	case !strings.HasPrefix(wanted, ">") && !strings.HasPrefix(wanted, "<"):
		return got == wanted, nil
	}
	have, err := magnitude(got)
	if err != nil {
		return false, err
	}
	limit, err := magnitude(wanted[1:])
	if err != nil {
		return false, err
	}
	if wanted[0] == '>' {
		return have > limit, nil
	}
	return have < limit, nil
}

// magnitude makes numbers and times comparable: now, now-1m, RFC 3339.
func magnitude(word string) (float64, error) {
	if shift, relative := strings.CutPrefix(word, "now"); relative {
		if shift == "" {
			shift = "0s"
		}
		by, err := time.ParseDuration(shift)
		return float64(time.Now().Add(by).UnixMicro()), err
	}
	if at, err := time.Parse(time.RFC3339Nano, word); err == nil {
		return float64(at.UnixMicro()), nil
	}
	return strconv.ParseFloat(word, 64)
}

// check says what is wrong with the value at a path; nil if it holds. Without
// wanted the value has to be there.
func check(document, path string, wanted ...string) error {
	values, err := find(document, path)
	if err != nil {
		return err
	}
	for _, value := range values {
		got := text(value)
		if len(wanted) == 0 {
			if value == nil || got == "" {
				return fmt.Errorf("%s: %w", path, errMissing)
			}
			continue
		}
		is, err := holds(got, wanted[0])
		if err != nil {
			return fmt.Errorf("%s: compare %q with %q: %w", path, got, wanted[0], err)
		}
		if !is {
			return fmt.Errorf("%s is %q, not %q: %w", path, got, wanted[0], errDiffers)
		}
	}
	return nil
}

func expectJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: json FILE PATH [VALUE]")
	}
	document, judge := ts.ReadFile(args[0]), check
	if neg {
		judge = checkNot
	}
	if err := judge(document, args[1], args[2:]...); err != nil {
		ts.Fatalf("%v\nin %s", err, document)
	}
}

// checkNot says what speaks against a value not being there, or not being the
// wanted one: also that the document has no place for it, since a typing error
// or a renamed field must not look like a proof.
func checkNot(document, path string, wanted ...string) error {
	err := check(document, path, wanted...)
	switch {
	case err == nil:
		return fmt.Errorf("%s holds", strings.Join(append([]string{path}, wanted...), " "))
	case len(wanted) > 0 && errors.Is(err, errDiffers):
		return nil
	case len(wanted) > 0 || !errors.Is(err, errMissing):
		return err
	}
	if _, err := find(document, parent(path)); err != nil {
		return fmt.Errorf("nothing can be at %s: %w", path, err)
	}
	return nil
}

// parent is the path of what a value is in; empty for the whole document.
func parent(path string) string {
	found := steps.FindAllStringIndex(path, -1)
	if len(found) == 0 {
		return ""
	}
	return path[:found[len(found)-1][0]]
}

func remember(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: remember NAME FILE PATH")
	}
	values, err := find(ts.ReadFile(args[1]), args[2])
	ts.Check(err)
	ts.Setenv(args[0], text(values[0]))
}

func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: until PATH VALUE COMMAND…")
	}
	begun := time.Now()
	for deadline := begun.Add(readyLimit); ; time.Sleep(max(untilPoll, time.Since(begun)/untilShare)) {
		_ = ts.Exec(args[2], args[3:]...) // its exit code says how healthy things are
		err := check(ts.ReadFile("stdout"), args[0], args[1])
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("not in %s: %v\nin %s", readyLimit, err, ts.ReadFile("stdout"))
		}
	}
}

func expectRows(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: rows N")
	}
	run(ts, "prlportal", "vms", "--json")
	expectJSON(ts, false, []string{"stdout", ".vms[len]", args[0]})
}

func expectExit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	judgeExit(ts, args[0], ts.Exec(args[1], args[2:]...), ts.ReadFile("stdout")+ts.ReadFile("stderr"))
}

func judgeExit(ts *testscript.TestScript, wanted string, err error, output string) {
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != wanted {
		ts.Fatalf("ended with %d, not %s: %s", code, wanted, output)
	}
}

// expectExitAs runs the command as somebody who is neither root nor who plays
// root. The script opens its folder to them.
func expectExitAs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: as UID CODE COMMAND…")
	}
	uid, err := strconv.ParseUint(args[0], 10, 32)
	ts.Check(err)
	program := args[2]
	if !filepath.IsAbs(program) {
		program = stageOf(ts).program(program)
	}
	command := exec.Command(program, args[3:]...)
	command.Env = []string{"PRLAGENT_ROOT=" + ts.Getenv("PRLAGENT_ROOT"), "GORACE=" + ts.Getenv("GORACE")}
	command.Dir = "/"
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	output, err := command.CombinedOutput()
	_, _ = ts.Stdout().Write(output)
	judgeExit(ts, args[1], err, string(output))
}

func expectMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: modes FILE MODE")
	}
	info, err := os.Lstat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[1] {
		ts.Fatalf("%s has mode %s, not %s", args[0], got, args[1])
	}
}

func changeOwner(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: chown UID FILE")
	}
	uid, err := strconv.Atoi(args[0])
	ts.Check(err)
	ts.Check(os.Lchown(ts.MkAbs(args[1]), uid, uid))
}

func replaceText(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace FILE OLD NEW")
	}
	before := ts.ReadFile(args[0])
	if strings.Count(before, args[1]) != 1 {
		ts.Fatalf("%q is not exactly once in %s", args[1], before)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(before, args[1], args[2], 1)), 0o600))
}

// expectSecretsOnlyIn looks into every file of the script: the enrollment
// secret, the device's token and the seed of its key are in the named files,
// and in no other one.
func expectSecretsOnlyIn(ts *testscript.TestScript, neg bool, args []string) {
	var node struct{ Token, Seed string }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(filepath.Join(ts.Getenv("STATE"), "node.json"))), &node))
	secret := strings.TrimSpace(ts.ReadFile(filepath.Join(ts.Getenv("PORTAL"), "operator", "enrollment.secret")))
	for _, canary := range []string{node.Token, node.Seed, secret} {
		if len(canary) < 32 {
			ts.Fatalf("a secret of %d bytes proves nothing", len(canary))
		}
	}
	if got := holdersOf(ts, node.Token, node.Seed, secret); neg || !slices.Equal(got, sorted(args)) {
		ts.Fatalf("secrets are in\n%s\nnot in\n%s", strings.Join(got, "\n"), strings.Join(args, "\n"))
	}
}

// expectTextOnlyIn looks into every file of the script, and into those in zip files: a
// text is in the named ones, and in no other.
func expectTextOnlyIn(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args[0]) < 16 {
		ts.Fatalf("usage: text-only-in TEXT FILE…")
	}
	if got := holdersOf(ts, args[0]); !slices.Equal(got, sorted(args[1:])) {
		ts.Fatalf("it is in\n%s\nnot in\n%s", strings.Join(got, "\n"), strings.Join(args[1:], "\n"))
	}
}

func sorted(texts []string) []string { return slices.Sorted(slices.Values(texts)) }

// holdersOf are the files of the script that hold one of the texts.
func holdersOf(ts *testscript.TestScript, texts ...string) []string {
	return filesWith(ts, func(content []byte) bool {
		return slices.ContainsFunc(texts, func(text string) bool { return bytes.Contains(content, []byte(text)) })
	})
}

// filesWith are the files of the script whose content, or that of those in a zip file, is
// as it is looked for.
func filesWith(ts *testscript.TestScript, isLookedFor func(content []byte) bool) (files []string) {
	for _, folder := range []string{stageOf(ts).folder, ts.Getenv("WORK")} {
		ts.Check(filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() || isProgram(entry) {
				return err
			}
			content, err := os.ReadFile(path)
			if err == nil && filepath.Ext(path) == ".zip" {
				content, err = unzipped(content)
			}
			if isLookedFor(content) {
				files = append(files, path)
			}
			return err
		}))
	}
	slices.Sort(files)
	return slices.Compact(files)
}

// unzipped is the content of all files of a zip file.
func unzipped(archive []byte) (content []byte, err error) {
	reader, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return nil, err
	}
	for _, file := range reader.File {
		opened, err := file.Open()
		if err != nil {
			return nil, err
		}
		part, err := io.ReadAll(opened)
		if err := errors.Join(err, opened.Close()); err != nil {
			return nil, err
		}
		content = append(content, part...)
	}
	return content, nil
}

// expectNoPartOf finds secrets that were cut before they were hidden.
func expectNoPartOf(ts *testscript.TestScript, neg bool, args []string) {
	const part = 8
	if neg || len(args) < 2 || len(args[0]) < 2*part {
		ts.Fatalf("usage: no-part-of SECRET FILE…")
	}
	for _, file := range args[1:] {
		content := ts.ReadFile(file)
		for at := 0; at+part <= len(args[0]); at++ {
			if shown := args[0][at : at+part]; strings.Contains(content, shown) {
				ts.Fatalf("%s shows %s:\n%s", file, shown, content)
			}
		}
	}
}

// isProgram tells the links to the test binary on the Mac.
func isProgram(entry fs.DirEntry) bool {
	info, err := entry.Info()
	return err == nil && info.Mode().Perm()&0o111 != 0
}
