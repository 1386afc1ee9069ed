package platform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"prlagent/platform/safefile"
	"prlagent/platform/tool"
)

// helperRole lets the test binary play our own program: named like it, it
// answers one request and ends.
func helperRole() {
	if filepath.Base(os.Args[0]) != filepath.Base(Helper) {
		return
	}
	if len(os.Args) != 2 || os.Args[1] != HelperCommand {
		syscall.Exit(2)
	}
	if err := AnswerFileQuestions(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		syscall.Exit(1)
	}
	syscall.Exit(0)
}

// sudoRunner plays sudo: it starts the program behind -n -H -u '#UID'.
type sudoRunner struct {
	*tool.Runner
	calls []tool.Command
}

func (r *sudoRunner) Run(ctx context.Context, c tool.Command) (tool.Result, error) {
	r.calls = append(r.calls, c)
	if c.Path == sudoPath && slices.Equal(c.Args[:4], []string{"-n", "-H", "-u", "#501"}) {
		c.Path, c.Args = c.Args[4], c.Args[5:]
	}
	return r.Runner.Run(ctx, c)
}

var aliceOnDisk = User{Name: "alice", UID: 501, Home: "/Users/alice"}

// helped is a simulated Mac with our own program in its place.
func helped(t *testing.T) (*Machine, *sudoRunner, string) {
	t.Helper()
	root := t.TempDir()
	helper := filepath.Join(root, Helper)
	executable, err := os.Executable()
	errorsAreFatal(t, err, os.MkdirAll(filepath.Dir(helper), 0o755), os.Link(executable, helper))
	runner := &sudoRunner{Runner: &tool.Runner{Root: root}}
	return New(root, runner), runner, root
}

