package store_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"prlagent/store"
)

// A test that may crash its process, or needs a second process or a limit of its
// own, runs this binary again in one of these roles, for the folder of
// folderVariable or, without one, for each that comes in as a line.
const (
	roleVariable   = "STORE_TEST_ROLE"
	folderVariable = "STORE_TEST_FOLDER"
	limitVariable  = "STORE_TEST_LIMIT"
	// tracedRoleVariable is the role a recording is of.
	tracedRoleVariable = "STORE_TEST_TRACED_ROLE"
)

var roles = map[string]func(dir string) childResult{
	"inspect":        inspect,
	"hold":           hold,
	"fill":           fill,
	"backup":         backup,
	"commit":         commitForEver,
	"truncate-below": truncateBelow,
	"work":           work,
	"open":           openOnly,
	"nobody":         inspectAsNobody,
	"plain":          plainBolt,
}

// childResult is what a child prints as its last line.
type childResult struct {
	Report  store.Report
	Code    string // of the first error
	Error   string
	Rows    int
	Digest  string // of all rows
	Written int    // rows that were committed by the child
	After   string // code of what was tried after the first error
	Reopen  store.Report
	Died    string // how the child ended instead of answering; set by its parent
}

func (r childResult) failed(err error) childResult {
	if err != nil && r.Error == "" {
		r.Code, r.Error = store.CodeOf(err), err.Error()
	}
	return r
}

func TestMain(m *testing.M) {
	role, child := os.LookupEnv(roleVariable)
	if !child {
		goleak.VerifyTestMain(m)
		return
	}
	if limit, err := strconv.ParseUint(os.Getenv(limitVariable), 10, 64); err == nil {
		rlimit := syscall.Rlimit{Cur: limit, Max: limit}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &rlimit); err != nil {
			panic(err)
		}
	}
	debug.SetMaxStack(64 << 20) // an endless recursion ends soon
	play := roles[role]
	if play == nil {
		play = platformRoles[role]
	}
	folders := io.Reader(os.Stdin)
	if one := os.Getenv(folderVariable); one != "" {
		folders = strings.NewReader(one)
	}
	answers := json.NewEncoder(os.Stdout)
	for lines := bufio.NewScanner(folders); lines.Scan(); {
		if err := answers.Encode(play(lines.Text())); err != nil {
			panic(err)
		}
	}
	syscall.Exit(0) // os.Exit waits a second in a program built with -race
}

func command(t testing.TB, role, dir string, environment ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self)
	child.Env = append(os.Environ(), roleVariable+"="+role, folderVariable+"="+dir)
	child.Env = append(child.Env, environment...)
	return child
}

// runChild runs a role to its end. A crash of the child fails the test.
func runChild(t testing.TB, role, dir string, environment ...string) childResult {
	t.Helper()
	child := command(t, role, dir, environment...)
	output, err := child.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("child %s crashed: %v\n%.2000s", role, err, exit.Stderr)
		}
		t.Fatalf("child %s: %v", role, err)
	}
	var result childResult
	if err := json.Unmarshal(output, &result); err != nil {
		t.Fatalf("child %s printed %q: %v", role, output, err)
	}
	return result
}

// inspect opens the store, reads every row, writes one and closes.
func inspect(dir string) (result childResult) {
	s, report, err := store.Open(context.Background(), dir, store.Options{})
	if err != nil {
		return result.failed(err)
	}
	result.Report = report
	digest := newDigest()
	err = s.View(func(tx *store.Tx) error {
		return rows.Each(tx, func(key string, content *row) error { result.Rows++; digest.add(key, *content); return nil })
	})
	result.Digest = digest.String()
	result = result.failed(err)
	err = s.Update(func(tx *store.Tx) error { return rows.Put(tx, "written by the child", &row{}) })
	return result.failed(err).failed(s.Close())
}

// hold keeps the store open until its standard input ends.
func hold(dir string) (result childResult) {
	s, _, err := store.Open(context.Background(), dir, store.Options{})
	if err != nil {
		return result.failed(err)
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return result.failed(err).failed(s.Close())
}

// fill commits rows until one is refused, then reads all of them.
func fill(dir string) (result childResult) {
	s, report, err := store.Open(context.Background(), dir, store.Options{})
	if err != nil {
		return result.failed(err)
	}
	result.Report = report
	for i := 0; i < 10_000 && err == nil; i++ {
		err = s.Update(func(tx *store.Tx) error { return rows.Put(tx, rowKey(i), &row{Name: string(make([]byte, 500))}) })
		if err == nil {
			result.Written++
		}
	}
	result = result.failed(err)
	err = s.View(func(tx *store.Tx) error {
		return rows.Each(tx, func(string, *row) error { result.Rows++; return nil })
	})
	result.After = store.CodeOf(err)
	return result.failed(s.Close())
}

// backup opens the store and backs it up.
func backup(dir string) (result childResult) {
	s, report, err := store.Open(context.Background(), dir, store.Options{})
	if err != nil {
		return result.failed(err)
	}
	result.Report = report
	return result.failed(s.Backup()).failed(s.Close())
}

// commitForEver says after each commit how many rows there are, until it is
// killed.
func commitForEver(dir string) (result childResult) {
	s, _, err := store.Open(context.Background(), dir, store.Options{})
	for i := 0; err == nil; i++ {
		err = s.Update(func(tx *store.Tx) error {
			if err := rows.Put(tx, rowKey(rows.Len(tx)), &row{Count: i}); err != nil {
				return err
			}
			result.Rows = rows.Len(tx)
			return nil
		})
		fmt.Println(result.Rows)
	}
	return result.failed(err)
}

// truncateBelow cuts the file off under the open store.
func truncateBelow(dir string) (result childResult) {
	s, _, err := store.Open(context.Background(), dir, store.Options{})
	if err != nil {
		return result.failed(err)
	}
	if err := os.Truncate(filepath.Join(dir, "state.db"), 8192); err != nil {
		return result.failed(err)
	}
	walk := func(tx *store.Tx) error {
		return rows.Each(tx, func(string, *row) error { result.Rows++; return nil })
	}
	result = result.failed(s.View(walk))
	result.After = store.CodeOf(s.View(walk))
	if err := s.Close(); err != nil {
		result.Error += " close: " + err.Error()
	}
	s, result.Reopen, err = store.Open(context.Background(), dir, store.Options{})
	if err != nil {
		result.Error += " reopen: " + err.Error()
		return result
	}
	_ = s.Close()
	return result
}

// startHolding starts a child that holds the store and returns what lets it go.
func startHolding(t *testing.T, dir string) (release func()) {
	t.Helper()
	child := command(t, "hold", dir)
	input, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(output).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the child says %q (%v)", line, err)
	}
	return func() {
		_ = input.Close()
		if err := child.Wait(); err != nil {
			t.Errorf("holding child: %v", err)
		}
	}
}