func TestH11_AUsersFilesAreSeenThroughTheUsersProcess(t *testing.T) {
	t.Parallel()
	machine, runner, root := helped(t)
	place(t, root, "/Users/alice/a.pvm/config.pvs", "<xml/>")
	place(t, root, "/Users/alice/large", strings.Repeat("x", 11))
	place(t, root, "/Users/alice/empty", "")
	inAlice := func(name string) string { return filepath.Join(root, "Users/alice", name) }
	changed := time.Date(2024, 3, 1, 9, 15, 0, 0, time.UTC)
	err := errors.Join(
		os.Chtimes(inAlice("a.pvm/config.pvs"), changed, changed),
		os.Symlink("/dev/zero", inAlice("zero")),
		os.Symlink("a.pvm", inAlice("folder-link")),
		unix.Mkfifo(inAlice("fifo"), 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		path   string
		max    int64
		folder bool
		data   string
		err    error
	}{
		{"/Users/alice/a.pvm", 0, true, "", nil},
		{"/Users/alice/a.pvm/config.pvs", 0, false, "", nil},
		{"/Users/alice/folder-link", 0, false, "", nil},
		{"/Users/alice/a.pvm/config.pvs", 10, false, "<xml/>", nil},
		{"/Users/alice/empty", 10, false, "", nil},
		{"/Users/alice/large", 10, false, "", safefile.ErrTooLarge},
		{"/Users/alice/fifo", 10, false, "", safefile.ErrNotRegular},
		{"/Users/alice/a.pvm", 10, false, "", safefile.ErrNotRegular},
		{"/Users/alice/zero", 10, false, "", safefile.ErrSymlink},
		{"/Users/alice/nothing", 10, false, "", fs.ErrNotExist},
		{"/Users/alice/nothing", 0, false, "", fs.ErrNotExist},
		{"/Users/alice/empty/below", 0, false, "", fs.ErrNotExist},
		{"/Users/alice/../../etc/passwd", 10, false, "", errNotAsked},
		{"Parallels/relative", 10, false, "", errNotAsked},
		{"/Users/alice/\x00", 10, false, "", errNotAsked},
		{"/" + strings.Repeat("x", 64<<10), 0, false, "", errNotAsked},
		{"/Users/alice/a.pvm", -1, false, "", errNotAsked},
		{"/Users/alice/\xff\n%s$(id)\u202e", 10, false, "", fs.ErrNotExist},
	}
	var questions []FileQuestion
	for _, c := range cases {
		questions = append(questions, FileQuestion{c.path, c.max})
	}
	answers, err := machine.LookAtFiles(t.Context(), aliceOnDisk, questions)
	if err != nil || len(answers) != len(cases) {
		t.Fatalf("%d answers, %v", len(answers), err)
	}
	for i, c := range cases {
		got := answers[i]
		if got.Folder != c.folder || string(got.Data) != c.data || !errors.Is(got.Err, c.err) {
			t.Errorf("%.40q with %d: got %+v, want %+v", c.path, c.max, got, c)
		}
		if c.max == 0 && got.Err == nil && (got.Inode == 0 || got.UID != uint32(os.Geteuid())) {
			t.Errorf("%.40q: inode %d of %d", c.path, got.Inode, got.UID)
		}
		if c.max == 0 && got.Err == nil && (got.Device == 0 || got.Volume != "" && !got.Folder) {
			t.Errorf("%.40q: device %d, volume %q", c.path, got.Device, got.Volume)
		}
		if got.Err != nil && strings.Contains(got.Err.Error(), "alice") {
			t.Errorf("%.40q is in its error: %v", c.path, got.Err)
		}
	}
	if at := answers[1].ModifiedAt; !at.Equal(changed) || !answers[3].ModifiedAt.IsZero() {
		t.Errorf("changed at %s, with content at %s", at, answers[3].ModifiedAt)
	}
	if len(runner.calls) != 1 || !slices.Equal(runner.calls[0].Args, []string{"-n", "-H", "-u", "#501", Helper, HelperCommand}) {
		t.Errorf("calls %v", runner.calls)
	}
}

// A user links a file of somebody else into a bundle: the child, which can read
// it, does not.
func TestH11_ContentOfSomebodyElsesFileIsNotRead(t *testing.T) {
	t.Parallel()
	foreign := "/etc/passwd" // root's, for everybody to read
	if os.Geteuid() == 0 {
		foreign = filepath.Join(t.TempDir(), "file")
		errorsAreFatal(t, os.WriteFile(foreign, []byte("content"), 0o644), os.Chown(foreign, 501, -1))
	}
	request, err := json.Marshal(map[string]any{
		"uid": os.Geteuid(), "questions": []map[string]any{{"path": []byte(foreign), "max": 1 << 20}, {"path": []byte(foreign)}},
	})
	errorsAreFatal(t, err)
	var out bytes.Buffer
	if err := AnswerFileQuestions(bytes.NewReader(request), &out); err != nil {
		t.Fatal(err)
	}
	content, rest, _ := strings.Cut(out.String(), "\n")
	if content != `{"problem":"owner"}` || !strings.Contains(rest, `"inode":`) {
		t.Errorf("its content is answered with %.100s, what it is with %.100s", content, rest)
	}
}

func TestH11_TheChildIsKilledAtItsLimit(t *testing.T) {
	t.Parallel()
	machine, runner, _ := helped(t)
	if _, err := machine.LookAtFiles(t.Context(), aliceOnDisk, []FileQuestion{{"/Users/alice", 0}}); err != nil {
		t.Fatal(err)
	}
	if len(runner.calls) != 1 || runner.calls[0].Limit != 20*time.Second {
		t.Errorf("calls %+v, want one with a limit of 20 s", runner.calls)
	}
}

func TestH11_FilesOfOneLookAreCappedTogether(t *testing.T) {
	t.Parallel()
	machine, _, root := helped(t)
	place(t, root, "/Users/alice/large", strings.Repeat("x", maxFileContent/2+1))
	place(t, root, "/Users/alice/small", "x")
	var questions []FileQuestion
	for _, name := range []string{"large", "large", "small"} {
		questions = append(questions, FileQuestion{"/Users/alice/" + name, maxFileContent})
	}
	for range maxFileQuestions {
		questions = append(questions, FileQuestion{Path: "/Users/alice"})
	}
	answers, err := machine.LookAtFiles(t.Context(), aliceOnDisk, questions)
	if err != nil || answers[0].Err != nil || !errors.Is(answers[1].Err, safefile.ErrTooLarge) || string(answers[2].Data) != "x" {
		t.Errorf("got %v, %v, %q, %v", answers[0].Err, answers[1].Err, answers[2].Data, err)
	}
	last := answers[len(answers)-1]
	if !errors.Is(last.Err, errNotAsked) || answers[maxFileQuestions-1].Err != nil {
		t.Errorf("question %d: %v", maxFileQuestions, last.Err)
	}
}

// What the child says is the user's word: nothing of it is taken that was not
// asked for, and what came before nonsense still counts.
func TestH11_HostileAnswers(t *testing.T) {
	t.Parallel()
	questions := []FileQuestion{{"/Users/alice/a", 0}, {"/Users/alice/b", 4}}
	cases := map[string]struct {
		reply answer
		want  []string // data or error of each answer
		code  string
	}{
		"as asked":          {answer{stdout: "{\"inode\":7}\n{\"size\":3}\nabc"}, []string{"", "abc"}, ""},
		"problem":           {answer{stdout: "{\"problem\":\"link\"}\n{\"problem\":\"denied\"}\n"}, []string{"is a symbolic link", "permission denied"}, ""},
		"cut short":         {answer{stdout: "{\"inode\":7}\n{\"size\":3}\na"}, []string{"", "tool_failed"}, tool.CodeFailed},
		"larger than asked": {answer{stdout: "{\"inode\":7}\n{\"size\":5}\nabcde"}, []string{"", "tool_failed"}, tool.CodeFailed},
		"not asked for":     {answer{stdout: "{\"inode\":7,\"size\":1}\nx{}\n"}, []string{"tool_failed", "tool_failed"}, tool.CodeFailed},
		"negative":          {answer{stdout: "{}\n{\"size\":-1}\n"}, []string{"", "tool_failed"}, tool.CodeFailed},
		"own words":         {answer{stdout: "{\"problem\":\"rm -rf\"}\n"}, []string{"tool_failed", "tool_failed"}, tool.CodeFailed},
		"problem and size":  {answer{stdout: "{\"problem\":\"link\",\"size\":3}\n"}, []string{"tool_failed", "tool_failed"}, tool.CodeFailed},
		"volume":            {answer{stdout: "{\"volume\":\"0E5C2F1A-9C3B-4B7E-8D55-6A0F4C1B7D21\"}\n{}\n"}, []string{"", ""}, ""},
		"text as volume":    {answer{stdout: "{\"volume\":\"\\u001b[31m\"}\n"}, []string{"tool_failed", "tool_failed"}, tool.CodeFailed},
		"endless volume":    {answer{stdout: "{\"volume\":\"" + strings.Repeat("0", 37) + "\"}\n"}, []string{"tool_failed", "tool_failed"}, tool.CodeFailed},
		"unknown field":     {answer{stdout: "{\"path\":\"/etc\"}\n"}, []string{"tool_failed", "tool_failed"}, tool.CodeFailed},
		"endless line":      {answer{stdout: "{" + strings.Repeat(" ", 1<<16) + "}\n"}, []string{"tool_failed", "tool_failed"}, tool.CodeFailed},
		"more than asked":   {answer{stdout: "{}\n{}\n{}\n"}, []string{"", ""}, tool.CodeFailed},
		"nothing":           {answer{}, []string{"tool_failed", "tool_failed"}, tool.CodeFailed},
		"exit code":         {answer{stdout: "{}\n", exit: 1}, []string{"", "tool_failed"}, tool.CodeFailed},
		"killed in between": {answer{stdout: "{}\n", err: &tool.Error{Code: tool.CodeTimeout, Path: sudoPath, Err: errors.New("killed")}},
			[]string{"", "tool_timeout"}, tool.CodeTimeout},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, root := helped(t)
			asked := strings.Join([]string{sudoPath, "-n -H -u #501", Helper, HelperCommand}, " ")
			machine := New(root, &fakeRunner{answers: map[string]answer{asked: c.reply}})
			answers, err := machine.LookAtFiles(t.Context(), aliceOnDisk, questions)
			var failed *tool.Error
			if errors.As(err, &failed) != (c.code != "") || failed != nil && failed.Code != c.code {
				t.Errorf("got %v, want %q", err, c.code)
			}
			for i, want := range c.want {
				got := string(answers[i].Data)
				if answers[i].Err != nil {
					got = answers[i].Err.Error()
				}
				if !strings.HasPrefix(got, want) || want == "" && got != "" {
					t.Errorf("answer %d: got %q, want %q", i, got, want)
				}
			}
		})
	}
}

func TestH11_OneUserNeverRunsWhatAnotherCouldHavePutThere(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		spoil func(helper string) error
		code  string
	}{
		"program for all to write": {func(helper string) error {
			return errors.Join(os.Remove(helper), os.WriteFile(helper, nil, 0o755), os.Chmod(helper, 0o757))
		}, tool.CodeRefused},
		"folder for all to write": {func(helper string) error { return os.Chmod(filepath.Dir(helper), 0o777) }, tool.CodeRefused},
		"link": {func(helper string) error {
			return errors.Join(os.Rename(helper, helper+"2"), os.Symlink(helper+"2", helper))
		}, tool.CodeRefused},
		"folder":         {func(helper string) error { return errors.Join(os.Remove(helper), os.Mkdir(helper, 0o755)) }, tool.CodeRefused},
		"missing":        {os.Remove, tool.CodeMissing},
		"folder missing": {func(helper string) error { return os.RemoveAll(filepath.Dir(helper)) }, tool.CodeMissing},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			machine, runner, root := helped(t)
			if err := c.spoil(filepath.Join(root, Helper)); err != nil {
				t.Fatal(err)
			}
			answers, err := machine.LookAtFiles(t.Context(), aliceOnDisk, []FileQuestion{{"/Users/alice", 0}})
			var refused *tool.Error
			if !errors.As(err, &refused) || refused.Code != c.code || !errors.Is(answers[0].Err, err) {
				t.Errorf("got %v, %v", answers, err)
			}
			if err != nil && strings.Contains(err.Error(), root) {
				t.Errorf("a path of this disk is in %v", err)
			}
			if len(runner.calls) != 0 {
				t.Errorf("it ran: %v", runner.calls)
			}
		})
	}
}

func TestH11_TheChildRefusesToBeSomebodyElse(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"another uid": fmt.Sprintf(`{"uid":%d,"questions":[{"path":"Lw=="}]}`, os.Geteuid()+1),
		"not JSON":    "look at /",
		"too many":    fmt.Sprintf(`{"uid":%d,"questions":[%s{}]}`, os.Geteuid(), strings.Repeat("{},", maxFileQuestions)),
		"endless":     strings.Repeat(" ", maxRequest+1),
	}
	for name, request := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			if err := AnswerFileQuestions(strings.NewReader(request), &out); err == nil || out.Len() > 0 {
				t.Errorf("answered %q, %v", out.String(), err)
			}
		})
	}
	if err := AnswerFileQuestions(failingReader{}, io.Discard); err == nil {
		t.Error("no request, no error")
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("closed") }

func FuzzParseAnswers(f *testing.F) {
	f.Add([]byte("{\"folder\":true,\"device\":1,\"inode\":7,\"uid\":501}\n{\"size\":3}\nabc"))
	f.Add([]byte("{\"problem\":\"absent\"}\n{\"problem\":\"unreadable\"}\n"))
	f.Add([]byte("{\"size\":-1}\n"))
	questions := []pathOnDisk{{[]byte("/a"), 0}, {[]byte("/b"), 4}}
	f.Fuzz(func(t *testing.T, output []byte) {
		answers, err := parseAnswers(output, questions)
		if len(answers) > len(questions) || err == nil && len(answers) != len(questions) {
			t.Fatalf("%d answers, %v", len(answers), err)
		}
		for i, answer := range answers {
			if int64(len(answer.Data)) > questions[i].Max {
				t.Errorf("%d bytes where %d were asked for", len(answer.Data), questions[i].Max)
			}
		}
	})
}
